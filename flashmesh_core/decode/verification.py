"""Verification: which drafts are what the backbone itself picks (paper Sec. 3.3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from flashmesh_core.drafting.buffers import DraftBuffers, Rules
from flashmesh_core.jit import njit
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.half_edges import pop, push
from flashmesh_core.state.masks import MASK_CLOSURE
from flashmesh_core.token_choice import choose_token

FACE_LIMIT = -2  # what `verify` returns instead of a token


@njit(cache=True)
def verify(
    surface: Surface,
    table: Table,
    buffers: DraftBuffers,
    rules: Rules,
    logits: np.ndarray,
    first: int,
    drafted_at: np.ndarray,
    accepted_at: np.ndarray,
) -> tuple[int, int, int]:
    """Take the backbone's answer (N, C) to a draft of N positions; roll back what it refuses.

    `first` is the absolute position of the token that follows the main one. The drafts made and those that stand are
    counted by their places in `drafted_at` and `accepted_at`.

    Returns how many drafts stand, the token after them, and at how many of these positions closure was dropped. That
    token is pushed unless it is EOS or -1 (nothing was allowed), or FACE_LIMIT: the mesh has all its faces.
    """
    temperature: Any = np.float32(rules.temperature)
    drafts = len(logits) - 1
    accepted = -1
    while True:
        accepted += 1
        token = choose_token(
            logits[accepted], buffers.bias[accepted], buffers.allowed[accepted], temperature, rules.seed,
            first + accepted,
        )  # fmt: skip
        if accepted == drafts or token != buffers.tokens[accepted + 1]:
            break
    for place in range(drafts):
        drafted_at[place] += 1
        accepted_at[place] += place < accepted
    dropped = 0
    for position in range(accepted + 1):
        dropped += buffers.dropped[position] & MASK_CLOSURE != 0
    for _ in range(drafts - accepted):
        pop(surface, table)
    if table.n[0].faces >= rules.max_faces:
        return accepted, FACE_LIMIT, dropped
    if 0 <= token < surface.size:
        push(surface, table, token)
    return accepted, token, dropped
