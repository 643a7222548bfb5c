"""Faces over known vertices that grow from open edges onto uncovered surface, once the order no longer binds."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.coverage import center_is_uncovered, edge_on_surface, triangle_is_uncovered
from flashmesh_core.state.fit import MAX_DEVIATION, deviation, frame_of, is_empty, is_free
from flashmesh_core.state.half_edges import find_edge, pop, push
from flashmesh_core.state.suggestions import distance

_LENGTH_TOLL = 0.002  # bins of deviation that a bin of length counts: of two faces that fit alike the smaller is taken


@njit_no_refcount
def _best_third(surface: Surface, table: Table, a: int, b: int, known: np.ndarray) -> int:
    """The one of the `known` vertices (K,) with which a, b make the face that fits best; -1 where none fits."""
    bins, cells, part = table.bins, len(surface.support), 1.0 / (6 * surface.factor)
    x, y, z = bins[a, 0] + bins[b, 0], bins[a, 1] + bins[b, 1], bins[a, 2] + bins[b, 2]
    best, least = -1, np.inf
    for c in known:
        if c in (a, b):
            continue
        if not center_is_uncovered(table.uncovered_count, cells, part, x + bins[c, 0], y + bins[c, 1], z + bins[c, 2]):
            continue
        if find_edge(table, b, c) >= 0 or find_edge(table, c, a) >= 0:
            continue
        if not triangle_is_uncovered(surface, table, bins[a], bins[b], bins[c]):
            continue
        if not edge_on_surface(surface, bins[a], bins[c]) or not edge_on_surface(surface, bins[b], bins[c]):
            continue
        fit = deviation(surface, table, a, b, c)
        cost = fit + _LENGTH_TOLL * (distance(bins, a, c) + distance(bins, b, c))
        if fit > MAX_DEVIATION or cost >= least:
            continue
        if is_empty(bins, a, b, c, known) and is_free(table, a, b, c):
            best, least = np.int64(c), cost
    return best


@njit_no_refcount
def grow_faces(surface: Surface, table: Table, needed: float, max_faces: int) -> None:
    """Push faces that fit beside open edges, as far as there is room.

    `needed`: uncovered samples a square bin that a face must cover to stay. Its edges are unused before.
    """
    known, count, edge = table.order, 0, 0
    for vertex in range(table.n[0].vertices):  # no face below adds a vertex
        if table.degree[vertex] > 0 or table.is_corner[vertex]:
            known[count] = vertex
            count += 1
    while edge < table.n[0].edges and table.n[0].faces < max_faces:
        if table.is_open[edge]:
            a, b = table.edge[edge, 1], table.edge[edge, 0]
            c = _best_third(surface, table, a, b, known[:count])
            if c >= 0:
                least = 0.5 * frame_of(table.bins, a, b, c).area * needed
                add_if_uncovered(surface, table, table.bins[a], table.bins[b], table.bins[c], least)
        edge += 1


@njit_no_refcount
def add_if_uncovered(surface: Surface, table: Table, a: np.ndarray, b: np.ndarray, c: np.ndarray, least: float) -> None:
    """Push the face of three corners, bins (3,) each; take it back if it covers under `least` uncovered samples."""
    before = table.n[0].covered
    push_corner(surface, table, a)
    push_corner(surface, table, b)
    push_corner(surface, table, c)
    if table.n[0].covered - before < least:
        for _ in range(9):
            pop(surface, table)


@njit_no_refcount
def push_corner(surface: Surface, table: Table, bins: np.ndarray) -> None:
    """Push the coordinates of a vertex, bins (3,)."""
    for axis in range(2, -1, -1):
        push(surface, table, np.int64(bins[axis]))
