"""Meshes as a model might have begun them, and what is asked for after each prefix."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import CanonicalMesh, Normalization, canonicalize, vertex_keys
from flashmesh_core.tokenizer import face_tokens
from training.mistakes import IGNORE
from training.own_meshes import aims_of, moved_vertices, own_mesh
from training.shapes import random_shape


def shape(seed: int) -> CanonicalMesh:
    mesh = random_shape(np.random.default_rng(seed), max_faces=200)
    return canonicalize(Normalization.of_points(mesh.vertices).apply(mesh.vertices), mesh.faces, 128)


def unpaired(mesh: CanonicalMesh) -> tuple[int, int]:
    """Directed edges used twice, and those without an opposite one."""
    edges = [(face[k], face[(k + 1) % 3]) for face in mesh.faces.tolist() for k in range(3)]
    return len(edges) - len(set(edges)), sum((b, a) not in set(edges) for a, b in edges)


@pytest.mark.parametrize("seed", range(12))
def test_an_own_mesh_is_canonical_and_as_whole_as_the_artists(seed: int) -> None:
    mesh = shape(seed)
    own = own_mesh(mesh, np.random.default_rng(seed))
    assert (np.diff(vertex_keys(own.mesh.vertices, 128)) > 0).all()
    faces = [tuple(face) for face in own.mesh.faces.tolist()]
    assert faces == sorted(set(faces)) and all(face[0] < min(face[1:]) for face in faces)
    assert all(now <= before for now, before in zip(unpaired(own.mesh), unpaired(mesh), strict=True))
    assert own.artist.shape == own.mesh.vertices.shape and own.change.shape == (len(faces),)


def test_a_vertex_is_asked_for_where_the_artist_has_it_and_then_where_it_was_written() -> None:
    asked = kept = 0
    for seed in range(12):
        own = own_mesh(shape(seed), np.random.default_rng(100 + seed))
        tokens = face_tokens(own.mesh)
        aims = aims_of(own.mesh, tokens, own).reshape(-1, 3)
        vertices, seen = own.mesh.faces.reshape(-1), set()
        moved = (own.artist != own.mesh.vertices).any(axis=1)
        for number, vertex in enumerate(vertices.tolist()):
            if vertex not in seen and (aims[number] != IGNORE).all():
                assert aims[number].tolist() == own.artist[vertex, ::-1].tolist()
                asked += int(moved[vertex])
            elif vertex in seen and (aims[number] != IGNORE).all():
                assert aims[number].tolist() == own.mesh.vertices[vertex, ::-1].tolist()
                kept += int(moved[vertex])
            seen.add(vertex)
    assert asked > 30 and kept > 100


def test_the_first_face_of_a_changed_cut_is_not_asked_for_and_the_others_are() -> None:
    changed = 0
    for seed in range(12):
        own = own_mesh(shape(seed), np.random.default_rng(200 + seed))
        aims = aims_of(own.mesh, face_tokens(own.mesh), own)
        begun = set()
        for face, number in enumerate(own.change.tolist()):
            if number >= 0 and number not in begun:
                assert (aims[face] == IGNORE).all()
                begun.add(number)
            elif number >= 0:
                assert (aims[face] != IGNORE).any()
        changed += len(begun)
    assert changed > 30


def test_no_vertex_is_moved_to_where_another_is() -> None:
    rng = np.random.default_rng(0)
    bins = np.unique(rng.integers(0, 6, (150, 3)), axis=0)
    moved = moved_vertices(bins, 1.0, 128, rng)
    assert len(np.unique(moved, axis=0)) == len(bins) and (moved != bins).any()
    assert moved.min() >= 0 and moved.max() < 128
