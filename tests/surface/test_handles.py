"""Handles too small to be meant go, those that are meant stay."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from pytest import approx
from scipy import ndimage
from skimage.measure import marching_cubes

from flashmesh_core.mesh.canonical import Mesh, Normalization
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.sources import make_source
from flashmesh_core.surface.adjacency import compact, manifold_twins
from flashmesh_core.surface.cleaning import clean
from flashmesh_core.surface.collapse import collapse
from flashmesh_core.surface.denoising import denoise
from flashmesh_core.surface.handles import _loops_of_three, are_spheres, cut_handles
from flashmesh_core.surface.simplification import _own_collapse, proxies
from tests.mesh.shapes import box
from tests.surface.shapes import euler_number, torus_distance, volume, voxels


def section(width: float) -> np.ndarray:
    """The corners (3, 2) of an upright triangle so wide."""
    turns = 2 * np.pi * np.arange(3) / 3
    return width * np.stack([np.cos(turns), np.sin(turns)], axis=1)


def sides_between(ring: int, other: int) -> list[tuple[int, int, int]]:
    """Six triangles between three corners from `ring` on and three from `other` on."""
    onward = [(k, (k + 1) % 3) for k in range(3)]
    return [(ring + a, other + a, ring + b) for a, b in onward] + [(ring + b, other + a, other + b) for a, b in onward]


def prism_between_tetrahedra(width: float) -> tuple[np.ndarray, np.ndarray]:
    """A three-sided tube so wide, with a long point at either end."""
    rings = [np.column_stack([section(width), np.full(3, height)]) for height in (0.1, -0.1)]
    ends = [(k, (k + 1) % 3, 6) for k in range(3)] + [((k + 1) % 3 + 3, k + 3, 7) for k in range(3)]
    vertices = np.concatenate([*rings, [(0, 0, 0.5), (0, 0, -0.5)]])
    return vertices, np.array(sides_between(0, 3) + ends, dtype=np.int32)


def three_sided_ring(radius: float, width: float, turns: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A closed ring with a section of three corners, and so many of them around."""
    rings = []
    for turn in 2 * np.pi * np.arange(turns) / turns:
        out, up = np.add(section(width), (radius, 0.0)).T
        rings.append(np.stack([out * np.cos(turn), out * np.sin(turn), up], axis=1))
    sides = [side for k in range(turns) for side in sides_between(3 * k, 3 * ((k + 1) % turns))]
    return np.concatenate(rings), np.array(sides, dtype=np.int32)[:, ::-1]


def test_a_narrow_ring_is_cut_once_and_closed_on_either_side() -> None:
    vertices, faces = three_sided_ring(0.4, 0.01)
    assert is_manifold_and_closed(vertices, faces) == (True, True) and euler_number(Mesh(vertices, faces)) == 0
    quadrics = np.arange(len(vertices), dtype=np.float64)[:, None]
    positions, rows, cut = cut_handles(vertices, quadrics, faces, 0.1)
    assert len(cut) == len(faces) + 2 and len(positions) == len(vertices) + 3
    used = Mesh(positions + 1e-3 * np.arange(len(positions))[:, None], cut.astype(np.int64))  # copies told apart
    assert is_manifold_and_closed(used.vertices, used.faces)[1] and euler_number(used) == 2
    first = len(vertices)
    np.testing.assert_array_equal(vertices[rows[first:, 0].astype(int)], positions[first:])


def test_what_is_left_of_a_handle_goes_where_it_is_small() -> None:
    """Of a ring of six pieces, each smaller than half of the longest loop, the largest one is left."""
    vertices, faces = three_sided_ring(0.012, 0.006)
    _, _, cut = cut_handles(vertices, np.zeros((len(vertices), 1)), faces, 0.1)
    assert len(cut) == 6 + 2


@pytest.mark.parametrize("width", [0.01, 0.2])
@pytest.mark.parametrize("beside", [False, True])
def test_a_loop_that_holds_a_limb_stays_however_short(width: float, beside: bool) -> None:
    """Alone, and beside a ring whose own loops are long: then loops are looked for."""
    vertices, faces = prism_between_tetrahedra(width)
    if beside:
        ring, around = three_sided_ring(2.0, 0.5)
        vertices, faces = np.concatenate([vertices, ring]), np.concatenate([faces, around + len(vertices)])
    positions, _, cut = cut_handles(vertices, np.zeros((len(vertices), 1)), faces, 0.1)
    assert positions is vertices and cut is faces


def test_spheres_are_told_from_what_has_a_handle_or_is_open_or_touches_itself() -> None:
    vertices, faces = prism_between_tetrahedra(0.1)
    ring, around = three_sided_ring(0.4, 0.1)
    both = np.concatenate([faces, faces + len(vertices)])
    assert are_spheres(len(vertices), faces) and are_spheres(2 * len(vertices), both)
    assert not are_spheres(len(ring), around)
    assert not are_spheres(len(vertices) + len(ring), np.concatenate([faces, around + len(vertices)]))
    assert not are_spheres(len(vertices), faces[1:])
    assert not are_spheres(2 * len(vertices) - 1, np.where(both == len(vertices), 0, both - (both > len(vertices))))


@pytest.mark.parametrize(("short", "goes"), [(0.15, True), (0.3, False)])
def test_a_limb_of_crumbs_goes_that_is_small_beside_what_it_hangs_on(short: float, goes: bool) -> None:
    """Of a tube with a point at either end the short one, or none; the hole is closed."""
    vertices, faces = prism_between_tetrahedra(0.01)
    vertices[6, 2] = 0.1 + short
    positions, _, cut = cut_handles(vertices, np.zeros((8, 1)), faces, 0.1, crumb=0.35)
    if not goes:
        assert cut is faces
        return
    assert len(cut) == len(faces) - 3 + 1 and is_manifold_and_closed(positions, cut)[1]


def sponge(seed: int, left: int) -> tuple[np.ndarray, np.ndarray]:
    """A ball full of holes, vertices (V, 3) and so many faces (F, 3) int32."""
    axes = np.meshgrid(*[np.linspace(-0.5, 0.5, 24)] * 3, indexing="ij")
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((24,) * 3), 0.8)
    field = np.pad(np.linalg.norm(axes, axis=0) - 0.35 + 0.3 * noise, 1, constant_values=1.0)
    vertices, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="ascent")
    dense = clean(vertices / 26 - 0.5, faces.astype(np.int64))
    state = _own_collapse(dense.vertices, dense.faces.astype(np.int32))
    collapse(state, left, 10_000_000)
    used, faces = compact(state.faces[state.alive], len(state.positions))
    return state.positions[used], faces


@pytest.mark.parametrize("missing", [0, 40])
@pytest.mark.parametrize("longest", [0.15, 0.3])
def test_loops_are_those_of_three_edges_without_a_face(missing: int, longest: float) -> None:
    vertices, faces = sponge(0, 1300)
    faces = np.delete(faces, np.random.default_rng(0).choice(len(faces), missing, replace=False), axis=0)
    corners = [tuple(sorted(face)) for face in faces.tolist()]
    sides = Counter(side for face in corners for side in combinations(face, 2))
    borders = {vertex for side, count in sides.items() if count == 1 for vertex in side}
    near = {vertex: {a + b - vertex for a, b in sides if vertex in (a, b)} - borders for vertex in range(len(vertices))}
    between = {(a, b, x) for a, b in sides if not {a, b} & borders for x in near[a] & near[b] if x > b}
    loops, perimeters = _loops_of_three(vertices, faces, longest)
    around = {loop: sum(math.dist(*vertices[[*side]]) for side in combinations(loop, 2)) for loop in between}
    expected = {loop: length for loop, length in around.items() if length < longest and loop not in set(corners)}
    assert expected and dict(zip(map(tuple, loops.tolist()), perimeters.tolist(), strict=True)) == approx(expected)


@pytest.mark.parametrize(("seed", "left"), [(0, 1300), (2, 2600), (8, 2600), (11, 1300)])
def test_a_sponge_stays_closed(seed: int, left: int) -> None:
    """Stubs of its handles go, with the limbs on them, which are cut off by no loop of their own then."""
    vertices, faces = sponge(seed, left)
    positions, _, cut = cut_handles(vertices, np.zeros((len(vertices), 1)), faces, 0.3)
    assert len(faces) != len(cut) and (manifold_twins(cut, len(positions)) >= 0).all()


@pytest.mark.parametrize("size", [(1.0, 0.6, 0.5), (0.5, 1.0, 0.3)])
def test_folds_of_a_remesh_do_not_keep_faces(size: tuple[float, float, float]) -> None:
    """The sides lie on the lattice, so rounding makes handles and bubbles of no width there."""
    source = make_source(Mesh(*box(size)), "remesh", seed=0, closed=True)
    assert isinstance(source, Mesh)
    unit = Normalization.of_points(source.vertices).apply(source.vertices)
    cleaned = clean(unit, source.faces)
    assert euler_number(cleaned) != 2
    proxy = proxies(denoise(cleaned), [12])[0]
    assert len(proxy.faces) == 12 and euler_number(proxy) == 2
    assert volume(proxy) == pytest.approx(float(np.prod(size)), rel=0.02)


def test_a_handle_that_is_meant_stays() -> None:
    for count in (60, 400):
        proxy = proxies(denoise(voxels(torus_distance(0.4, 0.08), 64)), [count])[0]
        assert euler_number(proxy) == 0 and len(proxy.faces) == count
