"""Edges collapsed one after the other, the cheapest first, compiled: the mesh being simplified and its queue.

The faces at a vertex are a linked list of corners, so joining two vertices is joining two lists; dead corners are left
out when a list is walked. The queue is a binary heap with lazy deletion: an entry counts while both its vertices are
as they were when it was made.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import Reference, njit
from flashmesh_core.splitmix import splitmix
from flashmesh_core.surface.adjacency import face_geometry, manifold_twins
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
    WAITING,
    is_current,
    pop,
    purge,
    push,
    sift_down,
)  # fmt: skip
from flashmesh_core.surface.quadrics import WIDTH, error_at, lowest

MAX_LEVEL = 3  # 0: no bad triangle; 1: slivers may be; 2: normals may turn up to 90 degrees at once, and on; 3: further
POWER = 0.5  # an edge costs what it adds to the error, over the weight to this power: a sum at 0, a mean at 1
SHAPE = 1e-9  # of an edge's squared length, per weight: between equal errors the shortest edge goes
PULL = 1e-6  # of a quadric's weight towards the edge's middle; more would draw corners of thin plates into them
VARIETY = 0.35  # logarithm of how many times dearer or cheaper chance may make an edge


class Collapse(NamedTuple):
    """A mesh of V vertices and F faces being simplified, and the queue of its edges with room for C of them."""

    positions: np.ndarray  # (V, 3)
    quadrics: np.ndarray  # (V, 11)
    faces: np.ndarray  # (F, 3) int32
    sides: np.ndarray  # (F, 3) normals of the faces at first
    alive: np.ndarray  # (F,) bool
    parent: np.ndarray  # (V,) int32, the vertex that this one was joined with; itself while it lives
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
    numbers: np.ndarray  # (9,) int64: FACES to SEED
    sum: np.ndarray  # (11,) the quadric of the edge looked at
    options: np.ndarray  # (4,) POWER, SHAPE, PULL, VARIETY


def start_collapse(vertices: np.ndarray, faces: np.ndarray, quadrics: np.ndarray, seed: int = 0) -> Collapse:
    """A mesh (V, 3), (F, 3) int32 with `quadrics` (V, 11), ready to be simplified; all its edges are queued."""
    n, m = len(vertices), len(faces)
    sides, _, _ = face_geometry(vertices, faces)
    room = 4 * m + 64
    state = Collapse(
        vertices.astype(np.float64), quadrics, faces.copy(), sides,
        np.ones(m, dtype=bool), np.arange(n, dtype=np.int32),
        np.zeros(n, dtype=bool), np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int64),
        np.full(n, -1, dtype=np.int32), np.full(3 * m, -1, dtype=np.int32),
        np.empty(room), np.empty(room, dtype=np.int32), np.arange(room, dtype=np.int32),
        np.empty((room, 5), dtype=np.int32), np.empty((room, 4), dtype=np.int32), np.zeros(9, dtype=np.int64),
        np.empty(WIDTH), np.array([POWER, SHAPE, PULL, VARIETY]),
    )  # fmt: skip
    state.numbers[FACES], state.numbers[FREE], state.numbers[RETRY] = m, room, m * 9 // 10
    state.numbers[SEED] = seed
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
            s.border[flat[h]], s.border[flat[h + 1 if h % 3 < 2 else h - 2]] = True, True
    for h in range(len(flat)):
        if twin[h] < h:
            a, b = flat[h], flat[h + 1 if h % 3 < 2 else h - 2]
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
    row = s.sum
    for i in range(WIDTH):
        row[i] = s.quadrics[a, i] + s.quadrics[b, i]
    ax, ay, az = s.positions[a, 0], s.positions[a, 1], s.positions[a, 2]
    bx, by, bz = s.positions[b, 0], s.positions[b, 1], s.positions[b, 2]
    x, y, z = lowest(row, 0.5 * (ax + bx), 0.5 * (ay + by), 0.5 * (az + bz), s.options[2])
    return _price(s, a, b, x, y, z), x, y, z


@njit(**NO_REFCOUNT)
def _price(s, a, b, x, y, z):
    """What joining a and b at a place adds to the errors that they have where they are, `sum` being their quadric.

    It is over their weight, by their distance and by chance: flat places cost nothing.
    """
    p, row = s.positions, s.sum
    paid = error_at(s.quadrics[a], p[a, 0], p[a, 1], p[a, 2]) + error_at(s.quadrics[b], p[b, 0], p[b, 1], p[b, 2])
    more = max(error_at(row, x, y, z) - paid, 0.0)
    length = (p[a, 0] - p[b, 0]) ** 2 + (p[a, 1] - p[b, 1]) ** 2 + (p[a, 2] - p[b, 2]) ** 2
    return (more + s.options[1] * row[10] * length) / max(row[10], 1e-30) ** s.options[0] * _chance(s, a, b)


@njit(**NO_REFCOUNT)
def _chance(s, a, b):
    """By how many times chance makes an edge dearer, the same whenever it is asked for; 1 for the seed 0."""
    seed = s.numbers[SEED]
    if seed == 0:
        return 1.0
    key = splitmix(np.uint64(seed) ^ splitmix(np.uint64(min(a, b)) << np.uint64(32) | np.uint64(max(a, b))))
    return np.exp(s.options[3] * (2.0 * (key >> np.uint64(11)) / 2.0**53 - 1.0))


@njit(**NO_REFCOUNT)
def _place(s, a, b, where):
    """Where an entry of the queue puts the vertex: cost, x, y, z."""
    cost, x, y, z = _cost(s, a, b)
    if where == OPTIMAL:
        return cost, x, y, z
    t = 0.0 if where == AT_FIRST else 1.0 if where == AT_SECOND else 0.5
    x, y, z = s.positions[a, 0], s.positions[a, 1], s.positions[a, 2]
    x += t * (s.positions[b, 0] - x)
    y += t * (s.positions[b, 1] - y)
    z += t * (s.positions[b, 2] - z)
    return _price(s, a, b, x, y, z), x, y, z


@njit(**NO_REFCOUNT)
def _walk(s, v):
    """The first living corner of v; the list is shortened by what is dead before it."""
    c = s.head[v]
    while c >= 0 and not s.alive[c // 3]:
        c = s.following[c]
    s.head[v] = c
    return c


@njit(**NO_REFCOUNT)
def _onward(s, c):
    """The next living corner of the same vertex after c, the dead ones between them left out for good."""
    d = s.following[c]
    while d >= 0 and not s.alive[d // 3]:
        d = s.following[d]
    s.following[c] = d
    return d


@njit(**NO_REFCOUNT)
def _is_linked(s, a, b):
    """The link condition: joining a and b keeps a manifold a manifold, and leaves no part without faces."""
    s.numbers[MARK] += 1
    mark = s.numbers[MARK]
    degree_a, shared = 0, 0
    c = _walk(s, a)
    while c >= 0:
        f = c // 3
        degree_a += 1
        has = False
        for k in range(3):
            s.mark[s.faces[f, k]] = mark
            has = has or s.faces[f, k] == b
        shared += 1 if has else 0
        c = _onward(s, c)
    s.mark[a] = s.mark[b] = 0
    s.numbers[MARK] += 1
    degree_b, common = 0, 0
    c = _walk(s, b)
    while c >= 0:
        f = c // 3
        degree_b += 1
        for k in range(3):
            v = s.faces[f, k]
            if s.mark[v] == mark:
                s.mark[v] = mark + 1
                common += 1
        c = _onward(s, c)
    if shared == 0 or common != shared or (shared == 2 and s.border[a] and s.border[b]):
        return False
    if s.border[a] or s.border[b]:
        return degree_a + degree_b > 2 * shared
    return degree_a > 3 or degree_b > 3


@njit(**NO_REFCOUNT)
def _keeps_shape(s, a, b, x, y, z):
    """Whether the faces around a that do not hold b stay as the level asks when a moves to (x, y, z)."""
    level = s.numbers[LEVEL]
    least = 0.2 if level < 2 else 0.0
    c = _walk(s, a)
    while c >= 0:
        f, k = c // 3, c % 3
        u, v = s.faces[f, (k + 1) % 3], s.faces[f, (k + 2) % 3]
        if u != b and v != b:
            old, new, dot, quality_old, quality, away = _turn(s.positions, s.sides[f], a, u, v, x, y, z)
            if level < 2 and away:
                return False
            if old > 1e-24 and dot <= least * np.sqrt(old * new) and (level < 3 or quality_old > 0.02):
                return False
            if level < 1 and quality < 0.02 and quality < 0.5 * quality_old:
                return False
        c = _onward(s, c)
    return True


@njit(**NO_REFCOUNT)
def _turn(p, side, a, u, v, x, y, z):
    """Squares of the old and the new normal's length, their product, both shapes (1: even, 0: flat), and `away`.

    That is whether the face would look away from `side`, where it looked at first, and more so than it does.
    """
    ux, uy, uz = p[u, 0], p[u, 1], p[u, 2]
    ex, ey, ez = p[v, 0] - ux, p[v, 1] - uy, p[v, 2] - uz
    ox, oy, oz = p[a, 0] - ux, p[a, 1] - uy, p[a, 2] - uz
    nx, ny, nz = x - ux, y - uy, z - uz
    sx, sy, sz = ey * oz - ez * oy, ez * ox - ex * oz, ex * oy - ey * ox
    tx, ty, tz = ey * nz - ez * ny, ez * nx - ex * nz, ex * ny - ey * nx
    old, new = sx * sx + sy * sy + sz * sz, tx * tx + ty * ty + tz * tz
    fixed = ex * ex + ey * ey + ez * ez
    sides_old = fixed + ox * ox + oy * oy + oz * oz + (ox - ex) ** 2 + (oy - ey) ** 2 + (oz - ez) ** 2
    sides = fixed + nx * nx + ny * ny + nz * nz + (nx - ex) ** 2 + (ny - ey) ** 2 + (nz - ez) ** 2
    before = sx * side[0] + sy * side[1] + sz * side[2]
    after = tx * side[0] + ty * side[1] + tz * side[2]
    even = 2.0 * np.sqrt(3.0)
    return (
        old, new, sx * tx + sy * ty + sz * tz,
        even * np.sqrt(old) / max(sides_old, 1e-300), even * np.sqrt(new) / max(sides, 1e-300),
        after <= 0.0 and after * np.sqrt(old) < before * np.sqrt(new),
    )  # fmt: skip


@njit(**NO_REFCOUNT)
def _join(s, a, b, x, y, z):
    """Join b with a, which moves to (x, y, z); faces that held both die."""
    c = _walk(s, b)
    while c >= 0:
        f = c // 3
        if s.faces[f, 0] == a or s.faces[f, 1] == a or s.faces[f, 2] == a:
            s.alive[f] = False
            s.numbers[FACES] -= 1
        else:
            s.faces[f, c % 3] = a
        c = _onward(s, c)
    last, c = -1, _walk(s, a)
    while c >= 0:
        last, c = c, _onward(s, c)
    if last < 0:
        s.head[a] = _walk(s, b)
    else:
        s.following[last] = _walk(s, b)
    s.head[b], s.parent[b] = -1, a
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
    c = _walk(s, a)
    while c >= 0:
        f = c // 3
        for k in range(3):
            v = s.faces[f, k]
            if s.mark[v] != mark:
                s.mark[v] = mark
                push(s, _cost(s, a, v)[0], a, v, OPTIMAL)
        c = _onward(s, c)


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
    if not _is_linked(s, a, b):
        if where == OPTIMAL:
            _wait(s, a, b)
        return False
    _, x, y, z = _place(s, a, b, where)
    if _keeps_shape(s, a, b, x, y, z) and _keeps_shape(s, b, a, x, y, z):
        _join(s, a, b, x, y, z)
        _queue_around(s, a)
        return True
    if where == OPTIMAL:
        for other in (AT_FIRST, AT_SECOND, HALF_WAY):
            _, x, y, z = _place(s, a, b, other)
            if _keeps_shape(s, a, b, x, y, z) and _keeps_shape(s, b, a, x, y, z):
                push(s, _place(s, a, b, other)[0], a, b, other)
        _wait(s, a, b)
    return False


@njit(**NO_REFCOUNT)
def _go_on(s):
    """Give edges that had to wait another chance; False when nothing can go any more."""
    if s.numbers[QUEUED] == 0:
        if s.numbers[FACES] == s.numbers[STALL]:
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
