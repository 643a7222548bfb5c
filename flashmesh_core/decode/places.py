"""Vertices of a proxy mesh on the grid: every one in a bin of its own, and the way back to where it really is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.mesh.canonical import dequantize, quantize, vertex_keys

MAX_STEPS = 3  # bins an axis that a vertex may move to find a free bin


@dataclass(frozen=True, eq=False)
class Places:
    """Known vertices: `bins` (V, 3) int64 in order, sorted `keys` (K,) and where these are, `positions` (K, 3)."""

    bins: np.ndarray
    keys: np.ndarray
    positions: np.ndarray  # unit box

    @staticmethod
    def none() -> Places:
        """No vertex is known: all stand at the centers of their bins."""
        return Places(np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 3)))

    def positions_of(self, bins: np.ndarray, num_bins: int) -> np.ndarray:
        """Unit-box positions (..., 3) of bins (..., 3): of a known vertex its own, else the bin's center."""
        made = dequantize(bins, num_bins)
        if not len(self.keys):
            return made
        keys = vertex_keys(bins.reshape(-1, 3), num_bins)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        known = self.keys[at] == keys
        flat = made.reshape(-1, 3)
        flat[known] = self.positions[at[known]]
        return flat.reshape(made.shape)

    def by_key(self, num_bins: int) -> dict[int, np.ndarray]:
        """Positions (3,) in bins, whose centers are integers, of all known keys."""
        return dict(zip(self.keys.tolist(), (self.positions + 0.5) * num_bins - 0.5, strict=True))


def assign_bins(vertices: np.ndarray, num_bins: int) -> Places:
    """A bin for each of `vertices` (V, 3), unit box, no two the same: the nearest free one, the first come first.

    So faces over known vertices are told apart on the grid as they are in space, walls thinner than a bin as well. Only
    where all bins within MAX_STEPS are taken do vertices share one.
    """
    bins = quantize(vertices, num_bins).astype(np.int64)
    keys = vertex_keys(bins, num_bins)
    _, first = np.unique(keys, return_index=True)
    again = np.ones(len(keys), dtype=bool)
    again[first] = False
    taken = set(keys[first].tolist())
    for number in np.flatnonzero(again):
        bins[number] = _free_bin(vertices[number], bins[number], taken, num_bins)
        keys[number] = vertex_keys(bins[number], num_bins)
        taken.add(int(keys[number]))
    order, first = np.unique(keys, return_index=True)
    return Places(bins, order, np.asarray(vertices, dtype=np.float64)[first])


def _free_bin(vertex: np.ndarray, own: np.ndarray, taken: set[int], num_bins: int) -> np.ndarray:
    """The free bin (3,) whose center is nearest to the vertex (3,); its own where none is free."""
    for reach in range(1, MAX_STEPS + 1):
        low, high = np.maximum(own - reach, 0), np.minimum(own + reach, num_bins - 1)
        axes = [np.arange(low[axis], high[axis] + 1) for axis in range(3)]
        near = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        free = np.array([int(key) not in taken for key in vertex_keys(near, num_bins)])
        if free.any():
            distance = ((dequantize(near[free], num_bins) - vertex) ** 2).sum(axis=1)
            return near[free][distance.argmin()]
    return own
