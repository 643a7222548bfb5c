"""Quadric errors (Garland and Heckbert 1997), compiled: rows of 11 numbers, their error, their lowest place.

A row holds the sum over planes (unit normal n, point c, weight w) of w n n^T (xx, xy, xz, yy, yz, zz), of w (n.c) n
(x, y, z), of w (n.c)^2, and of w.
"""

from __future__ import annotations

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import COMPILED

WIDTH = 11


@njit(**COMPILED)
def add_plane(row, nx, ny, nz, cx, cy, cz, weight):
    """Add the plane with unit normal n through c to `row` (11,)."""
    d = nx * cx + ny * cy + nz * cz
    row[0] += weight * nx * nx
    row[1] += weight * nx * ny
    row[2] += weight * nx * nz
    row[3] += weight * ny * ny
    row[4] += weight * ny * nz
    row[5] += weight * nz * nz
    row[6] += weight * d * nx
    row[7] += weight * d * ny
    row[8] += weight * d * nz
    row[9] += weight * d * d
    row[10] += weight


@njit(**COMPILED)
def add_faces(first, last, start, around, centers, normals, weights, rows):
    """Add a third of each face's plane to the rows (V, >= 11) of vertices first to last."""
    for v in range(first, last):
        for i in range(start[v], start[v + 1]):
            f = around[i]
            add_plane(
                rows[v], normals[f, 0], normals[f, 1], normals[f, 2],
                centers[f, 0], centers[f, 1], centers[f, 2], weights[f] / 3.0,
            )  # fmt: skip


@njit(**COMPILED)
def error_at(row, x, y, z):
    """The sum of weighted squared distances of (x, y, z) from the planes of `row`, at least 0."""
    e = x * (row[0] * x + 2.0 * (row[1] * y + row[2] * z - row[6]))
    e += y * (row[3] * y + 2.0 * (row[4] * z - row[7]))
    e += z * (row[5] * z - 2.0 * row[8]) + row[9]
    return max(e, 0.0)


@njit(**COMPILED)
def lowest(row, x, y, z, pull):
    """Where the error of `row` is lowest, drawn to (x, y, z) with `pull` of all the planes' weight."""
    more = pull * (row[0] + row[3] + row[5]) + 1e-300
    a, b, c = row[0] + more, row[1], row[2]
    d, e, f = row[3] + more, row[4], row[5] + more
    r = row[6] - (row[0] * x + row[1] * y + row[2] * z)
    s = row[7] - (row[1] * x + row[3] * y + row[4] * z)
    t = row[8] - (row[2] * x + row[4] * y + row[5] * z)
    ca, cb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * ca + b * cb + c * cc
    if not det > 0.0:
        return x, y, z
    cd, ce, cf = a * f - c * c, b * c - a * e, a * d - b * b
    return (
        x + (ca * r + cb * s + cc * t) / det,
        y + (cb * r + cd * s + ce * t) / det,
        z + (cc * r + ce * s + cf * t) / det,
    )  # fmt: skip
