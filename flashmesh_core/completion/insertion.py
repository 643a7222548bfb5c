"""Faces that the model wrote put into a mesh by turning edges: the mesh stays closed, and over its old surface."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.plain_vectors import Edge, Vector, cross, dot, edges_of, minus, unit

Face = tuple[int, int, int]

MOST_CROSSED = 24  # edges between two vertices that are to be joined
TURNS = 4  # times as many turns of edges as are crossed, at most
ALIKE = 0.7  # cosine of a face's normal to that of the face which is put in
FLAT = 1e-3  # share of the squared longest side below which twice an area counts as none
PLACES = (
    np.array([[1, 1, 1], [1.5, 1.5, 0], [0, 1.5, 1.5], [1.5, 0, 1.5], [2, 0.5, 0.5], [0.5, 2, 0.5], [0.5, 0.5, 2]])
    / 3.0
)  # of a face, whose distances tell how far it lies off


def lie_near(triangles: np.ndarray, tree: TriangleTree, tolerance: float) -> bool:
    """Whether `triangles` (T, 3, 3) lie within `tolerance` of the surface of `tree`."""
    places = np.einsum("pc,fcx->fpx", PLACES, triangles).reshape(-1, 3)
    return bool((tree.distance(places) <= tolerance).all())


def insert_faces(
    faces: list[Face],
    wanted: Iterable[Face],
    locked: Iterable[Face],
    positions: dict[int, np.ndarray],
    tree: TriangleTree,
    tolerance: float,
) -> list[Face]:
    """`faces` with as many of the `wanted` among them as turning edges can bring in, earlier ones first.

    No edge of a `locked` face or of one that was put in is turned. All that changes lies within `tolerance` of the
    surface of `tree`. Faces come back from their lowest vertex on; as they are where an edge has two on one side.
    """
    mesh = _Mesh(faces, positions)
    if len(mesh.third) < 3 * len(faces):
        return faces
    mesh.lock(locked)
    for face in wanted:
        if all(vertex in mesh.around for vertex in face):
            _insert(mesh, face, tree, tolerance)
    return mesh.faces()


class _Mesh:
    """Faces by their directed edges, edges that may not turn any more, and the turns made since a mark."""

    def __init__(self, faces: list[Face], positions: dict[int, np.ndarray]) -> None:
        self.third: dict[Edge, int] = {}
        self.around: dict[int, set[int]] = {}  # the vertices that edges lead to
        self.locked: set[Edge] = set()
        self.turned: list[Edge] = []
        self.positions = {vertex: (float(x), float(y), float(z)) for vertex, (x, y, z) in positions.items()}
        for face in faces:
            for (a, b), c in zip(edges_of(face), (face[2], face[0], face[1]), strict=True):
                self.third[a, b] = c
                self.around.setdefault(a, set()).add(b)
                self.around.setdefault(b, set()).add(a)

    def faces(self) -> list[Face]:
        """Each face once, from its lowest vertex on."""
        return [(a, b, c) for (a, b), c in self.third.items() if a < b and a < c]

    def lock(self, faces: Iterable[Face]) -> None:
        """Let the edges of these faces stay."""
        for face in faces:
            for a, b in edges_of(face):
                self.locked |= {(a, b), (b, a)}

    def turn(self, edge: Edge) -> Edge:
        """Replace an inner edge p, q by the edge u, v between the corners opposite to it; u, v is given."""
        p, q = edge
        u, v = self.third.pop((p, q)), self.third.pop((q, p))
        for a, b, c in ((u, p, v), (v, q, u)):
            self.third[a, b], self.third[b, c], self.third[c, a] = c, a, b
        self.around[p].discard(q)
        self.around[q].discard(p)
        self.around[u].add(v)
        self.around[v].add(u)
        self.turned.append((u, v))
        return u, v

    def undo(self) -> None:
        """Take back all turns since the mark."""
        turned, self.turned = self.turned, []
        for edge in reversed(turned):
            self.turn(edge)
        self.turned = []


def _insert(mesh: _Mesh, face: Face, tree: TriangleTree, tolerance: float) -> bool:
    """Bring a face in, or leave the mesh as it was."""
    flat = _Plane(face, mesh.positions)
    if flat.is_flat:
        return False
    mesh.turned = []
    locked: set[Edge] = set()
    for a, b in edges_of(face):
        if not _join(mesh, a, b, flat, tolerance):
            break
        locked |= {(a, b), (b, a)} - mesh.locked
        mesh.locked |= locked
    else:
        if mesh.third.get((face[0], face[1])) == face[2] and _is_near(mesh, tree, tolerance):
            return True
    mesh.locked -= locked
    mesh.undo()
    return False


class _Plane:
    """Positions seen along the normal of a face."""

    def __init__(self, face: Face, positions: dict[int, Vector]) -> None:
        self.positions = positions
        area, longest = self._area(*face)
        self.is_flat = math.sqrt(dot(area, area)) <= FLAT * longest
        self.normal = unit(area)

    def _area(self, a: int, b: int, c: int) -> tuple[Vector, float]:
        """The normal of a, b, c, twice its area long, and the square of the longest side."""
        u, v = minus(self.positions[b], self.positions[a]), minus(self.positions[c], self.positions[a])
        w = minus(v, u)
        return cross(u, v), max(dot(u, u), dot(v, v), dot(w, w))

    def side(self, a: int, b: int, c: int) -> float:
        """Twice the area of a, b, c as seen: positive counterclockwise, 0 where they are nearly in line."""
        area, longest = self._area(a, b, c)
        seen = dot(area, self.normal)
        return seen if abs(seen) > FLAT * longest else 0.0

    def faces_it(self, a: int, b: int, c: int) -> bool:
        """Whether a face looks about the same way."""
        area, _ = self._area(a, b, c)
        return dot(area, self.normal) > ALIKE * math.sqrt(dot(area, area))


def _join(mesh: _Mesh, a: int, b: int, flat: _Plane, tolerance: float) -> bool:
    """Turn edges until one leads from a to b; whether it does."""
    if (a, b) in mesh.third:
        return True
    if b in mesh.around[a]:
        return False
    crossed = _crossed(mesh, a, b, flat)
    for _ in range(TURNS * len(crossed)):
        if not crossed:
            break
        p, q = crossed.pop(0)
        u, v = mesh.third[p, q], mesh.third[q, p]
        if not _may_turn(mesh, p, q, u, v, flat, tolerance):
            crossed.append((p, q))
            continue
        mesh.turn((p, q))
        if {u, v} != {a, b} and flat.side(a, b, u) * flat.side(a, b, v) < 0.0:
            crossed.append((u, v))
    return (a, b) in mesh.third


def _crossed(mesh: _Mesh, a: int, b: int, flat: _Plane) -> list[Edge]:
    """The edges between a and b, the nearest to a first; none where the way is barred."""
    for p in mesh.around[a]:
        q = mesh.third.get((a, p))
        if q is not None and flat.faces_it(a, p, q) and flat.side(a, b, p) < 0.0 < flat.side(a, b, q):
            break
    else:
        return []
    found: list[Edge] = []
    while len(found) < MOST_CROSSED:
        found.append((p, q))
        r = mesh.third.get((q, p))
        if (p, q) in mesh.locked or r is None or not flat.faces_it(q, p, r):
            return []
        if r == b:
            return found
        side = flat.side(a, b, r)
        if side == 0.0:
            return []
        p, q = (r, q) if side < 0.0 else (p, r)
    return []


def _may_turn(mesh: _Mesh, p: int, q: int, u: int, v: int, flat: _Plane, tolerance: float) -> bool:
    """Whether the edge p, q may become u, v: no fold, no second edge there, and not far off the old surface."""
    if v in mesh.around[u] or min(flat.side(u, p, v), flat.side(v, q, u)) <= 0.0:
        return False
    if not (flat.faces_it(u, p, v) and flat.faces_it(v, q, u)):
        return False
    at = mesh.positions
    across = cross(minus(at[q], at[p]), minus(at[v], at[u]))
    return abs(dot(minus(at[u], at[p]), across)) <= tolerance * max(math.sqrt(dot(across, across)), 1e-12)


def _is_near(mesh: _Mesh, tree: TriangleTree, tolerance: float) -> bool:
    """Whether the faces beside all turned edges that are still there lie on the surface."""
    corners = [
        [mesh.positions[w] for w in (a, b, mesh.third[a, b])]
        for u, v in mesh.turned
        for a, b in ((u, v), (v, u))
        if (a, b) in mesh.third
    ]
    return not corners or lie_near(np.array(corners), tree, tolerance)
