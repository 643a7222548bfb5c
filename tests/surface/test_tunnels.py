"""Gaps on both sides of a thin plate are closed on both sides; holes that samples tell of, and limbs, stay."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.reconstruction import reconstruct
from flashmesh_core.surface.tunnels import without_tunnels
from tests.surface.shapes import cloud_of, distances, euler_number, volume

PLATE = (0.9, 0.7, 0.035)


def scanned(shape, gaps, count=60_000):
    """Samples of a shape with a little noise, without those in balls (place, radius)."""
    points, normals = cloud_of(shape, count, noise=0.0015)
    seen = np.ones(len(points), dtype=bool)
    for place, radius in gaps:
        seen &= np.linalg.norm(points - np.asarray(place), axis=1) > radius
    return points[seen], normals[seen]


def handles(mesh):
    """How many handles the parts of a closed mesh have together, by Euler's formula, if it is in one piece."""
    return (2 - euler_number(mesh)) // 2


@pytest.mark.parametrize("with_normals", [True, False])
def test_a_gap_on_both_sides_of_a_plate_is_closed_on_both(with_normals):
    shape = trimesh.creation.box(PLATE)
    points, normals = scanned(shape, [((0.1, 0.05, 0.0), 0.06), ((-0.25, -0.1, 0.0), 0.05)])
    mesh = reconstruct(points, normals if with_normals else None).mesh
    assert is_manifold_and_closed(mesh.vertices, mesh.faces) == (True, True)
    assert handles(mesh) == 0
    assert distances(shape, mesh.vertices).max() < 0.012
    assert abs(mesh.vertices[:, 2]).max() < 0.03


def test_a_hole_that_was_sampled_stays():
    """A plate with a round hole, whose wall has samples."""
    ring = trimesh.creation.annulus(r_min=0.06, r_max=0.45, height=0.05, sections=64)
    points, normals = scanned(ring, [])
    mesh = reconstruct(points, normals).mesh
    assert is_manifold_and_closed(mesh.vertices, mesh.faces) == (True, True)
    assert handles(mesh) == 1


def fine(shape):
    """A shape cut into triangles of at most 0.02."""
    vertices, faces = trimesh.remesh.subdivide_to_size(shape.vertices, shape.faces, 0.02, max_iter=20)
    shape = trimesh.Trimesh(vertices, faces)  # one vertex a place
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces))


def test_a_hole_whose_wall_was_sampled_in_part_and_a_limb_stay():
    """Around both ends of what was not seen the surface runs into it, not over it."""
    hole = fine(trimesh.creation.annulus(r_min=0.06, r_max=0.2, height=0.2, sections=32))
    inside = (np.linalg.norm(hole.vertices[:, :2], axis=1) < 0.07) & (abs(hole.vertices[:, 2]) < 0.05)
    rod = fine(trimesh.creation.cylinder(radius=0.06, height=0.6, sections=32))
    for mesh, gap in ((hole, inside), (rod, abs(rod.vertices[:, 2]) < 0.05)):
        assert gap.any()
        assert without_tunnels(mesh, np.where(gap, 0, -1)) is mesh


def test_a_tunnel_that_nothing_was_seen_of_is_closed_unless_it_is_wide():
    for radius, stays in ((0.06, False), (0.12, True)):
        mesh = fine(trimesh.creation.annulus(r_min=radius, r_max=0.45, height=0.05, sections=48))
        assert handles(mesh) == 1
        wall = (np.linalg.norm(mesh.vertices[:, :2], axis=1) < radius + 0.01) & (abs(mesh.vertices[:, 2]) < 0.02)
        made = without_tunnels(mesh, np.where(wall, 3, -1))
        assert is_manifold_and_closed(made.vertices, made.faces) == (True, True)
        assert handles(made) == stays
        assert stays or volume(made) == pytest.approx(np.pi * 0.45**2 * 0.05, rel=0.02)


def test_nothing_is_touched_where_all_was_seen():
    mesh = reconstruct(*scanned(trimesh.creation.box(PLATE), [], 20_000)).mesh
    assert without_tunnels(mesh, np.full(len(mesh.vertices), -1)) is mesh
