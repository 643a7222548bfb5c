"""Depths in steps are evened out between them, and nothing else is moved."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashmesh_core.surface.depth_steps import without_steps
from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import seen_by_camera

STEP = 0.003  # of the inverse of meters, about a Kinect's: 3 mm at 1 m, 4 cm at 3.5 m


def off(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many steps each depth is wrong, (N,)."""
    return np.abs(1.0 / points[:, 2] - 1.0 / truth[:, 2]) / STEP


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def test_depths_come_nearer_to_the_truth_and_stay_on_their_rays():
    truth, surface = seen_by_camera()
    stepped = seen_by_camera(step=STEP)[0]
    even = without_steps(stepped, None)[0]
    for one in range(3):
        of = surface == one
        assert rms(off(even[of], truth[of])) < 0.5 * rms(off(stepped[of], truth[of]))
    np.testing.assert_allclose(even[:, :2] / even[:, 2:], truth[:, :2] / truth[:, 2:], atol=1e-12)
    assert off(even, truth).max() < 0.5, "no depth is further off than rounding put it"


def test_depths_that_are_noisy_as_well_come_nearer():
    truth, surface = seen_by_camera()
    inverse = 1.0 / truth[:, 2] + np.random.default_rng(0).normal(0.0, 0.4 * STEP, len(truth))
    stepped = truth / (np.round(inverse / STEP) * STEP * truth[:, 2])[:, None]
    even = without_steps(stepped, None)[0]
    for one, most in enumerate((0.66, 0.45, 0.35)):
        of = surface == one
        assert rms(off(even[of], truth[of])) < most * rms(off(stepped[of], truth[of]))


@pytest.mark.parametrize("step", [STEP, STEP / 3.0])
@pytest.mark.parametrize("angles", [(90.0, 0.0, 0.0), (0.0, 90.0, 0.0), (-12.0, 20.0, 70.0)])
def test_steps_are_found_however_the_cloud_is_turned(angles, step):
    """In float32, as files and scenes have it; where steps are small few neighbours are on one."""
    stepped = seen_by_camera(step=step)[0]
    even = without_steps(stepped, None)[0]
    assert even is not stepped
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    turned = (stepped @ turn.T).astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(without_steps(turned, None)[0] @ turn, even, atol=2e-4)


def test_the_origin_is_nothing_that_was_seen():
    stepped = seen_by_camera(step=STEP)[0]
    with_nothing = np.insert(stepped, [0, 100], 0.0, axis=0)
    even = without_steps(with_nothing, None)[0]
    assert not even[[0, 101]].any()
    np.testing.assert_array_equal(np.delete(even, [0, 101], axis=0), without_steps(stepped, None)[0])


def test_planes_without_error_stay_planes():
    """Rows of a rendered floor have a depth each, too."""
    truth = seen_by_camera()[0]
    assert np.quantile(off(without_steps(truth, None)[0], truth), 0.98) < 1e-6


def fine() -> np.ndarray:
    points = seen_by_camera()[0]
    return points * np.random.default_rng(0).normal(1.0, 0.001, (len(points), 1))


def lattice() -> np.ndarray:
    """A height field in whole numbers, seen from below its corner."""
    x, y = np.meshgrid(np.arange(150.0), np.arange(150.0))
    height = np.round(6.0 * np.sin(x / 20.0) + 5.0 * np.cos(y / 15.0))
    return np.stack([x.ravel(), y.ravel(), height.ravel() + 200.0], axis=1)


def cards() -> np.ndarray:
    """Flat ones, at a few depths before each other."""
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (20_000, 3))
    points[:, 2] = np.where(points[:, 0] % 0.2 < 0.1, 1.0, np.where(points[:, 0] < 0.0, 1.9, 2.0))
    points[:, :2] *= points[:, 2:]
    return points


def on_both_sides() -> np.ndarray:
    """One in eight points behind the camera."""
    return seen_by_camera(step=STEP)[0] * np.where(np.arange(320 * 240) % 8, 1.0, -1.0)[:, None]


@pytest.mark.parametrize("cloud", [fine, lattice, cards, on_both_sides])
def test_depths_that_are_no_steps_stay(cloud):
    points = cloud()
    normals = np.ones_like(points)
    same = without_steps(points, normals)
    assert same[0] is points and same[1] is normals


@pytest.mark.parametrize("given", [True, False])
def test_a_wall_in_slices_is_read_as_a_wall(given):
    """Four cm deep slices, a pixel of 1 cm apart, would be sheets of their own; their normals say so, too."""
    stepped = seen_by_camera(step=STEP)[0]
    reading = read_surface(stepped, np.tile((0.0, 0.0, -1.0), (len(stepped), 1)) if given else None, faces=60)
    centers = reading.box.invert(reading.surface.triangles.mean(axis=1))
    behind = centers[centers[:, 2] > 2.8]
    wrong = behind[:, 2] - 0.2 * behind[:, 0] - 3.5
    assert np.abs(wrong).mean() < 0.005
    assert len(behind) > 1000
