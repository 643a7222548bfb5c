"""Edges, faces, quads and thin triangles of meshes written by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.figures import measure
from flashmesh_core.mesh.layout import (
    MATCH_RADIUS,
    corner_angles,
    good_quads,
    layout_f1,
    match_vertices,
    thin_share,
    vertex_f1,
)

from .shapes import box, sheet, torus

BOX = Mesh(*box())
# Two triangles of a unit square, cut from 0 to 2 and from 1 to 3.
SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float64)
CUT, OTHER_CUT = np.array([[0, 1, 2], [0, 2, 3]]), np.array([[1, 2, 3], [1, 3, 0]])


def bent(degrees: float) -> Mesh:
    """Two halves of a square whose second half is turned about the cut from 0 to 2."""
    turn = np.radians(degrees)
    middle, out = SQUARE[[0, 2]].mean(axis=0), SQUARE[3] - SQUARE[[0, 2]].mean(axis=0)
    tip = middle + np.cos(turn) * out + np.sin(turn) * np.array([0.0, 0.0, np.linalg.norm(out)])
    return Mesh(np.concatenate([SQUARE[:3], [tip]]), CUT)


def kite(angle: float) -> Mesh:
    """A rhombus with two angles of so many degrees, cut between the others."""
    half = np.radians(angle) / 2
    x, y = np.cos(half), np.sin(half)
    return Mesh(np.array([[-x, 0, 0], [0, -y, 0], [x, 0, 0], [0, y, 0]]), np.array([[0, 1, 3], [1, 2, 3]]))


def test_each_vertex_is_matched_once_with_the_nearest_first() -> None:
    truth = np.array([[0.0, 0, 0], [0.01, 0, 0], [0.5, 0, 0]])
    found = np.array([[0.004, 0, 0], [0.001, 0, 0], [0.5, MATCH_RADIUS * 1.01, 0]])
    assert match_vertices(truth, found).tolist() == [1, 0, -1]  # the second is nearer to the first of the truth
    assert match_vertices(truth, found[:0]).tolist() == []
    assert match_vertices(truth[:0], found).tolist() == [-1, -1, -1]
    assert vertex_f1(truth, found) == pytest.approx(2 / 3)


def test_a_mesh_has_its_own_layout_whatever_the_order_and_winding() -> None:
    order = np.random.default_rng(0).permutation(len(BOX.vertices))
    shuffled = Mesh(BOX.vertices[order], np.argsort(order)[BOX.faces][::-1, ::-1])
    assert layout_f1(BOX, BOX) == layout_f1(BOX, shuffled) == (1.0, 1.0)
    twice = Mesh(BOX.vertices, np.concatenate([BOX.faces, BOX.faces[:, ::-1]]))
    assert layout_f1(BOX, twice) == (1.0, 1.0)


def test_another_cut_is_one_wrong_edge_and_two_wrong_faces() -> None:
    assert layout_f1(Mesh(SQUARE, CUT), Mesh(SQUARE, OTHER_CUT)) == (pytest.approx(4 / 5), 0.0)


def test_edges_and_faces_at_a_vertex_that_is_not_found_are_wrong() -> None:
    moved = SQUARE.copy()
    moved[3] += (0.0, 0.5, 0.0)
    edges, faces = layout_f1(Mesh(SQUARE, CUT), Mesh(moved, CUT))
    assert (edges, faces) == (pytest.approx(3 / 5), pytest.approx(1 / 2))


def test_more_faces_than_the_truth_lower_the_precision_alone() -> None:
    half = Mesh(SQUARE[:3], CUT[:1])
    edges, faces = layout_f1(half, Mesh(SQUARE, CUT))  # precision 3 of 5 edges and 1 of 2 faces, recall 1
    assert (edges, faces) == (pytest.approx(3 / 4), pytest.approx(2 / 3))
    assert layout_f1(Mesh(SQUARE, CUT), half) == (pytest.approx(edges), pytest.approx(faces))


def test_nothing_in_common_is_zero() -> None:
    assert layout_f1(BOX, Mesh(BOX.vertices + 5.0, BOX.faces)) == (0.0, 0.0)
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert layout_f1(BOX, empty) == (0.0, 0.0)
    assert layout_f1(empty, empty) == (1.0, 1.0)


def test_angles_at_corners() -> None:
    np.testing.assert_allclose(corner_angles(Mesh(SQUARE, CUT).triangles), [[45, 90, 45], [45, 45, 90]])
    assert corner_angles(np.zeros((1, 3, 3))).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(("degrees", "share"), [(9.9, 1.0), (10.1, 0.0)])
def test_the_smallest_angle_makes_a_triangle_thin(degrees: float, share: float) -> None:
    tip = (np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0.0)
    assert thin_share(Mesh(np.array([[0, 0, 0], [1, 0, 0], tip]), np.array([[0, 1, 2]]))) == share


def test_faces_without_area_are_thin_and_no_quads() -> None:
    line = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    assert (thin_share(line), good_quads(line)) == (0.5, 0.0)


@pytest.mark.parametrize(("bend", "share"), [(0.0, 1.0), (9.0, 1.0), (-9.0, 1.0), (11.0, 0.0), (170.0, 0.0)])
def test_a_good_quad_is_hardly_bent(bend: float, share: float) -> None:
    assert good_quads(bent(bend)) == share
    turned = Mesh(bent(bend).vertices, np.array([[0, 1, 2], [0, 3, 2]]))  # faces that wind against each other
    assert good_quads(turned) == share


@pytest.mark.parametrize(("angle", "share"), [(60.0, 1.0), (54.0, 0.0), (90.0, 1.0), (126.0, 0.0)])
def test_a_good_quad_has_four_good_angles(angle: float, share: float) -> None:
    assert good_quads(kite(angle)) == share


def test_quads_are_paired_best_first() -> None:
    """Four in a row, of which those in the middle make a square: each outer one could have been half of a rhombus."""
    high = np.sqrt(0.75)
    outer = np.array([[0.5, -high, 0], [-0.5, high + 1, 0]])
    vertices = np.concatenate([SQUARE, outer])
    row = np.array([[4, 1, 0], [0, 1, 2], [0, 2, 3], [3, 2, 5]])
    assert good_quads(Mesh(vertices, row)) == 0.5
    even = np.array([[0, 0, 0], [1, 0, 0], [0.5, high, 0], [1.5, high, 0], [1, 2 * high, 0], [2, 2 * high, 0]])
    strip = np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]])
    assert good_quads(Mesh(even, strip)) == 1.0  # of those that are as good the first go first


def test_grids_and_boxes_are_all_quads() -> None:
    assert good_quads(Mesh(*sheet(4, 3))) == good_quads(BOX) == 1.0
    assert good_quads(Mesh(SQUARE[:3], CUT[:1])) == 0.0
    ring = Mesh(*torus(rings=48, sides=24))  # 7.5 and 15 degrees between its quads, which are hardly bent
    assert good_quads(ring) > 0.95


def test_a_wing_with_three_faces_is_no_quad() -> None:
    fin = Mesh(np.concatenate([SQUARE, [[0.5, 0.5, 1.0]]]), np.array([[0, 1, 2], [0, 2, 3], [0, 2, 4]]))
    assert good_quads(fin) == 0.0


def test_they_are_figures() -> None:
    figures = measure(Mesh(*sheet(1, 1)), Mesh(*sheet(2, 1)))
    assert (figures.all_edges_f1, figures.faces_f1) == (pytest.approx(2 * (2 / 9) * (2 / 5) / (2 / 9 + 2 / 5)), 0.0)
    assert (figures.good_quads, figures.thin) == (1.0, 0.0)
    empty = measure(BOX, Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)))
    assert (empty.all_edges_f1, empty.faces_f1, empty.good_quads, empty.thin) == (0.0, 0.0, 0.0, 0.0)


def test_large_meshes_take_little_time() -> None:
    large = Mesh(*torus(rings=50, sides=40))
    assert len(large.faces) == 4_000
    shifted = Mesh(large.vertices + 0.001, large.faces)
    took = []
    for _ in range(3):
        began = time.process_time()
        assert layout_f1(large, shifted)[0] > 0.99
        good_quads(large), thin_share(large)
        took.append(time.process_time() - began)
    assert min(took) < 0.3
