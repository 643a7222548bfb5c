"""The plane predictor sharpens what remeshing rounded, leaves smooth shapes alone, and moves nothing far."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import topology_report
from flashmesh_core.sources import DEFAULTS, laplacian_smooth, make_source
from flashmesh_core.surface import plane_predictor, simplification
from flashmesh_core.surface.adjacency import face_geometry, faces_at_vertices
from flashmesh_core.surface.denoising import denoise, typical_edge
from flashmesh_core.surface.patches import patches_of
from flashmesh_core.surface.placement import move, place_on, planes_of
from flashmesh_core.surface.plane_predictor import load_predictor, scalars_of
from flashmesh_core.surface.reading import dense_surface
from flashmesh_core.surface.refinement import FARTHEST, NOISY_FARTHEST, Refiner, refiner_of
from flashmesh_core.surface.shells import sheet_of
from flashmesh_core.surface.simplification import proxies
from tests.surface.shapes import box_corners, box_distance, sphere, stone, voxels

HALF = np.array([0.4, 0.3, 0.2])
CORNERS = box_corners(HALF)
SHARP = voxels(box_distance(HALF), 128)
ROUNDED = Mesh(laplacian_smooth(SHARP, 8), SHARP.faces)


def farthest_corner(vertices: np.ndarray) -> float:
    return float(cKDTree(vertices).query(CORNERS)[0].max())


def test_the_corners_of_a_rounded_box_come_back():
    """Placing alone stays a third of a cell inside."""
    denoised = denoise(ROUNDED, wanted=12)
    planes = planes_of(denoised)
    found = proxies(denoised, [12])[0]
    faces = found.faces.astype(np.int32)
    placed = place_on(found.vertices, faces, planes, typical_edge(ROUNDED))
    sides, _, _ = face_geometry(found.vertices, faces)
    refined = refiner_of(denoised).refine(placed, faces, planes, sides)
    assert farthest_corner(ROUNDED.vertices) > 0.009
    assert farthest_corner(refined) < 0.002 < farthest_corner(placed)
    assert farthest_corner(found.vertices) < 0.002


def test_planes_behind_rounded_edges_are_those_of_the_box():
    """Faces within two cells of an edge look as much as 45 degrees past it."""
    patches, edge = patches_of(ROUNDED.vertices, ROUNDED.faces), typical_edge(ROUNDED)
    inside = np.sort(HALF - np.abs(patches.centers), axis=1)
    rows = np.flatnonzero((inside[:, 1] < 2 * edge) & (inside[:, 2] > 6 * edge))  # by an edge, not by a corner
    found = load_predictor().predict(patches, rows, edge, scalars_of(0.0, edge, 0.5))
    before = np.abs(patches.normals[rows]).max(axis=1)
    assert (before < 0.98).mean() > 0.3
    assert (np.abs(found.normals).max(axis=1) > 0.98).mean() > 0.9
    side = np.abs(found.normals).argmax(axis=1)
    off = np.abs(np.abs(found.points[np.arange(len(rows)), side]) - HALF[side])
    assert np.median(off) < 0.2 * edge
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1.0)


def test_a_smooth_ball_is_not_dented():
    ball = sphere(200, 120)
    radius = np.linalg.norm(proxies(denoise(ball, wanted=300), [300])[0].vertices, axis=1)
    assert radius.min() > 0.4975 and radius.max() < 0.511  # as far outside as the faces between them lie inside


def test_no_vertex_moves_far_and_no_face_turns():
    noisy = Mesh(SHARP.vertices + np.random.default_rng(0).normal(0, 0.001, SHARP.vertices.shape), SHARP.faces)
    denoised = denoise(noisy, wanted=60)
    planes, edge = planes_of(denoised), typical_edge(noisy)
    found = proxies(denoised, [60])[0]
    faces = found.faces.astype(np.int32)
    refined = refiner_of(denoised).refine(found.vertices, faces, planes, face_geometry(found.vertices, faces)[0])
    way = np.linalg.norm(refined - found.vertices, axis=1)
    assert 0.0 < way.max() <= FARTHEST * edge * (1.0 + 1.5 * NOISY_FARTHEST)
    normals = [
        np.cross(v[faces[:, 1]] - v[faces[:, 0]], v[faces[:, 2]] - v[faces[:, 0]]) for v in (found.vertices, refined)
    ]
    assert (np.einsum("ij,ij->i", *normals) > 0.0).all()


def test_small_turns_do_not_add_up_to_a_face_turned_over():
    """A corner is moved across the opposite edge's line in small steps, each of which turns a face by 40 degrees."""
    vertices = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 1.0, 0.0]])
    faces = np.array([[0, 1, 2]], dtype=np.int32)
    start, around = faces_at_vertices(faces, 3)
    sides, _, _ = face_geometry(vertices, faces)
    for angle in np.radians([40, 80, 120, 160]):
        targets = vertices.copy()
        targets[2] = [0.5, np.cos(angle), np.sin(angle)]
        move(vertices, faces, start, around, targets, sides)
    normal, _, _ = face_geometry(vertices, faces)
    assert 0.6 < normal[0] @ sides[0] < 0.99


def test_a_rough_source_is_closed_at_every_count():
    denoised = denoise(ROUNDED, wanted=12)
    found = proxies(denoised, [12, 24, 60], rough=True)
    for count, mesh in zip((12, 24, 60), found, strict=True):
        report = topology_report(mesh.vertices, mesh.faces)
        assert 0.92 * count <= len(mesh.faces) <= count and report.is_watertight and report.flipped_edge_ratio == 0.0


def test_corners_of_a_rough_source_come_back_on_the_way_to_few_faces(monkeypatch):
    """Stones of twenty corners, sculpted: placed at more counts, they end nearer to where they were."""

    def off(seed: int) -> float:
        shape = stone(seed)
        box, surface = dense_surface(make_source(shape, DEFAULTS["sculpt"], seed=seed))
        made = proxies(denoise(surface, wanted=36), [36], rough=True)[0]
        return float(cKDTree(made.vertices).query(box.apply(shape.vertices))[0].mean())

    ends = sum(off(seed) for seed in (1, 2, 7))
    monkeypatch.setattr(simplification, "FOLLOWED", ())
    assert ends < 0.8 * sum(off(seed) for seed in (1, 2, 7))


def test_weights_of_other_patches_are_refused(tmp_path, monkeypatch):
    other = tmp_path / "other.npz"
    np.savez(other, weight0=np.zeros((7, 5)), bias0=np.zeros(5))
    monkeypatch.setattr(plane_predictor, "PREDICTOR_FILE", other)
    load_predictor.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"other\.npz must take 291 inputs and give 5 outputs, got 7 and 5"):
            load_predictor()
    finally:
        load_predictor.cache_clear()


@pytest.mark.parametrize(("thickness", "thin"), [(0.02, True), (0.3, False)])
def test_a_wall_alone_is_a_sheet_and_keeps_its_rim(thickness, thin, monkeypatch):
    board = voxels(box_distance((0.45, 0.35, thickness / 2)), 128)
    denoised = denoise(board, wanted=40)
    found = proxies(denoised, [40])[0]
    assert (sheet_of(found.vertices, found.faces.astype(np.int32), typical_edge(board)) is not None) == thin
    monkeypatch.setattr(Refiner, "refine", lambda *arguments: arguments[1] + 1.0)
    moved = proxies(denoised, [40])[0]
    assert (np.abs(moved.vertices).max() > 1.0) != thin


@pytest.mark.parametrize(
    ("thickness", "settings", "shell"),
    [
        (0.024, {}, True),
        (0.024, {"rough": True}, True),
        (0.024, {"shells": False}, False),
        (0.014, {}, True),
        (0.014, {"rough": True}, False),
    ],
)
def test_thin_walls_of_clouds_and_the_thinnest_rough_ones_are_no_shells(thickness, settings, shell, monkeypatch):
    board = voxels(box_distance((0.45, 0.35, thickness / 2)), 128)
    monkeypatch.setattr(Refiner, "refine", lambda *arguments: arguments[1] + 1.0)
    moved = proxies(denoise(board, wanted=40), [40], **settings)[0]
    assert (np.abs(moved.vertices).max() <= 1.0) == shell


def test_a_smoothed_thin_wall_that_is_no_shell_gets_its_corners_back():
    corners = CORNERS / HALF * [0.45, 0.35, 0.015]
    board = voxels(box_distance((0.45, 0.35, 0.015)), 128)
    smoothed = denoise(Mesh(laplacian_smooth(board, 4), board.faces), wanted=12)
    off = [
        cKDTree(proxies(smoothed, [12], shells=shells)[0].vertices).query(corners)[0].max() for shells in (True, False)
    ]
    assert off[1] < 0.0065 and off[1] < 0.85 * off[0]
