"""Small parts go where they cost more faces than they show, the large ones keep theirs."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import component_labels, topology_report
from flashmesh_core.surface.denoising import denoise
from flashmesh_core.surface.loose_parts import MOST_FACES, costs_of_parts, large_and_apart
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.simplification import proxies
from tests.surface.shapes import box, box_corners, box_distance, cards, cube, grid, joined, sphere, voxels

HALF = np.array([0.4, 0.3, 0.2])
CORNERS = box_corners(HALF)
STEM = Mesh(sphere(100, 61).vertices * (0.2, 0.2, 2.0), sphere(100, 61).faces)


def crumb(place: tuple[float, float, float], size: float = 0.02) -> Mesh:
    return Mesh(cube().vertices * size + place, cube().faces)


def costs(parts: list[Mesh]) -> np.ndarray:
    """What each part costs, its weight spread over its vertices by its area."""
    vertices, faces = joined(*parts)
    labels = np.repeat(np.arange(len(parts)), [len(part.faces) for part in parts])
    cross = np.cross(*(vertices[faces[:, k]] - vertices[faces[:, 0]] for k in (1, 2)))
    weights = np.zeros(len(vertices))
    for corner in range(3):
        np.add.at(weights, faces[:, corner], np.linalg.norm(cross, axis=1) / 6.0)
    sizes = np.array([np.ptp(part.vertices, axis=0).max() for part in parts])
    return costs_of_parts(vertices, faces.astype(np.int32), weights, labels, sizes, power=0.5, reach=0.05)


def test_what_lies_near_is_cheaper_than_what_lies_far() -> None:
    """A crumb of area 0.0024 is 0 to 0.02 from the ball, or 0.01 to 0.03, counted up to 0.02. Two of 12 faces go.

    The larger one, of 0.1, is 0.2 to 0.3 away, which counts as 0.1: what is left behind by more than 0.05 is dearer by
    the fourth power.
    """
    ball = Mesh(sphere(80, 41).vertices * 0.6, sphere(80, 41).faces)
    near, far, large = costs([ball, crumb((0.0, 0.0, 0.31)), crumb((0.0, 0.0, 0.32)), crumb((0.0, 0.0, 0.55), 0.1)])[1:]
    assert near == pytest.approx(np.sqrt(0.0024) / 6.0 * 0.02**2 * (0 + 1 + 4 / 3) / 6.0, rel=0.1)
    assert far == pytest.approx(np.sqrt(0.0024) / 6.0 * 0.02**2 * (1 / 4 + 1 + 4 * 0.79) / 6.0, rel=0.1)
    assert large == pytest.approx(np.sqrt(0.06) / 6.0 * 0.1**2 * 2.0**4, rel=0.1)


def test_a_beam_is_missed_between_what_its_ends_touch() -> None:
    """All of its vertices lie on the two plates that stay."""
    plate = grid(4)
    ends = [Mesh(plate.vertices[:, [2, 0, 1]] + (x, 0.0, 0.0), plate.faces) for x in (-0.15, 0.15)]
    beam = costs([*ends, box(0.3, 0.02, 0.02)])[2]
    assert beam == pytest.approx(np.sqrt(4 * 0.3 * 0.02) / 6.0 * 0.15**2 / 3.0 * 2.0**4, rel=0.4)


def test_nothing_is_missed_farther_than_it_is_long() -> None:
    """However far away a crumb floats, a ball needs its faces more."""
    ball = Mesh(sphere(80, 41).vertices * 0.6, sphere(80, 41).faces)
    near, far = costs([ball, crumb((0.0, 0.0, 0.34)), crumb((0.0, 0.0, 9.0))])[1:]
    assert near == pytest.approx(far, rel=1e-6)


def test_the_heaviest_part_and_those_of_many_faces_stay() -> None:
    assert np.isfinite(costs([crumb((0, 0, 0)), crumb((0.1, 0, 0), 0.04)])).tolist() == [True, False]
    small = Mesh(sphere(20, 11).vertices * 0.01, sphere(20, 11).faces)
    assert len(small.faces) > MOST_FACES
    assert np.isinf(costs([sphere(20, 11), small])).all()


@pytest.mark.parametrize(("count", "parts"), [(12, 1), (16, 2), (36, 7)])
def test_a_box_among_crumbs_keeps_its_corners(count: int, parts: int) -> None:
    """Six crumbs of four faces each are there where the box does not need these."""
    places = [(0.1, 0.1, 0.24), (-0.2, 0.1, 0.24), (0.2, -0.2, 0.24), (0.1, 0.1, -0.24), (0, 0, -0.24), (0, 0.34, 0)]

    def field(points: np.ndarray) -> np.ndarray:
        pieces = [np.linalg.norm(points - np.array(place), axis=-1) - 0.025 for place in places]
        return np.min([box_distance(HALF)(points), *pieces], axis=0)

    found = proxies(denoise(voxels(field, 96), wanted=count), [count])[0]
    report = topology_report(found.vertices, found.faces)
    assert report.n_components == parts and report.is_watertight and len(found.faces) <= count
    assert cKDTree(found.vertices).query(CORNERS)[0].max() < 0.012


def test_a_part_that_stands_alone_stays() -> None:
    """It costs a third of the faces, and without it the source would not be there."""

    def field(points: np.ndarray) -> np.ndarray:
        return np.minimum(box_distance(HALF)(points), box_distance((0.04, 0.04, 0.04))(points - np.array([0, 0, 0.4])))

    found = proxies(denoise(voxels(field, 96), wanted=24), [24])[0]
    assert topology_report(found.vertices, found.faces).n_components == 2


def faces_of_parts(mesh: Mesh) -> np.ndarray:
    """How many faces each part has, (P,)."""
    labels = component_labels(len(mesh.vertices), mesh.faces[:, [0, 1, 1, 2]].reshape(-1, 2))
    return np.unique(labels[mesh.faces[:, 0]], return_counts=True)[1]


@pytest.mark.parametrize("count", [400, 2_000])
def test_leaves_stay_whole_while_there_are_faces(count: int) -> None:
    """1,000 of them, which have three fifths of the area, on a stem: two faces for each that there is room for.

    The stem has a tenth of the faces at the least, but by far not its two fifths: leaves are missed more.
    """
    reading = read_surface(Mesh(*joined(STEM, cards(1_000))), faces=count)
    own = faces_of_parts(reading.proxies[0])
    assert not reading.is_closed and 0.9 * count <= own.sum() <= count
    assert 0.1 * count <= own.max() <= 0.25 * count and (own == 2).sum() >= 0.9 * (count - own.max()) / 2


def test_where_parts_do_not_fit_the_count_is_used() -> None:
    """Twenty-two bars of at least four faces each, and no more than 60 wanted: fifteen stay."""
    bar = trimesh.creation.box((0.9, 0.02, 0.02)).subdivide_to_size(0.03)
    aside = np.array([0.0, 0.045, 0.0])
    bars = [Mesh(np.asarray(bar.vertices) + k * aside, np.asarray(bar.faces)) for k in range(22)]
    found = read_surface(Mesh(*joined(*bars)), faces=60).proxies[0]
    assert 54 <= len(found.faces) <= 60 and (faces_of_parts(found) >= 4).all()


def test_of_parts_alike_those_stay_that_are_apart() -> None:
    """Of 200 along a line 20 stay, no two nearer than half of an even distance, and none is far from all of them."""
    rng = np.random.default_rng(0)
    middles = np.zeros((200, 3))
    middles[:, 0] = rng.permutation(200)
    stays = large_and_apart(rng.uniform(0.95, 1.05, 200), middles, np.full(200, 2.0), 40)
    places = np.sort(middles[stays, 0])
    assert stays.sum() == 20
    assert np.diff(places).min() >= 5.0 and cKDTree(middles[stays]).query(middles)[0].max() <= 10.0


def test_larger_parts_stay_before_those_that_are_apart() -> None:
    """Two that are side by side stay before a small one far away, and one stays even where there is no room for it."""
    middles = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [9.0, 0.0, 0.0]])
    sizes = np.array([1.0, 1.0, 0.4])
    assert large_and_apart(sizes, middles, np.full(3, 2.0), 4).tolist() == [True, True, False]
    assert large_and_apart(sizes, middles, np.full(3, 2.0), 1).sum() == 1
    assert large_and_apart(sizes, middles, np.full(3, 2.0), 6).all()


def test_a_tree_with_few_faces_keeps_leaves_everywhere() -> None:
    """1,000 leaves of one size in a unit ball, of which about 90 fit: by sizes alone 0.65 around one is bare."""
    leaves = cards(1_000)
    reading = read_surface(Mesh(*joined(STEM, leaves)), faces=250)
    found = Mesh(reading.box.invert(reading.proxies[0].vertices), reading.proxies[0].faces)
    assert cKDTree(found.triangles.mean(axis=1)).query(leaves.triangles.mean(axis=1))[0].max() < 0.55


def test_where_more_parts_are_more_stay() -> None:
    """A heap thins out outwards. Parts chosen for their distances alone are 0.68 from all of it on the mean."""
    middles = np.random.default_rng(0).normal(size=(500, 3))
    stays = large_and_apart(np.ones(500), middles, np.full(500, 2.0), 80)
    assert stays.sum() == 40
    assert cKDTree(middles[stays]).query(middles)[0].mean() < 0.6
