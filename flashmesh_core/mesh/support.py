"""How well the sampled surface backs an edge or triangle."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import check_num_bins, check_points, quantize
from flashmesh_core.mesh.surface import SurfaceGrid, grow

DIRECTION_CELLS = 64  # cells an axis of the direction grid, at most: 1 MB of masks
DIRECTIONS = 32  # bits of a mask
SAME_DIRECTION = 0.75  # cosine from which a marked direction backs a normal: 41 degrees, a bit's own 20 included
THIN = 1.5  # bins; the height below which a triangle's normal is not asked about
MAP_CELLS = 32  # cells an axis of the table that finds the marks of a normal

# Barycentric weights in twelfths: the center, near the edge midpoints, towards the corners.
INTERIOR = np.array(
    [
        *([4, 4, 4], [6, 5, 1], [1, 6, 5], [5, 1, 6]),
        *([8, 2, 2], [2, 8, 2], [2, 2, 8]),
    ],
    dtype=np.int32,
)


def _spread_directions(count: int) -> np.ndarray:
    """`count` unit vectors spread evenly over the sphere (Fibonacci lattice), (count, 3)."""
    height = 1.0 - (2.0 * np.arange(count) + 1.0) / count
    turn = np.arange(count) * np.pi * (3.0 - np.sqrt(5.0))
    radius = np.sqrt(1.0 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)


def _map_cell(normals: np.ndarray) -> np.ndarray:
    """The cell (...) of the direction table that unit vectors (..., 3) fall into."""
    cell = ((normals + 1.0) * (0.5 * MAP_CELLS)).astype(np.int32)
    np.clip(cell, 0, MAP_CELLS - 1, out=cell)
    return (cell[..., 2] * MAP_CELLS + cell[..., 1]) * MAP_CELLS + cell[..., 0]


def _direction_tables() -> tuple[np.ndarray, np.ndarray]:
    """For every cell of the table: the bit nearest to it, and all bits within SAME_DIRECTION of it."""
    axis = (np.arange(MAP_CELLS) + 0.5) * (2.0 / MAP_CELLS) - 1.0
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    cells = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    cosine = cells @ _spread_directions(DIRECTIONS).T / np.linalg.norm(cells, axis=1, keepdims=True)
    bits = np.uint32(1) << np.arange(DIRECTIONS, dtype=np.uint32)
    near = np.where(cosine > SAME_DIRECTION, bits, np.uint32(0))
    return bits[cosine.argmax(axis=1)], np.bitwise_or.reduce(near, axis=1)


_OWN_BIT, BACKING_BITS = _direction_tables()


def own_bits(normals: np.ndarray) -> np.ndarray:
    """The direction bit (N,) uint32 of unit normals (N, 3)."""
    return _OWN_BIT[_map_cell(np.asarray(normals, dtype=np.float64).reshape(-1, 3))]


class DirectionGrid:
    """Which way the surface faces near each place: a mask of quantised directions a cell.

    Both sides of a thin wall are kept apart, since a cell holds any number of directions. A cell knows the
    directions of its 26 neighbours too.
    """

    def __init__(self, points: np.ndarray, normals: np.ndarray, num_bins: int) -> None:
        """From surface samples: `points` (N, 3) in the unit box, unit `normals` (N, 3)."""
        points, normals = check_points("points", points), check_points("normals", normals)
        if normals.shape != points.shape:
            raise ValueError(f"normals must have the shape of points, {points.shape}, got {normals.shape}")
        self.num_bins = check_num_bins(num_bins)
        self.factor = -(-self.num_bins // DIRECTION_CELLS)  # bins a cell
        self.cells = -(-self.num_bins // self.factor)
        marks = np.zeros((self.cells + 2,) * 3, dtype=np.uint32)
        x, y, z = (quantize(points, self.num_bins) // self.factor + 1).T
        np.bitwise_or.at(marks.reshape(-1), (z * len(marks) + y) * len(marks) + x, own_bits(normals))
        self.marks = np.ascontiguousarray(grow(marks, 1)[1:-1, 1:-1, 1:-1])

    def backs(self, places: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Whether some sample near each place faces like the normal: (M,) bool.

        `places` (M, 3) in bins within the grid, columns x, y, z; unit `normals` (M, 3).
        """
        cell = np.asarray(places).astype(np.int32) // self.factor
        flat = (cell[:, 2] * self.cells + cell[:, 1]) * self.cells + cell[:, 0]
        return (self.marks.reshape(-1)[flat] & BACKING_BITS[_map_cell(normals)]) != 0


def _fraction_on_surface(grid: SurfaceGrid, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The fraction (M,) of the points `weights` (K, C) @ bin centers `corners` (M, C, 3) that lie on the surface.

    Weights are integers, each row of one sum: whole-number arithmetic puts a point on a cell's edge into the
    same cell wherever this is computed.
    """
    whole = 2 * int(weights[0].sum()) * grid.factor
    axes = np.moveaxis(2 * np.asarray(corners, dtype=np.int32) + 1, 2, 0)
    x, y, z = ((axis @ weights.T.astype(np.int32)) // whole for axis in axes)
    flat = (z * grid.cells + y) * grid.cells + x
    return grid.occupied.reshape(-1).take(flat).mean(axis=1, dtype=np.float32)


def _check_bins(name: str, bins: np.ndarray, tail: tuple[int, ...], num_bins: int) -> np.ndarray:
    """`bins` as an array (M, *tail) in [0, num_bins - 1], or a ValueError."""
    bins = np.asarray(bins)
    if bins.shape[1:] != tail:
        raise ValueError(f"{name} must have shape {('M', *tail)}, got {bins.shape}")
    if bins.size and not (bins.min() >= 0 and bins.max() <= num_bins - 1):
        raise ValueError(f"{name} must hold bins in [0, {num_bins - 1}], got {bins.min()} to {bins.max()}")
    return bins


def edge_support(grid: SurfaceGrid, a: np.ndarray, b: np.ndarray, samples: int = 7) -> np.ndarray:
    """The fraction (M,) float32 of `samples` points between bins `a` and `b` (M, 3) that are on the surface."""
    a, b = (_check_bins(name, bins, (3,), grid.num_bins) for name, bins in (("a", a), ("b", b)))
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    step = np.arange(1, samples + 1)
    return _fraction_on_surface(grid, np.stack([a, b], axis=1), np.stack([samples + 1 - step, step], axis=1))


def triangle_support(
    grid: SurfaceGrid, directions: DirectionGrid | None, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How well the surface backs triangles (M, 3, 3) of bins, columns x, y, z, in winding order.

    Returns the fraction (M,) float32 of seven inner points that lie on the surface, and whether (M,) bool the
    surface near the center faces like the triangle. The latter is True without `directions`, and for
    triangles less than `THIN` bins high, whose normal the rounding to bins has spoilt.

    Measured on 60 training meshes at 128 bins, 16,384 samples, a tolerance of 2 to 3 bins: of all vertices and corners
    as the third vertex of a true edge (80 at 12 to 199 faces, 261 at 200 to 799), full fraction and direction
    leave 20 and 69 on average (median 10 and 43), with both new edges on the surface 18 and 64 (8 and 39);
    the true one stays in 99.9 % of cases. Without the direction 34 and 111 stay, and every true one.
    """
    triangles = _check_bins("triangles", triangles, (3, 3), grid.num_bins)
    fraction = _fraction_on_surface(grid, triangles, INTERIOR)
    if directions is None:
        return fraction, np.ones(len(triangles), dtype=bool)
    x, y, z = np.moveaxis(triangles.astype(np.float32), 2, 0)
    u, v, w = ((axis[:, 1] - axis[:, 0], axis[:, 2] - axis[:, 0]) for axis in (x, y, z))
    normals = np.stack([v[0] * w[1] - w[0] * v[1], w[0] * u[1] - u[0] * w[1], u[0] * v[1] - v[0] * u[1]], axis=1)
    area = np.sqrt(np.einsum("ij,ij->i", normals, normals))  # twice the triangle's
    normals /= np.maximum(area, 1e-9)[:, None]
    longest = np.sqrt(
        np.maximum.reduce(
            [
                u[0] ** 2 + v[0] ** 2 + w[0] ** 2,
                u[1] ** 2 + v[1] ** 2 + w[1] ** 2,
                (u[1] - u[0]) ** 2 + (v[1] - v[0]) ** 2 + (w[1] - w[0]) ** 2,
            ]
        )
    )
    centers = np.stack([axis.sum(axis=1) for axis in (x, y, z)], axis=1) / np.float32(3.0) + np.float32(0.5)
    return fraction, directions.backs(centers, normals) | (area < THIN * longest)
