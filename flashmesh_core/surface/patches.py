"""What a dense surface looks like around each of its faces, in a frame of the face's own: samples along straight walks.

From a face's center eight walks lead straight over the surface, across edges as if they were unfolded; at six distances
each tells where it is and which way the surface looks there. So a patch knows only what is connected, not the other
side of a thin wall, unless a walk leads around its rim.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import Reference, njit
from flashmesh_core.surface.adjacency import COMPILED, face_geometry, faces_at_vertices, manifold_twins, unit_rows
from flashmesh_core.surface.edge_queue import NO_REFCOUNT
from flashmesh_core.surface.threads import in_threads

RADII = (0.7, 1.5, 2.5, 4.0, 6.0, 9.0)  # typical edges
DIRECTIONS = 8
CHANNELS = 6  # of a sample: place and normal
WIDTH = DIRECTIONS * len(RADII) * CHANNELS
FRAME_ROUNDS = 6  # of diffusion, to what a face's frame is made from
WIDE_ROUNDS = 3  # of diffusion, to the normals of samples farther than NARROW
NARROW = 2  # distances whose normals are diffused once alone
TURN = 1e-4  # radians, off the diagonals of a lattice, on which walks would run through vertices
STEPS = 256  # faces that a walk crosses at most


class Patches(NamedTuple):
    """A dense surface of F faces with `frames` (F, 3, 3), rows across and along the nearest edge and outward."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3) int32
    twins: np.ndarray  # (3F,) int32
    centers: np.ndarray  # (F, 3)
    areas: np.ndarray  # (F,)
    normals: np.ndarray  # (F, 3)
    near: np.ndarray  # (F, 3) normals diffused once
    wide: np.ndarray  # (F, 3) normals diffused WIDE_ROUNDS times
    frames: np.ndarray  # (F, 3, 3)


def patches_of(vertices: np.ndarray, faces: np.ndarray) -> Patches:
    """The surface of `faces` (F, 3) over `vertices` (V, 3), ready for `sample`."""
    faces = np.ascontiguousarray(faces, dtype=np.int32)
    vertices = np.ascontiguousarray(vertices, dtype=np.float64)
    normals, areas, centers = face_geometry(vertices, faces)
    start, around = faces_at_vertices(faces, len(vertices))

    def diffused(values: np.ndarray, rounds: int) -> np.ndarray:
        at_vertices = np.empty((len(vertices), values.shape[1]))
        for _ in range(rounds):
            in_threads(_to_vertices, len(vertices), values, areas, start, around, at_vertices)
            values = np.empty_like(values)
            in_threads(_to_faces, len(faces), at_vertices, faces, values)
        return values

    near = unit_rows(diffused(normals, 1))
    wide = unit_rows(diffused(near, WIDE_ROUNDS))
    tensors = np.empty((len(faces), 9))
    in_threads(_tensors, len(faces), near, tensors)
    frames = frames_of(diffused(tensors, FRAME_ROUNDS), normals)
    twins = manifold_twins(faces, len(vertices))
    return Patches(vertices, faces, twins, centers, areas, normals, near, wide, frames)


def sample(patches: Patches, rows: np.ndarray, edge: float) -> np.ndarray:
    """The patches (N, WIDTH) float32 of the faces `rows` (N,), lengths in `edge`, the surface's typical edge.

    A sample that an open edge cuts off lies where the walk ended, with a normal of 0.
    """
    result = np.empty((len(rows), WIDTH), dtype=np.float32)
    _sample(
        Reference(patches), np.ascontiguousarray(rows, dtype=np.int64), np.asarray(RADII) * edge, 1.0 / edge, result
    )
    return result


@njit(**COMPILED)
def _to_vertices(first, last, values, areas, start, around, result):
    """Of vertices first to last the means by area of `values` (F, C) of their faces, into `result` (V, C)."""
    width = values.shape[1]
    for v in range(first, last):
        total = 0.0
        for c in range(width):
            result[v, c] = 0.0
        for i in range(start[v], start[v + 1]):
            f = around[i]
            total += areas[f]
            for c in range(width):
                result[v, c] += areas[f] * values[f, c]
        if total > 0.0:
            for c in range(width):
                result[v, c] /= total


@njit(**COMPILED)
def _to_faces(first, last, values, faces, result):
    """Of faces first to last the means of `values` (V, C) of their vertices, into `result` (F, C)."""
    for f in range(first, last):
        for c in range(result.shape[1]):
            result[f, c] = (values[faces[f, 0], c] + values[faces[f, 1], c] + values[faces[f, 2], c]) / 3.0


@njit(**COMPILED)
def _tensors(first, last, normals, result):
    """The upper half of n n^T and n itself of faces first to last, into `result` (F, 9)."""
    for f in range(first, last):
        x, y, z = normals[f, 0], normals[f, 1], normals[f, 2]
        result[f, 0], result[f, 1], result[f, 2] = x * x, x * y, x * z
        result[f, 3], result[f, 4], result[f, 5] = y * y, y * z, z * z
        result[f, 6], result[f, 7], result[f, 8] = x, y, z


def frames_of(tensors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Frames (N, 3, 3) of `tensors` (N, 9): sums of n n^T and of n; `normals` (N, 3) are taken where those are 0.

    The last row is the mean normal, the first the direction in its plane in which normals vary most.
    """
    result = np.empty((len(tensors), 3, 3))
    in_threads(_frames, len(tensors), tensors, normals, result)
    return result


@njit(**COMPILED)
def _frames(first, last, tensors, normals, result):
    for f in range(first, last):
        t = tensors[f]
        x, y, z = t[6], t[7], t[8]
        length = np.sqrt(x * x + y * y + z * z)
        if length < 1e-6:
            x, y, z = normals[f, 0], normals[f, 1], normals[f, 2]
            length = np.sqrt(x * x + y * y + z * z)
        if length < 1e-6:
            x, y, z, length = 0.0, 0.0, 1.0, 1.0
        x, y, z = x / length, y / length, z / length
        if abs(x) < 0.6:  # any direction in the plane
            ux, uy, uz = 0.0, z, -y
        else:
            ux, uy, uz = -z, 0.0, x
        length = np.sqrt(ux * ux + uy * uy + uz * uz)
        ux, uy, uz = ux / length, uy / length, uz / length
        vx, vy, vz = y * uz - z * uy, z * ux - x * uz, x * uy - y * ux
        tux, tuy, tuz = (
            t[0] * ux + t[1] * uy + t[2] * uz,
            t[1] * ux + t[3] * uy + t[4] * uz,
            t[2] * ux + t[4] * uy + t[5] * uz,
        )
        tvx, tvy, tvz = (
            t[0] * vx + t[1] * vy + t[2] * vz,
            t[1] * vx + t[3] * vy + t[4] * vz,
            t[2] * vx + t[4] * vy + t[5] * vz,
        )
        a = ux * tux + uy * tuy + uz * tuz
        b = ux * tvx + uy * tvy + uz * tvz
        c = vx * tvx + vy * tvy + vz * tvz
        angle = 0.5 * np.arctan2(2.0 * b, a - c)
        cosine, sine = np.cos(angle), np.sin(angle)
        px, py, pz = cosine * ux + sine * vx, cosine * uy + sine * vy, cosine * uz + sine * vz
        result[f, 0, 0], result[f, 0, 1], result[f, 0, 2] = px, py, pz
        result[f, 1, 0], result[f, 1, 1], result[f, 1, 2] = y * pz - z * py, z * px - x * pz, x * py - y * px
        result[f, 2, 0], result[f, 2, 1], result[f, 2, 2] = x, y, z


@njit(**NO_REFCOUNT)
def _sample(p, rows, radii, scale, result):
    for n in range(len(rows)):
        face = rows[n]
        for k in range(DIRECTIONS):
            angle = 2.0 * np.pi * k / DIRECTIONS + TURN
            _walk(p, face, np.cos(angle), np.sin(angle), radii, scale, result[n, k * len(radii) * CHANNELS :])


@njit(**NO_REFCOUNT)
def _walk(p, face, cosine, sine, radii, scale, result):
    """Walk from the center of `face` and write a sample at each of `radii`."""
    frame, f, entry = p.frames[face], face, -1
    x, y, z = p.centers[f, 0], p.centers[f, 1], p.centers[f, 2]
    dx, dy, dz = (
        cosine * frame[0, 0] + sine * frame[1, 0],
        cosine * frame[0, 1] + sine * frame[1, 1],
        cosine * frame[0, 2] + sine * frame[1, 2],
    )
    nx, ny, nz = p.normals[f, 0], p.normals[f, 1], p.normals[f, 2]
    height = dx * nx + dy * ny + dz * nz
    dx, dy, dz = dx - height * nx, dy - height * ny, dz - height * nz
    length = np.sqrt(dx * dx + dy * dy + dz * dz)
    walked, r = 0.0, 0
    if length > 1e-3:
        dx, dy, dz = dx / length, dy / length, dz / length
        for _ in range(STEPS):
            leaving, rest = _way_out(p, f, entry, x, y, z, dx, dy, dz)
            if leaving < 0:
                break
            while r < len(radii) and walked + rest >= radii[r]:
                step = radii[r] - walked
                x, y, z = x + step * dx, y + step * dy, z + step * dz
                walked, rest = radii[r], rest - step
                normal = p.near[f] if r < NARROW else p.wide[f]
                _write(p, face, x, y, z, normal[0], normal[1], normal[2], scale, result[r * CHANNELS :])
                r += 1
            if r == len(radii):
                break
            x, y, z, walked = x + rest * dx, y + rest * dy, z + rest * dz, walked + rest
            f, entry, dx, dy, dz = _across(p, f, leaving, dx, dy, dz)
            if f < 0:
                break
    while r < len(radii):
        _write(p, face, x, y, z, 0.0, 0.0, 0.0, scale, result[r * CHANNELS :])
        r += 1


@njit(**NO_REFCOUNT)
def _way_out(p, f, entry, x, y, z, dx, dy, dz):
    """The edge of face f through which a walk from (x, y, z) leaves, -1 for none, and the way to it."""
    nx, ny, nz = p.normals[f, 0], p.normals[f, 1], p.normals[f, 2]
    least, leaving = np.inf, -1
    for e in range(3):
        if e == entry:
            continue
        u, v = p.vertices[p.faces[f, e]], p.vertices[p.faces[f, e + 1 if e < 2 else 0]]
        ex, ey, ez = v[0] - u[0], v[1] - u[1], v[2] - u[2]
        mx, my, mz = ey * nz - ez * ny, ez * nx - ex * nz, ex * ny - ey * nx
        toward = dx * mx + dy * my + dz * mz
        if toward > 1e-14:
            way = ((u[0] - x) * mx + (u[1] - y) * my + (u[2] - z) * mz) / toward
            if way < least:
                least, leaving = way, e
    return leaving, max(least, 0.0)


@njit(**NO_REFCOUNT)
def _across(p, f, leaving, dx, dy, dz):
    """The face behind an edge, -1 for none, its edge, and the direction there, as if both faces lay in one plane."""
    twin = p.twins[3 * f + leaving]
    if twin < 0:
        return -1, -1, dx, dy, dz
    g = twin // 3
    u, v = p.vertices[p.faces[f, leaving]], p.vertices[p.faces[f, leaving + 1 if leaving < 2 else 0]]
    ex, ey, ez = v[0] - u[0], v[1] - u[1], v[2] - u[2]
    length = np.sqrt(ex * ex + ey * ey + ez * ez)
    nx, ny, nz = p.normals[g, 0], p.normals[g, 1], p.normals[g, 2]
    if not length > 0.0 or nx * nx + ny * ny + nz * nz < 0.25:
        return -1, -1, dx, dy, dz
    ex, ey, ez = ex / length, ey / length, ez / length
    mx, my, mz = ey * nz - ez * ny, ez * nx - ex * nz, ex * ny - ey * nx  # the edge runs the other way in g
    along = dx * ex + dy * ey + dz * ez
    over = np.sqrt(max(1.0 - along * along, 0.0))
    return g, twin % 3, along * ex + over * mx, along * ey + over * my, along * ez + over * mz


@njit(**NO_REFCOUNT)
def _write(p, face, x, y, z, nx, ny, nz, scale, result):
    """A sample: the place (x, y, z) and its normal in the frame of `face`."""
    x, y, z = (
        (x - p.centers[face, 0]) * scale,
        (y - p.centers[face, 1]) * scale,
        (z - p.centers[face, 2]) * scale,
    )
    for axis in range(3):
        a = p.frames[face, axis]
        result[axis] = x * a[0] + y * a[1] + z * a[2]
        result[axis + 3] = nx * a[0] + ny * a[1] + nz * a[2]
