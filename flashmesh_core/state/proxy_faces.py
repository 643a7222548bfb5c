"""The faces of the proxy mesh that may still be written, and what leads to them from the face begun."""

from __future__ import annotations

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.half_edges import uses_edge
from flashmesh_core.state.proxy_order import first_from

IS_OF_PROXY, IS_BARE = 8, 16  # of Table.mark


@njit_no_refcount
def mark_proxy(surface: Surface, table: Table, slot: int, v0: int, v1: int, guided: bool) -> None:
    """Mark the vertices with which the face begun is, so far, a free face of the proxy mesh: one that comes after the
    last face, of which no directed edge is used, and that no face lies over.

    For coverage guidance also mark as bare those that lead to the next such face; of v0 and v1 only the first, since
    the faces of a later one could not be followed by those of an earlier one. Samples are not asked whether it lies on
    uncovered surface: a face of a few square bins has hardly one of its own.
    """
    last = table.n[0].faces - 1
    begin = 0
    if slot > 0:
        begin = first_from(surface, table, v0, v1 if slot > 1 else -1)
    elif last >= 0:
        begin = first_from(surface, table, table.faces[last, 0], -1)
    looks = guided
    for number in range(begin, len(surface.proxy)):
        a, b, c = surface.proxy[number, 0], surface.proxy[number, 1], surface.proxy[number, 2]
        if (slot > 0 and a != v0) or (slot > 1 and b != v1):
            return
        if table.over[number] != 0 or uses_edge(table, a, b, c):
            continue
        if last >= 0 and not _comes_after(table, a, b, c, last):
            continue
        table.mark[surface.proxy[number, slot]] |= IS_OF_PROXY
        if looks:
            table.mark[surface.proxy[number, slot]] |= IS_BARE
            looks = slot == 2


@njit_no_refcount
def _comes_after(table: Table, a: int, b: int, c: int, face: int) -> bool:
    """Whether the face of these vertices may be written after a face."""
    p, q, r = table.faces[face, 0], table.faces[face, 1], table.faces[face, 2]
    if a != p:
        return table.key[a] > table.key[p]
    if b != q:
        return table.key[b] > table.key[q]
    return table.key[c] > table.key[r]
