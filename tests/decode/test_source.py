"""From a mesh or samples to what decoding needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from flashmesh_core.config import preset
from flashmesh_core.decode.source import prepare_source
from flashmesh_core.mesh.canonical import Mesh
from tests.mesh.shapes import box


def split(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Every corner its own vertex, as in a GLB with a normal a face."""
    return Mesh(vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3))


@pytest.mark.parametrize("form", [Mesh, split])
def test_whether_a_mesh_is_manifold_does_not_depend_on_split_vertices(form: Callable[..., Mesh]) -> None:
    vertices, faces = box()
    fin = np.concatenate([faces, [[0, 1, 8]]])  # a third face at an edge
    assert prepare_source(form(vertices, faces), None, preset("debug")).is_manifold
    assert not prepare_source(form(np.concatenate([vertices, [[0, 0, 2]]]), fin), None, preset("debug")).is_manifold


def test_a_face_that_names_a_vertex_twice_is_passed_over() -> None:
    vertices, faces = box()
    source = prepare_source(Mesh(vertices, np.concatenate([faces, [[0, 1, 1]]])), None, preset("debug"))
    assert source.is_manifold and len(source.points) == 16_384
