"""The arrays that the compiled functions of this package work on.

`Surface` is what is known of one input surface and never changes; `Table` is the unfinished mesh. Both are named tuples
of arrays; compiled functions are given references to them (see `flashmesh_core.jit`). Vertices are numbered in the
order in which they became known, the corners of the surface first; a number's key is (z * size + y) * size + x.
Everything is undone in the reverse order of its doing, so rolling back is exact.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from flashmesh_core.candidates import no_candidates
from flashmesh_core.mesh.canonical import key_bins, vertex_keys
from flashmesh_core.mesh.support import BACKING_BITS, DIRECTION_CELLS, own_bits
from flashmesh_core.mesh.surface import MAX_CELLS, SurfaceGrid
from flashmesh_core.slices import SurfaceContext
from flashmesh_core.state.facets import index_facets

COUNTERS = np.dtype([
    ("vertices", np.int64),  # known
    ("edges", np.int64),
    ("faces", np.int64),  # complete
    ("begun", np.int64),  # coordinates of the face begun
    ("covered", np.int64),  # samples
    ("open", np.int64),  # vertices with open edges
    ("listed", np.int64),  # 3 * faces + slot of the vertex whose suggestions are listed, NO_SLOT: none
    ("suggestions", np.int64),
    ("places", np.int64),  # that coverage guidance names beside the suggestions
    ("fans", np.int64),  # made so far
    ("growable", np.int64),  # the lowest growable vertex, -1: none
    ("none_growable", np.int64),  # 1 where no vertex is, open or not used yet
    ("bare", np.int64),  # 1 where a face of the proxy may still be written
    ("stuck", np.int64),  # findings
    ("second", np.int64),  # the v1 that was found
    ("second_of", np.int64),  # for this v0
    ("second_faces", np.int64),  # when there were so many faces
    ("second_undone", np.int64),  # and so many had been taken back
    ("undone", np.int64),  # faces taken back by now
])  # fmt: skip
NO_SLOT = -1
PATCH = 4  # bins an axis of what an edge from v0 reaches or does not
MAX_NEAR = 48  # nearest known vertices of which each may make faces
CACHED_FITS = 1024  # triangles whose deviation is cached
CACHED_FANS = 8  # drafts that are rolled back come again to the same v0

BANNED_BIT = 1 << 14  # of Table.suggestion_bits beside the rows (bit r is row r of SLICE_ROWS): the edge is used
BARE_BIT = 1 << 15  # leads to the next free face of the proxy; only where coverage guidance asked


class Priority(IntEnum):
    """What coverage guidance says of a suggested vertex; a higher one loses less of its logits."""

    NONE = 0  # guidance speaks against it
    POSSIBLE = 1  # nothing speaks against it
    LATER = 2  # as good as the best, but a lower vertex comes first
    BEST = 3  # the face may well take this vertex


NO_FACETS = np.zeros((0, 3, 3))


class Surface(NamedTuple):
    """One input surface at one bin count. Grids are bool over cells of `factor` bins, indexed z, y, x."""

    size: int  # bins an axis
    factor: int  # bins a cell of the grids
    shown: np.ndarray  # the surface row
    crease: np.ndarray  # the crease row
    support: np.ndarray  # what edges and triangles are tested against
    mask: np.ndarray  # what the surface mask allows
    shown_zy: np.ndarray  # any x
    crease_zy: np.ndarray
    mask_zy: np.ndarray
    shown_z: np.ndarray  # any y, x
    crease_z: np.ndarray
    mask_z: np.ndarray
    top: np.ndarray  # (3,) the three highest keys that the surface mask allows
    mark_factor: int  # bins a cell of `marks`
    marks: np.ndarray  # uint32: directions of the surface in and around a cell
    backing: np.ndarray  # uint32: directions that back a quantised normal
    places: np.ndarray  # (N, 3) float64 samples in bins, in the order of the cells of `marks` that they are in
    normals: np.ndarray  # (N, 3) float64
    own: np.ndarray  # (N,) uint32 direction bit of each sample
    home: np.ndarray  # (N,) int32: the cell of `marks` that a sample is in
    cell_start: np.ndarray  # samples of a cell of `marks`: cell_start[c] .. cell_start[c + 1] - 1
    loose: np.ndarray  # (L, 3) int32 bins that hold samples: x, y, z, in key order
    loose_start: np.ndarray  # the same by cell of `marks`
    loose_number: np.ndarray
    patch: np.ndarray  # (L,) int32: the patch of each such bin
    patch_center: np.ndarray  # (P, 3) int32: the bin in the middle of each patch
    corners: np.ndarray  # (C,) int64 keys
    proxy: np.ndarray  # (P, 3) int32: faces of the proxy mesh as numbers of corners, in canonical order
    candidate_bins: np.ndarray  # (K, 3) int32; these and `mirror` are Candidates (candidate_rows.py)
    candidate_kinds: np.ndarray
    candidate_start: np.ndarray
    candidate_beside: np.ndarray
    mirror: np.ndarray  # (2,) float64
    facets: np.ndarray  # (T, 3, 3) float64: the triangles of the proxy mesh, in bins; none for a cloud
    facet_normals: np.ndarray  # (T, 3) float64
    facet_start: np.ndarray  # an index of them, see `facets`
    facet_listed: np.ndarray


def _cell_of(bins: np.ndarray, factor: int, cells: int) -> np.ndarray:
    """The cell of `marks` that each bin (N, 3) is in, (N,), of `cells` an axis with `factor` bins each."""
    at = bins // factor
    return (at[:, 2] * cells + at[:, 1]) * cells + at[:, 0]


def _index_by_cell(cell: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(cell, kind="stable")
    start = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(np.bincount(cell, minlength=count), out=start[1:])
    return start, order.astype(np.int32)


def _patches(bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which patch of PATCH bins an axis each bin (L, 3) is in, (L,), and the middle of each patch (P, 3)."""
    if not len(bins):
        return np.zeros(0, dtype=np.int32), np.zeros((0, 3), dtype=np.int32)
    keys = vertex_keys(bins // PATCH, int(bins.max()) + 1)
    _, patch, count = np.unique(keys, return_inverse=True, return_counts=True)
    patch = patch.reshape(-1)
    total = np.stack([np.bincount(patch, bins[:, axis]) for axis in range(3)], axis=1)
    return patch.astype(np.int32), np.rint(total / count[:, None]).astype(np.int32)


def _views(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid (Z, Y, X) bool, and which of its rows (Z, Y) and planes (Z,) hold anything."""
    occupied = np.ascontiguousarray(occupied)
    return occupied, occupied.any(axis=2), occupied.any(axis=(1, 2))


def make_surface(
    num_bins: int,
    mask_grid: SurfaceGrid | None,
    top_keys: tuple[int, int, int],
    context: SurfaceContext | None,
    points: np.ndarray,
    normals: np.ndarray,
    proxy_bins: np.ndarray = NO_FACETS,
) -> Surface:
    """The arrays of a surface: samples (N, 3) in the unit box, their unit normals, the grids made from them, and the
    bins (F, 3, 3) of the faces of the proxy mesh, if there is one.

    Without `mask_grid` the surface mask can't be used, without `context` neither rows nor coverage guidance.
    """
    grid = mask_grid or (context and context.grid) or None
    grid_factor = grid.factor if grid else -(-num_bins // MAX_CELLS)
    nothing = np.zeros((-(-num_bins // grid_factor),) * 3, dtype=np.bool_)  # no surface anywhere
    mask, mask_zy, mask_z = _views(mask_grid.occupied if mask_grid else nothing)
    shown, shown_zy, shown_z = _views(context.grid.occupied if context else nothing)
    crease, crease_zy, crease_z = _views(context.crease.occupied if context else nothing)
    factor = -(-num_bins // DIRECTION_CELLS)
    cells = -(-num_bins // factor)
    points, normals = (points, normals) if context else (np.zeros((0, 3)), np.zeros((0, 3)))
    places = (points + 0.5) * num_bins - 0.5  # bin centers are integers
    bins = np.clip(np.floor(places + 0.5), 0, num_bins - 1).astype(np.int64)
    loose = key_bins(np.unique(vertex_keys(bins, num_bins)), num_bins)
    cell_start, order = _index_by_cell(_cell_of(bins, factor, cells), cells**3)
    places, normals, bins = places[order], normals[order], bins[order]
    patch, patch_center = _patches(loose)
    facets, facet_normals, facet_start, facet_listed = index_facets(proxy_bins, num_bins)
    candidates = context.candidates if context else no_candidates()
    loose_start, loose_number = _index_by_cell(_cell_of(loose, factor, cells), cells**3)
    return Surface(
        size=num_bins, factor=grid_factor,
        shown=shown, crease=crease, support=context.support_grid.occupied if context else nothing, mask=mask,
        shown_zy=shown_zy, crease_zy=crease_zy, mask_zy=mask_zy,
        shown_z=shown_z, crease_z=crease_z, mask_z=mask_z,
        top=np.array(top_keys, dtype=np.int64),
        mark_factor=factor, marks=context.directions.marks if context else np.zeros((cells,) * 3, dtype=np.uint32),
        backing=BACKING_BITS, places=np.ascontiguousarray(places),
        normals=np.ascontiguousarray(normals, dtype=np.float64), own=own_bits(normals),
        home=_cell_of(bins, factor, cells).astype(np.int32), cell_start=cell_start,
        loose=np.ascontiguousarray(loose, dtype=np.int32), loose_start=loose_start, loose_number=loose_number,
        patch=patch, patch_center=patch_center,
        corners=context.corner_keys.astype(np.int64) if context else np.zeros(0, dtype=np.int64),
        proxy=context.proxy_faces.astype(np.int32) if context else np.zeros((0, 3), dtype=np.int32),
        candidate_bins=candidates.bins, candidate_kinds=candidates.kinds, candidate_start=candidates.start,
        candidate_beside=candidates.beside, mirror=candidates.mirror,
        facets=facets, facet_normals=facet_normals, facet_start=facet_start, facet_listed=facet_listed,
    )  # fmt: skip


class Table(NamedTuple):
    """The unfinished mesh, with room for a number of faces (V vertices, E edges, F faces, N samples, L places)."""

    n: np.ndarray  # (1,) record of COUNTERS
    key: np.ndarray  # (V,) int64
    bins: np.ndarray  # (V, 3) int32: x, y, z
    is_corner: np.ndarray  # (V,) bool: a corner of the surface
    degree: np.ndarray  # (V,) int32: complete faces at the vertex; 0: not seen yet
    n_open: np.ndarray  # (V,) int32: open edges at the vertex
    out_head: np.ndarray  # (V,) int32: last edge that leaves the vertex, -1: none
    in_head: np.ndarray  # (V,) int32: last edge that enters it
    slots: np.ndarray  # hash table of vertex numbers + 1
    edge: np.ndarray  # (E, 2) int32: from, to
    edge_face: np.ndarray  # (E,) int32: the first face that used it
    uses: np.ndarray  # (E,) int32
    is_open: np.ndarray  # (E,) bool
    out_next: np.ndarray  # (E,) int32
    in_next: np.ndarray  # (E,) int32
    open_list: np.ndarray  # (V,) int32: vertices with open edges, in no order
    open_at: np.ndarray  # (V,) int32
    faces: np.ndarray  # (F, 3) int32
    face_edges: np.ndarray  # (F, 3) int32
    made: np.ndarray  # (F, 3) bool: the vertex was not known before
    begun: np.ndarray  # (9,) int64: coordinates of the face begun
    begun_vertex: np.ndarray  # (3,) int32
    covered: np.ndarray  # (N,) bool
    cover_stack: np.ndarray  # (N,) int32: samples in the order in which they were covered
    cover_end: np.ndarray  # (F + 1,) int32: samples covered once face f - 1 was there
    uncovered_count: np.ndarray  # (cells^3,) uint16: uncovered samples in and around a cell of the grids
    uncovered_directions: np.ndarray  # (cells^3,) uint32: directions of the uncovered samples in a cell of `marks`
    over: np.ndarray  # (P,) int32: the first face that lies over each face of the proxy + 1, 0: none; see proxy_faces
    held: np.ndarray  # (K,) int16: vertices of the mesh at each candidate
    taken: np.ndarray  # (L,) int16: known vertices that leave this place to themselves
    mark: np.ndarray  # (V,) uint8 scratch, zero between calls
    distance: np.ndarray  # (size + 1,) int32 scratch
    suggestion: np.ndarray  # (V,) int32: vertices that a row or guidance names for the vertex begun
    suggestion_bits: np.ndarray  # (V,) int32: the rows that name it
    priority: np.ndarray  # (V,) int8: see Priority
    stuck: np.ndarray  # (S, 4) int32: a vertex that can't go on, faces and vertices when that was found, see stuck_at
    stuck_at: np.ndarray  # (V,) int32: the newest such finding of a vertex + 1; each keeps the number of the one before
    loose: np.ndarray  # (L,) int32: places that guidance names beside them
    fan: np.ndarray  # (CACHED_FANS, L) int32: places in patches that an edge from a v0 reaches along the surface
    fan_size: np.ndarray  # (CACHED_FANS,) int64 how many
    fan_key: np.ndarray  # (CACHED_FANS,) int64 the key of that v0, -1: none yet
    reached: np.ndarray  # (P,) bool scratch
    fit_of: np.ndarray  # (CACHED_FITS, 3) int64 the keys of a triangle, -1: none yet
    fit: np.ndarray  # (CACHED_FITS,) float64 how it fits
    near: np.ndarray  # (MAX_NEAR,) int64 scratch
    fits: np.ndarray  # (V,) float64 scratch
    banned: np.ndarray  # (2 E + 2,) int64 scratch: keys that a mask forbids beside its bounds; more are left out
    order: np.ndarray  # (V,) int32 scratch


def make_table(surface: Surface, max_faces: int) -> Table:
    """An empty table for at most `max_faces` faces and one begun."""
    faces = max_faces + 2
    vertices = len(surface.corners) + 3 * faces
    edges = 3 * faces
    samples, places = len(surface.places), len(surface.loose)
    slots = 1 << int(np.ceil(np.log2(2 * vertices + 2)))

    def ints(*shape: int) -> np.ndarray:
        return np.zeros(shape, dtype=np.int32)

    return Table(
        n=np.zeros(1, dtype=COUNTERS).view(np.recarray), key=np.zeros(vertices, dtype=np.int64), bins=ints(vertices, 3),
        is_corner=np.zeros(vertices, dtype=np.bool_), degree=ints(vertices), n_open=ints(vertices),
        out_head=ints(vertices), in_head=ints(vertices), slots=ints(slots), edge=ints(edges, 2),
        edge_face=ints(edges), uses=ints(edges),
        is_open=np.zeros(edges, dtype=np.bool_), out_next=ints(edges), in_next=ints(edges),
        open_list=ints(vertices), open_at=ints(vertices), faces=ints(faces, 3), face_edges=ints(faces, 3),
        made=np.zeros((faces, 3), dtype=np.bool_), begun=np.zeros(9, dtype=np.int64), begun_vertex=ints(3),
        covered=np.zeros(samples, dtype=np.bool_), cover_stack=ints(samples), cover_end=ints(faces + 1),
        uncovered_count=np.zeros(surface.support.size, dtype=np.uint16),
        uncovered_directions=np.zeros(surface.marks.size, dtype=np.uint32),
        over=ints(len(surface.proxy)), held=np.zeros(len(surface.candidate_bins), dtype=np.int16),
        taken=np.zeros(places, dtype=np.int16),
        mark=np.zeros(vertices, dtype=np.uint8), distance=ints(surface.size + 1),
        suggestion=ints(vertices), suggestion_bits=ints(vertices), priority=np.zeros(vertices, dtype=np.int8),
        stuck=ints(8 * faces, 4), stuck_at=ints(vertices), loose=ints(places),
        fan=ints(CACHED_FANS, places), fan_size=np.zeros(CACHED_FANS, dtype=np.int64),
        fan_key=np.full(CACHED_FANS, -1, dtype=np.int64), reached=np.zeros(len(surface.patch_center), dtype=np.bool_),
        fit_of=np.full((CACHED_FITS, 3), -1, dtype=np.int64), fit=np.zeros(CACHED_FITS),
        near=np.zeros(MAX_NEAR, dtype=np.int64), fits=np.zeros(vertices), order=ints(vertices),
        banned=np.zeros(2 * edges + 2, dtype=np.int64),
    )  # fmt: skip
