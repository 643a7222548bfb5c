"""A small surface that takes every step of a dense one, for an engine that compiles before it is asked for anything."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

RINGS, SIDES = 300, 3  # no more faces than a service reads in its own process
RADIUS = 0.012  # three sides: none looks the opposite way, or the reading would take it for a sheet
FACES = 32  # to ask for: fewer than the surface has, so that it is denoised and simplified


def spindle() -> Mesh:
    """A closed spindle of length 1, so finely divided that its reading takes no step for few large faces.

    Its ends are rings of no size, which cleaning makes points of.
    """
    height = np.linspace(-0.5, 0.5, RINGS + 1)
    angle = np.arange(SIDES) * 2 * np.pi / SIDES
    radius = RADIUS * np.sqrt(1.0 - (2.0 * height) ** 2)
    x, y = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
    vertices = np.stack([x, y, np.repeat(height[:, None], SIDES, axis=1)], axis=-1).reshape(-1, 3)
    ring, side = np.divmod(np.arange(RINGS * SIDES), SIDES)
    a, b = SIDES * ring + side, SIDES * ring + (side + 1) % SIDES
    c, d = a + SIDES, b + SIDES
    return Mesh(vertices, np.concatenate([np.stack([a, b, d], axis=1), np.stack([a, d, c], axis=1)]))
