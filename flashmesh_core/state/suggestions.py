"""The suggestions of the vertex begun: every vertex that a slice row or guidance names, once, with its rows as bits."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.slices import (
    CORNER,
    MAX_SUPPORT_SUGGESTIONS,
    OPEN,
    PROXY,
    SEEN,
    STRONG,
    SUPPORTED_CORNER,
    SUPPORTED_SEEN,
    WEAK,
)  # fmt: skip
from flashmesh_core.state.arrays import BANNED_BIT, BARE_BIT, Priority, Surface, Table
from flashmesh_core.state.coverage import (
    backing_of,
    edge_on_surface,
    faces_like_surface,
    faces_like_uncovered,
    inner_is_uncovered,
    inner_on_surface,
)  # fmt: skip
from flashmesh_core.state.half_edges import find_edge
from flashmesh_core.state.proxy_faces import IS_BARE, IS_OF_PROXY

_IS_STRONG, _IS_WEAK, _IS_BANNED = 1, 2, 4  # beside those of `proxy_faces`
_FAR = 1 << 20


@njit_no_refcount
def lowest_key(table: Table) -> int:
    """The lowest key that the order allows for the vertex begun: faces increase, v1 and v2 lie above v0."""
    p0 = p1 = p2 = np.int64(-1)
    last = table.n[0].faces - 1
    if last >= 0:
        p0, p1, p2 = table.key[table.faces[last, 0]], table.key[table.faces[last, 1]], table.key[table.faces[last, 2]]
    slot = table.n[0].begun // 3
    if slot == 0:
        return max(p0, np.int64(0))
    v0 = table.key[table.begun_vertex[0]]
    if slot == 1:
        return max(v0 + 1, p1) if v0 == p0 else v0 + 1
    return max(v0 + 1, p2 + 1) if v0 == p0 and table.key[table.begun_vertex[1]] == p1 else v0 + 1


@njit_no_refcount
def distance(bins: np.ndarray, a: int, b: int) -> int:
    """Chebyshev distance of two vertices in bins."""
    far = np.int64(0)
    for axis in range(3):
        far = max(far, np.int64(abs(bins[a, axis] - bins[b, axis])))
    return far


@njit_no_refcount
def written(table: Table) -> tuple[int, int]:
    """The z and y written of the vertex begun, -1 where it has none yet."""
    begun = table.n[0].begun
    count = begun % 3
    z = table.begun[begun - count] if count > 0 else np.int64(-1)
    return z, table.begun[begun - 1] if count > 1 else np.int64(-1)


@njit_no_refcount
def agrees(z: int, y: int, bins: np.ndarray) -> bool:
    """Whether bins x, y, z begin with the coordinates `written`."""
    return (z < 0 or bins[2] == z) and (y < 0 or bins[1] == y)


@njit_no_refcount
def _mark_open_edges(table: Table, vertex: int, lowest: int, beside: int) -> None:
    """Mark as weak what open edges join to `vertex`, above `lowest` and without a used edge from `beside`."""
    edge = table.out_head[vertex]
    while edge >= 0:
        other = table.edge[edge, 1]
        if table.is_open[edge] and table.key[other] > lowest and find_edge(table, beside, other) < 0:
            table.mark[other] |= _IS_WEAK
        edge = table.out_next[edge]
    edge = table.in_head[vertex]
    while edge >= 0:
        other = table.edge[edge, 0]
        if table.is_open[edge] and table.key[other] > lowest and find_edge(table, beside, other) < 0:
            table.mark[other] |= _IS_WEAK
        edge = table.in_next[edge]


@njit_no_refcount
def mark_first(table: Table) -> None:
    """v0: the lowest open vertex that the order allows is strong, the three after it are weak."""
    previous = np.int64(-1)
    if table.n[0].faces > 0:
        previous = table.key[table.faces[table.n[0].faces - 1, 0]]
    found = table.near
    count = 0
    for number in range(table.n[0].open):
        vertex = table.open_list[number]
        key = table.key[vertex]
        if key < previous or (count == 4 and key > table.key[found[3]]):
            continue
        at = min(count, 3)
        while at > 0 and table.key[found[at - 1]] > key:
            if at < 4:
                found[at] = found[at - 1]
            at -= 1
        found[at] = vertex
        count = min(count + 1, 4)
    for at in range(count):
        table.mark[found[at]] |= _IS_STRONG if at == 0 else _IS_WEAK


@njit_no_refcount
def mark_second(table: Table, v0: int) -> None:
    """v1: x of the open x -> v0 are strong, open vertices one edge further on are weak."""
    key0 = table.key[v0]
    edge = table.in_head[v0]
    while edge >= 0:
        other = table.edge[edge, 0]
        if table.is_open[edge] and table.key[other] > key0:
            table.mark[other] |= _IS_STRONG
            _mark_open_edges(table, other, key0, v0)
        edge = table.in_next[edge]
    edge = table.out_head[v0]
    while edge >= 0:
        if table.is_open[edge]:
            _mark_open_edges(table, table.edge[edge, 1], key0, v0)
        table.mark[table.edge[edge, 1]] |= _IS_BANNED
        edge = table.out_next[edge]


@njit_no_refcount
def mark_third(table: Table, v0: int, v1: int) -> None:
    """v2: w of the open v0 -> w and w' of the open w' -> v1 are weak, those in both are strong."""
    key0 = table.key[v0]
    edge = table.out_head[v0]
    while edge >= 0:
        other = table.edge[edge, 1]
        if table.is_open[edge] and table.key[other] > key0 and other != v1:
            table.mark[other] |= _IS_WEAK
        edge = table.out_next[edge]
    edge = table.in_head[v1]
    while edge >= 0:
        other = table.edge[edge, 0]
        if table.is_open[edge] and table.key[other] > key0 and other != v1:
            table.mark[other] |= _IS_STRONG if table.mark[other] & _IS_WEAK else _IS_WEAK
        edge = table.in_next[edge]
    edge = table.in_head[v0]
    while edge >= 0:
        table.mark[table.edge[edge, 0]] |= _IS_BANNED
        edge = table.in_next[edge]
    edge = table.out_head[v1]
    while edge >= 0:
        table.mark[table.edge[edge, 1]] |= _IS_BANNED
        edge = table.out_next[edge]


@njit_no_refcount
def list_suggestions(table: Table, slot: int, lowest: int, v1: int) -> None:
    """Every legal vertex that a row names, with its rows as bits; marks are taken off on the way."""
    count = 0
    for vertex in range(table.n[0].vertices):
        mark = table.mark[vertex]
        table.mark[vertex] = 0
        seen = table.degree[vertex] > 0
        if not (seen or table.is_corner[vertex] or mark):
            continue
        if table.key[vertex] < lowest or (slot == 2 and vertex == v1):
            continue
        bits = 0
        banned = mark & _IS_BANNED
        if table.n_open[vertex] > 0 and not banned:
            bits |= 1 << OPEN
        if mark & _IS_STRONG:
            bits |= 1 << STRONG
        if mark & (_IS_WEAK | (_IS_STRONG if slot == 2 else 0)):
            bits |= 1 << WEAK
        if table.is_corner[vertex]:
            bits |= 1 << CORNER
        if seen and not banned:
            bits |= 1 << SEEN
        if mark & IS_OF_PROXY:
            bits |= 1 << PROXY
        if mark & IS_BARE:
            bits |= BARE_BIT
        if banned:
            bits |= BANNED_BIT
        if bits:
            table.suggestion[count] = vertex
            table.suggestion_bits[count] = bits
            table.priority[count] = Priority.NONE
            count += 1
    table.n[0].suggestions = count


@njit_no_refcount
def _support_reach(table: Table, v0: int) -> int:
    """The distance from v0 within which suggestions are tested for support; bounds the work on dense meshes."""
    if table.n[0].suggestions <= MAX_SUPPORT_SUGGESTIONS:
        return _FAR
    table.distance[:] = 0
    count = 0
    for number in range(table.n[0].suggestions):
        if _may_be_supported(table.suggestion_bits[number]):
            table.distance[distance(table.bins, v0, table.suggestion[number])] += 1
    for reach in range(len(table.distance)):
        count += table.distance[reach]
        if count >= MAX_SUPPORT_SUGGESTIONS:
            return reach
    return _FAR


@njit_no_refcount
def _may_be_supported(bits: int) -> bool:
    return bits & ((1 << CORNER) | (1 << SEEN)) != 0 and bits & (BANNED_BIT) == 0


@njit_no_refcount
def mark_supported(surface: Surface, table: Table, slot: int, v0: int, v1: int) -> None:
    """Set the supported bits, and the best priority of a v2 whose triangle lies on uncovered surface."""
    reach = _support_reach(table, v0) if slot else _FAR
    a, b = table.bins[v0], table.bins[v1]
    for number in range(table.n[0].suggestions):
        bits = table.suggestion_bits[number]
        vertex = table.suggestion[number]
        if not _may_be_supported(bits) or (slot and distance(table.bins, v0, vertex) > reach):
            continue
        c = table.bins[vertex]
        if slot and not edge_on_surface(surface, a, c):
            continue
        if slot == 2:
            if not inner_on_surface(surface, a, b, c) or not edge_on_surface(surface, b, c):
                continue
            backing = backing_of(surface, a, b, c)
            if not faces_like_surface(surface, a, b, c, backing):
                continue
            if inner_is_uncovered(surface, table, a, b, c) and faces_like_uncovered(surface, table, a, b, c, backing):
                table.priority[number] = Priority.BEST
        elif slot == 1:
            table.priority[number] = Priority.POSSIBLE
        seen = table.degree[vertex] > 0
        if not seen:
            bits |= 1 << SUPPORTED_CORNER
        elif slot or bits & (1 << OPEN):
            bits |= 1 << SUPPORTED_SEEN
        table.suggestion_bits[number] = bits
