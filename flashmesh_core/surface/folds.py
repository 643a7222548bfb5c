"""Folds taken out of a proxy: edges whose two faces lie on each other are turned where that leaves none.

A corner that ended a little beyond an edge has such a face. The rim of a wall that is left without thickness looks the
same, but turning its edge makes two folds of one.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import COMPILED
from flashmesh_core.surface.flat_places import area_vector, turned_in_rounds
from flashmesh_core.surface.manifold import turn_edge

FOLD = -0.9  # cosine between the two faces of an edge, below which they are folded
STRAIGHTER = 0.8  # times as much as before the edges around may bend in all: their lengths by 1 less the cosine


def without_folds(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """`faces` (F, 3) int32 over `vertices` (V, 3), with folded edges turned where the quad around them bends less then.

    No vertex moves, no border changes, and no edge gets more faces.
    """
    return turned_in_rounds(_turned, vertices, faces)


@njit(**COMPILED)
def _turned(vertices, faces, twin):
    """The faces after one round, and whether any edge was turned."""
    before, faces, touched = faces, faces.copy(), np.zeros(len(faces), dtype=np.bool_)
    changed = False
    for h in range(len(twin)):
        f, g = h // 3, twin[h] // 3
        if twin[h] < h or touched[f] or touched[g]:
            continue
        one, other = _normal(vertices, before[f]), _normal(vertices, before[g])
        if (one * other).sum() < FOLD and _bends_less(vertices, before, twin, h, one, other):
            changed = turn_edge(faces, twin, touched, h) or changed
    return faces, changed


@njit(**COMPILED)
def _bends_less(vertices, faces, twin, h, one, other):
    """Whether the quad around half-edge h, whose faces have the normals `one` and `other`, bends less if it is turned.

    What bends are its diagonal and its four sides.
    """
    t = twin[h]
    a, b, c = faces[h // 3, h % 3], faces[h // 3, (h + 1) % 3], faces[h // 3, (h + 2) % 3]
    d = faces[t // 3, (t + 2) % 3]
    at_a, at_b = _normal(vertices, np.array((a, d, c))), _normal(vertices, np.array((d, b, c)))
    was = _bend(vertices[a], vertices[b], one, other)
    would = _bend(vertices[c], vertices[d], at_a, at_b)
    for k in range(1, 3):
        for side, old in ((3 * (h // 3) + (h + k) % 3, one), (3 * (t // 3) + (t + k) % 3, other)):
            if twin[side] < 0:
                continue
            start, end = faces[side // 3, side % 3], faces[side // 3, (side + 1) % 3]
            beyond = _normal(vertices, faces[twin[side] // 3])
            was += _bend(vertices[start], vertices[end], old, beyond)
            would += _bend(vertices[start], vertices[end], at_a if a in (start, end) else at_b, beyond)
    return would < STRAIGHTER * was


@njit(**COMPILED)
def _bend(start, end, one, other):
    """How much an edge bends: its length by 1 less the cosine of its faces' normals."""
    return np.sqrt(((end - start) ** 2).sum()) * (1.0 - (one * other).sum())


@njit(**COMPILED)
def _normal(vertices, face):
    """The unit normal (3,) of a face; zero without area."""
    normal = area_vector(vertices[face[0]], vertices[face[1]], vertices[face[2]])
    size = np.sqrt((normal * normal).sum())
    return normal / size if size > 0.0 else normal
