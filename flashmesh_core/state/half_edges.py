"""The half-edge table of the unfinished mesh: push and pop of coordinates, vertices and faces.

A directed edge is open when a face uses it and no face uses its twin yet. `mesh/open_half_edges.py` is the reference.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.candidate_rows import hold
from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.state import arrays
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.coverage import count_uncovered, cover, take_places, uncover
from flashmesh_core.state.proxy_order import cover_proxy, uncover_proxy

_NO_SLOT = arrays.NO_SLOT


@njit_no_refcount
def find_vertex(table: Table, key: int) -> int:
    """The number of the vertex with this key, or -1."""
    slots = table.slots
    mask = len(slots) - 1
    at = (key * 0x9E3779B1) >> 7 & mask
    while slots[at] != 0:
        vertex = slots[at] - 1
        if table.key[vertex] == key:
            return vertex
        at = (at + 1) & mask
    return -1


@njit_no_refcount
def add_vertex(size: int, table: Table, key: int) -> int:
    """Make a vertex known."""
    slots = table.slots
    mask = len(slots) - 1
    at = (key * 0x9E3779B1) >> 7 & mask
    while slots[at] != 0:
        at = (at + 1) & mask
    vertex = table.n[0].vertices
    table.n[0].vertices += 1
    slots[at] = vertex + 1
    table.key[vertex] = key
    table.bins[vertex, 0] = key % size
    table.bins[vertex, 1] = key // size % size
    table.bins[vertex, 2] = key // (size * size)
    table.is_corner[vertex] = False
    table.degree[vertex] = 0
    table.n_open[vertex] = 0
    table.out_head[vertex] = -1
    table.in_head[vertex] = -1
    table.stuck_at[vertex] = 0
    return vertex


@njit_no_refcount
def remove_last_vertex(table: Table) -> None:
    """Take back the newest vertex: nothing was put into the hash table after it, so its place is simply emptied."""
    vertex = table.n[0].vertices - 1
    slots = table.slots
    mask = len(slots) - 1
    at = (table.key[vertex] * 0x9E3779B1) >> 7 & mask
    while slots[at] != vertex + 1:
        at = (at + 1) & mask
    slots[at] = 0
    table.n[0].vertices = vertex


@njit_no_refcount
def find_edge(table: Table, a: int, b: int) -> int:
    """The number of the directed edge a -> b, or -1 where no face uses it."""
    edge = table.out_head[a]
    while edge >= 0:
        if table.edge[edge, 1] == b:
            return edge
        edge = table.out_next[edge]
    return -1


@njit_no_refcount
def uses_edge(table: Table, a: int, b: int, c: int) -> bool:
    """Whether a face uses a directed edge of the face a, b, c."""
    return find_edge(table, a, b) >= 0 or find_edge(table, b, c) >= 0 or find_edge(table, c, a) >= 0


@njit_no_refcount
def _open(table: Table, edge: int) -> None:
    table.is_open[edge] = True
    for side in range(2):
        vertex = table.edge[edge, side]
        if table.n_open[vertex] == 0:
            table.open_at[vertex] = table.n[0].open
            table.open_list[table.n[0].open] = vertex
            table.n[0].open += 1
        table.n_open[vertex] += 1


@njit_no_refcount
def _close(table: Table, edge: int) -> None:
    table.is_open[edge] = False
    for side in range(2):
        vertex = table.edge[edge, side]
        table.n_open[vertex] -= 1
        if table.n_open[vertex] == 0:
            last = table.open_list[table.n[0].open - 1]
            at = table.open_at[vertex]
            table.open_list[at] = last
            table.open_at[last] = at
            table.n[0].open -= 1


@njit_no_refcount
def _use(table: Table, a: int, b: int) -> int:
    """A face uses the edge a -> b; the edge's number."""
    edge = find_edge(table, a, b)
    if edge >= 0:
        table.uses[edge] += 1
        return edge
    edge = table.n[0].edges
    table.n[0].edges += 1
    table.edge[edge, 0] = a
    table.edge[edge, 1] = b
    table.edge_face[edge] = table.n[0].faces
    table.uses[edge] = 1
    table.is_open[edge] = False
    table.out_next[edge] = table.out_head[a]
    table.out_head[a] = edge
    table.in_next[edge] = table.in_head[b]
    table.in_head[b] = edge
    twin = find_edge(table, b, a)
    if twin >= 0:
        _close(table, twin)
    else:
        _open(table, edge)
    return edge


@njit_no_refcount
def _release(table: Table, edge: int) -> None:
    """Take back one use of an edge; the newest edges are released first."""
    table.uses[edge] -= 1
    if table.uses[edge] > 0:
        return
    a, b = table.edge[edge, 0], table.edge[edge, 1]
    if table.is_open[edge]:
        _close(table, edge)
    else:
        _open(table, find_edge(table, b, a))
    table.out_head[a] = table.out_next[edge]
    table.in_head[b] = table.in_next[edge]
    table.n[0].edges -= 1


@njit_no_refcount
def _hold(surface: Surface, table: Table, vertex: int, by: int) -> None:
    x, y, z = table.bins[vertex, 0], table.bins[vertex, 1], table.bins[vertex, 2]
    hold(surface.candidate_bins, table.held, x, y, z, by)


@njit_no_refcount
def _push_face(surface: Surface, table: Table) -> None:
    face = table.n[0].faces
    for slot in range(3):
        vertex = table.begun_vertex[slot]
        table.faces[face, slot] = vertex
        if table.degree[vertex] == 0:
            _hold(surface, table, vertex, 1)
            if not table.is_corner[vertex]:
                take_places(surface, table, vertex, 1)
        table.degree[vertex] += 1
    for slot in range(3):
        table.face_edges[face, slot] = _use(table, table.faces[face, slot], table.faces[face, (slot + 1) % 3])
    cover(surface, table, face)
    cover_proxy(surface, table, face)
    table.n[0].faces = face + 1


@njit_no_refcount
def _pop_face(surface: Surface, table: Table) -> None:
    """Take the last face back and leave its nine coordinates begun."""
    face = table.n[0].faces - 1
    table.n[0].faces = face
    table.n[0].undone += 1
    while table.n[0].stuck > 0 and table.stuck[table.n[0].stuck - 1, 1] > face:
        table.n[0].stuck -= 1
        table.stuck_at[table.stuck[table.n[0].stuck, 0]] = table.stuck[table.n[0].stuck, 3]
    uncover(surface, table, face)
    uncover_proxy(surface, table, face)
    for slot in range(2, -1, -1):
        _release(table, table.face_edges[face, slot])
    for slot in range(2, -1, -1):
        vertex = table.faces[face, slot]
        table.begun_vertex[slot] = vertex
        table.degree[vertex] -= 1
        if table.degree[vertex] == 0:
            _hold(surface, table, vertex, -1)
            if not table.is_corner[vertex]:
                take_places(surface, table, vertex, -1)
        for axis in range(3):
            table.begun[3 * slot + axis] = table.bins[vertex, 2 - axis]


@njit_no_refcount
def push(surface: Surface, table: Table, token: int) -> bool:
    """Append a coordinate; True where it completes a face."""
    n = table.n[0]
    at = n.begun
    table.begun[at] = token
    n.begun = at + 1
    if at % 3 != 2:
        return False
    n.listed = _NO_SLOT
    size = surface.size
    key = (table.begun[at - 2] * size + table.begun[at - 1]) * size + token
    vertex = find_vertex(table, key)
    slot = at // 3
    table.made[n.faces, slot] = vertex < 0
    if vertex < 0:
        vertex = add_vertex(size, table, key)
    table.begun_vertex[slot] = vertex
    if slot < 2:
        return False
    n.begun = 0
    _push_face(surface, table)
    return True


@njit_no_refcount
def pop(surface: Surface, table: Table) -> None:
    """Take the last coordinate back."""
    n = table.n[0]
    if n.begun == 0:
        _pop_face(surface, table)
        n.begun = 9
    if n.begun % 3 == 0:  # the vertex is complete no more
        slot = n.begun // 3 - 1
        if table.made[n.faces, slot]:
            remove_last_vertex(table)
    n.begun -= 1
    n.listed = _NO_SLOT


@njit_no_refcount
def start(surface: Surface, table: Table) -> None:
    """Fill an empty table: the corners of the surface are its first vertices, every sample is uncovered."""
    table.n[0].listed = _NO_SLOT
    table.n[0].second_of = -1
    for key in surface.corners:
        vertex = add_vertex(surface.size, table, key)
        table.is_corner[vertex] = True
        take_places(surface, table, vertex, 1)
    for sample in range(len(surface.places)):
        count_uncovered(surface.places[sample], surface.factor, len(surface.support), table.uncovered_count, 1)
        table.uncovered_directions[surface.home[sample]] |= surface.own[sample]


@njit_no_refcount
def lowest_closable(table: Table) -> int:
    """The key of the lowest vertex of an open edge that a later face can still close, or -1.

    Faces come in order: a later one has no vertex below the last v0, and with that v0 no v1 below the last v1.
    """
    p0 = np.int64(-1)
    p1 = np.int64(-1)
    if table.n[0].faces > 0:
        p0 = table.key[table.faces[table.n[0].faces - 1, 0]]
        p1 = table.key[table.faces[table.n[0].faces - 1, 1]]
    best = np.int64(-1)
    for number in range(table.n[0].open):
        vertex = table.open_list[number]
        key = table.key[vertex]
        if key < p0 or (best >= 0 and key >= best):
            continue
        closable = False
        edge = table.out_head[vertex]
        while edge >= 0 and not closable:
            closable = table.is_open[edge] and table.key[table.edge[edge, 1]] > key
            edge = table.out_next[edge]
        edge = table.in_head[vertex]
        while edge >= 0 and not closable:
            other = table.key[table.edge[edge, 0]]
            closable = table.is_open[edge] and other > key and (key > p0 or other >= p1)
            edge = table.in_next[edge]
        if closable:
            best = key
    return best
