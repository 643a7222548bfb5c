"""How a triangle fits: no known vertex on it, no face over it, and as near to the samples as can be.

The account of uncovered samples (coverage.py) is too coarse for small faces; the tests against vertices and faces are
exact, and so are distances where the triangles of the surface are known (facets.py). A face that fits badly leaves a
hole beside it that no later face can close.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.mesh.support import INTERIOR
from flashmesh_core.state.arrays import CACHED_FITS, Surface, Table
from flashmesh_core.state.coverage import APART
from flashmesh_core.state.facets import FACET_CELLS, OFF, distance_to_facets
from flashmesh_core.state.suggestions import distance

ON_PLANE = 1.0  # bins from the plane of a triangle within which a vertex lies on it
ON_EDGE = 0.3  # bins beyond its edges, the same
OVER = 1.5  # bins from the plane of a face within which another lies over it
INSET = 0.5  # bins inside its edges, the same
_INNER = INTERIOR.astype(np.float64) / 12.0
_SAME_SIDE = 0.3  # cosine of the normals of two faces of one sheet
MAX_DEVIATION = 0.6  # bins; beyond it a triangle lies off the surface
STEEP = 0.5  # sine of the angle to a corner's plane beyond which a way leaves it
ASIDE = 0.1  # fraction of a corner's sides that a way has at least where it lies in it
NO_FIT = 9.0  # the deviation of what is no face at all
MAX_ASIDE = 0.35  # bins; an edge that anywhere lies farther from the proxy mesh makes no face that fits
_FACING = 0.5  # cosine of a sample's normal and a triangle's
NO_AREA = 1e-9  # bins squared


class Frame(NamedTuple):
    """A triangle: first corner, two sides from it, unit normal, double area, and a bin past each edge as a fraction."""

    x: float
    y: float
    z: float
    ux: float
    uy: float
    uz: float
    vx: float
    vy: float
    vz: float
    nx: float
    ny: float
    nz: float
    area: float
    past_u: float
    past_v: float
    past_w: float


@njit_no_refcount
def _apart(bins: np.ndarray, a: int, b: int) -> bool:
    return distance(bins, a, b) > APART


@njit_no_refcount
def frame_of(bins: np.ndarray, a: int, b: int, c: int) -> Frame:
    """The frame of a triangle; all of it but the area is nothing where there is none."""
    ux, uy, uz = float(bins[b, 0] - bins[a, 0]), float(bins[b, 1] - bins[a, 1]), float(bins[b, 2] - bins[a, 2])
    vx, vy, vz = float(bins[c, 0] - bins[a, 0]), float(bins[c, 1] - bins[a, 1]), float(bins[c, 2] - bins[a, 2])
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    area = np.sqrt(nx * nx + ny * ny + nz * nz)
    if area < NO_AREA:
        return Frame(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    wx, wy, wz = vx - ux, vy - uy, vz - uz
    return Frame(
        float(bins[a, 0]), float(bins[a, 1]), float(bins[a, 2]), ux, uy, uz, vx, vy, vz,
        nx / area, ny / area, nz / area, area,
        np.sqrt(ux * ux + uy * uy + uz * uz) / area,
        np.sqrt(vx * vx + vy * vy + vz * vz) / area,
        np.sqrt(wx * wx + wy * wy + wz * wz) / area,
    )  # fmt: skip


@njit_no_refcount
def _is_over(frame: Frame, x: float, y: float, z: float, height: float, beyond: float) -> bool:
    """Whether a point lies within `height` bins of a triangle's plane and `beyond` its edges (negative: inside)."""
    dx, dy, dz = x - frame.x, y - frame.y, z - frame.z
    nx, ny, nz, area = frame.nx, frame.ny, frame.nz, frame.area
    if abs(dx * nx + dy * ny + dz * nz) > height:
        return False
    ux, uy, uz, vx, vy, vz = frame.ux, frame.uy, frame.uz, frame.vx, frame.vy, frame.vz
    s = ((dy * vz - dz * vy) * nx + (dz * vx - dx * vz) * ny + (dx * vy - dy * vx) * nz) / area
    t = ((uy * dz - uz * dy) * nx + (uz * dx - ux * dz) * ny + (ux * dy - uy * dx) * nz) / area
    return s >= -beyond * frame.past_v and t >= -beyond * frame.past_u and s + t <= 1.0 + beyond * frame.past_w


@njit_no_refcount
def is_empty(bins: np.ndarray, v0: int, v1: int, v2: int, known: np.ndarray) -> bool:
    """Whether none of the `known` vertices (K,) lies on the triangle or its edges, away from its corners."""
    frame = frame_of(bins, v0, v1, v2)
    if frame.area == 0.0:
        return False
    for q in known:
        if not _is_over(frame, bins[q, 0], bins[q, 1], bins[q, 2], ON_PLANE, ON_EDGE):
            continue
        if _apart(bins, q, v0) and _apart(bins, q, v1) and _apart(bins, q, v2):  # none of the three itself
            return False
    return True


@njit_no_refcount
def _inner_point(bins: np.ndarray, a: int, b: int, c: int, k: int) -> tuple[float, float, float]:
    """Inner point k of seven of the triangle a, b, c."""
    p, q, r = _INNER[k, 0], _INNER[k, 1], _INNER[k, 2]
    return (
        bins[a, 0] * p + bins[b, 0] * q + bins[c, 0] * r,
        bins[a, 1] * p + bins[b, 1] * q + bins[c, 1] * r,
        bins[a, 2] * p + bins[b, 2] * q + bins[c, 2] * r,
    )


@njit_no_refcount
def _inner_over(bins: np.ndarray, a: int, b: int, c: int, frame: Frame) -> int:
    """How many of seven inner points of the triangle a, b, c lie over the one of `frame`."""
    found = 0
    for k in range(7):
        x, y, z = _inner_point(bins, a, b, c, k)
        found += _is_over(frame, x, y, z, OVER, -INSET)
    return found


@njit_no_refcount
def _is_between(v: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Whether the middle or a side of the corner at v of triangle v, c, d lies within that of v, a, b, seen from v."""
    ux, uy, uz = float(a[0] - v[0]), float(a[1] - v[1]), float(a[2] - v[2])
    wx, wy, wz = float(b[0] - v[0]), float(b[1] - v[1]), float(b[2] - v[2])
    lu, lw = np.sqrt(ux * ux + uy * uy + uz * uz), np.sqrt(wx * wx + wy * wy + wz * wz)
    ux, uy, uz, wx, wy, wz = ux / lu, uy / lu, uz / lu, wx / lw, wy / lw, wz / lw
    nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
    sine = np.sqrt(nx * nx + ny * ny + nz * nz)
    if sine < 1e-6:
        return False
    nx, ny, nz = nx / sine, ny / sine, nz / sine
    ex, ey, ez = float(c[0] - v[0]), float(c[1] - v[1]), float(c[2] - v[2])
    fx, fy, fz = float(d[0] - v[0]), float(d[1] - v[1]), float(d[2] - v[2])
    le, lf = np.sqrt(ex * ex + ey * ey + ez * ez), np.sqrt(fx * fx + fy * fy + fz * fz)
    ex, ey, ez, fx, fy, fz = ex / le, ey / le, ez / le, fx / lf, fy / lf, fz / lf
    for way in range(3):
        if way == 0:
            dx, dy, dz = ex + fx, ey + fy, ez + fz
            length = np.sqrt(dx * dx + dy * dy + dz * dz)
            if length < 1e-6:
                continue
            dx, dy, dz = dx / length, dy / length, dz / length
        elif way == 1:
            dx, dy, dz = ex, ey, ez
        else:
            dx, dy, dz = fx, fy, fz
        if abs(dx * nx + dy * ny + dz * nz) > STEEP:
            continue
        s = ((dy * wz - dz * wy) * nx + (dz * wx - dx * wz) * ny + (dx * wy - dy * wx) * nz) / sine
        t = ((uy * dz - uz * dy) * nx + (uz * dx - ux * dz) * ny + (ux * dy - uy * dx) * nz) / sine
        if s > ASIDE and t > ASIDE:
            return True
    return False


@njit_no_refcount
def _corners_overlap(bins: np.ndarray, v: int, a: int, b: int, c: int, d: int) -> bool:
    """Whether the corners at v of the triangles v, a, b and v, c, d overlap, seen from v."""
    return _is_between(bins[v], bins[a], bins[b], bins[c], bins[d]) or _is_between(
        bins[v], bins[c], bins[d], bins[a], bins[b]
    )


@njit_no_refcount
def is_free(table: Table, v0: int, v1: int, v2: int) -> bool:
    """Whether the triangle lies over no face at its corners that faces its way, and none over it."""
    bins = table.bins
    frame = frame_of(bins, v0, v1, v2)
    if frame.area == 0.0:
        return False
    for corner in range(3):
        vertex, after, before = v0, v1, v2
        if corner == 1:
            vertex, after, before = v1, v2, v0
        elif corner == 2:
            vertex, after, before = v2, v0, v1
        edge = table.out_head[vertex]
        while edge >= 0:
            face = table.edge_face[edge]
            a, b, c = table.faces[face, 0], table.faces[face, 1], table.faces[face, 2]
            edge = table.out_next[edge]
            other = frame_of(bins, a, b, c)
            if other.area == 0.0:
                continue
            if frame.nx * other.nx + frame.ny * other.ny + frame.nz * other.nz < _SAME_SIDE:
                continue
            follows = b if a == vertex else (c if b == vertex else a)
            if _corners_overlap(bins, vertex, after, before, follows, a + b + c - vertex - follows):
                return False
            if _inner_over(bins, v0, v1, v2, other) > 0 or _inner_over(bins, a, b, c, frame) > 0:
                return False
    return True


@njit_no_refcount
def _height(surface: Surface, x: float, y: float, z: float, nx: float, ny: float, nz: float) -> float:
    """The distance of a point from the plane of the sample nearest to it that faces the same way; -1 without one."""
    factor, cells = surface.mark_factor, len(surface.marks)
    places, normals, cell_start = surface.places, surface.normals, surface.cell_start
    i, j, k = int(x + 0.5) // factor, int(y + 0.5) // factor, int(z + 0.5) // factor
    nearest, height = 1e9, -1.0
    for c in range(max(k - 1, 0), min(k + 2, cells)):
        for b in range(max(j - 1, 0), min(j + 2, cells)):
            row = (c * cells + b) * cells
            first, last = cell_start[row + max(i - 1, 0)], cell_start[row + min(i + 1, cells - 1) + 1]
            for at in range(first, last):
                dx, dy, dz = x - places[at, 0], y - places[at, 1], z - places[at, 2]
                far = dx * dx + dy * dy + dz * dz
                if far >= nearest:
                    continue
                mx, my, mz = normals[at, 0], normals[at, 1], normals[at, 2]
                if mx * nx + my * ny + mz * nz < _FACING:
                    continue
                nearest, height = far, abs(dx * mx + dy * my + dz * mz)
    return height


@njit_no_refcount
def deviation(surface: Surface, table: Table, v0: int, v1: int, v2: int) -> float:
    """The mean distance in bins of seven inner points of a triangle from the surface; large where it has none.

    The surface is the proxy mesh, or for want of one the planes of the samples. Where the mesh is known, an
    edge that leaves it counts as large too: inner points do not tell that a face bridges a notch. The result follows
    from the three places alone and is cached: a face is asked about as its v0 and as its v2 are chosen, and again after
    every roll-back.
    """
    a, b, c = table.key[v0], table.key[v1], table.key[v2]
    at = ((a * 31 + b) * 31 + c) % CACHED_FITS
    cached = table.fit_of[at]
    if cached[0] != a or cached[1] != b or cached[2] != c:
        cached[0], cached[1], cached[2] = a, b, c
        table.fit[at] = _measure(surface, table.bins, v0, v1, v2)
    return table.fit[at]


@njit_no_refcount
def _measure(surface: Surface, bins: np.ndarray, v0: int, v1: int, v2: int) -> float:
    frame = frame_of(bins, v0, v1, v2)
    if frame.area == 0.0:
        return NO_FIT
    known = len(surface.facets) > 0
    total = 0.0
    for k in range(7):
        x, y, z = _inner_point(bins, v0, v1, v2, k)
        if known:
            total += _off(surface, (x, y, z), (frame.nx, frame.ny, frame.nz), _FACING)
        else:
            height = _height(surface, x, y, z, frame.nx, frame.ny, frame.nz)
            total += height if height >= 0.0 else OFF
    aside = known and total < 7.0 * MAX_DEVIATION
    aside = aside and (
        _is_aside(surface, bins, v0, v1) or _is_aside(surface, bins, v1, v2) or _is_aside(surface, bins, v2, v0)
    )
    return OFF if aside else total / 7.0


@njit_no_refcount
def _is_aside(surface: Surface, bins: np.ndarray, a: int, b: int) -> bool:
    """Whether an edge leaves the proxy mesh at one of seven places along it."""
    for step in (4, 2, 6, 1, 3, 5, 7):
        p, q = 0.125 * (8 - step), 0.125 * step
        place = bins[a, 0] * p + bins[b, 0] * q, bins[a, 1] * p + bins[b, 1] * q, bins[a, 2] * p + bins[b, 2] * q
        if _off(surface, place, (0.0, 0.0, 0.0), -1.0) > MAX_ASIDE:
            return True
    return False


@njit_no_refcount
def _off(
    surface: Surface, place: tuple[float, float, float], facing: tuple[float, float, float], least: float
) -> float:
    """The distance in bins of a place from the proxy mesh, see `distance_to_facets`."""
    return distance_to_facets(
        surface.facets, surface.facet_normals, surface.facet_start, surface.facet_listed, FACET_CELLS / surface.size,
        place, facing, least,
    )  # fmt: skip
