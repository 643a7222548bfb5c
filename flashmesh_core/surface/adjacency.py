"""Which faces meet where, compiled: half-edges in the order of their edges, twins, the faces at a vertex, components.

Half-edge `3 f + k` runs from corner k of face f to its corner k + 1. Indices are int32: a mesh has at most 700 million
faces. All functions that are compiled take `faces` (F, 3) int32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh

COMPILED: Any = {"cache": True, "nogil": True, "error_model": "numpy"}
FEW = 32  # half-edges at a vertex that are sorted by insertion


def compact(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `count` vertices faces (F, 3) use, (count,) bool, and the faces over those alone, int32."""
    used = np.zeros(count, dtype=bool)
    used[faces.ravel()] = True
    return used, (np.cumsum(used) - 1).astype(np.int32)[faces]


def only(mesh: Mesh, keep: np.ndarray) -> Mesh:
    """The faces of a mesh that are kept, (F,) bool or rows (N,), and their vertices."""
    used, faces = compact(mesh.faces[keep], len(mesh.vertices))
    return Mesh(mesh.vertices[used], faces.astype(np.int64))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D), each of length 1; next to nothing stays so."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


@njit(**COMPILED)
def dot(a, i, b, j):
    """The product of row i of a (N, 3) and row j of b (M, 3)."""
    return a[i, 0] * b[j, 0] + a[i, 1] * b[j, 1] + a[i, 2] * b[j, 2]


@njit(**COMPILED)
def count_sort(keys, n_keys):
    """The order (N,) int32 of `keys` (N,) in [0, n_keys), equal ones as they came; where each begins (n_keys + 1,)."""
    start = np.zeros(n_keys + 1, dtype=np.int64)
    for i in range(len(keys)):
        start[keys[i] + 1] += 1
    for k in range(n_keys):
        start[k + 1] += start[k]
    order, place = np.empty(len(keys), dtype=np.int32), start.copy()
    for i in range(len(keys)):
        order[place[keys[i]]] = i
        place[keys[i]] += 1
    return order, start


@njit(**COMPILED)
def next_half_edge(h):
    """The half-edge after h in its face; h is three times the face and the corner that it starts from."""
    return h + 1 if h % 3 < 2 else h - 2


@njit(**COMPILED)
def previous_half_edge(h):
    """The half-edge before h in its face."""
    return h - 1 if h % 3 else h + 2


@njit(**COMPILED)
def edge_order(faces, n_vertices):
    """All half-edges (3F,) so that those of one edge follow each other, and where each of the E edges begins, (E + 1,).

    Half-edges of edge e: `order[first[e] : first[e + 1]]`. Then the two ends of each half-edge (3F,), low and high.
    """
    flat = faces.ravel()
    n = len(flat)
    low, high = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    for h in range(n):
        a, b = flat[h], flat[next_half_edge(h)]
        low[h], high[h] = min(a, b), max(a, b)
    order, start = count_sort(low, n_vertices)
    first, count = np.empty(n + 1, dtype=np.int32), 0
    for v in range(n_vertices):
        if start[v + 1] - start[v] > FEW:
            some = order[start[v] : start[v + 1]]
            some[:] = some[np.argsort(high[some], kind="mergesort")]
        for i in range(start[v] + 1, start[v + 1]):
            h, k = order[i], i
            while k > start[v] and high[order[k - 1]] > high[h]:
                order[k] = order[k - 1]
                k -= 1
            order[k] = h
        for i in range(start[v], start[v + 1]):
            if i == start[v] or high[order[i]] != high[order[i - 1]]:
                first[count] = i
                count += 1
    first[count] = n
    return order, first[: count + 1], low, high


@njit(**COMPILED)
def opposite_pairs(faces, order, first):
    """The other half-edge (3F,) of each edge that has exactly two, which run opposite ways; -1 elsewhere."""
    flat = faces.ravel()
    twin = np.full(len(flat), -1, dtype=np.int32)
    for e in range(len(first) - 1):
        if first[e + 1] - first[e] == 2:
            h, g = order[first[e]], order[first[e] + 1]
            if flat[h] != flat[g]:
                twin[h], twin[g] = g, h
    return twin


@njit(**COMPILED)
def manifold_twins(faces, n_vertices):
    """The other half-edge of each edge (3F,) int32; -1 where an edge has not exactly two that run opposite ways."""
    order, first, _, _ = edge_order(faces, n_vertices)
    return opposite_pairs(faces, order, first)


@njit(**COMPILED)
def faces_at_vertices(faces, n_vertices):
    """The faces at vertex v are `around[start[v] : start[v + 1]]`: start (V + 1,) int64, around (3F,) int32."""
    start = np.zeros(n_vertices + 1, dtype=np.int64)
    for f in range(len(faces)):
        for k in range(3):
            start[faces[f, k] + 1] += 1
    for v in range(n_vertices):
        start[v + 1] += start[v]
    place = start.copy()
    around = np.empty(3 * len(faces), dtype=np.int32)
    for f in range(len(faces)):
        for k in range(3):
            v = faces[f, k]
            around[place[v]] = f
            place[v] += 1
    return start, around


@njit(**COMPILED)
def find(parent, i):
    """The root of i in a forest (N,), whose paths it halves."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(**COMPILED)
def face_components(faces, twin):
    """A label in [0, count) for each face (F,), faces joined by twins sharing theirs; and the count."""
    n = len(faces)
    parent = np.arange(n).astype(np.int32)
    for h in range(3 * n):
        if twin[h] > h:
            a, b = find(parent, h // 3), find(parent, twin[h] // 3)
            if a < b:
                parent[b] = a
            else:
                parent[a] = b
    label = np.empty(n, dtype=np.int32)
    count = 0
    for f in range(n):
        root = find(parent, f)
        if root == f:
            label[f] = count
            count += 1
        else:
            label[f] = label[root]
    return label, count


@njit(**COMPILED)
def joined(faces, n_vertices):
    """A label in [0, count) for each face (F,), faces that share a vertex having the same; and the count."""
    parent = np.arange(n_vertices).astype(np.int32)
    for f in range(len(faces)):
        for k in range(1, 3):
            a, b = find(parent, faces[f, 0]), find(parent, faces[f, k])
            if a < b:
                parent[b] = a
            else:
                parent[a] = b
    number, label = np.full(n_vertices, -1, dtype=np.int32), np.empty(len(faces), dtype=np.int32)
    count = 0
    for f in range(len(faces)):
        root = find(parent, faces[f, 0])
        if number[root] < 0:
            number[root] = count
            count += 1
        label[f] = number[root]
    return label, count


@njit(**COMPILED)
def face_geometry(vertices, faces):
    """Unit normals (F, 3), 0 where a face has no area; areas (F,); centroids (F, 3)."""
    n = len(faces)
    normals, areas, centers = np.zeros((n, 3)), np.zeros(n), np.empty((n, 3))
    for f in range(n):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        areas[f] = 0.5 * length
        if length > 1e-30:
            normals[f, 0], normals[f, 1], normals[f, 2] = nx / length, ny / length, nz / length
        for k in range(3):
            centers[f, k] = (vertices[a, k] + vertices[b, k] + vertices[c, k]) / 3.0
    return normals, areas, centers


@njit(**COMPILED)
def face_area(vertices, faces, f):
    """The area of one face."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
    vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return 0.5 * np.sqrt(x * x + y * y + z * z)


@njit(**COMPILED)
def face_areas(vertices, faces):
    """The areas (F,) of all faces."""
    result = np.empty(len(faces))
    for f in range(len(faces)):
        result[f] = face_area(vertices, faces, f)
    return result


@njit(**COMPILED)
def boxes_of(positions, faces, label, count):
    """The corners (count, 3) and (count, 3) of the box of each part of `faces` (F, 3), `label` (F,) naming a face's."""
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    for f in range(len(faces)):
        part = label[f]
        for k in range(3):
            for axis in range(3):
                place = positions[faces[f, k], axis]
                low[part, axis] = min(low[part, axis], place)
                high[part, axis] = max(high[part, axis], place)
    return low, high


def longest_sides(positions: np.ndarray, faces: np.ndarray, label: np.ndarray, count: int) -> np.ndarray:
    """The longest side (count,) of the box of each part, as in `boxes_of`."""
    low, high = boxes_of(positions, faces, label, count)
    return (high - low).max(axis=1)


def labels_of_vertices(faces: np.ndarray, label: np.ndarray, count: int) -> np.ndarray:
    """The label (count,) that the faces (F, 3) at each vertex have, `label` (F,) naming a face's; 0 without a face."""
    result = np.zeros(count, dtype=np.int64)
    result[faces] = label[:, None]
    return result


def parts_of(positions: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of each face (F,), joined over edges of two, and the longest side of each part's box (P,)."""
    label, count = face_components(faces, manifold_twins(faces, len(positions)))
    return label, longest_sides(positions, faces, label, count)
