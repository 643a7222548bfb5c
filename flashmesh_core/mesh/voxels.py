"""Distance and inside on a lattice around a low-poly mesh: what a voxel remesh starts from.

Both are written triangle by triangle into the lattice, so the cost follows the surface and not the volume.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from flashmesh_core.jit import njit

from .distance import triangle_distance

# Rays run beside the lattice lines by this fraction of a cell, so that none meets a vertex or an edge that lies on
# them.
_BESIDE = np.array([np.sqrt(2.0), np.sqrt(3.0), 1.0]) * 1e-6


def narrow_band(vertices: np.ndarray, faces: np.ndarray, shape: tuple[int, int, int], reach: float) -> np.ndarray:
    """Distances from the nodes of a lattice to a mesh, float32 of `shape`; `reach` where they are larger than that.

    `vertices` (V, 3) are in cells, node (i, j, k) lies at that place. `faces` (F, 3) without area are left out.
    """
    squares = np.full(shape, reach * reach, dtype=np.float64)
    _spread(np.ascontiguousarray(vertices[faces], dtype=np.float64), squares, float(reach))
    return np.sqrt(squares)


def winding_numbers(
    vertices: np.ndarray,
    faces: np.ndarray,
    shape: tuple[int, int, int],
    beside: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """How often a closed, consistently wound mesh encloses each node of a lattice, int32 of `shape`; units as above.

    The signed crossings of the ray upwards from each node, which is the winding number of a closed mesh. It is that of
    a place a millionth of a cell beside the node, in the octant of the three signs `beside`: nodes on the surface count
    as what lies there.
    """
    crossings = np.zeros(shape, dtype=np.int32)
    _cross(np.ascontiguousarray(vertices[faces], dtype=np.float64), crossings, _BESIDE * beside)
    return np.cumsum(crossings[:, :, ::-1], axis=2, dtype=np.int32)[:, :, ::-1]


def inside_fraction(
    vertices: np.ndarray, faces: np.ndarray, shape: tuple[int, int, int], nodes: np.ndarray
) -> np.ndarray:
    """How much (N,) of the eight octants around each of `nodes` (N, 3) lies inside a closed mesh; units as above.

    For nodes on the surface: a half on a side, 1 where two parts touch.
    """
    fraction = np.zeros(len(nodes))
    for x, y, z in product((-1.0, 1.0), repeat=3):
        fraction += winding_numbers(vertices, faces, shape, (x, y, z))[tuple(nodes.T)] > 0
    return fraction / 8.0


@njit(cache=True)
def _spread(triangles: np.ndarray, squares: np.ndarray, reach: float) -> None:
    """Lower the squared distances of the nodes within `reach` of each triangle (F, 3, 3)."""
    place, low, high, node = np.empty(3), np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.int64)
    for triangle in triangles:
        normal = np.cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
        length = np.sqrt((normal * normal).sum())
        if length == 0.0:
            continue
        normal = normal / length
        axis = np.argmax(np.abs(normal))
        first, second = (axis + 1) % 3, (axis + 2) % 3
        for k in range(3):
            low[k] = max(int(np.ceil(triangle[:, k].min() - reach)), 0)
            high[k] = min(int(np.floor(triangle[:, k].max() + reach)), squares.shape[k] - 1)
        thick = reach / abs(normal[axis])
        for u in range(low[first], high[first] + 1):
            node[first] = u
            for v in range(low[second], high[second] + 1):
                node[second] = v
                # All that is within reach of the triangle is within reach of its plane.
                aside = (u - triangle[0, first]) * normal[first] + (v - triangle[0, second]) * normal[second]
                middle = triangle[0, axis] - aside / normal[axis]
                start = max(int(np.ceil(middle - thick)), low[axis])
                for w in range(start, min(int(np.floor(middle + thick)), high[axis]) + 1):
                    node[axis] = w
                    place[:] = node
                    height = (w - middle) * normal[axis]
                    square = squares[node[0], node[1], node[2]]
                    if height * height < square:
                        far = triangle_distance(place[0], place[1], place[2], triangle, normal)
                        squares[node[0], node[1], node[2]] = min(far, square)


@njit(cache=True)
def _left_of(x: float, y: float, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a place lies left of the line from a to b, seen from above; the opposite of that from b to a, always."""
    if a[0] < b[0] or (a[0] == b[0] and a[1] < b[1]):
        return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) >= 0.0
    return not ((a[0] - b[0]) * (y - b[1]) - (a[1] - b[1]) * (x - b[0]) >= 0.0)


@njit(cache=True)
def _cross(triangles: np.ndarray, crossings: np.ndarray, beside: np.ndarray) -> None:
    """Add 1 below each place where a lattice line along z meets a triangle that faces up, -1 if it faces down."""
    for triangle in triangles:
        a, b, c = triangle[0], triangle[1], triangle[2]
        upwards = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if upwards == 0.0:
            continue
        normal = np.cross(b - a, c - a)
        low_x, high_x = int(np.ceil(triangle[:, 0].min() - 1.0)), int(np.floor(triangle[:, 0].max() + 1.0))
        low_y, high_y = int(np.ceil(triangle[:, 1].min() - 1.0)), int(np.floor(triangle[:, 1].max() + 1.0))
        for i in range(max(low_x, 0), min(high_x, crossings.shape[0] - 1) + 1):
            x = i + beside[0]
            for j in range(max(low_y, 0), min(high_y, crossings.shape[1] - 1) + 1):
                y = j + beside[1]
                side = _left_of(x, y, a, b)
                if _left_of(x, y, b, c) != side or _left_of(x, y, c, a) != side:
                    continue
                z = a[2] - ((x - a[0]) * normal[0] + (y - a[1]) * normal[1]) / normal[2]
                z = min(max(z, triangle[:, 2].min()), triangle[:, 2].max())
                below = min(int(np.ceil(z - beside[2])) - 1, crossings.shape[2] - 1)
                if below >= 0:
                    crossings[i, j, below] += 1 if side else -1
