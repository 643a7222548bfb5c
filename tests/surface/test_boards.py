"""Boards with four faces left cover what they were."""

from __future__ import annotations

import numpy as np
import pytest
from pytest import approx

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.adjacency import face_areas
from flashmesh_core.surface.boards import with_whole_boards
from flashmesh_core.surface.denoising import denoise
from flashmesh_core.surface.nearness import distance_from
from flashmesh_core.surface.placement import Planes, planes_of
from flashmesh_core.surface.simplification import proxies
from tests.mesh.shapes import box
from tests.surface.shapes import volume

SIZE = (0.5, 0.3, 0.02)
TETRAHEDRON = np.array([(0, 2, 1), (0, 3, 2), (0, 1, 3), (1, 2, 3)], dtype=np.int32)


def shelf(boards: int) -> Mesh:
    """Boards one over the other, turned by a right angle each time, out of line with the axes."""
    corners, sides = box(SIZE)
    turns = [corners[:, [1, 0, 2]] * (1, -1, 1) if k % 2 else corners for k in range(boards)]
    vertices = np.concatenate([np.add(turn, (0.0, 0.0, 0.1 * k)) for k, turn in enumerate(turns)])
    c, s = np.cos(0.4), np.sin(0.4)
    faces = np.concatenate([sides + 8 * k for k in range(boards)])
    return Mesh(vertices @ np.array([(c, s, 0), (-s, c, 0), (0, 0, 1)]), faces.astype(np.int64))


def planes(mesh: Mesh) -> Planes:
    return planes_of(denoise(mesh))


def halves(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Each board as a tetrahedron without one of its corners."""
    found = [board[[0, 1, 3, 5]] for board in mesh.vertices.reshape(-1, 8, 3)]
    return np.concatenate(found), np.concatenate([TETRAHEDRON + 4 * k for k in range(len(found))])


@pytest.mark.parametrize("boards", [1, 5])
def test_a_board_of_which_half_is_left_is_covered_again(boards: int) -> None:
    mesh = shelf(boards)
    vertices, faces = halves(mesh)
    found = with_whole_boards(vertices, faces, planes(mesh))
    before, after = (distance_from(mesh)(Mesh(v, faces.astype(np.int64))) for v in (vertices, found))
    assert after < 0.4 * before
    assert face_areas(found, faces).sum() > 0.85 * face_areas(mesh.vertices, mesh.faces).sum()
    assert is_manifold_and_closed(found, faces) == (True, True)
    assert np.ptp(found, axis=0) == approx(np.ptp(mesh.vertices, axis=0), abs=1e-6)
    assert volume(Mesh(found, faces.astype(np.int64))) == approx(volume(mesh) / 3.0, rel=1e-3)  # and wound as it is


def test_a_board_inside_out_stays_inside_out() -> None:
    mesh = shelf(2)
    inverted = Mesh(mesh.vertices, mesh.faces[:, ::-1].copy())
    vertices, faces = halves(mesh)
    found = with_whole_boards(vertices, faces[:, ::-1].copy(), planes(inverted))
    assert volume(Mesh(found, faces[:, ::-1].astype(np.int64))) == approx(-volume(mesh) / 3.0, rel=1e-3)


def test_a_tetrahedron_stays_one() -> None:
    corners = np.array([(-1.0, -1.0, -1.0), (1.0, -1.0, -1.0), (1.0, 1.0, -1.0), (1.0, -1.0, 1.0)]) / 2.0
    mesh = Mesh(corners, TETRAHEDRON.astype(np.int64))
    assert volume(mesh) > 0.0
    assert (with_whole_boards(corners, TETRAHEDRON, planes(mesh)) == corners).all()


def test_what_is_of_no_board_stays() -> None:
    vertices, faces = halves(shelf(1))
    away = np.add(vertices, (0.0, 0.0, 0.5))
    assert (with_whole_boards(away, faces, planes(shelf(1))) == away).all()
    corners, sides = box(SIZE)
    assert with_whole_boards(corners, sides.astype(np.int32), planes(shelf(1))) is corners  # more than four faces
    start, end = shelf(1).vertices[:2]
    line = start + np.linspace(0.0, 1.0, 4)[:, None] * (end - start)
    assert (with_whole_boards(line, faces, planes(shelf(1))) == line).all()  # no area


def test_a_shelf_of_four_faces_a_board_shows_its_boards() -> None:
    """As a bookcase does at a tenth of its faces: its doors were triangles."""
    mesh = shelf(6)
    (found,) = proxies(denoise(mesh, wanted=24), [24])
    assert len(found.faces) == 24 and is_manifold_and_closed(found.vertices, found.faces) == (True, True)
    assert face_areas(found.vertices, found.faces).sum() > 0.85 * face_areas(mesh.vertices, mesh.faces).sum()
    assert np.ptp(found.vertices, axis=0) == approx(np.ptp(mesh.vertices, axis=0), abs=0.02)
