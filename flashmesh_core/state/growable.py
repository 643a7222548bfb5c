"""Which vertices are growable: a face over known vertices may still grow from them onto uncovered surface."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.state.arrays import MAX_NEAR, Surface, Table
from flashmesh_core.state.coverage import center_is_uncovered, edge_on_surface, middle_on_surface, triangle_is_uncovered
from flashmesh_core.state.fit import MAX_DEVIATION, deviation, is_empty, is_free
from flashmesh_core.state.half_edges import find_edge
from flashmesh_core.state.suggestions import distance

MAX_TESTED = 24  # open vertices looked at for one that can go on

_NONE = 1 << 62


@njit_no_refcount
def near_known(surface: Surface, table: Table, v0: int, near: np.ndarray) -> int:
    """The nearest known vertices above v0 to which an edge lies along the surface, in key order; how many."""
    key0, bins = table.key[v0], table.bins
    table.distance[:] = 0
    total = 0
    for vertex in range(table.n[0].vertices):
        if table.key[vertex] > key0 and (table.degree[vertex] > 0 or table.is_corner[vertex]):
            table.distance[distance(table.bins, v0, vertex)] += 1
            total += 1
    reach = np.int64(len(table.distance))
    if total > MAX_NEAR:
        total = 0
        for at in range(len(table.distance)):
            total += table.distance[at]
            if total > MAX_NEAR:
                reach = np.int64(at - 1)
                break
    count = 0
    for vertex in range(table.n[0].vertices):
        if table.key[vertex] <= key0 or not (table.degree[vertex] > 0 or table.is_corner[vertex]):
            continue
        if distance(table.bins, v0, vertex) > reach:
            continue
        x, y, z = bins[v0, 0] + bins[vertex, 0], bins[v0, 1] + bins[vertex, 1], bins[v0, 2] + bins[vertex, 2]
        if not middle_on_surface(surface.support, surface.factor, x, y, z):
            continue
        if edge_on_surface(surface, bins[v0], bins[vertex]):
            at = count  # corners come in key order, and first
            while at > 0 and table.key[near[at - 1]] > table.key[vertex]:
                near[at] = near[at - 1]
                at -= 1
            near[at] = vertex
            count += 1
    return count


@njit_no_refcount
def _lowest_third(table: Table, v0: int, v1: int) -> int:
    """The lowest key of a v2 with which v0, v1 may be the next face, -1 for any; a key above all where none may.

    Faces come in order and their edges are unused.
    """
    last = table.n[0].faces - 1
    lowest = np.int64(-1)
    if last >= 0 and table.faces[last, 0] == v0:
        p1 = table.key[table.faces[last, 1]]
        if table.key[v1] < p1:
            return _NONE
        if table.key[v1] == p1:
            lowest = table.key[table.faces[last, 2]] + 1
    return lowest if find_edge(table, v0, v1) < 0 else _NONE


@njit_no_refcount
def _may_be_third(
    surface: Surface, table: Table, v0: int, v1: int, v2: int, near: np.ndarray, lowest: int, strict: bool
) -> bool:
    """Whether v2, its key at least `lowest`, makes a face on uncovered surface, over nothing known if `strict`."""
    bins = table.bins
    if v2 == v1 or table.key[v2] < lowest:
        return False
    x, y, z = bins[v0, 0] + bins[v1, 0], bins[v0, 1] + bins[v1, 1], bins[v0, 2] + bins[v1, 2]
    cells, part = len(surface.support), 1.0 / (6 * surface.factor)
    if not center_is_uncovered(table.uncovered_count, cells, part, x + bins[v2, 0], y + bins[v2, 1], z + bins[v2, 2]):
        return False
    if find_edge(table, v2, v0) >= 0 or not triangle_is_uncovered(surface, table, bins[v0], bins[v1], bins[v2]):
        return False
    if not edge_on_surface(surface, bins[v1], bins[v2]):
        return False
    return not strict or (is_empty(bins, v0, v1, v2, near) and is_free(table, v0, v1, v2))


@njit_no_refcount
def _find_third(
    surface: Surface, table: Table, v0: int, v1: int, near: np.ndarray, lowest: int, since: int,
    strict: bool,
) -> bool:  # fmt: skip
    """Whether some near v2, numbered from `since` on, makes such a face, and if `strict` one that fits."""
    for v2 in near:
        if v2 < since or not _may_be_third(surface, table, v0, v1, v2, near, lowest, strict):
            continue
        if not strict or deviation(surface, table, v0, v1, v2) <= MAX_DEVIATION:
            return True
    return False


@njit_no_refcount
def find_second(surface: Surface, table: Table, v0: int, near: np.ndarray, since: int, strict: bool) -> int:
    """The lowest of the `near` v1 that may follow v0 in a face over them, one numbered from `since` on; -1 for none."""
    for v1 in near:
        lowest = _lowest_third(table, v0, v1)
        if lowest == _NONE:
            continue
        newer = np.int64(0) if v1 >= since else np.int64(since)
        if _find_third(surface, table, v0, v1, near, lowest, newer, strict):
            return v1
    return -1


@njit_no_refcount
def noted_second(table: Table, v0: int) -> int:
    """The v1 that was found when v0 was tested for growable, if no face has come or gone since; else -1."""
    n = table.n[0]
    same = n.second_of == v0 and n.second_faces == n.faces
    return n.second if same and n.second_undone == n.undone else -1


@njit_no_refcount
def _is_growable(surface: Surface, table: Table, v0: int, near: np.ndarray, strict: bool) -> bool:
    """Whether a face over known vertices may still grow from v0 onto uncovered surface; its v1 is noted.

    Since an earlier finding that none can, uncovered surface and unused edges can only have become fewer; then only
    faces with a vertex that is new since are tested about.
    """
    since = table.stuck[table.stuck_at[v0] - 1, 2] if strict and table.stuck_at[v0] > 0 else 0
    if since == table.n[0].vertices:
        return False
    count = near_known(surface, table, v0, near)
    any_new = False
    for number in range(count):
        any_new |= near[number] >= since
    if not any_new:
        return False
    v1 = find_second(surface, table, v0, near[:count], since, strict)
    if v1 < 0:
        return False
    n = table.n[0]
    n.second, n.second_of = v1, v0
    n.second_faces, n.second_undone = n.faces, n.undone
    return True


@njit_no_refcount
def _note_stuck(table: Table, vertex: int) -> None:
    at = table.stuck_at[vertex]
    count = table.n[0].stuck
    if count == len(table.stuck) or (at > 0 and table.stuck[at - 1, 2] == table.n[0].vertices):
        return
    table.stuck[count, 0] = vertex
    table.stuck[count, 1] = table.n[0].faces
    table.stuck[count, 2] = table.n[0].vertices
    table.stuck[count, 3] = at
    table.stuck_at[vertex] = count + 1
    table.n[0].stuck = count + 1


@njit_no_refcount
def _test(surface: Surface, table: Table, vertex: int, near: np.ndarray, strict: bool) -> bool:
    if _is_growable(surface, table, vertex, near, strict):
        return True
    if strict:
        _note_stuck(table, vertex)
    return False


@njit_no_refcount
def find_growable(surface: Surface, table: Table, near: np.ndarray, strict: bool) -> int:
    """The lowest open vertex that is growable, or -1."""
    floor = np.int64(-1)
    if table.n[0].faces > 0:
        floor = table.key[table.faces[table.n[0].faces - 1, 0]] - 1
    for _ in range(MAX_TESTED):
        best = -1
        for number in range(table.n[0].open):
            vertex = table.open_list[number]
            if table.key[vertex] > floor and (best < 0 or table.key[vertex] < table.key[best]):
                best = vertex
        if best < 0:
            return -1
        if _test(surface, table, best, near, strict):
            return best
        floor = table.key[best]
    return -1


@njit_no_refcount
def find_start(surface: Surface, table: Table, lowest: int, highest: int, near: np.ndarray, strict: bool) -> int:
    """The lowest of the corners of the surface, in key order, that no face uses yet and that is growable, or -1.

    Only keys lowest..highest - 1 count. No later face can have a vertex below its v0: passed by, it is lost.
    """
    tested = 0
    for vertex in range(len(surface.corners)):
        if table.degree[vertex] > 0 or table.key[vertex] < lowest:
            continue
        if table.key[vertex] >= highest or tested == MAX_TESTED:
            return -1
        tested += 1
        if _test(surface, table, vertex, near, strict):
            return vertex
    return -1
