"""Slice rows: a growing mesh has those of the whole, both follow their definition, the surface holds the truth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from generated_meshes import shape

from flashmesh_core.candidates import make_candidates
from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.mesh.canonical import CanonicalMesh, Mesh, Normalization, canonicalize, dequantize, quantize
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.support import edge_support, triangle_support
from flashmesh_core.slices import SurfaceContext, mesh_rows
from flashmesh_core.state.arrays import make_surface
from flashmesh_core.state.mesh_state import MeshState
from flashmesh_core.tokenizer import face_tokens
from tests.oracles.prefix import Prefix
from training.procedural.primitives import join, move

ROW = {name: number for number, name in enumerate(SLICE_ROWS)}


def in_context(mesh: Mesh, num_bins: int = 128, *, every: bool = False) -> tuple[SurfaceContext, CanonicalMesh]:
    """A mesh at `num_bins` and what is known of its surface; two thirds of its vertices are corners, or `every` one.

    The faces of the proxy are those of the mesh, in another order and a fifth of them with another third vertex.
    """
    box = Normalization.of_points(mesh.vertices)
    placed = Normalization(box.center, box.scale * 1.02)
    unit = placed.apply(mesh.vertices)
    samples = sample_surface(unit, mesh.faces, 8192, np.random.default_rng(0))
    points, normals = samples.points.astype(np.float64), samples.normals.astype(np.float64)
    corners = unit if every else unit[np.arange(len(unit)) % 3 > 0]
    rng = np.random.default_rng(1)
    faces = np.roll(rng.permutation(mesh.faces), 1, axis=1)
    changed = rng.random(len(faces)) < 0.2
    faces[changed, 2] = rng.integers(0, len(unit), changed.sum())
    proxy_bins = quantize(unit, num_bins)[faces]
    context = SurfaceContext.of_samples(points, normals, corners, num_bins, proxy_bins=proxy_bins)
    near = unit + rng.normal(0.0, 0.006, unit.shape)  # a bin off, and some vertices are only in the richer proxy
    kept = rng.random(2 * len(unit)) < 0.7
    candidates = make_candidates(near, mesh.faces, near + rng.normal(0.0, 0.003, unit.shape), num_bins, kept)
    return replace(context, candidates=candidates), canonicalize(mesh.vertices, mesh.faces, num_bins, placed)


@cache
def procedural(seed: int, max_faces: int = 150) -> tuple[SurfaceContext, CanonicalMesh, np.ndarray]:
    context, mesh = in_context(shape(seed, max_faces))
    return context, mesh, mesh_rows(context, mesh, 0, len(mesh.faces))


def growing(context: SurfaceContext, max_faces: int) -> MeshState:
    """An empty mesh over a surface, without samples, which only guidance reads."""
    nothing = np.zeros((0, 3))
    surface = make_surface(context.num_bins, None, (0, 0, 0), context, nothing, nothing)
    return MeshState(surface, max_faces, on_surface=False, manifold=False, closure=False, coverage_guidance=0.0)


def assert_grows_into(rows: np.ndarray, context: SurfaceContext, mesh: CanonicalMesh, every: int = 1) -> None:
    """The rows at every `every`-th face of a growing mesh and after the last token equal `rows` of the whole mesh."""
    state = growing(context, len(mesh.faces) + 1)
    for n, token in enumerate(face_tokens(mesh).reshape(-1).tolist()):
        if n // 9 % every == 0:
            np.testing.assert_array_equal(state.rows(), rows[n], err_msg=f"token {n}")
        state.push(token)
    np.testing.assert_array_equal(state.rows(), rows[-1], err_msg="the token that follows")


@pytest.mark.parametrize("seed", range(8))
def test_a_growing_mesh_has_the_rows_of_a_procedural_shape(seed: int) -> None:
    context, mesh, rows = procedural(seed, 100)
    assert rows.shape == (9 * len(mesh.faces) + 1, len(SLICE_ROWS), 128)
    assert_grows_into(rows, context, mesh)


@pytest.mark.parametrize("num_bins", [16, 300])
def test_a_growing_mesh_has_the_rows_at_other_bin_counts(num_bins: int) -> None:
    context, mesh = in_context(shape(3, 60), num_bins)
    assert_grows_into(mesh_rows(context, mesh, 0, len(mesh.faces)), context, mesh)


def test_a_growing_mesh_has_the_rows_where_support_is_bounded() -> None:
    """More vertices than are tested for support."""
    context, mesh = in_context(join(*(move(shape(seed, 2000), 2.0 * n) for n, seed in enumerate((4, 13, 41)))))
    assert len(mesh.vertices) > 192
    assert_grows_into(mesh_rows(context, mesh, 0, len(mesh.faces)), context, mesh, every=29)


@pytest.mark.data
def test_a_growing_mesh_has_the_rows_of_artist_meshes(test_split: MeshStore) -> None:
    small = [n for n, faces in enumerate(test_split.faces) if len(faces) <= 100][::8]
    assert len(small) >= 5
    for number in small:
        context, mesh = in_context(Mesh(test_split.vertices[number], test_split.faces[number]))
        rows = mesh_rows(context, mesh, 0, len(mesh.faces))
        assert_grows_into(rows, context, mesh, every=4)


@pytest.mark.data
def test_a_growing_mesh_has_the_rows_of_large_artist_meshes(test_split: MeshStore) -> None:
    large = [n for n, faces in enumerate(test_split.faces) if 600 <= len(faces) <= 1000][:3]
    for number in large:
        context, mesh = in_context(Mesh(test_split.vertices[number], test_split.faces[number]))
        rows = mesh_rows(context, mesh, 0, len(mesh.faces))
        assert_grows_into(rows, context, mesh, every=len(mesh.faces) // 20)


@pytest.mark.parametrize("seed", range(4))
def test_rows_from_a_start_are_a_part_of_the_whole(seed: int) -> None:
    context, mesh, rows = procedural(seed)
    count = len(mesh.faces)
    for start, stop in ((0, 1), (1, count), (count // 3, 2 * count // 3), (count - 1, count), (count, count)):
        part = mesh_rows(context, mesh, start, stop)
        np.testing.assert_array_equal(part, rows[9 * start : 9 * stop + 1])


def named_by_definition(context: SurfaceContext, prefix: Prefix) -> dict[str, set[int]]:
    """The keys that the history rows may name for the vertex begun, one by one."""
    table, begun = prefix.table, [prefix.key(slot) for slot in range(prefix.slot)]
    corners = set(context.corner_keys.tolist())
    strong: list[int]
    weak: list[int]
    banned: set[int] = set()
    if not begun:
        upwards = [v for v in table.open_vertices if v >= prefix.last_face[0]]
        strong, weak = upwards[:1], upwards[1:4]
    elif len(begun) == 1:
        (strong, weak), banned = table.v1_suggestions(*begun), table.v1_banned(*begun)
    else:
        (strong, weak), banned = table.v2_suggestions(*begun), table.v2_banned(*begun)
    sets = {
        "open": set(table.open_vertices) - banned, "strong": set(strong), "weak": set(weak),
        "corner": corners, "seen": set(table.degree) - banned, "proxy": of_proxy(context, prefix, begun),
    }  # fmt: skip
    taken = set(begun[1:])
    legal = {name: {v for v in keys if v >= prefix.lowest() and v not in taken} for name, keys in sets.items()}
    supported = {v for v in (legal["corner"] | legal["seen"]) - banned if is_supported(context, prefix, begun, v)}
    legal["supported_corner"] = supported - set(table.degree)
    legal["supported_seen"] = supported & set(table.degree) & (set(table.open_vertices) if not begun else supported)
    return legal


def of_proxy(context: SurfaceContext, prefix: Prefix, begun: list[int]) -> set[int]:
    """The vertices that lead from the face begun to faces of the proxy that may still be written."""
    found = set()
    for a, b, c in context.corner_keys[context.proxy_faces].tolist():
        used = any(prefix.table.is_used(*edge) for edge in ((a, b), (b, c), (c, a)))
        used = used or any(lies_over(prefix, face, (a, b, c)) for face in prefix.table.faces)
        if not used and (a, b, c) > tuple(prefix.last_face) and [a, b][: len(begun)] == begun:
            found.add((a, b, c)[len(begun)])
    return found


def lies_over(prefix: Prefix, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two faces look the same way and the middle of one lies on the other, within a bin of its plane."""
    corners = [np.array([prefix.coordinates(key)[::-1] for key in face], dtype=float) for face in (one, other)]
    normals = [np.cross(t[1] - t[0], t[2] - t[0]) for t in corners]
    if normals[0] @ normals[1] <= 0:
        return False
    for (a, b, c), normal, middle in (
        (corners[0], normals[0], corners[1].mean(axis=0)),
        (corners[1], normals[1], corners[0].mean(axis=0)),
    ):
        inside = [np.cross(q - p, middle - p) @ normal for p, q in ((a, b), (b, c), (c, a))]
        if min(inside) > -1e-6 and abs((middle - a) @ normal) <= np.linalg.norm(normal) * (1 + 1e-12):
            return True
    return False


def is_supported(context: SurfaceContext, prefix: Prefix, begun: list[int], key: int) -> bool:
    """Whether the edges from the vertices begun to `key`, and the triangle with two of them, lie along the surface."""
    corners = np.array([prefix.coordinates(v)[::-1] for v in (*begun, key)])
    for other in corners[:-1]:
        if edge_support(context.support_grid, other[None], corners[-1:])[0] < 1.0:
            return False
    if len(begun) < 2:
        return True
    fraction, alike = triangle_support(context.support_grid, context.directions, corners[None])
    return bool(fraction[0] >= 1.0 and alike[0])


@pytest.mark.parametrize("seed", range(5))
def test_rows_follow_from_the_table_and_the_grids(seed: int) -> None:
    context, mesh, rows = procedural(seed, 60)
    prefix = Prefix(mesh.num_bins)
    for n, token in enumerate([*face_tokens(mesh).reshape(-1).tolist(), 0]):
        partial = prefix.partial
        for name, keys in named_by_definition(context, prefix).items():
            places = [prefix.coordinates(key) for key in keys]
            agree = {p[len(partial)] for p in places if list(p[: len(partial)]) == partial}
            assert set(np.flatnonzero(rows[n, ROW[name]]).tolist()) == agree, (n, name)
        for name, grid in (("surface", context.grid), ("crease", context.crease)):
            look_up = (grid.row_z, grid.row_y, grid.row_x)[len(partial)]
            np.testing.assert_array_equal(rows[n, ROW[name]], look_up(*partial))
        prefix.push(token)


@pytest.mark.parametrize("seed", range(4))
def test_supported_rows_are_parts_of_the_corner_and_seen_rows(seed: int) -> None:
    rows = procedural(seed)[2]
    assert not (rows[:, ROW["supported_corner"]] & ~rows[:, ROW["corner"]]).any()
    assert not (rows[:, ROW["supported_seen"]] & ~rows[:, ROW["seen"]]).any()
    assert rows[:, ROW["supported_seen"]].any()
    assert rows[:, ROW["supported_corner"]].any()


def test_the_proxy_row_leads_through_a_mesh_that_is_the_proxy() -> None:
    """The lowest place that it names is each next token, where the mesh is the proxy's own."""
    _, mesh = in_context(shape(5, 80), every=True)
    empty = np.zeros((0, 3))
    corners, bins = dequantize(mesh.vertices, 128), mesh.vertices[mesh.faces]
    context = SurfaceContext.of_samples(corners, unit_z(len(corners)), corners, 128, proxy_bins=bins)
    rows = mesh_rows(context, mesh, 0, len(mesh.faces))[:, ROW["proxy"]]
    assert rows[:-1].argmax(axis=1).tolist() == face_tokens(mesh).reshape(-1).tolist()
    assert rows[:-1].any(axis=1).all()
    assert not rows[-1].any()
    without = SurfaceContext.of_samples(corners, unit_z(len(corners)), empty, 128, proxy_bins=bins)
    assert not len(without.proxy_faces)


def unit_z(count: int) -> np.ndarray:
    """Normals (count, 3) that all look up."""
    return np.tile([0.0, 0.0, 1.0], (count, 1))


def share_of_truth(rows: np.ndarray, mesh: CanonicalMesh, name: str) -> float:
    """How often the true next token's bit is set."""
    tokens = face_tokens(mesh).reshape(-1)
    return float(rows[np.arange(len(tokens)), ROW[name], tokens].mean())


@pytest.mark.parametrize("seed", range(6))
def test_the_surface_row_holds_every_true_token(seed: int) -> None:
    context, mesh = in_context(shape(seed, 120), every=True)
    assert share_of_truth(mesh_rows(context, mesh, 0, len(mesh.faces)), mesh, "surface") == 1.0


@pytest.mark.data
def test_the_surface_row_holds_the_tokens_of_artist_meshes(test_split: MeshStore) -> None:
    meshes = [(v, f) for v, f in zip(test_split.vertices, test_split.faces, strict=True) if len(f) < 200][::10]
    for vertices, faces in meshes:
        context, mesh = in_context(Mesh(vertices, faces), every=True)
        assert share_of_truth(mesh_rows(context, mesh, 0, len(mesh.faces)), mesh, "surface") == 1.0


def test_a_surface_without_corners_has_rows_all_the_same() -> None:
    """A cloud in which no corner is found: the universe is empty at the first token."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(500, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    context = SurfaceContext.of_samples(normals * 0.49, normals, np.zeros((0, 3)), 32)
    state = growing(context, 2)
    for token in (2, 15, 15, 2, 15, 17, 2, 17, 15):
        assert state.rows().shape == (len(SLICE_ROWS), 32)
        state.push(token)
    assert state.rows()[ROW["open"], 2] == 1
