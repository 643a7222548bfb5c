"""Borders that lie on each other, joined: where parts were cut into triangles one by one, as CAD programs convert them.

A seam's two sides then have vertices at other places, and no edge is the same on both. Where a vertex of one side lies
on an edge of the other, that edge is cut there.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import component_labels
from flashmesh_core.surface.borders import open_edges
from flashmesh_core.surface.cleaning import clean

NEAR = 0.06  # of an open edge, up to which a vertex lies on it: chords of circles of 13 edges are that far off them
LEFT = 0.5  # share of the open edges that stay open at most
WITHIN = 1e-6  # of the longest side: as good as on it
CHUNK = 50_000  # edges looked at together


class Contacts(NamedTuple):
    """C vertices of borders on open edges that are not theirs."""

    vertices: np.ndarray  # (C,)
    edges: np.ndarray  # (C,) number of the edge
    along: np.ndarray  # (C,) place on it, 0 to 1


def join_seams(mesh: Mesh) -> Mesh:
    """The mesh with borders that lie on each other over the same vertices, where most of its borders do.

    `mesh` is clean, and so is what comes back. Where more than LEFT of the open edges would stay open, these are what
    it is made of, and borders that touch a coincidence: it comes back as it is.
    """
    faces = mesh.faces
    starts, _, _ = open_edges(faces.astype(np.int32), len(mesh.vertices))
    if not len(starts):
        return mesh
    found = _contacts(mesh.vertices, faces, starts)
    ends = _ends_at(mesh.vertices, faces, starts, found)
    if len(ends):
        faces = component_labels(len(mesh.vertices), ends)[faces]
        found = _contacts(mesh.vertices, faces, starts)
    if not len(ends) + len(found.vertices):
        return mesh
    joined = clean(mesh.vertices, _cut(faces, starts, found))
    left = len(open_edges(joined.faces.astype(np.int32), len(joined.vertices))[0])
    return joined if len(joined.faces) and left <= LEFT * len(starts) else mesh


def _contacts(vertices: np.ndarray, faces: np.ndarray, starts: np.ndarray) -> Contacts:
    """Vertices of borders on the open half-edges `starts` (H,), their faces' own corners left out."""
    from scipy.spatial import cKDTree

    tails, heads, tips = (faces.ravel()[_turned(starts, k)] for k in range(3))
    border = np.union1d(tails, heads)
    tree = cKDTree(vertices[border])
    a, ways = vertices[tails], vertices[heads] - vertices[tails]
    lengths = np.linalg.norm(ways, axis=1)
    rows = []
    for first in range(0, len(starts), CHUNK):
        part = slice(first, first + CHUNK)
        near = tree.query_ball_point(a[part] + 0.5 * ways[part], lengths[part] * (0.5 + NEAR), workers=-1)
        counts = np.array([len(some) for some in near])
        many = np.concatenate([np.asarray(some, dtype=np.int64) for some in near])
        rows.append(np.stack([border[many], first + np.repeat(np.arange(len(counts)), counts)], axis=1))
    vertex, edge = np.concatenate(rows).T
    whole = (lengths > 0.0) & (tips != tails) & (tips != heads)  # no face that lost a corner
    other = (vertex != tails[edge]) & (vertex != heads[edge]) & (vertex != tips[edge]) & whole[edge]
    vertex, edge = vertex[other], edge[other]
    off = vertices[vertex] - a[edge]
    along = np.clip(np.einsum("ni,ni->n", off, ways[edge]) / lengths[edge] ** 2, 0.0, 1.0)
    distance = np.linalg.norm(off - along[:, None] * ways[edge], axis=1)
    least = np.full(len(vertices), np.inf)
    np.minimum.at(least, vertex, distance)
    on = (distance <= NEAR * lengths[edge]) & (distance <= 1.5 * least[vertex] + WITHIN)
    return Contacts(vertex[on], edge[on], along[on])


def _ends_at(vertices: np.ndarray, faces: np.ndarray, starts: np.ndarray, found: Contacts) -> np.ndarray:
    """Pairs (P, 2) of vertices that are one: a vertex and an edge's end that it is near, beside its open edges."""
    flat = faces.ravel()
    tails, heads = flat[_turned(starts, 0)], flat[_turned(starts, 1)]
    lengths = np.linalg.norm(vertices[heads] - vertices[tails], axis=1)
    shortest = np.full(len(vertices), np.inf)
    for ends in (tails, heads):
        np.minimum.at(shortest, ends, lengths)
    pairs = []
    for ends in (tails, heads):
        end = ends[found.edges]
        far = np.linalg.norm(vertices[found.vertices] - vertices[end], axis=1)
        close = far <= NEAR * np.minimum(shortest[found.vertices], shortest[end])
        pairs.append(np.stack([found.vertices[close], end[close]], axis=1))
    return np.concatenate(pairs)


def _cut(faces: np.ndarray, starts: np.ndarray, found: Contacts) -> np.ndarray:
    """The faces, their open edges cut at the vertices on them."""
    inside = (found.along > 0.0) & (found.along < 1.0)
    if not inside.any():
        return faces
    order = np.lexsort([found.along[inside], found.edges[inside]])
    edges, vertices = found.edges[inside][order], found.vertices[inside][order]
    edge, first = np.unique(edges, return_index=True)
    cuts: dict[int, dict[int, list[int]]] = {}
    for start, some in zip(starts[edge].tolist(), np.split(vertices, first[1:]), strict=True):
        cuts.setdefault(start // 3, {})[start % 3] = list(dict.fromkeys(some.tolist()))
    made = [triangle for face, sides in cuts.items() for triangle in _fans(faces[face].tolist(), sides)]
    left = np.ones(len(faces), dtype=bool)
    left[list(cuts)] = False
    return np.concatenate([faces[left], np.array(made, dtype=np.int64)])


def _fans(corners: list[int], sides: dict[int, list[int]]) -> list[tuple[int, int, int]]:
    """A face's triangles once its sides are cut at vertices, in their order: side by side, each a fan from across."""
    whole = [(corners[0], corners[1], corners[2])]
    for side, cuts in sides.items():
        a, b = corners[side], corners[(side + 1) % 3]
        at = next(n for n, face in enumerate(whole) if _has_edge(face, a, b))
        face = whole.pop(at)
        tip = next(v for v in face if v not in (a, b))
        line = [a, *cuts, b]
        whole += [(u, v, tip) for u, v in pairwise(line)]
    return whole


def _has_edge(face: tuple[int, ...], a: int, b: int) -> bool:
    return any(face[k] == a and face[(k + 1) % 3] == b for k in range(3))


def _turned(half_edges: np.ndarray, by: int) -> np.ndarray:
    """The half-edge so many corners further around the same face."""
    return half_edges - half_edges % 3 + (half_edges + by) % 3
