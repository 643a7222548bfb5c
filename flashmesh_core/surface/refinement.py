"""The vertices of a proxy moved twice: to where predicted planes cross, then to predicted vertices.

Those on a border are moved to its lines and no further: the networks know nothing of borders.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import COMPILED, faces_at_vertices
from flashmesh_core.surface.borders import Border, border_of, border_rows
from flashmesh_core.surface.denoising import Denoised, even_edge, noisiness, typical_edge
from flashmesh_core.surface.patches import Patches, patches_of
from flashmesh_core.surface.placement import PULL, Planes, add_planes, move, regions
from flashmesh_core.surface.plane_predictor import load_predictor, scalars_of
from flashmesh_core.surface.quadrics import WIDTH, lowest
from flashmesh_core.surface.surroundings import Surroundings, faces_around, surroundings_of
from flashmesh_core.surface.vertex_predictor import load_vertex_predictor

MOST_FACES, FEWEST, MOST = 40_000, 24, 32  # dense faces whose planes cross: in all, and around a vertex
VERTEX_FARTHEST = 3.75 / 128  # that a vertex moves to a predicted one
FARTHEST, NOISY_FARTHEST = 0.6, 2.5  # typical edges that a vertex may move; that many times more at a sculpt's noise
DOUBT = 0.12  # at which a plane counts half


class Refiner(NamedTuple):
    """A dense surface as the network sees it, ready to move the vertices of its proxies."""

    patches: Patches  # of the surface as it came, with its noise
    edge: float
    noise: float
    border: Border | None  # of the denoised surface

    def refine(self, vertices: np.ndarray, faces: np.ndarray, planes: Planes, sides: np.ndarray) -> np.ndarray:
        """New positions (V, 3) for `vertices` (V, 3) of a proxy with `faces` (F, 3) int32.

        `planes` are of the denoised surface, whose faces are those of the patches, in the same order. No face turns
        over, and no vertex moves further than the noise and the detail of the surface allow. `sides` (F, 3) are the
        normals of the faces before any vertex was moved.
        """
        at_borders = border_rows(vertices, faces, self.border)
        moved, surroundings = self._crossed(vertices, faces, planes, sides, at_borders)
        way = load_vertex_predictor().predict(surroundings)
        targets = moved + self.edge * np.einsum("vij,vi->vj", surroundings.frames, way)
        on_border = at_borders[:, WIDTH - 1] > 0.0
        targets[on_border] = moved[on_border]
        start, around = faces_at_vertices(faces, len(vertices))
        move(moved, faces, start, around, _within(VERTEX_FARTHEST, moved, targets), sides)
        return moved

    def crossed(
        self, vertices: np.ndarray, faces: np.ndarray, planes: Planes, sides: np.ndarray
    ) -> tuple[np.ndarray, Surroundings]:
        """Where the predicted planes around each vertex cross (V, 3), and what the vertex predictor is told there."""
        return self._crossed(vertices, faces, planes, sides, border_rows(vertices, faces, self.border))

    def _crossed(
        self, vertices: np.ndarray, faces: np.ndarray, planes: Planes, sides: np.ndarray, at_borders: np.ndarray
    ) -> tuple[np.ndarray, Surroundings]:
        start, around = faces_at_vertices(faces, len(vertices))
        each = int(np.clip(MOST_FACES // max(len(vertices), 1), FEWEST, MOST))
        first, rows = regions(vertices, faces, start, around, planes, each, 1.0)
        seen = faces_around(vertices, faces, start, around, planes, self.edge)
        asked, place = np.unique(np.concatenate([rows, np.maximum(seen.rows, 0).ravel()]), return_inverse=True)
        wanted_edge = even_edge(float(self.patches.areas.sum()) / max(len(faces), 1))
        scalars = scalars_of(self.noise, self.edge, wanted_edge)
        found = load_predictor().predict(self.patches, asked, self.edge, scalars)
        weights = self.patches.areas[asked] / (1.0 + (found.doubt / DOUBT) ** 2)
        targets = _crossings(vertices, first, place[: len(rows)], found.normals, found.points, weights, at_borders)
        farthest = FARTHEST * self.edge * (1.0 + NOISY_FARTHEST * noisiness(self.noise, self.edge))
        moved = vertices.copy()
        move(moved, faces, start, around, _within(farthest, vertices, targets), sides)
        place = place[len(rows) :].reshape(seen.rows.shape)
        degrees = np.diff(start)
        return moved, surroundings_of(moved, seen, degrees, planes, found, place, self.edge, scalars)


def _within(farthest: float, vertices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The targets (V, 3) that are that near; the vertex itself instead of the others."""
    way = np.linalg.norm(targets - vertices, axis=1)
    return np.where((way <= farthest)[:, None], targets, vertices)


def refiner_of(denoised: Denoised) -> Refiner:
    """A refiner of the surface as it came (`denoised.before`)."""
    mesh, faces = Mesh(denoised.before, denoised.mesh.faces), denoised.mesh.faces.astype(np.int32)
    edge, patches = typical_edge(mesh), patches_of(mesh.vertices, mesh.faces)
    vertices, normals = denoised.mesh.vertices, denoised.normals
    border = border_of(vertices, faces, normals, edge, filtered=denoised.filtered)
    return Refiner(patches, edge, denoised.noise, border)


@njit(**COMPILED)
def _crossings(vertices, first, rows, normals, points, weights, more):
    """Where the planes around each vertex cross, with those of rows `more` (V, 11): (V, 3); it stays without any."""
    result = vertices.copy()
    row = np.empty(WIDTH)
    for v in range(len(vertices)):
        add_planes(row, rows[first[v] : first[v + 1]], normals, points, weights)
        row += more[v]
        if row[10] > 0.0:
            x, y, z = lowest(row, vertices[v, 0], vertices[v, 1], vertices[v, 2], PULL)
            result[v, 0], result[v, 1], result[v, 2] = x, y, z
    return result
