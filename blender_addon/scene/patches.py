# SPDX-License-Identifier: GPL-3.0-or-later
"""Selected faces alone are made anew: the engine is given them, and its mesh is welded into the rest of the source."""

from __future__ import annotations

from dataclasses import dataclass

import bmesh
import bpy
import numpy as np
from mathutils.kdtree import KDTree

from . import mesh_bridge
from .mesh_bridge import Surface

NEAR = 4.0 / 128.0  # of the part's size: how far from the rest's border a border of the new part may lie
LEAST = 4  # faces that must be selected


@dataclass(frozen=True, eq=False)
class Patch:
    """The selected faces of a mesh object, without its modifiers."""

    name: str
    whole: Surface  # the object's own mesh, all of it
    part: Surface  # its selected faces
    selected: np.ndarray  # (S,) numbers of faces
    polygons: int  # of the object's mesh when it was read

    def weld(self, obj: bpy.types.Object, source: bpy.types.Object | None) -> Welded:
        """Makes of the result `obj`, which holds the new part, the whole: the rest of the source with it.

        Raises ValueError where the source is not what it was.
        """
        if source is None or source.type != "MESH" or len(source.data.polygons) != self.polygons:
            raise ValueError(f"{self.name!r} was changed meanwhile, so that the new part cannot be welded to it")
        part, faces = obj.data, [len(face.vertices) for face in obj.data.polygons]
        whole = source.data.copy()
        work = bmesh.new()
        try:
            work.from_mesh(whole)
            border = _cut_out(work, self.selected)
            rest = set(work.verts)  # new ones take the places of those that are gone
            work.from_mesh(part)
            new = [vertex for vertex in work.verts if vertex not in rest]
            left = _weld(work, border, new, NEAR * self.part.size)
            work.to_mesh(whole)
        finally:
            work.free()
        whole.update()
        obj.data, whole.name = whole, part.name
        bpy.data.meshes.remove(part)
        return Welded(len(faces), faces.count(4), sum(faces) - 2 * len(faces), len(border), left)


@dataclass(frozen=True)
class Welded:
    """The new part in numbers, and what became of the edges along its border."""

    faces: int
    quads: int
    triangles: int
    border: int
    left: int  # that are open still


def read_patch(obj: bpy.types.Object) -> Patch:
    """The faces of a mesh object that are selected (in Edit Mode, or when it was left).

    Raises ValueError for other objects, and where fewer than LEAST faces or all of them are selected.
    """
    if obj.type != "MESH":
        raise ValueError(f"object {obj.name!r} must be a mesh for some of its faces to be made anew, got {obj.type}")
    chosen = np.zeros(len(obj.data.polygons), dtype=bool)
    obj.data.polygons.foreach_get("select", chosen)
    count = int(chosen.sum())
    if not LEAST <= count < len(chosen):
        raise ValueError(f"{obj.name!r} must have {LEAST} to {len(chosen) - 1} of its faces selected, got {count}")
    whole = mesh_bridge.read_own(obj)
    obj.data.calc_loop_triangles()
    owner = np.empty(len(obj.data.loop_triangles), dtype=np.int32)
    obj.data.loop_triangles.foreach_get("polygon_index", owner)
    kept = chosen[owner] if len(owner) == len(whole.faces) else chosen
    used, rows = np.unique(whole.faces[kept], return_inverse=True)
    part = Surface(
        obj.name, whole.matrix, whole.vertices[used], rows.reshape(-1, 3), whole.materials,
        whole.material_index[kept], whole.smooth[kept],
    )  # fmt: skip
    return Patch(obj.name, whole, part, np.flatnonzero(chosen), len(chosen))


def _cut_out(work: bmesh.types.BMesh, selected: np.ndarray) -> list[bmesh.types.BMEdge]:
    """Removes faces; the edges between them and those that stay."""
    work.faces.ensure_lookup_table()
    gone = {work.faces[number] for number in selected.tolist()}
    border = [edge for edge in work.edges if 0 < sum(face in gone for face in edge.link_faces) < len(edge.link_faces)]
    bmesh.ops.delete(work, geom=list(gone), context="FACES")
    return border


def _weld(work: bmesh.types.BMesh, border: list[bmesh.types.BMEdge], new: list[bmesh.types.BMVert], near: float) -> int:
    """Moves the border of the `new` vertices onto that of the rest, splits it where that has more vertices, welds both.

    How many edges of the border have one face only in the end.
    """
    chain = _Chain(border)
    targets: dict[bmesh.types.BMVert, bmesh.types.BMVert] = {}
    for vertex in new:
        found = chain.nearest(vertex.co, near) if vertex.is_boundary else None
        if found is not None:
            targets[vertex] = found
    mine = {edge for vertex in targets for edge in vertex.link_edges if edge.is_boundary}
    for edge in mine:
        start, end = edge.verts
        if start in targets and end in targets and targets[start] != targets[end]:
            _split(edge, start, chain.between(targets[start], targets[end]), targets)
    for vertex, target in targets.items():
        vertex.co = target.co
    crowded = [face for vertex in targets for face in vertex.link_faces if len(face.verts) > 4]
    if crowded:
        bmesh.ops.triangulate(work, faces=list(dict.fromkeys(crowded)))
    bmesh.ops.weld_verts(work, targetmap=targets)
    opened = [edge for edge in chain.alive() if edge.is_boundary]
    if opened:
        around = set(opened) | {
            edge for edge in work.edges if edge.is_boundary and any(vertex in chain for vertex in edge.verts)
        }
        made = bmesh.ops.holes_fill(work, edges=list(around), sides=0)["faces"]
        bmesh.ops.triangulate(work, faces=[face for face in made if len(face.verts) > 4])
    return sum(edge.is_boundary for edge in chain.alive())


def _split(
    edge: bmesh.types.BMEdge,
    start: bmesh.types.BMVert,
    inner: list[bmesh.types.BMVert],
    targets: dict[bmesh.types.BMVert, bmesh.types.BMVert],
) -> None:
    """Puts a vertex for each `inner` one of the rest into an edge, from `start` on; a triangle becomes a fan."""
    (face,) = edge.link_faces
    tip = (
        next((loop.vert for loop in face.loops if loop.vert not in edge.verts), None) if len(face.verts) == 3 else None
    )
    here, added = start, []
    for count, target in enumerate(inner):
        edge, vertex = bmesh.utils.edge_split(edge, here, 1.0 / (len(inner) - count + 1))
        edge = next(item for item in vertex.link_edges if here not in item.verts and item.is_boundary)
        targets[vertex] = target
        added.append(vertex)
        here = vertex
    for vertex in added if tip is not None else ():
        shared = next(item for item in vertex.link_faces if tip in item.verts)
        if len(shared.verts) > 3:
            bmesh.utils.face_split(shared, vertex, tip)


class _Chain:
    """The border of the rest: its vertices and the ways along its edges."""

    def __init__(self, edges: list[bmesh.types.BMEdge]) -> None:
        self._edges = edges
        self._next: dict[bmesh.types.BMVert, list[bmesh.types.BMVert]] = {}
        for edge in edges:
            a, b = edge.verts
            self._next.setdefault(a, []).append(b)
            self._next.setdefault(b, []).append(a)
        self._vertices = list(self._next)
        self._tree = KDTree(len(self._vertices))
        for number, vertex in enumerate(self._vertices):
            self._tree.insert(vertex.co, number)
        self._tree.balance()

    def __contains__(self, vertex: bmesh.types.BMVert) -> bool:
        return vertex in self._next

    def alive(self) -> list[bmesh.types.BMEdge]:
        """The edges that are there still."""
        return [edge for edge in self._edges if edge.is_valid]

    def nearest(self, place: np.ndarray, near: float) -> bmesh.types.BMVert | None:
        """The vertex nearest to a place, if it is so near."""
        if not self._vertices:
            return None
        _, number, distance = self._tree.find(place)
        reach = max(
            near, *((self._vertices[number].co - other.co).length for other in self._next[self._vertices[number]])
        )
        return self._vertices[number] if distance <= reach else None

    def between(self, start: bmesh.types.BMVert, end: bmesh.types.BMVert) -> list[bmesh.types.BMVert]:
        """The vertices on the shorter way from one vertex to another; none where no way leads there."""
        best: list[bmesh.types.BMVert] = []
        shortest = float("inf")
        for first in self._next[start]:
            way, length, before, here = [], (first.co - start.co).length, start, first
            while here != end and length < shortest:
                way.append(here)
                following = [item for item in self._next[here] if item != before]
                if len(following) != 1 or here == start:
                    length = float("inf")
                    break
                before, here = here, following[0]
                length += (here.co - before.co).length
            if length < shortest:
                best, shortest = way, length
        return best
