"""The vertices of a placed proxy moved once more, to where the artist's planes cross as a network predicts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import COMPILED, face_geometry, faces_at_vertices
from flashmesh_core.surface.denoising import Denoised, even_edge, noisiness, typical_edge
from flashmesh_core.surface.patches import Patches, patches_of
from flashmesh_core.surface.placement import PULL, Planes, add_planes, move, near_square, region
from flashmesh_core.surface.plane_predictor import load_predictor, scalars_of
from flashmesh_core.surface.quadrics import WIDTH, lowest

MOST_FACES, FEWEST, MOST = 40_000, 24, 96  # dense faces asked about: in all, and around a vertex
FARTHEST, NOISY_FARTHEST = 0.6, 2.5  # typical edges that a vertex may move; that many times more at a sculpt's noise
DOUBT = 0.12  # at which a plane counts half
OPPOSITE, THIN, SHEET = 0.8, 4.0, 0.6  # cosine; typical edges; share of the area that makes a sheet


class Refiner(NamedTuple):
    """A dense surface as the network sees it, ready to move the vertices of its proxies."""

    patches: Patches  # of the surface as it came, with its noise
    edge: float
    noise: float

    def refine(self, vertices: np.ndarray, faces: np.ndarray, planes: Planes, sides: np.ndarray) -> np.ndarray:
        """New positions (V, 3) for `vertices` (V, 3) of a placed proxy with `faces` (F, 3) int32.

        `planes` are of the denoised surface, whose faces are those of the patches, in the same order. No face turns
        over, and no vertex moves further than the noise and the detail of the surface allow. `sides` (F, 3) are the
        normals of the faces before they were placed.
        """
        start, around = faces_at_vertices(faces, len(vertices))
        each = int(np.clip(MOST_FACES // max(len(vertices), 1), FEWEST, MOST))
        first, rows = _regions(vertices, faces, start, around, planes, each)
        asked, place = np.unique(rows, return_inverse=True)
        wanted_edge = even_edge(float(self.patches.areas.sum()) / max(len(faces), 1))
        scalars = scalars_of(self.noise, self.edge, wanted_edge)
        found = load_predictor().predict(self.patches, asked, self.edge, scalars)
        weights = self.patches.areas[asked] / (1.0 + (found.doubt / DOUBT) ** 2)
        targets = _crossings(vertices, first, place, found.normals, found.points, weights)
        way = np.linalg.norm(targets - vertices, axis=1)
        farthest = FARTHEST * self.edge * (1.0 + NOISY_FARTHEST * noisiness(self.noise, self.edge))
        targets = np.where((way <= farthest)[:, None], targets, vertices)
        moved = vertices.copy()
        move(moved, faces, start, around, targets, sides)
        return moved


def is_sheet(vertices: np.ndarray, faces: np.ndarray, edge: float) -> bool:
    """Whether most of a proxy lies within a few typical edges of a side that looks the other way: a shell, a leaf.

    The rim of such a wall is what remeshing made of a border, and there is nothing to sharpen.
    """
    normals, areas, centers = face_geometry(vertices, faces)
    across = TriangleTree.of_mesh(vertices, faces).distance_facing(centers, -normals, OPPOSITE)
    return float(areas[across < THIN * edge].sum()) > SHEET * float(areas.sum())


def refiner_of(denoised: Denoised, progress: Callable[[], None] | None = None) -> Refiner:
    """A refiner of the surface as it came (`denoised.before`); `progress()` may raise to cancel."""
    mesh = Mesh(denoised.before, denoised.mesh.faces)
    return Refiner(patches_of(mesh.vertices, mesh.faces, progress), typical_edge(mesh), denoised.noise)


@njit(**COMPILED)
def _regions(vertices, faces, start, around, p, each):
    """About `each` of the dense faces around every vertex, evenly from near to far.

    Those of vertex v are rows[first[v] : first[v + 1]].
    """
    first = np.zeros(len(vertices) + 1, dtype=np.int64)
    rows = np.empty(len(vertices) * each, dtype=np.int64)
    seen = np.full(len(p.faces), -1, dtype=np.int32)
    queue, found = np.empty(len(p.faces), dtype=np.int32), np.empty(len(p.faces), dtype=np.int32)
    total = 0
    for v in range(len(vertices)):
        reach = near_square(vertices, faces, start, around, v)
        if reach < np.inf:
            count = region(vertices, faces, start, around, v, reach, p, seen, queue, found)
            step = max((count + each - 1) // each, 1)
            for i in range(0, count, step):
                rows[total] = found[i]
                total += 1
        first[v + 1] = total
    return first, rows[:total]


@njit(**COMPILED)
def _crossings(vertices, first, rows, normals, points, weights):
    """Where the planes around each vertex cross (V, 3); it stays where there are none."""
    result = vertices.copy()
    row = np.empty(WIDTH)
    for v in range(len(vertices)):
        add_planes(row, rows[first[v] : first[v + 1]], normals, points, weights)
        if row[10] > 0.0:
            x, y, z = lowest(row, vertices[v, 0], vertices[v, 1], vertices[v, 2], PULL)
            result[v, 0], result[v, 1], result[v, 2] = x, y, z
    return result
