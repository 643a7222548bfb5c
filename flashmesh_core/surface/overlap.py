"""Whether triangles lie over each other; in whole numbers of bins, so that the answer is the same everywhere."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit, njit_no_refcount

BESIDE = 1.0  # bins from the plane of a triangle within which the middle of another lies on it


@njit_no_refcount
def _normal(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[int, int, int]:
    """The normal of a triangle, twice its area long."""
    ux, uy, uz = np.int64(b[0] - a[0]), np.int64(b[1] - a[1]), np.int64(b[2] - a[2])
    vx, vy, vz = np.int64(c[0] - a[0]), np.int64(c[1] - a[1]), np.int64(c[2] - a[2])
    return int(uy * vz - uz * vy), int(uz * vx - ux * vz), int(ux * vy - uy * vx)


@njit_no_refcount
def _lies_inside(
    a: np.ndarray, b: np.ndarray, x: int, y: int, z: int, normal: tuple[int, int, int]
) -> bool:  # fmt: skip
    """Whether a third of x, y, z lies left of the edge from `a` to `b`, or over it, seen against the normal."""
    ux, uy, uz = np.int64(b[0] - a[0]), np.int64(b[1] - a[1]), np.int64(b[2] - a[2])
    vx, vy, vz = x - 3 * np.int64(a[0]), y - 3 * np.int64(a[1]), z - 3 * np.int64(a[2])
    along = normal[0] * (uy * vz - uz * vy) + normal[1] * (uz * vx - ux * vz) + normal[2] * (ux * vy - uy * vx)
    return bool(along >= 0)


@njit_no_refcount
def _holds_middle(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, normal: tuple[int, int, int],
    p: np.ndarray, q: np.ndarray, r: np.ndarray,
) -> bool:  # fmt: skip
    """Whether the middle of p, q, r lies on a, b, c."""
    x, y, z = np.int64(p[0] + q[0] + r[0]), np.int64(p[1] + q[1] + r[1]), np.int64(p[2] + q[2] + r[2])
    if not (
        _lies_inside(a, b, x, y, z, normal)
        and _lies_inside(b, c, x, y, z, normal)
        and _lies_inside(c, a, x, y, z, normal)
    ):
        return False
    high = float(normal[0] * (x - 3 * a[0]) + normal[1] * (y - 3 * a[1]) + normal[2] * (z - 3 * a[2]))
    squared = float(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2])
    return high * high <= 9.0 * BESIDE * BESIDE * squared


@njit_no_refcount
def lie_over(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, p: np.ndarray, q: np.ndarray, r: np.ndarray
) -> bool:  # fmt: skip
    """Whether two triangles, corners (3,) in bins, face the same way and the middle of one lies on the other."""
    one, other = _normal(a, b, c), _normal(p, q, r)
    if one[0] * other[0] + one[1] * other[1] + one[2] * other[2] <= 0:
        return False
    return _holds_middle(a, b, c, one, p, q, r) or _holds_middle(p, q, r, other, a, b, c)


@njit(cache=True)
def first_over(faces: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The number of the first of `faces` (F, 3, 3) that lies over each of `others` (T, 3, 3), or F, (T,) int64."""
    first = np.full(len(others), len(faces), dtype=np.int64)
    for number in range(len(others)):
        other = others[number]
        for face in range(len(faces)):
            if lie_over(faces[face, 0], faces[face, 1], faces[face, 2], other[0], other[1], other[2]):
                first[number] = face
                break
    return first
