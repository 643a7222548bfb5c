"""A large surface is thinned in blocks: nothing opens, nothing is lost, and what is left is as good."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.figures import surface_distances
from flashmesh_core.mesh.topology import topology_report
from flashmesh_core.surface import thinning, threads
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.collapse import collapse, start_collapse
from flashmesh_core.surface.denoising import Denoised, denoise
from flashmesh_core.surface.placement import planes_of
from flashmesh_core.surface.reach import FAR
from flashmesh_core.surface.simplification import proxies, rows_of
from flashmesh_core.surface.thinning import Thinned, blocks_of, start_thinned, thinned
from tests.surface.shapes import box_corners, box_distance, grid, torus_distance, voxels

HALF = np.array([0.4, 0.3, 0.2])
CORNERS = box_corners(HALF)
RING = torus_distance(0.35, 0.13)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch):
    """Blocks of a thousand faces: what is tested are their rims."""
    monkeypatch.setattr(thinning, "LARGE", 4_000)
    monkeypatch.setattr(thinning, "BLOCK", 1_000)
    monkeypatch.setattr(thinning, "LEFT", 1_500)


def given(denoised: Denoised) -> Thinned:
    planes = planes_of(denoised)
    sides, _, _ = face_geometry(planes.vertices, planes.faces)
    return Thinned(planes.vertices, planes.faces, rows_of(*planes[:5]), sides)


def of(mesh: Thinned) -> Thinned:
    blocks = blocks_of(mesh.vertices[mesh.faces].mean(axis=1))
    return thinned(mesh, blocks, partial(start_collapse, seed=0, staying=0.0, far=FAR), lambda left: None)


def test_every_face_is_in_one_block():
    centers = np.random.default_rng(0).normal(size=(9_001, 3))
    blocks = blocks_of(centers)
    assert max(map(len, blocks)) <= 1_000 and len(blocks) < 20
    np.testing.assert_array_equal(np.sort(np.concatenate(blocks)), np.arange(9_001))


@pytest.mark.parametrize("distance", [RING, box_distance(HALF)])
def test_a_closed_surface_stays_closed_and_where_it_was(distance):
    before = given(denoise(voxels(distance, 64)))
    after = of(before)
    whole, less = (topology_report(mesh.vertices, mesh.faces) for mesh in (before, after))
    assert less.is_watertight and less.n_flipped_faces == 0
    assert less.n_vertices - less.n_edges + less.n_faces == whole.n_vertices - whole.n_edges + whole.n_faces
    assert 1_500 < less.n_faces < 0.4 * whole.n_faces
    assert len(after.sides) == less.n_faces and len(after.quadrics) == less.n_vertices
    far = surface_distances(Mesh(before.vertices, before.faces), Mesh(after.vertices, after.faces), samples=4_000)
    assert far.gap_max < 0.004 and far.excess_max < 0.004


def test_no_weight_of_the_planes_is_lost():
    """A vertex that several blocks share has its planes once, and those that were joined are there together."""
    before = given(denoise(voxels(box_distance(HALF), 64)))
    total = before.quadrics[:, 10].sum()
    assert of(before).quadrics[:, 10].sum() == pytest.approx(total)


def test_an_open_border_is_no_rim_of_a_block():
    sheet = grid(70)
    after = of(
        given(Denoised(sheet, face_geometry(sheet.vertices, sheet.faces.astype(np.int32))[0], sheet.vertices, 0.0))
    )
    report = topology_report(after.vertices, after.faces)
    border, least = report.boundary_edge_ratio * report.n_edges, 4
    assert least < border < 0.5 * 4 * 70
    np.testing.assert_allclose(np.ptp(after.vertices, axis=0), np.ptp(sheet.vertices, axis=0), atol=1e-9)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_corners_are_found_as_without_blocks(seed: int):
    mesh = proxies(denoise(voxels(box_distance(HALF), 64)), [12], seed=seed)[0]
    assert len(mesh.faces) == 12
    assert cKDTree(mesh.vertices).query(CORNERS)[0].max() < 0.006


def test_round_shapes_are_as_near_as_without_blocks(monkeypatch: pytest.MonkeyPatch):
    denoised = denoise(voxels(RING, 64))
    made = proxies(denoised, [300])[0]
    monkeypatch.setattr(thinning, "LARGE", 1 << 30)
    plain = proxies(denoised, [300])[0]
    assert len(made.faces) == len(plain.faces)
    thin, whole = (surface_distances(denoised.mesh, mesh, samples=8_000) for mesh in (made, plain))
    assert thin.gap_mean < 1.05 * whole.gap_mean and thin.gap_max < 1.2 * whole.gap_max


def test_a_block_turns_no_face_over_to_go_on():
    """One queue would look elsewhere first: looser rules are for the end, when nothing is left."""
    sheet = grid(24)
    vertices, faces = sheet.vertices.copy(), sheet.faces.astype(np.int32)
    held = np.abs(vertices[:, :2]).max(axis=1) > 0.499
    vertices[:, 2] = 0.2 * np.random.default_rng(1).normal(size=len(vertices))
    sides, areas, centers = face_geometry(vertices, faces)
    state = start_collapse(vertices, faces, rows_of(vertices, faces, centers, sides, areas), held=held)
    assert collapse(state, 0, 1_000_000) == 2
    normals, _, _ = face_geometry(state.positions, state.faces[state.alive])
    assert (np.einsum("ij,ij->i", normals, state.sides[state.alive]) > 0.0).all()
    assert 4 * 24 < len(normals) < 150
    np.testing.assert_array_equal(state.positions[held], vertices[held])


def test_a_mesh_that_keeps_many_faces_is_not_thinned(monkeypatch: pytest.MonkeyPatch):
    denoised = denoise(voxels(box_distance(HALF), 64))
    made = proxies(denoised, [400])[0]
    monkeypatch.setattr(thinning, "LARGE", 1 << 30)
    np.testing.assert_array_equal(made.vertices, proxies(denoised, [400])[0].vertices)


@pytest.mark.parametrize("after", [1, 4])
def test_it_is_told_and_can_be_cancelled(after: int, monkeypatch: pytest.MonkeyPatch):
    """Before anything is done, and while blocks are at work."""

    class CancelledError(Exception):
        pass

    def cancel(left: int) -> None:
        told.append(left)
        if len(told) == after:
            raise CancelledError

    monkeypatch.setattr(threads, "AWAIT", 0.0)
    told: list[int] = []
    mesh = given(denoise(voxels(RING, 64)))
    with pytest.raises(CancelledError):
        start_thinned(mesh.vertices, mesh.faces, mesh.quadrics, 0, count=100, far=FAR, report=cancel)
    assert len(told) == after and all(0 < left <= len(mesh.faces) for left in told)
