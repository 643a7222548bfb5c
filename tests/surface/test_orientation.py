"""Sides of noisy clouds without normals: bodies whose two sides are easily taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.surface.samples import read_samples
from tests.surface.shapes import CUBE_FACES, cylinder


def wedge() -> Mesh:
    """A ramp of 17 degrees: its top and its bottom meet at a thin edge."""
    low = [(0, 0, 0), (1, 0, 0), (1, 0.6, 0), (0, 0.6, 0)]
    high = [(0, 0, 0.3), (1, 0, 0.0), (1, 0.6, 0.0), (0, 0.6, 0.3)]
    return Mesh(np.array(low + high, dtype=float) - [0.5, 0.3, 0.15], CUBE_FACES)


def tube() -> Mesh:
    """Two walls 0.1 apart, open at both ends: no neighbors join the inner one with the outer."""
    sides = cylinder(48).faces[: 2 * 48]
    outer = cylinder(48).vertices
    return Mesh(np.concatenate([outer, outer * [0.8, 0.8, 1.0]]), np.concatenate([sides, sides[:, ::-1] + len(outer)]))


@pytest.mark.parametrize("shape", [wedge, tube])
def test_normals_face_outwards(shape):
    mesh = shape()
    drawn = sample_surface(mesh.vertices, mesh.faces, 40_000, np.random.default_rng(0))
    noisy = drawn.points + np.random.default_rng(1).normal(0.0, 0.003, drawn.points.shape)
    samples = read_samples(noisy, None, lambda stage, fraction: None)
    right = (samples.normals * drawn.normals).sum(axis=1) > 0.0
    assert right.mean() > 0.95
