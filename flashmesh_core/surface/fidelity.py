"""Vertices of a refined proxy taken back where moving them led its faces away from the surface.

Where a source shows what low-poly artists make, flat places and edges, moving vertices brings the faces nearer to it.
On smooth shapes the networks see edges that nobody made.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.distance import triangle_distance
from flashmesh_core.surface.adjacency import COMPILED, faces_at_vertices
from flashmesh_core.surface.placement import NEAR, Planes, move_one, regions

MOST = 48  # dense faces around a vertex that are looked at, within its shortest edge
WORSE = 2.0  # times the mean squared distance of before that a vertex may lead to
SLACK = 0.05  # typical edges, whose square it may be more in any case
ROUNDS = 2


class Watched(NamedTuple):
    """The dense faces around each vertex of a mesh, which its faces are held to."""

    before: np.ndarray  # (V, 3) where the vertices were
    first: np.ndarray  # (V + 1,) those of vertex v are rows[first[v] : first[v + 1]]
    rows: np.ndarray  # of `planes`
    planes: Planes


def watched(before: np.ndarray, faces: np.ndarray, planes: Planes) -> Watched:
    """What `taken_back` looks at around the vertices `before` (V, 3), which are not moved yet; `faces` (F, 3) int32."""
    start, around = faces_at_vertices(faces, len(before))
    first, rows = regions(before, faces, start, around, planes, MOST, 1.0 / (NEAR * NEAR))
    return Watched(before, first, rows, planes)


def taken_back(vertices: np.ndarray, faces: np.ndarray, seen: Watched, edge: float, sides: np.ndarray) -> np.ndarray:
    """The vertices (V, 3), where they led faces away from the surface as near to before as `move` takes them.

    Measured is the mean squared distance of the dense faces around each vertex from the mesh's faces at it, `faces`
    (F, 3) int32. `edge` is the typical edge of the dense surface, `sides` (F, 3) are as in `move`.
    """
    start, around = faces_at_vertices(faces, len(vertices))
    vertices = vertices.copy()
    _take_back(vertices, faces, start, around, *seen, (SLACK * edge) ** 2, sides)
    return vertices


@njit(**COMPILED)
def _take_back(vertices, faces, start, around, before, first, rows, p, slack, sides):
    for _ in range(ROUNDS):
        for v in range(len(vertices)):
            if first[v] == first[v + 1] or (vertices[v] == before[v]).all():
                continue
            some = rows[first[v] : first[v + 1]]
            now = _mean_square(vertices, faces, start, around, v, vertices[v], p, some)
            then = _mean_square(vertices, faces, start, around, v, before[v], p, some)
            if now > WORSE * then + slack:
                move_one(vertices, faces, start, around, v, before[v], sides)


@njit(**COMPILED)
def _mean_square(vertices, faces, start, around, v, place, p, rows):
    """The mean squared distance of the centers of dense faces `rows` from the faces at v, if v were at `place`."""
    count = start[v + 1] - start[v]
    corners, normals = np.empty((count, 3, 3)), np.empty((count, 3))
    for i in range(count):
        f = around[start[v] + i]
        for k in range(3):
            u = faces[f, k]
            for axis in range(3):
                corners[i, k, axis] = place[axis] if u == v else vertices[u, axis]
        e, g = corners[i, 1] - corners[i, 0], corners[i, 2] - corners[i, 0]
        x, y, z = e[1] * g[2] - e[2] * g[1], e[2] * g[0] - e[0] * g[2], e[0] * g[1] - e[1] * g[0]
        length = max(np.sqrt(x * x + y * y + z * z), 1e-300)
        normals[i, 0], normals[i, 1], normals[i, 2] = x / length, y / length, z / length
    total = 0.0
    for f in rows:
        x, y, z = p.centers[f, 0], p.centers[f, 1], p.centers[f, 2]
        least = np.inf
        for i in range(count):
            least = min(least, triangle_distance(x, y, z, corners[i], normals[i]))
        total += least
    return total / max(len(rows), 1)
