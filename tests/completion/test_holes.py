"""Holes and how they are closed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from flashmesh_core.completion.holes import count_open_vertices, cover_uncovered, fill_holes, finish
from flashmesh_core.completion.loops import Within, open_loops
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.state.arrays import make_surface
from flashmesh_core.state.fit import NO_FIT, deviation, is_empty, is_free
from flashmesh_core.state.half_edges import find_vertex
from flashmesh_core.state.mesh_state import MeshState
from tests.state.builders import empty, prepare

CUBE = Mesh(
    np.array([(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=np.float64),
    np.array([
        (0, 2, 3), (0, 3, 1), (4, 5, 7), (4, 7, 6), (0, 1, 5), (0, 5, 4),
        (2, 6, 7), (2, 7, 3), (0, 4, 6), (0, 6, 2), (1, 3, 7), (1, 7, 5),
    ]),
)  # fmt: skip


ANYWHERE = Within(np.zeros((0, 3)), np.zeros((0, 3)), np.inf)


def push_faces(state: MeshState, faces: np.ndarray) -> None:
    for token in faces[:, :, ::-1].reshape(-1):
        state.push(int(token))


def over(mesh: Mesh) -> tuple[MeshState, np.ndarray]:
    """No faces yet over the surface of a mesh, and the bins (F, 3, 3) of its own."""
    _, canonical, surface = prepare(mesh)
    return empty(surface), canonical.vertices[canonical.faces]


@pytest.fixture
def cube() -> tuple[MeshState, np.ndarray]:
    return over(CUBE)


def outward_volume(faces: np.ndarray) -> float:
    a, b, c = np.moveaxis(faces.astype(np.float64), 1, 0)
    return float((a * np.cross(b, c)).sum() / 6.0)


@pytest.mark.parametrize("missing", [(3,), (2, 3), (2, 3, 7)])
def test_what_is_missing_of_a_cube_is_closed(cube: tuple[MeshState, np.ndarray], missing: tuple[int, ...]) -> None:
    state, faces = cube
    kept = np.delete(faces, missing, axis=0)
    push_faces(state, kept)
    filled = fill_holes(state)
    assert len(filled) == len(missing)
    assert count_open_vertices(kept) > 0
    assert count_open_vertices(np.concatenate([kept, filled])) == 0
    assert outward_volume(np.concatenate([kept, filled])) == pytest.approx(outward_volume(faces))
    assert state.n_faces == len(kept)


TWO_CUBES = Mesh(
    np.concatenate([CUBE.vertices, CUBE.vertices + np.array([0.0, 0.0, 1.5])]),
    np.concatenate([CUBE.faces, CUBE.faces + 8]),
)


def test_a_part_that_is_left_out_is_covered() -> None:
    """With the faces of the mesh itself, and a hole beside them is closed; the unfinished mesh stays as it is."""
    state, faces = over(TWO_CUBES)
    lower = faces[faces[:, :, 2].max(axis=1) < 64]
    push_faces(state, lower[1:])
    before = state.faces().copy()
    made = finish(state, faces)
    assert len(made) == 1 + 12
    np.testing.assert_array_equal(state.faces(), before)
    assert count_open_vertices(np.concatenate([before, made])) == 0
    np.testing.assert_array_equal(np.unique(np.concatenate([before, made]), axis=0), np.unique(faces, axis=0))


def test_covering_keeps_to_the_face_limit_and_leaves_an_empty_mesh_alone() -> None:
    _, canonical, surface = prepare(TWO_CUBES)
    faces = canonical.vertices[canonical.faces]
    state = empty(surface, max_faces=15)
    assert not len(finish(state, faces))
    push_faces(state, faces[:12])
    assert len(finish(state, faces)) == 3
    assert not len(finish(state, faces[:0]))
    state.push(0)
    assert state.n_faces == 12


@pytest.mark.parametrize(("part", "is_added", "added"), [(0.65, False, 2), (0.4, True, 1)])
def test_a_face_is_added_only_where_most_of_it_is_uncovered(
    cube: tuple[MeshState, np.ndarray], part: float, is_added: bool, added: int
) -> None:
    """A face over 42 % of another, at one corner of it, is too much; what it leaves uncovered is filled beside it."""
    state, faces = cube
    a, b, c = faces[0].astype(np.float64)
    beside = np.rint([a, a + part * (b - a), a + part * (c - a)]).astype(np.int64)
    push_faces(state, np.concatenate([faces[1:], beside[None]]))
    cover_uncovered(state, faces)
    assert state.n_faces == len(faces) + added
    assert any(np.array_equal(face, faces[0]) for face in state.faces(len(faces))) == is_added
    assert state.covered > 0.99


def test_without_samples_of_the_surface_only_loops_are_closed_and_only_anywhere() -> None:
    """A model without slices knows no surface; its grids must not be asked."""
    _, faces = over(CUBE)
    nothing = np.zeros((0, 3))
    state = empty(make_surface(128, None, (128**3 - 1, 128**3 - 2, 128**3 - 3), None, nothing, nothing))
    push_faces(state, faces[1:])
    assert not len(finish(state, faces))
    assert len(finish(state, faces, np.inf)) == 1


def test_a_closed_mesh_gets_nothing(cube: tuple[MeshState, np.ndarray]) -> None:
    state, faces = cube
    push_faces(state, faces)
    assert fill_holes(state).shape == (0, 3, 3)
    assert open_loops(np.arange(6).reshape(2, 3)) != []


def test_an_opening_of_the_source_stays_open_unless_all_is_to_be_closed() -> None:
    box = Mesh(CUBE.vertices, CUBE.faces[[0, 1, *range(4, 12)]])  # without its lid
    state, faces = over(box)
    push_faces(state, faces)
    assert len(fill_holes(state)) == 0
    assert len(fill_holes(state, ANYWHERE)) == 2


@pytest.mark.parametrize("missing", [(0, 3, 10), (0, 1, 2, 3, 8), (2, 3, 4, 6, 7, 10)])
@pytest.mark.parametrize("reach", [0.0, 6.0, np.inf])
def test_no_edge_is_used_twice_in_one_direction(missing: tuple[int, ...], reach: float) -> None:
    """Where a diagonal of a hole is an edge of the mesh already, the triangles on either side of it do without."""
    state, faces = over(CUBE)
    push_faces(state, np.delete(faces, missing, axis=0))
    closed = np.concatenate([state.faces(), finish(state, faces[:0], reach)])
    edges = [(a, b) for face in closed.tolist() for a, b in pairwise(map(tuple, [*face, face[0]]))]
    assert len(set(edges)) == len(edges)
    assert count_open_vertices(closed) == 0 or np.isfinite(reach)


def test_with_a_reach_all_holes_are_closed_that_keep_within_it() -> None:
    """Of two cubes, one with an opening 96 bins wide, the other with one of 6."""
    box, small = CUBE.faces[[0, 1, *range(4, 12)]], np.array([0.06, 0.06, 0.06])
    both = Mesh(
        np.concatenate([CUBE.vertices, CUBE.vertices * small + (0.0, 0.0, 1.2)]), np.concatenate([box, box + 8])
    )
    state, faces = over(both)
    push_faces(state, faces)
    assert [len(finish(state, faces, reach)) for reach in (0.0, 6.0, np.inf)] == [0, 2, 4]


@pytest.mark.parametrize("reach", [0.0, np.inf])
def test_no_face_is_added_at_an_edge_in_use(reach: float) -> None:
    """A face of a cube is missing, and a fin uses one of its edges in its direction."""
    state, faces = over(CUBE)
    a, b, _ = faces[0]
    inside = np.array([64, 64, 64])
    push_faces(state, np.concatenate([faces[1:], [[a, b, inside]]]))
    made = finish(state, faces, reach)
    assert sorted(faces[0].tolist()) not in [sorted(face) for face in made.tolist()]
    assert len(made) == 0 or reach


def test_closing_keeps_to_its_limit() -> None:
    """Beyond the faces that decoding may write, where the limit is higher."""
    _, canonical, surface = prepare(CUBE)
    faces, state = canonical.vertices[canonical.faces], empty(surface, max_faces=9)
    push_faces(state, faces[:9])
    assert len(finish(state, faces[:0], np.inf)) == 0
    made = finish(state, faces[:0], np.inf, limit=100)
    assert len(made) >= 3 and count_open_vertices(np.concatenate([faces[:9], made])) == 0
    assert len(finish(state, faces[:0], np.inf, limit=8 + len(made))) < len(made)


def test_loops_run_against_the_faces_beside_them() -> None:
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    (loop,) = open_loops(faces)
    start = loop.index(0)
    assert loop[start:] + loop[:start] == [0, 3, 2, 1]
    around = open_loops(np.array([(0, 1, 2), (0, 3, 4)]))  # two faces that share a vertex: a hole runs around each
    assert sorted(sorted(part) for part in around) == [[0, 1, 2], [0, 3, 4]]


def test_a_face_over_a_vertex_or_another_face_does_not_fit(cube: tuple[MeshState, np.ndarray]) -> None:
    state, faces = cube
    size = state.surface.size
    low, high = faces.reshape(-1, 3).min(axis=0), faces.reshape(-1, 3).max(axis=0)

    def number(x: int, y: int, z: int) -> int:
        return find_vertex(state.references[1], (z * size + y) * size + x)

    a, b = number(*low), number(high[0], low[1], low[2])
    c, d = number(low[0], high[1], low[2]), number(high[0], high[1], low[2])
    assert is_free(state.references[1], a, c, d)
    assert is_empty(state.table.bins, a, c, d, np.array([b]))
    push_faces(state, np.array([[low, [low[0], high[1], low[2]], [high[0], high[1], low[2]]]]))
    assert not is_free(state.references[1], a, c, b)  # over the half that is there
    assert is_free(state.references[1], a, d, b)
    state.table.bins[b] = (low + high) // 2
    state.table.bins[b, 2] = low[2]
    assert not is_empty(state.table.bins, a, c, d, np.array([b]))


def test_misfit_is_the_distance_from_the_surface(cube: tuple[MeshState, np.ndarray]) -> None:
    state, faces = cube
    push_faces(state, faces[:1])
    v0, v1, v2 = (int(vertex) for vertex in state.table.faces[0])
    assert deviation(*state.references, v0, v1, v2) < 0.6
    state.table.bins[[v0, v1, v2], 1] += 1  # the first face is the front one
    state.table.key[[v0, v1, v2]] += state.surface.size
    assert deviation(*state.references, v0, v1, v2) > 0.9
    assert deviation(*state.references, v0, v0, v2) == NO_FIT
