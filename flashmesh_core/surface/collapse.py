"""Edges collapsed one after the other, the cheapest first, compiled: the mesh being simplified and its queue.

The faces at a vertex are a linked list of corners (fans.py), so joining two vertices is joining two lists. The queue is
a binary heap with lazy deletion: an entry counts while both its vertices are as they were when it was made.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import Reference, njit
from flashmesh_core.splitmix import splitmix
from flashmesh_core.surface.adjacency import compact, face_geometry, manifold_twins, next_half_edge
from flashmesh_core.surface.edge_queue import (
    AT_FIRST,
    AT_SECOND,
    FACES,
    FREE,
    HALF_WAY,
    LEVEL,
    MARK,
    NO_REFCOUNT,
    OPTIMAL,
    QUEUED,
    RETRY,
    SEED,
    STALL,
    STRICT,
    WAITING,
    is_current,
    pop,
    purge,
    push,
    sift_down,
)  # fmt: skip
from flashmesh_core.surface.fans import is_linked, keeps_shape, onward, walk
from flashmesh_core.surface.quadrics import WIDTH, error_at, lowest
from flashmesh_core.surface.reach import FAR, dearer, remember, stands_out

MAX_LEVEL = 3  # 0: no bad triangle; 1: slivers may be; 2: normals may turn up to 90 degrees at once, and on; 3: further
POWER = 0.5  # an edge costs what it adds to the error, over the weight to this power: a sum at 0, a mean at 1
SHAPE = 1e-9  # of an edge's squared length, per weight: between equal errors the shortest edge goes
PULL = 1e-6  # of a quadric's weight towards the edge's middle; more would draw corners of thin plates into them
STAYING, OFF = 3.0, 0.001  # times as dear that an end may be where vertices stay; unless the best place is that near
ALWAYS = np.inf  # instead of STAYING: one of two vertices stays, whatever that costs
VARIETY = 0.35  # logarithm of how many times dearer or cheaper chance may make an edge


class Collapse(NamedTuple):
    """A mesh of V vertices and F faces being simplified, and the queue of its edges with room for C of them."""

    positions: np.ndarray  # (V, 3)
    quadrics: np.ndarray  # (V, 14): each vertex's quadric, and the place that it remembers (reach.py)
    faces: np.ndarray  # (F, 3) int32
    sides: np.ndarray  # (F, 3) normals of the faces at first
    alive: np.ndarray  # (F,) bool
    held: np.ndarray  # (V,) bool, whose edges do not go: faces around it are missing
    border: np.ndarray  # (V,) bool
    version: np.ndarray  # (V,) int32, grows with each change of place
    mark: np.ndarray  # (V,) int64, last walk that met the vertex
    head: np.ndarray  # (V,) int32, a vertex's first corner, -1 for none
    following: np.ndarray  # (3F,) int32, the next corner of the same vertex
    cost: np.ndarray  # (C,) in the heap's order
    slot: np.ndarray  # (C,) int32, in the heap's order
    free: np.ndarray  # (C,) int32, slots that hold no entry
    entry: np.ndarray  # (C, 5) int32: two vertices, their versions, the place
    waiting: np.ndarray  # (C, 4) int32, edges that could not go, and their vertices' versions
    numbers: np.ndarray  # (10,) int64: FACES to STRICT
    sum: np.ndarray  # (11,) the quadric of the edge looked at
    options: np.ndarray  # (6,) POWER, SHAPE, PULL, VARIETY, 0, STAYING or ALWAYS, and how far places may be left behind

    def left(self) -> tuple[np.ndarray, np.ndarray]:
        """The vertices (N,) that faces are left of, ascending, and these faces (M, 3) with them alone."""
        return compact(self.faces[self.alive], len(self.positions))


def start_collapse(
    vertices: np.ndarray,
    faces: np.ndarray,
    quadrics: np.ndarray,
    seed: int = 0,
    *,
    sides: np.ndarray | None = None,
    staying: float = 0.0,
    far: float = FAR,
    held: np.ndarray | None = None,
) -> Collapse:
    """A mesh (V, 3), (F, 3) int32 with `quadrics` (V, 14), ready to be simplified; all its edges are queued.

    `sides` (F, 3) are the ways its faces look, else those of their corners. Of two vertices that are joined one stays
    where it is if that is at most `staying` times as dear as the best place: what few faces show are then corners.
    ALWAYS keeps them where they are. `far` is how far places may be left behind (reach.py). Vertices that are `held`
    (V,) stay with all their edges, and what has to wait then is not tried by looser rules: the rest of the mesh is
    elsewhere (thinning.py).
    """
    n, m = len(vertices), len(faces)
    if sides is None:
        sides, _, _ = face_geometry(vertices, faces)
    room = 4 * m + 64
    state = Collapse(
        vertices.astype(np.float64), quadrics, faces.copy(), sides,
        np.ones(m, dtype=bool), np.zeros(n, dtype=bool) if held is None else held,
        np.zeros(n, dtype=bool), np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int64),
        np.full(n, -1, dtype=np.int32), np.full(3 * m, -1, dtype=np.int32),
        np.empty(room), np.empty(room, dtype=np.int32), np.arange(room, dtype=np.int32),
        np.empty((room, 5), dtype=np.int32), np.empty((room, 4), dtype=np.int32), np.zeros(10, dtype=np.int64),
        np.empty(WIDTH), np.array([POWER, SHAPE, PULL, VARIETY, staying, far]),
    )  # fmt: skip
    state.numbers[FACES], state.numbers[FREE], state.numbers[RETRY] = m, room, m * 9 // 10
    state.numbers[SEED], state.numbers[STRICT] = seed, held is not None
    _prepare(Reference(state), manifold_twins(state.faces, n))
    return state


@njit(**NO_REFCOUNT)
def _prepare(s, twin):
    flat = s.faces.reshape(s.faces.size)
    for h in range(len(flat) - 1, -1, -1):
        v = flat[h]
        s.following[h] = s.head[v]
        s.head[v] = h
    for h in range(len(flat)):
        if twin[h] < 0:
            s.border[flat[h]], s.border[flat[next_half_edge(h)]] = True, True
    for h in range(len(flat)):
        if twin[h] < h:
            a, b = flat[h], flat[next_half_edge(h)]
            if s.held[a] or s.held[b]:
                continue
            cost = _cost(s, a, b)[0]
            i = s.numbers[QUEUED]
            slot = s.free[s.numbers[FREE] - 1]
            s.numbers[FREE] -= 1
            s.entry[slot, 0], s.entry[slot, 1], s.entry[slot, 4] = a, b, OPTIMAL
            s.entry[slot, 2], s.entry[slot, 3] = 0, 0
            s.cost[i], s.slot[i] = cost, slot
            s.numbers[QUEUED] = i + 1
    for i in range(s.numbers[QUEUED] // 2 - 1, -1, -1):
        sift_down(s, i)


# ---------------------------------------------------------------- one edge


@njit(**NO_REFCOUNT)
def _cost(s, a, b):
    """What joining a and b costs, and where: cost, x, y, z."""
    out, stays, x, y, z = _best(s, a, b)
    return _choose(s, a, b, out, stays, x, y, z)


@njit(**NO_REFCOUNT)
def _place(s, a, b):
    """Where joining a and b costs least: what `_cost` tells, without a price where nothing else is in question."""
    out, stays, x, y, z = _best(s, a, b)
    if stays or out > 1.0:
        _, x, y, z = _choose(s, a, b, out, stays, x, y, z)
    return x, y, z


@njit(**NO_REFCOUNT)
def _choose(s, a, b, out, stays, x, y, z):
    """The cost and the place, of what `_best` found and of both ends if these are in question."""
    price = out * _price(s, a, b, x, y, z)
    if stays or out > 1.0:
        ax, ay, az = s.positions[a, 0], s.positions[a, 1], s.positions[a, 2]
        bx, by, bz = s.positions[b, 0], s.positions[b, 1], s.positions[b, 2]
        at_a, at_b = _price(s, a, b, ax, ay, az), _price(s, a, b, bx, by, bz)
        if s.options[4] == ALWAYS or min(at_a, at_b) <= price * (s.options[4] if stays else 1.0):
            return (at_a, ax, ay, az) if at_a <= at_b else (at_b, bx, by, bz)
    return price, x, y, z


@njit(**NO_REFCOUNT)
def _best(s, a, b):
    """The place x, y, z of the least error where a and b are joined, `sum` being their quadric from now on.

    Before it by how many times it is dearer for standing out, and whether one end is to stay if it can.
    """
    row, p = s.sum, s.positions
    for i in range(WIDTH):
        row[i] = s.quadrics[a, i] + s.quadrics[b, i]
    x, y, z = 0.5 * (p[a, 0] + p[b, 0]), 0.5 * (p[a, 1] + p[b, 1]), 0.5 * (p[a, 2] + p[b, 2])
    x, y, z = lowest(row, x, y, z, s.options[2])
    stays = s.options[4] == ALWAYS or (s.options[4] > 0.0 and error_at(row, x, y, z) > OFF * OFF * row[10])
    return stands_out(s, a, b, x, y, z), stays, x, y, z


@njit(**NO_REFCOUNT)
def _price(s, a, b, x, y, z):
    """What joining a and b at a place adds to the errors that they have where they are, `sum` being their quadric.

    It is over their weight, dearer by what would be left behind, by their distance and by chance: flat places cost
    nothing.
    """
    p, row = s.positions, s.sum
    paid = error_at(s.quadrics[a], p[a, 0], p[a, 1], p[a, 2]) + error_at(s.quadrics[b], p[b, 0], p[b, 1], p[b, 2])
    more = max(error_at(row, x, y, z) - paid, 0.0)
    length = (p[a, 0] - p[b, 0]) ** 2 + (p[a, 1] - p[b, 1]) ** 2 + (p[a, 2] - p[b, 2]) ** 2
    price = (more + s.options[1] * row[10] * length) / max(row[10], 1e-30) ** s.options[0]
    return price * dearer(s, a, b, x, y, z) * _chance(s, a, b)


@njit(**NO_REFCOUNT)
def _chance(s, a, b):
    """By how many times chance makes an edge dearer, the same whenever it is asked for; 1 for the seed 0."""
    seed = s.numbers[SEED]
    if seed == 0:
        return 1.0
    key = splitmix(np.uint64(seed) ^ splitmix(np.uint64(min(a, b)) << np.uint64(32) | np.uint64(max(a, b))))
    return np.exp(s.options[3] * (2.0 * (key >> np.uint64(11)) / 2.0**53 - 1.0))


@njit(**NO_REFCOUNT)
def _along(s, a, b, where):
    """The place on an edge, an end or half-way, that an entry of the queue stands for."""
    t = 0.0 if where == AT_FIRST else 1.0 if where == AT_SECOND else 0.5
    x, y, z = s.positions[a, 0], s.positions[a, 1], s.positions[a, 2]
    return x + t * (s.positions[b, 0] - x), y + t * (s.positions[b, 1] - y), z + t * (s.positions[b, 2] - z)


@njit(**NO_REFCOUNT)
def _join(s, a, b, x, y, z):
    """Join b with a, which moves to (x, y, z); faces that held both die."""
    remember(s, a, b, x, y, z)
    c = walk(s, b)
    while c >= 0:
        f = c // 3
        if s.faces[f, 0] == a or s.faces[f, 1] == a or s.faces[f, 2] == a:
            s.alive[f] = False
            s.numbers[FACES] -= 1
        else:
            s.faces[f, c % 3] = a
        c = onward(s, c)
    last, c = -1, walk(s, a)
    while c >= 0:
        last, c = c, onward(s, c)
    if last < 0:
        s.head[a] = walk(s, b)
    else:
        s.following[last] = walk(s, b)
    s.head[b] = -1
    s.border[a] = s.border[a] or s.border[b]
    s.version[a] += 1
    s.version[b] += 1
    for i in range(WIDTH):
        s.quadrics[a, i] += s.quadrics[b, i]
    s.positions[a, 0], s.positions[a, 1], s.positions[a, 2] = x, y, z


@njit(**NO_REFCOUNT)
def _queue_around(s, a):
    s.numbers[MARK] += 1
    mark = s.numbers[MARK]
    s.mark[a] = mark
    c = walk(s, a)
    while c >= 0:
        f = c // 3
        for k in range(3):
            v = s.faces[f, k]
            if s.mark[v] != mark:
                s.mark[v] = mark
                if not s.held[v]:
                    push(s, _cost(s, a, v)[0], a, v, OPTIMAL)
        c = onward(s, c)


@njit(**NO_REFCOUNT)
def _requeue(s):
    """Queue the edges that had to wait; those whose vertices changed since were queued then."""
    n = s.numbers[WAITING]
    s.numbers[WAITING] = 0
    for i in range(n):
        a, b = s.waiting[i, 0], s.waiting[i, 1]
        if s.waiting[i, 2] == s.version[a] and s.waiting[i, 3] == s.version[b]:
            push(s, _cost(s, a, b)[0], a, b, OPTIMAL)


@njit(**NO_REFCOUNT)
def _wait(s, a, b):
    i = s.numbers[WAITING]
    if i < len(s.waiting):
        s.waiting[i, 0], s.waiting[i, 1], s.waiting[i, 2], s.waiting[i, 3] = a, b, s.version[a], s.version[b]
        s.numbers[WAITING] = i + 1


@njit(**NO_REFCOUNT)
def _try(s, slot):
    """Join the vertices of an entry if that is allowed; else queue other places for them and let the edge wait."""
    a, b, where = s.entry[slot, 0], s.entry[slot, 1], s.entry[slot, 4]
    if not is_linked(s, a, b):
        if where == OPTIMAL:
            _wait(s, a, b)
        return False
    if where == OPTIMAL:
        x, y, z = _place(s, a, b)
    else:
        x, y, z = _along(s, a, b, where)
    if keeps_shape(s, a, b, x, y, z) and keeps_shape(s, b, a, x, y, z):
        _join(s, a, b, x, y, z)
        _queue_around(s, a)
        return True
    if where == OPTIMAL:
        for other in (AT_FIRST, AT_SECOND, HALF_WAY):
            if other == HALF_WAY and s.options[4] == ALWAYS:
                continue
            x, y, z = _along(s, a, b, other)
            if keeps_shape(s, a, b, x, y, z) and keeps_shape(s, b, a, x, y, z):
                push(s, _price(s, a, b, x, y, z), a, b, other)
        _wait(s, a, b)
    return False


@njit(**NO_REFCOUNT)
def _go_on(s):
    """Give edges that had to wait another chance; False when nothing can go any more."""
    if s.numbers[QUEUED] == 0:
        if s.numbers[FACES] == s.numbers[STALL]:
            if s.numbers[STRICT]:
                return False
            s.numbers[LEVEL] += 1
        s.numbers[STALL] = s.numbers[FACES]
    else:
        s.numbers[LEVEL] = 0
    s.numbers[RETRY] = s.numbers[FACES] * 9 // 10
    _requeue(s)
    return s.numbers[QUEUED] > 0 and s.numbers[LEVEL] <= MAX_LEVEL


def next_cost(state: Collapse) -> float:
    """What the cheapest edge costs that may go next; inf where none is queued."""
    purge(Reference(state))
    return float(state.cost[0]) if state.numbers[QUEUED] else np.inf


def collapse(state: Collapse, target: int, most: int, dearest: float = np.inf) -> int:
    """Join vertices until `target` faces are left, `most` entries were looked at, or nothing can go: 0, 1 or 2.

    What costs more than `dearest` cannot go, and stays the next.
    """
    return _collapse(Reference(state), target, most, dearest)


@njit(**NO_REFCOUNT)
def _collapse(s, target, most, dearest):
    for _ in range(most):
        if s.numbers[FACES] <= target:
            return 0
        if (s.numbers[QUEUED] == 0 or s.numbers[FACES] < s.numbers[RETRY]) and not _go_on(s):
            return 2
        slot, cost = pop(s)
        if is_current(s, slot):
            if cost > dearest:
                push(s, cost, s.entry[slot, 0], s.entry[slot, 1], s.entry[slot, 4])
                return 2
            _try(s, slot)
    return 1
