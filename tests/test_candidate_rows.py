"""What the rows of candidates and of regularity show, by hand; test_slices.py compares decoding with training."""

from __future__ import annotations

import numpy as np

from flashmesh_core.candidate_rows import BESIDE, LEVEL, LINE, MIRROR, NEAR, RICHER, candidate_rows_of_mesh
from flashmesh_core.candidates import OF_PROXY, OF_RICHER, make_candidates, no_candidates
from flashmesh_core.mesh.canonical import CanonicalMesh, canonicalize_bins, dequantize

# A square, cut along a diagonal, on a plane of z = 64: the order of its vertices is that of (z, y, x).
SQUARE = np.array([[40, 40, 64], [80, 40, 64], [40, 80, 64], [80, 80, 64]])
FACES = np.array([[0, 1, 3], [0, 3, 2]])


def square() -> CanonicalMesh:
    return canonicalize_bins(SQUARE, FACES, 128)


def ones(row: np.ndarray) -> list[int]:
    return np.flatnonzero(row).tolist()


def test_a_candidate_that_is_a_bin_off_is_shown_until_a_vertex_takes_its_place() -> None:
    places = dequantize(SQUARE + np.array([1, 0, 1]), 128)
    candidates = make_candidates(places, FACES, dequantize(np.array([[60, 60, 66]]), 128), 128)
    assert sorted(candidates.kinds.tolist()) == [OF_PROXY] * 4 + [OF_RICHER]
    rows = candidate_rows_of_mesh(candidates, square(), 0, 2)
    assert ones(rows[0, NEAR]) == [65] and ones(rows[0, RICHER]) == [66]
    assert ones(rows[1, NEAR]) == [40, 80]  # z = 64 is written, a bin below the candidates
    assert ones(rows[2, NEAR]) == [41, 81]
    assert ones(rows[18, NEAR]) == []  # after the last face all places of the proxy are taken
    assert ones(rows[18, RICHER]) == [66]


def test_a_candidate_that_the_order_has_passed_is_shown_no_more() -> None:
    left_out = np.array([[20, 20, 30], [20, 20, 63], [20, 20, 90]])
    candidates = make_candidates(dequantize(left_out, 128), np.zeros((0, 3), np.int64), np.zeros((0, 3)), 128)
    rows = candidate_rows_of_mesh(candidates, square(), 0, 2)
    assert ones(rows[0, NEAR]) == [30, 63, 90]  # nothing is written yet
    assert ones(rows[3, NEAR]) == ones(rows[9, NEAR]) == ones(rows[18, NEAR]) == [63, 90]  # v0 lies at z = 64


def test_what_the_proxy_joins_to_the_face_begun_is_beside_it() -> None:
    candidates = make_candidates(dequantize(SQUARE + 1, 128), FACES, np.zeros((0, 3)), 128)
    rows = candidate_rows_of_mesh(candidates, square(), 0, 2)
    assert ones(rows[2, BESIDE]) == []  # v0 has none
    assert ones(rows[4, BESIDE]) == [41, 81]  # y of v1, z = 64 written
    assert ones(rows[7, BESIDE]) == [81]  # y of v2: what both (40, 40) and (80, 40) are joined to


def test_rows_show_heights_lines_and_mirror_images_of_what_is_written() -> None:
    candidates = make_candidates(dequantize(SQUARE, 128), FACES, np.zeros((0, 3)), 128)
    np.testing.assert_allclose(candidates.mirror, [120.0, 120.0])
    rows = candidate_rows_of_mesh(candidates, square(), 0, 2)
    first, second = rows[:9], rows[9:18]
    assert not first[:3, [LEVEL, LINE, MIRROR]].any()
    assert ones(first[3, LINE]) == [64]  # v0's height
    assert ones(second[7, LEVEL]) == ones(second[7, LINE]) == [40, 80]
    assert ones(second[7, MIRROR]) == [40, 80]
    assert ones(second[8, LINE]) == [80] and ones(second[8, MIRROR]) == [40]  # y = 80: (80, 80) has an image at 40


def test_without_candidates_only_what_is_written_is_shown() -> None:
    rows = candidate_rows_of_mesh(no_candidates(), square(), 0, 2)
    assert not rows[:, [NEAR, RICHER, BESIDE]].any() and rows[:, LEVEL].any()
