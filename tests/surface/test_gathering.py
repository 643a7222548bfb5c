"""Clouds whose points lie closer together than their noise is wide."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from flashmesh_core.surface.gathering import CROWDED, WALLS, gathered, measured
from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import box_corners, box_distance, cloud_of

BALL = trimesh.creation.icosphere(subdivisions=5, radius=0.45)
HALF = np.array([0.45, 0.35, 0.25])
BOX = trimesh.creation.box(extents=2.0 * HALF)


def unheard(share: float) -> None:
    """Progress that nobody asked for."""


def off_box(points: np.ndarray) -> np.ndarray:
    """How far points (N, 3) are off the surface of BOX."""
    return np.abs(box_distance(HALF)(points))


@pytest.mark.parametrize(("count", "noise"), [(20_000, 0.002), (60_000, 0.006), (200_000, 0.006), (400_000, 0.01)])
def test_the_noise_is_measured_however_close_points_lie(count: int, noise: float) -> None:
    """Neighbours by number are a ball of noise that is rounder the more there are: less would be found of it."""
    cloud = measured(cloud_of(BALL, count, noise)[0], unheard)
    assert cloud is not None and cloud.walls < 0.05
    assert cloud.noise == pytest.approx(noise, rel=0.15)
    assert cloud.within == pytest.approx(count * np.pi * (3.0 * noise) ** 2 / BALL.area, rel=0.35)


def test_points_that_lie_far_enough_apart_stay_as_they_are() -> None:
    for count, noise in ((60_000, 0.003), (16_384, 0.0), (200_000, 0.001), (20, 0.1)):
        assert gathered(cloud_of(BALL, count, noise)[0], None, unheard) is None
    assert gathered(np.zeros((5_000, 3)), None, unheard) is None, "all at one place"


def test_the_sides_of_a_thin_wall_do_not_become_one() -> None:
    """Four deviations of the noise thick: planes within three of them would lie in its middle."""
    points, _ = cloud_of(trimesh.creation.box(extents=(0.9, 0.7, 0.02)), 400_000, 0.005)
    cloud = measured(points, unheard)
    assert cloud is not None and cloud.within > CROWDED and cloud.walls > WALLS
    assert gathered(points, None, unheard) is None


def test_each_point_comes_to_lie_on_the_plane_of_those_around_it() -> None:
    points, normals = cloud_of(BOX, 100_000, 0.012)
    made, sides = gathered(points, normals, unheard)
    assert sides is not None and 20_000 < len(made) < 50_000
    assert np.median(off_box(made)) < 0.35 * np.median(off_box(points))
    np.testing.assert_allclose(np.linalg.norm(sides, axis=1), 1.0, atol=1e-9)
    flat = (np.abs(np.abs(made) - HALF) > 0.06).sum(axis=1) == 2  # beside no edge
    outward = np.where((np.abs(made) > HALF - 0.06) & flat[:, None], np.sign(made), 0.0)
    assert flat.mean() > 0.5 and np.quantile(np.einsum("ij,ij->i", sides, outward)[flat], 0.001) > 0.9


def test_the_normals_that_are_given_tell_the_sides() -> None:
    points, normals = cloud_of(BALL, 125_000, 0.012)
    for turn in (1.0, -1.0):
        made, sides = gathered(points, turn * normals, unheard)
        assert sides is not None and (turn * np.einsum("ij,ij->i", sides, made) > 0.0).mean() > 0.9999


@pytest.mark.parametrize("given", [True, False], ids=["normals", "bare"])
def test_a_box_of_many_noisy_points_has_its_corners(given: bool) -> None:
    """A ball of noise around every place, 1.2 % thick: 12 faces, each corner within a third of that."""
    points, normals = cloud_of(BOX, 100_000, 0.012, seed=1)
    reading = read_surface(points, normals if given else None, faces=12)
    vertices = reading.box.invert(reading.proxies[0].vertices)
    assert reading.is_closed and len(reading.proxies[0].faces) == 12
    assert cKDTree(vertices).query(box_corners(HALF))[0].max() < 0.004


def test_cancelling_ends_it() -> None:
    class Stopped(Exception):
        """What a caller raises to cancel."""

    def stop(share: float) -> None:
        if share > 0.3:
            raise Stopped

    with pytest.raises(Stopped):
        gathered(cloud_of(BOX, 100_000, 0.012)[0], None, stop)
