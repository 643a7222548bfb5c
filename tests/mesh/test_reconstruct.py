"""From a cloud to a mesh."""

from __future__ import annotations

import numpy as np
import trimesh

from flashmesh_core.mesh.reconstruct import reconstruct
from flashmesh_core.mesh.sampling import sample_surface


def samples_of(mesh: trimesh.Trimesh, count: int = 16_384) -> tuple[np.ndarray, np.ndarray]:
    samples = sample_surface(np.asarray(mesh.vertices), np.asarray(mesh.faces), count, np.random.default_rng(0))
    return samples.points.astype(np.float64), samples.normals.astype(np.float64)


def test_a_torus_comes_back_closed_outward_and_in_place() -> None:
    torus = trimesh.creation.torus(0.35, 0.12, major_sections=64, minor_sections=32)
    mesh = reconstruct(*samples_of(torus))
    assert mesh is not None
    made = trimesh.Trimesh(mesh.vertices, mesh.faces)
    assert made.is_watertight
    assert made.euler_number == 0
    assert abs(made.volume / torus.volume - 1.0) < 0.03
    distance = np.hypot(np.hypot(*mesh.vertices[:, :2].T) - 0.35, mesh.vertices[:, 2])
    assert 0.11 < distance.min() <= distance.max() < 0.13


def test_an_open_surface_stays_open() -> None:
    half = trimesh.creation.icosphere(subdivisions=4, radius=0.45)
    half.update_faces(half.triangles_center[:, 2] > 0.0)
    mesh = reconstruct(*samples_of(half))
    assert mesh is not None
    assert mesh.vertices[:, 2].min() > -0.05
    assert abs(trimesh.Trimesh(mesh.vertices, mesh.faces).area / half.area - 1.0) < 0.1


def test_a_sparse_cloud_gets_a_coarse_mesh_and_points_without_a_surface_get_none() -> None:
    mesh = reconstruct(*samples_of(trimesh.creation.icosphere(subdivisions=3, radius=0.45), 400))
    assert mesh is not None
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).is_watertight
    flat = np.random.default_rng(0).uniform(-0.5, 0.5, (16, 3)) * (1, 1, 0)
    assert reconstruct(flat + np.array([0, 0, 0.45]), np.tile([0.0, 0, 1], (16, 1))) is not None
    assert reconstruct(np.zeros((16, 3)), np.zeros((16, 3))) is None
