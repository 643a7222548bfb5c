"""Surface samples lie on the surface, evenly, with their normals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashmesh_core.mesh.sampling import sample_surface

from .shapes import box, sheet, torus


def samples_of(mesh: tuple[np.ndarray, np.ndarray], count: int, seed: int = 0):
    return sample_surface(*mesh, count, np.random.default_rng(seed))


def test_types_shapes_and_determinism() -> None:
    mesh = torus()
    first, again, other = samples_of(mesh, 500), samples_of(mesh, 500), samples_of(mesh, 500, seed=1)
    assert first.points.shape == first.normals.shape == (500, 3) and first.face_index.shape == (500,)
    assert first.points.dtype == first.normals.dtype == np.float32 and first.face_index.dtype == np.int64
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(first.face_index, again.face_index)
    assert (first.points != other.points).any()


def test_points_lie_in_their_faces_with_their_normals() -> None:
    vertices, faces = torus()
    samples = samples_of((vertices, faces), 2000)
    a, b, c = vertices[faces[samples.face_index].T]
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    np.testing.assert_allclose(samples.normals, normal, atol=1e-6)
    # Barycentric coordinates, solved for: all within [0, 1].
    basis = np.stack([b - a, c - a, normal], axis=2)
    u, v, height = np.linalg.solve(basis, (samples.points - a)[:, :, None])[:, :, 0].T
    assert np.abs(height).max() < 1e-6
    assert min(u.min(), v.min()) > -1e-5 and (u + v).max() < 1 + 1e-5


def test_faces_are_chosen_by_area_and_covered_evenly() -> None:
    count = 60_000
    vertices, faces = box((1.0, 2.0, 3.0))
    samples = samples_of((vertices, faces), count)
    share = np.abs(samples.normals).argmax(axis=1)
    area = np.array([6.0, 3.0, 2.0]) / 11.0
    expected_error = 5 * np.sqrt(area * (1 - area) / count)
    assert (np.abs(np.bincount(share, minlength=3) / count - area) < expected_error).all()
    # Over a sheet every cell of a 10 x 10 grid gets its 1 %.
    points = samples_of(sheet(3, 2), count).points
    cells = np.histogram2d(points[:, 0], points[:, 1], bins=10, range=[[0, 1], [0, 1]])[0] / count
    assert np.abs(cells - 0.01).max() < 5 * np.sqrt(0.01 / count)


def test_faces_without_area_are_never_chosen() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0.0]])
    faces = np.array([[0, 0, 0], [0, 1, 3], [0, 1, 2], [1, 1, 2], [3, 1, 0]])
    samples = sample_surface(vertices, faces, 5000, np.random.default_rng(0))
    assert (samples.face_index == 2).all()
    np.testing.assert_array_equal(samples.normals, np.tile(np.float32([0, 0, 1]), (5000, 1)))


class ConstantDraw(np.random.Generator):
    """A generator that draws one value over and over, to reach the ends of the range [0, 1)."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self, size=None, dtype=np.float64, out=None):
        return np.full(size, self.value)


@pytest.mark.parametrize("columns", [1, 3, 7, 10, 49, 1000])
def test_the_extreme_draws_find_faces_with_area(columns: int) -> None:
    vertices, faces = sheet(columns, 3)
    faces = np.vstack([[[0, 1, 1]], faces, [[0, 0, 1]]])
    for value, expected in ((0.0, 1), (np.nextafter(1.0, 0.0), len(faces) - 2)):
        samples = sample_surface(vertices, faces, 10, ConstantDraw(value))
        assert (samples.face_index == expected).all() and np.isfinite(samples.normals).all()


@given(exponent=st.integers(-30, 30), seed=st.integers(0, 100))
def test_any_scale_gives_unit_normals(exponent: int, seed: int) -> None:
    vertices, faces = box()
    samples = samples_of((vertices * 10.0**exponent, faces), 50, seed)
    np.testing.assert_allclose(np.linalg.norm(samples.normals, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(samples.face_index, samples_of((vertices, faces), 50, seed).face_index)


@pytest.mark.parametrize(
    ("vertices", "faces", "count", "message"),
    [
        (np.eye(3), np.zeros((0, 3), dtype=int), 10, "faces must hold at least 1 triangle.*got 0"),
        (np.zeros((3, 3)), [[0, 1, 2]], 10, "total area above 0, got 1 faces without area"),
        (np.eye(3), [[0, 1, 1]], 10, "total area above 0, got 1 faces without area"),
        (np.eye(3), [[0, 1, 2]], 0, r"count must be in \[1, 50000000\], got 0"),
        (np.eye(3), [[0, 1, 2]], 50_000_001, "count must be .*got 50000001"),
        (np.eye(3), [[0, 1, 3]], 10, r"faces must hold indices in \[0, 2\]"),
        (np.full((3, 3), np.inf), [[0, 1, 2]], 10, "vertices must be finite"),
        (np.eye(3) * 1e39, [[0, 1, 2]], 10, r"range of float32, got a coordinate of size 1e\+39"),
        (np.zeros((0, 3)), [[0, 1, 2]], 10, "N >= 3"),
    ],
)
def test_wrong_input_is_named(vertices: np.ndarray, faces: list, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_surface(vertices, np.array(faces), count, np.random.default_rng(0))
