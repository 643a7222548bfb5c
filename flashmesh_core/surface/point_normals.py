"""Neighbours, spacing, noise and unoriented planes of a cloud of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.threads import between, bounds_of_parts

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

Progress = Callable[[float], None]  # called with the share done; may raise to cancel

COMPILED: Any = {"nogil": True, "cache": True, "error_model": "numpy"}
SPACING_NEIGHBOUR = 6  # the spacing at a point is the distance to this neighbour
MAX_POINTS = 150_000  # more are averaged in cells
MAX_CELLS = 160  # an axis of the grid that the surface is made on
_COARSE = 1 / 200  # side of the cells that the number of others is told from
CHUNK = 16_384  # points between two calls of progress
ROWS = 1_024  # points and their neighbours that a thread has at the least
_FLAT_QUANTILE = 0.3  # most surfaces are flat at this share of their samples; edges and curves lie above
_FLAT_BIAS = 0.93  # that quantile of the estimated deviation over the true one where all is flat


def with_unit_normals(points: np.ndarray, normals: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Points (M, 3) and their unit normals (M, 3) if such are given; samples without any are left out then."""
    if normals is None:
        return points, None
    length = np.linalg.norm(normals, axis=1)
    some = length > 1e-9
    return points[some], normals[some] / length[some, None]


def random_part(count: int, most: int) -> np.ndarray:
    """The numbers, in order, of `most` of `count` points, the same ones each time."""
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def thin(points: np.ndarray, normals: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """At most about MAX_POINTS different points (M, 3) and their unit normals, averages over cells of the box.

    Points that face different ways are not averaged.
    """
    side = 1e-7
    if len(points) > MAX_POINTS:
        cells = len(np.unique(_cell_keys(points, None, _COARSE)))
        # A surface passes as many cells as the square of their fineness.
        side = _COARSE * np.sqrt(max(cells / MAX_POINTS, 1e-6))
    _, first, owner, count = np.unique(
        _cell_keys(points, normals, side), return_index=True, return_inverse=True, return_counts=True
    )
    owner = owner.reshape(-1)
    if len(count) == len(points):
        return points, normals
    if side <= 1e-7:
        return points[first], None if normals is None else normals[first]
    means = [np.bincount(owner, points[:, axis]) / count for axis in range(3)]
    if normals is None:
        return np.stack(means, axis=1), None
    mean = np.stack([np.bincount(owner, normals[:, axis]) for axis in range(3)], axis=1)
    return np.stack(means, axis=1), mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)


def _cell_keys(points: np.ndarray, normals: np.ndarray | None, side: float) -> np.ndarray:
    """A number (N,) of the cell that each point lies in, and of the axis that its normal is nearest to."""
    cells = np.floor((points - points.min(axis=0)) / side).astype(np.int64) if len(points) else points.astype(np.int64)
    if side <= 1e-7:
        return np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
    size = cells.max() + 1
    keys = (cells[:, 0] * size + cells[:, 1]) * size + cells[:, 2]
    if normals is None:
        return keys
    axis = np.abs(normals).argmax(axis=1)
    return keys * 6 + 2 * axis + (np.take_along_axis(normals, axis[:, None], 1)[:, 0] > 0.0)


def planes_through(near: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least squares planes of points (M, k, 3): centers and unit normals (M, 3), mean squared heights (M,)."""
    centers = near.mean(axis=1)
    way = near - centers[:, None]
    squares, axes = np.linalg.eigh(np.einsum("mki,mkj->mij", way, way) / near.shape[1])
    return centers, axes[:, :, 0], squares[:, 0]


def nearest_neighbours(points: np.ndarray, count: int, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Distances (N, k) and numbers (N, k) int32 of the `count` nearest others of `points` (N, 3), nearest first."""
    count = min(count, len(points) - 1)
    tree = tree_of(points)
    distance = np.empty((len(points), count))
    nearest = np.empty((len(points), count), dtype=np.int32)
    for start in range(0, len(points), CHUNK):
        progress(start / len(points))
        rows = slice(start, start + CHUNK)
        found, numbers = tree.query(points[rows], k=count + 1, workers=-1)
        distance[rows], nearest[rows] = found[:, 1:], numbers[:, 1:]
    return distance, nearest


def neighbours_left(
    points: np.ndarray, distance: np.ndarray, nearest: np.ndarray, gone: np.ndarray, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """What `nearest_neighbours` told of `points` (N, 3), told of those that stay where some are `gone` (N,).

    Only those are looked at again that lose a neighbor.
    """
    stays, count = ~gone, nearest.shape[1]
    distance, nearest = distance[stays], nearest[stays]
    left = points[stays]
    if len(left) <= count:
        return nearest_neighbours(left, count, progress)
    losing = np.flatnonzero(gone[nearest].any(axis=1))
    nearest = (np.cumsum(stays, dtype=np.int32) - 1)[nearest]
    tree = tree_of(left)
    for start in range(0, len(losing), CHUNK):
        progress(start / len(losing))
        rows = losing[start : start + CHUNK]
        found, numbers = tree.query(left[rows], k=count + 1, workers=-1)
        distance[rows], nearest[rows] = found[:, 1:], numbers[:, 1:]
    return distance, nearest


def tree_of(points: np.ndarray) -> cKDTree:
    """A tree of `points` (N, 3) that is made quickly, copies or not."""
    from scipy.spatial import cKDTree

    return cKDTree(points, balanced_tree=False, compact_nodes=False)


def morton_order(points: np.ndarray) -> np.ndarray:
    """The order (N,) of `points` (N, 3) of the unit box along a curve that keeps neighbours together in memory."""
    code = np.zeros(len(points), dtype=np.int64)
    bins = np.clip((points + 0.5) * 256.0, 0, 255).astype(np.int64)
    for bit in range(8):
        for axis in range(3):
            code |= (bins[:, axis] >> bit & 1) << (3 * bit + axis)
    return np.argsort(code, kind="stable")


def fit_planes(
    points: np.ndarray, nearest: np.ndarray, normals: np.ndarray | None, progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least squares plane of each of the first N points and its neighbours `nearest` (N, k).

    With `normals`, one of each point, those on its side alone count. Returns centers (N, 3), unit normals (N, 3) of
    either sign, and the standard deviation (N,) of the distances, without bias where the surface is flat.
    """
    count = len(nearest)
    centers, fitted, deviation = np.empty((count, 3)), np.empty((count, 3)), np.empty(count)
    given, use = (points, False) if normals is None else (normals, True)
    for start in range(0, count, CHUNK):
        progress(start / count)
        parts = bounds_of_parts(start, min(start + CHUNK, count), ROWS)
        between(_fit_planes, parts, points, nearest, given, use, centers, fitted, deviation)
    return centers, fitted, deviation


def noise_of(deviation: np.ndarray) -> float:
    """The standard deviation of the points' noise from those of their planes (N,)."""
    return float(np.quantile(deviation, _FLAT_QUANTILE) / _FLAT_BIAS)


def grid_step(gap: float, noise: float) -> float:
    """The cell of the grid that a surface is made on from samples of mean spacing `gap` and `noise`."""
    return max(1.0 / MAX_CELLS, 0.5 * gap, noise)


def flattest(
    points: np.ndarray, nearest: np.ndarray, planes: tuple[np.ndarray, np.ndarray, np.ndarray], noise: float
) -> np.ndarray:
    """Whose plane each point takes, (N,): near an edge that of a neighbour away from the edge.

    A plane across an edge has a large deviation; among the planes of the neighbours within reach the one with
    the least deviation that passes by the point is taken (Kuwahara's filter, for points).
    """
    result = np.empty(len(points), dtype=np.int64)
    between(_flattest, bounds_of_parts(0, len(points), ROWS), points, nearest, *planes, noise, result)
    return result


@njit(**COMPILED)
def least_direction(xx, yy, zz, xy, xz, yz):
    """The unit eigenvector of the least eigenvalue of a symmetric 3 x 3 matrix, and that eigenvalue."""
    mean = (xx + yy + zz) / 3.0
    a, b, c = xx - mean, yy - mean, zz - mean
    spread = np.sqrt((a * a + b * b + c * c + 2.0 * (xy * xy + xz * xz + yz * yz)) / 6.0)
    if spread < 1e-300:
        return 0.0, 0.0, 1.0, mean
    det = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = np.arccos(min(max(det / (2.0 * spread**3), -1.0), 1.0)) / 3.0
    least = mean + 2.0 * spread * np.cos(angle + 2.0 * np.pi / 3.0)
    a, b, c = xx - least, yy - least, zz - least
    # The eigenvector is orthogonal to the rows of (matrix - least); the longest product of two is the surest.
    x0, y0, z0 = xy * yz - xz * b, xz * xy - a * yz, a * b - xy * xy
    x1, y1, z1 = xy * c - xz * yz, xz * xz - a * c, a * yz - xy * xz
    x2, y2, z2 = b * c - yz * yz, yz * xz - xy * c, xy * yz - b * xz
    l0, l1, l2 = x0 * x0 + y0 * y0 + z0 * z0, x1 * x1 + y1 * y1 + z1 * z1, x2 * x2 + y2 * y2 + z2 * z2
    if l1 > l0 and l1 >= l2:
        x0, y0, z0, l0 = x1, y1, z1, l1
    elif l2 > l0:
        x0, y0, z0, l0 = x2, y2, z2, l2
    if l0 <= 0.0:
        return 0.0, 0.0, 1.0, max(least, 0.0)
    scale = 1.0 / np.sqrt(l0)
    return x0 * scale, y0 * scale, z0 * scale, max(least, 0.0)


@njit(**COMPILED)
def plane_of_sums(count, mx, my, mz, xx, yy, zz, xy, xz, yz):
    """The least squares plane of `count` points by the sums of their coordinates and of these products.

    Center, unit normal of either sign, and the standard deviation of the distances.
    """
    mx, my, mz = mx / count, my / count, mz / count
    nx, ny, nz, least = least_direction(
        xx - count * mx * mx,
        yy - count * my * my,
        zz - count * mz * mz,
        xy - count * mx * my,
        xz - count * mx * mz,
        yz - count * my * mz,
    )
    return mx, my, mz, nx, ny, nz, np.sqrt(max(least, 0.0) / max(count - 3, 1))


@njit(**COMPILED)
def _fit_planes(first, last, points, nearest, given, use, centers, normals, deviation):
    """`use`: neighbours whose `given` normals face away do not count."""
    k = nearest.shape[1]
    for i in range(first, last):
        x0, y0, z0 = points[i, 0], points[i, 1], points[i, 2]
        count, mx, my, mz = 1, 0.0, 0.0, 0.0
        xx = yy = zz = xy = xz = yz = 0.0
        for j in range(k):
            q = nearest[i, j]
            if use and given[i, 0] * given[q, 0] + given[i, 1] * given[q, 1] + given[i, 2] * given[q, 2] < 0.0:
                continue
            x, y, z = points[q, 0] - x0, points[q, 1] - y0, points[q, 2] - z0
            count += 1
            mx += x
            my += y
            mz += z
            xx += x * x
            yy += y * y
            zz += z * z
            xy += x * y
            xz += x * z
            yz += y * z
        mx, my, mz, nx, ny, nz, deviation[i] = plane_of_sums(count, mx, my, mz, xx, yy, zz, xy, xz, yz)
        centers[i, 0], centers[i, 1], centers[i, 2] = x0 + mx, y0 + my, z0 + mz
        normals[i, 0], normals[i, 1], normals[i, 2] = nx, ny, nz


@njit(**COMPILED)
def _flattest(first, last, points, nearest, centers, normals, deviation, noise, result):
    for i in range(first, last):
        best, cost = i, 1e300
        for j in range(-1, nearest.shape[1]):
            q = i if j < 0 else nearest[i, j]
            height = 0.0
            for axis in range(3):
                height += (points[i, axis] - centers[q, axis]) * normals[q, axis]
            height = max(abs(height) - 1.5 * noise, 0.0)
            own = 0.8 if j < 0 else 1.0  # no change for the noise of the estimates
            found = own * deviation[q] + 2.0 * height
            if found < cost:
                best, cost = q, found
        result[i] = best


@njit(**COMPILED)
def areas_of(normals, nearest, distance):
    """The area that every sample stands for, (N,): of the disk that its neighbours fill, but those that face away."""
    result = np.empty(len(normals))
    last = nearest.shape[1] - 1
    for i in range(len(normals)):
        count = 0
        for j in range(last + 1):
            q = nearest[i, j]
            dot = normals[i, 0] * normals[q, 0] + normals[i, 1] * normals[q, 1] + normals[i, 2] * normals[q, 2]
            count += dot > -0.5
        result[i] = np.pi * distance[i, last] ** 2 / max(count, 1)
    return result


@njit(**COMPILED)
def beside_edges(normals, nearest, least):
    """Which samples (N,) have a neighbour whose normal is less than `least` like theirs (cosine)."""
    result = np.zeros(len(normals), dtype=np.bool_)
    for i in range(len(normals)):
        for j in range(nearest.shape[1]):
            q = nearest[i, j]
            dot = normals[i, 0] * normals[q, 0] + normals[i, 1] * normals[q, 1] + normals[i, 2] * normals[q, 2]
            if dot < least:
                result[i] = True
                break
    return result
