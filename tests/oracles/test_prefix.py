"""The unfinished mesh: tokens in and out leave no trace, and the lowest vertex that the order allows."""

from __future__ import annotations

import numpy as np
from generated_meshes import canonical_meshes
from hypothesis import given
from hypothesis import strategies as st

from flashmesh_core.mesh.canonical import CanonicalMesh, vertex_keys
from flashmesh_core.tokenizer import face_tokens
from tests.oracles.prefix import NO_FACE, Prefix

BINS = 4


def view(prefix: Prefix) -> tuple[object, ...]:
    """All that can be seen of a prefix."""
    table = prefix.table
    return (
        prefix.n_faces, prefix.slot, list(prefix.partial), list(prefix.begun), prefix.last_face, prefix.lowest(),
        list(table.open_vertices), dict(table.uses), dict(table.degree),
    )  # fmt: skip


@given(mesh=canonical_meshes(bins=(2, 9)), back=st.lists(st.integers(1, 40), max_size=4))
def test_pop_takes_back_exactly_what_push_gave(mesh: CanonicalMesh, back: list[int]) -> None:
    tokens = face_tokens(mesh).reshape(-1).tolist()
    prefix, views = Prefix(mesh.num_bins), []
    for count in [*back, 0]:
        for token in tokens[len(views) :]:
            views.append(view(prefix))
            assert prefix.push(token) == (len(views) % 9 == 0)
        for _ in range(min(count, len(views))):
            prefix.pop()
            assert view(prefix) == views.pop()


@given(mesh=canonical_meshes(bins=(2, 9)))
def test_a_prefix_reads_a_canonical_mesh(mesh: CanonicalMesh) -> None:
    keys = vertex_keys(mesh.vertices, mesh.num_bins)[mesh.faces].tolist()
    prefix = Prefix(mesh.num_bins)
    assert prefix.last_face == NO_FACE
    for n, token in enumerate(face_tokens(mesh).reshape(-1).tolist()):
        face, within = keys[n // 9], n % 9
        assert (prefix.n_faces, prefix.slot, len(prefix.partial)) == (n // 9, within // 3, within % 3)
        for slot in range(prefix.slot):
            assert prefix.key(slot) == face[slot]
        assert prefix.lowest() <= face[prefix.slot]
        prefix.push(token)
    assert prefix.table.faces == [tuple(face) for face in keys]
    assert prefix.last_face == (tuple(keys[-1]) if keys else NO_FACE)


@given(key=st.integers(0, 4095))
def test_keys_are_z_y_x_in_base_num_bins(key: int) -> None:
    prefix = Prefix(16)
    z, y, x = prefix.coordinates(key)
    assert key == (z * 16 + y) * 16 + x
    assert max(z, y, x) < 16
    np.testing.assert_array_equal(vertex_keys(np.array([x, y, z]), 16), key)


def may_follow(face: tuple[int, ...], last: tuple[int, int, int]) -> bool:
    """Whether a face, or the part of it that is begun, keeps the order: v1, v2 above v0, no face before `last`."""
    above = all(vertex > face[0] for vertex in face[1:])
    return above and (face > last if len(face) == 3 else face >= last[: len(face)])


FACE = st.tuples(*[st.integers(0, BINS**3 - 1)] * 3).filter(lambda f: f[0] < min(f[1], f[2]) and f[1] != f[2])


@given(last=st.one_of(st.none(), FACE), begun=st.lists(st.integers(0, BINS**3 - 1), max_size=2), same=st.integers(0, 2))
def test_the_lowest_vertex_is_what_the_order_allows(
    last: tuple[int, int, int] | None, begun: list[int], same: int
) -> None:
    prefix = Prefix(BINS)
    if last is not None:
        begun = [*last[: min(same, len(begun))], *begun[min(same, len(begun)) :]]
    for key in [*(last or ()), *begun]:
        for coordinate in prefix.coordinates(key):
            prefix.push(coordinate)
    allowed = [k for k in range(BINS**3) if may_follow((*begun, k), last or NO_FACE)]
    if allowed and (not begun or may_follow(tuple(begun), last or NO_FACE)):
        assert prefix.lowest() == min(allowed)
