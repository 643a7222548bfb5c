"""Signed distances near oriented samples: robust implicit moving least squares (Oeztireli et al. 2009) on a grid."""

from __future__ import annotations

import numpy as np
from numba import njit

from flashmesh_core.surface.point_normals import CHUNK, COMPILED, Progress
from flashmesh_core.surface.winding import Grid

REACH = 2.5  # widths beyond which a sample does not count
SIDEWAYS = 4.0  # squares of distances along a sample's plane count this many times those across it
ROUNDS = 3  # in which planes that disagree lose weight
HEIGHT_SIGMA = 0.6  # widths of disagreement in height
NORMAL_SIGMA = 0.6  # disagreement in normals (length of the difference)


def signed_distances(
    grid: Grid, points: np.ndarray, normals: np.ndarray, widths: np.ndarray, progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distances outside (positive) and inside of the samples at the grid's nodes near them.

    `widths` (N,) are the samples' own. Returns for every node its place in the others, int32, -1 where it is out of
    reach; the distances (M,); how well each is known (M,): above 1 on a sampled surface, less beyond its border; and the
    nearest sample (M,).
    """
    places = (points - grid.corner) / grid.step
    slots = np.full(grid.shape, -1, dtype=np.int32)
    reach = REACH * widths / grid.step
    progress(0.0)
    count = _mark(slots, places, reach)
    squares, owner = np.full(count, np.inf, dtype=np.float32), np.full(count, -1, dtype=np.int32)
    for start in range(0, len(points), CHUNK):
        progress(0.2 * start / len(points))
        _find_nearest(slots, places, normals, reach, start, min(start + CHUNK, len(points)), squares, owner)
    gradient = normals[owner].astype(np.float32)
    distance = np.zeros(count, dtype=np.float32)
    known = np.zeros(count, dtype=np.float32)
    for step in range(ROUNDS + 1):
        sums = np.zeros((count, 5), dtype=np.float32)
        for start in range(0, len(points), CHUNK):
            progress(0.2 + 0.8 * (step + start / len(points)) / (ROUNDS + 1))
            end = min(start + CHUNK, len(points))
            _add(slots, places, normals, reach, start, end, distance, gradient, step > 0, sums)
        if step == 0:
            known = sums[:, 0].copy()
        _solve(sums, distance, gradient)
    return slots, distance * np.float32(grid.step), known, owner


@njit(**COMPILED)
def _mark(slots, places, reach):
    """Numbers the nodes within reach of any sample; how many."""
    for i in range(len(places)):
        r, square = reach[i], reach[i] ** 2
        for x in range(max(int(np.ceil(places[i, 0] - r)), 0), min(int(places[i, 0] + r) + 1, slots.shape[0])):
            for y in range(max(int(np.ceil(places[i, 1] - r)), 0), min(int(places[i, 1] + r) + 1, slots.shape[1])):
                left = square - (x - places[i, 0]) ** 2 - (y - places[i, 1]) ** 2
                if left <= 0.0:
                    continue
                half = np.sqrt(left)
                low, high = max(int(np.ceil(places[i, 2] - half)), 0), int(places[i, 2] + half) + 1
                for z in range(low, min(high, slots.shape[2])):
                    slots[x, y, z] = 0
    count = 0
    for x in range(slots.shape[0]):
        for y in range(slots.shape[1]):
            for z in range(slots.shape[2]):
                if slots[x, y, z] == 0:
                    slots[x, y, z] = count
                    count += 1
    return count


@njit(**COMPILED)
def _find_nearest(slots, places, normals, reach, first, last, squares, owner):
    for i in range(first, last):
        r, square = reach[i], reach[i] ** 2
        for x in range(max(int(np.ceil(places[i, 0] - r)), 0), min(int(places[i, 0] + r) + 1, slots.shape[0])):
            dx = x - places[i, 0]
            for y in range(max(int(np.ceil(places[i, 1] - r)), 0), min(int(places[i, 1] + r) + 1, slots.shape[1])):
                dy = y - places[i, 1]
                flat = dx * dx + dy * dy
                if flat >= square:
                    continue
                half = np.sqrt(square - flat)
                low, high = max(int(np.ceil(places[i, 2] - half)), 0), int(places[i, 2] + half) + 1
                for z in range(low, min(high, slots.shape[2])):
                    slot = slots[x, y, z]
                    dz = z - places[i, 2]
                    height = dx * normals[i, 0] + dy * normals[i, 1] + dz * normals[i, 2]
                    found = SIDEWAYS * (flat + dz * dz) - (SIDEWAYS - 1.0) * height * height
                    if found < squares[slot]:
                        squares[slot], owner[slot] = found, i


@njit(**COMPILED)
def _add(slots, places, normals, reach, first, last, distance, gradient, robust, sums):
    """Adds the planes of the samples [first, last) to the nodes: weight, weighted height, weighted normal."""
    steep = 1.0 / NORMAL_SIGMA**2
    for i in range(first, last):
        r, square = reach[i], reach[i] ** 2
        rough = 1.0 / (HEIGHT_SIGMA * r / REACH) ** 2
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        for x in range(max(int(np.ceil(places[i, 0] - r)), 0), min(int(places[i, 0] + r) + 1, slots.shape[0])):
            dx = x - places[i, 0]
            for y in range(max(int(np.ceil(places[i, 1] - r)), 0), min(int(places[i, 1] + r) + 1, slots.shape[1])):
                dy = y - places[i, 1]
                flat = dx * dx + dy * dy
                if flat >= square:
                    continue
                half = np.sqrt(square - flat)
                low, high = max(int(np.ceil(places[i, 2] - half)), 0), int(places[i, 2] + half) + 1
                for z in range(low, min(high, slots.shape[2])):
                    slot = slots[x, y, z]
                    dot = nx * gradient[slot, 0] + ny * gradient[slot, 1] + nz * gradient[slot, 2]
                    if dot <= 0.0:
                        continue
                    dz = z - places[i, 2]
                    height = dx * nx + dy * ny + dz * nz
                    weight = 1.0 - (flat + dz * dz) / square
                    weight *= weight
                    weight *= weight
                    if robust:
                        off = height - distance[slot]
                        weight *= np.exp(-off * off * rough - (2.0 - 2.0 * dot) * steep)
                    else:
                        weight *= dot
                    sums[slot, 0] += weight
                    sums[slot, 1] += weight * height
                    sums[slot, 2] += weight * nx
                    sums[slot, 3] += weight * ny
                    sums[slot, 4] += weight * nz


@njit(**COMPILED)
def _solve(sums, distance, gradient):
    for slot in range(len(sums)):
        total = sums[slot, 0]
        length = np.sqrt(sums[slot, 2] ** 2 + sums[slot, 3] ** 2 + sums[slot, 4] ** 2)
        if total > 1e-12 and length > 1e-12:
            distance[slot] = sums[slot, 1] / total
            for axis in range(3):
                gradient[slot, axis] = sums[slot, 2 + axis] / length
