"""Holes in modelled sheets are closed where they cost more faces than they show.

A simplifier that keeps borders leaves three edges of each hole, however small it is, and of a box with many holes
nothing but these. Where they cost more faces than are wanted, the smallest have to go before anything is simplified:
it would take all that has no holes first.
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
from flashmesh_core.surface.loose_parts import large_and_apart
from flashmesh_core.surface.pinholes import border_loops
from flashmesh_core.surface.quadrics import WIDTH, add_faces

HOLE_FACES, HOLED = 5, 0.5  # faces that a hole costs; share of the count that all holes may cost


def close_small_holes(
    positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray, longest: float
) -> tuple[np.ndarray, np.ndarray]:
    """The quadrics (V, Q) and the faces (F, 3), a triangle in each hole of three edges that is below `longest` around.

    The longest border of a part stays: it is where a sheet ends. The quadrics of a closed hole's corners, among which
    are the planes of its rim, become those of the faces around them.
    """
    loops, around = holes_of(positions, faces)
    closes = (around < longest) & np.array([len(loop) == 3 for loop in loops], dtype=bool)
    if not closes.any():
        return quadrics, faces
    caps = np.array([loop for loop, small in zip(loops, closes, strict=True) if small], dtype=faces.dtype)
    faces = np.concatenate([faces, caps])
    return _with_own_planes(positions, quadrics, faces, np.unique(caps)), faces


def close_crowding_holes(
    positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh with its largest holes, as many as fit into HOLED of `count` faces, the others filled by fans.

    Of those alike in size some stay that lie far apart. The longest border of a part is none.
    """
    loops, around = holes_of(positions, faces)
    room = int(HOLED * count)
    if HOLE_FACES * len(loops) <= room:
        return positions, quadrics, faces
    middles = np.array([positions[loop].mean(axis=0) for loop in loops])
    stays = large_and_apart(around, middles, np.full(len(loops), HOLE_FACES), room)
    if stays.all():
        return positions, quadrics, faces  # one stays however few faces there are
    middles, closed = middles[~stays], [loops[row] for row in np.flatnonzero(~stays)]
    fans = [
        np.stack([loop, np.roll(loop, -1), np.full(len(loop), len(positions) + number)], axis=1)
        for number, loop in enumerate(closed)
    ]
    rows = np.zeros((len(middles), quadrics.shape[1]))
    rows[:, WIDTH:] = middles
    positions, quadrics = np.concatenate([positions, middles]), np.concatenate([quadrics, rows])
    caps = np.concatenate(fans).astype(faces.dtype)
    faces = np.concatenate([faces, caps])
    return positions, _with_own_planes(positions, quadrics, faces, np.unique(caps)), faces


def holes_of(positions: np.ndarray, faces: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The vertices (N,) of each border but for the longest of a part, and how long these are (H,)."""
    loops = border_loops(faces, len(positions))
    if len(loops) < 2:
        return [], np.empty(0)
    label, count = face_components(faces, manifold_twins(faces, len(positions)))
    part = labels_of_vertices(faces, label, len(positions))[[loop[0] for loop in loops]]
    around = _perimeters(positions, loops)
    most = np.zeros(count)
    np.maximum.at(most, part, around)
    holes = np.flatnonzero(around < most[part])
    return [loops[row] for row in holes], around[holes]


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
