"""What a quad of two triangles costs, and the few vectors that takes: three floats each, no numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_ANGLE = math.radians(40.0)  # between the two triangles of a quad
MAX_CORNER = math.radians(170.0)  # of a quad: beyond it the quad is a triangle to the eye, or not convex
MIN_CORNER = math.radians(6)  # of a quad that is cut anew: below it it is a sliver
_BEND, _CROOKED = 1.0, 0.5  # what a bend of the largest angle, and a corner that is 90 degrees off, cost

Vector = tuple[float, float, float]
Triangle = tuple[int, ...]  # rows of vertices, in turn
Edge = tuple[int, int]


def quad_cost(
    quad: Sequence[Vector], *, max_angle: float = MAX_ANGLE, min_corner: float = 0.0
) -> float | None:  # fmt: skip
    """What a quad of four corners in turn costs, cut from the first to the third; None where it may not be one.

    It may be bent by `max_angle` (radians), and its corners are between `min_corner` and `MAX_CORNER`.
    """
    first, second = unit(area(quad[0], quad[1], quad[2])), unit(area(quad[0], quad[2], quad[3]))
    bend = math.acos(min(1.0, max(-1.0, dot(first, second))))
    if bend > max_angle or not any(first) or not any(second):
        return None
    crooked = corner_cost(quad, unit(plus(first, second)), min_corner)
    return None if crooked is None else crooked + _BEND * bend / max(max_angle, 1e-9)


def corner_cost(quad: Sequence[Vector], normal: Vector, min_corner: float) -> float | None:
    """What the corners of a quad cost, seen along a unit `normal`; None where it is a sliver or not convex."""
    worst = 0.0
    for k in range(4):
        out, back = minus(quad[(k + 1) % 4], quad[k]), minus(quad[k - 1], quad[k])
        angle = math.atan2(dot(cross(out, back), normal), dot(out, back)) % (2.0 * math.pi)
        if not min_corner <= angle < MAX_CORNER:
            return None
        worst = max(worst, abs(angle - math.pi / 2.0))
    return _CROOKED * worst / (math.pi / 2.0)


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
