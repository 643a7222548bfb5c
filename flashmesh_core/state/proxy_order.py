"""The faces of the proxy mesh in their order, and which of them lie under faces that are written."""

from __future__ import annotations

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.surface.overlap import lie_over


@njit_no_refcount
def first_from(surface: Surface, table: Table, v0: int, v1: int) -> int:
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
def _highest(table: Table, face: int) -> int:
    """The highest z at which a face of the proxy that a written face lies over can begin."""
    bins, corners = table.bins, table.faces[face]
    return max(bins[corners[0], 2], bins[corners[1], 2], bins[corners[2], 2]) + 1


@njit_no_refcount
def cover_proxy(surface: Surface, table: Table, face: int) -> None:
    """Note which faces of the proxy that can still follow a new face lies over."""
    bins, highest = table.bins, _highest(table, face)
    a, b, c = table.faces[face, 0], table.faces[face, 1], table.faces[face, 2]
    for number in range(first_from(surface, table, a, -1), len(surface.proxy)):
        p, q, r = surface.proxy[number, 0], surface.proxy[number, 1], surface.proxy[number, 2]
        if bins[p, 2] > highest:
            return
        if table.over[number] == 0 and lie_over(bins[a], bins[b], bins[c], bins[p], bins[q], bins[r]):
            table.over[number] = face + 1


@njit_no_refcount
def uncover_proxy(surface: Surface, table: Table, face: int) -> None:
    """Take that back for the last face."""
    highest = _highest(table, face)
    for number in range(first_from(surface, table, table.faces[face, 0], -1), len(surface.proxy)):
        if table.bins[surface.proxy[number, 0], 2] > highest:
            return
        if table.over[number] == face + 1:
            table.over[number] = 0
