"""Clouds whose points lie closer together than their noise is wide: fewer points, each on the plane of all around it.

Neighbours by number are then a ball of noise, no piece of a surface, and averages over small cells make that ball only
more even. Within three deviations of the noise a few hundred points tell a plane well, however close they lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flashmesh_core.surface import point_normals
from flashmesh_core.surface.point_normals import CHUNK, SPACING_NEIGHBOUR, Progress

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

WIDE, SURE = 3.0, 3.3  # deviations of the noise around a place whose points tell its plane; and tell the noise
BALL = 2.235  # in a ball of so many, planes tell no noise; in larger ones less than there is by the fourth power
CROWDED, MANY = 110, 200  # points within the first from which on the usual neighbours are lost in noise; asked at most
NEIGHBOURS, PLACES, FEWEST = 33, 2_000, 1_000  # of places the noise is measured at; points that are left for that
COARSER = 4  # times fewer points, at which it is measured next
TWO_SIDED, WALLS = 1.8, 0.05  # kurtosis of heights, 3 of noise and 1 of two sheets, below which a place is in a wall
SPACING = 1.0  # deviations of the noise from a point that is left to the sixth of its neighbours


class Cloud(NamedTuple):
    """What is known of a cloud of N points before anything is made of it."""

    noise: float  # standard deviation of the points across the surface
    within: float  # points that lie within WIDE deviations of one, on the surface
    walls: float  # share of the places where they lie on two sides


def measured(points: np.ndarray, progress: Progress) -> Cloud | None:
    """The noise of `points` (N, 3), in the finest random part of them that shows a surface; None where no part does."""
    order = np.random.default_rng(0).permutation(len(points))
    places, count = points[order[:PLACES]], len(points)
    while True:
        progress(0.0)
        part = points[np.sort(order[:count])]
        distance, nearest = _neighbours(point_normals.tree_of(part), places, NEIGHBOURS)
        deviation, kurtosis = _heights(part[nearest])
        noise, radius = point_normals.noise_of(deviation), float(np.median(distance[:, -1]))
        if radius > 0.0 and radius >= SURE * noise:
            noise /= 1.0 - (BALL * noise / radius) ** 4
            within = NEIGHBOURS * (WIDE * noise / radius) ** 2 * len(points) / count
            return Cloud(noise, within, float((kurtosis < TWO_SIDED).mean()))
        count //= COARSER
        if count < FEWEST:
            return None


def _heights(near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The standard deviation (M,) of points (M, k, 3) over their planes, and the kurtosis (M,) of their heights."""
    centers, normals, squares = point_normals.planes_through(near)
    heights, squares = np.einsum("mki,mi->mk", near - centers[:, None], normals), np.maximum(squares, 1e-60)
    count = near.shape[1]
    return np.sqrt(squares * count / (count - 3)), (heights**4).mean(axis=1) / squares**2


def gathered(
    points: np.ndarray, normals: np.ndarray | None, progress: Progress
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Points (M, 3) of the surface and their unit normals, if such are given; None where points lie far enough apart.

    None, too, where many lie on walls no thicker than planes reach, whose sides would become one (thin_walls.py).
    `points` (N, 3) are of the unit box, unit `normals` (N, 3) or None; `progress(share done)` may raise to cancel.
    """
    cloud = measured(points, progress) if len(points) >= FEWEST else None
    if cloud is None or cloud.within <= CROWDED or cloud.walls > WALLS:
        return None
    asked = min(int(cloud.within), MANY)
    order = np.random.default_rng(1).permutation(len(points))
    part = order[: int(len(points) * asked / cloud.within)]
    apart = len(points) / cloud.within * (WIDE / SPACING) ** 2 * SPACING_NEIGHBOUR
    own = part[: min(int(apart), point_normals.MAX_POINTS)]
    places, points = points[own], points[part]
    given = None if normals is None else (normals[own], normals[part])
    planes = _planes(places, points, asked, given, progress)
    beside = _neighbours(point_normals.tree_of(places), places, NEIGHBOURS)[1]
    best = point_normals.flattest(places, beside[:, 1:], planes, cloud.noise)
    centers, sides = planes[0][best], planes[1][best]
    height = np.einsum("ij,ij->i", places - centers, sides)
    places = places - height[:, None] * sides
    if given is None:
        return places, None
    return places, np.where(np.einsum("ij,ij->i", sides, given[0]) < 0.0, -1.0, 1.0)[:, None] * sides


def _planes(
    places: np.ndarray,
    points: np.ndarray,
    count: int,
    given: tuple[np.ndarray, np.ndarray] | None,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `point_normals.fit_planes` tells of `places` (M, 3) by the `count` nearest of other `points` (N, 3).

    `given`: normals of both, of which those that face away do not count.
    """
    tree, found = point_normals.tree_of(points), []
    for start in range(0, len(places), CHUNK):
        progress(start / len(places))
        rows = slice(start, start + CHUNK)
        both, normals = np.concatenate([places[rows], points]), None
        if given is not None:
            normals = np.concatenate([given[0][rows], given[1]])
        nearest = _neighbours(tree, places[rows], count)[1] + np.int32(len(both) - len(points))
        found.append(point_normals.fit_planes(both, nearest, normals, lambda share: None))
    centers, sides, deviation = (np.concatenate(of) for of in zip(*found, strict=True))
    return centers, sides, deviation


def _neighbours(tree: cKDTree, places: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and numbers (M, k) of the `count` points of a tree that are nearest to each of `places` (M, 3)."""
    distance, nearest = tree.query(places, k=min(count, tree.n), workers=-1)
    return distance, nearest.astype(np.int32)
