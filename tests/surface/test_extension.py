"""The planes around a hole go on in it until they meet."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.extension import extended
from flashmesh_core.surface.fairing import faired
from tests.surface.shapes import box_distance, voxels

HALF = (0.42, 0.35, 0.28)


def smooth_fill(mesh: Mesh, middle: np.ndarray, radius: float) -> tuple[Mesh, np.ndarray]:
    """The mesh as if nothing were known of it around a place, and the number of the hole (V,) there."""
    hole = np.where(np.linalg.norm(mesh.vertices - middle, axis=1) < radius, 3, -1)
    return faired(mesh, hole >= 0), hole


@pytest.mark.parametrize("middle", [(0.42, 0.35, 0.0), (0.42, 0.35, 0.28)], ids=["edge", "corner"])
def test_an_edge_and_a_corner_are_there_again(middle: tuple[float, float, float]) -> None:
    distance = box_distance(HALF)
    filled, hole = smooth_fill(voxels(distance, 64), np.array(middle), 0.07)
    made = extended(filled, hole)
    inside = hole >= 0
    assert np.abs(distance(filled.vertices[inside])).max() > 0.01
    assert np.abs(distance(made.vertices[inside])).max() < 0.003
    assert (made.vertices[~inside] == filled.vertices[~inside]).all()


def test_each_vertex_goes_on_the_plane_that_it_is_nearest_to() -> None:
    """On either side of a roof; on one plane alone they would stand above the other."""

    def roof(points: np.ndarray) -> np.ndarray:
        slope = (points[..., 2] - 0.3 + 0.6 * np.abs(points[..., 0])) / np.hypot(1.0, 0.6)
        return np.maximum(slope, box_distance((0.4, 0.4, 0.35))(points))

    filled, hole = smooth_fill(voxels(roof, 64), np.array((0.0, 0.0, 0.3)), 0.08)
    made = extended(filled, hole).vertices[hole >= 0]
    assert np.abs(roof(filled.vertices[hole >= 0])).max() > 0.006 and np.abs(roof(made)).max() < 0.002
    assert (made[:, 0] > 0.01).sum() > 10 and (made[:, 0] < -0.01).sum() > 10


def test_what_is_round_stays_as_it_is_filled() -> None:
    ball = voxels(lambda points: np.linalg.norm(points, axis=-1) - 0.45, 64)
    filled, hole = smooth_fill(ball, np.array((0.45, 0.0, 0.0)), 0.08)
    assert (hole >= 0).sum() > 60 and (extended(filled, hole).vertices == filled.vertices).all()


def test_each_hole_has_its_own_planes() -> None:
    """An edge filled together with a far flat place, by one number, would be the same: by two, only one may fail."""
    distance = box_distance(HALF)
    filled, hole = smooth_fill(voxels(distance, 64), np.array((0.42, 0.35, 0.0)), 0.07)
    other = np.linalg.norm(filled.vertices - (-0.42, 0.0, 0.0), axis=1) < 0.07
    both = np.where(other, 5, hole)
    dented = Mesh(filled.vertices + 0.02 * other[:, None] * (1.0, 0.0, 0.0), filled.faces)
    made = extended(dented, both)
    assert np.abs(distance(made.vertices[both >= 0])).max() < 0.003
