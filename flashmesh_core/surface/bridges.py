"""Bridges too short to be meant are cut: edges inside a surface that go from border to border.

Where open sheets touch or pass through each other a reconstruction joins them here and there, and leaves slits between.
No closed loop goes around such a place, and a simplifier that keeps the topology can't get rid of it.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import COMPILED, manifold_twins, next_half_edge, previous_half_edge

MAX_PASSES = 16


def cut_bridges(
    positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray, longest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh slit along inner edges below `longest` that go from border to border, but for those that hold a part.

    `positions` (V, 3), `quadrics` (V, Q) a row a vertex, `faces` (F, 3) int32, edge-manifold and oriented, every vertex
    with one fan. A doubled vertex has its quadric twice.
    """
    for _ in range(MAX_PASSES):
        twin = manifold_twins(faces, len(positions))
        slit, doubled = _slit(faces, twin, _bridges(positions, faces, twin, longest), len(positions))
        if not len(doubled):
            break
        faces = slit
        positions = np.concatenate([positions, positions[doubled]])
        quadrics = np.concatenate([quadrics, quadrics[doubled]])
    return positions, quadrics, faces


def knots(faces: np.ndarray) -> int:
    """Edges less vertices and faces of a mesh (F, 3): -1 for a disk, one more for each hole, two for each handle."""
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1).astype(np.int64)
    edges = np.unique(ends[:, 0] * (int(faces.max()) + 1) + ends[:, 1])
    return len(edges) - len(np.unique(faces)) - len(faces)


def _bridges(positions: np.ndarray, faces: np.ndarray, twin: np.ndarray, longest: float) -> np.ndarray:
    """A half-edge of each inner edge below `longest` with both ends on a border, the shortest edge first."""
    starts, ends = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    inner = twin >= 0
    border = np.zeros(len(positions), dtype=bool)
    border[starts[~inner]] = border[ends[~inner]] = True
    length = np.linalg.norm(positions[ends] - positions[starts], axis=1)
    found = np.flatnonzero(inner & (starts < ends) & border[starts] & border[ends] & (length < longest))
    return found[np.argsort(length[found], kind="stable")]


@njit(**COMPILED)
def _slit(faces, twin, bridges, count):
    """The faces cut along those bridges that hold no part and are not beside another that is cut; doubled vertices.

    `twin` (3F,) and `bridges` are half-edges of a mesh of `count` vertices.
    """
    faces, twin = faces.copy(), twin.copy()
    flat = faces.ravel()
    touched = np.zeros(count, dtype=np.bool_)
    doubled = np.empty(2 * len(bridges), dtype=np.int64)
    corners = np.empty(len(flat), dtype=np.int64)
    reached, queues = np.zeros(len(faces), dtype=np.int64), np.empty((2, len(faces)), dtype=np.int64)
    new = 0
    for number in range(len(bridges)):
        h = bridges[number]
        ends = flat[h], flat[next_half_edge(h)]
        first = _left_corners(twin, h, True, corners, 0)
        last = _left_corners(twin, h, False, corners, first)
        free = True
        for i in range(last):
            face = corners[i] // 3
            for k in range(3):
                free = free and faces[face, k] < count and not touched[faces[face, k]]
        if not free or not _are_joined_elsewhere(twin, h, reached, 2 * number + 1, queues):
            continue
        for i in range(last):
            face = corners[i] // 3
            for k in range(3):
                touched[faces[face, k]] = True
        for i in range(last):
            flat[corners[i]] = count + new + (i >= first)
        doubled[new], doubled[new + 1] = ends
        new += 2
        twin[twin[h]] = -1
        twin[h] = -1
    return faces, doubled[:new]


@njit(**COMPILED)
def _left_corners(twin, h, at_start, corners, count):
    """Adds the corners at one end of h, from the face on its left on to the border, to the `count` there are."""
    while h >= 0:
        corners[count] = h if at_start else next_half_edge(h)
        count += 1
        h = twin[previous_half_edge(h)] if at_start else twin[next_half_edge(h)]
    return count


@njit(**COMPILED)
def _are_joined_elsewhere(twin, h, reached, mark, queues):
    """Whether the faces beside an inner edge are of one part without it: both sides are searched, the faces in turns.

    `reached` (F,) holds marks of earlier searches, below `mark` and the one after; `queues` (2, F) is room.
    """
    other = np.int64(twin[h])
    queues[0, 0], queues[1, 0] = h // 3, other // 3
    if queues[0, 0] == queues[1, 0]:
        return True
    reached[queues[0, 0]], reached[queues[1, 0]] = mark, mark + 1
    looked_at, found = np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.int64)
    while looked_at[0] < found[0] and looked_at[1] < found[1]:
        for side in range(2):
            face = queues[side, looked_at[side]]
            looked_at[side] += 1
            for g in range(3 * face, 3 * face + 3):
                if twin[g] < 0 or g in (h, other):
                    continue
                beside = twin[g] // 3
                if reached[beside] == mark + 1 - side:
                    return True
                if reached[beside] != mark + side:
                    reached[beside] = mark + side
                    queues[side, found[side]] = beside
                    found[side] += 1
    return False
