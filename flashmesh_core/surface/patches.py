"""What a dense surface looks like around each of its faces, in a frame of the face's own: samples along straight walks.

From a face's center eight walks lead straight over the surface, across edges as if they were unfolded; at six distances
each tells where it is and which way the surface looks there. So a patch knows only what is connected, not the other
side of a thin wall, unless a walk leads around its rim.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import Reference, njit
from flashmesh_core.surface.adjacency import (
    COMPILED,
    face_geometry,
    faces_at_vertices,
    manifold_twins,
    next_half_edge,
    previous_half_edge,
    unit_rows,
)
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
    thirds: np.ndarray  # (3F, 2) where the third corner is from an edge: along it and to its left, in its lengths
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
    thirds = np.empty((3 * len(faces), 2))
    in_threads(_thirds, len(faces), vertices, faces, thirds)
    return Patches(vertices, faces, twins, thirds, centers, areas, normals, near, wide, frames)


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


@njit(**COMPILED)
def _thirds(first, last, vertices, faces, result):
    """Of the edges of faces first to last where the third corner is, into `result` (3F, 2); 0, 0 without length."""
    for f in range(first, last):
        for e in range(3):
            u, v = vertices[faces[f, e]], vertices[faces[f, (e + 1) % 3]]
            w = vertices[faces[f, (e + 2) % 3]]
            ex, ey, ez = v[0] - u[0], v[1] - u[1], v[2] - u[2]
            wx, wy, wz = w[0] - u[0], w[1] - u[1], w[2] - u[2]
            length = ex * ex + ey * ey + ez * ez
            nx, ny, nz = ey * wz - ez * wy, ez * wx - ex * wz, ex * wy - ey * wx
            h = 3 * f + e
            result[h, 0], result[h, 1] = 0.0, 0.0
            if length > 0.0:
                result[h, 0] = (ex * wx + ey * wy + ez * wz) / length
                result[h, 1] = np.sqrt(nx * nx + ny * ny + nz * nz) / length


@njit(**NO_REFCOUNT)
def _walk(p, face, cosine, sine, radii, scale, result):
    """Walk from the center of `face` and write a sample at each of `radii`.

    The faces on the way are unfolded into one plane, in which the walk is the x axis: the edge from u to v through
    which it leaves a face has u not above it, and v above.
    """
    h, ux, uy, vx, vy = _start(p, face, cosine, sine)
    x, y, z, r = p.centers[face, 0], p.centers[face, 1], p.centers[face, 2], 0
    if h >= 0:
        far, at, px, py, qx, qy = 0.0, h, ux, uy, vx, vy  # an edge of the face that the walk is in, and its ends
        for _ in range(STEPS):
            far, f = ux - uy * (vx - ux) / (vy - uy), at // 3
            while r < len(radii) and far >= radii[r]:
                x, y, z = _unfolded(p, at, px, py, qx, qy, radii[r])
                normal = p.near[f] if r < NARROW else p.wide[f]
                _write(p, face, x, y, z, normal[0], normal[1], normal[2], scale, result[r * CHANNELS :])
                r += 1
            twin = p.twins[h]
            n = p.normals[twin // 3]
            if r == len(radii) or twin < 0 or n[0] * n[0] + n[1] * n[1] + n[2] * n[2] < 0.25:
                break
            at, px, py, qx, qy = twin, vx, vy, ux, uy
            along, left = p.thirds[twin, 0], p.thirds[twin, 1]
            wx = px + along * (qx - px) - left * (qy - py)
            wy = py + along * (qy - py) + left * (qx - px)
            if wy > 0.0:
                h, vx, vy = next_half_edge(twin), wx, wy
            else:
                h, ux, uy = previous_half_edge(twin), wx, wy
        if r < len(radii):
            x, y, z = _unfolded(p, at, px, py, qx, qy, far)
    while r < len(radii):
        _write(p, face, x, y, z, 0.0, 0.0, 0.0, scale, result[r * CHANNELS :])
        r += 1


@njit(**NO_REFCOUNT)
def _start(p, face, cosine, sine):
    """The half-edge through which a walk leaves its first face, -1 for none, and its ends in the plane of the walk."""
    frame, n, c = p.frames[face], p.normals[face], p.centers[face]
    dx, dy, dz = (
        cosine * frame[0, 0] + sine * frame[1, 0],
        cosine * frame[0, 1] + sine * frame[1, 1],
        cosine * frame[0, 2] + sine * frame[1, 2],
    )
    height = dx * n[0] + dy * n[1] + dz * n[2]
    dx, dy, dz = dx - height * n[0], dy - height * n[1], dz - height * n[2]
    length = np.sqrt(dx * dx + dy * dy + dz * dz)
    if length <= 1e-3:
        return -1, 0.0, 0.0, 0.0, 0.0
    dx, dy, dz = dx / length, dy / length, dz / length
    sx, sy, sz = n[1] * dz - n[2] * dy, n[2] * dx - n[0] * dz, n[0] * dy - n[1] * dx
    for e in range(3):
        u, v = p.vertices[p.faces[face, e]], p.vertices[p.faces[face, e + 1 if e < 2 else 0]]
        uy = (u[0] - c[0]) * sx + (u[1] - c[1]) * sy + (u[2] - c[2]) * sz
        vy = (v[0] - c[0]) * sx + (v[1] - c[1]) * sy + (v[2] - c[2]) * sz
        if uy <= 0.0 < vy:
            ux = (u[0] - c[0]) * dx + (u[1] - c[1]) * dy + (u[2] - c[2]) * dz
            vx = (v[0] - c[0]) * dx + (v[1] - c[1]) * dy + (v[2] - c[2]) * dz
            return 3 * face + e, ux, uy, vx, vy
    return -1, 0.0, 0.0, 0.0, 0.0


@njit(**NO_REFCOUNT)
def _unfolded(p, h, px, py, qx, qy, x):
    """Where the place (x, 0) of the plane is on the face of the half-edge h, which runs from p to q there."""
    v = p.vertices
    a, b, c = v[_origin(p, h)], v[_origin(p, next_half_edge(h))], v[_origin(p, previous_half_edge(h))]
    ex, ey = qx - px, qy - py
    length = max(ex * ex + ey * ey, 1e-300)
    left = (-py * ex - (x - px) * ey) / length / max(p.thirds[h, 1], 1e-12)
    along = ((x - px) * ex - py * ey) / length - left * p.thirds[h, 0]
    return (
        a[0] + along * (b[0] - a[0]) + left * (c[0] - a[0]),
        a[1] + along * (b[1] - a[1]) + left * (c[1] - a[1]),
        a[2] + along * (b[2] - a[2]) + left * (c[2] - a[2]),
    )


@njit(**NO_REFCOUNT)
def _origin(p, h):
    """The vertex that a half-edge starts from."""
    return p.faces[h // 3, h % 3]


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
