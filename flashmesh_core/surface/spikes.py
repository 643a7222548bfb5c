"""Single vertices that stick far out of a fine mesh put back: errors of scanners and programs, which keep their limbs.

A needle that a fine mesh shows has vertices along its length. A cone of a few faces, whose tip is one, is no fine part.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import (
    COMPILED,
    face_components,
    faces_at_vertices,
    labels_of_vertices,
    manifold_twins,
)
from flashmesh_core.surface.denoising import FINE, usual_edge

FACES = 200  # of a part below which its tips are meant
LONG, NARROW = 3.0, 1.5  # edges of a usual face that a spike's are longer than; that its neighbors' ring may be wide
OTHER = 0.5  # of its shortest edge that its neighbors' other edges may be long


def without_spikes(mesh: Mesh) -> tuple[Mesh, int]:
    """The mesh with each spike's vertex amid its neighbors, and how many these are; connectivity stays.

    `mesh` is clean. Only meshes finer than FINE have any.
    """
    faces = mesh.faces.astype(np.int32)
    edge = usual_edge(mesh)
    if not 0.0 < edge < FINE:
        return mesh, 0
    vertices, spike = np.array(mesh.vertices), np.zeros(len(mesh.vertices), dtype=np.bool_)
    _put_back(vertices, faces, LONG * edge, NARROW * edge, spike)
    if not spike.any():
        return mesh, 0
    label, count = face_components(faces, manifold_twins(faces, len(vertices)))
    spike &= (np.bincount(label, minlength=count) >= FACES)[labels_of_vertices(faces, label, len(vertices))]
    return Mesh(np.where(spike[:, None], vertices, mesh.vertices), mesh.faces), int(spike.sum())


@njit(**COMPILED)
def _put_back(vertices, faces, long, narrow, spike):
    """Move vertices (V, 3) all edges of which are `long` amid their neighbors, none farther from there than `narrow`.

    The other edges of these are short. `spike` (V,) tells which they are.
    """
    tip = np.ones(len(vertices), dtype=np.bool_)
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            if _square(vertices, a, vertices[b, 0], vertices[b, 1], vertices[b, 2]) <= long * long:
                tip[a] = tip[b] = False
    if not tip.any():
        return
    start, around = faces_at_vertices(faces, len(vertices))
    for v in range(len(vertices)):
        count = start[v + 1] - start[v]
        if not tip[v] or not count:
            continue
        x = y = z = width = other = 0.0
        shortest = np.inf
        for i in range(start[v], start[v + 1]):
            u = _next(faces, around[i], v)
            x, y, z = x + vertices[u, 0] / count, y + vertices[u, 1] / count, z + vertices[u, 2] / count
        for i in range(start[v], start[v + 1]):
            u = _next(faces, around[i], v)
            width = max(width, _square(vertices, u, x, y, z))
            shortest = min(shortest, _square(vertices, v, vertices[u, 0], vertices[u, 1], vertices[u, 2]))
            for j in range(start[u], start[u + 1]):
                for k in range(3):
                    w = faces[around[j], k]
                    if w != v:
                        other = max(other, _square(vertices, u, vertices[w, 0], vertices[w, 1], vertices[w, 2]))
        if width < narrow * narrow and other < OTHER * OTHER * shortest:
            vertices[v, 0], vertices[v, 1], vertices[v, 2] = x, y, z
            spike[v] = True


@njit(**COMPILED)
def _next(faces, f, v):
    """The vertex after v in face f."""
    for k in range(2):
        if faces[f, k] == v:
            return faces[f, k + 1]
    return faces[f, 0]


@njit(**COMPILED)
def _square(vertices, v, x, y, z):
    """The squared distance of vertex v from a place."""
    x, y, z = vertices[v, 0] - x, vertices[v, 1] - y, vertices[v, 2] - z
    return x * x + y * y + z * z
