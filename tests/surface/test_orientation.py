"""Sides of noisy clouds without normals: bodies whose two sides are easily taken for one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.surface.samples import read_samples
from flashmesh_core.surface.visibility import openness
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


def leaning() -> Mesh:
    """A book that leans on another one: two bodies whose nearest neighbors say nothing about each other's sides."""
    book = (np.array(list(product((0, 1), repeat=3)), dtype=float)[[0, 4, 6, 2, 1, 5, 7, 3]] - 0.5) * [0.17, 0.6, 0.66]
    angle = np.radians(14.0)
    turn = np.array([[np.cos(angle), 0.0, -np.sin(angle)], [0.0, 1.0, 0.0], [np.sin(angle), 0.0, np.cos(angle)]])
    other = book @ turn.T + [0.255, 0.0, 0.0]
    return Mesh(np.concatenate([book, other]), np.concatenate([CUBE_FACES, CUBE_FACES + 8]))


@pytest.mark.parametrize("shape", [wedge, tube, leaning])
def test_normals_face_outwards(shape):
    mesh = shape()
    drawn = sample_surface(mesh.vertices, mesh.faces, 40_000, np.random.default_rng(0))
    noisy = drawn.points + np.random.default_rng(1).normal(0.0, 0.003, drawn.points.shape)
    samples = read_samples(noisy, None, lambda stage, fraction: None)
    right = (samples.normals * drawn.normals).sum(axis=1) > 0.0
    assert right.mean() > 0.95


def test_a_wall_is_seen_from_one_side_and_a_sheet_from_both():
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(20_000, 3))
    ball /= 2.0 * np.linalg.norm(ball, axis=1, keepdims=True)
    assert openness(ball, 2.0 * ball, 0.025).min() > 0.6
    assert openness(ball, -2.0 * ball, 0.025).max() < -0.6
    sheet = rng.random((20_000, 3)) * [1.0, 1.0, 0.0] - 0.5
    up = np.tile([0.0, 0.0, 1.0], (len(sheet), 1))
    assert np.abs(openness(sheet, up, 0.012)).max() < 0.3


def test_an_inner_wall_is_seen_from_neither_side():
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(40_000, 3))
    ball /= 2.0 * np.linalg.norm(ball, axis=1, keepdims=True)
    inner = ball[::2] * 0.5
    seen = openness(np.concatenate([ball, inner]), 2.0 * np.concatenate([ball, 2.0 * inner]), 0.018)
    assert np.quantile(seen[: len(ball)], 0.01) > 0.6
    assert np.abs(seen[len(ball) :]).mean() < 0.1
