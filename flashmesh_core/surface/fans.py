"""The faces around a vertex of a mesh being simplified, compiled: walking them, and what a join would do to them.

They are a linked list of corners in the arrays of a `collapse.Collapse`; dead corners are left out when it is walked.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.edge_queue import LEVEL, MARK, NO_REFCOUNT


@njit(**NO_REFCOUNT)
def walk(s, v):
    """The first living corner of v; the list is shortened by what is dead before it."""
    s.head[v] = _living(s, s.head[v])
    return s.head[v]


@njit(**NO_REFCOUNT)
def onward(s, c):
    """The next living corner of the same vertex after c, the dead ones between them left out for good."""
    s.following[c] = _living(s, s.following[c])
    return s.following[c]


@njit(**NO_REFCOUNT)
def _living(s, c):
    """The first living corner of a list that begins with c, -1 for none."""
    while c >= 0 and not s.alive[c // 3]:
        c = s.following[c]
    return c


@njit(**NO_REFCOUNT)
def is_linked(s, a, b):
    """The link condition: joining a and b keeps a manifold a manifold, and leaves no part without faces."""
    s.numbers[MARK] += 1
    mark = s.numbers[MARK]
    degree_a, shared = 0, 0
    c = walk(s, a)
    while c >= 0:
        f = c // 3
        degree_a += 1
        has = False
        for k in range(3):
            s.mark[s.faces[f, k]] = mark
            has = has or s.faces[f, k] == b
        shared += 1 if has else 0
        c = onward(s, c)
    s.mark[a] = s.mark[b] = 0
    s.numbers[MARK] += 1
    degree_b, common = 0, 0
    c = walk(s, b)
    while c >= 0:
        f = c // 3
        degree_b += 1
        for k in range(3):
            v = s.faces[f, k]
            if s.mark[v] == mark:
                s.mark[v] = mark + 1
                common += 1
        c = onward(s, c)
    if shared == 0 or common != shared or (shared == 2 and s.border[a] and s.border[b]):
        return False
    if s.border[a] or s.border[b]:
        return degree_a + degree_b > 2 * shared
    return degree_a > 3 or degree_b > 3


@njit(**NO_REFCOUNT)
def keeps_shape(s, a, b, x, y, z):
    """Whether the faces around a that do not hold b stay as the level asks when a moves to (x, y, z)."""
    level = s.numbers[LEVEL]
    least = 0.2 if level < 2 else 0.0
    c = walk(s, a)
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
        c = onward(s, c)
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
