"""Composable mesh primitives: everything is a loft of rings, an extruded polygon, or a join of those.

All pieces are closed unless asked otherwise and wind outward (counter-clockwise seen from outside). Z is up.
Quads a b c d are always split along a-c. Units are arbitrary; callers keep parts thicker than
about 1/40 of the object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

Cap = str | tuple[float, float, float]  # "flat", "open", or the position of a pole
Number = float | int


def _flat_cap(n: int) -> list[tuple[int, int, int]]:
    """An upward n-gon as a fan up to six corners, as a zigzag strip (fatter triangles) beyond."""
    if n <= 6:
        return [(0, j, j + 1) for j in range(1, n - 1)]
    low, high, faces = 0, n - 1, []
    while high - low > 1:
        faces.append((low, low + 1, high))
        low += 1
        if high - low > 1:
            faces.append((low, high - 1, high))
            high -= 1
    return faces


@lru_cache(maxsize=4096)
def _loft_faces(n_rings: int, n: int, closed: bool, start: str, end: str) -> np.ndarray:
    """Faces over vertices laid out ring by ring, then the start and end pole; shared, so read-only."""
    faces: list[tuple[int, int, int]] = []
    pole = n_rings * n
    if start == "pole":
        faces += [(pole, (j + 1) % n, j) for j in range(n)]
        pole += 1
    elif start == "flat" and not closed:
        faces += [(a, c, b) for a, b, c in _flat_cap(n)]
    for i in range(n_rings if closed else n_rings - 1):
        low, high = i * n, (i + 1) % n_rings * n
        for j in range(n):
            k = (j + 1) % n
            faces += [(low + j, low + k, high + k), (low + j, high + k, high + j)]
    last = (n_rings - 1) * n
    if end == "pole":
        faces += [(pole, last + j, last + (j + 1) % n) for j in range(n)]
    elif end == "flat" and not closed:
        faces += [(last + a, last + b, last + c) for a, b, c in _flat_cap(n)]
    array = np.array(faces, dtype=np.int64).reshape(-1, 3)
    array.setflags(write=False)
    return array


def loft(rings: np.ndarray, *, start: Cap = "flat", end: Cap = "flat", closed: bool = False) -> Mesh:
    """A skin over `rings` (R, N, 3), counter-clockwise seen from the end; `closed` joins last to first."""
    n_rings, n, _ = rings.shape
    parts = [rings.reshape(-1, 3)]
    kinds = []
    for cap in (start, end):
        if isinstance(cap, str):
            kinds.append(cap)
        else:
            kinds.append("pole")
            parts.append(np.array([cap], dtype=np.float64))
    vertices = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return Mesh(vertices, _loft_faces(n_rings, n, closed, kinds[0], kinds[1]))


def join(*pieces: Mesh) -> Mesh:
    """One mesh of all `pieces`, vertices not welded."""
    offsets = np.cumsum([0] + [len(p.vertices) for p in pieces[:-1]])
    faces = [p.faces + o for p, o in zip(pieces, offsets, strict=True)]
    return Mesh(np.concatenate([p.vertices for p in pieces]), np.concatenate(faces))


# ---------------------------------------------------------------- transforms


def move(mesh: Mesh, x: Number = 0.0, y: Number = 0.0, z: Number = 0.0) -> Mesh:
    """`mesh` shifted by (x, y, z)."""
    return Mesh(mesh.vertices + np.array((x, y, z), dtype=np.float64), mesh.faces)


def stretch(mesh: Mesh, x: Number = 1.0, y: Number = 1.0, z: Number = 1.0) -> Mesh:
    """`mesh` scaled about the origin; a negative factor mirrors, and the winding stays outward."""
    faces = mesh.faces[:, ::-1] if x * y * z < 0 else mesh.faces
    return Mesh(mesh.vertices * np.array((x, y, z), dtype=np.float64), faces)


def turn(mesh: Mesh, angle: float, axis: str = "z") -> Mesh:
    """`mesh` turned about an axis through the origin by `angle` radians, counter-clockwise."""
    c, s = math.cos(angle), math.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    vertices = mesh.vertices.copy()
    vertices[:, i] = c * mesh.vertices[:, i] - s * mesh.vertices[:, j]
    vertices[:, j] = s * mesh.vertices[:, i] + c * mesh.vertices[:, j]
    return Mesh(vertices, mesh.faces)


def stand(mesh: Mesh) -> Mesh:
    """The xy plane stood up into xz: (x, y, z) to (x, -z, y); a profile drawn in xy becomes a side view."""
    x, y, z = mesh.vertices.T
    return Mesh(np.stack([x, -z, y], axis=1), mesh.faces)


def lay(mesh: Mesh) -> Mesh:
    """The z axis laid along x: (x, y, z) to (z, x, y)."""
    return Mesh(mesh.vertices[:, [2, 0, 1]], mesh.faces)


def around(mesh: Mesh, count: int, phase: float = 0.0) -> list[Mesh]:
    """`count` copies of `mesh` spread evenly about the z axis."""
    return [turn(mesh, phase + 2.0 * math.pi * k / count) for k in range(count)]


def mirrored(mesh: Mesh, axis: str = "x") -> list[Mesh]:
    """`mesh` and its mirror image across the plane `axis` = 0."""
    return [mesh, stretch(mesh, **{axis: -1.0})]


# ---------------------------------------------------------------- outlines in the plane


def ngon(n: int, radius: Number = 1.0, *, phase: float | None = None, squash: Number = 1.0) -> np.ndarray:
    """A regular polygon (n, 2), counter-clockwise; by default a flat side faces -y."""
    phase = -math.pi / 2.0 + math.pi / n if phase is None else phase
    angle = phase + np.arange(n) * (2.0 * math.pi / n)
    return np.stack([radius * np.cos(angle), radius * squash * np.sin(angle)], axis=1)


def rectangle(width: Number, depth: Number, chamfer: Number = 0.0) -> np.ndarray:
    """A centered rectangle (4, 2), or (8, 2) with cut corners, counter-clockwise."""
    x, y, c = width / 2.0, depth / 2.0, chamfer
    if c <= 0.0:
        return np.array([(-x, -y), (x, -y), (x, y), (-x, y)])
    return np.array(
        [
            (-x + c, -y),
            (x - c, -y),
            (x, -y + c),
            (x, y - c),
            (x - c, y),
            (-x + c, y),
            (-x, y - c),
            (-x, -y + c),
        ]
    )


def arc(radius: Number, start: float, stop: float, segments: int) -> np.ndarray:
    """Points (segments + 1, 2) on a circle from angle `start` to `stop`, radians."""
    angle = np.linspace(start, stop, segments + 1)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def ear_clip(outline: np.ndarray) -> np.ndarray:
    """Triangles (N - 2, 3) of a simple counter-clockwise polygon (N, 2), the fattest ear first."""
    points = [(float(x), float(y)) for x, y in outline]
    ring, faces = list(range(len(points))), []

    def cross(a: int, b: int, c: int) -> float:
        (ax, ay), (bx, by), (cx, cy) = points[a], points[b], points[c]
        return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)

    while len(ring) > 3:
        best, best_length = -1, math.inf
        for k, b in enumerate(ring):
            a, c = ring[k - 1], ring[(k + 1) % len(ring)]
            length = math.dist(points[a], points[c])
            if length >= best_length or cross(a, b, c) <= 1e-12:
                continue
            inside = (
                cross(a, b, p) >= 0 and cross(b, c, p) >= 0 and cross(c, a, p) >= 0 for p in ring if p not in (a, b, c)
            )
            if not any(inside):
                best, best_length = k, length
        if best < 0:  # collinear leftovers
            best = 0
        faces.append((ring[best - 1], ring[best], ring[(best + 1) % len(ring)]))
        del ring[best]
    faces.append((ring[0], ring[1], ring[2]))
    return np.array(faces, dtype=np.int64)


# ---------------------------------------------------------------- solids


def _ring(outline: np.ndarray, z: Number) -> np.ndarray:
    ring = np.empty((len(outline), 3))
    ring[:, :2] = outline
    ring[:, 2] = z
    return ring


def box(sx: Number, sy: Number, sz: Number, at: Sequence[Number] = (0.0, 0.0, 0.0)) -> Mesh:
    """A box of the given sizes whose bottom center lies at `at`; 12 faces."""
    x, y, z = at
    a, b, c, d, e = x - sx / 2.0, x + sx / 2.0, y - sy / 2.0, y + sy / 2.0, z + sz
    ring = ((a, c, z), (b, c, z), (b, d, z), (a, d, z), (a, c, e), (b, c, e), (b, d, e), (a, d, e))
    return Mesh(np.array(ring, dtype=np.float64), _loft_faces(2, 4, False, "flat", "flat"))


def stacked(
    outline: np.ndarray, levels: Sequence[tuple[Number, Number]], *, start: Cap = "flat", end: Cap = "flat"
) -> Mesh:
    """A convex `outline` (N, 2) lofted through (height, scale) `levels`, bottom to top."""
    rings = np.stack([_ring(outline * s, z) for z, s in levels])
    return loft(rings, start=start, end=end)


def prism(n: int, radius: Number, height: Number, *, top: Number = 1.0, z: Number = 0.0) -> Mesh:
    """An upright n-sided prism; `top` scales the upper ring to make a frustum, and 0 makes a pyramid."""
    outline = ngon(n, radius)
    if top <= 0.0:
        return loft(_ring(outline, z)[None], end=(0.0, 0.0, z + height))
    return stacked(outline, [(z, 1.0), (z + height, top)])


def taper(sx: Number, sy: Number, sz: Number, tx: Number, ty: Number, at: Sequence[Number] = (0.0, 0.0, 0.0)) -> Mesh:
    """A box whose top is `tx` by `ty`; bottom center at `at`."""
    rings = np.stack([_ring(rectangle(sx, sy), 0.0), _ring(rectangle(tx, ty), sz)])
    return move(loft(rings), *at)


def extrude(outline: np.ndarray, height: Number, z: Number = 0.0) -> Mesh:
    """A simple polygon (N, 2), concave allowed, either winding, as a solid from `z` to `z + height`."""
    x, y = outline.T
    if float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) < 0.0:
        outline = outline[::-1]
    n = len(outline)
    caps = ear_clip(outline)
    sides = _loft_faces(2, n, False, "open", "open")
    vertices = np.concatenate([_ring(outline, z), _ring(outline, z + height)])
    return Mesh(vertices, np.concatenate([caps[:, ::-1], sides, caps + n]))


def side_extrude(profile: np.ndarray, width: Number) -> Mesh:
    """A side view (N, 2) of (x, z) positions, extruded along y and centered on y = 0."""
    return stand(extrude(profile, width, -width / 2.0))


def tube(outer: np.ndarray, inner: np.ndarray, height: Number, z: Number = 0.0) -> Mesh:
    """A solid with a hole through it: two outlines of equal length, `inner` inside `outer`."""
    rings = [_ring(outer, z), _ring(outer, z + height), _ring(inner, z + height), _ring(inner, z)]
    return loft(np.stack(rings), closed=True)


def lathe(profile: Sequence[Sequence[Number]] | np.ndarray, n: int, *, phase: float | None = None) -> Mesh:
    """(radius, z) pairs, up along the outside, turned about z in `n` sides; an end radius of 0 is a pole."""
    points = np.asarray(profile, dtype=np.float64)
    start: Cap = "flat"
    end: Cap = "flat"
    if points[0, 0] <= 1e-9:
        start, points = (0.0, 0.0, float(points[0, 1])), points[1:]
    if points[-1, 0] <= 1e-9:
        end, points = (0.0, 0.0, float(points[-1, 1])), points[:-1]
    rings = np.empty((len(points), n, 3))
    rings[:, :, :2] = points[:, :1, None] * ngon(n, phase=phase)
    rings[:, :, 2] = points[:, 1:]
    return loft(rings, start=start, end=end)


def sphere(n: int, rows: int, radius: Number = 1.0) -> Mesh:
    """A UV sphere of `n` sides and `rows` bands, centered on the origin."""
    angle = np.linspace(-math.pi / 2.0, math.pi / 2.0, rows + 1)
    profile = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    profile[[0, -1], 0] = 0.0
    return lathe(profile, n)


def sweep(
    path: np.ndarray,
    section: np.ndarray,
    *,
    up: Sequence[Number] = (0.0, 0.0, 1.0),
    closed: bool = False,
    sizes: np.ndarray | None = None,
) -> Mesh:
    """`section` (N, 2) carried along `path` (R, 3) with mitred bends; `up` is never parallel to the path.

    The section's x axis lies along `up` x direction; `sizes` (R,) scales it on the way.
    """
    steps = np.roll(path, -1, axis=0) - path
    steps /= np.linalg.norm(steps, axis=1, keepdims=True) + 1e-12
    before = np.roll(steps, 1, axis=0)
    if not closed:
        before[0], steps[-1] = steps[0], steps[-2]
    tangent = before + steps
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    mitre = 1.0 / np.clip((tangent * before).sum(axis=1), 0.5, 1.0)
    side = np.cross(np.asarray(up, dtype=np.float64), tangent)
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-12
    second = np.cross(tangent, side)
    scale = np.ones(len(path)) if sizes is None else sizes
    rings = (
        path[:, None]
        + section[None, :, :1] * (side * (mitre * scale)[:, None])[:, None]
        + section[None, :, 1:] * (second * scale[:, None])[:, None]
    )
    return loft(rings, closed=closed)


def rod(a: Sequence[Number], b: Sequence[Number], radius: Number, n: int = 4, *, top: Number = 1.0) -> Mesh:
    """A straight bar of `n` sides from `a` to `b`; `top` scales the far end."""
    ends = np.array([a, b], dtype=np.float64)
    direction = np.abs(ends[1] - ends[0])
    up = (0.0, 1.0, 0.0) if direction[2] >= max(direction[0], direction[1]) else (0.0, 0.0, 1.0)
    return sweep(ends, ngon(n, radius), up=up, sizes=np.array([1.0, top]))
