"""The proxy of the wanted faces with an artist's vertices: chosen from a proxy with more faces, and moved to his.

The surface has the last word: of the ways to make one, the first is taken that is about as near to the densest proxy as
the proxy of the wanted faces that nobody chose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import compact, face_geometry, faces_at_vertices
from flashmesh_core.surface.choice.candidates import LEVELS, Candidates, candidates_of
from flashmesh_core.surface.choice.collapse import Weights, collapsed
from flashmesh_core.surface.choice.features import BIN
from flashmesh_core.surface.choice.network import Chosen, load_choice_network
from flashmesh_core.surface.flat_places import recut_flat_places
from flashmesh_core.surface.folds import without_folds
from flashmesh_core.surface.placement import move
from flashmesh_core.surface.quadrics import WIDTH
from flashmesh_core.surface.simplification import rows_of

SOURCE = 1  # the level that vertices are chosen from
FEWEST = 4  # faces of a mesh that there is something to choose for
ROUNDS = 2  # of moving: a vertex may have to wait for its neighbors
CHANCES = (0.6, 0.2)  # how much the odds count, see collapse.Weights
STEPS = (1.0, 0.5)  # shares of the moves
MORE, SLACK = 1.02, 0.02  # times, and BIN, that a mesh may be farther from the densest than the proxy
AWAY = 0.1  # cosine below which a face looks another way than the surface beside it
CUTS = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4]]) / np.array([[3], [6], [6], [6]])  # samples of a face


def chosen_proxy(proxies: Sequence[Mesh], wanted: int) -> Mesh:
    """The proxy of at most `wanted` faces, chosen from `proxies` of about 1, 2 and 4 times as many.

    It has no more faces than the first, which comes back where no choice is as near to the surface. Closed stays
    closed, edges stay manifold. Raises ValueError where there are not three proxies.
    """
    if len(proxies) != LEVELS:
        raise ValueError(
            f"proxies must be {LEVELS} meshes, of about 1, 2 and 4 times the wanted faces, got {len(proxies)}"
        )
    plain = proxies[0]
    if min(len(mesh.faces) for mesh in proxies) <= FEWEST or len(proxies[SOURCE].faces) <= len(plain.faces):
        return plain
    given = candidates_of(proxies, wanted)
    chosen = load_choice_network().choose(given)
    count = min(wanted, len(plain.faces))
    nearness = _Nearness(given.shapes[-1].vertices, given.shapes[-1].faces)
    most = MORE * nearness.distance(given.shapes[0].vertices, given.shapes[0].faces) + SLACK * BIN
    allowed = nearness.turned(given.shapes[0].vertices, given.shapes[0].faces)
    for vertices, faces in _choices(given, chosen, count):
        turned = nearness.turned(vertices, faces)
        if len(faces) <= count and turned <= allowed and nearness.distance(vertices, faces) <= most:
            return Mesh(vertices * given.scale + given.center, faces.astype(np.int64))
    return plain


def _choices(given: Candidates, chosen: Chosen, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Meshes (V, 3), (F, 3) of about `count` faces, the most an artist's first; the last are the plain one moved."""
    first = given.first
    for level, chances in ((SOURCE, CHANCES), (0, (0.0,))):
        part, shape = slice(first[level], first[level + 1]), given.shapes[level]
        for chance in chances:
            for share in STEPS:
                targets = shape.vertices + share * chosen.moves[part]
                if level == 0:
                    yield moved(shape.vertices, shape.faces.astype(np.int32), targets), shape.faces
                    continue
                weights = Weights(chance=chance)
                yield left_over(shape.vertices, shape.faces, targets, chosen.odds[part], count, given.unit, weights)


def left_over(
    vertices: np.ndarray, faces: np.ndarray, targets: np.ndarray, odds: np.ndarray, count: int, unit: float,
    weights: Weights,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The vertices of a mesh (V, 3), (F, 3) that stay, at their targets (V, 3), and about `count` faces over them."""
    faces = faces.astype(np.int32)
    normals, areas, centers = face_geometry(vertices, faces)
    quadrics = rows_of(vertices, faces, centers, normals, areas)[:, :WIDTH].copy()
    placed = moved(vertices, faces, targets)
    faces = collapsed(placed, faces, quadrics, odds, count, unit, weights)
    used, faces = compact(faces, len(placed))
    placed = moved(placed[used], faces, targets[used])
    return placed, recut_flat_places(placed, without_folds(placed, faces))


def moved(vertices: np.ndarray, faces: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The vertices (V, 3) of a mesh moved towards their targets (V, 3), as far as no face turns over."""
    placed = vertices.copy()
    sides = face_geometry(vertices, faces)[0]
    start, around = faces_at_vertices(faces, len(vertices))
    for _ in range(ROUNDS):
        move(placed, faces, start, around, targets, sides)
    return placed


class _Nearness:
    """How far meshes are from one: the mean there and back."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        self.normals = face_geometry(vertices, faces)[0]
        self.tree, (self.places, self.areas) = TriangleTree.of_mesh(vertices, faces), _samples(vertices, faces)

    def turned(self, vertices: np.ndarray, faces: np.ndarray) -> int:
        """How many faces of a mesh (V, 3), (F, 3) look away from the side that this one has beside them."""
        normals, _, centers = face_geometry(vertices, faces)
        beside = self.normals[self.tree.nearest(centers)[1]]
        return int(((normals * beside).sum(axis=1) < AWAY).sum())

    def distance(self, vertices: np.ndarray, faces: np.ndarray) -> float:
        """The mean distance between the mesh (V, 3), (F, 3) and this one, there and back."""
        places, areas = _samples(vertices, faces)
        there = np.average(self.tree.distance(places), weights=areas)
        back = np.average(TriangleTree.of_mesh(vertices, faces).distance(self.places), weights=self.areas)
        return float(there + back) / 2.0


def _samples(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places on a mesh (N, 3), four a face, and the areas that they stand for (N,)."""
    _, areas, _ = face_geometry(vertices, faces)
    places = np.einsum("sk,fki->fsi", CUTS, vertices[faces]).reshape(-1, 3)
    return places, np.repeat(np.maximum(areas, 1e-15), len(CUTS))
