"""Candidate edges and triangles held against the sampled surface."""

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import canonicalize, quantize
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.support import DirectionGrid, edge_support, triangle_support
from flashmesh_core.mesh.surface import SurfaceGrid

from . import shapes


def grids(vertices, faces, num_bins=128):
    samples = sample_surface(vertices, faces, 16384, np.random.default_rng(0))
    grid = SurfaceGrid.of_mesh(vertices, faces, num_bins, tolerance=max(1, num_bins // 64))
    return grid, DirectionGrid(samples.points, samples.normals, num_bins)


@pytest.mark.parametrize("num_bins", [64, 128, 300, 1024])
def test_true_triangles_and_edges_are_backed(num_bins):
    vertices, faces = shapes.torus(0.35, 0.14, rings=12, sides=8)
    grid, directions = grids(vertices, faces, num_bins)
    triangles = quantize(vertices, num_bins)[faces]
    fraction, agrees = triangle_support(grid, directions, triangles)
    assert fraction.dtype == np.float32 and fraction.shape == agrees.shape == (len(faces),)
    assert (fraction == 1.0).all() and agrees.all()
    assert (edge_support(grid, triangles[:, 0], triangles[:, 1]) == 1.0).all()


def test_reversed_triangles_face_the_wrong_way():
    vertices, faces = shapes.torus(0.35, 0.14, rings=12, sides=8)
    grid, directions = grids(vertices, faces)
    triangles = quantize(vertices, 128)[faces][:, ::-1]
    fraction, agrees = triangle_support(grid, directions, triangles)
    assert (fraction == 1.0).all() and not agrees.any()
    assert triangle_support(grid, None, triangles)[1].all()


def test_both_sides_of_a_thin_wall_are_known():
    vertices, faces = shapes.box((0.9, 0.9, 0.004))
    grid, directions = grids(vertices, faces)
    triangles = canonicalize(vertices, faces, 128).dequantize().triangles
    triangles = quantize(triangles.reshape(-1, 3), 128).reshape(-1, 3, 3)
    assert triangle_support(grid, directions, triangles)[1].all()
    assert triangle_support(grid, directions, triangles[:, ::-1])[1].all()  # the other face of the same wall


def test_what_crosses_empty_space_is_not_backed():
    vertices, faces = shapes.box((0.9, 0.9, 0.9))
    grid, directions = grids(vertices, faces)
    low, high = 7, 120
    across = np.array([[[low, low, low], [high, high, low], [high, high, high]]])
    fraction, agrees = triangle_support(grid, directions, across)
    assert fraction[0] < 0.5 and not agrees[0]
    diagonal = edge_support(grid, np.array([[low, low, low]]), np.array([[high, high, high]]))
    assert diagonal[0] < 0.5
    assert edge_support(grid, np.array([[low, low, low]]), np.array([[high, low, low]]))[0] == 1.0


def test_share_counts_the_points_on_the_surface():
    grid = SurfaceGrid(np.array([[0.0, 0.0, 0.0]]), 8, 0)  # the one bin (4, 4, 4)
    a, b = np.array([[4, 4, 0]]), np.array([[4, 4, 7]])
    assert edge_support(grid, a, b, samples=7)[0] == pytest.approx(2 / 7)  # heights 4.0 and 4.875
    assert edge_support(grid, a, a)[0] == 0.0
    assert edge_support(grid, np.array([[4, 4, 4]]), np.array([[4, 4, 4]]))[0] == 1.0


def test_no_candidates_give_empty_answers():
    grid, directions = grids(*shapes.box((0.5, 0.5, 0.5)))
    fraction, agrees = triangle_support(grid, directions, np.zeros((0, 3, 3), dtype=int))
    assert fraction.shape == agrees.shape == (0,)
    assert edge_support(grid, np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)


def test_wrong_input_is_named():
    grid, directions = grids(*shapes.box((0.5, 0.5, 0.5)))
    with pytest.raises(ValueError, match=r"triangles must have shape \('M', 3, 3\), got \(4, 3\)"):
        triangle_support(grid, directions, np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"b must hold bins in \[0, 127\], got 0 to 128"):
        edge_support(grid, np.zeros((1, 3)), np.array([[0, 0, 128]]))
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        edge_support(grid, np.zeros((1, 3)), np.zeros((1, 3)), samples=0)
    with pytest.raises(ValueError, match="normals must have the shape of points"):
        DirectionGrid(np.zeros((2, 3)), np.zeros((1, 3)), 128)
