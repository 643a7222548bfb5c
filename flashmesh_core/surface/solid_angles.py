"""Winding numbers: how often a mesh goes around a place. 1 inside of it, 0 outside, 2 inside of two of its parts.

What is far from a place counts as one dipole: the sum of its faces' area vectors, at their middle (Barill et al. 2018).
A box is far at FAR times its reach; the number is then off by about 0.01.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.distance import LEAF_SIZE, TriangleTree
from flashmesh_core.surface.adjacency import COMPILED, dot

FAR = 3.0  # times the largest distance of a box's corners from its middle
TINY = 1e-30  # area of a face that has none


@dataclass(frozen=True, eq=False)
class Windings:
    """A mesh ready to be asked; make one with `of_tree`."""

    corners: np.ndarray  # (T, 3, 3) of the tree's triangles
    dipole: np.ndarray  # (2 * leaves, 3) sum of the area vectors of a node's triangles
    middle: np.ndarray  # (2 * leaves, 3) of its triangles, by their areas
    reach: np.ndarray  # (2 * leaves,) no less than the distance from the middle to any corner; below 0: empty

    @staticmethod
    def of_tree(tree: TriangleTree) -> Windings:
        """The windings of the mesh that a tree is of."""
        return Windings(tree.corners, *_dipoles(tree.corners, tree.low, tree.high))

    def around(self, places: np.ndarray) -> np.ndarray:
        """The winding numbers (N,) around `places` (N, 3)."""
        return _around(places, self.corners, self.dipole, self.middle, self.reach)


@njit(**COMPILED)
def winding_at(triangles, place):
    """The winding number of `triangles` (F, 3, 3) around `place` (3,), the sum of their solid angles."""
    total, sides = 0.0, np.empty((3, 3))
    for f in range(len(triangles)):
        total += _half_angle(triangles, f, place, sides)
    return total / (2.0 * np.pi)


@njit(**COMPILED)
def _half_angle(triangles, f, place, sides):
    """Half the solid angle of a triangle seen from a place (van Oosterom 1983); `sides` (3, 3) is written over."""
    for k in range(3):
        for axis in range(3):
            sides[k, axis] = triangles[f, k, axis] - place[axis]
    top = 0.0
    for axis in range(3):
        y, z = (axis + 1) % 3, (axis + 2) % 3
        top += sides[0, axis] * (sides[1, y] * sides[2, z] - sides[1, z] * sides[2, y])
    a, b, c = np.sqrt(dot(sides, 0, sides, 0)), np.sqrt(dot(sides, 1, sides, 1)), np.sqrt(dot(sides, 2, sides, 2))
    bottom = dot(sides, 0, sides, 1) * c + dot(sides, 1, sides, 2) * a + dot(sides, 2, sides, 0) * b
    return np.arctan2(top, bottom + a * b * c)


@njit(**COMPILED)
def _dipoles(corners, low, high):
    """The arrays of `Windings` for the nodes of a tree with boxes from `low` to `high` (2 * leaves, 3)."""
    leaves = len(low) // 2
    dipole, middle, reach, weight = np.zeros_like(low), np.zeros_like(low), np.full(len(low), -1.0), np.zeros(len(low))
    for t in range(len(corners)):
        node = leaves + t // LEAF_SIZE
        area = 0.5 * np.cross(corners[t, 1] - corners[t, 0], corners[t, 2] - corners[t, 0])
        size = np.sqrt((area * area).sum()) + TINY
        weight[node] += size
        for axis in range(3):
            dipole[node, axis] += area[axis]
            middle[node, axis] += size / 3.0 * (corners[t, 0, axis] + corners[t, 1, axis] + corners[t, 2, axis])
    for node in range(leaves - 1, 0, -1):
        weight[node] = weight[2 * node] + weight[2 * node + 1]
        dipole[node] = dipole[2 * node] + dipole[2 * node + 1]
        middle[node] = middle[2 * node] + middle[2 * node + 1]
    for node in range(1, 2 * leaves):
        if weight[node] > 0.0:
            middle[node] /= weight[node]
            far = np.maximum(high[node] - middle[node], middle[node] - low[node])
            reach[node] = np.sqrt((far * far).sum())
    return dipole, middle, reach


@njit(**COMPILED)
def _around(places, corners, dipole, middle, reach):
    leaves = len(reach) // 2
    result, nodes, sides = np.zeros(len(places)), np.empty(128, dtype=np.int64), np.empty((3, 3))
    for n in range(len(places)):
        nodes[0], size = 1, 1
        while size:
            size -= 1
            node = nodes[size]
            if reach[node] < 0.0:
                continue
            x, y, z = middle[node, 0] - places[n, 0], middle[node, 1] - places[n, 1], middle[node, 2] - places[n, 2]
            square = x * x + y * y + z * z
            if square > (FAR * reach[node]) ** 2:
                seen = dipole[node, 0] * x + dipole[node, 1] * y + dipole[node, 2] * z
                result[n] += 0.5 * seen / (square * np.sqrt(square))
            elif node < leaves:
                nodes[size], nodes[size + 1] = 2 * node, 2 * node + 1
                size += 2
            else:
                start = (node - leaves) * LEAF_SIZE
                for f in range(start, min(start + LEAF_SIZE, len(corners))):
                    result[n] += _half_angle(corners, f, places[n], sides)
    return result / (2.0 * np.pi)
