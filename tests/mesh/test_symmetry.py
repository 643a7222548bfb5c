"""Half of a mesh, and the whole again."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.symmetry import clip_triangles, mirror_half
from flashmesh_core.mesh.topology import topology_report

from .shapes import box, signed_volume, torus


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("make", [box, torus])
def test_half_and_mirrored_it_is_the_whole(make, axis: int) -> None:
    """Turned a little, so that no vertex lies in the plane; the volume is twice the half's."""
    vertices, faces = make()
    vertices = vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2 + 0.013
    half, parts = clip_triangles(vertices, faces, vertices[:, axis])
    assert half[:, axis].min() == pytest.approx(0.0, abs=1e-12) and len(np.unique(parts)) == len(half)
    a, b, c = half[parts].transpose(1, 0, 2)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 0.0
    whole, both = mirror_half(half, parts, axis, 1e-6)
    report = topology_report(whole, both)
    assert report.is_watertight and report.is_orientable and report.n_flipped_faces == 0
    flipped = whole * np.where(np.arange(3) == axis, -1.0, 1.0)
    assert {tuple(row) for row in flipped.round(9) + 0.0} == {tuple(row) for row in whole.round(9) + 0.0}
    assert signed_volume(whole, both) == pytest.approx(signed_volume(vertices, faces), rel=0.15)


def test_vertices_near_the_plane_come_onto_it_and_a_lid_goes() -> None:
    vertices, faces = box()
    vertices = vertices - vertices.min(axis=0)
    vertices[:, 0] -= 0.004  # its left side lies a little beyond the plane
    whole, both = mirror_half(vertices, faces, 0, 0.01)
    report = topology_report(whole, both)
    assert len(both) == 20 and report.is_watertight and len(whole) == 12
    assert not (np.abs(whole[both, 0]) < 1e-9).all(axis=1).any()


def test_of_points_one_side_is_left() -> None:
    points = np.array([[-1.0, 0, 0], [0, 1, 0], [2, 0, 1]])
    left, none = clip_triangles(points, np.zeros((0, 3), dtype=np.int64), points[:, 0])
    np.testing.assert_array_equal(left, points[1:])
    assert none.shape == (0, 3)
