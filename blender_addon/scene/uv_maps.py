# SPDX-License-Identifier: GPL-3.0-or-later
"""A UV map for a result: the source's, cut at the borders of its islands, or one unwrapped anew."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree

from flashmesh_core.mesh.topology import component_labels

from ..translations import tr
from .mesh_bridge import Surface, mesh_arrays, transform_triangles

NEAR = 0.02  # of the source's size: places of it this much farther than the nearest one are looked at too
MARGIN = 0.02  # between unwrapped islands
_SAME = 1e-4  # UV coordinates that differ by less are one


@dataclass(frozen=True)
class UVResult:
    """What became of the UV map."""

    seams: int
    anew: bool  # unwrapped, since the source has none

    @property
    def text(self) -> str:
        """One line for the artist."""
        if self.anew:
            return tr("UVs unwrapped anew, since the source has no UV map; {count} seams cut", count=self.seams)
        return tr("UVs taken from the source; {count} seams cut", count=self.seams)


def give_uvs(context: bpy.types.Context, obj: bpy.types.Object, world: np.ndarray, surface: Surface) -> UVResult:
    """Gives the result `obj`, triangles seen through `world` (4, 4), a UV map and marks its seams."""
    if surface.uvs is None or not len(surface.faces):
        unwrap(context, obj)
        return UVResult(mark_seams(obj.data), True)
    local, faces = mesh_arrays(obj.data)
    vertices, turned = transform_triangles(local, faces, world)
    flipped = len(faces) > 0 and turned[0, 0] != faces[0, 0]
    uvs = _Source(surface, surface.uvs).transferred(vertices[turned])
    if flipped:
        uvs = uvs[:, ::-1]
    layer = obj.data.uv_layers.new(name=surface.uv_name)
    layer.uv.foreach_set("vector", np.ascontiguousarray(uvs, dtype=np.float32).reshape(-1))
    return UVResult(mark_seams(obj.data), False)


def unwrap(context: bpy.types.Context, obj: bpy.types.Object) -> None:
    """A new UV map by Blender's Smart UV Project; selection and active object stay."""
    layer = context.view_layer
    selected, active = list(context.selected_objects), layer.objects.active
    for item in selected:
        item.select_set(False)
    obj.select_set(True)
    layer.objects.active = obj
    try:
        if not obj.data.uv_layers:
            obj.data.uv_layers.new(name="UVMap")
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(island_margin=MARGIN)
        bpy.ops.object.mode_set(mode="OBJECT")
    finally:
        obj.select_set(obj in selected)
        for item in selected:
            item.select_set(True)
        layer.objects.active = active


def mark_seams(mesh: bpy.types.Mesh) -> int:
    """Marks the edges where the UV map is cut; how many there are."""
    layer = mesh.uv_layers.active
    if layer is None:
        return 0
    uvs = np.empty(2 * len(mesh.loops), dtype=np.float32)
    layer.uv.foreach_get("vector", uvs)
    uvs = uvs.reshape(-1, 2)
    edge_of, vertex_of = np.empty(len(mesh.loops), dtype=np.int32), np.empty(len(mesh.loops), dtype=np.int32)
    mesh.attributes[".corner_edge"].data.foreach_get("value", edge_of)
    mesh.attributes[".corner_vert"].data.foreach_get("value", vertex_of)
    seen: dict[int, dict[int, np.ndarray]] = {}
    cut: set[int] = set()
    for face in mesh.polygons:
        loops = list(face.loop_indices)
        for here, there in zip(loops, [*loops[1:], loops[0]], strict=True):
            ends = {int(vertex_of[here]): uvs[here], int(vertex_of[there]): uvs[there]}
            known = seen.setdefault(int(edge_of[here]), ends)
            if known is not ends and any(np.abs(known[v] - ends[v]).max() > _SAME for v in ends):
                cut.add(int(edge_of[here]))
    for edge in cut:
        mesh.edges[edge].use_seam = True
    return len(cut)


class _Source:
    """The UV map of a source, asked for by places in the scene."""

    def __init__(self, surface: Surface, uvs: np.ndarray) -> None:
        low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
        self._middle, self._size = (low + high) / 2.0, max(float((high - low).max()), 1e-12)
        vertices = (surface.vertices - self._middle) / self._size
        self._corners, self._uvs = vertices[surface.faces], uvs.astype(np.float64)
        self._middles = self._uvs.mean(axis=1)
        self._tree = BVHTree.FromPolygons(vertices.tolist(), surface.faces.tolist(), all_triangles=True)
        self._islands = _islands(surface.faces, uvs)

    def transferred(self, corners: np.ndarray) -> np.ndarray:
        """The UV coordinates (F, 3, 2) of triangles `corners` (F, 3, 3): each lies on one island, and on one side."""
        corners = (corners - self._middle) / self._size
        out = np.zeros((len(corners), 3, 2))
        for row, triangle in enumerate(corners):
            _, _, number, _ = self._tree.find_nearest(triangle.mean(axis=0))
            for k in range(3) if number is not None else ():
                out[row, k] = self._at(triangle[k], number)
        return out

    def _at(self, place: np.ndarray, center: int) -> np.ndarray:
        """At a corner of a face whose middle lies on the triangle `center`: what continues the map from there."""
        expected = self._weights(place, center) @ self._uvs[center]
        room = 0.5 * float(np.abs(expected - self._middles[center]).sum()) + _SAME
        near = self._tree.find_nearest_range(place, self._tree.find_nearest(place)[3] + NEAR)
        for found, _, number, _ in sorted(near, key=lambda one: one[3]):
            if self._islands[number] == self._islands[center]:
                uv = self._weights(np.array(found), number) @ self._uvs[number]
                if np.abs(uv - expected).sum() <= room:  # else it is the other side of a cut
                    return uv
        return expected

    def _weights(self, place: np.ndarray, number: int) -> np.ndarray:
        """Barycentric coordinates (3,) of the foot of a place in the plane of a triangle."""
        a, b, c = self._corners[number]
        along, across, off = b - a, c - a, place - a
        gram = np.array([[along @ along, along @ across], [along @ across, across @ across]])
        if abs(np.linalg.det(gram)) < 1e-18:
            return np.array([1.0, 0.0, 0.0])
        v, w = np.linalg.solve(gram, [off @ along, off @ across])
        return np.array([1.0 - v - w, v, w])


def _islands(faces: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """The number (F,) of each triangle's island: those joined by edges that have the same UVs on both sides."""
    rounded = np.round(uvs.reshape(-1, 2) / _SAME).astype(np.int64)
    rows = np.concatenate([faces.reshape(-1, 1), rounded], axis=1)
    corners = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1, 3)
    half_edges = np.stack([corners, np.roll(corners, -1, axis=1)], axis=2).reshape(-1, 2)
    _, edge = np.unique(np.sort(half_edges, axis=1), axis=0, return_inverse=True)
    order = np.argsort(edge.reshape(-1), kind="stable")
    ordered = edge.reshape(-1)[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    return component_labels(len(faces), np.stack([order[same], order[same + 1]], axis=1) // 3)
