"""Which of a cloud's given normals are believed.

Many files hold normals whose sides some program guessed: single ones that face the wrong way are turned over, and
where too many contradict their neighbors, sides do not count. Right normals contradict each other where parts touch,
since samples of both lie at one place; but these are inside, where nobody sees them.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.point_normals import COMPILED
from flashmesh_core.surface.visibility import shares_seen

TURNS, VOTERS, ALONE = 3, 32, 0.7  # rounds; neighbors asked; share of them against whom a normal is wrong
TOUCHING = 0.95  # the same in a cloud of parts that touch
NEXT, DISAGREEING = 6, 0.1  # neighbors, and the share of them on opposite sides above which sides do not count
AT_PEACE, PEACEFUL = 0.1, 0.1  # share of neighbors against a normal, and of normals with fewer: sides were not guessed
MIXED, SEEN = (0.3, 0.7), 0.1  # share of neighbors against a normal between two parts; of directions out from there


def believed(points: np.ndarray, normals: np.ndarray, nearest: np.ndarray, gap: float) -> np.ndarray | None:
    """The unit `normals` (N, 3) of `points` (N, 3), those turned over that face the wrong way; None where too many do.

    `nearest` (N, k) are their neighbors, the nearest first, `gap` is the mean spacing.
    """
    turned = _turned_back(points, normals, nearest, ALONE)
    same, opposite = _count_sides(points, turned, nearest, NEXT)
    if opposite.sum() <= DISAGREEING * max(same.sum() + opposite.sum(), 1):
        return turned
    return _turned_back(points, normals, nearest, TOUCHING) if _parts_touch(points, normals, nearest, gap) else None


def _parts_touch(points: np.ndarray, normals: np.ndarray, nearest: np.ndarray, gap: float) -> bool:
    """Whether normals contradict their neighbors only where nothing is seen from outside."""
    against = _share_against(points, normals, nearest)
    mixed = (against >= MIXED[0]) & (against <= MIXED[1])
    if np.mean(against < AT_PEACE) < PEACEFUL or not mixed.any():
        return False
    places, up = points[mixed], normals[mixed]
    return bool(max(np.mean(seen) for seen in shares_seen(points, gap, (places, up), (places, -up))) < SEEN)


def _turned_back(points: np.ndarray, normals: np.ndarray, nearest: np.ndarray, most: float) -> np.ndarray:
    """The normals (N, 3), those turned over that contradict more than `most` of the neighbors in their plane."""
    for _ in range(TURNS):
        alone = _share_against(points, normals, nearest) > most
        if not alone.any():
            break
        normals = np.where(alone[:, None], -normals, normals)
    return normals


def _share_against(points: np.ndarray, normals: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Of the neighbors in each sample's plane the share (N,) that faces the opposite way."""
    same, opposite = _count_sides(points, normals, nearest, VOTERS)
    return np.asarray(opposite / np.maximum(same + opposite, 1))


@njit(**COMPILED)
def _count_sides(points, normals, nearest, count):
    """Of `count` neighbors how many lie in a sample's plane and face its way (N,), and the opposite way (N,)."""
    same, opposite = np.zeros(len(points), dtype=np.int64), np.zeros(len(points), dtype=np.int64)
    for i in range(len(points)):
        for j in range(min(count, nearest.shape[1])):
            q = nearest[i, j]
            dot = length = up = 0.0
            for axis in range(3):
                along = points[q, axis] - points[i, axis]
                dot += normals[i, axis] * normals[q, axis]
                length += along * along
                up += along * normals[i, axis]
            if up * up < 0.1 * length:  # else they may be the two sides of a wall
                same[i] += dot > 0.5
                opposite[i] += dot < -0.5
    return same, opposite
