"""Mesh to tokens and back is the identity on canonical meshes; the layout of a sequence; what decode refuses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from generated_meshes import assert_same_mesh, canonical_meshes, shape
from hypothesis import given
from hypothesis import strategies as st

from flashmesh_core.mesh.canonical import CanonicalMesh, canonicalize, canonicalize_bins
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.tokenizer import (
    bos_prefix,
    bos_token,
    decode,
    encode,
    eos_token,
    face_tokens,
    first_occurrence,
)


def tetrahedron() -> CanonicalMesh:
    """At 4 bins: (0,0,0), (3,0,0), (0,2,0), (0,0,1) in x, y, z, wound outward."""
    bins = np.array([[0, 0, 0], [3, 0, 0], [0, 2, 0], [0, 0, 1]])
    return canonicalize_bins(bins, np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]), 4)


@given(mesh=canonical_meshes())
def test_the_round_trip_is_the_identity(mesh: CanonicalMesh) -> None:
    assert_same_mesh(decode(encode(mesh), mesh.num_bins), mesh)


@given(mesh=canonical_meshes(), shift=st.integers(0, 2), seed=st.integers(0, 1000))
def test_tokens_depend_on_the_mesh_alone(mesh: CanonicalMesh, shift: int, seed: int) -> None:
    """Neither the order of vertices and faces nor where a face starts shows in the tokens."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(mesh.vertices))
    place = np.argsort(order)
    faces = np.roll(place[mesh.faces], shift, axis=1)[rng.permutation(len(mesh.faces))]
    again = canonicalize_bins(mesh.vertices[order], faces, mesh.num_bins)
    np.testing.assert_array_equal(encode(again), encode(mesh))


@pytest.mark.data
@pytest.mark.parametrize(("num_bins", "every"), [(128, 1), (256, 8), (1024, 8)])
def test_the_round_trip_is_the_identity_on_shared_meshes(all_meshes: MeshStore, num_bins: int, every: int) -> None:
    """All of them at the model's own resolution."""
    for vertices, faces in zip(all_meshes.vertices[::every], all_meshes.faces[::every], strict=True):
        mesh = canonicalize(vertices, faces, num_bins)
        assert_same_mesh(decode(encode(mesh), num_bins), mesh)


@pytest.mark.parametrize("num_bins", [2, 128, 1024])
def test_the_round_trip_is_the_identity_on_procedural_shapes(num_bins: int) -> None:
    for seed in range(20):
        source = shape(seed)
        mesh = canonicalize(source.vertices, source.faces, num_bins)
        assert_same_mesh(decode(encode(mesh), num_bins), mesh)


def test_the_layout_of_a_sequence() -> None:
    # Vertices by (z, y, x): A = (0,0,0), B = (0,0,3), C = (0,2,0), D = (1,0,0).
    a, b, c, d = [0, 0, 0], [0, 0, 3], [0, 2, 0], [1, 0, 0]
    faces = [a + b + d, a + c + b, a + d + c, b + c + d]
    expected = [5] * 9 + [token for face in faces for token in face] + [4] * 9
    assert encode(tetrahedron()).tolist() == expected
    assert face_tokens(tetrahedron()).tolist() == faces
    assert (eos_token(4), bos_token(4)) == (4, 5)
    assert bos_prefix(4).tolist() == [5] * 9


@given(mesh=canonical_meshes())
def test_faces_increase_and_start_at_their_lowest_vertex(mesh: CanonicalMesh) -> None:
    rows = face_tokens(mesh).reshape(-1, 3, 3).tolist()
    assert all(before < after for before, after in pairwise(rows))
    assert all(face[0] < min(face[1], face[2]) for face in rows)


def test_a_mesh_without_faces() -> None:
    empty = canonicalize_bins(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64), 16)
    assert encode(empty).tolist() == [17] * 9 + [16] * 9
    assert_same_mesh(decode(encode(empty), 16), empty)
    assert_same_mesh(decode(np.zeros(0), 16), empty)
    assert_same_mesh(decode(bos_prefix(16), 16), empty)


@given(mesh=canonical_meshes(), cut=st.integers(0, 300))
def test_an_unfinished_face_is_dropped(mesh: CanonicalMesh, cut: int) -> None:
    tokens = encode(mesh)[:-9]
    cut = 9 + cut % (len(tokens) - 8)
    kept = mesh.faces[: (cut - 9) // 9]
    assert_same_mesh(decode(tokens[:cut], mesh.num_bins), canonicalize_bins(mesh.vertices, kept, mesh.num_bins))


def test_what_follows_the_first_eos_is_ignored() -> None:
    mesh = tetrahedron()
    assert_same_mesh(decode(np.append(encode(mesh), [1, 2, 3]), 4), mesh)
    assert_same_mesh(decode(encode(mesh)[9:-8], 4), mesh)  # no BOS, a single EOS


@pytest.mark.parametrize(
    ("tokens", "num_bins", "message"),
    [
        ([0, 6], 4, r"tokens must be in \[0, 5\], got 0 to 6"),
        ([-1, 0], 4, r"tokens must be in \[0, 5\], got -1 to 0"),
        ([5, 0, 0, 4], 4, "EOS must stand at a face start, got it after 2 coordinates"),
        ([0, 0, 0, 0, 5, 0, 0, 0, 1], 4, r"a face must hold coordinates in \[0, 3\], got BOS inside one"),
        ([0], 1, r"num_bins must be in \[2, 4096\], got 1"),
        ([0], 5000, r"num_bins must be in \[2, 4096\], got 5000"),
    ],
)
def test_decode_names_what_is_wrong(tokens: list[int], num_bins: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(np.array(tokens), num_bins)


@given(keys=st.lists(st.integers(0, 5), max_size=30))
def test_first_occurrence(keys: list[int]) -> None:
    assert first_occurrence(np.array(keys, dtype=np.int64)).tolist() == [keys.index(key) for key in keys]
