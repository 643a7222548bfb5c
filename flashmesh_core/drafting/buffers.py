"""What drafting fills in for verification: the tokens of a pass, and for each position rows, masks and bias."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.drafting.features import MAX_SUGGESTIONS
from flashmesh_core.runtime.cpu.cpu_features import PANEL


class DraftBuffers(NamedTuple):
    """A pass of at most W positions (R rows, Q bins)."""

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


def make_buffers(width: int, num_bins: int, num_rows: int) -> DraftBuffers:
    """Buffers for a pass of `width` positions."""
    return DraftBuffers(
        tokens=np.zeros(width, dtype=np.int64), rows=np.zeros((width, num_rows, num_bins), dtype=np.uint8),
        allowed=np.zeros((width, num_bins + 1), dtype=np.bool_),
        bias=np.zeros((width, num_bins + 1), dtype=np.float32), dropped=np.zeros(width, dtype=np.int64),
        chosen=np.zeros(MAX_SUGGESTIONS + 1, dtype=np.int32),
        features=np.zeros((MAX_SUGGESTIONS + 1, PANEL), dtype=np.float32),
        hidden=np.zeros((MAX_SUGGESTIONS + 1, PANEL), dtype=np.float32),
        inner=np.zeros((MAX_SUGGESTIONS + 1, PANEL), dtype=np.float32),
        weights=np.zeros(MAX_SUGGESTIONS + 1, dtype=np.float32),
    )  # fmt: skip
