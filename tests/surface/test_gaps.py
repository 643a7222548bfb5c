"""Faces that are left over go where the surface is farthest from a proxy."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface import gaps
from flashmesh_core.surface.denoising import denoise
from flashmesh_core.surface.gaps import with_gaps_filled
from flashmesh_core.surface.placement import Planes, planes_of

EDGE = 0.01


def ball(subdivisions: int, radius: float = 0.5, x: float = 0.0) -> Mesh:
    """An icosphere of 20 * 4 ** subdivisions faces."""
    made = trimesh.creation.icosphere(subdivisions, radius)
    return Mesh(made.vertices + np.array([x, 0.0, 0.0]), np.array(made.faces))


def planes(*parts: Mesh) -> Planes:
    """Of dense parts together."""
    start = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + at for part, at in zip(parts, start, strict=False)])
    return planes_of(denoise(Mesh(np.concatenate([part.vertices for part in parts]), faces), wanted=300))


@pytest.fixture(scope="module")
def dense() -> Planes:
    return planes(ball(5))


def farthest(dense: Planes, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return np.sort(TriangleTree.of_mesh(vertices, faces).distance(dense.centers))


def test_a_coarse_place_gets_the_faces_that_are_left(dense: Planes) -> None:
    coarse = ball(3)
    off = coarse.vertices[0] / np.linalg.norm(coarse.vertices[0])
    vertices = coarse.vertices - 0.02 * off * np.exp(-(((coarse.vertices - 0.5 * off) / 0.1) ** 2).sum(axis=1))[:, None]
    faces = coarse.faces.astype(np.int32)
    count = len(faces) + 7
    filled, more = with_gaps_filled(vertices, faces, count, dense, EDGE, 0.0)
    assert len(more) == len(faces) + 6
    np.testing.assert_array_equal(filled[: len(vertices)], vertices)
    np.testing.assert_allclose(np.linalg.norm(filled[len(vertices) :], axis=1), 0.5, atol=0.002)
    assert (np.linalg.norm(filled[len(vertices) :] - 0.5 * off, axis=1) < 0.2).all()
    assert farthest(dense, filled, more)[-1] < farthest(dense, vertices, faces)[-1]
    assert is_manifold_and_closed(filled, more) == (True, True)


def test_a_mesh_that_is_near_everywhere_or_has_its_faces_stays(dense: Planes) -> None:
    fine = ball(3)
    faces = fine.faces.astype(np.int32)
    assert with_gaps_filled(fine.vertices, faces, len(faces) + 40, dense, EDGE, 0.0)[1] is faces
    coarse = ball(2)
    faces = coarse.faces.astype(np.int32)
    assert with_gaps_filled(coarse.vertices, faces, len(faces) + 1, dense, EDGE, 0.0)[1] is faces
    assert len(with_gaps_filled(coarse.vertices, faces, len(faces) + 40, dense, EDGE, 0.0)[1]) > len(faces)
    assert with_gaps_filled(coarse.vertices, faces, len(faces) + 40, dense, EDGE, 0.01)[1] is faces  # noise


def test_a_mesh_of_few_faces_gets_none(dense: Planes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its vertices are where an artist's should be."""
    few = ball(1)
    faces = few.faces.astype(np.int32)
    vertices = 1.04 * few.vertices  # places within 0.03 on both sides
    assert with_gaps_filled(vertices, faces, len(faces) + 40, dense, EDGE, 0.0)[1] is faces
    monkeypatch.setattr(gaps, "SHARE", 0.5)
    assert len(with_gaps_filled(vertices, faces, len(faces) + 40, dense, EDGE, 0.0)[1]) > len(faces)


def test_a_part_that_was_left_out_is_not_reached_for() -> None:
    both = planes(ball(4), ball(3, 0.1, 0.65))
    alone = ball(3)
    faces = alone.faces.astype(np.int32)
    assert with_gaps_filled(alone.vertices, faces, len(faces) + 40, both, EDGE, 0.0)[1] is faces


def test_a_place_is_passed_over_where_the_mesh_would_fold(dense: Planes) -> None:
    coarse = ball(2)
    turned = coarse.faces[:, ::-1].astype(np.int32)
    assert with_gaps_filled(coarse.vertices, turned, len(turned) + 40, dense, EDGE, 0.0)[1] is turned
