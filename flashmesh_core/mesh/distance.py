"""Exact distances from points to the triangles of a mesh, with no sampling noise in them.

Triangles are sorted along a Morton curve and grouped into leaves of `LEAF_SIZE`; a complete binary tree of boxes lies
over the leaves. A query visits the nearer child first and skips boxes that are farther than the best triangle so far,
which at first is the one that was nearest to the point before: points that follow their neighbors cost half as much.
A query for triangles that face one way skips boxes none of whose triangles can, by the bounds of their normals.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flashmesh_core.jit import njit

from .canonical import check_faces, check_points

LEAF_SIZE = 4  # triangles
MORTON_BITS = 16  # an axis
NEARLY, TINY = 1.0 + 1e-9, 1e-300  # more than a squared distance, so that the nearest triangle is found as always
_ANY_DIRECTION = -2.0  # below every cosine: all triangles count
_NO_BOUNDS = np.empty((0, 2, 3))


@dataclass(frozen=True, eq=False)
class TriangleTree:
    """Triangles of a mesh, ready for queries of distance; make one with `of_mesh`."""

    corners: np.ndarray  # (T, 3, 3) float64, sorted along the curve
    normals: np.ndarray  # (T, 3) unit float64; zero for a triangle without area
    face: np.ndarray  # (T,) int64 row of the triangle in the mesh's faces
    low: np.ndarray  # (2 * leaves, 3) lower corners of the boxes; node 1 is the root, node n has children 2n and 2n + 1
    high: np.ndarray  # (2 * leaves, 3)

    @staticmethod
    def of_mesh(vertices: np.ndarray, faces: np.ndarray) -> TriangleTree:
        """The tree over `faces` (T, 3) of `vertices` (V, 3). Raises ValueError for wrong arrays and for no faces."""
        vertices = check_points("vertices", vertices)
        faces = check_faces("faces", faces, len(vertices))
        if len(faces) == 0:
            raise ValueError("faces must hold at least 1 triangle to measure distances to, got 0")
        order = np.argsort(_morton_codes(vertices, faces), kind="stable")
        leaves = 1 << max(0, int(np.ceil(np.log2(len(faces) / LEAF_SIZE))))
        corners, normals, low, high = _sorted(vertices, faces, order, leaves)
        return TriangleTree(corners, normals, order, low, high)

    def nearest(self, points: np.ndarray, within: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
        """Distances (N,) from `points` (N, 3) to the mesh, in its unit, and the faces (N,) that are nearest.

        Infinity, and any face, where none is nearer than `within`: how far to look is what it costs.
        """
        points = check_points("points", points, minimum=0)
        distance, at = _query(points, np.zeros_like(points), _ANY_DIRECTION, within, *self._arrays(_NO_BOUNDS))
        return distance, self.face[at]

    def distance(self, points: np.ndarray, within: float = np.inf) -> np.ndarray:
        """Distances (N,) from `points` (N, 3) to the mesh, in its unit; infinity where it is not `within` that."""
        return self.nearest(points, within)[0]

    def closest(self, points: np.ndarray) -> np.ndarray:
        """The places (N, 3) on the mesh that are nearest to `points` (N, 3)."""
        return self.nearest_points(points)[2]

    def nearest_points(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `nearest`, and the places (N, 3) on the faces that are nearest."""
        points = check_points("points", points, minimum=0)
        distance, at = _query(points, np.zeros_like(points), _ANY_DIRECTION, np.inf, *self._arrays(_NO_BOUNDS))
        return distance, self.face[at], _closest_on_triangles(points, self.corners[at])

    def distance_facing(
        self, points: np.ndarray, directions: np.ndarray, least: float = 0.0, within: float = np.inf
    ) -> np.ndarray:
        """Distances (N,) to triangles whose normal has more than the cosine `least` to the unit `directions` (N, 3).

        Infinity where no triangle faces that way, or none nearer than `within`: how far to look is what it costs.
        """
        return self.nearest_facing(points, directions, least, within)[0]

    def nearest_facing(
        self, points: np.ndarray, directions: np.ndarray, least: float = 0.0, within: float = np.inf
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `distance_facing`, and the faces (N,) that are nearest; any face where the distance is infinite."""
        points = check_points("points", points, minimum=0)
        directions = check_points("directions", directions, minimum=0)
        if len(directions) != len(points):
            raise ValueError(f"directions must have a row a point, {len(points)}, got {len(directions)}")
        distance, at = _query(points, directions, float(least), float(within), *self._arrays(self._ways))
        return distance, self.face[at]

    def _arrays(self, ways: np.ndarray) -> tuple[np.ndarray, ...]:
        return self.corners, self.normals, self.low, self.high, ways

    @cached_property
    def _ways(self) -> np.ndarray:
        """The least and the most (2 * leaves, 2, 3) that each coordinate of the normals in a box is."""
        return _bounds_of_normals(self.normals, len(self.low) // 2)


@njit(cache=True, nogil=True)
def _morton_codes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The places (T,) int64 of the triangles' middles along a Morton curve through their bounding box."""
    middle, codes = np.empty((len(faces), 3)), np.zeros(len(faces), np.int64)
    low, extent = np.empty(3), 0.0
    for axis in range(3):
        for f in range(len(faces)):
            a, b, c = faces[f]
            middle[f, axis] = (vertices[a, axis] + vertices[b, axis] + vertices[c, axis]) / 3.0
        low[axis] = middle[:, axis].min()
        extent = max(extent, middle[:, axis].max() - low[axis])
    for f in range(len(faces)):
        for axis in range(3):
            cell = int((middle[f, axis] - low[axis]) / (extent if extent > 0.0 else 1.0) * ((1 << MORTON_BITS) - 1))
            for bit in range(MORTON_BITS):
                codes[f] |= ((cell >> bit) & 1) << (3 * bit + axis)
    return codes


@njit(cache=True, nogil=True)
def _sorted(
    vertices: np.ndarray, faces: np.ndarray, order: np.ndarray, leaves: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corners (T, 3, 3) and unit normals (T, 3) in this order, and the boxes (2 * leaves, 3) of the complete tree.

    An empty leaf has an inverted box, infinitely far from everything.
    """
    corners, normals = np.empty((len(order), 3, 3)), np.zeros((len(order), 3))
    low, high = np.full((2 * leaves, 3), np.inf), np.full((2 * leaves, 3), -np.inf)
    for t in range(len(order)):
        node = leaves + t // LEAF_SIZE
        for k in range(3):
            for axis in range(3):
                at = vertices[faces[order[t], k], axis]
                corners[t, k, axis] = at
                low[node, axis], high[node, axis] = min(low[node, axis], at), max(high[node, axis], at)
        a, b, c = corners[t]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length > 0.0:
            normals[t, 0], normals[t, 1], normals[t, 2] = nx / length, ny / length, nz / length
    for node in range(leaves - 1, 0, -1):
        for axis in range(3):
            low[node, axis] = min(low[2 * node, axis], low[2 * node + 1, axis])
            high[node, axis] = max(high[2 * node, axis], high[2 * node + 1, axis])
    return corners, normals, low, high


@njit(cache=True, nogil=True)
def _bounds_of_normals(normals: np.ndarray, leaves: int) -> np.ndarray:
    """The least and the most (2 * leaves, 2, 3) of the triangles' normals (T, 3) in each box of the complete tree."""
    bounds = np.empty((2 * leaves, 2, 3))
    bounds[:, 0], bounds[:, 1] = np.inf, -np.inf
    for t in range(len(normals)):
        node = leaves + t // LEAF_SIZE
        for axis in range(3):
            bounds[node, 0, axis] = min(bounds[node, 0, axis], normals[t, axis])
            bounds[node, 1, axis] = max(bounds[node, 1, axis], normals[t, axis])
    for node in range(leaves - 1, 0, -1):
        for axis in range(3):
            bounds[node, 0, axis] = min(bounds[2 * node, 0, axis], bounds[2 * node + 1, 0, axis])
            bounds[node, 1, axis] = max(bounds[2 * node, 1, axis], bounds[2 * node + 1, 1, axis])
    return bounds


def _closest_on_triangles(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The place (N, 3) nearest to each of `points` (N, 3) on its triangle of `corners` (N, 3, 3)."""
    ends = np.roll(corners, -1, axis=1)
    along, way = ends - corners, points[:, None] - corners
    length = np.einsum("nki,nki->nk", along, along)
    share = np.clip(np.einsum("nki,nki->nk", way, along) / np.where(length > 0.0, length, 1.0), 0.0, 1.0)
    beside = corners + share[:, :, None] * along
    edge = np.linalg.norm(points[:, None] - beside, axis=2).argmin(axis=1)
    result = beside[np.arange(len(points)), edge]
    normal = np.cross(along[:, 0], along[:, 1])
    within = (np.einsum("nki,ni->nk", np.cross(along, way), normal) >= 0.0).all(axis=1)
    area = np.einsum("ni,ni->n", normal, normal)
    within &= area > 0.0
    height = np.einsum("ni,ni->n", way[:, 0], normal) / np.where(area > 0.0, area, 1.0)
    result[within] = (points - height[:, None] * normal)[within]
    return result


@njit(cache=True)
def _box_distance(x: float, y: float, z: float, low: np.ndarray, high: np.ndarray) -> float:
    """The squared distance of a point from a box; infinite for an empty one."""
    dx = max(max(low[0] - x, x - high[0]), 0.0)
    dy = max(max(low[1] - y, y - high[1]), 0.0)
    dz = max(max(low[2] - z, z - high[2]), 0.0)
    return dx * dx + dy * dy + dz * dz


@njit(cache=True)
def _segment_distance(x: float, y: float, z: float, a: np.ndarray, b: np.ndarray) -> float:
    """The squared distance of a point from the segment between a and b (3,)."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    dx, dy, dz = x - a[0], y - a[1], z - a[2]
    length = ux * ux + uy * uy + uz * uz
    if length > 0.0:
        t = min(max((dx * ux + dy * uy + dz * uz) / length, 0.0), 1.0)
        dx, dy, dz = dx - t * ux, dy - t * uy, dz - t * uz
    return dx * dx + dy * dy + dz * dz


@njit(cache=True)
def triangle_distance(x: float, y: float, z: float, corners: np.ndarray, normal: np.ndarray) -> float:
    """The squared distance of a point from a triangle (3, 3) with its unit normal, zero if it has no area."""
    a, b, c = corners[0], corners[1], corners[2]
    dx, dy, dz = x - a[0], y - a[1], z - a[2]
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    nx, ny, nz = normal[0], normal[1], normal[2]
    area = (uy * vz - uz * vy) * nx + (uz * vx - ux * vz) * ny + (ux * vy - uy * vx) * nz
    if area > 0.0:
        s = (dy * vz - dz * vy) * nx + (dz * vx - dx * vz) * ny + (dx * vy - dy * vx) * nz
        t = (uy * dz - uz * dy) * nx + (uz * dx - ux * dz) * ny + (ux * dy - uy * dx) * nz
        if s >= 0.0 and t >= 0.0 and s + t <= area:
            height = dx * nx + dy * ny + dz * nz
            return height * height
    return min(
        _segment_distance(x, y, z, a, b), min(_segment_distance(x, y, z, b, c), _segment_distance(x, y, z, c, a))
    )


@njit(cache=True)
def _facing(direction: np.ndarray, normal: np.ndarray) -> float:
    """The cosine between two unit vectors (3,); 0 of a normal that is 0."""
    return direction[0] * normal[0] + direction[1] * normal[1] + direction[2] * normal[2]


@njit(cache=True)
def _most_facing(direction: np.ndarray, bounds: np.ndarray) -> float:
    """No less than the cosine between a direction (3,) and any normal within bounds (2, 3), rounding included."""
    x = max(direction[0] * bounds[0, 0], direction[0] * bounds[1, 0])
    y = max(direction[1] * bounds[0, 1], direction[1] * bounds[1, 1])
    z = max(direction[2] * bounds[0, 2], direction[2] * bounds[1, 2])
    return x + y + z


@njit(cache=True, nogil=True)
def _query(
    points: np.ndarray, directions: np.ndarray, least: float, within: float,
    corners: np.ndarray, normals: np.ndarray, low: np.ndarray, high: np.ndarray, ways: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Distances (N,) to the nearest triangles within reach that face the right way, and rows (N,); else inf, 0.

    Where all may face any way, `ways` has no rows.
    """
    leaves = len(low) // 2
    distance, row = np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    nodes, reach = np.empty(128, np.int64), np.empty(128)
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        best, distance[n] = within * within, np.inf
        if n and distance[n - 1] < np.inf:
            normal = normals[row[n - 1]]
            if _facing(directions[n], normal) > least:
                best = min(best, NEARLY * triangle_distance(x, y, z, corners[row[n - 1]], normal) + TINY)
        nodes[0], reach[0], size = 1, _box_distance(x, y, z, low[1], high[1]), 1
        while size:
            size -= 1
            node = nodes[size]
            if reach[size] >= best:
                continue
            if node < leaves:
                first, second = 2 * node, 2 * node + 1
                to_first = _box_distance(x, y, z, low[first], high[first])
                to_second = _box_distance(x, y, z, low[second], high[second])
                if len(ways):
                    if _most_facing(directions[n], ways[first]) <= least:
                        to_first = np.inf
                    if _most_facing(directions[n], ways[second]) <= least:
                        to_second = np.inf
                if to_first < to_second:
                    first, second, to_first, to_second = second, first, to_second, to_first
                nodes[size], reach[size] = first, to_first
                nodes[size + 1], reach[size + 1] = second, to_second
                size += 2
                continue
            start = (node - leaves) * LEAF_SIZE
            for triangle in range(start, min(start + LEAF_SIZE, len(corners))):
                normal = normals[triangle]
                if _facing(directions[n], normal) <= least:
                    continue
                far = triangle_distance(x, y, z, corners[triangle], normal)
                if far < best:
                    best, row[n], distance[n] = far, triangle, np.sqrt(far)
    return distance, row
