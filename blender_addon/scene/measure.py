# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a result lies from its source: from points to surfaces, so that two equal meshes are 0 apart."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree

from flashmesh_core.mesh.topology import component_labels

from . import mesh_bridge
from .mesh_bridge import Surface

SAMPLES = 2_000  # on each surface, beside the vertices
MAX_VERTICES = 2_000  # of each mesh that are measured
SMALL = 0.03  # of the longest part: shorter ones may have been left out (surface/isolated.py)
APART = 0.002  # of the longest side: what is nearer to the result has been made again
LOOKED_AT = 200  # vertices of a part that may be inside of the result
MAX_FACES = 200_000  # of a source; a tree of more keeps Blender waiting


@dataclass(frozen=True)
class Gap:
    """Ways between two surfaces in shares of the source's longest side; None where they were not measured."""

    mean: float | None  # the larger of the means of both directions
    most: float | None


def measure_gap(mesh: bpy.types.Mesh, world: np.ndarray, surface: Surface, strays: int = 0) -> Gap | None:
    """The ways from the result `mesh`, seen through `world` (4, 4), to its source, and back.

    From a point cloud only its points are measured, since it has no surface to measure to. Where `strays` were left
    out, so are here as many of its points, the farthest, or of a mesh the small parts that are far from the result.
    None where one has no faces, or the source more than MAX_FACES.
    """
    local, faces = mesh_bridge.mesh_arrays(mesh)
    if not len(faces) or len(surface.faces) > MAX_FACES:
        return None
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    middle, size = (low + high) / 2.0, float((high - low).max())
    if not size > 0.0:
        return None
    vertices, faces = mesh_bridge.transform_triangles(local, faces, world)
    result, source, triangles = (vertices - middle) / size, (surface.vertices - middle) / size, surface.faces
    is_cloud, tree = not len(triangles), _tree(result, faces)
    if strays and not is_cloud:
        triangles = _without_strays(source, triangles, tree)
    rng = np.random.default_rng(0)
    places = _places(source, triangles, rng)
    ways = [_ways(places, tree)]
    if strays and is_cloud:
        near = np.argsort(ways[0])[: max(round(len(places) * (1.0 - strays / len(source))), 2)]
        places, ways = places[near], [ways[0][near]]
    if not is_cloud:
        ways.append(_ways(_places(result, faces, rng), _tree(source, triangles)))
    left = places if is_cloud else source[np.unique(triangles)]  # smaller where strays are left out
    size = float(np.ptp(left, axis=0).max())
    return Gap(max(float(way.mean()) for way in ways) / size, max(float(way.max()) for way in ways) / size)


def _without_strays(source: np.ndarray, triangles: np.ndarray, result: BVHTree) -> np.ndarray:
    """The `triangles` (F, 3) of a source without what may have been left out of it.

    That is small parts that are farther from the result than they are long, and parts that it does not touch and goes
    around.
    """
    pairs = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    names, part = np.unique(component_labels(len(source), pairs), return_inverse=True)
    low, high = np.full((len(names), 3), np.inf), np.full((len(names), 3), -np.inf)
    np.minimum.at(low, part, source)
    np.maximum.at(high, part, source)
    size = (high - low).max(axis=1)
    rows = np.flatnonzero((size < SMALL * size.max())[part])
    nearest = np.zeros(len(names))
    nearest[part[rows]] = np.inf
    np.minimum.at(nearest, part[rows], _ways(source[rows], result))
    stays = nearest <= size
    for number in np.flatnonzero(stays & (size < size.max())):
        stays[number] = not _is_hidden(result, source[part == number])
    return triangles[stays[part][triangles[:, 0]]]


def _is_hidden(tree: BVHTree, places: np.ndarray) -> bool:
    """Whether all of a part's vertices (N, 3), or LOOKED_AT of them, lie behind a surface, none of them on it."""
    for place in places[:: max(len(places) // LOOKED_AT, 1)]:
        nearest, normal, _, distance = tree.find_nearest(place)
        if distance < APART or (place - np.array(nearest)) @ np.array(normal) >= 0.0:
            return False
    return True


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


def _tree(vertices: np.ndarray, faces: np.ndarray) -> BVHTree:
    """A surface to look for the nearest places of."""
    return BVHTree.FromPolygons(vertices.tolist(), faces.tolist(), all_triangles=True)


def _ways(points: np.ndarray, tree: BVHTree) -> np.ndarray:
    """The distance (N,) of each point to a surface."""
    found = [tree.find_nearest(point)[3] for point in points]
    return np.array([distance for distance in found if distance is not None] or [0.0])
