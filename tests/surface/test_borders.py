"""Borders of open surfaces come back straight, with their corners, whatever the noise; slits are no borders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.borders import border_of, border_rows, open_edges, straightened
from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import grid, joined

CELLS = 120
HALF = np.array([0.5, 0.3])
TURN = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()


def sheet(noise: float, bend: float) -> tuple[Mesh, np.ndarray]:
    """A dense sheet of 1 by 0.6, folded upwards along its middle, turned, with noise; and its corners (4, 3)."""
    dense = grid(CELLS)
    places = (dense.vertices - dense.vertices.mean(axis=0)) / np.ptp(dense.vertices[:, 0]) * [1.0, 0.6, 0.0]
    corners = np.array([[x, y, 0.0] for x in (-HALF[0], HALF[0]) for y in (-HALF[1], HALF[1])])
    for points in (places, corners):
        points[:, 2] = bend * np.abs(points[:, 0])
    places = places + np.random.default_rng(0).normal(0.0, noise, places.shape)
    return Mesh(places @ TURN.T, dense.faces), corners @ TURN.T


def off_the_border(vertices: np.ndarray) -> np.ndarray:
    """How far vertices (V, 3) of the turned sheet lie from the lines of its border, (V,)."""
    return np.abs((np.abs((vertices @ TURN)[:, :2]) - HALF).max(axis=1))


@pytest.mark.parametrize(("noise", "bound"), [(0.0, 0.0005), (0.001, 0.01), (0.002, 0.02)])
@pytest.mark.parametrize("bend", [0.0, 0.4])
@pytest.mark.parametrize("count", [8, 24])
def test_the_border_of_a_noisy_sheet_is_where_it_was(noise: float, bound: float, bend: float, count: int) -> None:
    """The networks alone led vertices .01 off it without noise, .02 to .03 with some."""
    dense, corners = sheet(noise, bend)
    reading = read_surface(dense, faces=count, keep_vertices=False)
    vertices, faces = reading.box.invert(reading.proxies[0].vertices), reading.proxies[0].faces
    _, tails, _ = open_edges(faces.astype(np.int32), len(vertices))
    assert off_the_border(vertices[np.unique(tails)]).max() < bound
    assert cKDTree(vertices).query(corners)[0].max() < 1.5 * bound


def test_straightening_takes_the_noise_off_a_border_and_leaves_corners_and_the_inside() -> None:
    dense, corners = sheet(0.0015, 0.0)
    faces = dense.faces.astype(np.int32)
    normals = np.tile(TURN[:, 2], (len(faces), 1))
    moved = straightened(dense.vertices, faces, normals, 0.008)
    _, tails, _ = open_edges(faces, len(moved))
    rim = np.unique(tails)
    assert off_the_border(moved[rim]).mean() < 0.6 * off_the_border(dense.vertices[rim]).mean()
    assert cKDTree(moved).query(corners)[0].max() < 0.006
    inner = np.setdiff1d(np.arange(len(moved)), rim)
    np.testing.assert_array_equal(moved[inner], dense.vertices[inner])


def test_a_border_in_steps_becomes_a_line() -> None:
    """A sheet cut off along its diagonal, quad by quad."""
    whole = grid(CELLS)
    middles = whole.vertices[whole.faces].mean(axis=1)
    faces = whole.faces[np.floor(middles * CELLS).sum(axis=1) < 0].astype(np.int32)
    normals, _, _ = face_geometry(whole.vertices, faces)
    _, tails, _ = open_edges(faces, len(whole.vertices))
    steps = np.unique(tails)
    steps = steps[np.abs(whole.vertices[steps, :2]).max(axis=1) < 0.45]
    moved = straightened(whole.vertices, faces, normals, 1.0 / CELLS)
    assert moved[steps, :2].sum(axis=1).std() < 0.3 * whole.vertices[steps, :2].sum(axis=1).std()


def side_by_side(cells: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Two flat sheets of side 1 beside each other."""
    one = grid(cells)
    vertices, faces = joined(one, Mesh(one.vertices + np.array([1.0 + gap, 0.0, 0.0]), one.faces))
    return vertices, faces.astype(np.int32)


def test_a_slit_between_two_sheets_is_no_border() -> None:
    """A third of a cell wide: what is beyond it is the other sheet."""
    vertices, faces = side_by_side(40, 1.0 / 120.0)
    border = border_of(vertices, faces, face_geometry(vertices, faces)[0], 1.0 / 40.0, filtered=True)
    assert border is not None
    inward = np.abs(border.points[:, 1]) < 0.4
    at_slit = np.abs(border.points[:, 0] - 0.5) < 0.02
    assert not border.free[at_slit & inward].any()
    assert border.free[~at_slit & inward].all()
    vertices, faces = side_by_side(4, 1.0 / 120.0)
    on_border = border_rows(vertices, faces, border)[:, -1] > 0.0
    assert on_border[vertices[:, 0] == -0.5].all()
    assert not on_border[(np.abs(vertices[:, 0] - 0.5) < 0.02) & (np.abs(vertices[:, 1]) < 0.4)].any()


def test_a_closed_surface_has_no_border() -> None:
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], dtype=np.int32)
    vertices = np.vstack([np.zeros(3), np.eye(3)])
    normals, _, _ = face_geometry(vertices, faces)
    assert border_of(vertices, faces, normals, 0.1, filtered=True) is None
    assert straightened(vertices, faces, normals, 0.1) is vertices
    assert not border_rows(vertices, faces, None).any()
