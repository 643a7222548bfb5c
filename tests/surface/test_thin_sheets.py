"""Walls so thin that a cloud shows one sheet of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface import reconstruction
from flashmesh_core.surface.guesses import FAR, find_guesses, without_guesses
from flashmesh_core.surface.reconstruction import reconstruct
from flashmesh_core.surface.samples import read_samples
from flashmesh_core.surface.thin_sheets import ThinSheets, drawn_in, split
from flashmesh_core.surface.thin_walls import LEAST
from tests.surface.shapes import box, cloud_of, joined

NOISE = 0.003
COUNT = 20_000


def quiet(stage: str, share: float) -> None:
    """Progress that nobody wants."""


def table(thickness: float) -> Mesh:
    legs = [box(0.06, 0.06, 0.4, at=(x, y, 0.0)) for x in (-0.4, 0.4) for y in (-0.25, 0.25)]
    return Mesh(*joined(box(0.9, 0.6, thickness, at=(0.0, 0.0, 0.2)), *legs))


def sheet_on_legs(rng: np.random.Generator) -> np.ndarray:
    legs = Mesh(*joined(*(box(0.06, 0.06, 0.4, at=(x, 0.0, 0.0)) for x in (-0.4, 0.4))))
    top = flat(rng)[: COUNT // 2] + np.array([0.0, 0.0, 0.2])
    return np.concatenate([top, cloud_of(legs, COUNT // 2)[0]])


def flat(rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([rng.uniform(-0.45, 0.45, (COUNT, 2)), np.zeros((COUNT, 1))], axis=1)


def pipe(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0.0, np.pi, COUNT)
    return np.stack([0.4 * np.cos(angle), 0.4 * np.sin(angle), rng.uniform(-0.4, 0.4, COUNT)], axis=1)


def waves(rng: np.random.Generator) -> np.ndarray:
    points = flat(rng)
    points[:, 2] = 0.1 * np.sin(9.0 * points[:, 0])
    return points


def noisy(points: np.ndarray) -> np.ndarray:
    return points + np.random.default_rng(1).normal(0.0, NOISE, points.shape)


@pytest.mark.parametrize("thickness", [0.005, 0.006])
def test_a_table_whose_top_is_thinner_than_twice_the_noise_is_closed(thickness: float) -> None:
    points, _ = cloud_of(table(thickness), COUNT, NOISE)
    made = reconstruct(points, None)
    assert made is not None and made.is_closed
    top = made.mesh.vertices[made.mesh.vertices[:, 2] > 0.15]
    beside = np.abs(top[:, :2]) < (0.4, 0.25)
    height = np.abs(top[beside.all(axis=1), 2] - 0.2)
    assert np.quantile(height, 0.9) < 0.01, "the wall is as thin as the grid allows, no cushion"


def test_where_only_a_holes_samples_are_missing_its_guess_stays_without_a_second_side(monkeypatch) -> None:
    monkeypatch.setattr(reconstruction, "single_sheets", lambda samples, *rest: np.zeros(len(samples.points), bool))
    monkeypatch.setattr(reconstruction, "split", None)
    made = reconstruct(cloud_of(box(0.9, 0.6, 0.005), COUNT, NOISE)[0], None)
    assert made is not None and made.is_closed


def test_the_cover_of_a_trough_is_no_back_of_a_wall(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    along, across = rng.uniform(-0.45, 0.45, COUNT), rng.uniform(0.0, 0.46, COUNT)  # up, over the floor, down
    y, z = np.clip(across - 0.23, -0.08, 0.08), np.maximum(np.abs(across - 0.23) - 0.08, 0.0)
    covers = []

    def find(self, samples, guesses):
        found = ~guesses.sure & (guesses.far < FAR)
        covers.append(int(found.sum()))
        return found

    monkeypatch.setattr(ThinSheets, "find", find)
    made = reconstruct(noisy(np.stack([along, y, z], axis=1)), None)
    assert covers[0] == 1, "one that is near enough to be looked at"
    assert made is not None and not made.is_closed


@pytest.mark.parametrize("shape", [flat, pipe, waves, sheet_on_legs])
def test_a_single_sheet_stays_open(shape) -> None:
    made = reconstruct(noisy(shape(np.random.default_rng(0))), None)
    assert made is not None and not made.is_closed


def test_sheets_become_the_two_sides_of_a_wall() -> None:
    points = noisy(flat(np.random.default_rng(0)))
    samples = read_samples(points, None, quiet)
    single = samples.points[:, 0] < 0.0
    step = 0.01
    made = split(samples, single, step, quiet)
    assert len(made.points) == len(points) + single.sum() and made.walls.sum() == 2 * single.sum()
    wall = made.points[made.walls]
    high = np.abs(np.abs(wall[:, 2]) - 0.5 * LEAST * step)
    assert np.quantile(high, 0.999) < NOISE and high.max() < 2.0 * NOISE, "at the border a sample may be off"
    outward = np.sign(wall[:, 2]) * made.normals[made.walls][:, 2]
    assert (outward > 0.9).mean() > 0.998 and (outward > 0.0).mean() > 0.9995
    assert made.spacing[made.walls].mean() == pytest.approx(samples.spacing[single].mean(), rel=0.1), "of its own side"


def test_what_closes_a_wall_is_drawn_in_and_the_rest_stays() -> None:
    points = noisy(flat(np.random.default_rng(0)))
    samples = read_samples(points, None, quiet)
    mesh = box(0.9, 0.9, 0.08, at=(0.0, 0.0, 0.04))
    guesses = find_guesses(mesh, samples.points, np.zeros(COUNT), np.full(COUNT, 0.03))
    assert guesses.far.tolist() == pytest.approx([0.08], abs=0.01) and not guesses.sure.any()
    assert guesses.guessed.sum() == 10, "the top and the sides"
    drawn = drawn_in(mesh, samples, guesses, np.array([True]))
    distance = cKDTree(samples.points).query(drawn.vertices)[0]
    assert distance.max() < 0.0301
    np.testing.assert_array_equal(drawn.vertices[:4], mesh.vertices[:4])
    np.testing.assert_array_equal(drawn_in(mesh, samples, guesses, np.array([False])).vertices, mesh.vertices)
    assert len(without_guesses(mesh, guesses, guesses.sure)[0].faces) == 2


def test_guesses_far_from_all_samples_close_no_wall() -> None:
    points, _ = cloud_of(box(0.9, 0.9, 0.005), COUNT, NOISE)
    samples = read_samples(points, None, quiet)
    thin = ThinSheets(points, quiet)
    for height, closes in ((0.05, True), (FAR + 0.03, False)):
        mesh = box(0.9, 0.9, height, at=(0.0, 0.0, height / 2))
        guesses = find_guesses(mesh, samples.points, np.zeros(COUNT), np.full(COUNT, 0.03))
        assert thin.find(samples, guesses).tolist() == [closes]


def test_the_search_can_be_cancelled() -> None:
    points, _ = cloud_of(box(0.9, 0.9, 0.005), COUNT, NOISE)
    samples = read_samples(points, None, quiet)

    calls: list[str] = []

    def cancel(stage: str, share: float) -> None:
        calls.append(stage)
        if len(calls) == 3:
            raise InterruptedError

    thin = ThinSheets(points, cancel)
    mesh = box(0.9, 0.9, 0.05)
    guesses = find_guesses(mesh, samples.points, np.zeros(COUNT), np.full(COUNT, 0.01))
    with pytest.raises(InterruptedError):
        thin.find(samples, guesses)
