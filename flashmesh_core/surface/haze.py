"""Points that hover about a surface: what stereo and depth cameras mistake, one in ten or twenty of all.

They lie too near to the surface to be single (strays.py), and further off than its noise explains: every one would be
a bump or a crumb of what is made of the cloud.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.point_normals import (
    COMPILED,
    SPACING_NEIGHBOUR,
    nearest_neighbours,
    neighbours_left,
    plane_of_sums,
    planes_through,
    tree_of,
)
from flashmesh_core.surface.samples import Progress
from flashmesh_core.surface.threads import in_threads

FEWEST = 2_000  # points below which leaves and wires look no other
NEIGHBOURS, TRIPLES = 32, 24  # asked; planes tried through three of them
THICK, COARSER = 0.2, 4  # deviation of neighbors by their distance above which so many times fewer points are asked
PLACES, FEW, FEWER = 4_000, 0.008, 0.001  # looked at first; shares of them below which none hover, and no more do
MOST = 0.25  # share above which they are no mistakes: leaves, hair
FAR, APART = 5.0, 0.3  # deviations of its neighbors that a point is off their plane; and of its spacing
FIRST, ALIKE = 3, 5  # neighbors as far off on its side at most, of those looked at first and then
LATTICE = 0.3  # deviation of neighbors, at least, by the step of the lattice on which all coordinates lie
WITHIN = 2.5  # deviations up to which a neighbor counts for the plane
NORMAL = 1.4826  # deviation over the median distance from a plane, of normal noise
PEERS, LEVEL = 6, 0.15  # others that hover; their deviation from a plane, by the height, where they show one
BESIDE, HOLDING = 6, 2  # points that stay around one; of their planes those that hold it, at least


class _Sheets(NamedTuple):
    """M points of a cloud that do not hover."""

    points: np.ndarray  # (M, 3)
    planes: np.ndarray  # (M, 5) of their neighbors: unit normal, how high the point is over it, deviation from it

    def hold(self, points: np.ndarray) -> np.ndarray:
        """Which of other `points` (K, 3) of the cloud do not hover either, (K,)."""
        distance, nearest = tree_of(self.points).query(points, k=BESIDE, workers=-1)
        planes = self.planes[nearest]
        height = np.einsum("kjc,kjc->kj", points[:, None] - self.points[nearest], planes[:, :, :3]) + planes[:, :, 3]
        near = np.maximum(FAR * planes[:, :, 4], APART * distance[:, -1:])
        return (np.abs(height) <= near).sum(axis=1) >= HOLDING


def hovering(points: np.ndarray, some: np.ndarray, report: Progress) -> np.ndarray:
    """Which of `points` (N, 3) hover about surfaces, (N,), told by those numbered `some` (M,), all different.

    None where these are few, and where too few or too many hover. `report` as of `reconstruct`.
    """
    none = np.zeros(len(points), dtype=np.bool_)
    order = np.random.default_rng(0).permutation(some)
    least = LATTICE * _lattice(points[some])
    while True:
        if len(order) < FEWEST:
            return none
        part = np.sort(order)
        distance, nearest = tree_of(points[part]).query(points[order[:PLACES]], k=NEIGHBOURS + 1, workers=-1)
        places = np.searchsorted(part, order[:PLACES])
        hovers, planes = _hovering(points[part], places, distance[:, 1:], nearest[:, 1:], FIRST, least)
        if np.median(planes[:, 4]) <= THICK * np.median(distance[:, -1]):
            break
        order = order[: len(order) // COARSER]
    if hovers.mean() <= FEW:
        return none
    stays, sheets = _sheets(points[part], least, report)
    if stays.mean() < 1.0 - MOST:
        return none
    hovers = ~sheets.hold(points) if len(part) < len(points) else none
    hovers[part] = ~stays
    return hovers


def _sheets(points: np.ndarray, least: float, report: Progress) -> tuple[np.ndarray, _Sheets]:
    """Which of points (N, 3) do not hover, (N,), and these with their planes; `least` as of `_hovering`."""
    kept = np.arange(len(points))

    def tell(share: float) -> None:
        report("reading", 0.0)

    distance, nearest = nearest_neighbours(points, NEIGHBOURS, tell)
    while True:
        hovers, planes = _hovering(points[kept], np.arange(len(kept)), distance, nearest, ALIKE, least)
        far = np.flatnonzero(hovers)
        hovers[far] = _apart_from_alike(points[kept[far]], np.abs(planes[far, 3]))
        before, kept, planes = kept, kept[~hovers], planes[~hovers]
        if hovers.mean() <= FEWER or len(kept) < (1.0 - MOST) * len(points):
            stays = np.zeros(len(points), dtype=np.bool_)
            stays[kept] = True
            planes[np.abs(planes[:, 3]) > FAR * planes[:, 4], 3] = 0.0  # they are on one of their own
            return stays, _Sheets(points[kept], planes)
        distance, nearest = neighbours_left(points[before], distance, nearest, hovers, tell)


def _lattice(points: np.ndarray) -> float:
    """The step between the coordinates of points (N, 3): that of a lattice, or next to nothing."""
    steps = [np.diff(np.unique(along)) for along in points.T]
    return min((float(np.median(step)) for step in steps if len(step)), default=0.0)


def _hovering(
    points: np.ndarray, of: np.ndarray, distance: np.ndarray, nearest: np.ndarray, most: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the points numbered `of` (M,) hover, (M,), and the planes (M, 5) of their neighbors (M, k).

    At most so many (`most`) of these are as far off; they deviate by `least` at least.
    """
    rng = np.random.default_rng(0)
    triples = np.stack([rng.choice(NEIGHBOURS, 3, replace=False) for _ in range(TRIPLES)])
    planes, alike = np.empty((len(of), 5)), np.empty(len(of), dtype=np.int64)
    in_threads(_look, len(of), points, of, nearest.astype(np.int32), triples, planes, alike)
    planes[:, 4] = np.maximum(planes[:, 4], least)
    off = np.abs(planes[:, 3])
    far = off > np.maximum(FAR * planes[:, 4], APART * distance[:, SPACING_NEIGHBOUR - 1])
    return far & (alike <= most), planes


def _apart_from_alike(points: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Which of points (M, 3) that are `height` (M,) off a surface lie on none that others of them show, (M,)."""
    if len(points) <= PEERS:
        return np.ones(len(points), dtype=np.bool_)
    _, nearest = nearest_neighbours(points, PEERS, lambda share: None)
    _, _, squares = planes_through(points[np.column_stack([np.arange(len(points)), nearest])])
    return np.sqrt(np.maximum(squares, 0.0)) > LEVEL * height


@njit(**COMPILED)
def _look(first, last, points, of, nearest, triples, planes, alike):
    """For points `of` first to last the plane of most of their neighbors, and how many of these are as far off it.

    The plane is that through three of them which most are near to, by the sum of the distances, then the least squares
    plane of those WITHIN, twice.
    """
    k = nearest.shape[1]
    near, heights = np.empty((k, 3)), np.empty(k)
    for i in range(first, last):
        p = points[of[i]]
        for j in range(k):
            for axis in range(3):
                near[j, axis] = points[nearest[i, j], axis] - p[axis]
        x, y, z, d, middle = _plane_of_most(near, triples, heights)
        thick = NORMAL * middle
        for _ in range(2):
            x, y, z, d, thick = _plane_within(near, x, y, z, d, WITHIN * thick, thick)
        planes[i, 0], planes[i, 1], planes[i, 2], planes[i, 3], planes[i, 4] = x, y, z, -d, thick
        alike[i] = 0
        for j in range(k):
            up = near[j, 0] * x + near[j, 1] * y + near[j, 2] * z - d
            alike[i] += up * -d > 0.0 and abs(up) > 0.5 * abs(d)


@njit(**COMPILED)
def _plane_of_most(near, triples, heights):
    """The plane through three of `near` (k, 3) that most lie near, and the median of their distances.

    As a unit normal and its height over the origin; `heights` (k,) is written over.
    """
    best, x, y, z, d = np.inf, 0.0, 0.0, 1.0, 0.0
    for t in range(len(triples)):
        a, b, c = near[triples[t, 0]], near[triples[t, 1]], near[triples[t, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length <= 0.0:
            continue
        nx, ny, nz = nx / length, ny / length, nz / length
        height = nx * a[0] + ny * a[1] + nz * a[2]
        found = 0.0
        for j in range(len(near)):
            found += abs(near[j, 0] * nx + near[j, 1] * ny + near[j, 2] * nz - height)
        if found < best:
            best, x, y, z, d = found, nx, ny, nz, height
    for j in range(len(near)):
        heights[j] = abs(near[j, 0] * x + near[j, 1] * y + near[j, 2] * z - d)
    return x, y, z, d, np.partition(heights, len(near) // 2)[len(near) // 2]


@njit(**COMPILED)
def _plane_within(near, x, y, z, d, reach, thick):
    """The least squares plane of those of `near` (k, 3) within `reach` of a plane, and their deviation from it."""
    count, mx, my, mz = 0, 0.0, 0.0, 0.0
    xx = yy = zz = xy = xz = yz = 0.0
    for j in range(len(near)):
        a, b, c = near[j, 0], near[j, 1], near[j, 2]
        if abs(a * x + b * y + c * z - d) <= reach:
            count += 1
            mx, my, mz = mx + a, my + b, mz + c
            xx, yy, zz = xx + a * a, yy + b * b, zz + c * c
            xy, xz, yz = xy + a * b, xz + a * c, yz + b * c
    if count < 4:
        return x, y, z, d, thick
    mx, my, mz, x, y, z, thick = plane_of_sums(count, mx, my, mz, xx, yy, zz, xy, xz, yz)
    return x, y, z, x * mx + y * my + z * mz, thick
