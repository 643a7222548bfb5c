"""A cloud of points, read: denoised and oriented samples with their spacing, noise and areas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flashmesh_core.surface import point_filter, point_normals
from flashmesh_core.surface.implicit import OTHER
from flashmesh_core.surface.orientation import orient
from flashmesh_core.surface.point_normals import SPACING_NEIGHBOUR

Progress = Callable[[str, float], None]  # called with the stage and the share of it that is done; may raise to cancel

NEIGHBOURS = 32
FILTER_REACH = 1.3  # spacings
DISAGREEING = 0.1  # share of neighbours on opposite sides above which given normals count without their sides
_AREA_NEIGHBOURS, _GRAPH_NEIGHBOURS = 20, 16


@dataclass(frozen=True, eq=False)
class Samples:
    """Oriented samples of a surface; lengths in the unit box."""

    points: np.ndarray  # (N, 3), denoised
    normals: np.ndarray  # (N, 3) unit, outward where that can be told
    spacing: np.ndarray  # (N,) distance to the sixth neighbour
    areas: np.ndarray  # (N,) of surface that each stands for
    beside_edges: np.ndarray  # (N,) whether neighbours have other normals
    noise: float  # standard deviation of the given points across the surface
    gap: float  # mean spacing

    def only(self, kept: np.ndarray, report: Progress) -> Samples:
        """Those that are `kept` (N,), measured anew among themselves."""
        points, normals = self.points[kept], self.normals[kept]
        near = point_normals.nearest_neighbours(points, NEIGHBOURS, lambda f: report("sides", f))
        return _measured(points, normals, *near, self.noise, self.gap)


def read_samples(points: np.ndarray, normals: np.ndarray | None, report: Progress) -> Samples:
    """Denoise and orient `points` (N, 3), all different, with unit `normals` (N, 3) or None."""
    distance, nearest = point_normals.nearest_neighbours(points, NEIGHBOURS, lambda f: report("neighbours", f))
    spacing = _spacing(distance)
    gap, reach = float(spacing.mean()), FILTER_REACH * np.maximum(spacing, 1e-9)
    given = normals
    if normals is not None:
        normals = point_normals.turned_back(points, normals, nearest)
        if point_normals.disagreement(points, normals, nearest) > DISAGREEING:
            normals = None
    planes = point_normals.fit_planes(points, nearest, normals, lambda f: report("planes", f))
    noise = point_normals.noise_of(planes[2])
    oriented = normals is not None
    if normals is None:
        normals = point_normals.sharpen_normals(points, nearest, planes, noise)
    filters = (nearest, reach, noise, oriented)
    normals = point_filter.filter_normals(points, normals, *filters, lambda f: report("normals", f))
    points = point_filter.filter_positions(points, normals, *filters, lambda f: report("positions", f))
    if not oriented:
        # Noise changes who is near whom; the sides spread over neighbours on the surface.
        _, near = point_normals.nearest_neighbours(points, _GRAPH_NEIGHBOURS, lambda f: report("sides", f))
        areas = np.pi * distance[:, -1] ** 2 / distance.shape[1]
        normals = normals * orient(points, normals, near, areas, gap)[:, None]
        if given is not None and np.einsum("ij,ij->i", normals, given).mean() < 0.0:
            normals = -normals
    return _measured(points, normals, distance, nearest, noise, gap)


def _spacing(distance: np.ndarray) -> np.ndarray:
    return distance[:, min(SPACING_NEIGHBOUR, distance.shape[1]) - 1]


def _measured(
    points: np.ndarray, normals: np.ndarray, distance: np.ndarray, nearest: np.ndarray, noise: float, gap: float
) -> Samples:
    """The samples by the `distance` (N, k) to their neighbours `nearest` (N, k)."""
    areas = point_normals.areas_of(normals, nearest[:, :_AREA_NEIGHBOURS], distance[:, :_AREA_NEIGHBOURS])
    beside_edges = point_normals.beside_edges(normals, nearest, OTHER)
    return Samples(points, normals, _spacing(distance), areas, beside_edges, noise, gap)
