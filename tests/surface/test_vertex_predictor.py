"""What the vertex predictor sees around a vertex, and that its answer turns with the surface."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface import vertex_predictor
from flashmesh_core.surface.adjacency import face_geometry, faces_at_vertices
from flashmesh_core.surface.denoising import denoise, typical_edge
from flashmesh_core.surface.placement import planes_of
from flashmesh_core.surface.refinement import VERTEX_FARTHEST, refiner_of
from flashmesh_core.surface.simplification import proxies
from flashmesh_core.surface.surroundings import CHANNELS, MOST, RADIUS, WHOLE, Surroundings, faces_around
from flashmesh_core.surface.vertex_predictor import load_vertex_predictor, planes_of_samples
from tests.surface.shapes import box_distance, voxels

HALF = np.array([0.4, 0.3, 0.2])
BOX = voxels(box_distance(HALF), 128)
DENOISED = denoise(BOX, wanted=12)
PLANES, EDGE = planes_of(DENOISED), typical_edge(BOX)
COLLAPSED = proxies(DENOISED, [12], refine=False)[0]
FACES = COLLAPSED.faces.astype(np.int32)
SIDES = face_geometry(COLLAPSED.vertices, FACES)[0]


def crossed() -> tuple[np.ndarray, Surroundings]:
    return refiner_of(DENOISED).crossed(COLLAPSED.vertices, FACES, PLANES, SIDES)


def test_faces_around_a_corner_are_near_connected_and_closer_together_near_it():
    start, around = faces_at_vertices(FACES, len(COLLAPSED.vertices))
    seen = faces_around(COLLAPSED.vertices, FACES, start, around, PLANES, EDGE)
    assert seen.rows.shape == (8, MOST) and (seen.rows >= 0).all() and (seen.counts > 3 * MOST).all()
    far = np.linalg.norm(PLANES.centers[seen.rows] - COLLAPSED.vertices[:, None], axis=2)
    assert far.max() <= RADIUS * EDGE and far[:, 0].max() < 1.5 * EDGE
    assert (np.median(far, axis=1) < 0.65 * RADIUS * EDGE).all(), "half of an even choice is beyond 0.71"
    assert all(len(np.unique(row)) == MOST for row in seen.rows)
    assert seen.own.all(), "the next corner is farther than the radius"
    np.testing.assert_allclose(seen.shortest, 2 * HALF[2], rtol=0.05)


def test_faces_nearer_to_a_neighbor_are_seen_but_not_own():
    board = Mesh(BOX.vertices, BOX.faces)
    denoised = denoise(board, wanted=2000)
    planes = planes_of(denoised)
    proxy = proxies(denoised, [2000], refine=False)[0]
    faces = proxy.faces.astype(np.int32)
    start, around = faces_at_vertices(faces, len(proxy.vertices))
    seen = faces_around(proxy.vertices, faces, start, around, planes, EDGE)
    there = seen.rows >= 0
    vertices, own = np.nonzero(there)[0], seen.own[there]
    nearest = cKDTree(proxy.vertices).query(planes.centers[seen.rows[there]])[1] == vertices
    assert nearest.any() and own[nearest].all(), "what is nearest of all is nearer than neighbors"
    assert 0.02 < own.mean() < 0.6


def test_what_is_told_of_a_corner_holds_its_three_planes():
    moved, found = crossed()
    assert found.samples.shape == (8, MOST, CHANNELS) and found.whole.shape == (8, WHOLE)
    normals, distances = planes_of_samples(found.samples)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=0.05)
    in_box = np.einsum("vji,vepj->vepi", found.frames, normals)
    assert (np.abs(in_box[:, :, 0]).max(axis=-1) > 0.98).mean() > 0.8
    assert np.median(np.abs(distances)) < 0.2
    np.testing.assert_allclose(found.frames @ found.frames.transpose(0, 2, 1), np.eye(3)[None].repeat(8, 0), atol=1e-9)
    assert (np.einsum("vi,vi->v", found.frames[:, 2], moved) > 0.0).all(), "outward"


def test_the_answer_turns_with_the_surface():
    """Turned by hand: the frames hold the turn, and the network is told the same as before."""
    turn = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = refined_box(np.eye(3))
    np.testing.assert_allclose(refined_box(turn), found @ turn.T, atol=0.002)


def refined_box(turn: np.ndarray) -> np.ndarray:
    """The refined corners of the box, turned as a whole before anything is read."""
    denoised = denoise(Mesh(BOX.vertices @ turn.T, BOX.faces), wanted=12)
    placed = COLLAPSED.vertices @ turn.T
    return refiner_of(denoised).refine(placed, FACES, planes_of(denoised), SIDES @ turn.T)


def test_a_vertex_that_sees_nothing_stays():
    found = crossed()[1]
    valid = found.valid.copy()
    valid[3] = False
    ways = load_vertex_predictor().predict(found._replace(valid=valid))
    assert (ways[3] == 0.0).all() and np.isfinite(ways).all() and (np.abs(ways[[0, 1, 2, 4]]) > 0.0).any()


def test_refining_ends_near_the_corners_and_moves_nothing_far():
    moved, _ = crossed()
    refined = refiner_of(DENOISED).refine(COLLAPSED.vertices, FACES, PLANES, SIDES)
    assert 0.0 < np.linalg.norm(refined - moved, axis=1).max() <= VERTEX_FARTHEST
    assert np.abs(np.abs(refined) - HALF).max() < 0.002


def test_weights_of_other_surroundings_are_refused(tmp_path, monkeypatch):
    other = tmp_path / "other.npz"
    kept = {name: np.zeros(1) for name in vertex_predictor.VertexPredictor._fields}
    kept |= {"sample_weight": np.zeros((7, 4)), "planes_weight": np.zeros((4, 2)), "place_weight": np.zeros((4, 4))}
    np.savez(other, **kept)
    monkeypatch.setattr(vertex_predictor, "VERTEX_FILE", other)
    load_vertex_predictor.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"other\.npz must take 23 inputs and give 8 outputs, got 7 and 6"):
            load_vertex_predictor()
    finally:
        load_vertex_predictor.cache_clear()
