"""Holes of a few edges in a dense mesh, which voxel remeshes leave by accident, closed."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import compact
from flashmesh_core.surface.denoising import COARSE, typical_edge

MAX_EDGES = 8.0  # perimeter of a hole that is an accident, in typical edges


def close_pinholes(mesh: Mesh) -> Mesh:
    """The mesh with holes closed whose perimeter is below MAX_EDGES typical edges, each by a fan around its middle.

    `mesh` is clean: edge-manifold, oriented, every vertex with one fan. Meshes of few large faces come back as they
    are, since their holes are meant.
    """
    edge = typical_edge(mesh)
    if not len(mesh.faces) or edge > COARSE:
        return mesh
    loops = [loop for loop in _border_loops(mesh.faces) if _perimeter(mesh.vertices[loop]) < MAX_EDGES * edge]
    if not loops:
        return mesh
    middles = np.array([mesh.vertices[loop].mean(axis=0) for loop in loops])
    fans = []
    for number, loop in enumerate(loops):
        if len(loop) == 3:
            fans.append(loop[None])
        else:
            middle = np.full(len(loop), len(mesh.vertices) + number)
            fans.append(np.stack([loop, np.roll(loop, -1), middle], axis=1))
    vertices, faces = np.concatenate([mesh.vertices, middles]), np.concatenate([mesh.faces, *fans])
    used, faces = compact(faces, len(vertices))
    return Mesh(vertices[used], faces.astype(np.int64))


def _border_loops(faces: np.ndarray) -> list[np.ndarray]:
    """Vertices (N,) of each loop of open edges, in the direction in which faces may fill it."""
    starts, ends = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    size = int(faces.max()) + 1
    keys, back = starts * size + ends, ends * size + starts
    open_edges = ~np.isin(keys, back, assume_unique=True)
    onward = dict(zip(ends[open_edges].tolist(), starts[open_edges].tolist(), strict=True))
    loops = []
    while onward:
        first, at = onward.popitem()
        loop = [first]
        while at != first and at in onward:
            loop.append(at)
            at = onward.pop(at)
        if at == first and len(loop) >= 3:
            loops.append(np.array(loop, dtype=np.int64))
    return loops


def _perimeter(points: np.ndarray) -> float:
    return float(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum())
