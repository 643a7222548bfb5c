"""Faces that grow from open edges at the end, where the model cut a panel otherwise than the source does."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.completion.holes import cover_uncovered
from flashmesh_core.mesh.canonical import Mesh, dequantize
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.slices import SurfaceContext
from flashmesh_core.state.arrays import make_surface
from flashmesh_core.state.mesh_state import MeshState
from tests.state.builders import empty, prepare

CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 0.6), (1, 0, 0.6)], dtype=np.float64)
PANEL = Mesh(CORNERS[:4], np.array([(0, 1, 2), (0, 2, 3)]))
OTHERWISE = (1, 2, 3), (1, 3, 0)  # the same panel, cut along its other diagonal
# A wall on the panel's edge 0 -> 1 that uses it in the panel's own direction, as walls of two parts do that touch.
WALLED = Mesh(CORNERS, np.array([(0, 1, 2), (0, 2, 3), (0, 1, 5), (0, 5, 4)]))


def started(mesh: Mesh, written: tuple[tuple[int, int, int], ...], max_faces: int = 100) -> tuple[MeshState, ...]:
    """A mesh over the surface of `mesh` of which faces over its vertices are written, and the bins of its own faces."""
    unit = prepare(mesh)[0].normalization.apply(mesh.vertices)
    bins = np.floor((unit + 0.5) * 128).clip(0, 127).astype(np.int64)
    proxy_bins = bins[mesh.faces]  # reading would cut edges of more than two faces and turn walls
    samples = sample_surface(unit, mesh.faces, 16_384, np.random.default_rng(0))
    points, normals = samples.points.astype(np.float64), samples.normals.astype(np.float64)
    context = SurfaceContext.of_samples(points, normals, dequantize(bins, 128), 128)
    surface = make_surface(128, None, (0, 0, 0), context, points, normals, proxy_bins)
    state = empty(surface, max_faces)
    for face in written:
        for corner in bins[list(face)]:
            for token in corner[::-1]:
                state.push(int(token))
    return state, bins, proxy_bins


def corner_sets(state: MeshState) -> list[set[tuple[int, ...]]]:
    return [{tuple(corner) for corner in face} for face in state.faces().tolist()]


def test_the_other_half_of_a_panel_is_filled_along_the_diagonal_that_was_written() -> None:
    """Half of each of the source's own faces is covered, so none of them may be added."""
    state, bins, proxy_bins = started(PANEL, OTHERWISE[:1])
    cover_uncovered(state, proxy_bins)
    assert corner_sets(state)[1:] == [{tuple(bins[k].tolist()) for k in OTHERWISE[1]}]
    assert state.covered == pytest.approx(1.0, abs=0.01)
    normals = np.cross(*(state.faces()[:, k] - state.faces()[:, 0] for k in (1, 2)))
    assert (normals[:, 2] > 0).all()


def test_nothing_grows_where_all_is_covered_or_the_limit_is_reached() -> None:
    state, _, proxy_bins = started(PANEL, OTHERWISE)
    cover_uncovered(state, proxy_bins)
    assert state.n_faces == 2
    state, _, proxy_bins = started(PANEL, OTHERWISE[:1], max_faces=1)
    cover_uncovered(state, proxy_bins)
    assert state.n_faces == 1


def test_no_face_grows_beside_an_edge_in_use() -> None:
    written = (*OTHERWISE[:1], (0, 1, 5), (0, 5, 4))
    state, _, proxy_bins = started(WALLED, written)
    cover_uncovered(state, proxy_bins)
    assert state.n_faces == 3
