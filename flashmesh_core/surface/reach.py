"""What a collapse would leave behind, compiled: a thin limb shrinks by edges that each add little to the error.

The planes along a leaf or a spike hold wherever its end is, and those of the end are small. So each vertex remembers
the farthest of the places of the dense surface that were joined into it (after Klein, Liebich and Strasser, "Mesh
reduction with error control", 1996, which keeps them all), and an edge that would leave one far behind is dearer.
"""

from __future__ import annotations

from flashmesh_core.jit import njit
from flashmesh_core.surface.denoising import even_edge
from flashmesh_core.surface.edge_queue import NO_REFCOUNT
from flashmesh_core.surface.fans import onward, walk
from flashmesh_core.surface.quadrics import WIDTH

FAR = 0.05  # longest sides that places may be left behind by; farther is dearer, by the fourth power
OUT = 2.0  # times that far that a place may stand out: a wedge's planes meet beyond what a remesh left of it
EDGES = 0.35  # the same in edges that the wanted faces have on the mean: the shorter of both counts


def far_of(area: float, count: int) -> float:
    """How far places may be left behind, in longest sides, where a surface of this area gets so many faces."""
    return min(FAR, EDGES * even_edge(area / count))


@njit(**NO_REFCOUNT)
def dearer(s, a, b, x, y, z):
    """By how many times an edge is dearer for what joining a and b at a place leaves behind; at least 1."""
    far = s.options[5]
    left = max(_left_behind(s, a, b, a, x, y, z, far * far), _left_behind(s, a, b, b, x, y, z, far * far))
    return dearness(left / (far * far))


@njit(**NO_REFCOUNT)
def stands_out(s, a, b, x, y, z):
    """By how many times a place is dearer that is off the faces around a and b as they are; at least 1.

    The planes of a spike meet far beyond its tip, and where they meet costs nothing.
    """
    p, square = s.positions, (OUT * s.options[5]) ** 2
    for v in (a, b):
        dx, dy, dz = x - p[v, 0], y - p[v, 1], z - p[v, 2]
        if dx * dx + dy * dy + dz * dz <= square:
            return 1.0
    off = 1e300
    for v in (a, b):
        off = min(off, _to_fan(s, v, -1, p[v, 0], p[v, 1], p[v, 2], x - p[v, 0], y - p[v, 1], z - p[v, 2]))
    return dearness(off / square)


@njit(**NO_REFCOUNT)
def dearness(square):
    """By how many times what leaves a place behind is dearer, at least 1, by the square of how many times too far."""
    return max(square * square, 1.0)


@njit(**NO_REFCOUNT)
def remember(s, a, b, x, y, z):
    """Before b is joined with a at a place, let a remember what is left behind farthest, its own place or that of b."""
    if _left_behind(s, a, b, b, x, y, z, 0.0) > _left_behind(s, a, b, a, x, y, z, 0.0):
        for i in range(WIDTH, WIDTH + 3):
            s.quadrics[a, i] = s.quadrics[b, i]


@njit(**NO_REFCOUNT)
def _left_behind(s, a, b, of, x, y, z, enough):
    """Squared distance of the place that `of` remembers from the faces around a and b, joined at (x, y, z).

    Where one fan's is at most `enough` the other is not looked at.
    """
    dx, dy, dz = s.quadrics[of, WIDTH] - x, s.quadrics[of, WIDTH + 1] - y, s.quadrics[of, WIDTH + 2] - z
    best = dx * dx + dy * dy + dz * dz
    if best > enough:
        best = min(best, _to_fan(s, a, b, x, y, z, dx, dy, dz))
    if best > enough:
        best = min(best, _to_fan(s, b, a, x, y, z, dx, dy, dz))
    return best


@njit(**NO_REFCOUNT)
def _to_fan(s, v, other, x, y, z, dx, dy, dz):
    """Squared distance of the place (dx, dy, dz) off (x, y, z) from v's faces without `other`, v moved to (x, y, z)."""
    best, p = 1e300, s.positions
    c = walk(s, v)
    while c >= 0:
        i, j = s.faces[c // 3, (c + 1) % 3], s.faces[c // 3, (c + 2) % 3]
        if i != other and j != other:
            to = to_triangle(
                p[i, 0] - x, p[i, 1] - y, p[i, 2] - z, p[j, 0] - x, p[j, 1] - y, p[j, 2] - z, dx, dy, dz
            )  # fmt: skip
            best = min(best, to)
        c = onward(s, c)
    return best


@njit(**NO_REFCOUNT)
def to_triangle(ux, uy, uz, vx, vy, vz, x, y, z):
    """Squared distance of (x, y, z) from the triangle of the origin, u and v."""
    uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
    u, v, w = ux * x + uy * y + uz * z, vx * x + vy * y + vz * z, x * x + y * y + z * z
    area = max(uu * vv - uv * uv, 1e-300)
    s, t = (vv * u - uv * v) / area, (uu * v - uv * u) / area
    if s >= 0.0 and t >= 0.0 and s + t <= 1.0:
        return max(w - s * u - t * v, 0.0)
    s, t = _share(u, uu), _share(v, vv)
    best = min(w + s * (s * uu - 2.0 * u), w + t * (t * vv - 2.0 * v))
    t = _share(v - u + uu - uv, uu - 2.0 * uv + vv)
    s = 1.0 - t
    return max(min(best, w + s * s * uu + 2.0 * s * t * uv + t * t * vv - 2.0 * (s * u + t * v)), 0.0)


@njit(**NO_REFCOUNT)
def _share(along, length):
    """Where a place lies along an edge, from 0 to 1, by its product with the edge and the edge's with itself."""
    return min(max(along / max(length, 1e-300), 0.0), 1.0)
