"""Faces over the same vertices, and edges with four faces: taken apart, and still the same closed surface."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.sheets import open_edge_count, separate_sheets
from flashmesh_core.mesh.topology import is_manifold_and_closed, topology_report

from .shapes import box

Mesh = tuple[np.ndarray, np.ndarray]


def leaf() -> Mesh:
    """A square sheet seen from both sides, with no vertex inside."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float64)
    return corners, np.array([[0, 1, 2], [0, 2, 3], [2, 1, 0], [3, 2, 0]])


def big_leaf() -> Mesh:
    """A sheet of four squares from both sides: one vertex inside, with four faces at each inner edge."""
    x, y = np.meshgrid(np.arange(3.0), np.arange(3.0), indexing="ij")
    corners = np.stack([x.ravel(), y.ravel(), 0.1 * x.ravel() ** 2], axis=1)
    front = []
    for i in range(2):
        for j in range(2):
            a, b, c, d = 3 * i + j, 3 * i + j + 3, 3 * i + j + 4, 3 * i + j + 1
            front += [[a, b, c], [a, c, d]]
    return corners, np.array(front + [face[::-1] for face in front])


def cube_with_a_fin() -> Mesh:
    """Two faces over the same three vertices stand on an edge of a cube."""
    vertices, faces = box()
    a, b = faces[0, :2]
    fin = len(vertices)
    tip = vertices[[a, b]].mean(axis=0) * 3.0 - vertices.mean(axis=0) * 2.0
    return np.concatenate([vertices, [tip]]), np.concatenate([faces, [[a, b, fin], [b, a, fin]]])


def two_cubes_at_an_edge() -> Mesh:
    """Four faces meet where they touch."""
    vertices, faces = box()
    other = vertices + np.ptp(vertices, axis=0) * [1, 1, 0]
    both, index = np.unique(np.concatenate([vertices, other]), axis=0, return_inverse=True)
    return both, index.reshape(-1)[np.concatenate([faces, faces + len(vertices)])]


@pytest.mark.parametrize("make", [leaf, big_leaf, cube_with_a_fin, two_cubes_at_an_edge])
def test_two_faces_at_every_edge_and_the_same_surface(make) -> None:
    vertices, faces = make()
    assert is_manifold_and_closed(vertices, faces)[1], "closed to the engine"
    before = topology_report(vertices, faces)
    keys = np.unique(np.sort(faces, axis=1), axis=0)
    assert len(keys) < len(faces) or not before.is_watertight, "the case has what is to be taken apart"

    parted, parts = separate_sheets(vertices, faces)
    assert topology_report(parted, parts).is_watertight and open_edge_count(parts) == 0
    assert len(np.unique(np.sort(parts, axis=1), axis=0)) == len(parts), "no two faces have the same vertices"
    np.testing.assert_array_equal(parted[: len(vertices)], vertices)

    def area_vectors(places: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, float]:
        corners = places[rows]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return normals.sum(axis=0), float(np.linalg.norm(normals, axis=1).sum())

    for old, new in zip(area_vectors(vertices, faces), area_vectors(parted, parts), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-9)


def test_a_sheet_comes_apart_at_its_inside() -> None:
    """Front and back have a vertex each where there was one; only faces at the rim are cut."""
    vertices, faces = big_leaf()
    parted, parts = separate_sheets(vertices, faces)
    assert (parted[len(vertices) :] == vertices[4]).all(axis=1).sum() == 1
    assert len(parts) < len(faces) + 8


def test_a_mesh_without_such_places_is_given_back() -> None:
    vertices, faces = box()
    parted, parts = separate_sheets(vertices, faces)
    np.testing.assert_array_equal(parted, vertices)
    np.testing.assert_array_equal(parts, faces)


def test_faces_that_name_a_vertex_twice_go() -> None:
    vertices, faces = box()
    parts = separate_sheets(vertices, np.concatenate([faces, [[0, 0, 1]]]))[1]
    np.testing.assert_array_equal(parts, faces)
    assert separate_sheets(vertices, np.zeros((0, 3), dtype=np.int64))[1].shape == (0, 3)


def test_an_open_sheet_stays_open() -> None:
    """Three faces at an edge cannot all have a partner."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]], dtype=np.float64)
    faces = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    parted, parts = separate_sheets(vertices, faces)
    assert len(parts) == 3 and open_edge_count(parts) == 7
    assert len(parted) == 7, "the third face has its own edge"
