"""Vertices left out one by one, compiled: each goes to a neighbor, the least missed first, and no other one moves.

The faces at a vertex are a linked list of corners, as in surface/collapse.py. The queue is numba's heap with lazy
deletion: an entry counts while neither of its vertices has changed since.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import COMPILED, manifold_twins, next_half_edge
from flashmesh_core.surface.quadrics import WIDTH, error_at
from flashmesh_core.surface.reach import to_triangle

STRAIGHT, IN_ALL = 0.3, 0.2  # cosines that the normal of a face may turn by at the most, at one time and in all
OFF = 1e-3  # units: errors far below it are all the same
AGAIN = 1.8  # BIN: a vertex that goes that near to another leaves it the chance to be the artist's
NEVER = np.inf


class Weights(NamedTuple):
    """How much each reason counts for a vertex to stay: it is added to the logarithm of what leaving it out costs."""

    chance: float = 0.6  # the logarithm of the odds that it is the artist's
    length: float = 0.0  # the logarithm of the length of the edge that goes, in units
    far: float = 0.3  # units: what is left behind farther is dearer
    behind: float = 0.3  # how much what is left behind counts beside the planes


@njit(**COMPILED)
def _linked(faces):
    """The first corner of each vertex, and the next of each corner (3F,); -1 for none."""
    flat = faces.ravel()
    head, following = np.full(flat.max() + 1, -1, dtype=np.int32), np.full(len(flat), -1, dtype=np.int32)
    for h in range(len(flat) - 1, -1, -1):
        following[h] = head[flat[h]]
        head[flat[h]] = h
    return head, following


@njit(**COMPILED)
def _alive_from(alive, following, c):
    """The corner c, or the first one after it whose face is alive; -1 for none."""
    while c >= 0 and not alive[c // 3]:
        c = following[c]
    return c


@njit(**COMPILED)
def _turned_face(vertices, face, v, u):
    """The area vectors of a face before and after its corner v goes to u: 6 numbers."""
    p, q = vertices[face[0]], vertices[face[1]]
    r = vertices[face[2]]
    x, y = q - p, r - p
    old = np.array((x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]))
    if face[0] == v:
        p = vertices[u]
    elif face[1] == v:
        q = vertices[u]
    else:
        r = vertices[u]
    x, y = q - p, r - p
    new = np.array((x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]))
    return old, new


@njit(**COMPILED)
def _may_go(mesh, sides, border, v, u):
    """Whether v can go to its neighbor u: the surface stays manifold, a border where it is, and no face turns over."""
    vertices, faces, alive, head, following = mesh
    shared, c = 0, _alive_from(alive, following, head[v])
    while c >= 0:
        face = faces[c // 3]
        if face[0] == u or face[1] == u or face[2] == u:
            shared += 1
        c = _alive_from(alive, following, following[c])
    if shared == 0 or (border[v] and (not border[u] or shared != 1)) or (not border[v] and shared != 2):
        return False
    common, c = 0, _alive_from(alive, following, head[v])
    while c >= 0:
        face = faces[c // 3]
        if not (face[0] == u or face[1] == u or face[2] == u):
            a, b = face[(c + 1) % 3], face[(c + 2) % 3]
            to_a, to_b = False, False
            k = _alive_from(alive, following, head[u])
            while k >= 0:
                other = faces[k // 3]
                has_a = other[0] == a or other[1] == a or other[2] == a
                has_b = other[0] == b or other[1] == b or other[2] == b
                if has_a and has_b:
                    return False
                to_a, to_b = to_a or has_a, to_b or has_b
                k = _alive_from(alive, following, following[k])
            common += (1 if to_a else 0) + (1 if to_b else 0)
            old, new = _turned_face(vertices, face, v, u)
            size = np.sqrt((old * old).sum() * (new * new).sum())
            at_first = (sides[c // 3] * new).sum()
            if not (old * new).sum() > STRAIGHT * size or not at_first > IN_ALL * np.sqrt((new * new).sum()):
                return False
        c = _alive_from(alive, following, following[c])
    return common == shared


@njit(**COMPILED)
def _left_behind(mesh, place, v, u):
    """The square of how far a place (3,) is from the faces around v and u, once v has gone to u."""
    vertices, faces, alive, head, following = mesh
    v, u = np.int64(v), np.int64(u)
    x, y, z = vertices[u, 0], vertices[u, 1], vertices[u, 2]
    dx, dy, dz = place[0] - x, place[1] - y, place[2] - z
    best = dx * dx + dy * dy + dz * dz
    for turn in range(2):
        end, other = (v, u) if turn == 0 else (u, v)
        c = _alive_from(alive, following, head[end])
        while c >= 0:
            i, j = faces[c // 3, (c + 1) % 3], faces[c // 3, (c + 2) % 3]
            if i != other and j != other:
                to = to_triangle(
                    vertices[i, 0] - x, vertices[i, 1] - y, vertices[i, 2] - z,
                    vertices[j, 0] - x, vertices[j, 1] - y, vertices[j, 2] - z, dx, dy, dz,
                )  # fmt: skip
                best = min(best, to)
            c = _alive_from(alive, following, following[c])
    return best


@njit(**COMPILED)
def _price(mesh, quadrics, left, odds, unit, weights, v, u):
    """What leaving v out for u costs: the logarithm of how far that leaves the surface, and how likely v is."""
    vertices = mesh[0]
    x, y, z = vertices[u, 0], vertices[u, 1], vertices[u, 2]
    off = np.sqrt(error_at(quadrics[v], x, y, z) / max(quadrics[v, WIDTH - 1] ** 0.5 * unit, 1e-30))
    behind = max(_left_behind(mesh, vertices[v], v, u), _left_behind(mesh, left[v], v, u))
    behind = np.sqrt(max(behind, _left_behind(mesh, left[u], v, u)))
    length = np.sqrt(((vertices[v] - vertices[u]) ** 2).sum())
    far = max(behind / (weights[2] * unit), 1.0)
    return (
        np.log((off + weights[3] * behind) / unit + OFF) + 2.0 * np.log(far)
        + weights[0] * odds[v] + weights[1] * np.log(length / unit + OFF)
    )  # fmt: skip


@njit(**COMPILED)
def _queue(queue, state, version, v, u):
    mesh, quadrics, left, odds, unit, weights = state
    price = _price(mesh, quadrics, left, odds, unit, weights, v, u)
    heapq.heappush(queue, (price, np.int64(v), np.int64(u), version[v], version[u]))


@njit(**COMPILED)
def _sides(vertices, faces):
    """The unit normals (F, 3) of faces; next to nothing stays so."""
    sides = np.empty((len(faces), 3))
    for f in range(len(faces)):
        normal, _ = _turned_face(vertices, faces[f], faces[f, 0], faces[f, 0])
        sides[f] = normal / max(np.sqrt((normal * normal).sum()), 1e-30)
    return sides


@njit(**COMPILED)
def leave_out(vertices, faces, twin, quadrics, odds, count, unit, weights):
    """Faces (M, 3) over `vertices` (V, 3) after vertices of `faces` (F, 3) went, until at most `count` are left.

    `quadrics` (V, 11) and `odds` (V,), the logarithms, change. More faces are left where no vertex can go.
    """
    faces, alive = faces.copy(), np.ones(len(faces), dtype=np.bool_)
    head, following = _linked(faces)
    border, version = np.zeros(len(vertices), dtype=np.bool_), np.zeros(len(vertices), dtype=np.int64)
    for h in range(len(twin)):
        if twin[h] < 0:
            border[faces[h // 3, h % 3]], border[faces[h // 3, next_half_edge(h) % 3]] = True, True
    behind = vertices.copy()  # the place that each vertex left behind farthest
    state = ((vertices, faces, alive, head, following), quadrics, behind, odds, unit, weights)
    queue = [(0.0, 0, 0, -1, -1)]
    for h in range(len(twin)):
        a, b = faces[h // 3, h % 3], faces[h // 3, next_half_edge(h) % 3]
        _queue(queue, state, version, a, b)
        if twin[h] < 0:
            _queue(queue, state, version, b, a)
    sides = _sides(vertices, faces)
    left, waiting, changed = len(faces), [(0, 0)], True
    while left > count and changed:
        changed = False
        while left > count and queue:
            _, v, u, version_v, version_u = heapq.heappop(queue)
            if version_v != version[v] or version_u != version[u]:
                continue
            if not _may_go(state[0], sides, border, v, u):
                waiting.append((v, u))
                continue
            left -= _go(vertices, faces, alive, head, following, quadrics, odds, version, behind, v, u)
            changed = True
            _queue_around(queue, state, faces, alive, head, following, version, u)
        for v, u in waiting:
            if v != u and head[v] >= 0 and head[u] >= 0 and _are_joined(faces, alive, head, following, v, u):
                _queue(queue, state, version, v, u)
        waiting.clear()
    return faces[alive]


@njit(**COMPILED)
def _are_joined(faces, alive, head, following, v, u):
    c = _alive_from(alive, following, head[v])
    while c >= 0:
        face = faces[c // 3]
        if face[0] == u or face[1] == u or face[2] == u:
            return True
        c = _alive_from(alive, following, following[c])
    return False


@njit(**COMPILED)
def _go(vertices, faces, alive, head, following, quadrics, odds, version, behind, v, u):
    """Leave v out: its faces are those of u now, and so are its planes; how many faces went."""
    mesh = (vertices, faces, alive, head, following)
    farthest, place = _left_behind(mesh, behind[u], v, u), behind[u]
    for other in (behind[v], vertices[v]):
        far = _left_behind(mesh, other, v, u)
        if far > farthest:
            farthest, place = far, other
    place = place.copy()
    gone, last, c = 0, -1, head[v]
    while c >= 0:
        f, last = c // 3, c
        if alive[f]:
            if faces[f, 0] == u or faces[f, 1] == u or faces[f, 2] == u:
                alive[f] = False
                gone += 1
            else:
                faces[f, c % 3] = u
        c = following[c]
    following[last] = head[u]
    head[u], head[v] = head[v], -1
    for i in range(WIDTH):
        quadrics[u, i] += quadrics[v, i]
    if ((vertices[v] - vertices[u]) ** 2).sum() < (AGAIN / 128.0) ** 2:
        none = 1.0 / ((1.0 + np.exp(odds[v])) * (1.0 + np.exp(odds[u])))
        odds[u] = np.log(max(1.0 - none, 1e-6) / max(none, 1e-6))
    behind[u] = place
    version[v] += 1
    version[u] += 1
    return gone


@njit(**COMPILED)
def _queue_around(queue, state, faces, alive, head, following, version, u):
    """Queue the edges of u, either way, as they are now."""
    c = _alive_from(alive, following, head[u])
    while c >= 0:
        for k in range(1, 3):
            w = faces[c // 3, (c + k) % 3]
            _queue(queue, state, version, u, w)
            _queue(queue, state, version, w, u)
        c = _alive_from(alive, following, following[c])


def collapsed(
    vertices: np.ndarray, faces: np.ndarray, quadrics: np.ndarray, odds: np.ndarray, count: int, unit: float,
    weights: Any = None,
) -> np.ndarray:  # fmt: skip
    """`leave_out` of a manifold mesh (V, 3), (F, 3) with default weights; nothing given changes."""
    faces = faces.astype(np.int32)
    twin = manifold_twins(faces, len(vertices))
    weights = np.array(Weights() if weights is None else weights)
    return leave_out(vertices, faces, twin, quadrics.copy(), odds.astype(np.float64), count, unit, weights)
