"""Meshes that need no files: small random ones for hypothesis, and procedural shapes by seed."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flashmesh_core.mesh.canonical import CanonicalMesh, Mesh, canonicalize_bins
from training.shapes import random_shape


@st.composite
def canonical_meshes(
    draw: st.DrawFn, bins: tuple[int, int] = (2, 1024), max_faces: int = 24, max_vertices: int = 12
) -> CanonicalMesh:
    """Canonical meshes over few vertices, so that faces share them; now and then without any face."""
    num_bins = draw(st.integers(*bins))
    n_vertices = draw(st.integers(3, max_vertices))
    vertices = draw(arrays(np.int64, (n_vertices, 3), elements=st.integers(0, num_bins - 1)))
    n_faces = draw(st.integers(0, max_faces))
    faces = draw(arrays(np.int64, (n_faces, 3), elements=st.integers(0, n_vertices - 1)))
    return canonicalize_bins(vertices, faces, num_bins)


def shape(seed: int, max_faces: int = 300) -> Mesh:
    """The procedural shape of a seed, 12 to `max_faces` faces."""
    return random_shape(np.random.default_rng(seed), max_faces=max_faces)


def assert_same_mesh(a: CanonicalMesh, b: CanonicalMesh) -> None:
    """Equal bins, vertices and faces, in the same order."""
    assert a.num_bins == b.num_bins
    np.testing.assert_array_equal(a.vertices, b.vertices)
    np.testing.assert_array_equal(a.faces, b.faces)
