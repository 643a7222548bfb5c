"""What the decoder is shown of candidate vertices that need not lie in the very bin of the artist's, and of regularity.

A reading places a vertex to a bin or two, so a row that is cut down to the coordinates already written would be empty
as soon as one of them differs. These rows are cut down to places within `REACH` bins instead. Others show what lies at
the same height or on the same line, and where the mirror image of an earlier vertex would be: what an artist's mesh has
and a reading hasn't. Decoding and training call the same compiled functions.
Suffixes: K candidates, V known vertices, E ends of the 1x proxy's edges, R rows, Q bins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.jit import njit, njit_no_refcount
from flashmesh_core.mesh.canonical import CanonicalMesh, quantize, vertex_keys

NEAR, RICHER, BESIDE, LEVEL, LINE, MIRROR = (
    SLICE_ROWS.index(name) for name in ("near", "richer", "beside", "level", "line", "mirror")
)
REACH = 2  # bins an axis that a candidate may be off
HELD = 1  # bins an axis within which a vertex of the mesh takes a candidate's place
OF_PROXY, OF_RICHER = 1, 2  # kinds: vertices of the 1x proxy, and of the 2x proxy alone


class Candidates(NamedTuple):
    """The vertices of a reading's proxies, each once, and how those of the 1x proxy are joined."""

    bins: np.ndarray  # (K, 3) int32: x, y, z
    kinds: np.ndarray  # (K,) uint8: OF_PROXY or OF_RICHER
    start: np.ndarray  # (K + 1,) int32: the neighbors of candidate k are beside[start[k]:start[k + 1]]
    beside: np.ndarray  # (E,) int32
    mirror: np.ndarray  # (2,) float64: sums of the coordinates, in bins, of a vertex and its mirror image in x, y


def no_candidates() -> Candidates:
    """Those of a reading that shows none."""
    empty = np.zeros(0, dtype=np.int32)
    return Candidates(np.zeros((0, 3), np.int32), np.zeros(0, np.uint8), np.zeros(1, np.int32), empty, np.zeros(2))


def make_candidates(
    proxy: np.ndarray, faces: np.ndarray, richer: np.ndarray, num_bins: int, kept: np.ndarray | None = None
) -> Candidates:
    """From the 1x proxy's vertices (V, 3) and faces (F, 3) and the 2x proxy's vertices (W, 3), in the unit box.

    `kept` (V + W,) bool leaves some out, as training does.
    """
    stays = np.ones(len(proxy) + len(richer), dtype=bool) if kept is None else kept
    places = np.concatenate([proxy, richer])
    bins = quantize(places, num_bins).astype(np.int64)
    keys, first = np.unique(vertex_keys(bins, num_bins)[stays], return_index=True)
    chosen = np.flatnonzero(stays)[first]  # the 1x proxy comes first, so a vertex of both is one of it
    number = np.full(len(stays), -1)
    number[chosen] = np.arange(len(chosen))
    in_bin = np.minimum(np.searchsorted(keys, vertex_keys(bins[: len(proxy)], num_bins)), max(len(keys) - 1, 0))
    own = np.where(stays[: len(proxy)], in_bin if len(keys) else -1, -1)
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = own[np.concatenate([ends, ends[:, ::-1]])]
    pairs = np.unique(pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])], axis=0).reshape(-1, 2)
    start = np.zeros(len(chosen) + 1, dtype=np.int32)
    np.cumsum(np.bincount(pairs[:, 0], minlength=len(chosen)), out=start[1:])
    in_bins = (proxy + 0.5) * num_bins - 0.5
    return Candidates(
        bins=np.ascontiguousarray(bins[chosen], dtype=np.int32),
        kinds=np.where(chosen < len(proxy), OF_PROXY, OF_RICHER).astype(np.uint8),
        start=start, beside=np.ascontiguousarray(pairs[:, 1], dtype=np.int32),
        mirror=in_bins[:, :2].min(axis=0) + in_bins[:, :2].max(axis=0),
    )  # fmt: skip


@njit_no_refcount
def hold(places, counts, x, y, z, by):
    """Count (K,) `by` more vertices, 1 or -1, of the mesh at candidates within HELD bins of x, y, z."""
    for k in range(len(places)):
        if abs(places[k, 0] - x) <= HELD and abs(places[k, 1] - y) <= HELD and abs(places[k, 2] - z) <= HELD:
            counts[k] += by


@njit_no_refcount
def _agrees(places, k, z, y):
    return (z < 0 or abs(places[k, 2] - z) <= REACH) and (y < 0 or abs(places[k, 1] - y) <= REACH)


@njit_no_refcount
def _nearest(places, kinds, bins, vertex):
    """The nearest candidate of the 1x proxy within REACH bins of a vertex, the first of several; -1: none."""
    best, found = REACH + 1, -1
    for k in range(len(places)):
        if kinds[k] != OF_PROXY:
            continue
        far = abs(places[k, 0] - bins[vertex, 0])
        far = max(far, abs(places[k, 1] - bins[vertex, 1]))
        far = max(far, abs(places[k, 2] - bins[vertex, 2]))
        if far < best:
            best, found = far, k
    return found


@njit_no_refcount
def _write_beside(places, kinds, start, beside, bins, v0, v1, axis, z, y, row):
    """Candidates that the 1x proxy joins to those at v0 and v1 (-1: not written yet)."""
    first = _nearest(places, kinds, bins, v0)
    second = _nearest(places, kinds, bins, v1) if v1 >= 0 else -1
    if first < 0:
        first, second = second, -1
    if first < 0:
        return
    for at in range(start[first], start[first + 1]):
        k = beside[at]
        joined = second < 0
        if second >= 0:
            for other in range(start[second], start[second + 1]):
                joined = joined or beside[other] == k
        if joined and _agrees(places, k, z, y):
            row[places[k, axis]] = 1


@njit_no_refcount
def _write_regular(mirror, bins, degree, count, axis, z, y, rows):
    """Coordinates of the mesh's vertices: all on this axis, those on the line begun, and their mirror images."""
    last = rows.shape[1] - 1
    for vertex in range(count):
        if degree[vertex] == 0:
            continue
        rows[LEVEL, bins[vertex, axis]] = 1
        if axis == 1 and bins[vertex, 2] == z:
            rows[LINE, bins[vertex, 1]] = 1
            rows[MIRROR, min(max(int(np.floor(mirror[1] - bins[vertex, 1] + 0.5)), 0), last)] = 1
        if axis == 0 and bins[vertex, 1] == y:
            rows[LINE, bins[vertex, 0]] = 1
            if bins[vertex, 2] == z:
                rows[MIRROR, min(max(int(np.floor(mirror[0] - bins[vertex, 0] + 0.5)), 0), last)] = 1


@njit_no_refcount
def write_candidate_rows(places, kinds, start, beside, mirror, counts, bins, degree, count, v0, v1, axis, z, y, rows):
    """Set rows NEAR to MIRROR (R, Q) of the coordinate on `axis` (2, 1, 0: z, y, x) of the vertex begun.

    `counts` (K,) are the mesh's vertices at each candidate, `bins` (V, 3) and `degree` (V,) the first `count` known
    vertices and in how many faces each is, `v0` and `v1` those of the face begun and `z` and `y` the coordinates of the
    vertex begun, -1 where not yet written.
    """
    for k in range(len(places)):
        if counts[k] == 0 and _agrees(places, k, z, y):
            rows[NEAR if kinds[k] == OF_PROXY else RICHER, places[k, axis]] = 1
    _write_regular(mirror, bins, degree, count, axis, z, y, rows)
    if v0 >= 0:
        _write_beside(places, kinds, start, beside, bins, v0, v1, axis, z, y, rows[BESIDE])
    if axis == 2:
        for vertex in (v0, v1):
            if vertex >= 0:
                rows[LINE, bins[vertex, 2]] = 1


@njit(cache=True)
def _rows_of_mesh(places, kinds, start, beside, mirror, bins, faces, begin, stop, size, total):
    counts, degree = np.zeros(len(places), np.int16), np.zeros(len(bins), np.int32)
    rows = np.zeros((9 * (stop - begin) + 1, total, size), np.uint8)
    for face in range(stop):
        for at in range(9 if face >= begin else 0):
            slot, axis = at // 3, 2 - at % 3
            v0 = faces[face, 0] if slot > 0 else -1
            v1 = faces[face, 1] if slot > 1 else -1
            vertex = faces[face, slot]
            z = bins[vertex, 2] if axis < 2 else -1
            y = bins[vertex, 1] if axis < 1 else -1
            write_candidate_rows(
                places, kinds, start, beside, mirror, counts, bins, degree, len(bins), v0, v1, axis, z, y,
                rows[9 * (face - begin) + at],
            )  # fmt: skip
        for slot in range(3):
            vertex = faces[face, slot]
            if degree[vertex] == 0:
                hold(places, counts, bins[vertex, 0], bins[vertex, 1], bins[vertex, 2], 1)
            degree[vertex] += 1
    write_candidate_rows(
        places, kinds, start, beside, mirror, counts, bins, degree, len(bins), -1, -1, 2, -1, -1, rows[-1]
    )
    return rows


def candidate_rows_of_mesh(candidates: Candidates, mesh: CanonicalMesh, begin: int, stop: int) -> np.ndarray:
    """These rows of every token of faces begin..stop-1 and of the token after, (9 * faces + 1, R, Q) uint8; the rows
    of `slices.py` are left empty."""
    bins, faces = mesh.vertices.astype(np.int32), mesh.faces.astype(np.int64)
    keys, number = np.unique(vertex_keys(mesh.vertices, mesh.num_bins), return_inverse=True)
    if len(keys) < len(bins):  # vertices that mistakes wrote stand beside those at the same place
        first = np.zeros(len(keys), dtype=np.int64)
        first[number[::-1]] = np.arange(len(bins))[::-1]
        bins, faces = bins[first], number.reshape(-1)[faces]
    return _rows_of_mesh(*candidates, bins, faces, begin, stop, mesh.num_bins, len(SLICE_ROWS))
