"""What is made of an open cloud ends where its samples end: no further out, in no steps, and nothing of it is lost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.borders import open_edges
from flashmesh_core.surface.reconstruction import Reconstruction, reconstruct
from flashmesh_core.surface.rims import trim_rims
from flashmesh_core.surface.samples import Samples, read_samples
from tests.surface.shapes import box_distance, voxels

COUNT = 8_000
UP = np.array([0.0, 0.0, 1.0])


def rectangle(count: int, rng: np.random.Generator) -> np.ndarray:
    """Samples (N, 3) of a flat sheet of 1 by 0.6."""
    return np.concatenate([(rng.random((count, 2)) - 0.5) * [1.0, 0.6], np.zeros((count, 1))], axis=1)


def from_rectangle(points: np.ndarray) -> np.ndarray:
    """How far points (N, 3) lie outside of that sheet's border, (N,), negative within."""
    return np.max(np.abs(points[:, :2]) - [0.5, 0.3], axis=1)


def rim(mesh: Mesh) -> np.ndarray:
    """The vertices on the border of a mesh."""
    _, tails, _ = open_edges(mesh.faces.astype(np.int32), len(mesh.vertices))
    return mesh.vertices[np.unique(tails)]


def made(points: np.ndarray, normals: np.ndarray | None) -> Reconstruction:
    found = reconstruct(points, normals)
    assert found is not None
    return found


@pytest.mark.parametrize("oriented", [True, False])
@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_the_rim_of_a_sheet_is_where_it_was(oriented: bool, noise: float) -> None:
    rng = np.random.default_rng(0)
    points = rectangle(COUNT, rng)
    points += noise * rng.standard_normal(points.shape)
    found = made(points, np.tile(UP, (COUNT, 1)) if oriented else None)
    outside = from_rectangle(rim(found.mesh))
    assert np.abs(outside).mean() < 0.25 * found.gap + noise
    assert np.quantile(np.abs(outside), 0.95) < 0.6 * found.gap + 2.0 * noise
    corners = np.array([[x, y, 0.0] for x in (-0.5, 0.5) for y in (-0.3, 0.3)])
    assert cKDTree(found.mesh.vertices).query(corners)[0].max() < 1.6 * found.gap + 2.0 * noise


def test_a_hole_that_is_meant_keeps_its_rim() -> None:
    rng = np.random.default_rng(1)
    points = rectangle(2 * COUNT, rng)
    points = points[np.linalg.norm(points[:, :2], axis=1) > 0.2]
    found = made(points, np.tile(UP, (len(points), 1)))
    around = np.linalg.norm(rim(found.mesh), axis=1)
    inner = around[around < 0.27]
    assert len(inner) > 20 and np.abs(inner - 0.2).mean() < 0.2 * found.gap


def test_no_sample_is_cut_off() -> None:
    """Of two sheets, one of which stands on the middle of the other, and of a narrow strip."""
    rng = np.random.default_rng(2)
    lying, standing, strip = rectangle(COUNT, rng), rectangle(COUNT // 2, rng), rectangle(COUNT // 4, rng)
    standing = standing[:, [0, 2, 1]] * [1.0, 1.0, 0.5] + [0.0, 0.0, 0.15]
    strip = strip * [1.0, 0.1, 1.0] + [0.0, 0.36, 0.0]
    points = np.concatenate([lying, standing, strip])
    normals = np.concatenate([np.tile(way, (len(part), 1)) for way, part in
        ((UP, lying), ([0.0, 1.0, 0.0], standing), (UP, strip))])  # fmt: skip
    found = made(points, normals)
    assert TriangleTree.of_mesh(found.mesh.vertices, found.mesh.faces).distance(points).max() < 1.5 * found.gap


def test_what_is_closed_or_has_short_rims_alone_stays() -> None:
    box = voxels(box_distance(np.full(3, 0.4)), 32)
    rng = np.random.default_rng(3)
    points = rng.random((COUNT, 3)) - 0.5
    axis = rng.integers(0, 3, COUNT)
    points[np.arange(COUNT), axis] = np.where(rng.random(COUNT) < 0.5, -0.5, 0.5)
    normals = np.zeros((COUNT, 3))
    normals[np.arange(COUNT), axis] = 2.0 * points[np.arange(COUNT), axis]
    samples: Samples = read_samples(points, normals, lambda stage, share: None)
    assert trim_rims(box, samples, 0.01) is box
    pierced = Mesh(box.vertices, box.faces[2:])
    assert trim_rims(pierced, samples, 0.01) is pierced
