"""Coverage guidance: which vertices lead to faces on uncovered surface, and what that adds to the logits."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.state.arrays import BARE_BIT, CACHED_FANS, PATCH, Priority, Surface, Table
from flashmesh_core.state.coverage import (
    EDGE_STEPS,
    center_is_uncovered,
    line_on_surface,
    middle_on_surface,
    triangle_is_uncovered,
)  # fmt: skip
from flashmesh_core.state.fit import NO_FIT, deviation, is_empty, is_free
from flashmesh_core.state.growable import find_growable, find_second, find_start, near_known, noted_second
from flashmesh_core.state.suggestions import agrees, written

ENOUGH_COVERED = 0.99  # of the samples: the mesh may end
NEARLY_COVERED = 0.93  # the same where no open vertex can go on, or the last faces covered nothing
IDLE_FACES = 2
LOST_FACES = 4  # with no vertex that can go on and as many faces that covered nothing, the mesh ends all the same
LOOSE_STRENGTH = 0.8  # of the strength: against a new place where a corner or an earlier vertex would do as well
LATER_STRENGTH = 0.5  # the same against a v1 beyond the best one, whose face could then never be written
FIT_SLACK = 0.2  # bins that the face of a best v2 may fit worse than the one that fits best


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
def _follow_proxy(table: Table) -> bool:
    """Make what leads to the next free face of the proxy as good as the best; whether there is any."""
    found = False
    for number in range(table.n[0].suggestions):
        if table.suggestion_bits[number] & BARE_BIT:
            table.priority[number] = Priority.BEST
            found = True
    return found


@njit_no_refcount
def guide_first(surface: Surface, table: Table, lowest: int) -> None:
    """v0: best is the lowest growable vertex, open or a corner not used yet; what lies below it is possible."""
    near = table.near
    size = surface.size
    growable = first = -1
    highest = np.int64(size) * size * size
    for strict in (True, False):  # where nothing fits, what lies on uncovered surface at least
        growable = find_growable(surface, table, near, strict)
        highest = table.key[growable] if growable >= 0 else np.int64(size) * size * size
        first = find_start(surface, table, lowest, highest, near, strict)
        if growable >= 0 or first >= 0 or table.n[0].covered >= NEARLY_COVERED * len(surface.places):
            break
    table.n[0].none_growable = growable < 0 and first < 0
    table.n[0].growable = first if first >= 0 else growable
    for number in range(table.n[0].suggestions):
        vertex = table.suggestion[number]
        if vertex == table.n[0].growable:
            table.priority[number] = Priority.BEST
        elif vertex == growable or (
            table.degree[vertex] == 0 and table.is_corner[vertex] and table.key[vertex] < highest
        ):
            table.priority[number] = Priority.POSSIBLE
    table.n[0].bare = _follow_proxy(table)
    below = table.key[table.n[0].growable] // (size * size) if table.n[0].growable >= 0 else np.int64(size)
    count = 0
    for place in range(_first_place(surface, lowest // (size * size)), len(surface.loose)):
        if surface.loose[place, 2] >= below:
            break
        if table.taken[place] == 0:
            table.loose[count] = place
            count += 1
    table.n[0].places = count


@njit_no_refcount
def _find_fan(surface: Surface, table: Table, v0: int) -> int:
    """The number in `table.fan` of the list of places, in key order, in patches that an edge from v0 reaches along the
    surface; none far below it."""
    key = table.key[v0]
    for cached in range(CACHED_FANS):
        if table.fan_key[cached] == key:
            return cached
    number = table.n[0].fans % CACHED_FANS
    table.n[0].fans += 1
    table.fan_key[number] = key
    center, start, factor = surface.patch_center, table.bins[v0], surface.factor
    support, reached, patch = surface.support, table.reached, surface.patch
    a, b, c = start[0], start[1], start[2]
    part = 1.0 / (2 * EDGE_STEPS * factor)
    for at in range(len(reached)):
        x, y, z = center[at, 0], center[at, 1], center[at, 2]
        reached[at] = (
            z // PATCH * PATCH + PATCH > c
            and middle_on_surface(support, factor, a + x, b + y, c + z)
            and line_on_surface(support, part, a, b, c, x, y, z)
        )
    fan, count = table.fan[number], 0
    for place in range(_first_place(surface, np.int64(c)), len(patch)):
        fan[count] = place
        count += reached[patch[place]]
    table.fan_size[number] = count
    return number


@njit_no_refcount
def guide_second(surface: Surface, table: Table, lowest: int, v0: int) -> None:
    """v1: best is the lowest that starts a face that fits, later are known vertices above it; possible is any edge.

    Where none fits, it is enough that the face lies on uncovered surface. Edges lie along the surface.
    """
    near = table.near
    count = near_known(surface, table, v0, near)
    best = noted_second(table, v0)
    for strict in (True, False):
        if best < 0:
            best = find_second(surface, table, v0, near[:count], np.int64(0), strict)
    if best >= 0:
        for number in range(table.n[0].suggestions):
            vertex = table.suggestion[number]
            if vertex == best:
                table.priority[number] = Priority.BEST
            elif table.key[vertex] > table.key[best]:
                for at in range(count):
                    if near[at] == vertex:
                        table.priority[number] = Priority.LATER
    _follow_proxy(table)
    first, taken = _first_place(surface, lowest // (surface.size * surface.size)), table.taken
    count, fan = 0, _find_fan(surface, table, v0)
    for place in table.fan[fan, : table.fan_size[fan]]:
        if place >= first and taken[place] == 0:
            table.loose[count] = place
            count += 1
    table.n[0].places = count


@njit_no_refcount
def _keep_best_fitting(surface: Surface, table: Table, v0: int, v1: int) -> bool:
    """Leave best only the v2 whose triangles fit best in between what is known, if any do; whether any v2 is best."""
    near = table.near
    total = np.int64(0)
    for number in range(table.n[0].suggestions):
        total += table.priority[number] == Priority.BEST
    if total == 0:
        return False
    count = near_known(surface, table, v0, near)
    fits, least = table.fits, NO_FIT
    at = 0
    for number in range(table.n[0].suggestions):
        if table.priority[number] == Priority.BEST:
            v2 = table.suggestion[number]
            fits[at] = NO_FIT
            if is_empty(table.bins, v0, v1, v2, near[:count]) and is_free(table, v0, v1, v2):
                fits[at] = deviation(surface, table, v0, v1, v2)
                least = min(least, fits[at])
            at += 1
    if least == NO_FIT:
        return True
    at = 0
    for number in range(table.n[0].suggestions):
        if table.priority[number] == Priority.BEST:
            if fits[at] > least + FIT_SLACK:
                table.priority[number] = Priority.NONE
            at += 1
    return True


@njit_no_refcount
def guide_third(surface: Surface, table: Table, lowest: int, v0: int, v1: int) -> None:
    """v2: the best known vertices are marked; where none are, places that make a triangle on uncovered surface."""
    table.n[0].places = 0
    fits = _keep_best_fitting(surface, table, v0, v1)
    if _follow_proxy(table) or fits:
        return
    a, b = table.bins[v0], table.bins[v1]
    cells, part = len(surface.support), 1.0 / (6 * surface.factor)
    x, y, z = a[0] + b[0], a[1] + b[1], a[2] + b[2]
    first, taken = _first_place(surface, lowest // (surface.size * surface.size)), table.taken
    count, fan = 0, _find_fan(surface, table, v0)
    for place in table.fan[fan, : table.fan_size[fan]]:
        if place < first or taken[place] != 0:
            continue
        c = surface.loose[place]
        if not center_is_uncovered(table.uncovered_count, cells, part, x + c[0], y + c[1], z + c[2]):
            continue
        if triangle_is_uncovered(surface, table, a, b, c):
            table.loose[count] = place
            count += 1
    table.n[0].places = count


@njit_no_refcount
def _is_finished(surface: Surface, table: Table) -> bool:
    """Whether coverage guidance thinks that the mesh may end: nearly all is covered, or nothing can go on."""
    faces = table.n[0].faces
    covered = table.n[0].covered
    if table.n[0].bare != 0 and covered < len(surface.places):
        return False
    idle = faces >= IDLE_FACES and table.cover_end[faces] == table.cover_end[faces - IDLE_FACES]
    dead = table.n[0].none_growable != 0
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
    count = table.n[0].begun % 3
    counts[:] = 0
    low, high = np.int64(0), np.int64(table.n[0].places)
    for at in range(count):
        value = table.begun[table.n[0].begun - count + at]
        low = _first_listed(surface.loose, table.loose, 2 - at, value, low, high)
        high = _first_listed(surface.loose, table.loose, 2 - at, value + 1, low, high)
    while low < high:
        value = surface.loose[table.loose[low], 2 - count]
        after = _first_listed(surface.loose, table.loose, 2 - count, value + 1, low, high)
        counts[value] = after - low
        low = after


@njit_no_refcount
def write_bias(surface: Surface, table: Table, strength: float, bias: np.ndarray) -> None:
    """What it adds to the logits of the next token, (Q + 1,) float32 in [-strength, 0]; `prepare` first."""
    full, half = np.float32(-strength), np.float32(-strength * LOOSE_STRENGTH)
    size = surface.size
    axis = 2 - table.n[0].begun % 3
    bias[:] = full
    z, y = written(table)
    if table.n[0].covered < len(surface.places):
        any_best = False
        for number in range(table.n[0].suggestions):
            if table.priority[number] == Priority.BEST and agrees(z, y, table.bins[table.suggestion[number]]):
                any_best = True
        possible = half if any_best else np.float32(0.0)
        count_places(surface, table, table.distance)
        for value in range(size):
            if table.distance[value] > 0:
                bias[value] = possible
        for number in range(table.n[0].suggestions):
            bins = table.bins[table.suggestion[number]]
            if table.priority[number] == Priority.POSSIBLE and bias[bins[axis]] == full and agrees(z, y, bins):
                bias[bins[axis]] = possible
        for number in range(table.n[0].suggestions):
            bins = table.bins[table.suggestion[number]]
            if table.priority[number] == Priority.LATER and agrees(z, y, bins):
                bias[bins[axis]] = np.float32(-strength * LATER_STRENGTH)
        for number in range(table.n[0].suggestions):
            bins = table.bins[table.suggestion[number]]
            if table.priority[number] == Priority.BEST and agrees(z, y, bins):
                bias[bins[axis]] = np.float32(0.0)
    if table.n[0].begun == 0:
        finished = _is_finished(surface, table)
        if finished:
            bias[:size] = full
        bias[size] = np.float32(0.0) if finished else full
