"""The slice rows of the next coordinate.

At the start of a vertex `prepare` lists every vertex that a row or guidance names, once; each of its coordinates then
reads the rows from that list. `slices.mesh_rows`, the reference, makes the same rows of a known mesh, for training.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.candidate_rows import write_candidate_rows
from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.slices import CREASE, SUGGESTED_ROWS, SURFACE
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.coverage_guidance import guide_first, guide_second, guide_third
from flashmesh_core.state.proxy_faces import mark_proxy
from flashmesh_core.state.suggestions import (
    agrees,
    list_suggestions,
    lowest_key,
    mark_first,
    mark_second,
    mark_supported,
    mark_third,
    written,
)  # fmt: skip


@njit_no_refcount
def prepare(surface: Surface, table: Table, guided: bool) -> None:
    """List what rows and guidance name for the vertex begun, if that was not done yet."""
    slot = table.n[0].begun // 3
    if table.n[0].listed == 3 * table.n[0].faces + slot:
        return
    lowest = lowest_key(table)
    v0 = table.begun_vertex[0] if slot > 0 else 0
    v1 = table.begun_vertex[1] if slot > 1 else 0
    if slot == 0:
        mark_first(table)
    elif slot == 1:
        mark_second(table, v0)
    else:
        mark_third(table, v0, v1)
    guided = guided and table.n[0].covered < len(surface.places)
    mark_proxy(surface, table, slot, v0, v1, guided)
    list_suggestions(table, slot, lowest, v1)
    mark_supported(surface, table, slot, v0, v1)
    table.n[0].places = 0
    if guided:
        if slot == 0:
            guide_first(surface, table, lowest)
        elif slot == 1:
            guide_second(surface, table, lowest, v0)
        else:
            guide_third(surface, table, lowest, v0, v1)
    table.n[0].listed = 3 * table.n[0].faces + slot


@njit_no_refcount
def _spread(row: np.ndarray, cells: np.ndarray, factor: int) -> None:
    if factor == 1:
        for at in range(len(row)):
            row[at] = cells[at]
        return
    for at in range(len(row)):
        row[at] = cells[at // factor]


@njit_no_refcount
def write_rows(surface: Surface, table: Table, rows: np.ndarray) -> None:
    """The rows (R, Q) uint8 of the next coordinate; `prepare` first. Nothing for a model that reads none (R = 0)."""
    if not len(rows):
        return
    rows[:] = 0
    begun = table.n[0].begun
    axis = 2 - begun % 3
    z, y = written(table)
    for number in range(table.n[0].suggestions):
        vertex = table.suggestion[number]
        if not agrees(z, y, table.bins[vertex]):
            continue
        place = table.bins[vertex, axis]
        bits = table.suggestion_bits[number] & ((1 << min(len(rows), SUGGESTED_ROWS)) - 1)
        row = 0
        while bits:
            if bits & 1:
                rows[row, place] = 1
            bits >>= 1
            row += 1
    if len(rows) > SUGGESTED_ROWS:
        slot = begun // 3
        first = table.begun_vertex[0] if slot > 0 else table.faces[table.n[0].faces - 1, 0]
        low = table.bins[first, 2] if table.n[0].faces + slot > 0 else 0
        write_candidate_rows(
            surface.candidate_bins, surface.candidate_kinds, surface.candidate_start, surface.candidate_beside,
            surface.mirror, table.held, table.bins, table.degree, table.n[0].vertices,
            table.begun_vertex[0] if slot > 0 else -1, table.begun_vertex[1] if slot > 1 else -1, axis, z, y, low,
            rows,
        )  # fmt: skip
    factor = surface.factor
    if z < 0:
        _spread(rows[SURFACE], surface.shown_z, factor)
        _spread(rows[CREASE], surface.crease_z, factor)
        return
    z //= factor
    if y < 0:
        _spread(rows[SURFACE], surface.shown_zy[z], factor)
        _spread(rows[CREASE], surface.crease_zy[z], factor)
        return
    y //= factor
    _spread(rows[SURFACE], surface.shown[z, y], factor)
    _spread(rows[CREASE], surface.crease[z, y], factor)
