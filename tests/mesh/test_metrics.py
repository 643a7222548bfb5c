"""Metrics on point sets worked out by hand, on meshes whose distance is known, and at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.metrics import (
    bounding_box_iou,
    compare_meshes,
    nearest_distances,
)

from .shapes import box, join, sheet, torus

CLOUDS = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(-100, 100, width=32))
CORNERS = np.array([[0.0, 0, 0], [1, 1, 1]])


def test_distances_by_hand() -> None:
    a = np.array([[0.0, 0, 0], [1, 0, 0]])
    b = np.array([[0.0, 0, 0], [1, 0, 3], [0, 4, 0]])
    forth, back = nearest_distances(a, b)
    assert forth.tolist() == [0.0, 1.0] and back.tolist() == [0.0, 3.0, 4.0]  # not squared
    assert not np.concatenate(nearest_distances(a, a)).any()


@given(a=CLOUDS, b=CLOUDS)
def test_against_all_pairs(a: np.ndarray, b: np.ndarray) -> None:
    pairs = np.linalg.norm(a[:, None] - b[None], axis=2)
    forth, back = pairs.min(axis=1), pairs.min(axis=0)
    for got, expected in zip(nearest_distances(a, b), (forth, back), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (CORNERS, CORNERS, 1.0),
        (CORNERS, CORNERS + np.array([0.5, 0, 0]), 1 / 3),
        (CORNERS, CORNERS * 0.5, 1 / 8),
        (CORNERS, CORNERS + 2.0, 0.0),
        (CORNERS * 1e-200, CORNERS * 1e-200 + [0.5e-200, 0, 0], 1 / 3),
        (CORNERS * 1e200, CORNERS * 0.5e200, 1 / 8),
        (CORNERS * [1, 1, 0], CORNERS * [1, 1, 0], 1.0),
        (CORNERS * [1, 1, 0], CORNERS * [1, 0.5, 0], 0.5),
        (CORNERS * [1, 1, 0], CORNERS * [1, 1, 0] + [0, 0, 0.1], 0.0),
        (CORNERS * 0, CORNERS * 0, 1.0),
    ],
)
def test_box_iou_by_hand(a: np.ndarray, b: np.ndarray, expected: float) -> None:
    assert bounding_box_iou(a, b) == pytest.approx(expected, abs=3e-4)
    assert bounding_box_iou(b, a) == pytest.approx(expected, abs=3e-4)


@given(a=CLOUDS, b=CLOUDS)
def test_box_iou_is_a_fraction(a: np.ndarray, b: np.ndarray) -> None:
    assert 0.0 <= bounding_box_iou(a, b) <= 1.0
    assert bounding_box_iou(a, a[::-1]) == 1.0


def test_boxes_that_are_small_for_how_far_apart_they_are_share_nothing() -> None:
    assert bounding_box_iou(np.array([[1.0, -1, -1]]), np.array([[2.0**-52, 0, 0], [0, 0, 0]])) == 0.0


def test_empty_clouds() -> None:
    none = np.zeros((0, 3))
    for pair in ((none, CORNERS), (CORNERS, none), (none, none)):
        assert [len(part) for part in nearest_distances(*pair)] == [0, 0]
    assert bounding_box_iou(none, CORNERS) == 0.0


def test_the_noise_floor_is_what_the_module_says() -> None:
    cube = Mesh(*box())
    results = [compare_meshes(cube, cube, seed=seed) for seed in range(5)]
    assert np.mean([r.chamfer for r in results]) == pytest.approx(0.0346, abs=0.001)
    assert 0.045 < np.mean([r.hausdorff for r in results]) < 0.08
    assert min(r.bbox_iou for r in results) > 0.999
    finer = compare_meshes(cube, cube, samples=20_000)
    assert finer.chamfer == pytest.approx(0.0346 / 2, abs=0.001)


def test_a_known_offset_is_measured_in_shares_of_the_longest_side() -> None:
    vertices, faces = sheet(1, 1)
    source = Mesh(vertices * 40.0, faces)
    lifted = Mesh(vertices * 40.0 + [0, 0, 20.0], faces)
    result = compare_meshes(source, lifted)
    # Every point has a point nearly straight above it, half the longest side away; sampling adds a little.
    assert result.chamfer == pytest.approx(1.0, abs=0.001)
    assert result.hausdorff == pytest.approx(0.5, abs=0.01)
    assert result.bbox_iou == 0.0


def test_the_source_sets_the_scale() -> None:
    small, large = Mesh(*box()), Mesh(*box((2.0, 2.0, 2.0)))
    assert compare_meshes(small, large).bbox_iou == pytest.approx(1 / 8, rel=0.01)
    ratio = compare_meshes(small, large).hausdorff / compare_meshes(large, small).hausdorff
    assert ratio == pytest.approx(2.0, rel=0.1)


def test_moving_and_scaling_both_changes_nothing() -> None:
    source, result = torus(), box()
    plain = compare_meshes(Mesh(*source), Mesh(*result), seed=3)
    moved = compare_meshes(
        Mesh(source[0] * 250.0 - [9, 8, 7], source[1]), Mesh(result[0] * 250.0 - [9, 8, 7], result[1]), seed=3
    )
    assert moved.chamfer == pytest.approx(plain.chamfer, rel=1e-4)
    assert moved.hausdorff == pytest.approx(plain.hausdorff, rel=1e-4)
    assert moved.bbox_iou == pytest.approx(plain.bbox_iou, rel=1e-4)


def test_the_seed_decides() -> None:
    mesh, other = Mesh(*torus()), Mesh(*box())
    assert compare_meshes(mesh, other, seed=5) == compare_meshes(mesh, other, seed=5)
    assert compare_meshes(mesh, other, seed=5) != compare_meshes(mesh, other, seed=6)


def test_vertices_without_a_face_do_not_count() -> None:
    vertices, faces = box()
    stray = Mesh(np.vstack([vertices, [[100.0, 0, 0]]]), faces)
    assert compare_meshes(stray, stray) == compare_meshes(Mesh(vertices, faces), Mesh(vertices, faces))


def test_a_missing_part_and_an_extra_part_both_cost() -> None:
    one, far = box(), (box()[0] + [2.0, 0, 0], box()[1])
    both = Mesh(*join(one, far))
    whole = compare_meshes(both, both)
    missing = compare_meshes(both, Mesh(*one))
    extra = compare_meshes(Mesh(*one), both)
    assert missing.hausdorff > 5 * whole.hausdorff and extra.hausdorff > 5 * whole.hausdorff
    assert missing.bbox_iou == pytest.approx(1 / 3, rel=0.01)


@pytest.mark.parametrize(
    "result",
    [
        Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)),
        Mesh(np.eye(3), np.zeros((0, 3), dtype=np.int64)),
        Mesh(np.eye(3), np.array([[0, 1, 1]])),
        Mesh(np.ones((3, 3)), np.array([[0, 1, 2]])),
    ],
    ids=["nothing", "no faces", "a degenerate face", "no area"],
)
def test_an_empty_result_is_as_bad_as_can_be(result: Mesh) -> None:
    comparison = compare_meshes(Mesh(*box()), result)
    assert comparison.as_dict() == {"chamfer": math.inf, "hausdorff": math.inf, "bbox_iou": 0.0}


@pytest.mark.parametrize(
    ("source", "result", "options", "message"),
    [
        (Mesh(np.eye(3), np.zeros((0, 3), dtype=int)), Mesh(*box()), {}, "source must have at least 1 face"),
        (Mesh(np.ones((3, 3)), np.array([[0, 1, 2]])), Mesh(*box()), {}, "total area above 0"),
        (
            Mesh(*box()),
            Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]])),
            {},
            "result.vertices must be fin",
        ),
        (Mesh(*box()), Mesh(np.eye(3), np.array([[0, 1, 9]])), {}, r"result.faces must .* \[0, 2\]"),
        (Mesh(*box()), Mesh(*box()), {"samples": 0}, r"samples must be in \[1, 50000000\], got 0"),
        (Mesh(*box()), Mesh(*box()), {"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_wrong_input_is_named(source: Mesh, result: Mesh, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_meshes(source, result, **options)


def test_wrong_clouds_are_named() -> None:
    for function in (nearest_distances, bounding_box_iou):
        with pytest.raises(ValueError, match=r"b must have shape \(N, 3\)"):
            function(CORNERS, np.zeros((4, 2)))
        with pytest.raises(ValueError, match="a must be finite, got 2 rows"):
            function(CORNERS * np.nan, CORNERS)
