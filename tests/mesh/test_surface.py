"""The occupancy grid of the surface."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashmesh_core.mesh.canonical import quantize
from flashmesh_core.mesh.surface import SurfaceGrid

DATA = Path(os.environ.get("FLASHMESH_DATA", Path(__file__).parents[3] / "shared" / "data")) / "meshes.npz"
BOX_FACES = np.array(
    [
        *([0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4]),
        *([2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5]),
    ]
)


def box(size):
    """The eight corners, x fastest, of a box centered on 0."""
    return np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]) * np.asarray(size) / 2.0


def sample(vertices, faces, count=16384, seed=0):
    rng = np.random.default_rng(seed)
    tri = vertices[faces]
    cross = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    area = np.linalg.norm(cross, axis=1)
    face = rng.choice(len(faces), count, p=area / area.sum())
    r, t = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    points = (1 - r) * tri[face, 0] + r * (1 - t) * tri[face, 1] + r * t * tri[face, 2]
    return points.astype(np.float32), (cross[face] / area[face, None]).astype(np.float32)


def sphere(count, seed=0):
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return 0.5 * normals, normals


def turned(points, seed=0):
    """`points` under a random rotation, so that no plane is aligned with an axis."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return points @ q.T


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(0, 9), st.integers(0, 2**31))
def test_grid_is_the_chebyshev_ball_around_the_points(num_bins, tolerance, seed):
    tolerance = min(tolerance, num_bins)
    points = np.random.default_rng(seed).random((5, 3)) - 0.5
    grid = SurfaceGrid(points, num_bins, tolerance)
    every = np.stack(np.meshgrid(*[np.arange(num_bins)] * 3, indexing="ij"), axis=-1)
    near = np.abs(every[..., None, :] - quantize(points, num_bins)).max(axis=-1).min(axis=-1) <= tolerance
    assert np.array_equal(grid.contains(every), near)
    assert np.array_equal(grid.row_z(), near.any(axis=(0, 1)))
    for z in (0, num_bins - 1):
        assert np.array_equal(grid.row_y(z), near[:, :, z].any(axis=0))
        for y in (0, num_bins // 2):
            assert np.array_equal(grid.row_x(z, y), near[:, y, z])


@pytest.mark.parametrize("num_bins", [128, 256, 300, 1024])
def test_rows_of_many_prefixes_equal_single_rows(num_bins):
    points, _ = sphere(500)
    grid = SurfaceGrid(points, num_bins, 2)
    z, y = np.random.default_rng(1).integers(0, num_bins, (2, 3, 4))
    assert max(grid.occupied.shape) <= 256
    assert grid.contains(quantize(points, num_bins)).all()
    assert grid.rows_y(z).shape == grid.rows_x(z, y).shape == (3, 4, num_bins)
    assert np.array_equal(grid.rows_y(z)[1, 2], grid.row_y(int(z[1, 2])))
    assert np.array_equal(grid.rows_x(z, y)[1, 2], grid.row_x(int(z[1, 2]), int(y[1, 2])))
    x = np.arange(num_bins)
    line = np.stack([x, np.full_like(x, y[0, 0]), np.full_like(x, z[0, 0])], axis=1)
    assert np.array_equal(grid.contains(line), grid.row_x(int(z[0, 0]), int(y[0, 0])))


def test_prefix_out_of_range_has_an_empty_row():
    grid = SurfaceGrid(sphere(500)[0], 16, 16)
    assert grid.row_z().all()
    assert not grid.row_y(-1).any() and not grid.row_y(16).any()
    assert not grid.row_x(3, 16).any() and not grid.row_x(-1, 3).any()
    assert grid.contains(np.array([[0, 15, 3], [0, 16, 3], [-1, 0, 0]])).tolist() == [True, False, False]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.sampled_from([8, 128, 300]), st.integers(0, 2**31))
def test_grid_of_a_mesh_holds_its_vertices_and_its_surface(n_faces, num_bins, seed):
    rng = np.random.default_rng(seed)
    vertices = rng.random((12, 3)) - 0.5
    vertices[rng.integers(12)] = vertices[rng.integers(12)]  # a triangle without area now and then
    faces = rng.integers(0, 12, (n_faces, 3))
    exact = SurfaceGrid.of_mesh(vertices, faces, num_bins)
    assert exact.contains(quantize(vertices[np.unique(faces)], num_bins)).all()
    weights = rng.dirichlet([0.5] * 3, size=(200, n_faces))
    inside = np.einsum("kfc,fcd->kfd", weights, vertices[faces])
    assert exact.contains(quantize(inside, num_bins)).mean() > 0.7
    assert SurfaceGrid.of_mesh(vertices, faces, num_bins, 1).contains(quantize(inside, num_bins)).all()


def test_grid_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"tolerance must be an integer in \[0, 128\], got -1"):
        SurfaceGrid(np.zeros((1, 3)), 128, -1)
    with pytest.raises(ValueError, match=r"num_bins must be in \[2, 4096\], got 1"):
        SurfaceGrid(np.zeros((1, 3)), 1)
    with pytest.raises(ValueError, match=r"points must have shape"):
        SurfaceGrid(np.zeros((0, 3)), 128)
    with pytest.raises(ValueError, match=r"faces must hold indices in \[0, 7\]"):
        SurfaceGrid.of_mesh(box((1, 1, 1)), BOX_FACES + 1, 128)
