"""Vectors of three floats and triangles of three numbers in plain Python: numpy is slow for three at a time."""

from __future__ import annotations

import math

Vector = tuple[float, float, float]
Triangle = tuple[int, ...]  # rows of vertices, in turn
Edge = tuple[int, int]


def area(a: Vector, b: Vector, c: Vector) -> Vector:
    """Twice a triangle's area, along its normal."""
    return cross(minus(b, a), minus(c, a))


def edges_of(face: Triangle) -> tuple[Edge, Edge, Edge]:
    """The edges of a triangle, in its own direction."""
    a, b, c = face
    return (a, b), (b, c), (c, a)


def third(face: Triangle, a: int, b: int) -> int:
    """The corner of a triangle that is not on its edge from `a` to `b`."""
    return next(corner for corner in face if corner not in (a, b))


def in_order(a: int, b: int) -> Edge:
    """An edge whichever way it runs."""
    return (a, b) if a < b else (b, a)


def plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def unit(a: Vector) -> Vector:
    length = math.sqrt(dot(a, a))
    return (a[0] / length, a[1] / length, a[2] / length) if length > 0.0 else (0.0, 0.0, 0.0)
