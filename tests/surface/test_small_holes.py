"""Small holes in sheets are closed, and nothing of their rims is left in the quadrics; where a sheet ends stays."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.quadrics import error_at
from flashmesh_core.surface.simplification import rows_of
from flashmesh_core.surface.small_holes import _perimeters, close_crowding_holes, close_small_holes, holes_of
from tests.surface.shapes import perforated

OUTER = [(0.0, 0.0, 0.0), (4.0, 0.0, 0.0), (0.0, 3.0, 0.0)]  # 12 around
INNER = [(0.5, 0.5, 0.0), (1.3, 0.5, 0.0), (0.5, 1.1, 0.0)]  # 2.4 around
SHEET = np.array(OUTER + INNER)
FACES = np.array([[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4], [2, 0, 3], [2, 3, 5]], dtype=np.int32)


def rows() -> np.ndarray:
    normals, areas, centers = face_geometry(SHEET, FACES)
    return rows_of(SHEET, FACES, centers, normals, areas)


def test_how_long_loops_of_several_sizes_are() -> None:
    square = np.array([(0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (2.0, 1.0, 0.0), (0.0, 1.0, 0.0)])
    loops = [np.array(loop) for loop in ([0, 1, 2], [6, 7, 8, 9], [3, 4, 5])]
    np.testing.assert_allclose(_perimeters(np.concatenate([SHEET, square]), loops), [12.0, 6.0, 2.4])


def test_the_hole_is_closed_and_the_border_stays() -> None:
    """Both are triangles."""
    _, found = close_small_holes(SHEET, rows(), FACES, 100.0)
    assert len(found) == 7 and set(found[6].tolist()) == {3, 4, 5}
    normals, areas, _ = face_geometry(SHEET, found)
    assert (normals[:, 2] == 1.0).all() and areas.sum() == pytest.approx(6.0)


def test_a_hole_that_is_longer_around_stays_and_so_does_one_of_four_edges() -> None:
    before = rows()
    quadrics, found = close_small_holes(SHEET, before, FACES, 2.3)
    assert found is FACES and quadrics is before
    square = np.array([(-1.0, -1.0, 0.0), (1.0, -1.0, 0.0), (1.0, 1.0, 0.0), (-1.0, 1.0, 0.0)])
    corners = np.concatenate([2.0 * square, 0.5 * square])
    turns = [(k, (k + 1) % 4) for k in range(4)]
    frame = np.array([face for a, b in turns for face in ((a, b, 4 + b), (a, 4 + b, 4 + a))])
    assert close_small_holes(corners, np.zeros((8, 14)), frame, 100.0)[1] is frame


def test_the_planes_of_its_rim_go_from_its_corners() -> None:
    """Moved along the sheet they are as near to its planes as before; the border's corners are held as they were."""
    before = rows()
    after, _ = close_small_holes(SHEET, before, FACES, 100.0)
    for corner in (3, 4, 5):
        x, y, z = SHEET[corner] + (0.1, 0.2, 0.0)
        assert error_at(before[corner], x, y, z) > 1e-3 and error_at(after[corner], x, y, z) < 1e-12
        assert error_at(after[corner], x, y, 0.1) > 1e-3
    assert np.array_equal(after[:3], before[:3])
    assert np.array_equal(after[:, 11:], SHEET)


def test_of_holes_that_take_too_many_faces_the_largest_stay() -> None:
    """Each costs five faces, all half of them at most; the others are filled as flat as their rims are."""
    sheet = perforated(6, 8)
    flat = sheet.vertices * (1.0, 1.0, 0.0)
    faces = sheet.faces.astype(np.int32)
    loops, around = holes_of(flat, faces)
    assert len(loops) == 36
    wide = [4, 17, 30]
    for row in wide:
        middle = flat[loops[row]].mean(axis=0)
        flat[loops[row]] = middle + 1.5 * (flat[loops[row]] - middle)
    normals, areas, centers = face_geometry(flat, faces)
    before = rows_of(flat, faces, centers, normals, areas)
    assert close_crowding_holes(flat, before, faces, 360)[2] is faces
    positions, quadrics, found = close_crowding_holes(flat, before, faces, 100)
    left = holes_of(positions, found)[1]
    assert len(left) == 10 and np.sort(left)[-3:] == pytest.approx([1.5 * around[0]] * 3)
    normals, filled, _ = face_geometry(positions, found)
    assert len(positions) == len(flat) + 26 and (normals[:, 2] > 0.0).all()
    assert filled.sum() == pytest.approx(areas.sum() + 26 * 2.0 * np.sqrt(2.0) * 0.12**2)  # of octagons
    x, y, _ = positions[-1]
    assert error_at(quadrics[-1], x + 0.1, y, 0.0) < 1e-12 < 1e-4 < error_at(quadrics[-1], x, y, 0.1)


def test_of_holes_alike_those_stay_that_are_apart() -> None:
    """Of 36 nine: in every quarter of the sheet there are some."""
    sheet = perforated(6, 8)
    faces = sheet.faces.astype(np.int32)
    positions, _, found = close_crowding_holes(sheet.vertices, np.zeros((len(sheet.vertices), 14)), faces, 90)
    middles = np.array([positions[loop].mean(axis=0) for loop in holes_of(positions, found)[0]])
    quarter = 2 * (middles[:, 0] > 3.0) + (middles[:, 1] > 3.0)
    assert len(middles) == 9 and np.bincount(quarter, minlength=4).min() >= 1


def test_the_only_hole_stays_however_few_faces_are_wanted() -> None:
    before = rows()
    positions, quadrics, found = close_crowding_holes(SHEET, before, FACES, 8)
    assert positions is SHEET and quadrics is before and found is FACES
