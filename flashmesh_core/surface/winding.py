"""The winding number of oriented samples on a grid: 1 inside, 0 outside, in between where the surface is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.point_normals import COMPILED, ROWS
from flashmesh_core.surface.threads import between, bounds_of_parts

FREE_SPACE = 0.3  # of the box on top of its sides, so that its periodic copies are out of reach
AWAY = 2.0  # blurs from a sample to where its sides are looked at
SPREAD = 0.25  # variance of a quadratic B-spline, in squared steps


@dataclass(frozen=True)
class Grid:
    """A regular grid over a box: node (i, j, k) lies at `corner` + `step` * (i, j, k)."""

    corner: np.ndarray  # (3,)
    step: float
    shape: tuple[int, int, int]

    @staticmethod
    def around(points: np.ndarray, step: float, margin: float) -> Grid:
        """The grid of `step` over the bounding box of `points` (N, 3) and `margin` on every side."""
        corner = points.min(axis=0) - margin
        shape = np.ceil((points.max(axis=0) + margin - corner) / step).astype(int) + 1
        return Grid(corner, step, (int(shape[0]), int(shape[1]), int(shape[2])))


def winding_number(grid: Grid, points: np.ndarray, normals: np.ndarray, areas: np.ndarray, blur: float) -> np.ndarray:
    """The winding number at the nodes of `grid`, float32, of `points` with outward `normals` that stand for `areas`.

    The double layer potential by Fourier transform: its Laplacian is minus the divergence of the normals, spread on
    the grid by quadratic B-splines. `blur` is the standard deviation of the Gaussian (unit-box lengths) that every
    sample is spread with.
    """
    from scipy import fft

    shape = tuple(fft.next_fast_len(int(n * (1.0 + FREE_SPACE)) + 8, real=True) for n in grid.shape)
    waves = [2.0 * np.pi * fft.fftfreq(n, grid.step).astype(np.float32) for n in shape]
    waves[2] = 2.0 * np.pi * fft.rfftfreq(shape[2], grid.step).astype(np.float32)
    mesh = np.meshgrid(*waves, indexing="ij", sparse=True)
    square = mesh[0] ** 2 + mesh[1] ** 2 + mesh[2] ** 2
    flux = np.zeros(shape, dtype=np.float32)
    places = (points - grid.corner) / grid.step
    between(_spread_divergence, slabs(places, shape[0]), flux, places, normals * (areas * grid.step**-4)[:, None])
    total = fft.rfftn(flux, overwrite_x=True, workers=-1)
    square[0, 0, 0] = 1.0
    total *= np.exp(-0.5 * max(blur**2 - SPREAD * grid.step**2, 0.0) * square) / square
    total[0, 0, 0] = 0.0
    field = fft.irfftn(total, shape, overwrite_x=True, workers=-1)
    field = field - _far_value(field, grid.shape)
    return np.ascontiguousarray(field[: grid.shape[0], : grid.shape[1], : grid.shape[2]])


def slabs(places: np.ndarray, size: int) -> list[int]:
    """Where slabs of a grid of `size` nodes along x begin, and the end: one a processor.

    About as many of `places` (N, 3), in nodes, are in each.
    """
    inner = bounds_of_parts(0, len(places), ROWS)[1:-1]
    return [0, *np.clip(np.sort(places[:, 0])[inner], 0, size).astype(np.int64).tolist(), size]


def at_points(field: np.ndarray, grid: Grid, points: np.ndarray) -> np.ndarray:
    """The field's value at `points` (N, 3), linear between nodes, (N,)."""
    return _at_points(field, (points - grid.corner) / grid.step)


def at_sides(
    field: np.ndarray, grid: Grid, points: np.ndarray, normals: np.ndarray, blur: float
) -> tuple[np.ndarray, np.ndarray]:
    """The field's values (N,) off `points` (N, 3) by AWAY blurs along their unit `normals` (N, 3), and against them."""
    offset = AWAY * blur * normals
    return at_points(field, grid, points + offset), at_points(field, grid, points - offset)


def _far_value(field: np.ndarray, used: tuple[int, int, int]) -> float:
    """The value half way between the box and its copies, where the winding number is 0."""
    middle = [(n + m) // 2 for n, m in zip(used, field.shape, strict=True)]
    return float(np.mean([field[middle[0]].mean(), field[:, middle[1]].mean(), field[:, :, middle[2]].mean()]))


@njit(**COMPILED)
def _spread_divergence(begin, end, field, places, vectors):
    """Adds the divergence of `vectors`, each spread over the 27 nodes around its place (in nodes), to the field.

    Only to its nodes from `begin` to `end` along x.
    """
    weight, slope = np.empty((3, 3)), np.empty((3, 3))  # axis, node
    first = np.empty(3, dtype=np.int64)
    for i in range(len(places)):
        x = int(np.floor(places[i, 0] + 0.5)) - 1
        if x + 3 <= begin or x >= end:
            continue
        for axis in range(3):
            nearest = int(np.floor(places[i, axis] + 0.5))
            t = places[i, axis] - nearest
            first[axis] = nearest - 1
            weight[axis, 0], weight[axis, 1], weight[axis, 2] = 0.5 * (0.5 - t) ** 2, 0.75 - t * t, 0.5 * (0.5 + t) ** 2
            slope[axis, 0], slope[axis, 1], slope[axis, 2] = 0.5 - t, 2.0 * t, -0.5 - t
        for a in range(max(begin - x, 0), min(end - x, 3)):
            for b in range(3):
                across = vectors[i, 0] * slope[0, a] * weight[1, b] + vectors[i, 1] * weight[0, a] * slope[1, b]
                along = vectors[i, 2] * weight[0, a] * weight[1, b]
                for c in range(3):
                    value = across * weight[2, c] + along * slope[2, c]
                    field[x + a, first[1] + b, first[2] + c] += value


@njit(**COMPILED)
def _at_points(field, places):
    result = np.zeros(len(places))
    for i in range(len(places)):
        x = min(max(int(places[i, 0]), 0), field.shape[0] - 2)
        y = min(max(int(places[i, 1]), 0), field.shape[1] - 2)
        z = min(max(int(places[i, 2]), 0), field.shape[2] - 2)
        u, v, w = places[i, 0] - x, places[i, 1] - y, places[i, 2] - z
        for a in range(2):
            for b in range(2):
                part = (u if a else 1.0 - u) * (v if b else 1.0 - v)
                result[i] += part * (field[x + a, y + b, z] * (1.0 - w) + field[x + a, y + b, z + 1] * w)
    return result
