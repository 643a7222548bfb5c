"""The vertices of a reading's proxy meshes that the decoder is shown as candidates; numpy alone.

Suffixes: K candidates, E ends of the 1x proxy's edges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.mesh.canonical import quantize, vertex_keys

OF_PROXY, OF_RICHER = 1, 2  # kinds: vertices of the 1x proxy, and of the 2x proxy alone


class Candidates(NamedTuple):
    """The vertices of a reading's proxies, each once, and how those of the 1x proxy are joined."""

    bins: np.ndarray  # (K, 3) int32: x, y, z
    kinds: np.ndarray  # (K,) uint8: OF_PROXY or OF_RICHER
    start: np.ndarray  # (K + 1,) int32: the neighbors of candidate k are beside[start[k]:start[k + 1]]
    beside: np.ndarray  # (E,) int32
    mirror: np.ndarray  # (2,) float64: sums of the coordinates, in bins, of a vertex and its mirror image in x, y


def no_candidates() -> Candidates:
    """Those of a reading that shows none."""
    empty = np.zeros(0, dtype=np.int32)
    return Candidates(np.zeros((0, 3), np.int32), np.zeros(0, np.uint8), np.zeros(1, np.int32), empty, np.zeros(2))


def make_candidates(
    proxy: np.ndarray, faces: np.ndarray, richer: np.ndarray, num_bins: int, kept: np.ndarray | None = None
) -> Candidates:
    """From the 1x proxy's vertices (V, 3) and faces (F, 3) and the 2x proxy's vertices (W, 3), in the unit box.

    `kept` (V + W,) bool leaves some out, as training does.
    """
    stays = np.ones(len(proxy) + len(richer), dtype=bool) if kept is None else kept
    places = np.concatenate([proxy, richer])
    bins = quantize(places, num_bins).astype(np.int64)
    keys, first = np.unique(vertex_keys(bins, num_bins)[stays], return_index=True)
    chosen = np.flatnonzero(stays)[first]  # the 1x proxy comes first, so a vertex of both is one of it
    number = np.full(len(stays), -1)
    number[chosen] = np.arange(len(chosen))
    in_bin = np.minimum(np.searchsorted(keys, vertex_keys(bins[: len(proxy)], num_bins)), max(len(keys) - 1, 0))
    own = np.where(stays[: len(proxy)], in_bin if len(keys) else -1, -1)
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = own[np.concatenate([ends, ends[:, ::-1]])]
    pairs = np.unique(pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])], axis=0).reshape(-1, 2)
    start = np.zeros(len(chosen) + 1, dtype=np.int32)
    np.cumsum(np.bincount(pairs[:, 0], minlength=len(chosen)), out=start[1:])
    in_bins = (proxy + 0.5) * num_bins - 0.5
    return Candidates(
        bins=np.ascontiguousarray(bins[chosen], dtype=np.int32),
        kinds=np.where(chosen < len(proxy), OF_PROXY, OF_RICHER).astype(np.uint8),
        start=start, beside=np.ascontiguousarray(pairs[:, 1], dtype=np.int32),
        mirror=in_bins[:, :2].min(axis=0) + in_bins[:, :2].max(axis=0),
    )  # fmt: skip
