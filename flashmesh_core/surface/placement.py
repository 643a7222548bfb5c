"""The vertices of a simplified mesh moved to where the filtered planes of the surface around them cross."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import COMPILED, count_sort, face_geometry, faces_at_vertices
from flashmesh_core.surface.denoising import CROWD, FINE, Denoised, typical_edge
from flashmesh_core.surface.quadrics import WIDTH, add_plane, lowest
from flashmesh_core.surface.threads import in_threads

ROUNDS = 3
NEAR = 0.6  # of a vertex's shortest edge: planes within count
PULL = 1e-3  # towards the old position
AGREE = 0.2  # width of the difference to its neighbors' normals at which a plane counts little
TURN, TURN_IN_ALL = 0.3, 0.6  # cosines: a face turns no further when a vertex is placed, and in all


class Planes(NamedTuple):
    """The filtered planes of a dense surface of V vertices and F faces, and who is beside whom."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3) int32
    centers: np.ndarray  # (F, 3)
    normals: np.ndarray  # (F, 3)
    weights: np.ndarray  # (F,) area, of a fine surface times agreement with the planes around
    start: np.ndarray  # (V + 1,) see adjacency.faces_at_vertices
    around: np.ndarray  # (3F,)
    cells: np.ndarray  # (V,) vertices by the cells of a grid
    cell_start: np.ndarray  # (cells + 1,)
    grid: np.ndarray  # (3,) int64, cells along each axis
    corner: np.ndarray  # (4,) the grid's lowest corner and the side of a cell


def planes_of(denoised: Denoised) -> Planes:
    """The planes of a denoised surface, ready for look-ups.

    Where it is as fine as a remesh, faces between planes that disagree are what is left of a rounded edge and count
    little. The faces of a coarse mesh are all meant, those along the edges of something small most of all.
    """
    vertices, faces = denoised.mesh.vertices, denoised.mesh.faces.astype(np.int32)
    _, areas, centers = face_geometry(vertices, faces)
    start, around = faces_at_vertices(faces, len(vertices))
    weights = areas
    if typical_edge(denoised.mesh) < FINE:
        weights = np.empty(len(faces))
        in_threads(_agreement, len(faces), faces, denoised.normals, areas, start, around, AGREE, weights)
        weights *= areas
    low, extent = vertices.min(axis=0), np.ptp(vertices, axis=0)
    side = float(extent.max()) / max(8.0, min(256.0, (len(vertices) / 2.0) ** 0.5))
    grid = np.floor(extent / side).astype(np.int64) + 1
    cells, cell_start = _sorted_by_cell(vertices, low, side, grid)
    return Planes(
        vertices,
        faces,
        centers,
        denoised.normals,
        weights,
        start,
        around,
        cells,
        cell_start,
        grid,
        np.append(low, side),
    )


def place_on(vertices: np.ndarray, faces: np.ndarray, planes: Planes, farthest: float = np.inf) -> np.ndarray:
    """New positions (V, 3) for the vertices of a simplified mesh: nearest to the planes of the dense faces around each.

    `vertices` (V, 3) float64 and `faces` (F, 3) int32 approximate the surface that `planes` are of. Around: connected,
    nearer to the vertex than to its neighbors, within 0.6 of its shortest edge. A vertex stays where it would turn a
    face over, at once or with the moves before, or where its place is beyond `farthest`.
    """
    first, vertices = vertices, vertices.copy()
    start, around = faces_at_vertices(faces, len(vertices))
    sides, _, _ = face_geometry(vertices, faces)
    for _ in range(ROUNDS):
        targets = _targets(vertices, faces, start, around, planes, PULL)
        far = np.linalg.norm(targets - first, axis=1) > farthest
        targets[far] = vertices[far]
        move(vertices, faces, start, around, targets, sides)
    return vertices


@njit(**COMPILED)
def _agreement(first, last, faces, normals, areas, start, around, width, result):
    """How far the planes around faces first to last agree with theirs, into `result` (F,): near 0 on an edge, to 1."""
    for f in range(first, last):
        total, agreed = 0.0, 0.0
        for k in range(3):
            v = faces[f, k]
            if start[v + 1] - start[v] > CROWD:
                continue
            for i in range(start[v], start[v + 1]):
                g = around[i]
                d = 0.0
                for axis in range(3):
                    d += (normals[f, axis] - normals[g, axis]) ** 2
                total += areas[g]
                agreed += areas[g] * np.exp(-0.5 * d / (width * width))
        result[f] = max(agreed / total, 0.05) ** 2 if total > 0.0 else 1.0


@njit(**COMPILED)
def _sorted_by_cell(vertices, low, side, grid):
    n = len(vertices)
    cell = np.empty(n, dtype=np.int64)
    for v in range(n):
        c = 0
        for k in range(3):
            c = c * grid[k] + min(max(np.int64((vertices[v, k] - low[k]) / side), 0), grid[k] - 1)
        cell[v] = c
    return count_sort(cell, grid[0] * grid[1] * grid[2])


@njit(**COMPILED)
def nearest_vertex(p, x, y, z):
    """The dense vertex nearest to (x, y, z), looked for in growing shells of cells."""
    side = p.corner[3]
    at = np.empty(3, dtype=np.int64)
    for k in range(3):
        at[k] = min(max(np.int64(np.floor(((x, y, z)[k] - p.corner[k]) / side)), 0), p.grid[k] - 1)
    best, least = -1, np.inf
    shell = 0
    while shell <= max(p.grid[0], max(p.grid[1], p.grid[2])):
        if best >= 0 and least <= ((shell - 1) * side) ** 2:
            break
        for i in range(max(at[0] - shell, 0), min(at[0] + shell, p.grid[0] - 1) + 1):
            for j in range(max(at[1] - shell, 0), min(at[1] + shell, p.grid[1] - 1) + 1):
                inner = abs(i - at[0]) < shell and abs(j - at[1]) < shell
                step = 2 * shell if inner and shell > 0 else 1
                for k in range(at[2] - shell, at[2] + shell + 1, step):
                    if k < 0 or k >= p.grid[2]:
                        continue
                    c = (i * p.grid[1] + j) * p.grid[2] + k
                    for m in range(p.cell_start[c], p.cell_start[c + 1]):
                        v = p.cells[m]
                        d = (p.vertices[v, 0] - x) ** 2 + (p.vertices[v, 1] - y) ** 2 + (p.vertices[v, 2] - z) ** 2
                        if d < least:
                            best, least = v, d
        shell += 1
    return best


@njit(**COMPILED)
def _targets(vertices, faces, start, around, p, pull):
    """Where each vertex (V, 3) would best be."""
    result = vertices.copy()
    seen = np.full(len(p.faces), -1, dtype=np.int32)
    queue, found = np.empty(len(p.faces), dtype=np.int32), np.empty(len(p.faces), dtype=np.int32)
    row = np.empty(WIDTH)
    for v in range(len(vertices)):
        reach = near_square(vertices, faces, start, around, v)
        if reach < np.inf:
            count = region(vertices, faces, start, around, v, reach, p, seen, queue, found, True)
            add_planes(row, found[:count], p.normals, p.centers, p.weights)
            if row[10] > 0.0:
                x, y, z = lowest(row, vertices[v, 0], vertices[v, 1], vertices[v, 2], pull)
                result[v, 0], result[v, 1], result[v, 2] = x, y, z
    return result


@njit(**COMPILED)
def near_square(vertices, faces, start, around, v):
    """The square of 0.6 times the shortest edge at v, infinity without one: dense faces that near count."""
    shortest = np.inf
    for i in range(start[v], start[v + 1]):
        for k in range(3):
            u = faces[around[i], k]
            if u != v:
                shortest = min(shortest, ((vertices[u] - vertices[v]) ** 2).sum())
    return NEAR * NEAR * shortest


@njit(**COMPILED)
def region(vertices, faces, start, around, v, reach, p, seen, queue, found, alone):
    """How many dense faces are around coarse vertex v within the root of `reach`; they are written to `found`.

    They are connected, those with fewer faces between first; `alone`: without those nearer to a neighbor of v.

    `seen`, `queue` and `found` have a place for each dense face; `seen` holds -1 or vertices that were asked about.
    """
    x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
    seed = nearest_vertex(p, x, y, z)
    done, count, size = 0, 0, 0
    for i in range(p.start[seed], p.start[seed + 1]):
        queue[count] = p.around[i]
        seen[p.around[i]] = v
        count += 1
    while done < count:
        f = queue[done]
        done += 1
        cx, cy, cz = p.centers[f, 0], p.centers[f, 1], p.centers[f, 2]
        here = (cx - x) ** 2 + (cy - y) ** 2 + (cz - z) ** 2
        if here > reach or (alone and not is_nearest(vertices, faces, start, around, v, cx, cy, cz, here)):
            continue
        found[size] = f
        size += 1
        for k in range(3):
            u = p.faces[f, k]
            if p.start[u + 1] - p.start[u] > 4 * CROWD and done > 1:
                continue
            for i in range(p.start[u], p.start[u + 1]):
                g = p.around[i]
                if seen[g] != v:
                    seen[g] = v
                    queue[count] = g
                    count += 1
    return size


@njit(**COMPILED)
def regions(vertices, faces, start, around, p, each, wider):
    """About `each` of the dense faces around every vertex, evenly from near to far, in `wider` times `near_square`.

    Those of vertex v are rows[first[v] : first[v + 1]].
    """
    first = np.zeros(len(vertices) + 1, dtype=np.int64)
    rows = np.empty(len(vertices) * each, dtype=np.int64)
    seen = np.full(len(p.faces), -1, dtype=np.int32)
    queue, found = np.empty(len(p.faces), dtype=np.int32), np.empty(len(p.faces), dtype=np.int32)
    total = 0
    for v in range(len(vertices)):
        reach = wider * near_square(vertices, faces, start, around, v)
        if reach < np.inf:
            count = region(vertices, faces, start, around, v, reach, p, seen, queue, found, True)
            step = max((count + each - 1) // each, 1)
            for i in range(0, count, step):
                rows[total] = found[i]
                total += 1
        first[v + 1] = total
    return first, rows[:total]


@njit(**COMPILED)
def add_planes(row, rows, normals, points, weights):
    """The quadric `row` of the planes `rows`, each with a normal, a point and a weight."""
    row[:] = 0.0
    for f in rows:
        add_plane(
            row, normals[f, 0], normals[f, 1], normals[f, 2], points[f, 0], points[f, 1], points[f, 2], weights[f]
        )


@njit(**COMPILED)
def is_nearest(vertices, faces, start, around, v, x, y, z, here):
    """Whether no neighbor of v is nearer to (x, y, z) than v, whose squared distance is `here`."""
    for i in range(start[v], start[v + 1]):
        for k in range(3):
            u = faces[around[i], k]
            if (vertices[u, 0] - x) ** 2 + (vertices[u, 1] - y) ** 2 + (vertices[u, 2] - z) ** 2 < here:
                return False
    return True


@njit(**COMPILED)
def move(vertices, faces, start, around, targets, sides):
    """Move vertices, in place, to their targets, half or a quarter of the way, or not at all: no face may turn over.

    `sides` (F, 3) are normals that the faces had before they were ever moved: several moves that each turn a face a
    little must not turn it over together.
    """
    for v in range(len(vertices)):
        move_one(vertices, faces, start, around, v, targets[v], sides)


@njit(**COMPILED)
def move_one(vertices, faces, start, around, v, target, sides):
    """Move vertex v as `move` does."""
    old = vertices[v].copy()
    share = 1.0
    for _ in range(3):
        new = old + share * (target - old)
        good = True
        for i in range(start[v], start[v + 1]):
            f = around[i]
            for k in range(3):
                if faces[f, k] == v and not _stays(
                    old, new, vertices[faces[f, (k + 1) % 3]], vertices[faces[f, (k + 2) % 3]], sides[f]
                ):
                    good = False
        if good:
            vertices[v] = new
            break
        share *= 0.5


@njit(**COMPILED)
def _stays(old, new, u, v, side):
    """Whether the triangle of a moved corner keeps its side, as before and as at first, and becomes no sliver."""
    e, o, n = v - u, old - u, new - u
    sx, sy, sz = e[1] * o[2] - e[2] * o[1], e[2] * o[0] - e[0] * o[2], e[0] * o[1] - e[1] * o[0]
    tx, ty, tz = e[1] * n[2] - e[2] * n[1], e[2] * n[0] - e[0] * n[2], e[0] * n[1] - e[1] * n[0]
    before, after = sx * sx + sy * sy + sz * sz, tx * tx + ty * ty + tz * tz
    longest = max((e * e).sum(), (n * n).sum())
    if sx * tx + sy * ty + sz * tz <= TURN * np.sqrt(before * after) or after <= 1e-6 * longest * longest:
        return False
    at_first = tx * side[0] + ty * side[1] + tz * side[2]
    return at_first > TURN_IN_ALL * np.sqrt(after) or at_first * np.sqrt(before) >= (
        sx * side[0] + sy * side[1] + sz * side[2]
    ) * np.sqrt(after)
