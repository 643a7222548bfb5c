"""Triangles joined to quads: flat ones first, as many as there can be, none over a hard edge."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import Delaunay

from flashmesh_core.mesh.io import load_mesh
from flashmesh_core.mesh.quads import pair_triangles, plan_quads

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


def turned(faces: np.ndarray, flips: np.ndarray) -> set[frozenset[int]]:
    """The triangles as sets of corners once edges are turned, one by one and with no other code."""
    now = [frozenset(face) for face in faces.tolist()]
    for edge in (frozenset(flip) for flip in flips.tolist()):
        here, there = (face for face in now if edge <= face)
        tips = (here | there) - edge
        assert len(tips) == 2 and not any(tips <= face for face in now), "an edge that there is already"
        now = [face for face in now if not edge <= face] + [tips | {end} for end in edge]
    return set(now)


def flat_fans(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of random points in a square, turned and leaning in space: (n, 3) vertices and (F, 3) faces."""
    rng = np.random.default_rng(seed)
    places = rng.random((n, 2))
    faces = Delaunay(places).simplices.astype(np.int64)
    a, b, c = (places[faces[:, k]] for k in range(3))
    left = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] > 0.0
    faces[~left] = faces[~left][:, ::-1]
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return places @ basis[:2], faces


@pytest.mark.parametrize("seed", range(6))
def test_flat_places_are_cut_anew_for_more_quads(seed: int) -> None:
    """The same vertices, border and area, every quad convex and no sliver, and fewer triangles left over."""
    vertices, faces = flat_fans(40, seed)
    before, quads = pair_triangles(vertices, faces), plan_quads(vertices, faces)
    assert len(quads.joints) > len(before) and len(quads.flips) > 0
    assert turned(faces, quads.flips) == {frozenset(face) for face in quads.faces.tolist()}
    joined(quads.faces, quads.joints)
    areas = [np.cross(*(vertices[f[:, k]] - vertices[f[:, 0]] for k in (1, 2))) for f in (faces, quads.faces)]
    assert (areas[1] @ areas[0].sum(axis=0) > 0.0).all()
    np.testing.assert_allclose(areas[1].sum(axis=0), areas[0].sum(axis=0))


def test_a_lone_triangle_stays_where_there_is_no_other() -> None:
    """Five corners: a triangle and a quad, however they are cut."""
    angle = 2.0 * np.pi * np.arange(5) / 5
    vertices = np.stack([np.cos(angle), np.sin(angle), np.zeros(5)], axis=1)
    quads = plan_quads(vertices, np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]]))
    assert len(quads.joints) == 1 and len(quads.flips) == 0


def edges_of(faces: np.ndarray) -> set[frozenset[int]]:
    return {frozenset((face[k], face[k - 1])) for face in faces.tolist() for k in range(3)}


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5])
def test_hard_edges_materials_borders_and_bends_stay_when_edges_are_turned(seed: int) -> None:
    vertices, faces = flat_fans(60, seed)
    free = plan_quads(vertices, faces)
    assert len(free.flips) > 0
    kept = {frozenset(flip) for flip in free.flips.tolist()} & edges_of(faces)
    held = plan_quads(vertices, faces, kept=np.array([sorted(edge, reverse=True) for edge in kept]))
    assert kept <= edges_of(held.faces) and not kept & {frozenset(joint) for joint in held.joints.tolist()}

    groups = (vertices[faces].mean(axis=1)[:, 0] > np.median(vertices[:, 0])).astype(np.int64)
    border = edges_of(faces[groups == 0]) & edges_of(faces[groups == 1])
    apart = plan_quads(vertices, faces, groups)
    assert border and border <= edges_of(apart.faces)
    assert not border & {frozenset(joint) for joint in apart.joints.tolist()}

    bent = vertices + np.random.default_rng(seed).normal(scale=0.02, size=vertices.shape)
    assert len(plan_quads(bent, faces).flips) == 0, "what is bent is not cut anew"
