"""Distance and inside on a lattice, against exact distances and against shapes whose inside is known."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.voxels import inside_fraction, narrow_band, winding_numbers

from .shapes import box, join, sheet, torus

SHAPE = (24, 22, 20)
NODES = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float64)


@pytest.mark.parametrize("reach", [0.7, 1.8, 3.0])
def test_the_band_is_the_exact_distance(reach: float) -> None:
    for vertices, faces in (torus(rings=12, sides=7), box((0.9, 0.5, 0.7)), sheet(2, 1)):
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        vertices = vertices @ turn * 9 + [11.3, 10.2, 9.4]
        band = narrow_band(vertices, faces, SHAPE, reach).ravel()
        exact = TriangleTree.of_mesh(vertices, faces).distance(NODES)
        assert band == pytest.approx(np.minimum(exact, reach), abs=1e-9)


def test_a_mesh_that_sticks_out_of_the_lattice() -> None:
    vertices, faces = box((100.0, 100.0, 100.0))
    vertices = vertices + np.array([40.0, 0.0, 0.0])  # one side at x = -10, the lattice inside
    assert (narrow_band(vertices, faces, SHAPE, 2.0) == 2.0).all()
    assert (winding_numbers(vertices, faces, SHAPE) == 1).all()


def test_inside_of_a_turned_torus() -> None:
    vertices, faces = torus(0.5, 0.2, rings=40, sides=40)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    winding = winding_numbers(vertices @ turn * 13 + [11.3, 10.2, 9.4], faces, SHAPE).ravel()
    place = (NODES - [11.3, 10.2, 9.4]) / 13 @ turn.T
    from_ring = np.hypot(np.hypot(place[:, 0], place[:, 1]) - 0.5, place[:, 2])
    assert (winding[from_ring < 0.19] == 1).all()
    assert (winding[from_ring > 0.202] == 0).all()  # chords of the inner circle lie outside the smooth tube


def test_a_box_on_the_lattice() -> None:
    # Every vertex, edge and side lies on nodes: rays through them must still be counted once.
    vertices, faces = box((8.0, 6.0, 4.0))
    winding = winding_numbers(vertices + 10.0, faces, SHAPE).ravel()
    inside = (np.abs(NODES - 10.0) < [4, 3, 2]).all(axis=1)
    outside = (np.abs(NODES - 10.0) > [4, 3, 2]).any(axis=1)
    assert (winding[inside] == 1).all()
    assert (winding[outside] == 0).all()


def test_overlapping_and_reversed_parts_add_up() -> None:
    vertices, faces = join(box((8.0, 8.0, 8.0)), box((4.0, 12.0, 4.0)))
    middle = np.array([10.4, 10.3, 9.6])
    index = tuple(middle.astype(int))
    assert winding_numbers(vertices + middle, faces, SHAPE)[index] == 2
    assert winding_numbers(vertices + middle, faces[:, ::-1], SHAPE)[index] == -2


def test_octants_of_nodes_on_the_surface() -> None:
    # Two boxes that touch on the plane x = 10: on it is inside, on their other sides half, on edges and corners less.
    left, right = (box((4.0, 4.0, 4.0))[0] + np.array([x, 10.0, 10.0]) for x in (8.0, 12.0))
    faces = box()[1]
    vertices, faces = np.concatenate([left, right]), np.concatenate([faces, faces + 8])
    nodes = np.array(
        [[10, 10, 10], [6, 10, 10], [8, 10, 12], [8, 12, 10], [10, 12, 10], [6, 12, 10], [6, 8, 12], [3, 3, 3]]
    )
    expected = [1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.125, 0.0]
    assert inside_fraction(vertices, faces, SHAPE, nodes).tolist() == expected
