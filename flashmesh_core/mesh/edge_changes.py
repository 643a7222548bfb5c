"""Edges of a mesh in pairs taken away, cut in two or turned, where that leaves it whole and its surface in place."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from flashmesh_core.mesh.pairing import PairedMesh
from flashmesh_core.mesh.plain_vectors import Vector, area, cross, dot, edges_of, in_order, minus, plus, third, unit

_FOLD = -0.5  # cosine between two faces that meet at an edge: below it they are folded onto each other
_FLAT = math.cos(math.radians(20.0))  # of two triangles whose edge is turned
_PULL = 1e-3  # half-way between two vertices, against the planes around them


def join_vertices(mesh: PairedMesh, gone: int, stays: int, place: Vector | None = None) -> bool:
    """Takes the edge from `gone` to `stays` away, with its two faces; whether that could be done.

    With a `place` both become a new vertex there. Where it could not be done `mesh` is to be undone.
    """
    fan = mesh.around[gone]
    moving = fan if place is None else fan | mesh.around[stays]
    if moving & mesh.fixed or not _is_ring(mesh, gone) or (place is not None and not _is_ring(mesh, stays)):
        return False
    dead = {face for face in fan if stays in mesh.faces[face]}
    tips = {third(mesh.faces[face], gone, stays) for face in dead}
    if len(dead) != 2 or _neighbors(mesh, gone) & _neighbors(mesh, stays) != tips:
        return False
    held = _held(mesh, gone)
    if place is None and held and not _runs_on(mesh, gone, stays, held - tips):
        return False
    if place is not None and (held or _held(mesh, stays)):
        return False
    sharpest, ends = _sharpest(mesh, moving), {gone, stays}
    reached = stays if place is None else mesh.fresh_vertex(place)
    new = [
        (face, tuple(reached if corner in ends else corner for corner in mesh.faces[face]))
        for face in sorted(moving - dead)
    ]
    if not mesh.replace(sorted(moving), new) or _sharpest(mesh, [face for face, _ in new]) < min(sharpest, _FOLD):
        return False
    for end in held:
        kept = in_order(gone, end) in mesh.kept
        mesh.keep((gone, end), False)
        if end != stays and kept:
            mesh.keep((stays, end), True)
    mesh.steps.append(("join" if place is None else "merge", gone, stays))
    return True


def cut_edge(mesh: PairedMesh, a: int, b: int, place: Vector) -> bool:
    """Puts a vertex at `place` into an edge, and cuts its two faces there; whether that could be done."""
    sides = mesh.owner.get((a, b), -1), mesh.owner.get((b, a), -1)
    if min(sides) < 0 or mesh.fixed & {*sides}:
        return False
    middle = mesh.fresh_vertex(place)
    new = []
    for face, (start, end) in zip(sides, ((a, b), (b, a)), strict=True):
        tip = third(mesh.faces[face], a, b)
        new += [(face, (start, middle, tip)), (mesh.fresh_face(), (middle, end, tip))]
    sharpest = _sharpest(mesh, sides)
    if not mesh.replace(sides, new, [sides[0], sides[0], sides[1], sides[1]]):
        return False
    if _sharpest(mesh, [face for face, _ in new]) < min(sharpest, _FOLD):
        return False
    if in_order(a, b) in mesh.kept:
        mesh.keep((a, b), False)
        mesh.keep((a, middle), True)
        mesh.keep((middle, b), True)
    mesh.steps.append(("cut", a, b))
    return True


def turn_edge(mesh: PairedMesh, a: int, b: int) -> bool:
    """Cuts the quad around an edge along its other diagonal; whether that could be done."""
    here, there = mesh.owner.get((a, b), -1), mesh.owner.get((b, a), -1)
    if min(here, there) < 0 or mesh.fixed & {here, there} or in_order(a, b) in mesh.kept:
        return False
    if mesh.groups[here] != mesh.groups[there]:
        return False
    one, other = third(mesh.faces[here], a, b), third(mesh.faces[there], a, b)
    if one == other or (one, other) in mesh.owner or (other, one) in mesh.owner:
        return False
    normals = [area(*(mesh.places[corner] for corner in face)) for face in (mesh.faces[here], mesh.faces[there])]
    normal = plus(*normals)
    if any(dot(area(*(mesh.places[c] for c in face)), normal) <= 0.0 for face in ((a, other, one), (other, b, one))):
        return False
    if dot(unit(normals[0]), unit(normals[1])) < _FLAT:
        return False
    if not mesh.replace([here, there], [(here, (a, other, one)), (there, (other, b, one))]):
        return False
    mesh.steps.append(("turn", a, b))
    return True


def best_place(mesh: PairedMesh, a: int, b: int) -> Vector:
    """Where the planes of the faces at two vertices are nearest (least squares, by area); where free, half-way."""
    x, y, z = plus(mesh.places[a], mesh.places[b])
    middle = (x / 2.0, y / 2.0, z / 2.0)
    areas = {face: area(*(mesh.places[c] for c in mesh.faces[face])) for face in mesh.around[a] | mesh.around[b]}
    matrix, side = np.zeros((3, 3)), np.zeros(3)
    for face, normal in areas.items():
        size, facing = math.sqrt(dot(normal, normal)), unit(normal)
        n = np.array(facing)
        matrix += size * np.outer(n, n)
        side += size * n * dot(facing, minus(mesh.places[mesh.faces[face][0]], middle))
    pull = _PULL * np.trace(matrix) + 1e-300
    x, y, z = (np.array(middle) + np.linalg.solve(matrix + pull * np.eye(3), side)).tolist()
    return x, y, z


def _is_ring(mesh: PairedMesh, vertex: int) -> bool:
    """Whether the faces at a vertex are one closed fan."""
    following: dict[int, int] = {}
    for face in mesh.around[vertex]:
        corners = mesh.faces[face]
        k = corners.index(vertex)
        following[corners[(k + 1) % 3]] = corners[(k + 2) % 3]
    if len(following) < 3 or len(following) != len(mesh.around[vertex]):
        return False
    start = at = next(iter(following))
    for count in range(1, len(following) + 1):
        at = following.get(at, -1)
        if at == start:
            return count == len(following)
    return False


def _held(mesh: PairedMesh, vertex: int) -> set[int]:
    """The other ends of a vertex's edges that are kept or lie between groups."""
    found = set()
    for face in mesh.around[vertex]:
        for a, b in edges_of(mesh.faces[face]):
            if a == vertex:
                other = mesh.owner[b, a]
                if in_order(a, b) in mesh.kept or mesh.groups[other] != mesh.groups[face]:
                    found.add(b)
    return found


def _runs_on(mesh: PairedMesh, gone: int, stays: int, held: set[int]) -> bool:
    """Whether edges that are kept go on straight through a vertex, from `stays` to another one."""
    if len(held) != 2 or stays not in held:
        return False
    (end,) = held - {stays}
    along, off = minus(mesh.places[end], mesh.places[stays]), minus(mesh.places[gone], mesh.places[stays])
    share = dot(along, off) / (dot(along, along) or 1.0)
    far = cross(along, off)
    return 0.0 < share < 1.0 and dot(far, far) <= mesh.limit**2 * dot(along, along)


def _neighbors(mesh: PairedMesh, vertex: int) -> set[int]:
    return {corner for face in mesh.around[vertex] for corner in mesh.faces[face]} - {vertex}


def _sharpest(mesh: PairedMesh, faces: Iterable[int]) -> float:
    """The smallest cosine between one of `faces` and a neighbor."""
    found = 1.0
    for face in faces:
        normal = unit(area(*(mesh.places[corner] for corner in mesh.faces[face])))
        for a, b in edges_of(mesh.faces[face]):
            other = mesh.owner.get((b, a), -1)
            if other >= 0:
                found = min(found, dot(normal, unit(area(*(mesh.places[corner] for corner in mesh.faces[other])))))
    return found
