"""Meshes that need no files: small random ones for hypothesis, and procedural shapes by seed."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from flashmesh_core.mesh.canonical import CanonicalMesh, Mesh, canonicalize_bins
from training.shapes import random_shape


@st.composite
def canonical_meshes(
    draw: st.DrawFn, bins: tuple[int, int] = (2, 1024), max_faces: int = 24, max_vertices: int = 12
) -> CanonicalMesh:
    """Canonical meshes over few vertices, so that faces share them; now and then without any face."""
    num_bins = draw(st.integers(*bins))
    # hypothesis prefers small numbers, which would leave most meshes without a face; so the seed decides the sizes.
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_vertices, n_faces = rng.integers(3, max_vertices + 1), rng.integers(0, max_faces + 1)
    vertices = rng.integers(0, num_bins, (n_vertices, 3))
    return canonicalize_bins(vertices, rng.integers(0, n_vertices, (n_faces, 3)), num_bins)


def shape(seed: int, max_faces: int = 300) -> Mesh:
    """The procedural shape of a seed, 12 to `max_faces` faces."""
    return random_shape(np.random.default_rng(seed), max_faces=max_faces)


def assert_same_mesh(a: CanonicalMesh, b: CanonicalMesh) -> None:
    """Equal bins, vertices and faces, in the same order."""
    assert a.num_bins == b.num_bins
    np.testing.assert_array_equal(a.vertices, b.vertices)
    np.testing.assert_array_equal(a.faces, b.faces)
