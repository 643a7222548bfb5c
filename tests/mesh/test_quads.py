"""Triangles joined to quads: flat ones first, as many as there can be, none over a hard edge."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from flashmesh_core.mesh.io import load_mesh
from flashmesh_core.mesh.quads import pair_triangles

from .shapes import box, sheet, torus

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def joined(faces: np.ndarray, edges: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of faces that share each edge; a face is in one pair at most."""
    pairs = []
    for edge in edges:
        (here, there) = np.flatnonzero(np.isin(faces, edge).sum(axis=1) == 2)
        pairs.append((int(here), int(there)))
    assert len(set(itertools.chain(*pairs))) == 2 * len(pairs)
    return pairs


def most_pairs(faces: np.ndarray) -> int:
    """The largest number of pairs of neighbors, by trying all ways (the slow oracle)."""

    def best(left: frozenset[int]) -> int:
        if len(left) < 2:
            return 0
        face = min(left)
        others = [other for other in left if other != face and len(set(faces[face]) & set(faces[other])) == 2]
        return max([best(left - {face}), *(1 + best(left - {face, other}) for other in others)])

    return best(frozenset(range(len(faces))))


def test_a_cube_becomes_six_squares() -> None:
    vertices, faces = box()
    edges = pair_triangles(vertices, faces)
    assert len(joined(faces, edges)) == 6
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(2.0), err_msg="the diagonals go")


def test_a_grid_and_a_ring_become_quads_alone() -> None:
    for vertices, faces in (sheet(7, 5), torus(rings=24, sides=12)):
        assert 2 * len(joined(faces, pair_triangles(vertices, faces))) == len(faces)


def test_no_triangle_is_left_that_a_chain_of_new_pairs_could_save() -> None:
    """Flat fans and strips in random order, with costs that lead the first choice astray."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        n = int(rng.integers(4, 7))
        bottom = np.stack([np.arange(n) + 0.3 * rng.random(n), np.zeros(n), np.zeros(n)], axis=1)
        top = np.stack([np.arange(n) + 0.3 * rng.random(n), 1.0 + 0.2 * rng.random(n), np.zeros(n)], axis=1)
        faces = [[i, i + 1, n + i] for i in range(n - 1)] + [[i + 1, n + i + 1, n + i] for i in range(n - 1)]
        faces = rng.permutation(np.array(faces))[: 2 * n - 2 - int(rng.integers(0, 2))]
        vertices = np.concatenate([bottom, top])
        assert len(pair_triangles(vertices, faces)) == most_pairs(faces)


def test_what_is_bent_or_pointed_or_of_another_material_stays() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 2], [0.5, -0.01, 0]], dtype=np.float64)
    flat = np.array([[0, 1, 2], [0, 2, 3]])
    assert len(pair_triangles(vertices, flat)) == 1
    assert len(pair_triangles(vertices, flat, np.array([0, 1]))) == 0, "two materials"
    assert len(pair_triangles(vertices, np.array([[0, 1, 2], [0, 2, 4]]))) == 0, "bent"
    assert len(pair_triangles(vertices, np.array([[0, 1, 2], [1, 0, 5]]))) == 0, "a corner of 179 degrees"
    assert len(pair_triangles(vertices, np.array([[0, 1, 2], [0, 3, 2]]))) == 0, "the windings do not agree"
    assert len(pair_triangles(vertices, np.zeros((0, 3), dtype=np.int64))) == 0


@pytest.mark.parametrize("name", ["house.glb", "table.ply", "chair.obj"])
def test_most_faces_of_what_people_build_are_quads(name: str) -> None:
    mesh = load_mesh(EXAMPLES / name)
    pairs = len(pair_triangles(mesh.vertices, mesh.faces))
    assert pairs / (len(mesh.faces) - pairs) >= 0.8
