"""Verification: which drafts are what the backbone itself picks (paper Sec. 3.3)."""

from __future__ import annotations

import numpy as np

from flashmesh_core.drafting.buffers import DraftBuffers
from flashmesh_core.jit import njit
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.half_edges import pop, push
from flashmesh_core.state.masks import MASK_CLOSURE
from flashmesh_core.token_choice import NOISE_RANGE, noise_at, noise_key

FACE_LIMIT = -2  # what `verify` returns instead of a token


@njit(cache=True)
def pick_token(
    logits: np.ndarray, bias: np.ndarray, allowed: np.ndarray, temperature: float, seed: int, position: int
) -> int:
    """The backbone's token at an absolute position: arg max of the allowed logits (C,) over the temperature plus noise.

    `bias` is coverage guidance's part of the logits; at temperature 0 the noise is left out. All in float32, so that a
    token does not depend on what else is asked. -1 where nothing is allowed.
    """
    best = -1
    highest = np.float32(-np.inf)
    for token in range(len(logits)):
        if allowed[token] and (best < 0 or logits[token] + bias[token] > highest):
            best, highest = token, logits[token] + bias[token]
    if temperature == 0.0 or best < 0:
        return best
    temperature32 = np.float32(temperature)
    bound = highest / temperature32 - np.float32(NOISE_RANGE)
    key = noise_key(seed, position)
    best, highest = -1, np.float32(-np.inf)
    for token in range(len(logits)):
        if allowed[token]:
            score = (logits[token] + bias[token]) / temperature32
            if score >= bound:  # no noise would make the others the highest
                score += noise_at(key, token)
                if best < 0 or score > highest:
                    best, highest = token, score
    return best


@njit(cache=True)
def verify(
    surface: Surface,
    table: Table,
    buffers: DraftBuffers,
    logits: np.ndarray,
    count: int,
    temperature: float,
    seed: int,
    first: int,
    max_faces: int,
    drafted_at: np.ndarray,
    accepted_at: np.ndarray,
) -> tuple[int, int, int]:
    """Take the backbone's answer (count, C) to a draft of `count` positions; roll back what it refuses.

    `first` is the absolute position of the token that follows the main one. The drafts made and those that stand are
    counted by their places in `drafted_at` and `accepted_at`.

    Returns how many drafts stand, the token after them, and at how many of these positions closure was dropped. That
    token is pushed unless it is EOS or -1 (nothing was allowed), or FACE_LIMIT: the mesh has all its faces.
    """
    drafts = count - 1
    accepted = 0
    token = pick_token(logits[0], buffers.bias[0], buffers.allowed[0], temperature, seed, first)
    while accepted < drafts and token == buffers.tokens[accepted + 1]:
        accepted += 1
        token = pick_token(
            logits[accepted], buffers.bias[accepted], buffers.allowed[accepted], temperature, seed, first + accepted
        )
    for place in range(drafts):
        drafted_at[place] += 1
        accepted_at[place] += place < accepted
    dropped = 0
    for position in range(accepted + 1):
        dropped += buffers.dropped[position] & MASK_CLOSURE != 0
    for _ in range(drafts - accepted):
        pop(surface, table)
    if table.n[0].faces >= max_faces:
        return accepted, FACE_LIMIT, dropped
    if 0 <= token < surface.size:
        push(surface, table, token)
    return accepted, token, dropped
