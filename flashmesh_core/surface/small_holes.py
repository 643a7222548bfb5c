"""Holes in modelled sheets are closed where they cost more faces than they show.

A simplifier that keeps borders leaves three edges of each hole, however small it is, and of a box with many holes
nothing but these.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.surface.adjacency import (
    face_components,
    face_geometry,
    faces_at_vertices,
    labels_of_vertices,
    manifold_twins,
)
from flashmesh_core.surface.pinholes import border_loops
from flashmesh_core.surface.quadrics import WIDTH, add_faces


def close_small_holes(
    positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray, longest: float
) -> tuple[np.ndarray, np.ndarray]:
    """The quadrics (V, Q) and the faces (F, 3), a triangle in each hole of three edges that is below `longest` around.

    The longest border of a part stays: it is where a sheet ends. The quadrics of a closed hole's corners, among which
    are the planes of its rim, become those of the faces around them.
    """
    loops = border_loops(faces, len(positions))
    if len(loops) < 2:
        return quadrics, faces
    label, count = face_components(faces, manifold_twins(faces, len(positions)))
    part = labels_of_vertices(faces, label, len(positions))[[loop[0] for loop in loops]]
    around = _perimeters(positions, loops)
    most = np.zeros(count)
    np.maximum.at(most, part, around)
    closes = (around < longest) & (around < most[part]) & np.array([len(loop) == 3 for loop in loops])
    if not closes.any():
        return quadrics, faces
    caps = np.array([loop for loop, small in zip(loops, closes, strict=True) if small], dtype=faces.dtype)
    faces = np.concatenate([faces, caps])
    return _with_own_planes(positions, quadrics, faces, np.unique(caps)), faces


def _perimeters(positions: np.ndarray, loops: list[np.ndarray]) -> np.ndarray:
    """How long each loop (L,) of vertices is."""
    sizes = np.array([len(loop) for loop in loops])
    first = np.cumsum(sizes) - sizes
    onward = np.concatenate(loops)
    before = np.append(0, onward[:-1])
    before[first] = onward[first + sizes - 1]
    return np.add.reduceat(np.linalg.norm(positions[onward] - positions[before], axis=1), first)


def _with_own_planes(positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The quadrics (V, Q), those of the vertices `own` made anew of a third of each face there is around them."""
    normals, areas, centers = face_geometry(positions, faces)
    start, around = faces_at_vertices(faces, len(positions))
    rows, result = np.zeros_like(quadrics), quadrics.copy()
    add_faces(0, len(rows), start, around, centers, normals, areas, rows)
    result[own, :WIDTH] = rows[own, :WIDTH]
    return result
