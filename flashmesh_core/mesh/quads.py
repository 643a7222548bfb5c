"""Triangles joined in pairs to quads: flat and right-angled pairs first, as many as there can be (numpy only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.mesh.recutting import Recutting

MAX_ANGLE = np.radians(40.0)  # between the two triangles of a quad
MAX_CORNER = np.radians(170.0)  # of a quad: beyond it the quad is a triangle to the eye, or not convex
_FLATNESS, _SQUARENESS = 1.0, 0.5  # what a bend of MAX_ANGLE, and a corner that is 90 degrees off, cost
_LONGEST = 31  # pairs that are joined anew to win one more


@dataclass(frozen=True, eq=False)
class Quads:
    """How triangles become quads: first edges are turned, one after the other, then edges go."""

    flips: np.ndarray  # (N, 2) int64, rows of vertices: the edge before its turn
    joints: np.ndarray  # (Q, 2) int64, rows of vertices, of the mesh once edges are turned
    faces: np.ndarray  # (F, 3) int64, the triangles once edges are turned


def plan_quads(
    vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray | None = None, kept: np.ndarray | None = None,
    *, max_angle: float = MAX_ANGLE,
) -> Quads:  # fmt: skip
    """As many quads as can be found, where flat places may be cut anew for it.

    As `pair_triangles`; then a triangle left over wanders through flat quads, each cut anew, to another one. Places
    that are bent, borders, `kept` edges (K, 2) and those between `groups` stay as they are; no vertex moves.
    """
    faces = np.asarray(faces, dtype=np.int64).reshape(-1, 3)
    vertices = np.asarray(vertices, dtype=np.float64).reshape(-1, 3)
    groups = np.zeros(len(faces), dtype=np.int64) if groups is None else np.asarray(groups)
    kept = np.zeros((0, 2), dtype=np.int64) if kept is None else np.sort(np.asarray(kept).reshape(-1, 2), axis=1)
    partner, _ = _pair(vertices, faces, groups, kept, max_angle)
    limits = {"max_angle": max_angle, "max_corner": MAX_CORNER}
    again = Recutting(vertices, faces, partner, groups, {(a, b) for a, b in kept.tolist()}, **limits)
    again.run()
    joints = [
        sorted(set(face) & set(again.faces[other]))
        for face, other in zip(again.faces, again.partner, strict=True)
        if other >= 0
    ]
    return Quads(
        np.array(again.flips, dtype=np.int64).reshape(-1, 2),
        np.unique(np.array(joints, dtype=np.int64).reshape(-1, 2), axis=0),
        np.array(again.faces, dtype=np.int64).reshape(-1, 3),
    )


def pair_triangles(
    vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray | None = None, *, max_angle: float = MAX_ANGLE
) -> np.ndarray:
    """Which edges to take away so that two triangles become a quad each: (Q, 2) int64, rows of `vertices`.

    `vertices` (V, 3), `faces` (F, 3); no quad goes over two `groups` (F,), such as materials. First the best pairs are
    taken, one by one; then a triangle that is left over joins its neighbor, whose partner joins another, and so on,
    where that ends at another one left over: one quad more each time. Every quad is convex and bent by less than
    `max_angle` (radians).
    """
    return _pair(vertices, np.asarray(faces, dtype=np.int64), groups, np.zeros((0, 2), dtype=np.int64), max_angle)[1]


def _pair(
    vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray | None, kept: np.ndarray, max_angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """The partner (F,) of each face, or -1, and the edges (Q, 2) that pairs share; `kept` (K, 2) have sorted rows."""
    edges, pairs, cost = _pairings(np.asarray(vertices, dtype=np.float64), faces, groups, max_angle)
    if len(kept):
        size = len(vertices)
        may_go = ~np.isin(edges @ (size, 1), kept @ (size, 1))
        edges, pairs, cost = edges[may_go], pairs[may_go], cost[may_go]
    neighbors: list[list[tuple[float, int, int]]] = [[] for _ in faces]
    partner = np.full(len(faces), -1, dtype=np.int64)
    joint = np.full(len(faces), -1, dtype=np.int64)  # the pairing that a face is paired by
    for pairing in np.argsort(cost, kind="stable").tolist():
        a, b = pairs[pairing].tolist()
        neighbors[a].append((float(cost[pairing]), b, pairing))
        neighbors[b].append((float(cost[pairing]), a, pairing))
        if partner[a] < 0 and partner[b] < 0:
            partner[a], partner[b], joint[a], joint[b] = b, a, pairing, pairing
    for face in range(len(faces)):
        if partner[face] < 0 and neighbors[face]:
            _augment(face, neighbors, partner, joint)
    return partner, edges[np.unique(joint[joint >= 0])]


def _pairings(
    vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray | None, max_angle: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges (C, 2) that two triangles may lose, these triangles (C, 2), and what that costs (C,)."""
    half_edges = np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2)
    edges, edge, uses = np.unique(np.sort(half_edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(edge.reshape(-1), kind="stable")
    starts = (np.cumsum(uses) - uses)[uses == 2]
    here, there = order[starts], order[starts + 1]
    pairs, edges = np.stack([here // 3, there // 3], axis=1), edges[uses == 2]
    # The quad's corners in turn: an end of the edge, the third corner of one face, the other end, that of the other.
    tips = [faces.reshape(-1)[3 * (half // 3) + (half + 2) % 3] for half in (here, there)]
    ends = half_edges[here]
    quads = np.stack([ends[:, 1], tips[0], ends[:, 0], tips[1]], axis=1)
    opposite = half_edges[here][:, 0] == half_edges[there][:, 1]
    normals = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals / np.maximum(lengths, 1e-300)
    bend = np.arccos(np.clip((normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(axis=1), -1.0, 1.0))
    corners = _corner_angles(vertices[quads], normals[pairs].sum(axis=1))
    fits = opposite & (tips[0] != tips[1]) & (bend <= max_angle) & (lengths[pairs][..., 0] > 0.0).all(axis=1)
    fits &= (corners < MAX_CORNER).all(axis=1)
    if groups is not None:
        fits &= np.asarray(groups)[pairs[:, 0]] == np.asarray(groups)[pairs[:, 1]]
    crooked = np.abs(corners - np.pi / 2).max(axis=1) / (np.pi / 2)
    cost = _FLATNESS * bend / max(max_angle, 1e-9) + _SQUARENESS * crooked
    return edges[fits], pairs[fits], cost[fits]


def _corner_angles(quads: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The angle inside each corner of `quads` (C, 4, 3) as seen along `normals` (C, 3): (C, 4) in [0, 2 pi)."""
    out, back = np.roll(quads, -1, axis=1) - quads, np.roll(quads, 1, axis=1) - quads
    sine = (np.cross(out, back) * normals[:, None]).sum(axis=2)
    scale = np.maximum(np.linalg.norm(normals, axis=1), 1e-300)[:, None]
    return np.arctan2(sine / scale, (out * back).sum(axis=2)) % (2.0 * np.pi)


def _augment(start: int, neighbors: list[list[tuple[float, int, int]]], partner: np.ndarray, joint: np.ndarray) -> None:
    """Pairs `start`, if a way over pairs that are split leads to another face without a partner (breadth first)."""
    came: dict[int, tuple[int, int]] = {}  # a face -> the face it would be paired with anew, and by which pairing
    layer, seen = [start], {start}
    for _ in range(_LONGEST):
        following: list[int] = []
        for face in layer:
            for _, other, pairing in neighbors[face]:
                if other in seen or other == partner[face]:
                    continue
                came[other] = (face, pairing)
                if partner[other] < 0:
                    _flip(other, start, came, partner, joint)
                    return
                left = int(partner[other])
                if left not in seen:
                    seen |= {other, left}
                    following.append(left)
        layer = following


def _flip(end: int, start: int, came: dict[int, tuple[int, int]], partner: np.ndarray, joint: np.ndarray) -> None:
    """Joins the pairs of a way anew, from its last face back to its first."""
    face = end
    while True:
        other, pairing = came[face]
        left = int(partner[other])
        partner[face], partner[other], joint[face], joint[other] = other, face, pairing, pairing
        if other == start:
            return
        face = left
