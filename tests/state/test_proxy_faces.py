"""The proxy's faces that may still be written: what leads to them, and what coverage guidance makes of them."""

from __future__ import annotations

import numpy as np

from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.decode.source import Source
from flashmesh_core.mesh.canonical import CanonicalMesh, Mesh, canonicalize_bins
from flashmesh_core.state.arrays import BARE_BIT, Priority, Surface
from flashmesh_core.state.mesh_state import MeshState
from tests.surface.shapes import cube, joined, sphere

from .builders import empty, prepare, prepared, tokens_of

PROXY = SLICE_ROWS.index("proxy")


def proxy_of(kind: str) -> tuple[CanonicalMesh, Surface]:
    """The proxy that is read of a procedural shape, in the order of writing, and its surface."""
    source, _, surface = prepared(kind)
    return in_order(source, surface), surface


def in_order(source: Source, surface: Surface) -> CanonicalMesh:
    """The proxy of a source, in the order of writing."""
    bins = source.proxy_bins.reshape(-1, 3)
    return canonicalize_bins(bins, np.arange(len(bins)).reshape(-1, 3), surface.size)


def named(state: MeshState) -> set[int]:
    """The next coordinates that the row names."""
    return set(np.flatnonzero(state.rows()[PROXY]).tolist())


def test_the_proxy_can_be_written_along_its_own_row() -> None:
    mesh, surface = proxy_of("box")
    state = empty(surface)
    written = []
    while named(state):
        written.append(min(named(state)))
        state.push(written[-1])
    assert written == tokens_of(mesh)
    assert state.bias()[-1] == 0.0


def test_the_mesh_may_not_end_before_all_bare_faces_of_the_proxy_are_there() -> None:
    mesh, surface = proxy_of("prism")
    state = empty(surface)
    tokens = tokens_of(mesh)
    for number, token in enumerate(tokens):
        bias = state.bias()
        assert bias[token] == 0.0, "what leads to a face of the proxy loses nothing"
        if number % 9 == 0:
            assert bias[-1] < 0.0
        state.push(token)
    assert state.bias()[-1] == 0.0


def test_faces_smaller_than_what_a_sample_stands_for_are_followed_too() -> None:
    """A ball of 16 bins beside a box: some of its faces have hardly a sample of their own."""
    ball = sphere(12, 6)
    vertices, faces = joined(cube(), Mesh(0.25 * ball.vertices + [0.0, 0.0, 0.8], ball.faces))
    source, _, surface = prepare(Mesh(vertices, faces))
    state = empty(surface, max_faces=300)
    for token in tokens_of(in_order(source, surface)):
        assert state.bias()[token] == 0.0
        state.push(token)
    assert state.bias()[-1] == 0.0


def test_of_v0_only_the_first_bare_face_of_the_proxy_is_best() -> None:
    _, surface = proxy_of("box")
    state = empty(surface)
    state.bias()
    count = int(state.table.n[0].suggestions)
    bare = state.table.suggestion_bits[:count] & BARE_BIT != 0
    assert bare.sum() == 1
    assert (state.table.priority[:count][bare] == Priority.BEST).all()
    lowest = state.table.key[state.table.suggestion[:count][bare]]
    assert lowest == state.table.key[surface.proxy[:, 0]].min()


def test_a_face_that_another_cut_has_made_impossible_is_not_named() -> None:
    """Of a square that is cut the other way, neither face of the proxy may follow."""
    _, surface = proxy_of("box")
    faces = surface.proxy
    a, b, c = faces[0]
    across = [face for face in faces if (a, c) in {(face[k], face[(k + 1) % 3]) for k in range(3)}]
    (other,) = across
    d = next(v for v in other if v not in (a, c))
    state = empty(surface)
    for vertex in (a, b, d):
        for axis in (2, 1, 0):
            state.push(int(state.table.bins[vertex, axis]))
    begun = {tuple(face) for face in faces.tolist() if face[0] == a} - {(a, b, c), tuple(other.tolist())}
    for axis in (2, 1, 0):
        state.push(int(state.table.bins[a, axis]))
    seconds = {int(state.table.bins[b, 2]) for _, b, _ in begun}
    assert named(state) <= seconds
