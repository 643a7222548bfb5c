"""Flat places are cut into wide triangles; what is bent, borders and edges stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.adjacency import face_geometry, manifold_twins
from flashmesh_core.surface.flat_places import recut_flat_places
from tests.surface.shapes import cube, grid, sphere


def widths(vertices, faces):
    """The smallest angle of each face, in degrees."""
    corners = vertices[faces]
    sides = np.roll(corners, -1, axis=1) - corners
    sides /= np.linalg.norm(sides, axis=2, keepdims=True)
    return np.degrees(np.arccos(np.clip(-(sides * np.roll(sides, 1, axis=1)).sum(axis=2), -1, 1))).min(axis=1)


def border(faces):
    flat = faces.ravel()
    twin = manifold_twins(faces, int(faces.max()) + 1)
    edges = np.stack([flat, np.roll(faces, -1, axis=1).ravel()], axis=1)
    return {tuple(edge) for edge in edges[twin < 0].tolist()}


def test_long_triangles_of_a_flat_band_become_wide():
    rng = np.random.default_rng(0)
    vertices, faces = grid(8).vertices, grid(8).faces.astype(np.int32)
    stretched = vertices.copy()
    inner = (np.abs(vertices) < np.abs(vertices).max() - 1e-9)[:, :2].all(axis=1)
    stretched[inner, :2] += rng.uniform(-0.05, 0.05, (inner.sum(), 2))
    made = recut_flat_places(stretched, faces)
    assert border(made) == border(faces) and len(made) == len(faces)
    area = face_geometry(stretched, made)[1].sum()
    assert area == pytest.approx(face_geometry(stretched, faces)[1].sum())
    assert widths(stretched, made).min() > widths(stretched, faces).min()
    np.testing.assert_array_equal(recut_flat_places(stretched, made), made)


@pytest.mark.parametrize("shape", [cube(), sphere(24, 12)], ids=["cube", "sphere"])
def test_what_is_bent_or_cut_alike_either_way_stays(shape):
    faces = shape.faces.astype(np.int32)
    np.testing.assert_array_equal(recut_flat_places(shape.vertices, faces), faces)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_a_closed_surface_stays_closed_and_keeps_its_sides(seed):
    """A box whose sides are cut at random places: no edge between two sides goes, and nothing opens."""
    rng = np.random.default_rng(seed)
    vertices, faces = cube().vertices, cube().faces.astype(np.int32)
    for _ in range(30):  # a new vertex inside a face
        number = int(rng.integers(len(faces)))
        weights = rng.dirichlet(np.ones(3))
        a, b, c = faces[number]
        vertices = np.concatenate([vertices, [weights @ vertices[faces[number]]]])
        new = len(vertices) - 1
        faces[number] = (a, b, new)
        faces = np.concatenate([faces, np.array([[b, c, new], [c, a, new]], dtype=np.int32)])
    made = recut_flat_places(vertices, faces)
    assert is_manifold_and_closed(vertices, made.astype(np.int64)) == (True, True)
    before, after = (face_geometry(vertices, f) for f in (faces, made))
    assert after[1].sum() == pytest.approx(before[1].sum())
    assert np.abs(after[0][after[1] > 1e-9]).max(axis=1) == pytest.approx(1.0)
    assert widths(vertices, made).mean() >= widths(vertices, faces).mean()
