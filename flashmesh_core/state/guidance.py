"""Guidance: which vertices lead to faces on surface that is still bare, and what that adds to the logits."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.state import arrays
from flashmesh_core.state.arrays import FAIR_BIT, GOOD_BIT, KEPT_FANS, NEXT_BIT, PATCH, Surface, Table
from flashmesh_core.state.candidates import agrees, written
from flashmesh_core.state.coverage import (
    EDGE_STEPS,
    centre_is_bare,
    line_on_surface,
    middle_on_surface,
    triangle_is_bare,
)  # fmt: skip
from flashmesh_core.state.fit import NO_FIT, is_empty, is_free, misfit
from flashmesh_core.state.growable import find_live, find_second, find_start, near_known, noted_second

ENOUGH_COVERED = 0.99  # of the samples: the mesh may end
NEARLY_COVERED = 0.93  # the same where no open vertex can go on, or the last faces covered nothing
IDLE_FACES = 2
LOST_FACES = 4  # with no vertex that can go on and as many faces that covered nothing, the mesh ends all the same
LOOSE_SHARE = 0.8  # of the strength: against a new place where a corner or an earlier vertex would do as well
NEXT_SHARE = 0.5  # the same against a v1 beyond the lowest good one, whose face could then never be written
FIT_SLACK = 0.2  # bins that the face of a good v2 may fit worse than that of the best one

_N_FACES, _N_BEGUN, _N_OPEN, _N_COVERED = arrays.FACES, arrays.BEGUN, arrays.OPEN, arrays.COVERED
_N_CANDIDATES, _N_LOOSE, _N_FANS, _N_LIVE, _N_DEAD = (
    arrays.CANDIDATES, arrays.LOOSE, arrays.FANS, arrays.LIVE, arrays.DEAD
)  # fmt: skip


@njit_no_refcount
def _first_place(surface: Surface, z: int) -> int:
    low, high = 0, len(surface.loose)
    while low < high:
        middle = (low + high) // 2
        if surface.loose[middle, 2] < z:
            low = middle + 1
        else:
            high = middle
    return low


@njit_no_refcount
def guide_first(surface: Surface, table: Table, lowest: int) -> None:
    """v0: good is the lowest vertex that can go on, open or a corner not used yet; what lies below it is fair."""
    near = table.near
    size = surface.size
    live = first = -1
    highest = np.int64(size) * size * size
    for strict in (True, False):  # where nothing fits, what lies on bare surface at least
        live = find_live(surface, table, near, strict)
        highest = table.key[live] if live >= 0 else np.int64(size) * size * size
        first = find_start(surface, table, lowest, highest, near, strict)
        if live >= 0 or first >= 0 or table.n[_N_COVERED] >= NEARLY_COVERED * len(surface.places):
            break
    table.n[_N_DEAD] = live < 0 and first < 0
    table.n[_N_LIVE] = first if first >= 0 else live
    for number in range(table.n[_N_CANDIDATES]):
        vertex = table.candidate[number]
        if vertex == table.n[_N_LIVE]:
            table.candidate_bits[number] |= GOOD_BIT
        elif vertex == live or (table.degree[vertex] == 0 and table.is_corner[vertex] and table.key[vertex] < highest):
            table.candidate_bits[number] |= FAIR_BIT
    below = table.key[table.n[_N_LIVE]] // (size * size) if table.n[_N_LIVE] >= 0 else np.int64(size)
    count = 0
    for place in range(_first_place(surface, lowest // (size * size)), len(surface.loose)):
        if surface.loose[place, 2] >= below:
            break
        if table.taken[place] == 0:
            table.loose[count] = place
            count += 1
    table.n[_N_LOOSE] = count


@njit_no_refcount
def _find_fan(surface: Surface, table: Table, v0: int) -> int:
    """The number in `table.fan` of the list of places, in key order, in patches that an edge from v0 reaches along the
    surface; none far below it."""
    key = table.key[v0]
    for kept in range(KEPT_FANS):
        if table.fan_key[kept] == key:
            return kept
    kept = table.n[_N_FANS] % KEPT_FANS
    table.n[_N_FANS] += 1
    table.fan_key[kept] = key
    centre, start, factor = surface.patch_centre, table.bins[v0], surface.factor
    support, reached, patch = surface.support, table.reached, surface.patch
    a, b, c = start[0], start[1], start[2]
    part = 1.0 / (2 * EDGE_STEPS * factor)
    for number in range(len(reached)):
        x, y, z = centre[number, 0], centre[number, 1], centre[number, 2]
        reached[number] = (
            z // PATCH * PATCH + PATCH > c
            and middle_on_surface(support, factor, a + x, b + y, c + z)
            and line_on_surface(support, part, a, b, c, x, y, z)
        )
    fan, count = table.fan[kept], 0
    for place in range(_first_place(surface, np.int64(c)), len(patch)):
        fan[count] = place
        count += reached[patch[place]]
    table.fan_size[kept] = count
    return kept


@njit_no_refcount
def guide_second(surface: Surface, table: Table, lowest: int, v0: int) -> None:
    """v1: good is the lowest that starts a face that fits, next are known vertices above it; fair is any edge.

    Where none fits, it is enough that the face lies on bare surface. Edges lie along the surface.
    """
    near = table.near
    count = near_known(surface, table, v0, near)
    good = noted_second(table, v0)
    for strict in (True, False):
        if good < 0:
            good = find_second(surface, table, v0, near[:count], np.int64(0), strict)
    if good >= 0:
        for number in range(table.n[_N_CANDIDATES]):
            vertex = table.candidate[number]
            if vertex == good:
                table.candidate_bits[number] |= GOOD_BIT
            elif table.key[vertex] > table.key[good]:
                for at in range(count):
                    if near[at] == vertex:
                        table.candidate_bits[number] |= NEXT_BIT
    first, taken = _first_place(surface, lowest // (surface.size * surface.size)), table.taken
    kept, fan = 0, _find_fan(surface, table, v0)
    for place in table.fan[fan, : table.fan_size[fan]]:
        if place >= first and taken[place] == 0:
            table.loose[kept] = place
            kept += 1
    table.n[_N_LOOSE] = kept


@njit_no_refcount
def _keep_fitting(surface: Surface, table: Table, v0: int, v1: int) -> bool:
    """Leave good only the v2 whose triangles fit best in between what is known, if any do; whether any v2 is good."""
    near = table.near
    total = np.int64(0)
    for number in range(table.n[_N_CANDIDATES]):
        total += table.candidate_bits[number] & GOOD_BIT != 0
    if total == 0:
        return False
    count = near_known(surface, table, v0, near)
    fits, least = table.fits, NO_FIT
    at = 0
    for number in range(table.n[_N_CANDIDATES]):
        if table.candidate_bits[number] & GOOD_BIT:
            v2 = table.candidate[number]
            fits[at] = NO_FIT
            if is_empty(table.bins, v0, v1, v2, near[:count]) and is_free(table, v0, v1, v2):
                fits[at] = misfit(surface, table, v0, v1, v2)
                least = min(least, fits[at])
            at += 1
    if least == NO_FIT:
        return True
    at = 0
    for number in range(table.n[_N_CANDIDATES]):
        if table.candidate_bits[number] & GOOD_BIT:
            if fits[at] > least + FIT_SLACK:
                table.candidate_bits[number] &= ~GOOD_BIT
            at += 1
    return True


@njit_no_refcount
def guide_third(surface: Surface, table: Table, lowest: int, v0: int, v1: int) -> None:
    """v2: good known vertices are marked already; where there are none, places that make a triangle on bare surface."""
    table.n[_N_LOOSE] = 0
    if _keep_fitting(surface, table, v0, v1):
        return
    a, b = table.bins[v0], table.bins[v1]
    cells, part = len(surface.support), 1.0 / (6 * surface.factor)
    x, y, z = a[0] + b[0], a[1] + b[1], a[2] + b[2]
    first, taken = _first_place(surface, lowest // (surface.size * surface.size)), table.taken
    kept, fan = 0, _find_fan(surface, table, v0)
    for place in table.fan[fan, : table.fan_size[fan]]:
        if place < first or taken[place] != 0:
            continue
        c = surface.loose[place]
        if not centre_is_bare(table.bare_count, cells, part, x + c[0], y + c[1], z + c[2]):
            continue
        if triangle_is_bare(surface, table, a, b, c):
            table.loose[kept] = place
            kept += 1
    table.n[_N_LOOSE] = kept


@njit_no_refcount
def _is_finished(surface: Surface, table: Table) -> bool:
    """Whether guidance thinks that the mesh may end: nearly all is covered, or nothing can go on."""
    faces = table.n[_N_FACES]
    covered = table.n[_N_COVERED]
    idle = faces >= IDLE_FACES and table.cover_end[faces] == table.cover_end[faces - IDLE_FACES]
    dead = table.n[_N_DEAD] != 0
    if covered >= (NEARLY_COVERED if dead or idle else ENOUGH_COVERED) * len(surface.places):
        return True
    if dead and faces > 0 and len(surface.facets) > 0:  # what is uncovered can be covered from the proxy mesh
        return True
    return dead and faces >= LOST_FACES and table.cover_end[faces] == table.cover_end[faces - LOST_FACES]


@njit_no_refcount
def _first_listed(places: np.ndarray, listed: np.ndarray, axis: int, value: int, low: int, high: int) -> int:
    """The first of the listed places low..high - 1, which agree in the axes above, whose bin is at least `value`."""
    while low < high:
        middle = (low + high) // 2
        if places[listed[middle], axis] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit_no_refcount
def count_places(surface: Surface, table: Table, counts: np.ndarray) -> None:
    """How many listed places agree with what is written and have each next coordinate, into `counts` (Q,).

    The list is in key order.
    """
    count = table.n[_N_BEGUN] % 3
    counts[:] = 0
    low, high = np.int64(0), np.int64(table.n[_N_LOOSE])
    for at in range(count):
        value = table.begun[table.n[_N_BEGUN] - count + at]
        low = _first_listed(surface.loose, table.loose, 2 - at, value, low, high)
        high = _first_listed(surface.loose, table.loose, 2 - at, value + 1, low, high)
    while low < high:
        value = surface.loose[table.loose[low], 2 - count]
        after = _first_listed(surface.loose, table.loose, 2 - count, value + 1, low, high)
        counts[value] = after - low
        low = after


@njit_no_refcount
def write_bias(surface: Surface, table: Table, strength: float, bias: np.ndarray) -> None:
    """What guidance adds to the logits of the next token, (Q + 1,) float32 in [-strength, 0]; `prepare` first."""
    full, half = np.float32(-strength), np.float32(-strength * LOOSE_SHARE)
    size = surface.size
    axis = 2 - table.n[_N_BEGUN] % 3
    bias[:] = full
    z, y = written(table)
    if table.n[_N_COVERED] < len(surface.places):
        any_good = False
        for number in range(table.n[_N_CANDIDATES]):
            if table.candidate_bits[number] & GOOD_BIT and agrees(z, y, table.bins[table.candidate[number]]):
                any_good = True
        fair = half if any_good else np.float32(0.0)
        count_places(surface, table, table.distance)
        for value in range(size):
            if table.distance[value] > 0:
                bias[value] = fair
        for number in range(table.n[_N_CANDIDATES]):
            bins = table.bins[table.candidate[number]]
            if table.candidate_bits[number] & FAIR_BIT and bias[bins[axis]] == full and agrees(z, y, bins):
                bias[bins[axis]] = fair
        for number in range(table.n[_N_CANDIDATES]):
            bins = table.bins[table.candidate[number]]
            if table.candidate_bits[number] & NEXT_BIT and agrees(z, y, bins):
                bias[bins[axis]] = np.float32(-strength * NEXT_SHARE)
        for number in range(table.n[_N_CANDIDATES]):
            bins = table.bins[table.candidate[number]]
            if table.candidate_bits[number] & GOOD_BIT and agrees(z, y, bins):
                bias[bins[axis]] = np.float32(0.0)
    if table.n[_N_BEGUN] == 0:
        finished = _is_finished(surface, table)
        if finished:
            bias[:size] = full
        bias[size] = np.float32(0.0) if finished else full
