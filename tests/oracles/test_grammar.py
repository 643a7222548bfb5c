"""Grammar masks: equal to a slow version that tries every vertex, and never in the way of a real mesh."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from generated_meshes import canonical_meshes, shape
from hypothesis import given, settings
from hypothesis import strategies as st

from flashmesh_core.config import ModelConfig
from flashmesh_core.decode.source import Source, prepare_source
from flashmesh_core.mesh.canonical import CanonicalMesh, Mesh, canonicalize, dequantize
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.surface import SurfaceGrid
from flashmesh_core.state.grammar import Grammar
from flashmesh_core.tokenizer import face_tokens
from tests.oracles.grammar import allowed_tokens
from tests.oracles.prefix import Prefix

CONFIG = ModelConfig(name="without slices", num_bins=128)
EVERY_FACE = os.environ.get("FLASHMESH_EVERY_FACE") == "1"  # minutes instead of seconds


def obeys(grammar: Grammar, prefix: Prefix, key: int) -> bool:
    """Whether the vertex begun may be `key`, rule by rule, without a look ahead."""
    table, last, bins = prefix.table, prefix.last_face, grammar.num_bins
    z, y, x = prefix.coordinates(key)
    if grammar.surface is not None and not grammar.surface.contains(np.array([x, y, z])):
        return False
    begun = [prefix.key(slot) for slot in range(prefix.slot)]
    if not begun:
        passed = any(v < key for v in closable(prefix))
        return last[0] <= key < bins**3 and not (grammar.closure and passed)
    face = (*begun, key)
    if key <= begun[0] or key in begun or (face <= last if len(face) == 3 else face < last[: len(face)]):
        return False
    edges = {(begun[-1], key)} | ({(key, begun[0])} if len(face) == 3 else set())
    return not (grammar.manifold and edges & set(table.uses))


def closable(prefix: Prefix) -> list[int]:
    """The lower vertex of every open edge that a face after the last one can still close."""
    uses = prefix.table.uses
    p0, p1 = prefix.last_face[:2]
    edges = [(a, b) for a, b in uses if (b, a) not in uses]
    return [min(a, b) for a, b in edges if min(a, b) > p0 or (min(a, b) == p0 and (a == p0 or a >= p1))]


def finishable(grammar: Grammar, prefix: Prefix) -> np.ndarray:
    """Vertices after which order and surface leave some face, by trying every face: (num_bins^3,) bool."""
    keys = np.arange(grammar.num_bins**3)
    places = np.stack(
        [keys % grammar.num_bins, keys // grammar.num_bins % grammar.num_bins, keys // grammar.num_bins**2]
    )
    good = np.ones(len(keys), dtype=bool) if grammar.surface is None else grammar.surface.contains(places.T)
    begun = [prefix.key(slot) for slot in range(prefix.slot)]
    v0, v1, v2 = np.ix_(*(np.array([begun[slot]]) if slot < len(begun) else keys for slot in range(3)))
    p0, p1, p2 = prefix.last_face
    later = (v0 > p0) | ((v0 == p0) & ((v1 > p1) | ((v1 == p1) & (v2 > p2))))
    faces = later & (v1 > v0) & (v2 > v0) & (v1 != v2) & good[v1] & good[v2]
    return faces.any(axis=tuple(slot for slot in range(3) if slot != len(begun))).reshape(-1)


def slowly_allowed(grammar: Grammar, prefix: Prefix) -> np.ndarray:
    """The allowed tokens by trying every vertex; closure, then manifold are dropped where nothing is left."""
    bins, partial = grammar.num_bins, prefix.partial
    attempts = [grammar, replace(grammar, closure=False)]
    if prefix.begun:
        attempts.append(replace(grammar, closure=False, manifold=False))
    able = finishable(grammar, prefix)
    allowed = np.zeros(bins + 1, dtype=bool)
    for attempt in attempts:
        for key in np.flatnonzero(able).tolist():
            place = prefix.coordinates(key)
            if list(place[: len(partial)]) == partial and obeys(attempt, prefix, key):
                allowed[place[len(partial)]] = True
        allowed[bins] = not prefix.begun and not (attempt.closure and closable(prefix))
        if allowed.any():
            break
    return allowed


def push_all(prefix: Prefix, tokens: list[int]) -> Prefix:
    for token in tokens:
        prefix.push(token)
    return prefix


@st.composite
def cases(draw: st.DrawFn) -> tuple[Grammar, CanonicalMesh, int]:
    """A grammar over few bins, the mesh so far over few vertices, and a seed for the tokens that follow."""
    mesh = draw(canonical_meshes(bins=(2, 5), max_faces=8, max_vertices=6))
    bins = mesh.num_bins
    surface = None
    if draw(st.booleans()):
        spots = draw(st.lists(st.tuples(*[st.integers(0, bins - 1)] * 3), min_size=3, max_size=5, unique=True))
        used = mesh.vertices if draw(st.booleans()) else mesh.vertices[:0]
        surface = SurfaceGrid(dequantize(np.concatenate([np.array(spots), used]), bins), bins, draw(st.integers(0, 1)))
    grammar = Grammar(num_bins=bins, surface=surface, manifold=draw(st.booleans()), closure=draw(st.booleans()))
    return grammar, mesh, draw(st.integers(0, 2**16))


@settings(max_examples=150)
@given(case=cases())
def test_allowed_tokens_equal_the_slow_version(case: tuple[Grammar, CanonicalMesh, int]) -> None:
    """At every coordinate of the next face, whose vertices often are ones that the mesh has."""
    grammar, mesh, seed = case
    rng = np.random.default_rng(seed)
    prefix = push_all(Prefix(grammar.num_bins), face_tokens(mesh).reshape(-1).tolist())
    for _ in range(9):
        allowed = allowed_tokens(grammar, prefix)
        np.testing.assert_array_equal(allowed, slowly_allowed(grammar, prefix))
        choices = np.flatnonzero(allowed[:-1])
        if not len(choices):
            break
        known = [place for v in prefix.table.degree if (place := prefix.coordinates(v))[: len(prefix.partial)]
                 == tuple(prefix.partial)]  # fmt: skip
        copies = [place[len(prefix.partial)] for place in known if allowed[place[len(prefix.partial)]]]
        prefix.push(int(rng.choice(copies if copies and rng.random() < 0.7 else choices)))


def test_after_a_face_above_the_surface_its_v0_is_used_up() -> None:
    """The mesh before need not lie on the surface: its last v1 is above every place, so nothing can follow v0."""
    spots = np.array([[2, 0, 0], [1, 2, 0], [2, 2, 0]])
    surface = SurfaceGrid(dequantize(spots, 3), 3, 0)
    grammar = Grammar(num_bins=3, surface=surface, manifold=False, closure=False)
    face = [(0, 0, 2), (2, 2, 0), (0, 2, 0)]  # z, y, x
    prefix = push_all(Prefix(3), [bin for vertex in face for bin in vertex])
    assert allowed_tokens(grammar, prefix).tolist() == [False, False, False, True]


@pytest.mark.parametrize("num_bins", [4, 6])
@pytest.mark.parametrize("masks", range(8))
def test_each_combination_of_masks_on_a_cube(num_bins: int, masks: int) -> None:
    """A cube, in the middle of which and at whose end every vertex is tried."""
    corners = np.array([[x, y, z] for z in (1, num_bins - 2) for y in (1, num_bins - 2) for x in (1, num_bins - 2)])
    quads = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
    triangles = [[q[0], q[a], q[a + 1]] for q in quads for a in (1, 2)]
    mesh = canonicalize(dequantize(corners, num_bins), np.array(triangles), num_bins)
    surface = SurfaceGrid.of_mesh(mesh.dequantize().vertices, mesh.faces, num_bins)
    grammar = Grammar(
        num_bins=num_bins, surface=surface if masks & 1 else None, manifold=bool(masks & 2), closure=bool(masks & 4)
    )
    tokens = face_tokens(mesh).reshape(-1).tolist()
    prefix = Prefix(num_bins)
    for n, token in enumerate([*tokens, num_bins]):
        allowed = allowed_tokens(grammar, prefix)
        assert allowed[token], n
        if n >= len(tokens) - 9 or n in range(45, 54):
            np.testing.assert_array_equal(allowed, slowly_allowed(grammar, prefix), err_msg=str(n))
        if n < len(tokens):
            prefix.push(token)


def test_order_by_hand() -> None:
    """At 2 bins the vertices are 0 to 7; after the face 3 5 6 the next may not be lower."""
    grammar, prefix = Grammar(num_bins=2), Prefix(2)
    assert allowed_tokens(grammar, prefix).tolist() == [True, True, True]
    push_all(prefix, [0, 1, 1, 1, 0, 1, 1, 1, 0])
    assert allowed_tokens(grammar, prefix).tolist() == [True, True, True]  # z of v0 = 3, 4 or 5; EOS
    push_all(prefix, [0])
    assert allowed_tokens(grammar, prefix).tolist() == [False, True, False]  # 3 = (0, 1, 1)
    push_all(prefix, [1, 1])
    assert allowed_tokens(grammar, prefix).tolist() == [False, True, False]  # v1 >= 5
    push_all(prefix, [1, 0])
    assert allowed_tokens(grammar, prefix).tolist() == [False, True, False]  # 5 = (1, 0, 1)
    push_all(prefix, [1])
    assert allowed_tokens(grammar, prefix).tolist() == [False, True, False]
    push_all(prefix, [1, 1])
    assert allowed_tokens(grammar, prefix).tolist() == [False, True, False]  # v2 > 6: 7 is left


def test_eos_waits_until_the_mesh_is_closed() -> None:
    grammar = Grammar(num_bins=4, closure=True)
    prefix = Prefix(4)
    assert allowed_tokens(grammar, prefix)[4]
    tetrahedron = [[0, 1, 3], [0, 2, 1], [0, 3, 2], [1, 2, 3]]
    for n, face in enumerate(tetrahedron):
        for key in face:
            push_all(prefix, list(prefix.coordinates(key)))
        assert allowed_tokens(grammar, prefix)[4] == (n == 3)


def assert_never_in_the_way(source: Source, mesh: CanonicalMesh, faces: np.ndarray) -> tuple[bool, bool]:
    """Every mask that applies allows every true token of the chosen faces and EOS; (manifold, closed) of the mesh.

    Each true vertex is also held against the rules as they stand, since masks that leave nothing are dropped.
    """
    tokens = face_tokens(mesh).tolist()
    whole = push_all(Prefix(mesh.num_bins), [token for face in tokens for token in face])
    manifold, closed = max(whole.table.uses.values(), default=1) == 1, not whole.table.open_vertices
    grammar = Grammar(num_bins=mesh.num_bins, surface=source.mask_grid, manifold=manifold, closure=closed)
    prefix, chosen = Prefix(mesh.num_bins), set(faces.tolist())
    for number, face in enumerate(tokens):
        if number not in chosen:
            push_all(prefix, face)
            continue
        for n, token in enumerate(face):
            assert allowed_tokens(grammar, prefix)[token], (number, n)
            if n % 3 == 0:
                z, y, x = face[n : n + 3]
                assert obeys(grammar, prefix, (z * mesh.num_bins + y) * mesh.num_bins + x), (number, n)
            prefix.push(token)
    assert allowed_tokens(grammar, prefix)[mesh.num_bins]
    return manifold, closed


def chosen_faces(count: int, seed: int, most: int = 20) -> np.ndarray:
    """All faces, or the first, the last and some between."""
    if EVERY_FACE or count <= most:
        return np.arange(count)
    return np.append(np.random.default_rng(seed).choice(count, most, replace=False), [0, count - 1])


@pytest.mark.data
def test_no_mask_is_in_the_way_of_the_artist_meshes(test_split: MeshStore) -> None:
    """Half of the test split, or all, from the surface of the original mesh as the engine prepares it."""
    seen, every = [], 1 if EVERY_FACE else 2
    chosen = zip(test_split.vertices[::every], test_split.faces[::every], strict=True)
    for number, (vertices, faces) in enumerate(chosen):
        source = prepare_source(Mesh(vertices, faces), None, CONFIG, faces=len(faces))
        mesh = canonicalize(vertices, faces, CONFIG.num_bins, source.normalization)
        seen.append(assert_never_in_the_way(source, mesh, chosen_faces(len(mesh.faces), number)))
    manifold, closed = np.array(seen).T
    assert manifold.sum() > 50
    assert closed.sum() > 25


@pytest.mark.parametrize("seed", range(12))
def test_no_mask_is_in_the_way_of_a_procedural_shape(seed: int) -> None:
    """From the surface of the mesh at bin centers: the same masks must let it through again."""
    original = shape(seed, 200)
    first = canonicalize(original.vertices, original.faces, CONFIG.num_bins).dequantize()
    source = prepare_source(first, None, CONFIG, faces=len(first.faces))
    mesh = canonicalize(first.vertices, first.faces, CONFIG.num_bins, source.normalization)
    assert_never_in_the_way(source, mesh, chosen_faces(len(mesh.faces), seed, 40))
