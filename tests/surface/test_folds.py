"""Folded edges are turned where that takes the fold away; rims without thickness, borders and what is bent stay."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.folds import FOLD, without_folds
from flashmesh_core.surface.simplification import trimmed
from tests.surface.shapes import cube, grid, sphere


def edges(vertices, faces):
    """The length of each edge between two faces, and the cosine of the angle between these."""
    normals, _, _ = face_geometry(vertices, faces)
    owner = {(int(f[k]), int(f[(k + 1) % 3])): n for n, f in enumerate(faces) for k in range(3)}
    for (a, b), n in owner.items():
        if a < b and (b, a) in owner:
            yield np.linalg.norm(vertices[a] - vertices[b]), float(normals[n] @ normals[owner[b, a]])


def folded(vertices, faces):
    """How many edges have two faces that lie on each other."""
    return sum(cosine < FOLD for _, cosine in edges(vertices, faces))


def bending(vertices, faces):
    """How much all edges bend together."""
    return sum(length * (1.0 - cosine) for length, cosine in edges(vertices, faces))


def beyond_its_edge():
    """A quad of four faces around a vertex, which was moved beyond one of its sides but for a little."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 0], [0.5, -1, 0.0]], dtype=np.float64)
    faces = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [1, 0, 5]], dtype=np.int32)
    vertices[4] = (0.5, -0.2, 0.0)
    return vertices, faces


def test_a_corner_beyond_an_edge_is_no_fold_any_more():
    vertices, faces = beyond_its_edge()
    assert folded(vertices, faces) == 3
    made = without_folds(vertices, faces)
    assert folded(vertices, made) == 0
    normals, areas, _ = face_geometry(vertices, made)
    np.testing.assert_allclose(normals[:, 2], 1.0)
    assert areas.sum() == 1.5  # the square and the triangle, each place once


def test_the_rim_of_a_wall_without_thickness_stays():
    """Both sides of a square; one is cut into more faces than the other, so that one tip lies within the other face."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 0]], dtype=np.float64)
    faces = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [1, 0, 2], [2, 0, 3]], dtype=np.int32)
    assert folded(vertices, faces) == 4
    np.testing.assert_array_equal(without_folds(vertices, faces), faces)


def test_what_is_not_folded_stays():
    for shape in (cube(), sphere(24, 12), grid(6)):
        faces = shape.faces.astype(np.int32)
        np.testing.assert_array_equal(without_folds(shape.vertices, faces), faces)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_a_closed_surface_stays_closed_and_bends_no_more(seed):
    """A ball some of whose vertices were moved far along it, so that faces around them are folded."""
    rng = np.random.default_rng(seed)
    shape = sphere(12, 8)
    faces, vertices = shape.faces.astype(np.int32), shape.vertices.copy()
    moved = rng.choice(len(vertices), 6, replace=False)
    vertices[moved] += rng.uniform(-0.4, 0.4, (6, 3))
    made = without_folds(vertices, faces)
    assert is_manifold_and_closed(vertices, made) == (True, True)
    assert bending(vertices, made) <= bending(vertices, faces) * (1.0 + 1e-9)


def test_a_proxy_that_is_trimmed_has_its_folds_taken_out():
    vertices, faces = beyond_its_edge()
    made = trimmed(Mesh(vertices, faces.astype(np.int64)), len(faces))
    assert folded(made.vertices, made.faces) == 0
