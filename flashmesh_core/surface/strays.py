"""Points of a cloud that lie on no surface: dust, reflections, what a scanner saw between near and far.

Every one would be closed around, as wide as the gap to its neighbors is, and far ones make the whole cloud small in its
box.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.io import first_at_place
from flashmesh_core.surface.haze import hovering
from flashmesh_core.surface.isolated import MOST as ISOLATED
from flashmesh_core.surface.isolated import SMALL, isolated_parts
from flashmesh_core.surface.point_normals import (
    MAX_POINTS,
    SPACING_NEIGHBOUR,
    nearest_neighbours,
    neighbours_left,
    planes_through,
    random_part,
    tree_of,
)
from flashmesh_core.surface.samples import Progress

FEWEST = 200  # points below which none is told from a coarse surface
MOST = 0.12  # share of the points above which they are no strays: leaves around a trunk
NEIGHBOURS, ROUNDS = 16, 6
LONE, OFF = 4.0, 0.6  # times the spacing of a quarter of its neighbors; of its own that it is off their plane
SPARSE = 4.0  # times the usual spacing, where only points of a surface stay
FLAT, THICK = 0.3, 0.25  # of its spacing that one is off its neighbors' plane there, at most; deviation of these
HANDFUL = 32  # sparse points below which none shows a surface
PEERS, NEAR = 12, 2.0  # neighbors that are sparse, too; of its spacing that the sixth of them is off, at most


def on_surfaces(points: np.ndarray, report: Progress) -> np.ndarray:
    """Which of `points` (N, 3), in any unit, are no strays, (N,).

    Those are points that hover about surfaces (haze.py), single ones off the surface that their neighbors lie on,
    sparse ones on none, and then small clusters far from the rest; copies count once, as the origin does where a
    camera saw nothing. Of more than MAX_POINTS as many are looked at; the others are what those beside them are.
    `report` as of `reconstruct`.
    """
    looked_at = np.arange(len(points))
    if len(points) > MAX_POINTS:
        looked_at = random_part(len(points), MAX_POINTS)
    place = looked_at[first_at_place(points[looked_at])]
    some = looked_at[place == looked_at]
    hovers = hovering(points, some, report)
    some = some[~hovers[some]]
    kept, spacing = _kept(points[some], report)
    some = some[kept]
    if len(points) > MAX_POINTS:
        return _beside(points, points[some], spacing) & ~hovers
    stays = np.zeros(len(points), dtype=np.bool_)
    stays[some] = True
    return stays[place]


def _kept(points: np.ndarray, report: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Which of different points (N, 3) are no strays, (N,), and the spacing (M,) of those; all where too many are."""
    some = np.arange(len(points))
    least = max((1.0 - MOST) * len(some), FEWEST)

    def tell(share: float) -> None:
        report("reading", 0.0)

    for done in range(ROUNDS + 1):
        if len(some) < least:
            return np.ones(len(points), dtype=np.bool_), np.full(len(points), np.inf)
        if not done:
            distance, nearest = nearest_neighbours(points, NEIGHBOURS, tell)
        spacing = distance[:, SPACING_NEIGHBOUR - 1]
        stray = _strays(points[some], spacing, nearest)
        if done == ROUNDS or not stray.any():
            break
        distance, nearest = neighbours_left(points[some], distance, nearest, stray, tell)
        some = some[~stray]
    far = _in_far_clusters(points[some], distance, nearest)
    kept = np.zeros(len(points), dtype=np.bool_)
    kept[some[~far]] = True
    return kept, spacing[~far]


def _in_far_clusters(points: np.ndarray, distance: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Which points (N,) are in a small cluster far from the others, as pieces of a mesh are isolated (isolated.py).

    Points of a cluster lie no farther apart than SPARSE. `distance` and `nearest` (N, k) are those of their neighbors.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    spacing = distance[:, SPACING_NEIGHBOUR - 1]
    link = SPARSE * float(np.median(spacing))
    one, which = np.nonzero(distance <= link)
    pairs = coo_matrix((np.ones(len(one), dtype=np.bool_), (one, nearest[one, which])), shape=(len(points),) * 2)
    count, cluster = connected_components(pairs, directed=False)
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, cluster, points)
    np.maximum.at(high, cluster, points)
    size = (high - low).max(axis=1)
    small = size < SMALL * size.max()

    def way(of: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return tree_of(points[of[cluster]]).query(points[rows], workers=-1)[0]

    far = isolated_parts(small, np.maximum(size, link), cluster, way)[cluster]
    few = float((spacing[far] ** 2).sum()) <= ISOLATED * float((spacing**2).sum())
    return far if few else np.zeros(len(points), dtype=np.bool_)


def _strays(points: np.ndarray, spacing: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Which points (N,) lie on no surface that their neighbors `nearest` (N, k) are of; `spacing` (N,) of each."""
    stray = np.zeros(len(points), dtype=np.bool_)
    usual = float(np.median(spacing))
    around = np.partition(spacing[nearest], NEIGHBOURS // 4 - 1, axis=1)[:, NEIGHBOURS // 4 - 1]
    lone, sparse = spacing > LONE * np.maximum(around, 0.5 * usual), spacing > SPARSE * usual
    doubted = np.flatnonzero(lone | sparse)
    if len(doubted):
        off, thick = _planes(points, doubted, nearest[doubted])
        far, on_none = off > OFF * spacing[doubted], _on_none(off, thick, spacing[doubted])
        stray[doubted] = np.where(sparse[doubted], lone[doubted] | on_none, far)
        stray[sparse] &= _apart_from_alike(points[sparse], spacing[sparse])
    return stray


def _apart_from_alike(points: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Which of sparse points (N,) lie on no surface that others of them show; `spacing` (N,) among all."""
    if len(points) < HANDFUL:
        return np.ones(len(points), dtype=np.bool_)
    distance, nearest = nearest_neighbours(points, PEERS, lambda share: None)
    own = distance[:, SPACING_NEIGHBOUR - 1]
    return (own > NEAR * spacing) | _on_none(*_planes(points, np.arange(len(points)), nearest), own)


def _on_none(off: np.ndarray, thick: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    return (off > FLAT * spacing) | (thick > THICK * spacing)


def _planes(points: np.ndarray, of: np.ndarray, nearest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far points `of` (M,) are off the plane of their neighbors (M, k), and the deviation of these, (M,)."""
    centers, normals, squares = planes_through(points[nearest])
    off = np.abs(np.einsum("mi,mi->m", points[of] - centers, normals))
    return off, np.sqrt(np.maximum(squares, 0.0))


def _beside(points: np.ndarray, kept: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Which points (N,) are as near to the `kept` ones (M, 3) as their `spacing` (M,) allows."""
    distance, nearest = tree_of(kept).query(points, workers=-1)
    return distance <= LONE * spacing[nearest]
