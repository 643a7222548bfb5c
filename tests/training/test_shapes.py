"""Procedural shapes: every kind over many seeds is finite, closed, outward, in limits and reproducible."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from flashmesh_core.mesh.canonical import Mesh, canonicalize
from training.procedural import primitives
from training.shapes import OPEN_KINDS, SHAPE_KINDS, make_shape, random_shape

SEEDS = range(24)


def directed_edges(mesh: Mesh) -> np.ndarray:
    """Every half-edge (3F, 2)."""
    return np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], axis=2).reshape(-1, 2)


def is_closed(mesh: Mesh) -> bool:
    """Whether every half-edge occurs once and has its twin."""
    edges = directed_edges(mesh)
    forward = np.sort(edges[:, 0] * len(mesh.vertices) + edges[:, 1])
    backward = np.sort(edges[:, 1] * len(mesh.vertices) + edges[:, 0])
    return bool((np.diff(forward) > 0).all() and np.array_equal(forward, backward))


def piece_volumes(mesh: Mesh) -> np.ndarray:
    """The signed volume of every connected piece."""
    edges = directed_edges(mesh)
    size = len(mesh.vertices)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(size, size))
    count, label = connected_components(graph, directed=False)
    corners = mesh.triangles - mesh.vertices.mean(axis=0)
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0
    return np.bincount(label[mesh.faces[:, 0]], volume, minlength=count)


def polygon_area(outline: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Signed areas of triangles in the plane."""
    a, b, c = (outline[faces[:, k]] for k in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


@pytest.mark.parametrize("kind", SHAPE_KINDS)
def test_every_kind_is_a_clean_mesh(kind: str) -> None:
    lost = total = 0
    for seed in SEEDS:
        mesh = make_shape(kind, np.random.default_rng(seed))
        assert np.isfinite(mesh.vertices).all()
        assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
        assert 6 <= len(mesh.faces) <= 1500
        assert len(np.unique(mesh.faces)) == len(mesh.vertices), "a vertex without a face"
        assert np.ptp(mesh.vertices, axis=0).max() > 0.1
        if kind not in OPEN_KINDS:
            assert is_closed(mesh), f"{kind} with seed {seed} is not closed"
            assert (piece_volumes(mesh) > 0).all(), f"{kind} with seed {seed} is wound inward"
        lost += len(mesh.faces) - len(canonicalize(mesh.vertices, mesh.faces, 128).faces)
        total += len(mesh.faces)
    assert lost <= 0.03 * total, f"{kind} loses {lost} of {total} faces at 128 bins"


def test_open_kinds_have_a_border() -> None:
    for kind in OPEN_KINDS:
        assert not is_closed(make_shape(kind, np.random.default_rng(0)))


def test_terrain_faces_up() -> None:
    for seed in SEEDS:
        corners = make_shape("terrain", np.random.default_rng(seed)).triangles
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert (normals[:, 2] > 0).all()


@pytest.mark.parametrize("kind", SHAPE_KINDS)
def test_a_seed_gives_the_same_shape_and_seeds_differ(kind: str) -> None:
    first, again = (make_shape(kind, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.vertices, again.vertices)
    np.testing.assert_array_equal(first.faces, again.faces)
    others = [make_shape(kind, np.random.default_rng(seed)) for seed in range(8, 14)]
    assert any(
        other.vertices.shape != first.vertices.shape or not np.allclose(other.vertices, first.vertices)
        for other in others
    )


def test_a_shape_can_be_changed_without_changing_the_next_one() -> None:
    mesh = make_shape("box", np.random.default_rng(0))
    before = mesh.faces.copy()
    mesh.faces[:] = 0
    mesh.vertices[:] = 0.0
    np.testing.assert_array_equal(make_shape("box", np.random.default_rng(0)).faces, before)


@pytest.mark.parametrize("max_faces", [12, 60, 800])
def test_random_shapes_keep_the_face_limit(max_faces: int) -> None:
    rng = np.random.default_rng(1)
    counts = [len(random_shape(rng, max_faces).faces) for _ in range(300)]
    assert min(counts) >= 12
    assert max(counts) <= max_faces


def test_random_shapes_are_varied_and_quick() -> None:
    rng = np.random.default_rng(2)
    start = time.process_time()
    counts = np.array([len(random_shape(rng).faces) for _ in range(1000)])
    seconds = time.process_time() - start
    assert 60 <= np.median(counts) <= 160
    assert (counts > 300).mean() > 0.02
    assert (counts < 40).mean() > 0.05
    assert len(np.unique(counts)) > 100
    assert seconds / 1000 < 2e-3


def test_wrong_arguments_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"kind must be one of box, .*got 'cathedral'"):
        make_shape("cathedral", rng)
    with pytest.raises(ValueError, match="max_faces must be at least 12, got 11"):
        random_shape(rng, 11)


def test_ear_clipping_fills_a_concave_outline_once() -> None:
    outline = np.array([(0, 0), (4, 0), (4, 3), (3, 3), (3, 1), (1, 1), (1, 3), (0, 3)], dtype=float)
    areas = polygon_area(outline, primitives.ear_clip(outline))
    assert len(areas) == 6
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(8.0)


def test_primitives_have_the_volume_they_should() -> None:
    def volume(mesh: Mesh) -> float:
        assert is_closed(mesh)
        return float(piece_volumes(mesh).sum())

    square = primitives.rectangle(2.0, 2.0)
    assert volume(primitives.box(1.0, 2.0, 3.0, (5.0, 5.0, 5.0))) == pytest.approx(6.0)
    assert volume(primitives.extrude(square[::-1], 3.0)) == pytest.approx(12.0)
    assert volume(primitives.tube(square, square * 0.5, 1.0)) == pytest.approx(3.0)
    assert volume(primitives.loft(np.array([[(*p, 0.0) for p in square]]), end=(0, 0, 3))) == pytest.approx(4.0)
    assert volume(primitives.stretch(primitives.box(1, 1, 1), x=-2.0)) == pytest.approx(2.0)
    assert volume(primitives.rod((0, 0, 0), (0, 0, 5), 2.0**0.5)) == pytest.approx(20.0)
    assert volume(primitives.rod((0, 0, 0), (3, 0, 0), 2.0**0.5)) == pytest.approx(12.0)
    assert volume(primitives.sphere(48, 32)) == pytest.approx(4.0 / 3.0 * np.pi, rel=0.02)
    bend = np.array([(0, 0, 0), (4, 0, 0), (4, 4, 0)], dtype=float)
    assert volume(primitives.sweep(bend, primitives.rectangle(1.0, 1.0))) == pytest.approx(8.0)
