"""Any triangles to an edge-manifold, oriented mesh: welded, without copies, cut where more than two faces meet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh, check_faces, check_points
from flashmesh_core.surface.adjacency import COMPILED, compact, face_components, find
from flashmesh_core.surface.manifold import (
    flip_slivers,
    halve_doubled,
    oriented,
    paired,
    split_fans,
    turn_outwards,
    volumes_of,
)

SAME_PLACE = 1e-6  # of the longest side: vertices nearer than this are one
FLAT = 1e-5  # of the longest edge: a face less high than this is a sliver
SLIVER_ROUNDS, HALVING_ROUNDS = 4, 8
DOUBLED = 0.9  # of a part's faces with a reversed copy: the copies are a sheet's back


def clean(vertices: np.ndarray, faces: np.ndarray, *, progress: Callable[[float], None] | None = None) -> Mesh:
    """An edge-manifold, consistently wound mesh of the same surface; float64 vertices, int64 faces.

    `vertices` (V, 3) and `faces` (F, 3) may hold copies, slivers, branching edges and mixed windings. Closed parts wind
    outwards (cavities inwards), open ones as most of their area did. Parts that are closed as they are come out as
    they are, wherever they touch themselves or others. The mesh has no faces where none has area.
    `progress(share done)` is called between the steps and may raise to cancel.
    Raises ValueError for wrong shapes, indices out of range or positions that are not finite.
    """
    report = progress or (lambda share: None)
    vertices = check_points("vertices", vertices, minimum=0)
    faces = check_faces("faces", faces, len(vertices)).astype(np.int32)
    faces = _unique_faces(faces)
    if not len(faces):
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    used = np.zeros(len(vertices), dtype=bool)
    used[faces.ravel()] = True
    inside = vertices[used]
    size = float(np.ptp(inside, axis=0).max())
    if size == 0.0:
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    faces = _welded(vertices, faces, used, SAME_PLACE * size)
    report(0.3)
    faces = _without_backs(faces, len(vertices))
    faces = oriented(vertices, faces)
    twin = paired(vertices, faces)
    report(0.4)
    turn_outwards(vertices, faces, twin)
    report(0.6)
    vertices, faces = split_fans(vertices, faces, twin)
    for _ in range(SLIVER_ROUNDS):
        faces, changed = flip_slivers(vertices, faces, twin, FLAT)
        if not changed:
            break
        twin = paired(vertices, faces)
        vertices, faces = split_fans(vertices, faces, twin)
    report(0.9)
    for _ in range(HALVING_ROUNDS):
        vertices, faces, changed = halve_doubled(vertices, faces, twin)
        if not changed:
            break
        twin = paired(vertices, faces)
        vertices, faces = split_fans(vertices, faces, twin)
    used, faces = compact(faces, len(vertices))
    return Mesh(np.ascontiguousarray(vertices[used]), faces.astype(np.int64))


# ---------------------------------------------------------------- copies


def _welded(vertices: np.ndarray, faces: np.ndarray, used: np.ndarray, tolerance: float) -> np.ndarray:
    """The faces (F, 3) with one vertex for those at one place, without copies.

    A part that is closed already has only its edges without length taken away: joined to what it touches - another
    part, its own other side - it would branch, and which faces belong together would be a guess. It goes as a whole
    where all of it is a copy of other closed parts.
    """
    label = _weld(vertices, used, tolerance)
    if not (label[faces] != faces).any():
        return faces
    twin = paired(vertices, faces)
    part, count = face_components(faces, twin)
    closed, _ = volumes_of(vertices, faces, twin, part, count)
    if not closed.any():
        return _unique_faces(label[faces])
    shared = np.bincount(label[used], minlength=len(vertices)) > 1
    rows = np.flatnonzero(shared[label[faces]].all(axis=1))  # others have no copies
    _, first, number = np.unique(np.sort(label[faces[rows]], axis=1), axis=0, return_index=True, return_inverse=True)
    owner = part.copy()
    owner[rows] = part[rows[first[number.ravel()]]]
    stays = np.bincount(part[(owner == part) | ~closed[owner]], minlength=count) > 0
    whole = np.zeros(len(vertices), dtype=bool)
    whole[faces[closed[part]]] = True
    joined = np.where(whole, _joined_by_edges(faces, label), _weld(vertices, used & ~whole, tolerance))
    return _unique_faces(joined[faces[stays[part]]])


def _joined_by_edges(faces: np.ndarray, label: np.ndarray) -> np.ndarray:
    """For each vertex (V,) the first of those that edges between vertices of one label join it to."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    tail, head = ends[label[ends[:, 0]] == label[ends[:, 1]]].T
    size = (len(label), len(label))
    _, group = connected_components(coo_array((np.ones(len(tail)), (tail, head)), shape=size), directed=False)
    _, first = np.unique(group, return_index=True)
    return first[group].astype(np.int32)


@njit(**COMPILED)
def _hash(a, b, c, mask):
    x = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(b) * np.uint64(0xC2B2AE3D27D4EB4F)
    x += np.uint64(c) * np.uint64(0x165667B19E3779F9)
    x ^= x >> np.uint64(29)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(32)
    return np.int64(x & np.uint64(mask))


@njit(**COMPILED)
def _table_size(n):
    size = 16
    while size < 2 * n:
        size *= 2
    return size


@njit(**COMPILED)
def _weld(vertices, used, tolerance):
    """For each vertex (V,) int32 the first used one within `tolerance`; a hash of cells four tolerances wide."""
    n = len(vertices)
    low = np.array([np.inf, np.inf, np.inf])
    for v in range(n):
        if used[v]:
            for k in range(3):
                low[k] = min(low[k], vertices[v, k])
    mask = _table_size(n) - 1
    head = np.full(mask + 1, -1, dtype=np.int32)
    following = np.full(n, -1, dtype=np.int32)  # representatives with the same hash
    label = np.arange(n).astype(np.int32)
    cell, first, last = 4.0 * tolerance, np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
    for v in range(n):
        if not used[v]:
            continue
        for k in range(3):
            place = (vertices[v, k] - low[k]) / cell
            first[k], last[k] = np.int64(np.floor(place - 0.25)), np.int64(np.floor(place + 0.25))
        best = -1
        for i in range(first[0], last[0] + 1):
            for j in range(first[1], last[1] + 1):
                for k in range(first[2], last[2] + 1):
                    u = head[_hash(i, j, k, mask)]
                    while u >= 0:
                        d = 0.0
                        for axis in range(3):
                            d += (vertices[u, axis] - vertices[v, axis]) ** 2
                        if d <= tolerance * tolerance and (best < 0 or u < best):
                            best = u
                        u = following[u]
        if best >= 0:
            label[v] = best
        else:
            for k in range(3):
                first[k] = np.int64(np.floor((vertices[v, k] - low[k]) / cell))
            place = _hash(first[0], first[1], first[2], mask)
            following[v] = head[place]
            head[place] = v
    return label


@njit(**COMPILED)
def _unique_faces(faces):
    """The faces that name three vertices, one of each set of equal ones; a reversed copy is not equal."""
    n = len(faces)
    mask = _table_size(n) - 1
    head = np.full(mask + 1, -1, dtype=np.int32)
    kept, count = np.empty((n, 3), dtype=np.int32), 0
    for f in range(n):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if a == b or b == c or c == a:
            continue
        if b < a and b < c:
            a, b, c = b, c, a
        elif c < a and c < b:
            a, b, c = c, a, b
        place = _hash(a, b, c, mask)
        while head[place] >= 0:
            g = head[place]
            if kept[g, 0] == a and kept[g, 1] == b and kept[g, 2] == c:
                break
            place = (place + 1) & mask
        if head[place] < 0:
            head[place] = count
            kept[count, 0], kept[count, 1], kept[count, 2] = a, b, c
            count += 1
    return kept[:count].copy()


@njit(**COMPILED)
def _without_backs(faces, n_vertices):
    """`faces` without the second of two reversed copies, in parts (joined by vertices) most of whose faces have one."""
    n = len(faces)
    mask = _table_size(n) - 1
    head = np.full(mask + 1, -1, dtype=np.int32)
    back = np.zeros(n, dtype=np.int8)  # 1: its copy comes later, 2: came before
    doubled = 0
    for f in range(n):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        low, high = min(b, c), max(b, c)  # the lowest vertex is the first
        place = _hash(a, low, high, mask)
        while head[place] >= 0:
            g = head[place]
            if faces[g, 0] == a and min(faces[g, 1], faces[g, 2]) == low and max(faces[g, 1], faces[g, 2]) == high:
                back[g], back[f] = 1, 2
                doubled += 1
                break
            place = (place + 1) & mask
        if head[place] < 0:
            head[place] = f
    if doubled == 0:
        return faces
    parent = np.arange(n_vertices).astype(np.int32)
    for f in range(n):
        for k in range(1, 3):
            a, b = find(parent, faces[f, 0]), find(parent, faces[f, k])
            parent[max(a, b)] = min(a, b)
    every, copies = np.zeros(n_vertices, dtype=np.int64), np.zeros(n_vertices, dtype=np.int64)
    for f in range(n):
        root = find(parent, faces[f, 0])
        every[root] += 1
        copies[root] += 1 if back[f] else 0
    kept = np.zeros(n, dtype=np.bool_)
    for f in range(n):
        root = find(parent, faces[f, 0])
        kept[f] = back[f] < 2 or copies[root] < DOUBLED * every[root]
    return faces[kept]
