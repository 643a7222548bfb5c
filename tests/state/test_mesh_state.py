"""The compiled half-edge table: rolled back it equals one that never went there; its masks equal the reference."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashmesh_core.mesh.canonical import CanonicalMesh
from flashmesh_core.state.arrays import Surface, make_surface
from flashmesh_core.state.grammar import Grammar
from flashmesh_core.state.half_edges import find_edge, lowest_closable
from flashmesh_core.state.mesh_state import MeshState
from tests.oracles import grammar as oracle
from tests.oracles.prefix import Prefix
from tests.oracles.test_grammar import cases

from .builders import empty, prepared, tokens_of

KINDS = ("box", "wedge", "prism")


def grown(surface: Surface, tokens: list[int]) -> MeshState:
    state = empty(surface, on_surface=True, manifold=True, closure=True)
    for token in tokens:
        state.push(token)
    return state


def assert_same(a: MeshState, b: MeshState) -> None:
    """Every answer and every account of two states is the same."""
    for name in ("vertices", "edges", "faces", "begun", "covered", "open"):
        assert a.table.n[0][name] == b.table.n[0][name]
    vertices = int(a.table.n[0].vertices)
    for name in ("key", "degree", "n_open", "is_corner"):
        np.testing.assert_array_equal(getattr(a.table, name)[:vertices], getattr(b.table, name)[:vertices])
    opened = int(a.table.n[0].open)
    assert set(a.table.open_list[:opened].tolist()) == set(b.table.open_list[:opened].tolist())
    for name in ("slots", "covered", "uncovered_count", "uncovered_directions", "taken"):
        if name != "slots":
            np.testing.assert_array_equal(getattr(a.table, name), getattr(b.table, name))
    assert np.count_nonzero(a.table.slots) == np.count_nonzero(b.table.slots) == vertices
    np.testing.assert_array_equal(a.faces(), b.faces())
    np.testing.assert_array_equal(a.rows(), b.rows())
    np.testing.assert_array_equal(a.bias(), b.bias())
    np.testing.assert_array_equal(a.allowed(), b.allowed())
    assert lowest_closable(a.references[1]) == lowest_closable(b.references[1])


@settings(max_examples=40)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1))
def test_rolled_back_it_equals_a_rebuild(kind: str, seed: int) -> None:
    """Wrong drafts of any length, asked about on the way, then taken back."""
    _, mesh, surface = prepared(kind)
    rng = np.random.default_rng(seed)
    tokens = tokens_of(mesh)[: int(rng.integers(0, 200))]
    state = grown(surface, tokens)
    for _ in range(3):
        wrong = int(rng.integers(1, 30))
        for _ in range(wrong):
            allowed = state.allowed()
            if rng.random() < 0.5:
                state.bias()
            choices = np.flatnonzero(allowed[:-1])
            state.push(int(rng.choice(choices)) if len(choices) and rng.random() < 0.7 else int(rng.integers(128)))
        for _ in range(wrong):
            state.pop()
    assert_same(state, grown(surface, tokens))


def test_popping_all_leaves_it_empty_and_no_more() -> None:
    _, mesh, surface = prepared("box")
    state = grown(surface, tokens_of(mesh))
    while state.n_tokens:
        state.pop()
    assert_same(state, grown(surface, []))
    with pytest.raises(ValueError, match="pop needs at least 1 coordinate, got an empty mesh"):
        state.pop()


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_follows_from_the_faces(kind: str) -> None:
    _, mesh, surface = prepared(kind)
    state = grown(surface, tokens_of(mesh)[: 9 * (len(mesh.faces) * 2 // 3)])
    keys = state.table.key[state.table.faces[: state.n_faces]]
    used = Counter((int(f[a]), int(f[(a + 1) % 3])) for f in keys for a in range(3))
    number = {int(key): at for at, key in enumerate(state.table.key[: state.table.n[0].vertices])}
    for (a, b), uses in used.items():
        edge = find_edge(state.table, number[a], number[b])
        assert state.table.uses[edge] == uses
        assert bool(state.table.is_open[edge]) == ((b, a) not in used)
        if (b, a) not in used:
            assert find_edge(state.table, number[b], number[a]) == -1
    opened = Counter(vertex for a, b in used if (b, a) not in used for vertex in (a, b))
    assert {int(state.table.key[v]) for v in state.table.open_list[: state.table.n[0].open]} == set(opened)
    assert all(state.table.n_open[number[vertex]] == count for vertex, count in opened.items())


def over(grammar: Grammar) -> MeshState:
    """An empty mesh with the masks of a grammar and nothing known of the surface but its grid."""
    nothing = np.zeros((0, 3))
    surface = make_surface(grammar.num_bins, grammar.surface, grammar.top_keys, None, nothing, nothing)
    return MeshState(
        surface, 40, on_surface=grammar.surface is not None, manifold=grammar.manifold, closure=grammar.closure,
        coverage_guidance=0.0,
    )  # fmt: skip


@settings(max_examples=200)
@given(case=cases())
def test_masks_equal_the_reference(case: tuple[Grammar, CanonicalMesh, int]) -> None:
    grammar, mesh, seed = case
    rng = np.random.default_rng(seed)
    prefix, state = Prefix(grammar.num_bins), over(grammar)
    for token in tokens_of(mesh):
        prefix.push(token)
        state.push(token)
    for _ in range(18):
        expected = oracle.allowed_tokens(grammar, prefix)
        np.testing.assert_array_equal(state.allowed(), expected)
        closable = oracle.lowest_closable(prefix.table)
        assert lowest_closable(state.references[1]) == (-1 if closable is None else closable)
        choices = np.flatnonzero(expected[:-1])
        if not len(choices):
            break
        token = int(rng.choice(choices))
        prefix.push(token)
        state.push(token)
