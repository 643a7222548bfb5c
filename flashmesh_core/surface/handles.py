"""Handles too small to be meant are cut: loops of three edges that bound no face, each side closed by a triangle.

Marching cubes leaves handles and bubbles without width where a flat side lies on the lattice, and noise leaves small
ones. A simplifier that keeps the topology can't get rid of them; their loops shrink to three edges and stay. A loop
that alone holds a limb, as one around a finger does, is none of a handle and keeps no faces: it stays, unless the limb
is a crumb.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import (
    COMPILED,
    boxes_of,
    edge_order,
    face_components,
    faces_at_vertices,
    manifold_twins,
    next_half_edge,
    parts_of,
    previous_half_edge,
)

MAX_PASSES = 16
STUB = 0.5  # of the longest loops that are cut: what is left of a handle, and smaller, goes with it
LIMB = 0.25  # of all that it hangs on: what is larger stays, however small it is beside the typical edge
Loop = tuple[int, int, int]


def cut_handles(
    positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray, longest: float, crumb: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh without its loops of three edges whose perimeter is below `longest`, but for those that hold a limb.

    Left out are limbs the longest side of whose box is below `crumb`, and what is left of a handle below STUB of
    `longest`.
    `positions` (V, 3), `quadrics` (V, Q) a row a vertex, `faces` (F, 3) int32, edge-manifold and oriented. Closed stays
    closed. A doubled vertex has its quadric twice.
    """
    if crumb <= 0.0 and are_spheres(len(positions), faces):
        return positions, quadrics, faces  # every loop holds a limb
    holding: set[Loop] = set()
    for _ in range(MAX_PASSES):
        loops = _short_loops(positions, faces, longest, holding)
        if not loops:
            break
        beside = (manifold_twins(faces, len(positions)), *faces_at_vertices(faces, len(positions)))
        found, done = _cut(positions, quadrics, faces, beside, loops)
        if not done:
            break
        held, goes = _limbs(found[0], found[2], done, crumb, STUB * longest)
        holding.update(loop for loop, holds in zip(done, held, strict=True) if holds)
        if held.all():
            continue
        if held.any():
            found, _ = _cut(positions, quadrics, faces, beside, [loop for loop in done if loop not in holding])
            goes = goes[np.append(np.ones(len(faces), dtype=bool), np.repeat(~held, 2))]
        positions, quadrics, faces = found
        faces = faces[~goes] if goes.any() else faces
    return positions, quadrics, faces


def are_spheres(vertices: int, faces: np.ndarray) -> bool:
    """Whether every part of a mesh, which uses all its vertices, is closed and without a handle, by Euler's formula."""
    twins = manifold_twins(faces, vertices)
    return bool((twins >= 0).all()) and 2 * vertices - len(faces) == 4 * face_components(faces, twins)[1]


def _short_loops(positions: np.ndarray, faces: np.ndarray, longest: float, holding: set[Loop]) -> list[Loop]:
    """Loops that bound no face, shortest first, none with a vertex of another, on a border or among the `holding`."""
    loops, perimeters = _loops_of_three(positions, faces, longest)
    found = sorted(zip(perimeters.tolist(), map(tuple, loops.tolist()), strict=True))
    chosen: list[Loop] = []
    taken: set[int] = set()
    for _, loop in found:
        if loop not in holding and not taken & set(loop):
            taken.update(loop)
            chosen.append(loop)
    return chosen


@njit(**COMPILED)
def _loops_of_three(positions, faces, longest):
    """Loops (L, 3) of three edges that bound no face, vertices ascending, none on a border, and how long each is (L,).

    Only those shorter than `longest`.
    """
    n = len(positions)
    order, first, low, high = edge_order(faces, n)
    border = np.zeros(n, dtype=np.bool_)
    start = np.zeros(n + 1, dtype=np.int64)
    for e in range(len(first) - 1):
        a, b = low[order[first[e]]], high[order[first[e]]]
        start[a + 1] += 1
        start[b + 1] += 1
        if first[e + 1] - first[e] == 1:
            border[a] = border[b] = True
    for v in range(n):
        start[v + 1] += start[v]
    near, place = np.empty(start[n], dtype=np.int32), start.copy()  # of each vertex ascending, as edges are
    for e in range(len(first) - 1):
        a, b = low[order[first[e]]], high[order[first[e]]]
        near[place[a]], near[place[b]] = b, a
        place[a] += 1
        place[b] += 1
    loops, perimeters, count = np.empty((64, 3), dtype=np.int64), np.empty(64), 0
    for e in range(len(first) - 1):
        a, b = low[order[first[e]]], high[order[first[e]]]
        side = _apart(positions, a, b)
        if border[a] or border[b] or side >= 0.5 * longest:
            continue
        i, k = start[a], start[b]
        while i < start[a + 1] and k < start[b + 1]:
            x = near[i]
            if x == near[k] and x > b and not border[x]:
                perimeter = _apart(positions, x, a) + side + _apart(positions, b, x)
                if perimeter < longest and not _is_third(faces, order[first[e] : first[e + 1]], x):
                    if count == len(loops):
                        loops = np.concatenate((loops, np.empty_like(loops)))
                        perimeters = np.concatenate((perimeters, np.empty_like(perimeters)))
                    loops[count, 0], loops[count, 1], loops[count, 2], perimeters[count] = a, b, x, perimeter
                    count += 1
            ahead = near[k] - x
            i += 1 if ahead >= 0 else 0
            k += 1 if ahead <= 0 else 0
    return loops[:count], perimeters[:count]


@njit(**COMPILED)
def _apart(positions, a, b):
    """How far two vertices are from each other."""
    x, y, z = (positions[a, 0] - positions[b, 0], positions[a, 1] - positions[b, 1], positions[a, 2] - positions[b, 2])
    return np.sqrt(x * x + y * y + z * z)


@njit(**COMPILED)
def _is_third(faces, half_edges, x):
    """Whether x is the third vertex of the face of one of `half_edges` (N,)."""
    found = False
    for h in half_edges:
        found |= faces[h // 3, (h + 2) % 3] == x
    return found


def _cut(
    positions: np.ndarray,
    quadrics: np.ndarray,
    faces: np.ndarray,
    beside: tuple[np.ndarray, np.ndarray, np.ndarray],
    loops: list[Loop],
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], list[Loop]]:
    """The vertices of each loop doubled for the faces on its left, both sides closed; the loops where that is possible.

    The two caps of each of these come last, in their order. `beside` are the faces' twins, and `faces_at_vertices`.
    """
    rows = np.array(loops, dtype=faces.dtype).reshape(-1, 3)
    cut, possible = _cut_along(rows, faces, *beside, len(positions))
    done = [loop for loop, is_possible in zip(loops, possible, strict=True) if is_possible]
    if not done:
        return (positions, quadrics, faces), done
    doubled = rows[possible].ravel()
    return (np.concatenate([positions, positions[doubled]]), np.concatenate([quadrics, quadrics[doubled]]), cut), done


@njit(**COMPILED)
def _cut_along(loops, faces, twin, start, around, n_vertices):
    """The faces cut along loops (L, 3) that share no vertex, with two caps for each, and where that is possible (L,).

    The copies of a loop's vertices follow the `n_vertices` there are and the copies of those before it.
    """
    possible = np.zeros(len(loops), dtype=np.bool_)
    cut = np.empty((len(faces) + 2 * len(loops), 3), dtype=faces.dtype)
    cut[: len(faces)] = faces
    caps, new = len(faces), n_vertices
    for i in range(len(loops)):
        loop = loops[i]
        possible[i] = True
        for k in range(3):
            if _left_fan(loop[k - 1], loop[k], loop[(k + 1) % 3], faces, twin, start, around, cut, -1) < 0:
                possible[i] = False
                break
        if not possible[i]:
            continue
        for k in range(3):
            _left_fan(loop[k - 1], loop[k], loop[(k + 1) % 3], faces, twin, start, around, cut, new + k)
            cut[caps, k] = loop[k]
        cut[caps + 1, 0], cut[caps + 1, 1], cut[caps + 1, 2] = new + 1, new, new + 2
        caps, new = caps + 2, new + 3
    return cut[:caps], possible


@njit(**COMPILED)
def _left_fan(before, vertex, after, faces, twin, start, around, cut, copy):
    """How many faces lie to the left of before -> vertex -> after, -1 if a border or `before` comes first.

    Unless `copy` is -1, `vertex` becomes that in these faces of `cut`.
    """
    flat = faces.ravel()
    h = -1
    for i in range(start[vertex], start[vertex + 1]):
        for k in range(3):
            if faces[around[i], k] == before and faces[around[i], (k + 1) % 3] == vertex:
                h = 3 * around[i] + k
    count = 0
    while h >= 0:
        out = next_half_edge(h)
        if copy >= 0:
            cut[out // 3, out % 3] = copy
        count += 1
        onward = flat[previous_half_edge(h)]
        if onward == after:
            return count
        if onward == before:
            return -1
        h = twin[out]
    return -1


def _limbs(
    positions: np.ndarray, faces: np.ndarray, loops: list[Loop], crumb: float, stub: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which of `loops` (L,) hold a limb that stays, and which of `faces` (F, 3) are of one that does not.

    The loops, shortest first, are cut, the two caps of each last among the faces, in their order. Every part hangs on
    the largest by the longest loops there are; the other loops are those of handles.
    """
    label, size = parts_of(positions, faces)
    ends = label[len(faces) - 2 * len(loops) :].reshape(-1, 2).tolist()
    root, beside, handle = np.arange(len(size)), [list[tuple[int, int]]() for _ in size], np.zeros(len(size), bool)
    for loop in reversed(range(len(loops))):
        one, other = ends[loop]
        if root[one] != root[other]:
            root[root == root[other]] = root[one]
            beside[one].append((loop, other))
            beside[other].append((loop, one))
        elif one != other:
            handle[[one, other]] = True
    held, goes = np.zeros(len(loops), dtype=bool), np.zeros(len(size), dtype=bool)
    low, high = boxes_of(positions, faces, label, len(size))
    outwards = _outwards(beside, size)
    whole = _sizes_of_wholes(outwards, low, high)
    for part, loop, onto in reversed(outwards):
        small = stub if handle[part] else crumb
        small = min(small, LIMB * whole[part]) if whole[part] > small else small
        goes[part] = (high[part] - low[part]).max() < small
        held[loop] = not goes[part]
        low[onto], high[onto] = np.minimum(low[onto], low[part]), np.maximum(high[onto], high[part])
        handle[onto] |= handle[part]
    for part, loop, onto in outwards:
        if goes[onto]:  # with all that hangs on it, which its size is that of
            goes[part], held[loop] = True, False
    return held, goes[label]


def _sizes_of_wholes(outwards: list[tuple[int, int, int]], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The longest side (P,) of the box of all that each part hangs together with, by boxes `low` and `high` (P, 3)."""
    low, high, largest = low.copy(), high.copy(), np.arange(len(low))
    for part, _, onto in outwards:
        largest[part] = largest[onto]
        low[largest[onto]] = np.minimum(low[largest[onto]], low[part])
        high[largest[onto]] = np.maximum(high[largest[onto]], high[part])
    return (high - low).max(axis=1)[largest]


def _outwards(beside: list[list[tuple[int, int]]], size: np.ndarray) -> list[tuple[int, int, int]]:
    """Each part but the largest of those that hang together, with the loop it hangs by and on which, those on first."""
    order, seen = list[tuple[int, int, int]](), np.zeros(len(size), dtype=bool)
    for largest in np.argsort(-size, kind="stable").tolist():
        waiting = [largest] if not seen[largest] else []
        while waiting:
            part = waiting.pop()
            seen[part] = True
            onward = [(other, loop, part) for loop, other in beside[part] if not seen[other]]
            order += onward
            waiting += [other for other, _, _ in onward]
    return order
