"""Handles too small to be meant are cut: loops of three edges that bound no face, each side closed by a triangle.

Marching cubes leaves handles and bubbles without width where a flat side lies on the lattice, and noise leaves small
ones. A simplifier that keeps the topology can't get rid of them; their loops shrink to three edges and stay.
"""

from __future__ import annotations

import numpy as np

MAX_PASSES = 16
Loop = tuple[int, int, int]


def cut_handles(
    positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray, longest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh without its loops of three edges whose perimeter is below `longest`; what was cut off is left beside it.

    `positions` (V, 3), `quadrics` (V, Q) a row a vertex, `faces` (F, 3) int32, edge-manifold and oriented. Closed stays
    closed. A doubled vertex has its quadric twice.
    """
    for _ in range(MAX_PASSES):
        third = _third_of(faces)
        loops = _short_loops(positions, faces, third, longest)
        if not loops:
            break
        positions, quadrics, faces = _cut(positions, quadrics, faces, third, loops)
    return positions, quadrics, faces


def _third_of(faces: np.ndarray) -> dict[tuple[int, int], int]:
    """The third vertex of the face beside each directed edge."""
    third: dict[tuple[int, int], int] = {}
    for a, b, c in faces.tolist():
        third[a, b], third[b, c], third[c, a] = c, a, b
    return third


def _short_loops(
    positions: np.ndarray, faces: np.ndarray, third: dict[tuple[int, int], int], longest: float
) -> list[Loop]:
    """Loops that bound no face, shortest first, none with a vertex of another or on a border."""
    around: dict[int, set[int]] = {}
    border: set[int] = set()
    for a, b in third:
        around.setdefault(a, set()).add(b)
        around.setdefault(b, set()).add(a)
        if (b, a) not in third:
            border.update((a, b))
    short = _short_edges(positions, third, longest)
    found = []
    for a, b in short:
        for x in around[a] & around[b]:
            if x > b and third.get((a, b)) != x and third.get((b, a)) != x and not border & {a, b, x}:
                corners = positions[[a, b, x]]
                perimeter = float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).sum())
                if perimeter < longest:
                    found.append((perimeter, (a, b, x)))
    chosen: list[Loop] = []
    taken: set[int] = set()
    for _, loop in sorted(found):
        if not taken & set(loop):
            taken.update(loop)
            chosen.append(loop)
    return chosen


def _short_edges(positions: np.ndarray, third: dict[tuple[int, int], int], longest: float) -> list[tuple[int, int]]:
    """Edges, the lower vertex first, that may be part of a loop below `longest`."""
    edges = np.array([edge for edge in third if edge[0] < edge[1]], dtype=np.int64).reshape(-1, 2)
    length = np.linalg.norm(positions[edges[:, 1]] - positions[edges[:, 0]], axis=1)
    return [(int(a), int(b)) for a, b in edges[length < 0.5 * longest]]


def _cut(
    positions: np.ndarray,
    quadrics: np.ndarray,
    faces: np.ndarray,
    third: dict[tuple[int, int], int],
    loops: list[Loop],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Double the vertices of each loop for the faces on its left, and close both sides."""
    rows = faces.tolist()
    number = {}
    for index, (a, b, c) in enumerate(rows):
        number[a, b] = number[b, c] = number[c, a] = index
    caps: list[list[int]] = []
    doubled: list[int] = []
    for loop in loops:
        left = {}
        for k in range(3):
            fan = _left_fan(third, loop[k - 1], loop[k], loop[(k + 1) % 3])
            if fan is None:
                break
            left[loop[k]] = fan
        if len(left) < 3:
            continue
        copy = {vertex: len(positions) + len(doubled) + k for k, vertex in enumerate(loop)}
        doubled.extend(loop)
        for vertex, fan in left.items():
            for edge in fan:
                row = rows[number[edge]]
                row[row.index(vertex)] = copy[vertex]
        a, b, x = loop
        caps += [[a, b, x], [copy[b], copy[a], copy[x]]]
    if not caps:
        return positions, quadrics, faces
    return (
        np.concatenate([positions, positions[doubled]]),
        np.concatenate([quadrics, quadrics[doubled]]),
        np.array(rows + caps, dtype=faces.dtype),
    )


def _left_fan(third: dict[tuple[int, int], int], before: int, vertex: int, after: int) -> list[tuple[int, int]] | None:
    """Directed edges into `vertex` of the faces to the left of before -> vertex -> after; None where there are none."""
    fan, at = [], before
    while True:
        fan.append((at, vertex))
        onward = third[at, vertex]
        if onward == after:
            return fan
        if (onward, vertex) not in third or onward == before:
            return None
        at = onward
