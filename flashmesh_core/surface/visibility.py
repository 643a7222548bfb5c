"""From which side each sample of a cloud is seen from outside: what tells outwards from inwards where bodies touch."""

from __future__ import annotations

from itertools import product

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.point_normals import COMPILED

CELL, FINEST = 1.5, 1 / 160  # spacings of a cell's side, its least: a surface leaves hardly a cell without samples
OFFSET = 1.6  # cells from a sample to where one looks from, on either side
STEEP = 0.3  # cosine to the normal that a direction must have
_DIRECTIONS = np.array([step for step in product((-1, 0, 1), repeat=3) if any(step)], dtype=np.int64)


def openness(points: np.ndarray, normals: np.ndarray, gap: float) -> np.ndarray:
    """How much more each of `points` (N, 3) is seen from its normal's side than from the other, (N,), -1 to 1.

    The share of directions that meet no other cell with samples on their way out, on the one side less the other's.
    A sheet is seen from both sides alike, the wall of a closed body from one; cells are CELL spacings `gap` wide.
    """
    one, other = shares_seen(points, gap, (points, normals), (points, -normals))
    return one - other


def shares_seen(points: np.ndarray, gap: float, *views: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """For each view the share (M,) of directions in which one gets out past all `points` (N, 3), 0 to 1.

    A view is places (M, 3) and the unit normals (M, 3) of the sides on which one looks from there.
    """
    side = max(CELL * gap, FINEST)
    low = points.min(axis=0) - 2.0 * side
    shape = np.floor((points.max(axis=0) + 2.0 * side - low) / side).astype(np.int64) + 1
    taken = np.zeros(tuple(shape), dtype=np.bool_)
    cells = np.floor((points - low) / side).astype(np.int64)
    taken[tuple(cells.T)] = True
    seen = np.zeros(tuple(shape), dtype=np.uint32)  # a bit a direction
    for number, step in enumerate(_DIRECTIONS):
        _look(taken, step, np.uint32(1 << number), seen)
    return [_shares(places, normals, seen, _DIRECTIONS, low, side, OFFSET * side, STEEP) for places, normals in views]


@njit(**COMPILED)
def _look(taken, step, bit, seen):
    """Set `bit` of the free cells from which one leaves the grid, step after step, without meeting a taken cell."""
    size = taken.shape
    for a in range(size[0]):
        i = a if step[0] <= 0 else size[0] - 1 - a
        for b in range(size[1]):
            j = b if step[1] <= 0 else size[1] - 1 - b
            for c in range(size[2]):
                k = c if step[2] <= 0 else size[2] - 1 - c
                u, v, w = i + step[0], j + step[1], k + step[2]
                out = u < 0 or u >= size[0] or v < 0 or v >= size[1] or w < 0 or w >= size[2]
                if not taken[i, j, k] and (out or seen[u, v, w] & bit):
                    seen[i, j, k] |= bit


@njit(**COMPILED)
def _shares(points, normals, seen, directions, low, side, offset, steep):
    result = np.empty(len(points))
    for i in range(len(points)):
        cell = np.empty(3, dtype=np.int64)
        for axis in range(3):
            at = (points[i, axis] + offset * normals[i, axis] - low[axis]) / side
            cell[axis] = min(max(np.int64(np.floor(at)), 0), seen.shape[axis] - 1)
        open_, total = 0.0, 0.0
        for d in range(len(directions)):
            dot = length = 0.0
            for axis in range(3):
                dot += normals[i, axis] * directions[d, axis]
                length += directions[d, axis] ** 2
            if dot > steep * np.sqrt(length):
                total += 1.0
                open_ += seen[cell[0], cell[1], cell[2]] >> np.uint32(d) & np.uint32(1)
        result[i] = open_ / max(total, 1.0)
    return result
