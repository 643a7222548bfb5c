"""Strays are told from surfaces, however dense these are."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from flashmesh_core.surface import strays
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.strays import on_surfaces
from tests.surface.shapes import cloud_of, distances

BOX = trimesh.creation.box((1.0, 0.6, 0.4))
TORUS = trimesh.creation.torus(0.4, 0.1)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def stays(points: np.ndarray) -> np.ndarray:
    return on_surfaces(points, lambda stage, share: None)


def sparser(times: int) -> np.ndarray:
    points = cloud_of(BOX, 20_000)[0]
    return points[(points[:, 0] < 0.0) | (rng().random(len(points)) < 1.0 / times)]


def wire() -> np.ndarray:
    """Sixty points in a line that rises from a box, each ten times as far from the next as those of the box are."""
    line = np.zeros((60, 3))
    line[:, 2] = 0.2 + np.linspace(0.0, 1.0, 60)
    return np.concatenate([cloud_of(BOX, 20_000)[0], line])


def statue() -> np.ndarray:
    """On a ground of a tenth of its density."""
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.2).apply_translation((0.0, 0.0, 0.3))
    ground = rng().uniform(-1.0, 1.0, (2_000, 3)) * (1.0, 1.0, 0.0)
    return np.concatenate([ground, cloud_of(ball, 20_000)[0]])


def tip() -> np.ndarray:
    """The vertices of a coarse cone: a stray among thousands of points, not among so few."""
    around = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
    return np.append(np.stack([np.cos(around), np.sin(around), 0.0 * around], axis=1), [[0.0, 0.0, 1.0]], axis=0)


def leaves() -> np.ndarray:
    """Around a trunk, as many as a quarter of its points, in no plane."""
    trunk = cloud_of(trimesh.creation.cylinder(0.05, 1.0), 8_000)[0]
    return np.concatenate([trunk, rng().normal(size=(2_000, 3)) * 0.3 + (0.0, 0.0, 0.8)])


SURFACES = {
    "even": lambda: cloud_of(TORUS, 5_000)[0],
    "noise as wide as the gaps": lambda: cloud_of(BOX, 20_000, 0.02)[0],
    "a sixteenth of the density on one side": lambda: sparser(16),
    "copies": lambda: np.asarray(BOX.subdivide_to_size(0.05).triangles).reshape(-1, 3),
    "poles": lambda: np.asarray(trimesh.creation.uv_sphere(0.5, count=(100, 60)).vertices),
    "lines": lambda: np.stack(np.meshgrid(np.arange(20) * 30.0, np.arange(600.0), [0.0]), axis=-1).reshape(-1, 3),
    "wire": wire,
    "statue": statue,
    "leaves": leaves,
    "few": tip,
    "one place": lambda: np.zeros((300, 3)),
}


@pytest.mark.parametrize("name", SURFACES)
def test_of_surfaces_nothing_is_left_out(name: str) -> None:
    assert stays(SURFACES[name]()).all()


@pytest.mark.parametrize("share", [0.003, 0.03, 0.1])
@pytest.mark.parametrize("shape", [BOX, TORUS], ids=["box", "torus"])
@pytest.mark.parametrize("offset", [0.0, 5e6])
def test_strays_anywhere_are_found(shape: trimesh.Trimesh, share: float, offset: float) -> None:
    """All that are further than four gaps, and none of the others."""
    count = 6_000
    points, strewn = cloud_of(shape, count, 0.001)[0], rng().uniform(-0.7, 0.7, (int(share * count), 3))
    kept = stays(np.concatenate([points, strewn]) + offset)
    gap = cKDTree(points).query(points, k=7)[0][:, -1].mean()
    assert kept[:count].all() and not kept[count:].all()
    assert distances(shape, strewn[kept[count:]]).max(initial=0.0) < 4.5 * gap


def blobs(count: int, reach: float, radius: float = 0.006) -> np.ndarray:
    """Dense small balls of 40 points, so far away."""
    way = rng().normal(size=(count, 40, 3))
    way *= radius / np.linalg.norm(way, axis=2, keepdims=True)
    places = rng().normal(size=(count, 1, 3))
    return (places * reach / np.linalg.norm(places, axis=2, keepdims=True) + way).reshape(-1, 3)


@pytest.mark.parametrize(("count", "reach"), [(1, 0.8), (30, 0.8), (3, 500.0)])
def test_small_clusters_far_from_the_rest_are_found(count: int, reach: float) -> None:
    points = cloud_of(BOX, 20_000, 0.001)[0]
    kept = stays(np.concatenate([points, blobs(count, reach)]))
    assert kept[:20_000].all() and not kept[20_000:].any()


def test_clusters_that_are_large_near_or_many_stay() -> None:
    points = cloud_of(BOX, 20_000, 0.001)[0]
    near, nearer = np.array([0.0, 0.0, 0.241]), np.array([0.0, 0.0, 0.212])
    for others in (
        blobs(1, 0.8) * (1.0, 1.0, 10.0),
        blobs(1, 0.0) + near,
        blobs(1, 0.0) + nearer,
        blobs(600, 2.0, 0.012),
    ):
        assert stays(np.concatenate([points, others])).all()


def test_what_a_camera_did_not_see_is_one_stray() -> None:
    """It is often at the origin, thousands of times."""
    points = np.concatenate([cloud_of(BOX, 5_000)[0] + (0.0, 0.0, 3.0), np.zeros((2_000, 3))])
    kept = stays(points)
    assert kept[:5_000].all() and not kept[5_000:].any()


def test_of_many_points_all_are_judged_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "MAX_POINTS", 4_000)
    points, strewn = cloud_of(BOX, 40_000, 0.001)[0], rng().uniform(0.6, 9.0, (40, 3))
    kept = stays(np.concatenate([points, strewn]))
    assert not kept[40_000:].any() and (~kept[:40_000]).sum() <= 4


def test_what_is_read_is_the_shape_in_its_own_box() -> None:
    """One part without bumps, though the points strewn about would make fifty and a far one a dot of them all."""
    points, normals = cloud_of(BOX, 10_000, 0.001)
    strewn = np.concatenate([rng().uniform(-0.7, 0.7, (60, 3)), [[900.0, 0.0, 0.0]]])
    noise = rng().normal(size=strewn.shape)
    facing = np.concatenate([normals, noise / np.linalg.norm(noise, axis=1, keepdims=True)])
    for given in (None, facing):
        reading = read_surface(np.concatenate([points, strewn]), given, faces=100)
        assert reading.box.scale < 1.1 and reading.strays >= 40
        surface = reading.box.invert(reading.surface.vertices)
        assert reading.is_closed and distances(BOX, surface).max() < 0.02
        assert distances(BOX, reading.box.invert(reading.proxies[0].vertices)).max() < 0.02


def test_a_cloud_may_be_read_as_it_is() -> None:
    points = np.append(cloud_of(BOX, 3_000)[0], [[90.0, 0.0, 0.0]], axis=0)
    assert [read_surface(points, faces=20, clean_up=clean).box.scale > 90.0 for clean in (False, True)] == [True, False]
