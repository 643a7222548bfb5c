"""The table of open half-edges: equal to its definition after any pushes and pops; candidates by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashmesh_core.mesh.open_half_edges import OpenHalfEdges

Face = tuple[int, int, int]
FACES = st.tuples(*[st.integers(0, 6)] * 3).filter(lambda face: len(set(face)) == 3)
STEPS = st.lists(st.one_of(FACES, st.just("pop")), max_size=60)


def neighbours(edges: set[tuple[int, int]], at: int) -> dict[int, set[int]]:
    """For every vertex at place `at` of some edge, the vertices at the other place."""
    found: dict[int, set[int]] = {}
    for edge in edges:
        found.setdefault(edge[at], set()).add(edge[1 - at])
    return found


def assert_is_the_table_of(table: OpenHalfEdges, faces: list[Face]) -> None:
    """Every look-up follows from the faces by its definition."""
    uses = Counter(edge for a, b, c in faces for edge in ((a, b), (b, c), (c, a)))
    still_open = {(a, b) for a, b in uses if (b, a) not in uses}
    assert table.faces == faces
    assert table.uses == dict(uses)
    assert {a: b for a, b in table.after.items() if b} == neighbours(set(uses), 0)
    assert {b: a for b, a in table.before.items() if a} == neighbours(set(uses), 1)
    assert table.leaving == neighbours(still_open, 0)
    assert table.entering == neighbours(still_open, 1)
    assert table.open_vertices == sorted({vertex for edge in still_open for vertex in edge})
    assert table.degree == dict(Counter(vertex for face in faces for vertex in face))


@given(steps=STEPS)
def test_any_pushes_and_pops_equal_the_definition(steps: list[Face | str]) -> None:
    table, faces = OpenHalfEdges(), []
    for step in steps:
        if isinstance(step, tuple):
            table.push(step)
            faces.append(step)
        elif faces:
            assert table.pop() == faces.pop()
        assert_is_the_table_of(table, faces)


@given(faces=st.lists(FACES, max_size=12))
def test_look_ups(faces: list[Face]) -> None:
    table = OpenHalfEdges()
    for face in faces:
        table.push(face)
    used = {edge for a, b, c in faces for edge in ((a, b), (b, c), (c, a))}
    for a in range(7):
        assert table.v1_banned(a) == {b for b in range(7) if (a, b) in used}
        for b in range(7):
            assert table.is_used(a, b) == ((a, b) in used)
            assert table.v2_banned(a, b) == {c for c in range(7) if (b, c) in used or (c, a) in used}


def test_popping_an_empty_table_fails() -> None:
    with pytest.raises(IndexError):
        OpenHalfEdges().pop()


def strip() -> OpenHalfEdges:
    """Two triangles 0 1 2 and 1 3 2, joined along 1-2: the open edges are 0->1, 1->3, 3->2, 2->0."""
    table = OpenHalfEdges()
    table.push((0, 1, 2))
    table.push((1, 3, 2))
    return table


def test_v1_suggestions_by_hand() -> None:
    # 2->0 is open, so v1 = 2 closes it. One edge further from 2 lies 3; from 1 too. 1 itself is out: 0->1 is used.
    assert strip().v1_suggestions(0) == ([2], [3])
    # 0->1 comes from below 1, so no v1 closes it. 1->3 leads on to 2, but 1->2 is used.
    assert strip().v1_suggestions(1) == ([], [])
    table = strip()
    table.push((3, 4, 5))  # open at 3 beside 1->3 and 3->2
    assert table.v1_suggestions(1) == ([], [4, 5])  # one edge from 3; 2 is out still
    assert strip().v1_suggestions(9) == ([], [])


def test_v2_suggestions_by_hand() -> None:
    # 0, 2, w: 0->1 is open, so w = 1 closes it; 3->2 is open, so w = 3 closes that.
    assert strip().v2_suggestions(0, 2) == ([], [1, 3])
    # 0, 3, w: 0->1 and 1->3 are both open: w = 1 closes both.
    assert strip().v2_suggestions(0, 3) == ([1], [1])
    # Nothing below v0 is named, nor v1 itself: 1, 0 has 1->3 open, and 2->0.
    assert strip().v2_suggestions(1, 0) == ([], [2, 3])
    assert strip().v2_suggestions(2, 9) == ([], [])


def test_a_closed_tetrahedron_has_no_open_vertex() -> None:
    table = OpenHalfEdges()
    for face in ((0, 1, 3), (0, 2, 1), (0, 3, 2)):
        table.push(face)
    assert table.open_vertices == [1, 2, 3]
    assert table.v2_suggestions(1, 2) == ([3], [3])
    table.push((1, 2, 3))
    assert table.open_vertices == []


def test_a_twin_used_twice_closes_and_a_pop_opens_again() -> None:
    table = OpenHalfEdges()
    table.push((0, 1, 2))
    table.push((0, 1, 3))  # 0->1 a second time
    table.push((0, 4, 1))  # brings 1->0
    assert 1 not in table.leaving.get(0, set())
    table.pop()
    assert table.leaving[0] == {1}
    table.pop()
    assert_is_the_table_of(table, [(0, 1, 2)])
