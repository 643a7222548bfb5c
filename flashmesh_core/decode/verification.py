"""Verification: which drafts are what the backbone itself picks (paper Sec. 3.3; DESIGN section 7)."""

from __future__ import annotations

import numpy as np
from numba import njit

from flashmesh_core.decode.drafters import WalkBuffers
from flashmesh_core.state import layout
from flashmesh_core.state.layout import Surface, Table
from flashmesh_core.state.masks import MASK_CLOSURE
from flashmesh_core.state.table import pop, push

FACE_LIMIT = -2  # what `settle` returns instead of a token


@njit(cache=True)
def pick_token(logits: np.ndarray, bias: np.ndarray, allowed: np.ndarray, temperature: float, noise: np.ndarray) -> int:
    """The backbone's token at one position: arg max of the allowed logits (C,) over the temperature plus noise.

    `bias` is guidance's part of the logits; at temperature 0 the noise is left out. All in float32, so that a token
    does not depend on what else is asked. -1 where nothing is allowed.
    """
    best = -1
    highest = np.float32(-np.inf)
    for token in range(len(logits)):
        if not allowed[token]:
            continue
        score = logits[token] + bias[token]
        if temperature > 0.0:
            score = score / np.float32(temperature) + noise[token]
        if best < 0 or score > highest:
            best, highest = token, score
    return best


@njit(cache=True)
def settle(
    surface: Surface,
    table: Table,
    buffers: WalkBuffers,
    logits: np.ndarray,
    count: int,
    temperature: float,
    noise: np.ndarray,
    max_faces: int,
) -> tuple[int, int, int]:
    """Take the backbone's answer (count, C) to a walk of `count` positions; roll back what it refuses.

    Returns how many drafts stand, the token after them, and at how many of these positions closure was dropped. That
    token is pushed unless it is EOS or -1 (nothing was allowed), or FACE_LIMIT: the mesh has all its faces.
    """
    drafts = count - 1
    accepted = 0
    token = pick_token(logits[0], buffers.bias[0], buffers.allowed[0], temperature, noise[0])
    while accepted < drafts and token == buffers.tokens[accepted + 1]:
        accepted += 1
        token = pick_token(
            logits[accepted], buffers.bias[accepted], buffers.allowed[accepted], temperature, noise[accepted]
        )
    dropped = 0
    for position in range(accepted + 1):
        dropped += buffers.dropped[position] & MASK_CLOSURE != 0
    for _ in range(drafts - accepted):
        pop(surface, table)
    if table.n[layout.FACES] >= max_faces:
        return accepted, FACE_LIMIT, dropped
    if 0 <= token < surface.size:
        push(surface, table, token)
    return accepted, token, dropped
