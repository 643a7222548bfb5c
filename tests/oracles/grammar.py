"""What the next token may be, as a function of the prefix and the surface alone.

Order: faces strictly increase, v1 and v2 lie above v0, v1 differs from v2, EOS only at a face start. Surface: a
vertex lies within a tolerance of the input surface. Manifold: a directed edge is used once. Closure: v0 may not pass
the lowest vertex with an open half-edge, and the mesh may not end while it has one. Every mask looks ahead, so
that a coordinate is allowed only if its vertex can be finished; order and surface also let the face be finished.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import numpy as np

from flashmesh_core.mesh.open_half_edges import OpenHalfEdges
from flashmesh_core.state.grammar import Grammar
from tests.oracles.prefix import Prefix


def allowed_tokens(grammar: Grammar, prefix: Prefix) -> np.ndarray:
    """The tokens that may follow the prefix, (num_bins + 1,) bool, the last one EOS.

    Where closure, then manifold leave a vertex no place, they are dropped for it. Order and surface never are: they
    look ahead over the whole face. All False: the face begun can't be finished (these masks did not make the prefix).
    """
    at_face_start = not prefix.begun
    relaxed = [grammar]
    if grammar.closure:
        relaxed.append(replace(relaxed[-1], closure=False))
    if grammar.manifold and not at_face_start:
        relaxed.append(replace(relaxed[-1], manifold=False))
    allowed = np.zeros(grammar.num_bins + 1, dtype=bool)
    for attempt in relaxed:
        allowed[:-1] = _allowed_bins(attempt, prefix)
        if at_face_start and not (attempt.closure and lowest_closable(prefix.table) is not None):
            allowed[-1] = True
        if allowed.any():
            break
    return allowed


def lowest_closable(table: OpenHalfEdges) -> int | None:
    """The lowest vertex of an open edge that a later face can still close, or None.

    Faces come in order: a later one has no vertex below the last v0, and with that v0 no v1 below the last v1.
    """
    p0, p1 = table.faces[-1][:2] if table.faces else (-1, -1)
    for vertex in table.open_vertices[bisect_left(table.open_vertices, p0) :]:
        if any(w > vertex for w in table.leaving.get(vertex, ())):
            return vertex
        if any(x > vertex and (vertex > p0 or x >= p1) for x in table.entering.get(vertex, ())):
            return vertex
    return None


def _bounds(grammar: Grammar, prefix: Prefix) -> tuple[int, int]:
    """The lowest and the highest key of the vertex begun with which order and surface let the face be finished.

    v0 needs two places above it; where v0 (and v1) repeat the last face's, v1 (and v2) need one above the last ones.
    """
    first, second, third = grammar.top_keys
    p0, p1, p2 = prefix.last_face
    lowest = prefix.lowest()
    if prefix.slot == 0:
        exhausted = p1 > first or (p1 == first and p2 >= second)
        if lowest == p0 and exhausted:
            lowest += 1
        highest = third
        if grammar.closure:
            lowest_open = lowest_closable(prefix.table)
            highest = highest if lowest_open is None else min(highest, lowest_open)
        return lowest, highest
    if prefix.slot == 1 and lowest == p1 and prefix.key(0) == p0 and p2 >= (second if p1 >= first else first):
        lowest += 1
    return lowest, first


def _banned(grammar: Grammar, prefix: Prefix, lowest: int, highest: int) -> list[int]:
    """Single vertices within the bounds that the vertex begun may not be."""
    if prefix.slot == 0:
        return []
    v0 = prefix.key(0)
    banned: set[int] = set()
    if prefix.slot == 1:
        if grammar.manifold:
            banned |= prefix.table.v1_banned(v0)
    else:
        banned.add(prefix.key(1))
        if grammar.manifold:
            banned |= prefix.table.v2_banned(v0, prefix.key(1))
    return [key for key in banned if lowest <= key <= highest]


def _allowed_bins(grammar: Grammar, prefix: Prefix) -> np.ndarray:
    """Bins of the next coordinate from which the vertex can still be finished, (num_bins,) bool."""
    lowest, highest = _bounds(grammar, prefix)
    banned = _banned(grammar, prefix, lowest, highest)
    partial = prefix.partial
    if len(partial) == 2:
        return _row_x(grammar, prefix, partial[0], partial[1], lowest, highest, banned)
    if len(partial) == 1:
        return _row_y(grammar, prefix, partial[0], lowest, highest, banned)
    bins = np.arange(grammar.num_bins)
    z_low, z_high = prefix.coordinates(lowest)[0], prefix.coordinates(highest)[0]
    allowed = (bins >= z_low) & (bins <= z_high)
    if grammar.surface is not None:
        allowed &= grammar.surface.row_z()
    # Rows that the bounds cut or that hold a banned vertex must be looked at closely.
    for z in {z_low, z_high, *(prefix.coordinates(key)[0] for key in banned)}:
        if z < grammar.num_bins and allowed[z]:
            allowed[z] = _row_y(grammar, prefix, z, lowest, highest, banned).any()
    return allowed


def _row_y(grammar: Grammar, prefix: Prefix, z: int, lowest: int, highest: int, banned: list[int]) -> np.ndarray:
    """The y that can be finished at this z."""
    size = grammar.num_bins
    row = np.arange(size) + z * size  # z and y as one number
    allowed = (row >= lowest // size) & (row <= highest // size)
    if grammar.surface is not None:
        allowed &= grammar.surface.row_y(z)
    close = {key // size % size for key in (lowest, highest, *banned) if key // (size * size) == z}
    for y in close:
        if allowed[y]:
            allowed[y] = _row_x(grammar, prefix, z, y, lowest, highest, banned).any()
    return allowed


def _row_x(
    grammar: Grammar, prefix: Prefix, z: int, y: int, lowest: int, highest: int, banned: list[int]
) -> np.ndarray:
    """The x that are allowed at this z and y."""
    size = grammar.num_bins
    begin = (z * size + y) * size
    keys = np.arange(size) + begin
    allowed = (keys >= lowest) & (keys <= highest)
    if grammar.surface is not None:
        allowed &= grammar.surface.row_x(z, y)
    for key in banned:
        if begin <= key < begin + size:
            allowed[key - begin] = False
    return allowed
