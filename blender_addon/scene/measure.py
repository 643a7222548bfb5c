# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a result lies from its source: from points to surfaces, so that two equal meshes are 0 apart."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree

from . import mesh_bridge
from .mesh_bridge import Surface

SAMPLES = 2_000  # on each surface, beside the vertices
MAX_VERTICES = 2_000  # of each mesh that are measured
MAX_FACES = 200_000  # of a source; a tree of more keeps Blender waiting


@dataclass(frozen=True)
class Gap:
    """Ways between two surfaces in shares of the source's longest side; None where they were not measured."""

    mean: float | None  # the larger of the means of both directions
    most: float | None


def measure_gap(mesh: bpy.types.Mesh, world: np.ndarray, surface: Surface, strays: int = 0) -> Gap | None:
    """The ways from the result `mesh`, seen through `world` (4, 4), to its source, and back.

    From a point cloud only its points are measured, since it has no surface to measure to, but for the `strays`
    farthest, which were left out. None where one has no faces, or the source more than MAX_FACES.
    """
    local, faces = mesh_bridge.mesh_arrays(mesh)
    if not len(faces) or len(surface.faces) > MAX_FACES:
        return None
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    middle, size = (low + high) / 2.0, float((high - low).max())
    if not size > 0.0:
        return None
    vertices, faces = mesh_bridge.transform_triangles(local, faces, world)
    result, source = (vertices - middle) / size, (surface.vertices - middle) / size
    rng = np.random.default_rng(0)
    places = _places(source, surface.faces, rng)
    ways = [_ways(places, result, faces)]
    if strays:
        near = np.argsort(ways[0])[: max(round(len(places) * (1.0 - strays / len(source))), 2)]
        ways = [ways[0][near] / np.ptp(places[near], axis=0).max()]  # without them, the source is smaller, too
    if len(surface.faces):
        ways.append(_ways(_places(result, faces, rng), source, surface.faces))
    return Gap(max(float(way.mean()) for way in ways), max(float(way.max()) for way in ways))


def _places(vertices: np.ndarray, faces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points on a surface (N, 3): vertices that faces use, and samples spread evenly over its area."""
    corners = vertices[np.unique(faces)] if len(faces) else vertices
    if len(corners) > MAX_VERTICES:
        corners = corners[rng.choice(len(corners), MAX_VERTICES, replace=False)]
    triangles = vertices[faces]
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    area = np.linalg.norm(cross, axis=1)
    if not area.sum() > 0.0:
        return corners
    picked = triangles[rng.choice(len(area), SAMPLES, p=area / area.sum())]
    a, b = np.sqrt(rng.random((SAMPLES, 1))), rng.random((SAMPLES, 1))
    spread = (1.0 - a) * picked[:, 0] + a * (1.0 - b) * picked[:, 1] + a * b * picked[:, 2]
    return np.concatenate([corners, spread])


def _ways(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The distance (N,) of each point to a surface."""
    tree = BVHTree.FromPolygons(vertices.tolist(), faces.tolist(), all_triangles=True)
    found = [tree.find_nearest(point)[3] for point in points]
    return np.array([distance for distance in found if distance is not None] or [0.0])
