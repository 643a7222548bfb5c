"""Anything becomes an edge-manifold, oriented mesh of the same surface."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import topology_report
from flashmesh_core.surface.cleaning import clean
from tests.surface.shapes import box, cube, cylinder, grid, joined, sphere, volume, voxels


def report(mesh: Mesh):
    return topology_report(mesh.vertices, mesh.faces)


def test_triangle_soup_is_welded():
    mesh = clean(cube().triangles.reshape(-1, 3), np.arange(36).reshape(-1, 3))
    assert len(mesh.vertices) == 8 and len(mesh.faces) == 12 and report(mesh).is_watertight


def test_copies_of_one_triangle_are_one():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    mesh = clean(np.tile(corners, (100_000, 1)), np.arange(300_000).reshape(-1, 3))
    assert len(mesh.faces) == 1 and len(mesh.vertices) == 3


@pytest.mark.parametrize("shape", [cube(), cylinder(32), sphere(24, 12)], ids=["cube", "cylinder", "sphere"])
def test_an_inside_out_part_is_turned(shape):
    mesh = clean(shape.vertices, shape.faces[:, ::-1])
    assert volume(mesh) == pytest.approx(volume(shape)) and volume(mesh) > 0.0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_mixed_windings_of_a_closed_part_agree(seed):
    shape, rng = cube(), np.random.default_rng(seed)
    turned = rng.random(12) < 0.5
    faces = np.where(turned[:, None], shape.faces[:, ::-1], shape.faces)
    mesh = clean(shape.vertices, rng.permutation(faces))
    assert report(mesh).is_watertight and report(mesh).flipped_edge_ratio == 0.0 and volume(mesh) == pytest.approx(1.0)


def test_a_cavity_stays_one_and_a_part_beside_is_turned():
    hollow, beside = cube(), cube()
    hollow = Mesh(hollow.vertices * 0.5, hollow.faces[:, ::-1])
    beside = Mesh(beside.vertices + 3.0, beside.faces[:, ::-1])
    mesh = clean(*joined(cube(), hollow, beside))
    assert volume(mesh) == pytest.approx(1.0 - 0.125 + 1.0)
    inside_out = clean(*joined(Mesh(cube().vertices, cube().faces[:, ::-1]), Mesh(hollow.vertices, cube().faces)))
    assert volume(inside_out) == pytest.approx(1.0 - 0.125)


def test_a_room_with_things_in_it_stays_turned_inwards():
    """As a level or an interior is modelled; a large thing is the hollow of a reversed body."""
    room, size = Mesh(cube().vertices, cube().faces[:, ::-1]), 0.3
    things = [Mesh(cube().vertices * size + [x, 0.1, 0.1], cube().faces) for x in (0.1, 0.6)]
    assert volume(clean(*joined(room, *things))) == pytest.approx(2 * size**3 - 1.0)
    assert volume(clean(*joined(room, Mesh(things[0].vertices + 3.0, cube().faces)))) == pytest.approx(1.0 + size**3)


@pytest.mark.parametrize("offset", [(1, 0, 0), (1, 1, 0), (1, 1, 1)], ids=["face", "edge", "corner"])
def test_touching_cubes_come_apart(offset):
    mesh = clean(*joined(cube(), Mesh(cube().vertices + offset, cube().faces)))
    assert report(mesh).is_watertight and report(mesh).nonmanifold_edge_ratio == 0.0
    assert report(mesh).n_components == 2 and volume(mesh) == pytest.approx(2.0)


def test_a_sheet_with_a_back_loses_it_and_keeps_its_winding():
    sheet = grid(4)
    mesh = clean(sheet.vertices, np.concatenate([sheet.faces, sheet.faces[:, ::-1]]))
    assert len(mesh.faces) == len(sheet.faces) and report(mesh).nonmanifold_edge_ratio == 0.0
    mesh = clean(sheet.vertices, np.concatenate([sheet.faces[:20], sheet.faces[20:, ::-1]]))
    normals = np.cross(*(mesh.triangles[:, k] - mesh.triangles[:, 0] for k in (1, 2)))
    assert (normals[:, 2] > 0).all()


def test_flat_slivers_go_and_nothing_opens():
    shape = cube()
    middle = len(shape.vertices)
    vertices = np.vstack([shape.vertices, shape.vertices[[0, 1]].mean(axis=0)])
    kept = shape.faces[shape.faces.tolist().index([0, 1, 5]) != np.arange(12)]
    faces = np.concatenate([kept, [[0, middle, 5], [middle, 1, 5], [0, 1, middle]]])
    mesh = clean(vertices, faces)
    sides = np.cross(*(mesh.triangles[:, k] - mesh.triangles[:, 0] for k in (1, 2)))
    assert (
        report(mesh).is_watertight
        and (np.linalg.norm(sides, axis=1) > 1e-6).all()
        and volume(mesh) == pytest.approx(1.0)
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_faces_become_manifold(seed):
    rng = np.random.default_rng(seed)
    mesh = clean(rng.random((9, 3)), rng.integers(0, 9, (30, 3)))
    found = report(mesh)
    assert found.nonmanifold_edge_ratio == 0.0 and found.flipped_edge_ratio == 0.0 and found.n_degenerate_faces == 0


def test_nothing_is_left_of_no_area_and_bad_input_is_refused():
    assert len(clean(np.zeros((3, 3)), np.array([[0, 1, 2]])).faces) == 0
    assert len(clean(np.zeros((0, 3)), np.zeros((0, 3), dtype=int)).faces) == 0
    with pytest.raises(ValueError, match="vertices must be finite"):
        clean(np.full((3, 3), np.nan), np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="faces must hold indices"):
        clean(np.zeros((3, 3)), np.array([[0, 1, 3]]))


def test_voxels_keep_their_faces():
    shape = voxels(lambda p: np.linalg.norm(p, axis=-1) - 0.4)
    mesh = clean(shape.vertices, shape.faces)
    assert report(mesh).is_watertight and volume(mesh) == pytest.approx(volume(shape), rel=1e-6)


def test_progress_rises_and_may_cancel():
    shares = []
    shape = sphere(24, 12)
    told = clean(shape.vertices, shape.faces, progress=shares.append)
    assert len(shares) >= 4 and shares == sorted(set(shares)) and shares[0] > 0.0 and shares[-1] < 1.0
    np.testing.assert_array_equal(told.vertices, clean(shape.vertices, shape.faces).vertices)

    def cancel(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean(shape.vertices, shape.faces, progress=cancel)


def test_closed_parts_that_touch_stay_apart() -> None:
    """Two boxes side by side share four vertices' places and two faces; each keeps all of its own."""
    mesh = Mesh(*joined(box(1.0, 1.0, 1.0), box(1.0, 1.0, 1.0, at=(1.0, 0.0, 0.0))))
    found = clean(mesh.vertices, mesh.faces)
    assert len(found.faces) == len(mesh.faces) and len(found.vertices) == len(mesh.vertices)
    assert report(found).is_watertight and volume(found) == pytest.approx(2.0)


def test_a_copy_of_a_closed_part_goes_and_faces_of_open_parts_that_meet_stay() -> None:
    one, other = box(1.0, 1.0, 1.0), box(1.0, 1.0, 1.0, at=(1.0, 0.0, 0.0))
    assert len(clean(*joined(one, one, other)).faces) == len(one.faces) + len(other.faces)
    some = np.arange(4)
    assert len(clean(*joined(one, Mesh(one.vertices, one.faces[some]))).faces) == len(one.faces)
    loose = [
        Mesh(part.triangles.reshape(-1, 3), np.arange(3 * len(part.faces)).reshape(-1, 3)) for part in (one, other)
    ]
    far = box(1.0, 1.0, 1.0, at=(5.0, 0.0, 0.0))
    found = clean(*joined(far, far, *loose))
    assert len(found.faces) == 3 * len(one.faces) and volume(found) == pytest.approx(3.0)
