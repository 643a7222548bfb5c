"""Clouds of samples to surfaces."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.reconstruction import Reconstruction, reconstruct
from tests.surface.shapes import cloud_of


def as_trimesh(made: Reconstruction | None) -> trimesh.Trimesh:
    assert made is not None
    return trimesh.Trimesh(made.mesh.vertices, made.mesh.faces)


def box(x: float, y: float, z: float) -> trimesh.Trimesh:
    return trimesh.creation.box(extents=(x, y, z))


SPHERE = trimesh.creation.icosphere(subdivisions=5, radius=0.45)
TORUS = trimesh.creation.torus(0.35, 0.12, major_sections=96, minor_sections=48)


@pytest.mark.parametrize("given", [True, False], ids=["normals", "bare"])
@pytest.mark.parametrize("shape", [SPHERE, TORUS, box(0.9, 0.7, 0.5)], ids=["sphere", "torus", "box"])
def test_a_noisy_cloud_becomes_its_closed_surface(shape: trimesh.Trimesh, given: bool) -> None:
    points, normals = cloud_of(shape, 20_000, 0.002)
    result = reconstruct(points, normals if given else None)
    made = as_trimesh(result)
    assert result is not None
    assert result.is_closed and made.is_watertight
    assert made.euler_number == shape.euler_number
    assert abs(made.volume / shape.volume - 1.0) < 0.02
    assert 0.0015 < result.noise < 0.003
    distance = cKDTree(cloud_of(shape, 200_000)[0]).query(made.vertices)[0]  # 0.001 more than from the surface
    assert distance.mean() < 0.0025 and distance.max() < 0.02


def test_the_noise_of_a_clean_cloud_is_small_and_the_gap_follows_the_count() -> None:
    few, many = (reconstruct(*cloud_of(SPHERE, count)) for count in (4_000, 36_000))
    assert few is not None and many is not None
    assert many.noise < few.noise < 0.003  # the curvature within the neighborhoods counts as noise
    assert few.gap / many.gap == pytest.approx(3.0, rel=0.1)
    assert few.is_closed and many.is_closed


@pytest.mark.parametrize("given", [True, False], ids=["normals", "bare"])
def test_a_hole_in_the_samples_of_a_closed_surface_is_closed(given: bool) -> None:
    points, normals = cloud_of(SPHERE, 20_000, 0.001)
    kept = np.linalg.norm(points - (0.0, 0.45, 0.0), axis=1) > 0.06
    made = as_trimesh(reconstruct(points[kept], normals[kept] if given else None))
    assert made.is_watertight and made.euler_number == 2
    radius = np.linalg.norm(made.vertices, axis=1)
    assert 0.43 < radius.min() <= radius.max() < 0.47


@pytest.mark.parametrize(("middle", "most"), [((0.1, 0.35, 0.1), 0.0003), ((0.1, 0.35, 0.25), 0.001)])
def test_what_closes_a_hole_goes_on_as_its_border_begins(middle: tuple[float, float, float], most: float) -> None:
    """By the winding number alone it is 0.00044 off on a side, and 0.0061 at an edge."""
    shape = box(0.9, 0.7, 0.5)
    points, _ = cloud_of(shape, 30_000, 0.001)
    made = as_trimesh(reconstruct(points[np.linalg.norm(points - middle, axis=1) > 0.06], None))
    inside = made.vertices[np.linalg.norm(made.vertices - middle, axis=1) < 0.05]
    off = TriangleTree.of_mesh(np.asarray(shape.vertices), np.asarray(shape.faces)).distance(inside)
    assert made.is_watertight and len(inside) > 50 and off.mean() < most


@pytest.mark.parametrize("thickness", [0.03, 0.01])
def test_a_thin_slab_keeps_both_its_sides(thickness: float) -> None:
    slab = box(0.9, 0.9, thickness)
    made = as_trimesh(reconstruct(*cloud_of(slab, 16_384, 0.0005)))
    assert made.is_watertight and made.body_count == 1
    assert made.volume == pytest.approx(slab.volume, rel=0.1)


def test_the_sides_of_a_slab_of_about_a_cell_are_flat() -> None:
    """The winding number between them rises and falls with the samples; the surface must not."""
    made = as_trimesh(reconstruct(*cloud_of(box(0.9, 0.9, 0.0078), 16_384, 0.0005)))
    upper = (np.abs(made.vertices[:, :2]).max(axis=1) < 0.4) & (made.vertices[:, 2] > 0.0)
    height = made.vertices[upper, 2]
    assert upper.sum() > 5_000
    assert height.mean() == pytest.approx(0.0039, abs=0.0002)
    assert height.std() < 0.0003


@pytest.mark.parametrize("turn", [0.0, 0.3], ids=["along the grid", "across it"])
def test_a_slab_thinner_than_a_cell_stays_whole(turn: float) -> None:
    slab = box(0.9, 0.9, 0.005)  # of 1 / 160
    slab.apply_transform(trimesh.transformations.rotation_matrix(turn, (1.0, 0.4, 0.0)))
    made = as_trimesh(reconstruct(*cloud_of(slab, 16_384, 0.0003)))
    assert made.is_watertight and made.body_count == 1
    assert made.area == pytest.approx(slab.area, rel=0.05)
    off, _ = TriangleTree.of_mesh(np.asarray(slab.vertices), np.asarray(slab.faces)).nearest(made.vertices)
    assert np.quantile(off, 0.95) < 0.002  # half of what 1.3 cells are thicker, and noise


def test_normals_count_where_a_few_contradict_each_other() -> None:
    """Two boxes set side by side: the sides that touch contradict each other, all others tell where inside is."""
    parts = trimesh.util.concatenate([box(0.4, 0.6, 0.2), box(0.4, 0.6, 0.2).apply_translation((0.4, 0.0, 0.0))])
    points, normals = cloud_of(parts, 16_384, 0.0005)
    contradicting = (np.abs(points[:, 0] - 0.2) < 0.01) & (np.abs(normals[:, 0]) > 0.9)
    assert 0.05 < contradicting.mean() < 0.2
    made = as_trimesh(reconstruct(points, normals))
    assert made.is_watertight and made.volume == pytest.approx(0.8 * 0.6 * 0.2, rel=0.02)
    turned = as_trimesh(reconstruct(points, -normals))
    assert turned.volume < 0.0  # inside out, as it was given


@pytest.mark.parametrize("given", [True, False], ids=["normals", "bare"])
def test_an_open_sheet_stays_open(given: bool) -> None:
    half = SPHERE.copy()
    half.update_faces(half.triangles_center[:, 2] > 0.0)
    points, normals = cloud_of(half, 16_384, 0.0005)
    result = reconstruct(points, normals if given else None)
    made = as_trimesh(result)
    assert result is not None and not result.is_closed
    assert made.body_count == 1
    assert abs(made.area / half.area - 1.0) < 0.06
    assert made.vertices[:, 2].min() > -0.03


def test_a_flat_sheet_is_one_layer() -> None:
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (10_000, 3)) * (1.0, 1.0, 0.0)
    made = as_trimesh(reconstruct(points, np.tile((0.0, 0.0, 1.0), (10_000, 1))))
    assert abs(made.area - 1.0) < 0.08
    assert not made.is_watertight


def test_two_parts_stay_two() -> None:
    parts = trimesh.util.concatenate([box(0.4, 0.4, 0.4).apply_translation((x, 0, 0)) for x in (-0.3, 0.3)])
    made = as_trimesh(reconstruct(cloud_of(parts, 20_000, 0.001)[0], None))
    assert made.body_count == 2 and made.is_watertight
    assert made.volume == pytest.approx(2 * 0.4**3, rel=0.03)


@pytest.mark.parametrize("given", [True, False], ids=["normals", "bare"])
def test_of_many_parts_none_is_a_fragment(given: bool) -> None:
    """Each of sixty-four boxes has less than two hundredths of all triangles."""
    boxes = [
        box(0.09, 0.07, 0.06).apply_translation([0.125 * i - 0.44, 0.125 * j - 0.44, 0.0]) for i, j in np.ndindex(8, 8)
    ]
    points, normals = cloud_of(trimesh.util.concatenate(boxes), 40_000)
    made = as_trimesh(reconstruct(points, normals if given else None))
    assert made.body_count == 64 and made.is_watertight


@pytest.mark.parametrize("given", [True, False], ids=["normals", "bare"])
def test_small_parts_that_stand_apart_stay(given: bool) -> None:
    """Balls of a thousandth to a hundredth of the triangles, beside a box."""
    parts = [box(0.9, 0.5, 0.35)]
    for k, x in enumerate((-0.4, -0.2, 0.0, 0.2, 0.4)):
        ball = trimesh.creation.icosphere(subdivisions=3, radius=0.015 * (1.0 + 0.25 * k))
        parts.append(ball.apply_translation((x, 0.0, 0.3)))
    points, normals = cloud_of(trimesh.util.concatenate(parts), 40_000, 0.0005)
    made = as_trimesh(reconstruct(points, normals if given else None))
    assert made.body_count == 6 and made.is_watertight


@pytest.mark.parametrize("count", [1, 4])
def test_what_surrounds_a_few_strays_goes_however_large_it_is(count: int) -> None:
    points, _ = cloud_of(box(0.9, 0.5, 0.35), 5_000, 0.001)
    strays = np.random.default_rng(3).normal(size=(count, 3)) * 0.02 + (0.0, 0.0, 0.4)
    made = as_trimesh(reconstruct(np.concatenate([points, strays]), None))
    assert made.body_count == 1 and made.is_watertight and made.vertices[:, 2].max() < 0.22


def test_uneven_density_leaves_no_holes() -> None:
    points, normals = cloud_of(SPHERE, 40_000)
    kept = np.random.default_rng(1).random(len(points)) < np.where(points[:, 0] > 0.0, 1.0, 0.1)
    made = as_trimesh(reconstruct(points[kept], normals[kept]))
    assert made.is_watertight
    assert made.volume == pytest.approx(SPHERE.volume, rel=0.02)


@pytest.mark.parametrize("share", [0.02, 0.04, 0.08, 0.2])
def test_flipped_normals_are_turned_back(share: float) -> None:
    points, normals = cloud_of(SPHERE, 12_000)
    normals[np.random.default_rng(2).random(len(normals)) < share] *= -1.0
    made = as_trimesh(reconstruct(points, normals))
    assert made.is_watertight and made.euler_number == 2
    assert made.volume == pytest.approx(SPHERE.volume, rel=0.02)


def test_many_points_are_averaged() -> None:
    made = reconstruct(cloud_of(SPHERE, 400_000, 0.005)[0], None)
    radius = np.linalg.norm(as_trimesh(made).vertices, axis=1)
    assert made is not None and made.is_closed
    assert abs(radius - 0.45).mean() < 0.001


def test_nothing_to_see_gives_none() -> None:
    assert reconstruct(np.zeros((0, 3)), None) is None
    assert reconstruct(np.zeros((100, 3)), None) is None
    assert reconstruct(np.random.default_rng(0).random((10, 3)), None) is None
    assert reconstruct(np.random.default_rng(0).random((100, 3)) - 0.5, np.zeros((100, 3))) is None


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="normals must be as many as points"):
        reconstruct(np.random.default_rng(0).random((100, 3)), np.ones((99, 3)))
    with pytest.raises(ValueError, match="points"):
        reconstruct(np.full((100, 3), np.nan), None)


def test_progress_can_cancel_at_every_stage() -> None:
    points, _ = cloud_of(SPHERE, 4_000, 0.001)
    stages: list[str] = []
    reconstruct(points, None, progress=lambda stage, fraction: stages.append(stage))
    assert len(set(stages)) >= 6

    class Cancelled(Exception):
        pass

    for wanted in dict.fromkeys(stages):

        def cancel(stage: str, fraction: float, wanted: str = wanted) -> None:
            if stage == wanted:
                raise Cancelled

        with pytest.raises(Cancelled):
            reconstruct(points, None, progress=cancel)
