"""Fewer triangles: welding and quadric simplification."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import weld
from flashmesh_core.mesh.simplify import SAME_PLACE, simplify

SPHERE = trimesh.creation.icosphere(subdivisions=3)
MESH = Mesh(np.asarray(SPHERE.vertices, dtype=np.float64), np.asarray(SPHERE.faces))


def parted(mesh: Mesh) -> Mesh:
    """Every face with corners of its own, as many files store them."""
    return Mesh(mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3))


def test_welding_joins_vertices_at_one_place_and_drops_what_is_nothing() -> None:
    split = parted(MESH)
    welded = weld(split.vertices, split.faces, SAME_PLACE)
    assert (len(welded.vertices), len(welded.faces)) == (len(MESH.vertices), len(MESH.faces))
    np.testing.assert_array_equal(np.unique(welded.triangles, axis=0), np.unique(MESH.triangles, axis=0))
    with_more = Mesh(np.vstack([MESH.vertices, [[0, 0, 0]]]), np.vstack([MESH.faces, [[5, 5, 7]]]))
    mended = weld(with_more.vertices, with_more.faces, SAME_PLACE)
    assert (len(mended.vertices), len(mended.faces)) == (len(MESH.vertices), len(MESH.faces))


@pytest.mark.parametrize("scale,offset", [(1.0, 0.0), (1e-3, 0.0), (1e4, 1e6)])
def test_a_dense_surface_gets_the_wanted_number_and_keeps_place_and_box(scale: float, offset: float) -> None:
    moved = Mesh(MESH.vertices * scale + offset, MESH.faces)
    simple = simplify(parted(moved), 120)
    assert 110 <= len(simple.faces) <= 120
    np.testing.assert_allclose(simple.vertices.min(axis=0), moved.vertices.min(axis=0), atol=1e-6 * scale)
    np.testing.assert_allclose(simple.vertices.max(axis=0), moved.vertices.max(axis=0), atol=1e-6 * scale)
    radius = np.linalg.norm((simple.vertices - offset) / scale, axis=1)
    assert 0.95 < radius.min() <= radius.max() < 1.12
    assert trimesh.Trimesh(simple.vertices, simple.faces, process=False).is_watertight


def test_what_has_no_more_faces_is_only_welded() -> None:
    assert len(simplify(parted(MESH), len(MESH.faces)).faces) == len(MESH.faces)
    flat = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]), np.array([(0, 1, 2), (1, 3, 2)]))
    assert len(simplify(flat, 4).faces) == 2


def test_too_few_faces_are_refused() -> None:
    with pytest.raises(ValueError, match=r"faces must be at least 4, got 3"):
        simplify(MESH, 3)
