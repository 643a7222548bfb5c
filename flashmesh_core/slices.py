"""What the decoder is shown of the surface and of the unfinished mesh.

For every token that is about to be written, each row of `SLICE_ROWS` is a set of places, cut down to those that agree
with the coordinates of the vertex already written, as `num_bins` bits over the next coordinate. The places come from a
universe of vertices: the corners of the input surface and the vertices of the mesh so far. Everything is a function of
the surface and of the prefix, so decoding stays exact. `mesh_rows` makes the rows of a known mesh, for training;
decoding makes them token by token in `state/slice_rows.py`. An item is one vertex slot of one face.
Suffixes: I items, M vertices of the universe, R rows, Q bins.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from flashmesh_core.candidates import Candidates, no_candidates
from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.mesh.canonical import CanonicalMesh, canonicalize_bins, key_bins, quantize, vertex_keys
from flashmesh_core.mesh.open_half_edges import OpenHalfEdges
from flashmesh_core.mesh.support import DirectionGrid, edge_support, triangle_support
from flashmesh_core.mesh.surface import SurfaceGrid

SURFACE, CREASE, OPEN, STRONG, WEAK, CORNER, SEEN, SUPPORTED_CORNER, SUPPORTED_SEEN, PROXY = range(10)
SUGGESTED_ROWS = 10  # of SLICE_ROWS are made here; candidate_rows.py makes the others
CREASE_CELL = 3.0 / 128.0  # unit box
CREASE_THRESHOLD = 0.02
MAX_SUPPORT_SUGGESTIONS = 192  # nearest suggestions tested for support; bounds the work on dense meshes
NO_FACES = np.zeros((0, 3, 3), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class SurfaceContext:
    """What is known of the input surface at one bin count.

    `corner_keys` (C,) int64 are the corners as sorted, unique (z, y, x) keys. `proxy_faces` (T, 3) int64 are the faces
    of the proxy mesh over them as numbers of corners, in canonical order. `candidates` are vertices of the
    proxies.
    """

    num_bins: int
    grid: SurfaceGrid  # what the surface row shows
    crease: SurfaceGrid
    support_grid: SurfaceGrid  # wider: what edges and triangles are tested against
    directions: DirectionGrid
    corner_keys: np.ndarray
    proxy_faces: np.ndarray
    candidates: Candidates = field(default_factory=no_candidates)

    @staticmethod
    def of_samples(
        points: np.ndarray, normals: np.ndarray, corners: np.ndarray, num_bins: int, tolerance: int = 1,
        proxy_bins: np.ndarray = NO_FACES,
    ) -> SurfaceContext:  # fmt: skip
        """From samples (N, 3) in the unit box, their normals, corner positions (C, 3), and the bins (T, 3, 3) of the
        faces of the proxy mesh, columns x, y, z; faces with a vertex that is no corner are left out."""
        held = np.concatenate([points, np.clip(corners, -0.5, 0.5)])  # corners are where samples are missing
        creased = points[crease_samples(points, normals)]
        crease = SurfaceGrid(creased if len(creased) else points[:1], num_bins, tolerance)
        keys = np.unique(vertex_keys(quantize(corners, num_bins), num_bins))
        return SurfaceContext(
            num_bins=num_bins,
            grid=SurfaceGrid(held, num_bins, tolerance),
            crease=crease,
            support_grid=SurfaceGrid(held, num_bins, tolerance + 1),
            directions=DirectionGrid(points, normals, num_bins),
            corner_keys=keys,
            proxy_faces=_faces_over(keys, proxy_bins, num_bins),
        )


def _faces_over(corner_keys: np.ndarray, proxy_bins: np.ndarray, num_bins: int) -> np.ndarray:
    """Faces (T, 3, 3) of bins as numbers of corners, sorted and each once, the lowest corner first."""
    corners = np.arange(3 * len(proxy_bins)).reshape(-1, 3)
    mesh = canonicalize_bins(proxy_bins.reshape(-1, 3), corners, num_bins)
    keys = vertex_keys(mesh.vertices, num_bins)
    numbers = np.searchsorted(corner_keys, keys)
    known = np.append(corner_keys, -1)[numbers] == keys
    return numbers[mesh.faces[known[mesh.faces].all(axis=1)]]


def crease_samples(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Which samples (N, 3) lie where the surface bends by more than about 20 degrees within CREASE_CELL, (N,) bool.

    The second invariant of the mean normal tensor of a cell tells it; two grids, half a cell apart, are asked.
    """
    found = np.zeros(len(points), dtype=bool)
    for offset in (0.0, 0.5):
        cell = np.floor((points + 0.5) / CREASE_CELL + offset).astype(np.int64)
        flat = (cell[:, 2] * 4096 + cell[:, 1]) * 4096 + cell[:, 0]
        _, inverse, count = np.unique(flat, return_inverse=True, return_counts=True)
        inverse = inverse.reshape(-1)
        mean = {}
        for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            mean[a, b] = np.bincount(inverse, normals[:, a] * normals[:, b]) / count
        second = sum(mean[a, a] * mean[b, b] - mean[a, b] ** 2 for a, b in ((0, 1), (0, 2), (1, 2)))
        found |= (second > CREASE_THRESHOLD)[inverse]
    return found


@dataclass(frozen=True, eq=False)
class Universe:
    """The vertices that a row may name: `keys_M` sorted, `bins_M3` their x, y, z, `corner_M` bool."""

    keys_M: np.ndarray
    bins_M3: np.ndarray
    corner_M: np.ndarray

    @staticmethod
    def of_keys(corner_keys: np.ndarray, other_keys: np.ndarray, num_bins: int) -> Universe:
        """The union of the corners and of other vertices."""
        keys = np.union1d(corner_keys, other_keys)
        return Universe(keys, key_bins(keys, num_bins), np.isin(keys, corner_keys, assume_unique=True))


@dataclass(frozen=True, eq=False)
class Items:
    """The state of the prefix at each item; vertex numbers are rows of the universe, -1 where not yet written."""

    slot_I: np.ndarray
    v0_I: np.ndarray
    v1_I: np.ndarray
    lowest_I: np.ndarray  # the order allows no vertex below this one
    seen_IM: np.ndarray
    open_IM: np.ndarray
    strong_IM: np.ndarray
    weak_IM: np.ndarray
    banned_IM: np.ndarray  # would use a directed edge twice
    proxy_IM: np.ndarray


def item_masks(context: SurfaceContext, universe: Universe, items: Items) -> np.ndarray:
    """Which vertices of the universe each row names at each item, (I, R, M) bool; the surface row is left empty."""
    count, size = items.seen_IM.shape
    masks = np.zeros((count, len(SLICE_ROWS), size), dtype=bool)
    number_M = np.arange(size)
    legal = (number_M >= items.lowest_I[:, None]) & (number_M != items.v1_I[:, None])
    masks[:, OPEN] = items.open_IM & legal & ~items.banned_IM
    masks[:, STRONG] = items.strong_IM & legal
    masks[:, WEAK] = items.weak_IM & legal
    masks[:, CORNER] = universe.corner_M & legal
    masks[:, SEEN] = items.seen_IM & legal & ~items.banned_IM
    supported = _supported(context, universe, items, (masks[:, CORNER] | masks[:, SEEN]) & ~items.banned_IM)
    masks[:, SUPPORTED_CORNER] = supported & ~items.seen_IM
    masks[:, SUPPORTED_SEEN] = supported & items.seen_IM
    masks[:, PROXY] = items.proxy_IM
    first = items.slot_I == 0
    masks[first, SUPPORTED_SEEN] &= items.open_IM[first]
    return masks


def _supported(context: SurfaceContext, universe: Universe, items: Items, suggestion_IM: np.ndarray) -> np.ndarray:
    """Of the suggestions, those whose edge (v1) or triangle (v2) with the face begun lies along the surface."""
    if suggestion_IM.shape[1] > MAX_SUPPORT_SUGGESTIONS:
        distance = np.abs(universe.bins_M3[None] - universe.bins_M3[items.v0_I][:, None]).max(axis=2)
        distance = np.where(suggestion_IM, distance, 1 << 20)
        limit = np.partition(distance, MAX_SUPPORT_SUGGESTIONS - 1, axis=1)[:, MAX_SUPPORT_SUGGESTIONS - 1]
        tested_IM = suggestion_IM & ((distance <= limit[:, None]) | (items.slot_I == 0)[:, None])
    else:
        tested_IM = suggestion_IM
    supported = tested_IM.copy()
    bins = universe.bins_M3
    item, number = np.nonzero(tested_IM & (items.slot_I == 1)[:, None])
    supported[item, number] = edge_support(context.support_grid, bins[items.v0_I[item]], bins[number]) >= 1.0
    item, number = np.nonzero(tested_IM & (items.slot_I == 2)[:, None])
    triangles = np.stack([bins[items.v0_I[item]], bins[items.v1_I[item]], bins[number]], axis=1)
    fraction, alike = triangle_support(context.support_grid, context.directions, triangles)
    good = np.flatnonzero((fraction >= 1.0) & alike)
    for corner in (0, 1):
        good = good[edge_support(context.support_grid, triangles[good, corner], triangles[good, 2]) >= 1.0]
    supported[item, number] = False
    supported[item[good], number[good]] = True
    return supported


def mesh_items(context: SurfaceContext, mesh: CanonicalMesh, universe: Universe, start: int, stop: int) -> Items:
    """The items of faces start..stop-1, three each, and of the v0 that follows face stop - 1."""
    number_of = np.searchsorted(universe.keys_M, vertex_keys(mesh.vertices, mesh.num_bins))
    faces = number_of[mesh.faces]
    size, count = len(universe.keys_M), 3 * (stop - start) + 1
    birth = np.full(size, len(faces) + 1)
    np.minimum.at(birth, faces.reshape(-1), np.arange(3 * len(faces)) // 3)
    face_I = np.minimum(start + np.arange(count) // 3, len(faces))
    slot_I = np.arange(count) % 3
    ends = np.vstack([faces, [[-1, -1, -1]]])[face_I]
    before = np.vstack([[[-1, -1, -1]], faces])[face_I]
    v0_I = np.where(slot_I >= 1, ends[:, 0], -1)
    v1_I = np.where(slot_I >= 2, ends[:, 1], -1)
    lowest_I = _lowest(slot_I, v0_I, v1_I, before)
    proxy = np.searchsorted(universe.keys_M, context.corner_keys)[context.proxy_faces]

    table = OpenHalfEdges()
    face_rows = faces.tolist()
    for face in face_rows[:start]:
        table.push((face[0], face[1], face[2]))
    flags = {name: np.zeros((count, size), dtype=bool) for name in ("open", "strong", "weak", "banned")}
    for item in range(0, count, 3):
        face = face_rows[start + item // 3] if item + 1 < count else []
        flags["open"][item : item + 3, table.open_vertices] = True
        _flag_suggestions(table, flags, item, int(before[item, 0]), face)
        if face:
            table.push((face[0], face[1], face[2]))
    return Items(
        slot_I=slot_I, v0_I=v0_I, v1_I=v1_I, lowest_I=lowest_I, seen_IM=birth[None] < face_I[:, None],
        open_IM=flags["open"], strong_IM=flags["strong"], weak_IM=flags["weak"], banned_IM=flags["banned"],
        proxy_IM=_proxy_vertices(universe, proxy, faces, face_I, slot_I, ends, before),
    )  # fmt: skip


def _proxy_vertices(
    universe: Universe, proxy_T3: np.ndarray, faces_F3: np.ndarray, face_I: np.ndarray, slot_I: np.ndarray,
    ends_I3: np.ndarray, before_I3: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Vertices that the face begun at each item shares, so far, with a free face of the proxy mesh, (I, M) bool.

    A face of the proxy is free while it comes after the last face, none of its directed edges is used, and no face lies
    over it.
    """
    from flashmesh_core.surface.overlap import first_over  # compiled: training has it, what reads a mesh alone need not

    size = len(universe.keys_M)
    edges, first = np.unique(faces_F3 * size + np.roll(faces_F3, -1, axis=1), return_index=True)
    edges, first = np.append(edges, size * size), np.append(first // 3, len(faces_F3))  # never empty
    codes_T3 = proxy_T3 * size + np.roll(proxy_T3, -1, axis=1)
    at_T3 = np.searchsorted(edges, codes_T3)
    used_T = np.where(edges[at_T3] == codes_T3, first[at_T3], len(faces_F3)).min(axis=1, initial=len(faces_F3))
    used_T = np.minimum(used_T, first_over(universe.bins_M3[faces_F3], universe.bins_M3[proxy_T3]))
    scale = np.array([size * size, size, 1])
    free_IT = (used_T >= face_I[:, None]) & (proxy_T3 @ scale > (before_I3 @ scale)[:, None])
    free_IT &= (slot_I[:, None] < 1) | (proxy_T3[:, 0] == ends_I3[:, :1])
    free_IT &= (slot_I[:, None] < 2) | (proxy_T3[:, 1] == ends_I3[:, 1:2])
    named = np.zeros((len(face_I), size), dtype=bool)
    item, number = np.nonzero(free_IT)
    named[item, proxy_T3[number, slot_I[item]]] = True
    return named


def v0_suggestions(table: OpenHalfEdges, previous_v0: int) -> tuple[list[int], list[int]]:
    """The lowest open vertex that v0 may still be, and the three after it."""
    at = bisect_left(table.open_vertices, previous_v0)
    return table.open_vertices[at : at + 1], table.open_vertices[at + 1 : at + 4]


def _flag_suggestions(
    table: OpenHalfEdges, flags: dict[str, np.ndarray], item: int, previous_v0: int, face: list[int]
) -> None:
    for slot in range(3 if face else 1):
        strong, weak, banned = _suggestions(table, face[:slot], previous_v0)
        flags["strong"][item + slot, strong] = True
        flags["weak"][item + slot, weak] = True
        flags["banned"][item + slot, list(banned)] = True


def _lowest(slot_I: np.ndarray, v0_I: np.ndarray, v1_I: np.ndarray, before_I3: np.ndarray) -> np.ndarray:
    """The lowest vertex that the order allows: faces increase, v1 and v2 lie above v0."""
    p0, p1, p2 = before_I3.T
    same = v0_I == p0
    second = np.maximum(v0_I + 1, np.where(same, p1, 0))
    third = np.maximum(v0_I + 1, np.where(same & (v1_I == p1), p2 + 1, 0))
    return np.select([slot_I == 0, slot_I == 1], [np.maximum(p0, 0), second], third)


def rows_of_items(
    context: SurfaceContext, universe: Universe, masks_IRM: np.ndarray, target_I3: np.ndarray
) -> np.ndarray:
    """Rows (I, 3, R, Q) uint8 for the three coordinates (z, y, x) of each item's true vertex `target_I3` (z, y, x)."""
    bins = context.num_bins
    rows = np.zeros((len(masks_IRM), 3, len(SLICE_ROWS), bins), dtype=np.uint8)
    item, row, number = np.nonzero(masks_IRM)
    x, y, z = universe.bins_M3[number].T
    rows[item, 0, row, z] = 1
    keep = z == target_I3[item, 0]
    item, row, x, y = item[keep], row[keep], x[keep], y[keep]
    rows[item, 1, row, y] = 1
    keep = y == target_I3[item, 1]
    rows[item[keep], 2, row[keep], x[keep]] = 1
    for index, grid in ((SURFACE, context.grid), (CREASE, context.crease)):
        rows[:, 0, index] = grid.row_z()
        rows[:, 1, index] = grid.rows_y(target_I3[:, 0])
        rows[:, 2, index] = grid.rows_x(target_I3[:, 0], target_I3[:, 1])
    return rows


def mesh_rows(context: SurfaceContext, mesh: CanonicalMesh, start: int, stop: int) -> np.ndarray:
    """Slice rows of every token of faces start..stop-1 and of the token after, (9 * faces + 1, R, Q) uint8."""
    from flashmesh_core.candidate_rows import candidate_rows_of_mesh  # compiled: only who makes rows needs it

    universe = Universe.of_keys(context.corner_keys, vertex_keys(mesh.vertices, mesh.num_bins), context.num_bins)
    items = mesh_items(context, mesh, universe, start, stop)
    masks = item_masks(context, universe, items)
    target = mesh.vertices[mesh.faces[start:stop]][:, :, ::-1].reshape(-1, 3)
    rows = rows_of_items(context, universe, masks, np.vstack([target, [[0, 0, 0]]]))
    made = rows.reshape(-1, *rows.shape[2:])[: 9 * (stop - start) + 1]
    return made | candidate_rows_of_mesh(context.candidates, mesh, start, stop)


def _suggestions(table: OpenHalfEdges, vertices: list[int], previous_v0: int) -> tuple[list[int], list[int], set[int]]:
    """Strong, weak and banned vertices of the slot that follows `vertices`."""
    if not vertices:
        return *v0_suggestions(table, previous_v0), set()
    if len(vertices) == 1:
        return *table.v1_suggestions(vertices[0]), table.v1_banned(vertices[0])
    return *table.v2_suggestions(*vertices), table.v2_banned(*vertices)
