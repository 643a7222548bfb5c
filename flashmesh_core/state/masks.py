"""What the next token may be, compiled. The reference is `tests/oracles/grammar.py`."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.half_edges import lowest_closable
from flashmesh_core.state.suggestions import lowest_key

MASK_SURFACE, MASK_MANIFOLD, MASK_CLOSURE = 1, 2, 4


@njit_no_refcount
def _bounds(surface: Surface, table: Table, closure: bool) -> tuple[int, int]:
    """The lowest and the highest key of the vertex begun with which order and surface let the face be finished."""
    first, second, third = surface.top[0], surface.top[1], surface.top[2]
    p0 = p1 = p2 = np.int64(-1)
    last = table.n[0].faces - 1
    if last >= 0:
        p0, p1, p2 = table.key[table.faces[last, 0]], table.key[table.faces[last, 1]], table.key[table.faces[last, 2]]
    lowest = np.int64(lowest_key(table))
    slot = table.n[0].begun // 3
    if slot == 0:
        if lowest == p0 and (p1 > first or (p1 == first and p2 >= second)):
            lowest += 1
        highest = third
        if closure:
            lowest_open = lowest_closable(table)
            if lowest_open >= 0:
                highest = min(highest, lowest_open)
        return lowest, highest
    same_pair = slot == 1 and lowest == p1 and table.key[table.begun_vertex[0]] == p0
    if same_pair and p2 >= (second if p1 >= first else first):
        lowest += 1
    return lowest, first


@njit_no_refcount
def _list_banned(table: Table, manifold: bool, lowest: int, highest: int, banned: np.ndarray) -> int:
    """Single vertices within the bounds that the vertex begun may not be; how many.

    Vertices beside one edge or two are as many as `banned` has room for: what bans others needs more, see `make_table`.
    """
    slot = table.n[0].begun // 3
    count = 0
    if slot == 0:
        return count
    v0 = table.begun_vertex[0]
    v1 = table.begun_vertex[1]
    if slot == 2:
        count = _add(table, v1, lowest, highest, banned, count)
    if not manifold:
        return count
    edge = table.out_head[v0] if slot == 1 else table.in_head[v0]
    while edge >= 0:
        other = table.edge[edge, 1] if slot == 1 else table.edge[edge, 0]
        count = _add(table, other, lowest, highest, banned, count)
        edge = table.out_next[edge] if slot == 1 else table.in_next[edge]
    if slot == 2:
        edge = table.out_head[v1]
        while edge >= 0:
            count = _add(table, table.edge[edge, 1], lowest, highest, banned, count)
            edge = table.out_next[edge]
    return count


@njit_no_refcount
def _add(table: Table, vertex: int, lowest: int, highest: int, banned: np.ndarray, count: int) -> int:
    key = table.key[vertex]
    if key < lowest or key > highest or count == len(banned):
        return count
    banned[count] = key
    return count + 1


@njit_no_refcount
def _allow_x(
    surface: Surface, on_surface: bool, z: int, y: int, lowest: int, highest: int, banned: np.ndarray, row: np.ndarray
) -> bool:
    """The x allowed at this z and y, into `row`; whether there are any."""
    size = surface.size
    begin = (z * size + y) * size
    factor = surface.factor
    found = False
    row[:] = False
    for x in range(max(lowest - begin, 0), min(highest - begin + 1, size)):
        row[x] = not on_surface or surface.mask[z // factor, y // factor, x if factor == 1 else x // factor]
    for key in banned:
        if begin <= key < begin + size:
            row[key - begin] = False
    for x in range(size):
        found |= row[x]
    return found


@njit_no_refcount
def _any_x(surface: Surface, on_surface: bool, z: int, y: int, lowest: int, highest: int, banned: np.ndarray) -> bool:
    """Whether any x is allowed at this z and y."""
    size, factor = surface.size, surface.factor
    begin = (z * size + y) * size
    for x in range(max(lowest - begin, 0), min(highest - begin + 1, size)):
        if on_surface and not surface.mask[z // factor, y // factor, x if factor == 1 else x // factor]:
            continue
        free = True
        for key in banned:
            free &= key != begin + x
        if free:
            return True
    return False


@njit_no_refcount
def _is_special(size: int, line: int, lowest: int, highest: int, banned: np.ndarray) -> bool:
    """Whether the bounds cut a line of constant z and y, or it holds a banned vertex: only then it is looked at."""
    special = lowest // size == line or highest // size == line
    for key in banned:
        special |= key // size == line
    return special


@njit_no_refcount
def _allow_y(
    surface: Surface, on_surface: bool, z: int, lowest: int, highest: int, banned: np.ndarray, row: np.ndarray
) -> bool:
    """The y that can be finished at this z, into `row`; whether there are any."""
    size, factor = surface.size, surface.factor
    row[:] = False
    for y in range(max(lowest // size - z * size, 0), min(highest // size - z * size + 1, size)):
        row[y] = not on_surface or surface.mask_zy[z // factor, y if factor == 1 else y // factor]
    for number in range(len(banned) + 2):
        key = lowest if number == 0 else highest if number == 1 else banned[number - 2]
        if key // (size * size) == z:
            y = key // size % size
            if row[y]:
                row[y] = _any_x(surface, on_surface, z, y, lowest, highest, banned)
    found = False
    for y in range(size):
        found |= row[y]
    return found


@njit_no_refcount
def _any_y(surface: Surface, on_surface: bool, z: int, lowest: int, highest: int, banned: np.ndarray) -> bool:
    """Whether any y can be finished at this z."""
    size, factor = surface.size, surface.factor
    for y in range(max(lowest // size - z * size, 0), min(highest // size - z * size + 1, size)):
        if on_surface and not surface.mask_zy[z // factor, y if factor == 1 else y // factor]:
            continue
        if not _is_special(size, z * size + y, lowest, highest, banned):
            return True
        if _any_x(surface, on_surface, z, y, lowest, highest, banned):
            return True
    return False


@njit_no_refcount
def _allow_z(
    surface: Surface, on_surface: bool, lowest: int, highest: int, banned: np.ndarray, row: np.ndarray
) -> bool:
    """The z that can be finished, into `row`; whether there are any."""
    size = surface.size
    plane, factor = size * size, surface.factor
    row[:] = False
    asked = np.int64(-1)
    for z in range(max(lowest // plane, 0), min(highest // plane + 1, size)):
        row[z] = not on_surface or surface.mask_z[z if factor == 1 else z // factor]
    for number in range(len(banned) + 2):
        key = lowest if number == 0 else highest if number == 1 else banned[number - 2]
        z = key // plane
        if z < size and z != asked and row[z]:
            asked = z
            row[z] = _any_y(surface, on_surface, z, lowest, highest, banned)
    found = False
    for z in range(size):
        found |= row[z]
    return found


@njit_no_refcount
def _attempt(surface: Surface, table: Table, masks: int, allowed: np.ndarray, banned: np.ndarray) -> bool:
    size = surface.size
    begun = table.n[0].begun
    lowest, highest = _bounds(surface, table, masks & MASK_CLOSURE != 0)
    count = _list_banned(table, masks & MASK_MANIFOLD != 0, lowest, highest, banned)
    on_surface = masks & MASK_SURFACE != 0
    row = allowed[:size]
    written = begun % 3
    if written == 0:
        return _allow_z(surface, on_surface, lowest, highest, banned[:count], row)
    if written == 1:
        return _allow_y(surface, on_surface, table.begun[begun - 1], lowest, highest, banned[:count], row)
    z, y = table.begun[begun - 2], table.begun[begun - 1]
    return _allow_x(surface, on_surface, z, y, lowest, highest, banned[:count], row)


@njit_no_refcount
def write_allowed(surface: Surface, table: Table, masks: int, allowed: np.ndarray) -> int:
    """The tokens that may follow, (Q + 1,) bool, the last one EOS; which masks were dropped for this vertex.

    Where closure, then manifold leave a vertex no place, they are dropped for it. Order and surface never are: they
    look ahead over the whole face. All False: the face begun can't be finished (these masks did not make the prefix).
    """
    size = surface.size
    at_face_start = table.n[0].begun == 0
    banned = table.banned
    dropped = 0
    while True:
        found = _attempt(surface, table, masks, allowed, banned)
        allowed[size] = at_face_start and not (masks & MASK_CLOSURE and lowest_closable(table) >= 0)
        if found or allowed[size]:
            return dropped
        if masks & MASK_CLOSURE:
            dropped |= MASK_CLOSURE
            masks &= ~MASK_CLOSURE
        elif masks & MASK_MANIFOLD and not at_face_start:
            dropped |= MASK_MANIFOLD
            masks &= ~MASK_MANIFOLD
        else:
            return dropped
