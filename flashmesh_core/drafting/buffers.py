"""What drafting gets and what it fills in for verification: for each position of a pass token, rows, masks, bias."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.drafting.features import MAX_SUGGESTIONS
from flashmesh_core.runtime.cpu.cpu_features import PANEL


class Rules(NamedTuple):
    """What every token of a candidate keeps to, and how it is chosen."""

    masks: int  # bits, see `state.masks`
    coverage_guidance: float  # nats, 0 is off
    max_faces: int
    temperature: float
    seed: int


PLAN = np.dtype([  # how one pass drafts
    ("mode", np.int64),  # see `drafters`
    ("width", np.int64),  # positions at most, the main token's included
    ("min_confidence", np.float64),  # drafting stops where the probability of all drafts so far falls below
    ("pending", np.int64),  # the main token, with which the table ends; the backbone has not seen it yet
    ("first", np.int64),  # the absolute position of the token after it
])  # fmt: skip


class DraftBuffers(NamedTuple):
    """A pass of at most W positions (R rows, Q bins)."""

    plan: np.ndarray  # (1,) record of PLAN
    tokens: np.ndarray  # (W,) int64: the main token and the drafts
    rows: np.ndarray  # (W, R, Q) uint8
    allowed: np.ndarray  # (W, Q + 1) bool
    bias: np.ndarray  # (W, Q + 1) float32
    dropped: np.ndarray  # (W,) int64: masks that left no place and were dropped
    chosen: np.ndarray  # scratch of the features
    features: np.ndarray
    hidden: np.ndarray
    inner: np.ndarray
    weights: np.ndarray
    log_p: np.ndarray  # (Q + 1,) float64 scratch of the choice
    fresh: np.ndarray  # (Q,) float64: the same of a new vertex
    no_bias: np.ndarray  # (Q + 1,) zeros


def make_buffers(width: int, num_bins: int, num_rows: int) -> DraftBuffers:
    """Buffers for a pass of `width` positions."""
    return DraftBuffers(
        plan=np.zeros(1, dtype=PLAN).view(np.recarray),
        tokens=np.zeros(width, dtype=np.int64), rows=np.zeros((width, num_rows, num_bins), dtype=np.uint8),
        allowed=np.zeros((width, num_bins + 1), dtype=np.bool_),
        bias=np.zeros((width, num_bins + 1), dtype=np.float32), dropped=np.zeros(width, dtype=np.int64),
        chosen=np.zeros(MAX_SUGGESTIONS + 1, dtype=np.int32),
        features=np.zeros((MAX_SUGGESTIONS + 1, PANEL), dtype=np.float32),
        hidden=np.zeros((MAX_SUGGESTIONS + 1, PANEL), dtype=np.float32),
        inner=np.zeros((MAX_SUGGESTIONS + 1, PANEL), dtype=np.float32),
        weights=np.zeros(MAX_SUGGESTIONS + 1, dtype=np.float32), log_p=np.zeros(num_bins + 1),
        fresh=np.zeros(num_bins), no_bias=np.zeros(num_bins + 1),
    )  # fmt: skip
