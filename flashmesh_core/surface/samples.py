"""A cloud of points, read: denoised and oriented samples with their spacing, noise and areas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flashmesh_core.surface import normal_predictor, point_filter, point_normals
from flashmesh_core.surface.given_normals import believed
from flashmesh_core.surface.implicit import OTHER
from flashmesh_core.surface.normal_predictor import Filtered, load_normal_predictor, with_shared_planes
from flashmesh_core.surface.orientation import orient
from flashmesh_core.surface.point_normals import SPACING_NEIGHBOUR
from flashmesh_core.surface.thin_walls import Walls, find_walls
from flashmesh_core.surface.viewpoint import facing

Progress = Callable[[str, float], None]  # called with the stage and the share of it that is done; may raise to cancel

NEIGHBOURS = normal_predictor.NEIGHBOURS
FILTER_REACH = 1.3  # spacings
_AREA_NEIGHBOURS, _GRAPH_NEIGHBOURS = 20, 16


@dataclass(frozen=True, eq=False)
class Samples:
    """Oriented samples of a surface; lengths in the unit box."""

    points: np.ndarray  # (N, 3), denoised
    normals: np.ndarray  # (N, 3) unit, outward where that can be told
    spacing: np.ndarray  # (N,) distance to the sixth neighbour
    areas: np.ndarray  # (N,) of surface that each stands for
    beside_edges: np.ndarray  # (N,) whether neighbours have other normals
    walls: np.ndarray  # (N,) whether it is on a side of a wall hardly thicker than the noise
    noise: float  # standard deviation of the given points across the surface
    gap: float  # mean spacing

    def only(self, kept: np.ndarray, report: Progress) -> Samples:
        """Those that are `kept` (N,), measured anew among themselves."""
        points, normals = self.points[kept], self.normals[kept]
        near = point_normals.nearest_neighbours(points, NEIGHBOURS, lambda f: report("sides", f))
        return measured(points, normals, *near, self.walls[kept], self.noise, self.gap)


def read_samples(
    points: np.ndarray, normals: np.ndarray | None, report: Progress, viewpoint: np.ndarray | None = None
) -> Samples:
    """Denoise and orient `points` (N, 3), all different, with unit `normals` (N, 3) or None.

    `viewpoint` (3,) is a place that all of the surface faces (viewpoint.py), None where there is no such place.
    """
    distance, nearest = point_normals.nearest_neighbours(points, NEIGHBOURS, lambda f: report("neighbours", f))
    gap = float(_spacing(distance).mean())
    given, normals = normals, None if normals is None else believed(points, normals, nearest, gap)
    planes = point_normals.fit_planes(points, nearest, normals, lambda f: report("planes", f))
    noise = point_normals.noise_of(planes[2])
    oriented, walls = normals is not None, None
    if normals is None:
        walls = find_walls(points, noise, gap, lambda f: report("planes", f))
        if walls is not None:
            points, noise = walls.points, walls.noise
            distance, nearest = point_normals.nearest_neighbours(
                walls.lifted(gap), NEIGHBOURS, lambda f: report("neighbours", f)
            )
            gap = float(_spacing(distance).mean())
            planes = point_normals.fit_planes(points, nearest, None, lambda f: report("planes", f))
        normals = planes[1][point_normals.flattest(points, nearest, planes, noise)]
        normals = normals if walls is None else np.where(walls.known[:, None], walls.sides, normals)
    found = _filtered(points, normals, distance, nearest, planes[2], noise, gap, oriented, report)
    points, normals = found.points, found.normals
    if not oriented:
        if nearest.shape[1] >= NEIGHBOURS:
            points, normals = _predicted(found, walls, report)
        normals = _facing_out(points, normals, distance, gap, walls, viewpoint, report)
        if given is not None and walls is None and np.einsum("ij,ij->i", normals, given).mean() < 0.0:
            normals = -normals
    known = np.zeros(len(points), dtype=np.bool_) if walls is None else walls.known
    return measured(points, normals, distance, nearest, known, noise, gap)


def filtered_cloud(points: np.ndarray, report: Progress) -> Filtered | None:
    """What the normal predictor looks at of `points` (N, 3), all different; None where it is not asked."""
    distance, nearest = point_normals.nearest_neighbours(points, NEIGHBOURS, lambda f: report("neighbours", f))
    gap = float(_spacing(distance).mean())
    planes = point_normals.fit_planes(points, nearest, None, lambda f: report("planes", f))
    noise = point_normals.noise_of(planes[2])
    if nearest.shape[1] < NEIGHBOURS or find_walls(points, noise, gap, lambda f: report("planes", f)) is not None:
        return None
    normals = planes[1][point_normals.flattest(points, nearest, planes, noise)]
    return _filtered(points, normals, distance, nearest, planes[2], noise, gap, False, report)


def _filtered(
    points: np.ndarray,
    normals: np.ndarray,
    distance: np.ndarray,
    nearest: np.ndarray,
    deviation: np.ndarray,
    noise: float,
    gap: float,
    oriented: bool,
    report: Progress,
) -> Filtered:
    """Points (N, 3) and unit normals (N, 3) filtered over the neighbours `nearest` (N, k)."""
    reach = FILTER_REACH * np.maximum(_spacing(distance), 1e-9)
    filters = (nearest, reach, noise, oriented)
    normals = point_filter.filter_normals(points, normals, *filters, lambda f: report("normals", f))
    moved = point_filter.filter_positions(points, normals, *filters, lambda f: report("positions", f))
    return Filtered(points, moved, normals, deviation, nearest, reach, noise, gap)


def _predicted(cloud: Filtered, walls: Walls | None, report: Progress) -> tuple[np.ndarray, np.ndarray]:
    """The points (N, 3) of a cloud, and unit normals (N, 3), of either sign, which the network tells but on `walls`."""
    normals = load_normal_predictor().predict(cloud, lambda f: report("normals", f))
    normals = with_shared_planes(cloud, normals)
    if walls is not None:
        normals = np.where(walls.known[:, None], cloud.normals, normals)
    filters = (cloud.nearest, cloud.reach, cloud.noise, False)
    return point_filter.filter_positions(cloud.given, normals, *filters, lambda f: report("positions", f)), normals


def _facing_out(
    points: np.ndarray,
    normals: np.ndarray,
    distance: np.ndarray,
    gap: float,
    walls: Walls | None,
    viewpoint: np.ndarray | None,
    report: Progress,
) -> np.ndarray:
    """Unit normals (N, 3) of either sign, turned outwards; `distance` (N, k) to the neighbours."""
    turned = None if viewpoint is None else facing(points, normals, viewpoint, gap)
    if turned is not None:
        return turned
    # Noise changes who is near whom; the sides spread over neighbours on the surface.
    if walls is not None:
        walls = walls._replace(points=points)
        normals = walls.turned(normals)
    lifted = points if walls is None else walls.lifted(gap)
    _, near = point_normals.nearest_neighbours(lifted, _GRAPH_NEIGHBOURS, lambda f: report("sides", f))
    areas = np.pi * distance[:, -1] ** 2 / distance.shape[1]
    return normals * orient(points, normals, near, areas, gap, None if walls is None else walls.known)[:, None]


def _spacing(distance: np.ndarray) -> np.ndarray:
    return distance[:, min(SPACING_NEIGHBOUR, distance.shape[1]) - 1]


def measured(
    points: np.ndarray,
    normals: np.ndarray,
    distance: np.ndarray,
    nearest: np.ndarray,
    walls: np.ndarray,
    noise: float,
    gap: float,
) -> Samples:
    """The samples by the `distance` (N, k) to their neighbours `nearest` (N, k)."""
    areas = point_normals.areas_of(normals, nearest[:, :_AREA_NEIGHBOURS], distance[:, :_AREA_NEIGHBOURS])
    beside_edges = point_normals.beside_edges(normals, nearest, OTHER) | walls
    return Samples(points, normals, _spacing(distance), areas, beside_edges, walls, noise, gap)
