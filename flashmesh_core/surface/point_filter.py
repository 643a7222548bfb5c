"""Denoising of oriented points: bilateral normals, then positions on the planes of their neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.point_normals import CHUNK, COMPILED, ROWS, Progress
from flashmesh_core.surface.threads import between, bounds_of_parts

NORMAL_SIGMA = 0.35  # difference of unit normals that counts exp(-1/2)
NORMAL_ROUNDS = 6
POSITION_ROUNDS = 3


def filter_normals(
    points: np.ndarray,
    normals: np.ndarray,
    nearest: np.ndarray,
    reach: np.ndarray,
    noise: float,
    oriented: bool,
    progress: Progress,
) -> np.ndarray:
    """Bilateral average of unit `normals` (N, 3) over the neighbours `nearest` (N, k).

    Neighbours count by distance (Gaussian of `reach` (N,)), by difference of normals, and by the height of each
    over the other's plane, where it is more than the noise explains.
    """
    rest = nearest, reach, noise, NORMAL_SIGMA, oriented
    for start, end, filtered in _chunks(normals, NORMAL_ROUNDS, progress):
        between(_filter_normals, bounds_of_parts(start, end, ROWS), points, normals, *rest, filtered)
        normals = filtered if end == len(points) else normals
    return normals


def filter_positions(
    points: np.ndarray,
    normals: np.ndarray,
    nearest: np.ndarray,
    reach: np.ndarray,
    noise: float,
    oriented: bool,
    progress: Progress,
) -> np.ndarray:
    """Points (N, 3) moved along their normals to the average plane of the neighbours whose normals agree."""
    rest = nearest, reach, noise, NORMAL_SIGMA, oriented
    for start, end, filtered in _chunks(points, POSITION_ROUNDS, progress):
        between(_filter_positions, bounds_of_parts(start, end, ROWS), points, normals, *rest, filtered)
        points = filtered if end == len(points) else points
    return points


def _chunks(like: np.ndarray, rounds: int, progress: Progress) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each round the chunks [start, end) of N rows, and what they go into: an array like `like` (N, 3) a round."""
    for step in range(rounds):
        filtered = np.empty_like(like)
        for start in range(0, len(like), CHUNK):
            progress((step + start / len(like)) / rounds)
            yield start, min(start + CHUNK, len(like)), filtered


@njit(**COMPILED)
def _weigh(points, normals, i, q, near, rough, sigma, oriented):
    """What point q counts beside i, its side, 1 or -1, and how high each stands over the other's plane.

    It counts by `near`, halved inverse squares of reach, by the difference of normals, and by `rough`, those of height.
    Where the sides are known (`oriented`), another side's counts nothing.
    """
    dot = normals[i, 0] * normals[q, 0] + normals[i, 1] * normals[q, 1] + normals[i, 2] * normals[q, 2]
    side = 1.0
    if dot < 0.0:
        if oriented:
            return 0.0, 1.0, 0.0, 0.0
        side, dot = -1.0, -dot
    dx, dy, dz = points[q, 0] - points[i, 0], points[q, 1] - points[i, 1], points[q, 2] - points[i, 2]
    up = dx * normals[i, 0] + dy * normals[i, 1] + dz * normals[i, 2]
    down = dx * normals[q, 0] + dy * normals[q, 1] + dz * normals[q, 2]
    distance = dx * dx + dy * dy + dz * dz
    weight = np.exp(-distance * near - (1.0 - dot) / sigma**2 - max(up * up, down * down) * rough)
    return weight, side, up, down


@njit(**COMPILED)
def _filter_normals(first, last, points, normals, nearest, reach, noise, sigma, oriented, filtered):
    for i in range(first, last):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        near, rough = 0.5 / reach[i] ** 2, 0.5 / (2.0 * noise + 0.15 * reach[i]) ** 2
        for q in nearest[i]:
            weight, side, _, _ = _weigh(points, normals, i, q, near, rough, sigma, oriented)
            x += side * weight * normals[q, 0]
            y += side * weight * normals[q, 1]
            z += side * weight * normals[q, 2]
        scale = 1.0 / np.sqrt(x * x + y * y + z * z)
        filtered[i, 0], filtered[i, 1], filtered[i, 2] = x * scale, y * scale, z * scale


@njit(**COMPILED)
def _filter_positions(first, last, points, normals, nearest, reach, noise, sigma, oriented, filtered):
    for i in range(first, last):
        near, rough = 0.5 / reach[i] ** 2, 0.5 / (2.5 * noise + 0.1 * reach[i]) ** 2
        total, height = 1.0, 0.0
        for q in nearest[i]:
            weight, side, up, down = _weigh(points, normals, i, q, near, rough, sigma, oriented)
            total += weight
            height += weight * 0.5 * (up + side * down)
        height /= total
        for axis in range(3):
            filtered[i, axis] = points[i, axis] + height * normals[i, axis]
