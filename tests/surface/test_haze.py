"""Points that hover about a surface are told from it, and from what stands out of it."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.surface import strays
from flashmesh_core.surface.haze import MOST, hovering
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.strays import on_surfaces
from tests.surface.shapes import cloud_of, distances

BOX = trimesh.creation.box((1.0, 0.6, 0.4))
NOISE = 0.001


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def stays(points: np.ndarray) -> np.ndarray:
    return ~hovering(points, np.arange(len(points)), lambda stage, share: None)


def hazy(share: float = 0.08, far: float = 0.015, count: int = 20_000, noise: float = NOISE) -> np.ndarray:
    """Points of the box, some of them with more noise than the others."""
    points, chance = cloud_of(BOX, count)[0], np.random.default_rng(1)
    return points + chance.normal(size=(count, 3)) * np.where(chance.random(count) < share, far, noise)[:, None]


def floor(count: int = 20_000) -> np.ndarray:
    return rng().uniform(-0.5, 0.5, (count, 3)) * (1.0, 1.0, 0.0)


def wires() -> np.ndarray:
    """Nine, as far above the floor as its points are apart, of points three times as far apart."""
    line = np.stack([np.linspace(-0.5, 0.5, 50), np.zeros(50), np.full(50, 0.02)], axis=1)
    return np.concatenate([line + np.array([0.0, y, 0.0]) for y in np.linspace(-0.4, 0.4, 9)])


def sheet() -> np.ndarray:
    """A fortieth as dense as the floor, and hardly above it."""
    return np.random.default_rng(2).uniform(-0.5, 0.5, (500, 3)) * (1.0, 1.0, 0.0) + (0.0, 0.0, 0.02)


def nails() -> np.ndarray:
    """Of twelve points each, of which the lowest are as near to the floor as its own points are to each other."""
    line = np.zeros((12, 3))
    line[:, 2] = np.linspace(0.005, 0.06, 12)
    at = np.linspace(-0.4, 0.4, 8)
    return np.concatenate([line + np.array([x, y, 0.0]) for x in at for y in at])


def fins() -> np.ndarray:
    """Twenty on a floor, as high as they are apart: to some of their points most neighbors are of other planes."""
    chance = np.random.default_rng(3)
    fin = np.stack(
        [chance.integers(0, 20, 8_000) * 0.03, chance.uniform(0, 0.4, 8_000), chance.uniform(0, 0.03, 8_000)]
    )
    return np.concatenate([chance.uniform(0, 1, (8_000, 3)) * (0.6, 0.4, 0.0), fin.T])


@pytest.mark.parametrize(("share", "far"), [(0.08, 0.015), (0.03, 0.01), (0.15, 0.02)])
def test_haze_goes_and_the_surface_stays(share: float, far: float) -> None:
    points = hazy(share, far)
    kept, off = on_surfaces(points, lambda stage, share: None), distances(BOX, points)
    assert kept[off > 0.01].mean() < 0.2
    assert kept[off < 3.0 * NOISE].mean() > 0.999


def test_haze_on_one_side_goes() -> None:
    points, normals = cloud_of(BOX, 20_000)
    chance = np.random.default_rng(1)
    away = np.where(chance.random(20_000) < 0.1, np.abs(chance.normal(0.0, 0.015, 20_000)), 0.0)
    points = points + normals * away[:, None] + chance.normal(0.0, 0.0005, (20_000, 3))
    kept = stays(points)
    assert kept[away > 0.01].mean() < 0.25
    assert kept[away == 0.0].mean() > 0.999


@pytest.mark.parametrize("beside", [wires, sheet, nails])
@pytest.mark.parametrize("noise", [0.0, 0.0003])
def test_what_stands_over_a_denser_surface_stays(beside, noise: float) -> None:
    points = np.concatenate([floor(), beside()])
    kept = stays(points + np.random.default_rng(1).normal(size=points.shape) * noise)
    assert kept[20_000:].mean() > 0.95


def test_sheets_are_no_haze_though_each_of_their_points_looks_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flashmesh_core.surface.haze.LEVEL", -1.0)
    assert stays(np.concatenate([floor(), sheet()]))[20_000:].mean() < 0.1


@pytest.mark.parametrize(
    "points",
    [
        cloud_of(BOX, 20_000)[0],
        hazy(0.0, 0.0, noise=0.003),
        np.round(hazy(0.0, 0.0) * 250.0) / 250.0,
        cloud_of(trimesh.creation.cone(0.3, 1.0), 4_000)[0],
        hazy(count=1_500),
    ],
    ids=["exact", "noisy", "on a lattice", "a cone", "too few"],
)
def test_other_clouds_have_none(points: np.ndarray) -> None:
    assert stays(np.unique(points, axis=0)).all()


def test_fins_have_no_haze_and_stay_in_some() -> None:
    """Where others are as far off as a point, it is not alone."""
    points, chance = fins(), np.random.default_rng(4)
    assert stays(points).all()
    hazed = chance.random(len(points)) < 0.06
    kept = stays(points + chance.normal(size=points.shape) * np.where(hazed, 0.01, 0.0003)[:, None])
    assert kept[~hazed].mean() > 0.99 and kept[hazed].mean() < 0.9


def test_more_than_a_quarter_is_no_mistake() -> None:
    """The same haze is one where it is less, and the whole cloud stays where it is more."""
    assert 0.1 < (~stays(hazy(0.18, 0.02))).mean() < MOST
    assert stays(hazy(0.4, 0.02)).all()


@pytest.mark.parametrize("unit", [1e-6, 1e4])
def test_the_unit_does_not_matter(unit: float) -> None:
    points = hazy()
    assert (stays(points * unit) == stays(points)).mean() > 0.9999


def test_points_that_were_not_looked_at_are_told_by_those_that_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "MAX_POINTS", 15_000)
    points = hazy(count=60_000)
    kept, off = on_surfaces(points, lambda stage, share: None), distances(BOX, points)
    assert kept[off > 0.012].mean() < 0.12
    assert kept[off < 3.0 * NOISE].mean() > 0.999


def test_points_closer_together_than_their_noise_is_wide_are_told_by_a_part_of_them() -> None:
    points = hazy(0.08, 0.08, count=120_000, noise=0.008)
    kept, off = stays(points), distances(BOX, points)
    assert kept[off > 0.07].mean() < 0.2
    assert kept[off < 0.024].mean() > 0.999


def test_wires_stay_where_only_a_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "MAX_POINTS", 15_000)
    points = np.concatenate([hazy(0.04, 0.01, count=40_000), 0.2 * wires() + (0.0, 0.0, 0.21)])
    kept = on_surfaces(points, lambda stage, share: None)
    assert kept[40_000:].mean() > 0.8


def test_a_hazy_box_is_a_box() -> None:
    reading = read_surface(hazy(count=40_000), faces=12)
    assert reading.is_closed
    assert 2_000 < reading.strays < 4_000
    assert len(reading.proxies[0].faces) == 12
    assert distances(BOX, reading.box.invert(reading.proxies[0].vertices)).max() < 0.01
