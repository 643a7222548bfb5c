"""Vertices that nothing is known of go on as those around them begin."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.fairing import faired
from tests.surface.shapes import grid, sphere


def test_a_dent_in_a_flat_place_goes() -> None:
    flat = grid(20)
    middle = flat.vertices[:, :2].mean(axis=0)
    free = np.linalg.norm(flat.vertices[:, :2] - middle, axis=1) < 0.3 * np.ptp(flat.vertices[:, 0])
    dented = flat.vertices - 0.1 * free[:, None] * (0.0, 0.0, 1.0)
    made = faired(Mesh(dented, flat.faces), free).vertices
    assert free.sum() > 50 and np.abs(made[:, 2] - flat.vertices[0, 2]).max() < 1e-6
    assert (made[~free] == dented[~free]).all()


def test_a_flattened_cap_is_round_again() -> None:
    ball = sphere(96, 48)
    radius = np.linalg.norm(ball.vertices, axis=1).max()
    side = ball.vertices[:, 0]
    free = side > 0.9 * radius
    cut = np.where(free[:, None] & (np.arange(3) == 0), 0.9 * radius, ball.vertices)
    made = faired(Mesh(cut, ball.faces), free).vertices
    assert np.linalg.norm(cut, axis=1).min() < 0.95 * radius
    assert np.abs(np.linalg.norm(made, axis=1) / radius - 1.0).max() < 0.015


def test_open_edges_stay_and_nothing_free_is_nothing_done() -> None:
    flat = grid(12)
    bent = Mesh(flat.vertices + (0.0, 0.0, 0.1) * (flat.vertices[:, :1] ** 2), flat.faces)
    everything = np.ones(len(bent.vertices), dtype=bool)
    made = faired(bent, everything).vertices
    low, high = flat.vertices[:, :2].min(axis=0), flat.vertices[:, :2].max(axis=0)
    rim = ((flat.vertices[:, :2] == low) | (flat.vertices[:, :2] == high)).any(axis=1)
    assert (made[rim] == bent.vertices[rim]).all() and not (made[~rim] == bent.vertices[~rim]).all()
    assert faired(bent, ~everything) is bent
