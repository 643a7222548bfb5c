"""What a drafter can know of a suggestion vertex from the half-edge table and the surface.

A row of features for every suggestion of the vertex begun, and a last row for "a vertex that is no suggestion".
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.slices import CORNER, OPEN, PROXY, SEEN, STRONG, SUPPORTED_CORNER, SUPPORTED_SEEN, WEAK
from flashmesh_core.state.arrays import BANNED_BIT, Priority, Surface, Table
from flashmesh_core.state.coverage import quotient
from flashmesh_core.state.half_edges import find_edge

FEATURES = 47
MAX_SUGGESTIONS = 160  # the nearest to v0 where there are more
MAX_STARTS = 8  # the lowest of the proxy's faces at which the next face may start, where one is best

_SUPPORTED = 1 << SUPPORTED_CORNER | 1 << SUPPORTED_SEEN
_BEST, _LATER, _POSSIBLE = int(Priority.BEST), int(Priority.LATER), int(Priority.POSSIBLE)
_LISTED = 1 << STRONG | 1 << WEAK | 1 << PROXY


@njit_no_refcount
def _normal(bins: np.ndarray, a: int, b: int, c: int) -> tuple[float, float, float, float]:
    """The unit normal of a triangle, and twice its area in bins."""
    ux, uy, uz = float(bins[b, 0] - bins[a, 0]), float(bins[b, 1] - bins[a, 1]), float(bins[b, 2] - bins[a, 2])
    vx, vy, vz = float(bins[c, 0] - bins[a, 0]), float(bins[c, 1] - bins[a, 1]), float(bins[c, 2] - bins[a, 2])
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    area = np.sqrt(x * x + y * y + z * z)
    size = max(area, 1e-9)
    return x / size, y / size, z / size, area


@njit_no_refcount
def _length(bins: np.ndarray, a: int, b: int) -> float:
    total = 0.0
    for axis in range(3):
        difference = float(bins[a, axis] - bins[b, axis])
        total += difference * difference
    return np.sqrt(total)


@njit_no_refcount
def _bend(table: Table, a: int, b: int, x: float, y: float, z: float, out: np.ndarray, at: int) -> None:
    """Whether the edge a -> b would close an open twin, and the cosine to the face beyond it, into out[at : at + 2]."""
    twin = find_edge(table, b, a)
    if twin < 0 or not table.is_open[twin]:
        return
    face = table.edge_face[twin]
    p, q, r, _ = _normal(table.bins, table.faces[face, 0], table.faces[face, 1], table.faces[face, 2])
    out[at] = 1.0
    out[at + 1] = x * p + y * q + z * r


@njit_no_refcount
def _triangle(table: Table, v0: int, v1: int, v2: int, out: np.ndarray, at: int) -> None:
    """The shape of a triangle and its bends, 9 numbers."""
    x, y, z, area = _normal(table.bins, v0, v1, v2)
    a, b, c = _length(table.bins, v0, v1), _length(table.bins, v1, v2), _length(table.bins, v2, v0)
    longest = max(a, b, c, 1e-9)
    out[at] = area / (longest * longest)
    out[at + 1] = 1.0 if area < 1e-9 else 0.0
    out[at + 2] = min(a, b, c) / longest
    _bend(table, v0, v1, x, y, z, out, at + 3)
    _bend(table, v1, v2, x, y, z, out, at + 5)
    _bend(table, v2, v0, x, y, z, out, at + 7)


@njit_no_refcount
def _crease_fraction(crease: np.ndarray, part: float, bins: np.ndarray, a: int, b: int) -> float:
    """The fraction of three points of an edge that lie where the surface bends; `part` is 1 / (16 * factor)."""
    found = 0.0
    for step in (2, 4, 6):
        other = 8 - step
        x = quotient((2 * bins[a, 0] + 1) * other + (2 * bins[b, 0] + 1) * step, part)
        y = quotient((2 * bins[a, 1] + 1) * other + (2 * bins[b, 1] + 1) * step, part)
        z = quotient((2 * bins[a, 2] + 1) * other + (2 * bins[b, 2] + 1) * step, part)
        if crease[z, y, x]:
            found += 1.0 / 3.0
    return found


@njit_no_refcount
def _is_useful(table: Table, number: int, rows: int, priority: int) -> bool:
    """Whether one of the `rows`, as bits, names a suggestion, or coverage guidance gives it at least this priority."""
    return table.suggestion_bits[number] & rows != 0 or table.priority[number] >= priority


@njit_no_refcount
def _reach(table: Table, v0: int, rows: int, priority: int) -> float:
    """The distance from v0 that holds MAX_SUGGESTIONS useful suggestions, about."""
    if table.n[0].suggestions <= MAX_SUGGESTIONS:
        return 1e9
    table.distance[:] = 0
    for number in range(table.n[0].suggestions):
        if _is_useful(table, number, rows, priority):
            far = min(int(_length(table.bins, v0, table.suggestion[number])), len(table.distance) - 1)
            table.distance[far] += 1
    count = 0
    for reach in range(len(table.distance)):
        count += table.distance[reach]
        if count > MAX_SUGGESTIONS:
            return float(reach)
    return 1e9


@njit_no_refcount
def _write_kinds(table: Table, number: int, slot: int, row: np.ndarray) -> None:
    """What names the suggestion, and how its vertex stands in the mesh."""
    bits, vertex = table.suggestion_bits[number], table.suggestion[number]
    row[0] = 1.0
    row[1] = 1.0 if bits & 1 << OPEN else 0.0
    row[2] = 1.0 if bits & 1 << STRONG else 0.0
    row[3] = 1.0 if bits & 1 << WEAK else 0.0
    row[4] = 1.0 if bits & 1 << CORNER else 0.0
    row[5] = 1.0 if bits & 1 << SEEN else 0.0
    row[6] = 1.0 if bits & _SUPPORTED else 0.0
    row[7] = 1.0 if table.priority[number] == _BEST else 0.0
    row[8] = 1.0 if table.degree[vertex] == 0 else 0.0
    row[9] = min(table.n_open[vertex], 4) * 0.25
    row[10] = min(table.degree[vertex], 8) * 0.125
    row[30] = 1.0 if vertex == table.n[0].growable and slot == 0 else 0.0
    row[43] = 1.0 if table.priority[number] == _LATER else 0.0
    row[44] = 1.0 if bits & 1 << PROXY else 0.0


@njit_no_refcount
def _write_after_last(table: Table, vertex: int, last: int, row: np.ndarray) -> None:
    """How the vertex stands to the last face, if there is one."""
    if last < 0:
        return
    for corner in range(3):
        row[11 + corner] = 1.0 if table.faces[last, corner] == vertex else 0.0
    row[14] = np.log(1.0 + _length(table.bins, vertex, table.faces[last, 1])) * 0.2
    row[15] = np.log(1.0 + _length(table.bins, vertex, table.faces[last, 2])) * 0.2


@njit_no_refcount
def _write_beside_begun(surface: Surface, table: Table, vertex: int, slot: int, last: int, row: np.ndarray) -> None:
    """How the vertex stands to those of the face begun, if there are any."""
    if slot == 0:
        return
    v0, part = table.begun_vertex[0], 1.0 / (16 * surface.factor)
    far = _length(table.bins, v0, vertex)
    row[17] = far / float(surface.size)
    row[18] = np.log(1.0 + far) * 0.2
    row[19] = 1.0 if last >= 0 and table.faces[last, 0] == v0 else 0.0
    row[40] = _crease_fraction(surface.crease, part, table.bins, v0, vertex)
    if slot == 2:
        v1 = table.begun_vertex[1]
        _triangle(table, v0, v1, vertex, row, 20)
        row[29] = np.log(1.0 + _length(table.bins, v1, vertex)) * 0.2
        row[41] = _crease_fraction(surface.crease, part, table.bins, v1, vertex)
        return
    twin = find_edge(table, vertex, v0)
    if twin >= 0 and table.is_open[twin]:
        face = table.edge_face[twin]
        row[20] = 1.0 if face == last else 0.0
        row[21] = 1.0 if last >= 0 and table.faces[face, 0] == v0 else 0.0
        row[22] = 1.0 if find_edge(table, v0, vertex) >= 0 else 0.0


@njit_no_refcount
def write_features(surface: Surface, table: Table, chosen: np.ndarray, out: np.ndarray) -> int:
    """Features of the suggestions into `out` (MAX_SUGGESTIONS + 1, FEATURES), their vertices into `chosen`; how many.

    The row after the last suggestion stands for a vertex that is none of them. `prepare` first.
    """
    slot, last = table.n[0].begun // 3, table.n[0].faces - 1
    rows = _LISTED if slot == 0 else _LISTED | _SUPPORTED
    priority, starts = _LATER if slot == 0 else _POSSIBLE, MAX_SUGGESTIONS
    for number in range(table.n[0].suggestions):
        if table.priority[number] == _BEST:
            rows, priority = 1 << PROXY, _LATER  # coverage guidance leaves the others hardly a chance
            starts = MAX_STARTS if slot == 0 else MAX_SUGGESTIONS
            break
    center = table.begun_vertex[0] if slot > 0 else (table.faces[last, 0] if last >= 0 else 0)
    reach = _reach(table, center, rows, priority)
    count = 0
    for number in range(table.n[0].suggestions):
        bits = table.suggestion_bits[number]
        if not _is_useful(table, number, rows, priority) or bits & BANNED_BIT or count == MAX_SUGGESTIONS:
            continue
        if table.priority[number] < priority:
            starts -= 1
            if starts < 0:  # corners, which the proxy's vertices are, come in key order
                continue
        vertex = table.suggestion[number]
        is_near = _length(table.bins, center, vertex) <= reach
        if not (is_near or bits & 1 << STRONG or table.priority[number] == _BEST):
            continue
        row = out[count, :FEATURES]
        row[:] = 0.0
        chosen[count] = vertex
        _write_kinds(table, number, slot, row)
        _write_after_last(table, vertex, last, row)
        below = table.bins[center, 2] if last >= 0 or slot > 0 else 0
        row[16] = (table.bins[vertex, 2] - below) / float(surface.size)
        _write_beside_begun(surface, table, vertex, slot, last, row)
        count += 1
    _write_ranks(table, chosen, out, count)
    _write_none(table, out, count, slot)
    return count


@njit_no_refcount
def _write_ranks(table: Table, chosen: np.ndarray, out: np.ndarray, count: int) -> None:
    """How many suggestions of the same kind come before each in the order: best, strong, supported, the proxy's."""
    order = table.order
    for number in range(count):  # corners, the first of them, are in order already
        at = number
        while at > 0 and table.key[chosen[order[at - 1]]] > table.key[chosen[number]]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = number
    best = strong = supported = every = of_proxy = np.float32(0.0)
    for at in range(count):
        row = out[order[at]]
        _write_rank(row, 31, 35, best)
        _write_rank(row, 32, 36, strong)
        _write_rank(row, 33, 37, supported)
        _write_rank(row, 34, 38, every)
        _write_rank(row, 45, 46, of_proxy)
        best += row[7]
        strong += row[2]
        supported += row[6]
        every += np.float32(1.0)
        of_proxy += row[44]


@njit_no_refcount
def _write_rank(row: np.ndarray, at: int, first: int, before: np.float32) -> None:
    row[at] = np.minimum(before, np.float32(6.0)) / np.float32(6.0)
    row[first] = 1.0 if before == 0.0 else 0.0


@njit_no_refcount
def _write_none(table: Table, out: np.ndarray, count: int, slot: int) -> None:
    """The row of "no suggestion": how many there are of each kind, and how many places beside them."""
    row = out[count, :FEATURES]
    row[:] = 0.0
    for number in range(count):
        row[1] += out[number, 2]
        row[2] += out[number, 6]
        row[3] += out[number, 7]
        row[4] += out[number, 8]
        row[44] += out[number, 44]
    row[46] = 1.0 if row[44] == 0.0 else 0.0
    row[44] = min(row[44], 8.0) * 0.125
    for kind in range(1, 5):
        row[4 + kind] = 1.0 if row[kind] == 0.0 else 0.0
        row[kind] = min(row[kind], 8.0) * 0.125
    row[9] = min(np.log(1.0 + table.n[0].places) * 0.1, 1.0)
    row[10] = 1.0 if table.n[0].places == 0 else 0.0
    row[11] = 1.0 if table.n[0].growable < 0 else 0.0
    row[12] = 1.0 if table.n[0].faces == 0 else 0.0
    row[42] = 1.0
