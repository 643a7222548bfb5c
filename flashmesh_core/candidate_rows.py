"""What the decoder is shown of candidate vertices that need not lie in the very bin of the artist's, and of regularity.

A reading places a vertex to a bin or two, so a row that is cut down to the coordinates already written would be empty
as soon as one of them differs. These rows are cut down to places within `REACH` bins instead. Others show what lies at
the same height or on the same line, and where the mirror image of an earlier vertex would be: what an artist's mesh has
and a reading hasn't. Decoding and training call the same compiled functions.
Suffixes: K candidates, V known vertices, E ends of the 1x proxy's edges, R rows, Q bins.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.candidates import OF_PROXY, Candidates
from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.jit import njit, njit_no_refcount
from flashmesh_core.mesh.canonical import CanonicalMesh, vertex_keys

NEAR, RICHER, BESIDE, LEVEL, LINE, MIRROR = (
    SLICE_ROWS.index(name) for name in ("near", "richer", "beside", "level", "line", "mirror")
)
REACH = 2  # bins an axis that a candidate may be off
HELD = 1  # bins an axis within which a vertex of the mesh takes a candidate's place


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
def write_candidate_rows(
    places, kinds, start, beside, mirror, counts, bins, degree, count, v0, v1, axis, z, y, low, rows
):  # fmt: skip
    """Set rows NEAR to MIRROR (R, Q) of the coordinate on `axis` (2, 1, 0: z, y, x) of the vertex begun.

    `counts` (K,) are the mesh's vertices at each candidate, `bins` (V, 3) and `degree` (V,) the first `count` known
    vertices and in how many faces each is, `v0` and `v1` those of the face begun and `z` and `y` the coordinates of the
    vertex begun, -1 where not yet written. Candidates that lie below z = `low`, where the order allows no vertex any
    more, and farther than HELD, are not named.
    """
    for k in range(len(places)):
        if counts[k] == 0 and places[k, 2] >= low - HELD and _agrees(places, k, z, y):
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
            low = bins[faces[face - (slot == 0), 0], 2] if face + slot > 0 else 0
            write_candidate_rows(
                places, kinds, start, beside, mirror, counts, bins, degree, len(bins), v0, v1, axis, z, y, low,
                rows[9 * (face - begin) + at],
            )  # fmt: skip
        for slot in range(3):
            vertex = faces[face, slot]
            if degree[vertex] == 0:
                hold(places, counts, bins[vertex, 0], bins[vertex, 1], bins[vertex, 2], 1)
            degree[vertex] += 1
    low = bins[faces[stop - 1, 0], 2] if stop > 0 else 0
    write_candidate_rows(
        places, kinds, start, beside, mirror, counts, bins, degree, len(bins), -1, -1, 2, -1, -1, low, rows[-1]
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
