"""The queue of edges to collapse, compiled: a binary heap with lazy deletion in the arrays of a `collapse.Collapse`.

An entry counts while both its vertices are as they were when it was made.
"""

from __future__ import annotations

from typing import Any

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import COMPILED

NO_REFCOUNT: Any = {**COMPILED, "_nrt": False}  # for functions that make no arrays, see jit.Reference

FACES, QUEUED, FREE, WAITING, LEVEL, RETRY, STALL, MARK, SEED, STRICT = range(10)  # fields of Collapse.count
OPTIMAL, AT_FIRST, AT_SECOND, HALF_WAY = range(4)  # where an entry of the queue would put the vertex


@njit(**NO_REFCOUNT)
def sift_down(s, i):
    n = s.numbers[QUEUED]
    cost, slot = s.cost[i], s.slot[i]
    while True:
        j = 2 * i + 1
        if j >= n:
            break
        if j + 1 < n and s.cost[j + 1] < s.cost[j]:
            j += 1
        if s.cost[j] >= cost:
            break
        s.cost[i], s.slot[i] = s.cost[j], s.slot[j]
        i = j
    s.cost[i], s.slot[i] = cost, slot


@njit(**NO_REFCOUNT)
def push(s, cost, a, b, where):
    if s.numbers[FREE] == 0:
        purge(s)
        if s.numbers[FREE] == 0:
            return
    s.numbers[FREE] -= 1
    slot = s.free[s.numbers[FREE]]
    s.entry[slot, 0], s.entry[slot, 1], s.entry[slot, 4] = a, b, where
    s.entry[slot, 2], s.entry[slot, 3] = s.version[a], s.version[b]
    i = s.numbers[QUEUED]
    s.numbers[QUEUED] = i + 1
    while i > 0:
        up = (i - 1) // 2
        if s.cost[up] <= cost:
            break
        s.cost[i], s.slot[i] = s.cost[up], s.slot[up]
        i = up
    s.cost[i], s.slot[i] = cost, slot


@njit(**NO_REFCOUNT)
def is_current(s, slot):
    a, b = s.entry[slot, 0], s.entry[slot, 1]
    return s.entry[slot, 2] == s.version[a] and s.entry[slot, 3] == s.version[b]


@njit(**NO_REFCOUNT)
def purge(s):
    """Leave out entries that are no longer current: at most one an edge is."""
    kept = 0
    for i in range(s.numbers[QUEUED]):
        slot = s.slot[i]
        if is_current(s, slot):
            s.cost[kept], s.slot[kept] = s.cost[i], slot
            kept += 1
        else:
            s.free[s.numbers[FREE]] = slot
            s.numbers[FREE] += 1
    s.numbers[QUEUED] = kept
    for i in range(kept // 2 - 1, -1, -1):
        sift_down(s, i)


@njit(**NO_REFCOUNT)
def pop(s):
    """The slot of the cheapest entry, which is free from now on but still readable, and its cost."""
    cost, slot = s.cost[0], s.slot[0]
    s.numbers[QUEUED] -= 1
    n = s.numbers[QUEUED]
    if n:
        s.cost[0], s.slot[0] = s.cost[n], s.slot[n]
        sift_down(s, 0)
    s.free[s.numbers[FREE]] = slot
    s.numbers[FREE] += 1
    return slot, cost
