"""Faces put into a mesh by turning edges: it stays closed and over its surface, whatever is asked of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial import ConvexHull, Delaunay

from flashmesh_core.completion.insertion import Face, edges_of, insert_faces
from flashmesh_core.mesh.distance import TriangleTree


def flat_square(seed: int) -> tuple[np.ndarray, list[Face]]:
    """40 points of a square, its corners among them, and their Delaunay triangles, seen from above."""
    inner = np.random.default_rng(seed).random((36, 2)) * 10.0
    points = np.concatenate([[[0, 0], [10, 0], [10, 10], [0, 10]], inner])
    return np.column_stack([points, np.zeros(len(points))]), upright(points, Delaunay(points).simplices)


def upright(points: np.ndarray, triangles: np.ndarray) -> list[Face]:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    turned = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0.0
    return [from_lowest((x, z, y) if t else (x, y, z)) for (x, y, z), t in zip(triangles.tolist(), turned, strict=True)]


def from_lowest(face: Face) -> Face:
    low = face.index(min(face))
    return face[low], face[(low + 1) % 3], face[(low + 2) % 3]


def ball(seed: int) -> tuple[np.ndarray, list[Face]]:
    points = np.random.default_rng(seed).normal(size=(60, 3))
    points *= 10.0 / np.linalg.norm(points, axis=1, keepdims=True)
    hull = ConvexHull(points).simplices
    a, b, c = (points[hull[:, k]] for k in range(3))
    turned = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0.0
    return points, [
        from_lowest((x, z, y) if t else (x, y, z)) for (x, y, z), t in zip(hull.tolist(), turned, strict=True)
    ]


def put_in(points, faces, wanted, locked=(), tolerance=0.3):
    tree = TriangleTree.of_mesh(points, np.array(faces))
    return insert_faces(faces, wanted, locked, dict(enumerate(points)), tree, tolerance)


def uses(faces: list[Face]) -> Counter:
    return Counter(edge for face in faces for edge in edges_of(face))


def border(faces: list[Face]) -> set[tuple[int, int]]:
    return {(a, b) for a, b in uses(faces) if (b, a) not in uses(faces)}


@pytest.mark.parametrize("seed", range(8))
def test_another_triangulation_of_a_flat_place_can_be_put_in_whole(seed: int) -> None:
    points, faces = flat_square(seed)
    stretched = points[:, :2] * [1.0, 6.0]  # Delaunay triangles of the stretched square are others
    wanted = upright(stretched, Delaunay(stretched).simplices)
    assert len(set(wanted) - set(faces)) > 10
    assert set(put_in(points, faces, wanted)) == set(wanted)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_asked_a_closed_mesh_stays_closed_and_near(seed: int) -> None:
    points, faces = ball(seed)
    rng = np.random.default_rng(seed)
    wanted = [tuple(rng.choice(len(points), 3, replace=False).tolist()) for _ in range(3_000)]
    made = put_in(points, faces, wanted, tolerance=1.0)
    assert len(set(made) - set(faces)) > 3  # some could be put in
    assert len(made) == len(faces)
    assert max(uses(made).values()) == 1
    assert not border(made)
    assert TriangleTree.of_mesh(points, np.array(faces)).distance(points[np.array(made)].mean(axis=1)).max() <= 1.0


def test_what_is_locked_and_what_was_put_in_stays() -> None:
    points, faces = flat_square(3)
    stretched = points[:, :2] * [1.0, 6.0]
    wanted = [face for face in upright(stretched, Delaunay(stretched).simplices) if face not in faces]
    made = put_in(points, faces, wanted, locked=faces[::3])
    assert set(faces[::3]) <= set(made)
    assert set(made) & set(wanted)
    assert border(made) == border(faces)


def test_a_face_that_folds_or_lies_off_leaves_the_mesh_as_it_was() -> None:
    points, faces = flat_square(1)
    turned = [(a, c, b) for a, b, c in faces]
    assert put_in(points, faces, turned) == faces
    bent = np.array([[0, 0, 0], [4, 0, 3], [4, 4, 0], [0, 4, 3]], dtype=float)
    two = [(0, 1, 2), (0, 2, 3)]
    assert put_in(bent, two, [(0, 1, 3)]) == two
    assert set(put_in(bent * [1, 1, 0.01], two, [(0, 1, 3)])) == {(0, 1, 3), (1, 2, 3)}


def test_a_mesh_with_two_faces_on_one_side_of_an_edge_comes_back() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1]], dtype=float)
    faces = [(0, 1, 2), (0, 2, 3), (0, 2, 4)]
    assert put_in(points, faces, [(0, 1, 3)]) == faces
