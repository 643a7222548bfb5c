"""Exact distances to triangles: worked out by hand, against all pairs, and by direction."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.distance import TriangleTree

from .shapes import box, torus

TRIANGLE = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0.2, 0.2, 0.5), 0.5),  # over the inside
        ((0.5, -2.0, 0.0), 2.0),  # beside an edge
        ((1.0, 1.0, 0.0), np.sqrt(0.5)),  # beside the long edge
        ((4.0, 0.0, 4.0), 5.0),  # beyond a corner
        ((0.3, 0.3, 0.0), 0.0),
    ],
)
def test_one_triangle_by_hand(point: tuple[float, float, float], expected: float) -> None:
    tree = TriangleTree.of_mesh(*TRIANGLE)
    assert tree.distance(np.array([point]))[0] == pytest.approx(expected)


def test_against_dense_samples_of_every_triangle() -> None:
    vertices, faces = torus(rings=20, sides=10)
    points = np.random.default_rng(0).normal(size=(24, 3)) * 0.5
    share = np.stack(np.meshgrid(np.arange(61), np.arange(61), indexing="ij"), axis=-1).reshape(-1, 2) / 60
    share = share[share.sum(axis=1) <= 1]
    weights = np.column_stack([1 - share.sum(axis=1), share])
    samples = np.einsum("sc,fcx->fsx", weights, vertices[faces])
    far = np.linalg.norm(points[:, None, None] - samples, axis=3).min(axis=2)
    distance, face = TriangleTree.of_mesh(vertices, faces).nearest(points)
    # The nearest of 1,891 samples of a triangle is at most a step farther than the triangle itself.
    assert (distance <= far.min(axis=1) + 1e-12).all()
    assert distance == pytest.approx(far.min(axis=1), abs=3e-3)
    assert far[np.arange(len(points)), face] == pytest.approx(far.min(axis=1), abs=3e-3)


def test_the_closest_place_is_as_far_as_the_distance_tells() -> None:
    tree = TriangleTree.of_mesh(*TRIANGLE)
    asked = np.array([[0.2, 0.3, 0.5], [0.5, -2.0, 0.0], [1.0, 1.0, 0.0], [4.0, 0.0, 4.0], [-1.0, -2.0, 0.5]])
    expected = [[0.2, 0.3, 0.0], [0.5, 0.0, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert tree.closest(asked) == pytest.approx(np.array(expected))
    vertices, faces = torus(rings=20, sides=10)
    points = np.random.default_rng(1).normal(size=(200, 3)) * 0.5
    tree = TriangleTree.of_mesh(vertices, faces)
    there = tree.closest(points)
    assert np.linalg.norm(there - points, axis=1) == pytest.approx(tree.distance(points), abs=1e-12)
    assert tree.distance(there).max() < 1e-12
    assert tree.closest(np.zeros((0, 3))).shape == (0, 3)


def test_what_is_nearest_does_not_depend_on_the_points_before() -> None:
    """Not even among triangles that are as near: corners and edges have several."""
    vertices, faces = torus(rings=20, sides=10)
    tree, rng = TriangleTree.of_mesh(vertices, faces), np.random.default_rng(2)
    points = np.concatenate([vertices, rng.normal(size=(200, 3)) * 0.5])[rng.permutation(len(vertices) + 200)]
    directions = rng.normal(size=points.shape)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for within in (np.inf, 0.2):
        found = tree.nearest_facing(points, directions, 0.3, within)
        each = [tree.nearest_facing(points[[n]], directions[[n]], 0.3, within) for n in range(len(points))]
        assert np.array_equal(found[0], np.concatenate([distance for distance, _ in each]))
        near = np.isfinite(found[0])
        assert near.any() and np.array_equal(found[1][near], np.concatenate([face for _, face in each])[near])
    alone = np.concatenate([tree.nearest(point[None])[1] for point in points])
    assert np.array_equal(tree.nearest(points)[1], alone)


def test_only_triangles_that_face_the_same_way() -> None:
    tree = TriangleTree.of_mesh(*box())
    point = np.array([[0.0, 0.0, 0.4]])
    assert tree.distance(point)[0] == pytest.approx(0.1)
    assert tree.distance_facing(point, np.array([[0.0, 0, 1]]), least=0.5)[0] == pytest.approx(0.1)
    assert tree.distance_facing(point, np.array([[0.0, 0, -1]]), least=0.5)[0] == pytest.approx(0.9)
    assert tree.distance_facing(point, np.array([[0.0, 0, -1]]), least=0.5, within=0.95)[0] == pytest.approx(0.9)
    assert tree.distance_facing(point, np.array([[0.0, 0, -1]]), least=0.5, within=0.85)[0] == np.inf
    lone = TriangleTree.of_mesh(*TRIANGLE)
    assert lone.distance_facing(point, np.array([[0.0, 0, -1]]))[0] == np.inf


@pytest.mark.parametrize("least", [0.9, 0.3, -0.4])
def test_what_faces_a_way_is_as_far_as_the_mesh_of_those_triangles_alone(least: float) -> None:
    """Whole boxes of the tree that face other ways are skipped; triangles without area have a cosine of 0."""
    vertices, faces = torus(rings=40, sides=20)
    faces = np.concatenate([faces, np.stack([faces[::50, 0], faces[::50, 1], faces[::50, 1]], axis=1)])
    tree, rng = TriangleTree.of_mesh(vertices, faces), np.random.default_rng(3)
    points = rng.normal(size=(40, 3)) * 0.4
    normals = np.zeros((len(faces), 3))
    normals[tree.face] = tree.normals
    for way in rng.normal(size=(6, 3)):
        way /= np.linalg.norm(way)
        some = faces[normals @ way > least]
        expected = TriangleTree.of_mesh(vertices, some).distance(points)
        assert tree.distance_facing(points, np.tile(way, (len(points), 1)), least) == pytest.approx(expected)


def test_triangles_without_area_are_segments_and_points() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]])
    tree = TriangleTree.of_mesh(vertices, np.array([[0, 1, 2], [3, 3, 3]]))
    distance, face = tree.nearest(np.array([[1.5, 1, 0], [5, 5, 6.5]]))
    assert distance == pytest.approx([1.0, 1.5])
    assert face.tolist() == [0, 1]
    assert tree.closest(np.array([[1.5, 1, 0], [5, 5, 6.5]])) == pytest.approx(np.array([[1.5, 0, 0], [5, 5, 5]]))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="faces must hold at least 1 triangle"):
        TriangleTree.of_mesh(TRIANGLE[0], np.zeros((0, 3), dtype=np.int64))
    tree = TriangleTree.of_mesh(*TRIANGLE)
    with pytest.raises(ValueError, match="directions must have a row a point, 2, got 1"):
        tree.distance_facing(np.zeros((2, 3)), np.zeros((1, 3)))
    assert tree.distance(np.zeros((0, 3))).shape == (0,)
