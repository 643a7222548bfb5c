"""The topology report on shapes whose answer is known, and beside trimesh on random and real meshes."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from flashmesh_core.mesh.half_edge import build_half_edges
from flashmesh_core.mesh.topology import component_labels, flipped_faces, is_manifold_and_closed, topology_report

from .shapes import Arrays, box, join, moebius, shared_data, sheet, torus


def test_a_cube_is_clean() -> None:
    report = topology_report(*box())
    assert (report.n_vertices, report.n_faces, report.n_edges, report.n_components) == (8, 12, 18, 1)
    assert report.is_watertight and report.is_orientable
    assert report.boundary_edge_ratio == report.nonmanifold_edge_ratio == report.flipped_edge_ratio == 0.0
    assert report.n_flipped_faces == report.n_degenerate_faces == 0


def test_a_cube_without_a_face_is_open() -> None:
    vertices, faces = box()
    report = topology_report(vertices, faces[1:])
    assert not report.is_watertight
    assert report.boundary_edge_ratio == pytest.approx(3 / 18)
    assert report.nonmanifold_edge_ratio == 0.0


def test_reversed_faces_are_counted_and_found() -> None:
    vertices, faces = torus()
    wrong = [5, 6, 700]
    faces = faces.copy()
    faces[wrong] = faces[wrong][:, ::-1]
    report = topology_report(vertices, faces)
    assert report.n_flipped_faces == 3 and report.is_watertight and report.is_orientable
    flipped, _ = flipped_faces(build_half_edges(faces, len(vertices)))
    assert np.flatnonzero(flipped).tolist() == wrong
    repaired = faces.copy()
    repaired[flipped] = repaired[flipped][:, ::-1]
    assert topology_report(vertices, repaired).flipped_edge_ratio == 0.0


def test_the_flipped_side_is_the_smaller_one_in_each_patch() -> None:
    vertices, faces = box()
    faces = faces.copy()
    faces[:10] = faces[:10, ::-1]
    assert topology_report(vertices, faces).n_flipped_faces == 2
    assert topology_report(vertices, faces[::-1]).n_flipped_faces == 2
    inside_out = faces.copy()
    inside_out[10:] = inside_out[10:, ::-1]
    assert topology_report(vertices, inside_out).n_flipped_faces == 0
    both = topology_report(*join((vertices, faces), box(), torus()))
    assert both.n_flipped_faces == 2 and both.n_components == 3


def test_a_flipped_edge_ratio_by_hand() -> None:
    report = topology_report(np.eye(4, 3), np.array([[0, 1, 2], [1, 2, 3]]))
    assert report.flipped_edge_ratio == pytest.approx(1 / 5)
    assert report.boundary_edge_ratio == pytest.approx(4 / 5)
    assert report.n_flipped_faces == 1 and report.nonmanifold_edge_ratio == 0.0


@pytest.mark.parametrize(
    ("mesh", "manifold", "closed"),
    [
        (box(), True, True),
        (sheet(2, 3), True, False),
        (join(box(), torus()), True, True),
        (join(box(), sheet(1, 1)), True, False),
        (join(box(), box()), False, True),  # four faces at an edge
        ((box()[0], box()[1][[0, 0, 1]]), False, False),  # a face twice
        ((np.eye(4, 3), np.array([[0, 1, 2], [1, 2, 3]])), False, False),  # windings disagree
        ((np.eye(5, 3) - np.eye(5, 3, -2), np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]])), False, False),  # a fin
        ((np.eye(3), np.array([[0, 0, 1]])), True, False),  # no face at all
    ],
)
def test_splitting_vertices_makes_no_difference_to_being_manifold_and_closed(
    mesh: Arrays, manifold: bool, closed: bool
) -> None:
    vertices, faces = mesh
    soup = vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    degenerate = vertices, np.concatenate([faces, [[0, 1, 1]]])
    for form in (mesh, soup, degenerate):
        assert is_manifold_and_closed(*form) == (manifold, closed)


def test_a_fin_is_nonmanifold() -> None:
    vertices, faces = box()
    fin = np.array([[faces[0, 0], faces[0, 1], 8]])
    report = topology_report(np.vstack([vertices, [[0, 0, 3]]]), np.vstack([faces, fin]))
    assert report.nonmanifold_edge_ratio == pytest.approx(1 / 20)
    assert report.boundary_edge_ratio == pytest.approx(2 / 20)
    assert not report.is_watertight and report.n_components == 1


def test_a_moebius_strip_is_not_orientable() -> None:
    report = topology_report(*moebius())
    assert not report.is_orientable and report.flipped_edge_ratio > 0.0
    assert report.n_flipped_faces == 0 and report.n_components == 1


def test_components_are_joined_by_single_vertices_too() -> None:
    faces = np.array([[0, 1, 2], [2, 3, 4], [5, 6, 7]])
    assert topology_report(np.zeros((9, 3)), faces).n_components == 2


def test_degenerate_faces_and_no_faces() -> None:
    report = topology_report(np.zeros((3, 3)), np.array([[0, 1, 1], [2, 2, 2]]))
    assert report.n_faces == report.n_degenerate_faces == 2
    assert report.n_edges == report.n_components == 0 and not report.is_watertight
    empty = topology_report(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert empty.n_faces == 0 and not empty.is_watertight and empty.boundary_edge_ratio == 0.0


def test_the_report_goes_through_json() -> None:
    report = topology_report(*sheet(2, 2))
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()
    assert report.as_dict()["n_faces"] == 8


@given(pairs=arrays(np.int64, st.tuples(st.integers(0, 30), st.just(2)), elements=st.integers(0, 19)))
def test_component_labels_against_scipy(pairs: np.ndarray) -> None:
    labels = component_labels(20, pairs)
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(20, 20))
    _, expected = connected_components(graph, directed=False)
    first = np.array([np.flatnonzero(expected == label)[0] for label in expected])
    np.testing.assert_array_equal(labels, first)


@given(
    faces=arrays(np.int64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(0, 5)),
    seed=st.integers(0, 1000),
)
def test_reversing_the_named_faces_always_repairs_what_can_be(faces: np.ndarray, seed: int) -> None:
    vertices = np.random.default_rng(seed).random((6, 3))
    proper = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    flipped, orientable = flipped_faces(build_half_edges(proper, 6))
    repaired = np.where(flipped[:, None], proper[:, ::-1], proper)
    pairs, still = build_half_edges(repaired, 6).face_pairs()
    assert not still[orientable[pairs].all(axis=1)].any()
    assert topology_report(vertices, faces).n_flipped_faces == flipped.sum()


@pytest.mark.parametrize("mesh", [box(), sheet(3, 4), torus(), moebius()], ids=["box", "sheet", "torus", "moebius"])
def test_watertight_agrees_with_trimesh(mesh: tuple[np.ndarray, np.ndarray]) -> None:
    report = topology_report(*mesh)
    other = trimesh.Trimesh(*mesh, process=False)
    assert report.is_watertight == other.is_watertight
    assert (report.flipped_edge_ratio == 0.0) == other.is_winding_consistent


@pytest.mark.data
def test_real_meshes_agree_with_their_index() -> None:
    folder = shared_data()
    if not (folder / "meshes.npz").exists():
        pytest.skip(f"no shared meshes in {folder}")
    packed = np.load(folder / "meshes.npz")
    vertices, faces = packed["vertices"], packed["faces"]
    v_at, f_at = packed["vert_offsets"], packed["face_offsets"]
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    assert len(rows) > 200
    for row in rows:
        i = int(row["idx"])
        report = topology_report(vertices[v_at[i] : v_at[i + 1]], faces[f_at[i] : f_at[i + 1]].astype(np.int64))
        assert report.n_faces == int(row["n_faces"]) and report.n_vertices == int(row["n_verts"])
        assert report.is_watertight == bool(int(row["is_watertight"])), row["id"]
        assert report.nonmanifold_edge_ratio == pytest.approx(float(row["nonmanifold_edge_ratio"]), abs=1e-3)
        manifold_ratio = 1.0 - report.boundary_edge_ratio - report.nonmanifold_edge_ratio
        assert manifold_ratio == pytest.approx(float(row["edge2_ratio"]), abs=1e-3)
