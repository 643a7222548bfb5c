"""Winding numbers: exact, and nearly so for many places."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.solid_angles import Windings, winding_at
from tests.surface.shapes import box, cube, joined, torus_distance, voxels


def test_they_count_how_often_a_mesh_goes_around() -> None:
    mesh = Mesh(*joined(cube(), box(0.5, 0.5, 0.5)))
    places = np.array([[2.0, 0.0, 0.0], [0.4, 0.0, 0.0], [0.1, 0.0, 0.0]])
    assert [winding_at(mesh.triangles, place) for place in places] == pytest.approx([0.0, 1.0, 2.0])
    windings = Windings.of_tree(TriangleTree.of_mesh(mesh.vertices, mesh.faces))
    assert windings.around(places) == pytest.approx([0.0, 1.0, 2.0], abs=0.01)


@pytest.mark.parametrize("part", [1.0, 0.5])
def test_dipoles_of_what_is_far_change_them_little(part: float) -> None:
    """Of a ring, and of a half of one, which is open: numbers are between 0 and 1 then."""
    ring = voxels(torus_distance(0.4, 0.15), cells=48)
    ring = Mesh(ring.vertices, ring.faces[: int(part * len(ring.faces))])
    places = np.random.default_rng(0).uniform(-0.6, 0.6, (500, 3))
    exact = np.array([winding_at(ring.triangles, place) for place in places])
    near = Windings.of_tree(TriangleTree.of_mesh(ring.vertices, ring.faces)).around(places)
    assert 0.0 < np.abs(near - exact).max() < 0.02
    assert exact.max() > 0.4
