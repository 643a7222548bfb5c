"""Walls hardly thicker than the noise of a cloud without normals."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface import point_normals, threads
from flashmesh_core.surface.reconstruction import reconstruct
from flashmesh_core.surface.samples import read_samples
from flashmesh_core.surface.thin_walls import FEWEST_SAMPLES, Walls, find_walls, two_surfaces
from tests.surface.shapes import CUBE_FACES, box, cloud_of, cube, joined, volume

NOISE = 0.003


def shelf() -> Mesh:
    """Two boards and two sides, 0.012 thick: four times the noise."""
    boards = [box(0.8, 0.3, 0.012, at=(0.0, 0.0, z)) for z in (-0.2, 0.2)]
    return Mesh(*joined(*boards, *(box(0.012, 0.3, 0.38, at=(x, 0.0, 0.0)) for x in (-0.39, 0.39))))


def scan(mesh: Mesh, count: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Noisy points and the true normals."""
    return cloud_of(mesh, count, NOISE)


def walls_of(points: np.ndarray) -> Walls | None:
    distance, nearest = point_normals.nearest_neighbours(points, 32, lambda share: None)
    noise = point_normals.noise_of(point_normals.fit_planes(points, nearest, None, lambda share: None)[2])
    return find_walls(points, noise, float(distance[:, 5].mean()), lambda share: None)


@pytest.mark.parametrize("processors", [1, 3])
def test_places_are_the_same_alone_and_among_others(monkeypatch: pytest.MonkeyPatch, processors: int):
    monkeypatch.setattr(threads.os, "cpu_count", lambda: processors)
    points, _ = scan(shelf(), 2_000)
    _, nearest = point_normals.nearest_neighbours(points, 48, lambda share: None)
    together = two_surfaces(points, nearest[:101], NOISE)
    for place in (0, 33, 34, 67, 100):
        alone = two_surfaces(points, nearest[place : place + 1], NOISE)
        for one, among in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], among[place])


def test_every_sample_of_a_wall_stands_for_both_sides_and_the_noise_is_that_of_one():
    points, _ = scan(shelf())
    walls = walls_of(points)
    assert walls is not None
    single = 2 * len(points) - len(walls.points)
    assert walls.known.sum() == 2 * (len(points) - single) and single < 0.2 * len(points)
    upper, lower = walls.known.nonzero()[0][: len(points) - single], np.arange(len(points), len(walls.points))
    np.testing.assert_array_equal(walls.sides[lower], -walls.sides[upper])
    assert (np.einsum("ij,ij->i", walls.points[upper] - walls.points[lower], walls.sides[upper]) > 0.0).all()
    np.testing.assert_allclose(np.linalg.norm(walls.sides[walls.known], axis=1), 1.0, atol=1e-9)
    assert walls.noise == pytest.approx(NOISE, rel=0.15)


def test_places_of_a_wall_lie_on_its_sides_and_face_out():
    points, _ = scan(box(0.9, 0.7, 0.016))
    walls = walls_of(points)
    assert walls is not None
    height = walls.points[walls.known][:, 2]
    assert np.median(np.abs(height)) == pytest.approx(0.008, abs=0.001)
    assert np.quantile(np.abs(height), 0.9) - np.quantile(np.abs(height), 0.1) < 0.5 * NOISE  # 2.6 on each side before
    assert (np.sign(height) * walls.sides[walls.known][:, 2] > 0.9).mean() > 0.99


def test_neighbours_of_a_lifted_sample_are_on_its_side():
    points, _ = scan(box(0.9, 0.7, 0.012), 6_000)
    walls = walls_of(points)
    assert walls is not None
    _, nearest = point_normals.nearest_neighbours(walls.lifted(0.02), 16, lambda share: None)
    same = np.einsum("ij,ikj->ik", walls.sides, walls.sides[nearest])[walls.known] > 0.0
    assert same.mean() > 0.98
    _, flat = point_normals.nearest_neighbours(walls.points, 16, lambda share: None)
    mixed = np.einsum("ij,ikj->ik", walls.sides, walls.sides[flat])[walls.known] > 0.0
    assert mixed.mean() < 0.9


@pytest.mark.parametrize(
    ("body", "apart"),
    [(box(1.0, 0.6, 0.4), 0.008), (trimesh.creation.torus(0.35, 0.14), 0.012)],
    ids=["box", "ring"],
)
def test_two_scans_of_a_body_that_lie_a_little_apart_are_no_walls(
    monkeypatch, body: Mesh | trimesh.Trimesh, apart: float
):
    """Both show the same side; nobody looks at the other one from within the body."""
    points, _ = cloud_of(body, 30_000, 0.0008)
    points[::2] += np.array([1.0, 0.8, -0.7]) * apart
    assert walls_of(points) is None
    made = reconstruct(points, None)
    assert made is not None and made.is_closed and made.noise > 0.0025
    monkeypatch.setattr("flashmesh_core.surface.thin_walls.BEHIND", -1.0)
    assert walls_of(points) is not None


def test_a_shelf_is_closed_and_shows_its_outside():
    points, _ = scan(shelf())
    made = reconstruct(points, None)
    assert made is not None and made.is_closed
    samples = read_samples(points, None, lambda stage, share: None)
    x, _, z = samples.points.T
    board = (np.abs(x) < 0.35) & (np.abs(z - 0.2) < 0.05)
    assert (np.sign(z[board] - 0.2) * samples.normals[board, 2] > 0.0).mean() > 0.95
    assert volume(made.mesh) == pytest.approx((2 * 0.8 + 2 * 0.38) * 0.3 * 0.012, rel=0.4)


@pytest.mark.parametrize(
    "mesh",
    [
        box(0.9, 0.5, 0.3),
        Mesh(cube().vertices[:4] * [0.9, 0.7, 0.0], CUBE_FACES[:2]),
        Mesh(*joined(box(0.4, 0.6, 0.6, at=(-0.207, 0.0, 0.0)), box(0.4, 0.6, 0.6, at=(0.207, 0.0, 0.0)))),
    ],
    ids=["a thick body", "a single sheet", "two bodies with a gap between"],
)
def test_what_is_no_wall_is_none(mesh):
    assert walls_of(scan(mesh)[0]) is None


def test_too_few_samples_tell_nothing():
    points, _ = scan(box(0.9, 0.7, 0.012), FEWEST_SAMPLES - 1)
    assert walls_of(points) is None


def test_the_search_can_be_cancelled():
    points, _ = scan(box(0.9, 0.7, 0.012))

    def cancel(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        find_walls(points, 0.006, 0.008, cancel)


@pytest.mark.parametrize(("count", "noise"), [(20_000, 0.002), (20_000, 0.0005), (60_000, 0.005)])
def test_a_smooth_surface_is_one_though_two_explain_it_as_well(count, noise):
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(count, 3))
    ball *= 0.45 / np.linalg.norm(ball, axis=1, keepdims=True)
    assert walls_of(ball + rng.normal(0.0, noise, ball.shape)) is None
