"""What a quad of two triangles costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flashmesh_core.mesh.plain_vectors import Vector, area, cross, dot, minus, plus, unit

MAX_ANGLE = math.radians(40.0)  # between the two triangles of a quad
MAX_CORNER = math.radians(170.0)  # of a quad: beyond it the quad is a triangle to the eye, or not convex
MIN_CORNER = math.radians(6)  # of a quad that is cut anew: below it it is a sliver
_BEND, _CROOKED = 1.0, 0.5  # what a bend of the largest angle, and a corner that is 90 degrees off, cost


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
