"""Signed distances near oriented samples: robust implicit moving least squares (Oeztireli et al. 2009) on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import dot
from flashmesh_core.surface.point_normals import CHUNK, COMPILED, Progress
from flashmesh_core.surface.threads import between, in_threads
from flashmesh_core.surface.winding import Grid, slabs

REACH = 2.5  # widths at which a sample's weight ends
CUT = 0.85  # share of that beyond which the weight is below 0.006, and is not added
BAND = 2.5  # cells from the samples' planes beyond which no distance is needed
SIDEWAYS = 4.0  # squares of distances along a sample's plane count this many times those across it
ROUNDS = 2  # in which planes that disagree lose weight; a third changes distances by a thousandth of a cell
HEIGHT_SIGMA = 0.6  # widths of disagreement in height
OTHER = 0.8  # cosine of normals below which samples are another surface's
WALL = -0.5  # cosine of normals below which two surfaces are the sides of a wall, or of a gap
THIN = 0.3, 1.25  # blurs from one side of a thin wall to the other; nearer ones are the sides of parts that touch
NORMAL_SIGMA = 0.6  # disagreement in normals (length of the difference)


class Distances(NamedTuple):
    """What `signed_distances` finds at M nodes near samples; lengths in the unit box."""

    slots: np.ndarray  # int32, of the grid's shape: each node's place in the others, -1 where it is out of reach
    distance: np.ndarray  # (M,), positive outside
    known: np.ndarray  # (M,) how well: above 1 on a sampled surface, less beyond its border
    owner: np.ndarray  # (M,) the nearest sample
    winding: np.ndarray  # (M,) the winding number that the surfaces near the node would give
    thickness: np.ndarray  # (M,) of a thin wall whose two sides these are; infinite where they are none


def signed_distances(
    grid: Grid,
    points: np.ndarray,
    normals: np.ndarray,
    widths: np.ndarray,
    beside_edges: np.ndarray,
    blur: float,
    progress: Progress,
) -> Distances:
    """Distances outside (positive) and inside of the samples at the grid's nodes near them.

    `widths` (N,) are the samples' own; `beside_edges` (N,) says which have neighbours with other normals. The winding
    number is of surfaces that are each spread by a Gaussian of standard deviation `blur`.

    A node's first surface is that of the nearest sample; samples whose normals are others make a second and a third.
    Where each of two surfaces lies beneath the other, the body is their intersection, where above, their union.
    """
    places = (points - grid.corner) / grid.step
    slots = np.full(grid.shape, -1, dtype=np.int32)
    reach = CUT * REACH * widths / grid.step
    progress(0.0)
    parts = slabs(places, grid.shape[0])
    between(_mark, parts, slots, places, normals, reach)
    count = _number(slots)
    samples = np.arange(len(points))
    cloud = (slots, places, normals, reach)
    first, owner = _surface(parts, cloud, samples, [], count, ROUNDS, lambda f: progress(0.6 * f))
    surfaces, distance = [first], first.distance.copy()
    slope = 1.702 * grid.step / blur  # of a logistic curve that is nearly the Gaussian's integral
    winding = 1.0 / (1.0 + np.exp(np.clip(slope * distance, -30.0, 30.0)))
    samples, thickness = np.nonzero(beside_edges)[0], np.full(count, np.inf, dtype=np.float32)
    thinnest, thickest = (share * blur / grid.step for share in THIN)
    for number in (1, 2):
        report = partial(_report_from, progress, 0.4 + 0.2 * number)
        other, found = _surface(parts, cloud, samples, surfaces, count, 1, report)
        in_threads(
            _combine, count, distance, winding, thickness, thinnest, thickest, slope, first.gradient, first.center,
            other.distance, other.gradient, other.center, found >= 0,
        )  # fmt: skip
        surfaces.append(other)
    step = np.float32(grid.step)
    return Distances(slots, distance * step, first.known, owner, winding, thickness * step)


def _report_from(progress: Progress, start: float, fraction: float) -> None:
    progress(start + 0.2 * fraction)


@dataclass
class _Surface:
    """At every node (M,) the plane that the samples of one surface give, in nodes."""

    distance: np.ndarray  # (M,)
    gradient: np.ndarray  # (M, 3)
    center: np.ndarray  # (M, 3) of the samples, from the node
    known: np.ndarray  # (M,) weight of the samples


def _surface(
    parts: list[int],
    cloud: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    samples: np.ndarray,
    others: list[_Surface],
    count: int,
    rounds: int,
    progress: Progress,
) -> tuple[_Surface, np.ndarray]:
    """The surface of the nearest of `samples` whose normal is none of the `others`', and the number of that sample.

    `cloud` is the grid's slots, and places, normals and reach of all samples; `parts` is where slabs of the grid begin.
    """
    squares, owner = np.full(count, np.inf, dtype=np.float32), np.full(count, -1, dtype=np.int32)
    none = np.zeros((count, 3), dtype=np.float32)
    taken = [surface.gradient for surface in others] + [none] * 2
    for start in range(0, len(samples), CHUNK):
        progress(0.2 * start / len(samples))
        part = samples[start : start + CHUNK]
        between(_find_nearest, parts, *cloud, part, taken[0], taken[1], squares, owner)
    gradient = np.where(owner[:, None] >= 0, cloud[2][owner], 0.0).astype(np.float32)
    surface = _Surface(np.zeros(count, dtype=np.float32), gradient, none, none[:, 0])
    for step in range(rounds + 1):
        sums = np.zeros((count, 8), dtype=np.float32)
        for start in range(0, len(samples), CHUNK):
            progress(0.2 + 0.8 * (step + start / len(samples)) / (rounds + 1))
            part = samples[start : start + CHUNK]
            between(_add, parts, *cloud, part, surface.distance, gradient, step > 0, sums)
        if step == 0:
            surface.known = sums[:, 0].copy()
        in_threads(_solve, count, sums, surface.distance, gradient)
    surface.center = sums[:, 5:] / np.maximum(sums[:, :1], 1e-12)
    return surface, owner


@njit(**COMPILED)
def _mark(begin, end, slots, places, normals, reach):
    """Marks the nodes from `begin` to `end` along x within reach of any sample and near its plane."""
    for i in range(len(places)):
        r, square = reach[i], reach[i] ** 2
        for x in range(max(int(np.ceil(places[i, 0] - r)), begin), min(int(places[i, 0] + r) + 1, end)):
            dx = x - places[i, 0]
            for y in range(max(int(np.ceil(places[i, 1] - r)), 0), min(int(places[i, 1] + r) + 1, slots.shape[1])):
                dy = y - places[i, 1]
                left = square - dx * dx - dy * dy
                if left <= 0.0:
                    continue
                half = np.sqrt(left)
                low, high = max(int(np.ceil(places[i, 2] - half)), 0), int(places[i, 2] + half) + 1
                for z in range(low, min(high, slots.shape[2])):
                    if abs(dx * normals[i, 0] + dy * normals[i, 1] + (z - places[i, 2]) * normals[i, 2]) <= BAND:
                        slots[x, y, z] = 0


@njit(**COMPILED)
def _number(slots):
    """Numbers the nodes that are marked; how many."""
    count = 0
    for x in range(slots.shape[0]):
        for y in range(slots.shape[1]):
            for z in range(slots.shape[2]):
                if slots[x, y, z] == 0:
                    slots[x, y, z] = count
                    count += 1
    return count


@njit(**COMPILED)
def _find_nearest(begin, end, slots, places, normals, reach, samples, taken, taken_too, squares, owner):
    for i in samples:
        r, square = reach[i], reach[i] ** 2
        for x in range(max(int(np.ceil(places[i, 0] - r)), begin), min(int(places[i, 0] + r) + 1, end)):
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
                    if slot < 0:
                        continue
                    if dot(normals, i, taken, slot) > OTHER or dot(normals, i, taken_too, slot) > OTHER:
                        continue
                    dz = z - places[i, 2]
                    height = dx * normals[i, 0] + dy * normals[i, 1] + dz * normals[i, 2]
                    found = SIDEWAYS * (flat + dz * dz) - (SIDEWAYS - 1.0) * height * height
                    if found < squares[slot]:
                        squares[slot], owner[slot] = found, i


@njit(**COMPILED)
def _add(begin, end, slots, places, normals, reach, samples, distance, gradient, robust, sums):
    """Adds the planes of `samples` to the nodes: weight, and by weight the height, the normal and the position.

    Only to those from `begin` to `end` along x, as `_find_nearest` looks only there.
    """
    one, steep = np.float32(1.0), np.float32(2.0 / NORMAL_SIGMA**2 / 16.0)
    for i in samples:
        r, square = reach[i], reach[i] ** 2
        falloff = np.float32(CUT**2 / square)
        rough = np.float32((CUT * REACH / (HEIGHT_SIGMA * r)) ** 2 / 16.0)
        nx, ny, nz = np.float32(normals[i, 0]), np.float32(normals[i, 1]), np.float32(normals[i, 2])
        for x in range(max(int(np.ceil(places[i, 0] - r)), begin), min(int(places[i, 0] + r) + 1, end)):
            dx = np.float32(x - places[i, 0])
            for y in range(max(int(np.ceil(places[i, 1] - r)), 0), min(int(places[i, 1] + r) + 1, slots.shape[1])):
                dy = np.float32(y - places[i, 1])
                flat = dx * dx + dy * dy
                if flat >= square:
                    continue
                half = np.sqrt(square - flat)
                low, high = max(int(np.ceil(places[i, 2] - half)), 0), int(places[i, 2] + half) + 1
                for z in range(low, min(high, slots.shape[2])):
                    slot = slots[x, y, z]
                    if slot < 0:
                        continue
                    dot = nx * gradient[slot, 0] + ny * gradient[slot, 1] + nz * gradient[slot, 2]
                    if dot <= 0.0:
                        continue
                    dz = np.float32(z - places[i, 2])
                    height = dx * nx + dy * ny + dz * nz
                    weight = one - (flat + dz * dz) * falloff
                    if robust:
                        off = height - distance[slot]
                        agreement = one - off * off * rough - (one - dot) * steep
                        if agreement <= 0.0:
                            continue
                        agreement *= agreement
                        weight *= agreement * agreement  # to the fourth: nearly exp(-16 (1 - agreement))
                    weight *= weight
                    weight *= weight
                    if not robust:
                        weight *= dot
                    sums[slot, 0] += weight
                    sums[slot, 1] += weight * height
                    sums[slot, 2] += weight * nx
                    sums[slot, 3] += weight * ny
                    sums[slot, 4] += weight * nz
                    sums[slot, 5] -= weight * dx
                    sums[slot, 6] -= weight * dy
                    sums[slot, 7] -= weight * dz


@njit(**COMPILED)
def _solve(first, last, sums, distance, gradient):
    for slot in range(first, last):
        total = sums[slot, 0]
        length = np.sqrt(sums[slot, 2] ** 2 + sums[slot, 3] ** 2 + sums[slot, 4] ** 2)
        if total > 1e-12 and length > 1e-12:
            distance[slot] = sums[slot, 1] / total
            for axis in range(3):
                gradient[slot, axis] = sums[slot, 2 + axis] / length


@njit(**COMPILED)
def _combine(
    first, last, distance, winding, thickness, thinnest, thickest, slope, gradient, center,
    other_distance, other_gradient, other_center, found,
):  # fmt: skip
    """The distance from two surfaces at every node, of their intersection where convex, of their union where concave.

    `winding` as well: the product of both for edges, their sum less 1 for the two sides of a wall, whose
    `thickness` is noted from `thinnest` to `thickest`.
    """
    for slot in range(first, last):
        if not found[slot]:
            continue
        above = below = 0.0  # of the other's samples over the first's plane, and the first's over the other's
        for axis in range(3):
            between = other_center[slot, axis] - center[slot, axis]
            above += between * gradient[slot, axis]
            below -= between * other_gradient[slot, axis]
        wall = dot(gradient, slot, other_gradient, slot) < WALL
        other = 1.0 / (1.0 + np.exp(min(max(slope * other_distance[slot], -30.0), 30.0)))
        if above < 0.0 and below < 0.0:
            apart = -distance[slot] - other_distance[slot]
            if wall and thinnest < apart and apart < thickest:
                thickness[slot] = min(thickness[slot], apart)
            distance[slot] = max(distance[slot], other_distance[slot])
            winding[slot] = max(winding[slot] + other - 1.0, 0.02) if wall else winding[slot] * other
        elif above > 0.0 and below > 0.0:
            distance[slot] = min(distance[slot], other_distance[slot])
            free, other = 1.0 - winding[slot], 1.0 - other
            winding[slot] = 1.0 - (max(free + other - 1.0, 0.02) if wall else free * other)
