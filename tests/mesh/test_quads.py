"""Triangles joined to quads: flat ones first, as many as there can be, none over a hard edge."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import Delaunay

from flashmesh_core.mesh.io import load_mesh
from flashmesh_core.mesh.pairing import PairedMesh
from flashmesh_core.mesh.quad_shapes import MAX_ANGLE
from flashmesh_core.mesh.quads import plan_quads
from flashmesh_core.mesh.recutting import Recutting

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


def paired(vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray | None = None, kept: set = frozenset()):  # type: ignore[type-arg]
    """A mesh whose triangles are joined in pairs, and nothing more."""
    faces = np.asarray(faces, dtype=np.int64).reshape(-1, 3)
    groups = np.zeros(len(faces), dtype=np.int64) if groups is None else groups
    vertices = np.asarray(vertices, dtype=np.float64)
    mesh = PairedMesh(vertices, faces, groups, [tuple(edge) for edge in kept], max_angle=MAX_ANGLE, limit=4e-3)
    mesh.pair_all()
    return mesh


def recut(vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray | None = None, kept: set = frozenset()):  # type: ignore[type-arg]
    """The same with flat places cut anew."""
    mesh = paired(vertices, faces, groups, kept)
    Recutting(mesh, float(np.ptp(vertices, axis=0).max())).run()
    return mesh


def joints_of(mesh: PairedMesh) -> np.ndarray:
    """The edges (Q, 2) that pairs share."""
    pairs = [(face, other) for face, other in mesh.partner.items() if face < other]
    shared = [sorted({*mesh.faces[face]} & {*mesh.faces[other]}) for face, other in pairs]
    return np.array(shared, dtype=np.int64).reshape(-1, 2)


def test_a_cube_becomes_six_squares() -> None:
    vertices, faces = box()
    edges = joints_of(paired(vertices, faces))
    assert len(joined(faces, edges)) == 6
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(2.0), err_msg="the diagonals go")


def test_a_grid_and_a_ring_become_quads_alone() -> None:
    for vertices, faces in (sheet(7, 5), torus(rings=24, sides=12)):
        assert 2 * len(joined(faces, joints_of(paired(vertices, faces)))) == len(faces)


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
        assert len(joints_of(paired(vertices, faces))) == most_pairs(faces)


def test_what_is_bent_or_pointed_or_of_another_material_stays() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 2], [0.5, -0.01, 0]], dtype=np.float64)
    flat = np.array([[0, 1, 2], [0, 2, 3]])
    assert len(joints_of(paired(vertices, flat))) == 1
    assert len(joints_of(paired(vertices, flat, np.array([0, 1])))) == 0, "two materials"
    assert len(joints_of(paired(vertices, np.array([[0, 1, 2], [0, 2, 4]])))) == 0, "bent"
    assert len(joints_of(paired(vertices, np.array([[0, 1, 2], [1, 0, 5]])))) == 0, "a corner of 179 degrees"
    assert len(joints_of(paired(vertices, np.array([[0, 1, 2], [0, 3, 2]])))) == 0, "the windings do not agree"
    assert len(joints_of(paired(vertices, np.zeros((0, 3), dtype=np.int64)))) == 0


@pytest.mark.parametrize("name", ["house.glb", "table.ply", "chair.obj"])
def test_most_faces_of_what_people_build_are_quads(name: str) -> None:
    mesh = load_mesh(EXAMPLES / name)
    pairs = len(joints_of(paired(mesh.vertices, mesh.faces)))
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
    """The same vertices, border and area, every quad convex, and fewer triangles left over."""
    vertices, faces = flat_fans(40, seed)
    before, after = paired(vertices, faces), recut(vertices, faces)
    assert len(after.left) < len(before.left) and after.steps
    cut = np.array(list(after.faces.values()))
    assert turned(faces, np.array([step[1:] for step in after.steps])) == {frozenset(face) for face in cut.tolist()}
    joined(cut, joints_of(after))
    areas = [np.cross(*(vertices[f[:, k]] - vertices[f[:, 0]] for k in (1, 2))) for f in (faces, cut)]
    assert (areas[1] @ areas[0].sum(axis=0) > 0.0).all()
    np.testing.assert_allclose(areas[1].sum(axis=0), areas[0].sum(axis=0))


def test_a_lone_triangle_stays_where_there_is_no_other() -> None:
    """Five corners: a triangle and a quad, however they are cut."""
    angle = 2.0 * np.pi * np.arange(5) / 5
    vertices = np.stack([np.cos(angle), np.sin(angle), np.zeros(5)], axis=1)
    quads = plan_quads(vertices, np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]]))
    assert len(quads.joints) == 1 and not quads.steps


def edges_of(faces: np.ndarray) -> set[frozenset[int]]:
    return {frozenset((face[k], face[k - 1])) for face in faces.tolist() for k in range(3)}


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5])
def test_hard_edges_materials_borders_and_bends_stay_when_edges_are_turned(seed: int) -> None:
    vertices, faces = flat_fans(60, seed)
    free = recut(vertices, faces)
    kept = {frozenset(step[1:]) for step in free.steps} & edges_of(faces)
    assert kept
    held = recut(vertices, faces, kept={tuple(sorted(edge, reverse=True)) for edge in kept})
    assert kept <= edges_of(np.array(list(held.faces.values())))
    assert not kept & {frozenset(joint) for joint in joints_of(held).tolist()}

    groups = (vertices[faces].mean(axis=1)[:, 0] > np.median(vertices[:, 0])).astype(np.int64)
    border = edges_of(faces[groups == 0]) & edges_of(faces[groups == 1])
    apart = recut(vertices, faces, groups)
    assert border and border <= edges_of(np.array(list(apart.faces.values())))
    assert not border & {frozenset(joint) for joint in joints_of(apart).tolist()}

    bent = vertices + np.random.default_rng(seed).normal(scale=0.02, size=vertices.shape)
    assert not recut(bent, faces).steps, "what is bent is not cut anew"
