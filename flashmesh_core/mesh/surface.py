"""The bins that a surface passes, with look-ups by prefix."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import check_faces, check_num_bins, check_points, quantize

MAX_CELLS = 256  # cells an axis of the densest grid: 16 MB of bool


def grow(padded: np.ndarray, radius: int) -> np.ndarray:
    """A bool or mask grid (S, S, S) grown by `radius` cells along every axis (Chebyshev).

    The outermost `radius` cells must be empty: then shifts of the flat array cannot wrap into another row,
    and every pass runs over contiguous memory.
    """
    size = len(padded)
    flat = padded.reshape(-1)
    for stride in (1, size, size * size):
        done = 0
        while done < radius:  # 1, 2, 4, ...: a shift by no more than the width so far leaves no gap
            step = min(done + 1, radius - done)
            shift = step * stride
            grown = flat.copy()
            grown[shift:] |= flat[:-shift]
            grown[:-shift] |= flat[shift:]
            flat = grown
            done += step
    return flat.reshape(padded.shape)


def _triangle_samples(triangles: np.ndarray, step: float, budget: int = 1_000_000):
    """Points (K, 3) at most `step` apart over every triangle (F, 3, 3), in blocks of about `budget` points.

    Rows parallel to the longest side, `step` apart in height; the corners are always among the points.
    """
    side = np.linalg.norm(np.roll(triangles, -1, axis=1) - triangles, axis=2)
    turn = (side.argmax(axis=1)[:, None] + np.arange(3)) % 3
    a, b, c = np.moveaxis(np.take_along_axis(triangles, turn[:, :, None], axis=1), 1, 0)
    longest = side.max(axis=1)
    height = np.linalg.norm(np.cross(b - a, c - a), axis=1) / np.maximum(longest, 1e-30)
    rows = np.ceil(height / step).astype(np.int64) + 1
    bound = (rows + 1) * (np.ceil(longest / step).astype(np.int64) + 2)
    block = np.cumsum(bound) // budget
    for first, last in zip(*_runs(block), strict=True):
        tri = np.repeat(np.arange(first, last), rows[first:last] + 1)
        v = _ramp(rows[first:last] + 1) / rows[tri]
        across = np.ceil((1.0 - v) * longest[tri] / step).astype(np.int64) + 1
        row = np.repeat(np.arange(len(tri)), across + 1)
        u = (_ramp(across + 1) / across[row])[:, None]
        tri, v = tri[row], v[row][:, None]
        yield (1.0 - v) * ((1.0 - u) * a[tri] + u * b[tri]) + v * c[tri]


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the runs of equal entries of a 1-d array."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1)) if len(values) else np.zeros(0, dtype=np.int64)
    return starts, np.append(starts[1:], len(values))[: len(starts)]


def _ramp(counts: np.ndarray) -> np.ndarray:
    """0..counts[0]-1, 0..counts[1]-1, ... in one array."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


class SurfaceGrid:
    """Which bins lie on the surface, give or take a tolerance, with look-ups by z, y, x prefix.

    Above 256 bins an axis, a cell covers `ceil(num_bins / 256)` bins and the rows are repeated out.
    Prefixes are bins; a prefix outside [0, num_bins) has an empty row.
    """

    def __init__(self, points: np.ndarray, num_bins: int, tolerance: int = 1) -> None:
        """Mark the bins of `points` (N, 3), unit box, and all within `tolerance` bins (Chebyshev)."""
        points = check_points("points", points)
        self._start(num_bins, tolerance)
        self._mark(points)
        self._finish()

    @classmethod
    def of_mesh(cls, vertices: np.ndarray, faces: np.ndarray, num_bins: int, tolerance: int = 0) -> SurfaceGrid:
        """The grid of a triangle mesh in the unit box: `vertices` (V, 3), `faces` (F, 3).

        Every triangle is sampled at half a cell, corners included, so the bin of every vertex is in it.
        """
        vertices = check_points("vertices", vertices)
        faces = check_faces("faces", faces, len(vertices))
        grid = cls.__new__(cls)
        grid._start(num_bins, tolerance)
        grid._mark(vertices[np.unique(faces)])
        for points in _triangle_samples(vertices[faces], 0.5 / grid.cells):
            grid._mark(points)
        grid._finish()
        return grid

    def _start(self, num_bins: int, tolerance: int) -> None:
        self.num_bins = check_num_bins(num_bins)
        if int(tolerance) != tolerance or not 0 <= tolerance <= self.num_bins:
            raise ValueError(f"tolerance must be an integer in [0, {self.num_bins}], got {tolerance}")
        self.tolerance = int(tolerance)
        self.factor = -(-self.num_bins // MAX_CELLS)  # bins a cell
        self.cells = -(-self.num_bins // self.factor)  # cells an axis
        self._pad = -(-self.tolerance // self.factor)
        self.occupied = np.zeros((self.cells + 2 * self._pad,) * 3, dtype=bool)  # indexed z, y, x

    def _mark(self, points: np.ndarray) -> None:
        x, y, z = (quantize(points, self.num_bins) // self.factor).T
        self.occupied[z + self._pad, y + self._pad, x + self._pad] = True

    def _finish(self) -> None:
        inner = slice(self._pad, self._pad + self.cells)
        self.occupied = np.ascontiguousarray(grow(self.occupied, self._pad)[inner, inner, inner])
        self._any_x: np.ndarray = np.logical_or.reduce(self.occupied, axis=2)  # (z, y)
        self._any_yx: np.ndarray = np.logical_or.reduce(self._any_x, axis=1)  # (z,)

    def _cells_of(self, bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cells of bins, and whether each bin is in range."""
        bins = np.asarray(bins, dtype=np.int64)
        inside = (bins >= 0) & (bins < self.num_bins)
        return np.where(inside, bins // self.factor, 0), inside

    def _spread(self, rows: np.ndarray) -> np.ndarray:
        """Rows over cells to rows over bins."""
        return rows if self.factor == 1 else np.repeat(rows, self.factor, axis=-1)[..., : self.num_bins]

    def rows_y(self, z: np.ndarray) -> np.ndarray:
        """The y reached at each z (...): (..., num_bins) bool."""
        cell, inside = self._cells_of(z)
        return self._spread(self._any_x[cell] & inside[..., None])

    def rows_x(self, z: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The x reached at each z, y (...): (..., num_bins) bool."""
        (cell_z, inside_z), (cell_y, inside_y) = self._cells_of(z), self._cells_of(y)
        return self._spread(self.occupied[cell_z, cell_y] & (inside_z & inside_y)[..., None])

    def row_z(self) -> np.ndarray:
        """(num_bins,) bool: the z that the surface reaches."""
        return self._spread(self._any_yx).copy()

    def row_y(self, z: int) -> np.ndarray:
        """(num_bins,) bool: the y reached at this z."""
        return self.rows_y(np.asarray(z))

    def row_x(self, z: int, y: int) -> np.ndarray:
        """(num_bins,) bool: the x reached at this z and y."""
        return self.rows_x(np.asarray(z), np.asarray(y))

    def contains(self, bins: np.ndarray) -> np.ndarray:
        """Whether each bin (..., 3), columns x, y, z, is on the surface: (...) bool."""
        cell, inside = self._cells_of(bins)
        flat = (cell[..., 2] * self.cells + cell[..., 1]) * self.cells + cell[..., 0]
        return self.occupied.reshape(-1)[flat] & inside.all(axis=-1)
