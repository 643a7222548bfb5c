"""Surfaces that touch themselves, taken apart so that a mesh format with one face over three vertices holds them."""

from __future__ import annotations

import numpy as np

from .half_edge import degenerate_faces
from .topology import component_labels


def separate_sheets(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same surface with two faces at an edge wherever that can be: `vertices` (V', 3), `faces` (F', 3) int64.

    A closed mesh may have four faces at an edge, or two faces over the same three vertices, seen from both sides (a
    leaf). Blender takes the latter for one face, and the mesh is open then. So faces at a non-manifold edge are joined
    in pairs that bound the same inside, and a vertex where several fans meet is doubled. A pair that still shares its
    edge with another one, and a face its vertices, gets a vertex in the middle. No place moves, no face is lost but
    those that name a vertex twice, and vertices that were there keep their rows. Other meshes are given back as they
    are.
    """
    vertices, faces = np.asarray(vertices), np.asarray(faces, dtype=np.int64)
    faces = faces[~degenerate_faces(faces)]
    edges, uses = np.unique(np.sort(_half_edges(faces), axis=1), axis=0, return_counts=True)
    if (uses > 2).any():
        vertices, faces = _split_fans(vertices, faces, np.unique(edges[uses > 2]))
        vertices, faces = _split_edges(vertices, faces)
    return _split_twins(vertices, faces)


def open_edge_count(faces: np.ndarray) -> int:
    """How many edges of `faces` (F, 3) have one face only."""
    return int((np.unique(np.sort(_half_edges(faces), axis=1), axis=0, return_counts=True)[1] == 1).sum())


def _half_edges(faces: np.ndarray) -> np.ndarray:
    """(3 F, 2) int64: row 3 f + k runs from corner k of face f to the next one."""
    return np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2)


def _split_fans(vertices: np.ndarray, faces: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives each fan of faces at the vertices `split` a vertex of its own; the first fan keeps the old one."""
    pairs, _ = _pair_half_edges(vertices, faces)
    following = 3 * (pairs // 3) + (pairs + 1) % 3
    # A half-edge and its partner run opposite ways: each starts at the corner where the other one ends.
    joins = np.concatenate([np.stack([pairs[:, 0], following[:, 1]], 1), np.stack([following[:, 0], pairs[:, 1]], 1)])
    fans = component_labels(3 * len(faces), joins)
    corners = faces.reshape(-1).copy()
    rows = np.flatnonzero(np.isin(corners, split))
    known: dict[int, int] = {}  # fan -> vertex
    taken: set[int] = set()
    sources: list[int] = []
    for row in rows.tolist():
        fan, vertex = int(fans[row]), int(corners[row])
        if fan not in known:
            known[fan] = vertex if vertex not in taken else len(vertices) + len(sources)
            if vertex in taken:
                sources.append(vertex)
            taken.add(vertex)
        corners[row] = known[fan]
    return np.concatenate([vertices, vertices[sources]]) if sources else vertices, corners.reshape(-1, 3)


def _split_edges(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives each pair of faces but the first at an edge a vertex of its own in the middle of that edge."""
    while True:
        _, more = _pair_half_edges(vertices, faces)
        touched: set[int] = set()
        new: list[list[int]] = []
        cut: list[int] = []
        middles: list[np.ndarray] = []
        for pair in more:
            if touched.isdisjoint(half_edge // 3 for half_edge in pair):
                for half_edge in pair:
                    face, corner = divmod(half_edge, 3)
                    a, b, c = (int(faces[face, (corner + k) % 3]) for k in range(3))
                    middle = len(vertices) + len(middles)
                    new += [[a, middle, c], [middle, b, c]]
                    cut.append(face)
                middles.append(vertices[[a, b]].mean(axis=0).astype(vertices.dtype))
                touched.update(half_edge // 3 for half_edge in pair)
        if not new:
            return vertices, faces
        vertices = np.concatenate([vertices, middles])
        faces = np.concatenate([np.delete(faces, cut, axis=0), new])


def _pair_half_edges(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Half-edges that lie against each other, (P, 2): at a non-manifold edge those that bound the same inside.

    And of these the ones that are not the first pair of their edge.
    """
    half_edges = _half_edges(faces)
    undirected = np.sort(half_edges, axis=1)
    _, edge, uses = np.unique(undirected, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(edge.reshape(-1), kind="stable")
    starts = np.cumsum(uses) - uses
    forward = half_edges[:, 0] < half_edges[:, 1]
    twos = order[starts[uses == 2][:, None] + np.arange(2)].reshape(-1, 2)
    found = [twos[forward[twos].sum(axis=1) == 1]]
    more: list[tuple[int, int]] = []
    for start, count in zip(starts[uses > 2].tolist(), uses[uses > 2].tolist(), strict=True):
        here = order[start : start + count]
        pairs = _pair_around(vertices, faces, here[forward[here]], here[~forward[here]])
        found.append(np.array(pairs, dtype=np.int64).reshape(-1, 2))
        more += pairs[1:]
    return np.concatenate(found), more


def _pair_around(
    vertices: np.ndarray, faces: np.ndarray, forward: np.ndarray, backward: np.ndarray
) -> list[tuple[int, int]]:
    """Pairs of half-edges of one edge, the narrowest inside first; two sides of one sheet come last.

    `forward` run from the lower vertex to the higher one. The inside of such a face lies where it comes to when it is
    turned the negative way about the edge.
    """
    face, corner = forward[0] // 3 if len(forward) else backward[0] // 3, (forward if len(forward) else backward)[0] % 3
    low, high = sorted((int(faces[face, corner]), int(faces[face, (corner + 1) % 3])))
    axis = vertices[high].astype(np.float64) - vertices[low]
    axis /= max(float(np.linalg.norm(axis)), 1e-300)
    across = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    across /= np.linalg.norm(across)
    up = np.cross(axis, across)

    def angle(half_edge: int) -> float:
        third = vertices[faces[half_edge // 3, (half_edge + 2) % 3]].astype(np.float64) - vertices[low]
        return float(np.arctan2(third @ up, third @ across))

    def inside(a: int, b: int) -> float:
        turn = (angle(a) - angle(b)) % (2.0 * np.pi)
        return turn if 1e-6 < turn < 2.0 * np.pi - 1e-6 else 2.0 * np.pi

    choices = sorted((inside(a, b), a, b) for a in forward.tolist() for b in backward.tolist())
    pairs: list[tuple[int, int]] = []
    for _, a, b in choices:
        if all(a != x and b != y for x, y in pairs):
            pairs.append((a, b))
    return pairs


def _split_twins(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts each face that has the vertices of an earlier one into three, about a new vertex in its middle."""
    if not len(faces):
        return vertices, faces
    first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1]
    twins = np.setdiff1d(np.arange(len(faces)), first)
    if not len(twins):
        return vertices, faces
    middles = vertices[faces[twins]].mean(axis=1).astype(vertices.dtype)
    new = len(vertices) + np.arange(len(twins))
    cut = [np.stack([faces[twins, k], faces[twins, (k + 1) % 3], new], axis=1) for k in range(3)]
    kept = np.delete(faces, twins, axis=0)
    return np.concatenate([vertices, middles]), np.concatenate([kept, *cut])
