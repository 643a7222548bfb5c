"""Half-edges against definitions written out by hand and against an obvious slow version."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flashmesh_core.mesh.half_edge import NO_TWIN, build_half_edges, degenerate_faces

from .shapes import box, moebius, sheet, torus

FACES = arrays(np.int64, st.tuples(st.integers(0, 14), st.just(3)), elements=st.integers(0, 6))


def test_two_triangles_by_hand() -> None:
    half = build_half_edges(np.array([[0, 1, 2], [2, 1, 3]]))
    np.testing.assert_array_equal(half.origin, [0, 1, 2, 2, 1, 3])
    np.testing.assert_array_equal(half.target, [1, 2, 0, 1, 3, 2])
    np.testing.assert_array_equal(half.face, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(half.next, [1, 2, 0, 4, 5, 3])
    np.testing.assert_array_equal(half.previous, [2, 0, 1, 5, 3, 4])
    np.testing.assert_array_equal(half.twin, [NO_TWIN, 3, NO_TWIN, 1, NO_TWIN, NO_TWIN])
    np.testing.assert_array_equal(half.edges, [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]])
    np.testing.assert_array_equal(half.edge, [0, 2, 1, 2, 3, 4])
    np.testing.assert_array_equal(half.face_count, [1, 1, 2, 1, 1])
    np.testing.assert_array_equal(half.edge_is_boundary, [True, True, False, True, True])
    assert not (half.edge_is_branching | half.edge_is_flipped).any()
    pairs, flipped = half.face_pairs()
    assert pairs.tolist() == [[0, 1]] and flipped.tolist() == [False]


def test_a_directed_edge_used_twice_is_flipped_and_has_no_twin() -> None:
    half = build_half_edges(np.array([[0, 1, 2], [1, 2, 3]]))
    shared = half.edges.tolist().index([1, 2])
    assert half.edge_is_flipped[shared]
    assert not half.edge_is_branching.any() and not half.edge_is_boundary[shared]
    assert (half.twin == NO_TWIN).all()
    assert half.face_pairs()[1].tolist() == [True]


def test_three_faces_at_an_edge_branch_and_have_no_twin() -> None:
    half = build_half_edges(np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]]))
    shared = half.edges.tolist().index([0, 1])
    assert half.edge_is_branching.sum() == 1 and half.edge_is_branching[shared] and half.face_count[shared] == 3
    assert (half.twin == NO_TWIN).all()
    assert len(half.face_pairs()[0]) == 0


@pytest.mark.parametrize("mesh", [box(), torus()], ids=["box", "torus"])
def test_a_closed_mesh_has_every_twin(mesh: tuple[np.ndarray, np.ndarray]) -> None:
    half = build_half_edges(mesh[1], len(mesh[0]))
    assert (half.twin != NO_TWIN).all()
    assert len(half.edges) * 2 == len(half.origin)
    assert not (half.edge_is_boundary | half.edge_is_branching | half.edge_is_flipped).any()


def test_the_border_of_a_sheet_is_one_loop() -> None:
    vertices, faces = sheet(5, 3)
    half = build_half_edges(faces, len(vertices))
    border = half.edge_is_boundary[half.edge]
    assert border.sum() == 2 * (5 + 3)
    step = dict(zip(half.origin[border].tolist(), half.target[border].tolist(), strict=True))
    vertex, seen = 0, 0
    while seen == 0 or vertex != 0:
        vertex, seen = step[vertex], seen + 1
    assert seen == border.sum()


def test_a_moebius_strip_must_have_a_flipped_edge() -> None:
    half = build_half_edges(moebius()[1])
    assert half.edge_is_flipped.any() and not half.edge_is_branching.any()


@given(faces=FACES)
def test_against_the_slow_version(faces: np.ndarray) -> None:
    faces = faces[~degenerate_faces(faces)]
    half = build_half_edges(faces, 7)
    directed = Counter((int(f[k]), int(f[(k + 1) % 3])) for f in faces for k in range(3))
    undirected: Counter[tuple[int, int]] = Counter()
    for (a, b), uses in directed.items():
        undirected[min(a, b), max(a, b)] += uses
    assert [tuple(edge) for edge in half.edges.tolist()] == sorted(undirected)
    for h in range(len(half.origin)):
        a, b = int(half.origin[h]), int(half.target[h])
        uses = undirected[min(a, b), max(a, b)]
        assert half.edges[half.edge[h]].tolist() == [min(a, b), max(a, b)]
        assert half.face_count[half.edge[h]] == uses
        assert half.edge_is_boundary[half.edge[h]] == (uses == 1)
        assert half.edge_is_branching[half.edge[h]] == (uses > 2)
        assert half.edge_is_flipped[half.edge[h]] == (uses == 2 and directed[a, b] != 1)
        has_twin = uses == 2 and directed[a, b] == 1
        assert (half.twin[h] != NO_TWIN) == has_twin
        if has_twin:
            twin = half.twin[h]
            assert half.twin[twin] == h and half.origin[twin] == b and half.target[twin] == a
        assert half.origin[half.next[h]] == b and half.next[half.previous[h]] == h
        assert half.face[half.next[h]] == half.face[h]


def test_no_faces_is_an_empty_structure() -> None:
    half = build_half_edges(np.zeros((0, 3), dtype=np.int64))
    assert len(half.origin) == len(half.edges) == len(half.face_pairs()[0]) == 0


@pytest.mark.parametrize(
    ("faces", "n_vertices", "message"),
    [
        ([[0, 1, 1]], None, "three different vertices each, got 1"),
        ([[0, 1, 2]], 2, r"indices in \[0, 1\], got 0 to 2"),
        ([[-1, 1, 2]], None, "got -1 to 2"),
        ([[0, 1]], None, r"shape \(F, 3\), got \(1, 2\)"),
        ([[0.5, 1.0, 2.0]], None, "integers, got float64"),
    ],
)
def test_wrong_faces_are_named(faces: list, n_vertices: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_half_edges(np.array(faces), n_vertices)
