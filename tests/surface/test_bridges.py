"""Bridges between rims are cut where they are short, and never the last one that holds a part."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import face_components, manifold_twins
from flashmesh_core.surface.bridges import cut_bridges, knots
from flashmesh_core.surface.denoising import denoise
from flashmesh_core.surface.simplification import proxies
from tests.surface.shapes import grid, sphere


def two_plates(bridges: int, cells: int = 12) -> Mesh:
    """A flat grid with a slit across its middle, one cell wide, over which so many bridges of one cell go."""
    mesh = grid(cells)
    middles = mesh.vertices[mesh.faces].mean(axis=1)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    place = (middles - low) / np.where(high > low, high - low, 1.0) * cells
    flat = [axis for axis in range(3) if high[axis] > low[axis]]
    across, along = (np.floor(place[:, axis]).astype(int) for axis in flat)
    kept = (across != cells // 2) | np.isin(along, 1 + 3 * np.arange(bridges))
    return Mesh(mesh.vertices, mesh.faces[kept])


def parts(faces: np.ndarray) -> int:
    faces = np.ascontiguousarray(faces, dtype=np.int32)
    return face_components(faces, manifold_twins(faces, int(faces.max()) + 1))[1]


@pytest.mark.parametrize("bridges", [1, 2, 3, 4])
def test_all_but_one_of_several_bridges_are_cut(bridges: int) -> None:
    mesh = two_plates(bridges)
    assert knots(mesh.faces) == bridges - 2 and parts(mesh.faces) == 1
    side = float(np.ptp(mesh.vertices, axis=0).max()) / 12
    positions, quadrics, faces = cut_bridges(
        mesh.vertices, np.arange(len(mesh.vertices), dtype=float)[:, None], mesh.faces.astype(np.int32), 1.6 * side
    )
    assert knots(faces) == -1 and parts(faces) == 1 and len(faces) == len(mesh.faces)
    np.testing.assert_array_equal(positions[faces], mesh.vertices[mesh.faces])
    np.testing.assert_array_equal(mesh.vertices[quadrics[:, 0].astype(int)], positions)


def test_long_bridges_and_closed_meshes_stay() -> None:
    mesh = two_plates(3)
    faces = mesh.faces.astype(np.int32)
    side = float(np.ptp(mesh.vertices, axis=0).max()) / 12
    found = cut_bridges(mesh.vertices, np.zeros((len(mesh.vertices), 1)), faces, 0.5 * side)
    assert found[2] is faces and len(found[0]) == len(mesh.vertices)
    ball = sphere(24, 13)
    faces = ball.faces.astype(np.int32)
    assert knots(faces) == -2
    assert cut_bridges(ball.vertices, np.zeros((len(ball.vertices), 1)), faces, 1.0)[2] is faces


def test_plates_stitched_together_come_down_to_few_faces() -> None:
    """A sieve of a sheet: with its bridges kept it would need some hundred faces."""
    mesh = two_plates(24, cells=96)
    assert knots(mesh.faces) == 22
    proxy = proxies(denoise(mesh), [24])[0]
    assert len(proxy.faces) <= 24
    size = np.ptp(proxy.vertices, axis=0)
    np.testing.assert_allclose(size, np.ptp(mesh.vertices, axis=0), atol=0.02)
