"""Figures of results whose faults are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.figures import (
    MATCH_RADIUS,
    feature_points,
    measure,
    point_f1,
    surface_distances,
    vertex_f1,
)
from flashmesh_core.mesh.metrics import compare_meshes

from .shapes import box, join, sheet, torus

BOX = Mesh(*box())


def test_a_mesh_against_itself_is_perfect_but_for_sampling() -> None:
    figures = measure(BOX, BOX)
    compared = compare_meshes(BOX, BOX)
    assert (figures.chamfer, figures.hausdorff, figures.bbox_iou) == (
        compared.chamfer, compared.hausdorff, compared.bbox_iou,
    )  # fmt: skip
    assert figures.edge_f1 == figures.vertex_f1 == figures.face_ratio == 1.0
    assert figures.edge_chamfer == 0.0
    assert figures.gap_max == pytest.approx(0.0, abs=1e-6)
    assert figures.excess_max == pytest.approx(0.0, abs=1e-6)
    assert figures.normal_consistency > 0.97  # samples at the edges find a neighbor around the corner
    assert (figures.watertight, figures.open_edges, figures.flipped, figures.doubled) == (True, 0, 0, 0)


def test_figures_do_not_depend_on_place_and_size() -> None:
    moved = Mesh(BOX.vertices * 40 + [300, -20, 7], BOX.faces)
    ours, theirs = measure(moved, moved).as_dict(), measure(BOX, BOX).as_dict()
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_missing_side_shows_in_the_gap_and_not_in_the_excess() -> None:
    result = Mesh(BOX.vertices, BOX.faces[BOX.vertices[BOX.faces].min(axis=1)[:, 2] < 0.5])
    figures = measure(BOX, result)
    assert figures.gap_max == pytest.approx(0.5, abs=0.02)  # the middle of the side is half a side from the others
    assert figures.excess_max == pytest.approx(0.0, abs=1e-6)
    assert (figures.watertight, figures.open_edges, figures.faces) == (False, 4, 10)
    assert figures.face_ratio == pytest.approx(10 / 12)
    assert figures.edge_f1 == 1.0  # the edges of the hole are edges of the box


def test_what_stands_out_shows_in_the_excess() -> None:
    vertices, faces = join(box(), box((0.1, 0.1, 2.0)))
    figures = measure(BOX, Mesh(vertices, faces), wanted=24)
    assert figures.excess_max == pytest.approx(0.5, abs=0.01)
    assert figures.gap_max == pytest.approx(0.0, abs=1e-6)
    assert figures.face_ratio == 1.0
    assert figures.vertex_f1 == pytest.approx(2 * 0.5 / 1.5)


def test_distances_are_exact() -> None:
    flat, high = Mesh(*sheet(1, 1)), Mesh(sheet(3, 2)[0] + [0, 0, 0.25], sheet(3, 2)[1])
    distances = surface_distances(flat, high)
    assert distances.gap_mean == pytest.approx(0.25, abs=1e-6)
    assert distances.gap_max == pytest.approx(0.25, abs=1e-6)
    assert distances.excess_mean == pytest.approx(0.25, abs=1e-6)
    assert distances.excess_max == pytest.approx(0.25, abs=1e-6)


def test_feature_points_lie_along_sharp_and_open_edges_only() -> None:
    along = feature_points(BOX)
    assert len(along) == 12 * 256  # twelve edges of length 1; the diagonals of the sides bend nowhere
    assert (np.isclose(np.abs(along), 0.5).sum(axis=1) == 2).all()
    rim = feature_points(Mesh(*sheet(2, 2)), step=0.25)
    assert len(rim) == 16
    assert np.isclose(rim[:, :2], rim[:, :2].round()).any(axis=1).all()
    # 24 sides bend by 15 degrees each, 8 sides by 45.
    assert len(feature_points(Mesh(*torus(rings=48, sides=24)))) == 0
    assert len(feature_points(Mesh(*torus(rings=48, sides=8)))) > 0


def test_winding_does_not_make_an_edge_sharp() -> None:
    vertices, faces = sheet(2, 1)
    turned = faces.copy()
    turned[0] = turned[0, ::-1]
    ours, theirs = (feature_points(Mesh(vertices, mesh)) for mesh in (turned, faces))
    assert len(ours) == len(theirs)


def test_f1_by_hand() -> None:
    truth = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])
    found = np.array([[0.0, 0, 0], [0.01, 0, 0], [0, 0.01, 0], [1, 0, MATCH_RADIUS * 1.01]])
    # By nearest: three of four found are right, one of four is found. One to one: one is right.
    assert point_f1(truth, found) == pytest.approx(2 * 0.75 * 0.25 / (0.75 + 0.25))
    assert vertex_f1(truth, found) == pytest.approx(0.25)
    assert vertex_f1(truth, truth) == point_f1(truth, truth) == 1.0
    assert vertex_f1(truth, found[:0]) == point_f1(found[:0], truth) == 0.0
    assert vertex_f1(found[:0], found[:0]) == 1.0


def test_each_vertex_is_matched_once_nearest_first() -> None:
    truth = np.array([[0.0, 0, 0], [0.01, 0, 0]])
    assert vertex_f1(truth, np.array([[0.004, 0, 0], [-0.002, 0, 0]])) == 1.0


def test_flipped_faces_of_a_closed_mesh() -> None:
    faces = BOX.faces.copy()
    faces[:2] = faces[:2, ::-1]
    assert measure(BOX, Mesh(BOX.vertices, faces)).flipped == 2
    assert measure(BOX, Mesh(BOX.vertices, BOX.faces[:, ::-1])).flipped == 12


def test_the_far_side_of_a_thin_wall_is_not_flipped() -> None:
    wall = Mesh(*box((1.0, 1.0, 0.004)))
    assert measure(wall, wall).flipped == 0


def test_a_shell_around_an_open_sheet_is_not_flipped() -> None:
    vertices, faces = sheet(2, 2)
    shell_vertices, shell_faces = box((1.02, 1.02, 0.02))
    shell = Mesh(shell_vertices + np.array([0.5, 0.5, 0]), shell_faces)
    assert measure(Mesh(vertices, faces), shell).flipped == 0
    faces = shell_faces.copy()
    faces[0] = faces[0, ::-1]
    assert measure(Mesh(*sheet(2, 2)), Mesh(shell.vertices, faces)).flipped == 1


def test_doubled_faces_wind_either_way() -> None:
    faces = np.concatenate([BOX.faces, BOX.faces[:1], BOX.faces[1:2, ::-1]])
    figures = measure(BOX, Mesh(BOX.vertices, faces))
    assert (figures.doubled, figures.watertight) == (2, False)


def test_vertices_at_one_place_are_one() -> None:
    loose = Mesh(BOX.triangles.reshape(-1, 3), np.arange(36).reshape(-1, 3))
    figures = measure(BOX, loose)
    assert (figures.watertight, figures.open_edges, figures.vertex_f1) == (True, 0, 1.0)


def test_an_empty_result_has_the_worst_figures() -> None:
    figures = measure(BOX, Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)))
    assert figures.chamfer == figures.gap_max == figures.edge_chamfer == np.inf
    assert figures.edge_f1 == figures.vertex_f1 == figures.face_ratio == 0.0
    assert not figures.watertight
    json.dumps({name: str(value) for name, value in figures.as_dict().items()})


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="artist must have at least 1 face, got 0"):
        measure(Mesh(BOX.vertices, np.zeros((0, 3), dtype=np.int64)), BOX)
    with pytest.raises(ValueError, match="artist must have faces with area, got 1"):
        measure(Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]])), BOX)
    with pytest.raises(ValueError, match="wanted must be at least 1, got 0"):
        measure(BOX, BOX, wanted=0)
