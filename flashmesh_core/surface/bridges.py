"""Bridges too short to be meant are cut: edges inside a surface that go from border to border.

Where open sheets touch or pass through each other a reconstruction joins them here and there, and leaves slits between.
No closed loop goes around such a place, and a simplifier that keeps the topology can't get rid of it.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.surface.adjacency import face_components, manifold_twins

MAX_PASSES = 16
Edge = tuple[int, int]


def cut_bridges(
    positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray, longest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh slit along inner edges below `longest` that go from border to border, but for those that hold a part.

    `positions` (V, 3), `quadrics` (V, Q) a row a vertex, `faces` (F, 3) int32, edge-manifold and oriented, every vertex
    with one fan. A doubled vertex has its quadric twice.
    """
    for _ in range(MAX_PASSES):
        faces, doubled = _slit(faces, len(positions), _bridges(positions, faces, longest))
        if not doubled:
            break
        positions = np.concatenate([positions, positions[doubled]])
        quadrics = np.concatenate([quadrics, quadrics[doubled]])
    return positions, quadrics, faces


def knots(faces: np.ndarray) -> int:
    """Edges less vertices and faces of a mesh (F, 3): -1 for a disk, one more for each hole, two for each handle."""
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1).astype(np.int64)
    edges = np.unique(ends[:, 0] * (int(faces.max()) + 1) + ends[:, 1])
    return len(edges) - len(np.unique(faces)) - len(faces)


def _bridges(positions: np.ndarray, faces: np.ndarray, longest: float) -> list[Edge]:
    """Inner edges below `longest` with both ends on a border, shortest first."""
    starts, ends = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    inner = manifold_twins(faces, len(positions)) >= 0
    border = np.zeros(len(positions), dtype=bool)
    border[starts[~inner]] = border[ends[~inner]] = True
    length = np.linalg.norm(positions[ends] - positions[starts], axis=1)
    found = np.flatnonzero(inner & (starts < ends) & border[starts] & border[ends] & (length < longest))
    found = found[np.argsort(length[found], kind="stable")]
    return list(zip(starts[found].tolist(), ends[found].tolist(), strict=True))


def _slit(faces: np.ndarray, count: int, bridges: list[Edge]) -> tuple[np.ndarray, list[int]]:
    """The faces cut along those bridges that hold no part and are not beside another that is cut; doubled vertices."""
    third, number = _beside(faces)
    parts, doubled, touched = _part_count(faces), list[int](), set[int]()
    for a, b in bridges:
        corners = [(f, vertex) for vertex in (a, b) for f in _left_fan(third, number, a, b, vertex)]
        around = {int(vertex) for f, _ in corners for vertex in faces[f]} | {a, b}
        if touched & around:
            continue
        cut = faces.copy()
        for f, vertex in corners:
            cut[f, faces[f] == vertex] = count + len(doubled) + (vertex == b)
        if _part_count(cut) == parts:
            faces, doubled, touched = cut, [*doubled, a, b], touched | around
    return faces, doubled


def _left_fan(third: dict[Edge, int], number: dict[Edge, int], a: int, b: int, vertex: int) -> list[int]:
    """The faces at `vertex`, one end of a -> b, from the one on the left of that on to the border."""
    fan, edge = [], (a, b)
    while edge in third:
        fan.append(number[edge])
        edge = (a, third[edge]) if vertex == a else (third[edge], b)
    return fan


def _beside(faces: np.ndarray) -> tuple[dict[Edge, int], dict[Edge, int]]:
    """The third vertex and the number of the face beside each directed edge."""
    third, number = dict[Edge, int](), dict[Edge, int]()
    for face, (a, b, c) in enumerate(faces.tolist()):
        third[a, b], third[b, c], third[c, a] = c, a, b
        number[a, b] = number[b, c] = number[c, a] = face
    return third, number


def _part_count(faces: np.ndarray) -> int:
    """How many parts a mesh has whose faces share edges."""
    return face_components(faces, manifold_twins(faces, int(faces.max()) + 1))[1]
