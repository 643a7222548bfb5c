"""The faces of the proxy mesh that may still be written, and what leads to them from the face begun."""

from __future__ import annotations

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.coverage import triangle_is_uncovered
from flashmesh_core.state.half_edges import find_edge

IS_OF_PROXY, IS_BARE = 8, 16  # of Table.mark


@njit_no_refcount
def mark_proxy(surface: Surface, table: Table, slot: int, v0: int, v1: int, guided: bool) -> None:
    """Mark the vertices with which the face begun is, so far, a free face of the proxy mesh: one that comes after the
    last face and of which no directed edge is used.

    For coverage guidance also mark as bare those that lead to one on uncovered surface; of v0 and v1 only the first,
    since the faces of a later one could not be followed by those of an earlier one.
    """
    last = table.n[0].faces - 1
    begin = 0
    if slot > 0:
        begin = _first_from(surface, table, v0, v1 if slot > 1 else -1)
    elif last >= 0:
        begin = _first_from(surface, table, table.faces[last, 0], -1)
    looks = guided
    for number in range(begin, len(surface.proxy)):
        a, b, c = surface.proxy[number, 0], surface.proxy[number, 1], surface.proxy[number, 2]
        if (slot > 0 and a != v0) or (slot > 1 and b != v1):
            return
        if (last >= 0 and not _comes_after(table, a, b, c, last)) or _uses_edge(table, a, b, c):
            continue
        table.mark[surface.proxy[number, slot]] |= IS_OF_PROXY
        if looks and triangle_is_uncovered(surface, table, table.bins[a], table.bins[b], table.bins[c]):
            table.mark[surface.proxy[number, slot]] |= IS_BARE
            looks = slot == 2


@njit_no_refcount
def _first_from(surface: Surface, table: Table, v0: int, v1: int) -> int:
    """The number of the first face of the proxy with at least the key of this v0, and of this v1 if that is none."""
    key0 = table.key[v0]
    key1 = table.key[v1] if v1 >= 0 else -1
    low, high = 0, len(surface.proxy)
    while low < high:
        middle = (low + high) // 2
        key = table.key[surface.proxy[middle, 0]]
        if key < key0 or (key == key0 and table.key[surface.proxy[middle, 1]] < key1):
            low = middle + 1
        else:
            high = middle
    return low


@njit_no_refcount
def _comes_after(table: Table, a: int, b: int, c: int, face: int) -> bool:
    """Whether the face of these vertices may be written after a face."""
    p, q, r = table.faces[face, 0], table.faces[face, 1], table.faces[face, 2]
    if a != p:
        return table.key[a] > table.key[p]
    if b != q:
        return table.key[b] > table.key[q]
    return table.key[c] > table.key[r]


@njit_no_refcount
def _uses_edge(table: Table, a: int, b: int, c: int) -> bool:
    return find_edge(table, a, b) >= 0 or find_edge(table, b, c) >= 0 or find_edge(table, c, a) >= 0
