# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a result once its triangles are there: snapped, shaded and coloured as its source."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree
from mathutils.kdtree import KDTree

from ..engine.request import RunSettings
from ..translations import tr
from .hard_edges import HardEdges, mark_hard_edges
from .mesh_bridge import Surface
from .quad_plan import QuadPlan, only_triangles
from .uv_maps import give_uvs


class SourceSearch:
    """The nearest place on a source, in world space: a transform may stretch one axis more than another.

    The tree is made when the first question comes: for 500,000 triangles that takes about a second.
    """

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._tree: BVHTree | KDTree | None = None

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For world-space `points` (N, 3) the nearest places on the source (N, 3), and its triangles there (N,).

        For a point cloud: its nearest vertices, and their indices.
        """
        center = self._center()
        places, numbers = np.array(points, dtype=np.float64), np.zeros(len(points), dtype=np.int64)
        for row, point in enumerate(np.asarray(points, dtype=np.float64) - center):
            place, number = self._find(point)
            if place is not None:
                places[row], numbers[row] = np.array(place) + center, number
        return places, numbers

    def places(self, points: np.ndarray) -> np.ndarray:
        """The places (N, 3) alone."""
        return self.nearest(points)[0]

    def _center(self) -> np.ndarray:
        """The trees hold float32: around the origin, wherever the object stands."""
        return (self._surface.vertices.min(axis=0) + self._surface.vertices.max(axis=0)) / 2.0

    def _find(self, point: np.ndarray):
        if self._tree is None:
            self._tree = self._make_tree()
        if isinstance(self._tree, BVHTree):
            place, _, number, _ = self._tree.find_nearest(point)
        else:
            place, number, _ = self._tree.find(point)
        return place, number

    def _make_tree(self) -> BVHTree | KDTree:
        vertices = self._surface.vertices - self._center()
        if len(self._surface.faces):
            return BVHTree.FromPolygons(vertices.tolist(), self._surface.faces.tolist(), all_triangles=True)
        tree = KDTree(len(vertices))
        for number, vertex in enumerate(vertices.tolist()):
            tree.insert(vertex, number)
        tree.balance()
        return tree


def finish_mesh(
    context: bpy.types.Context,
    obj: bpy.types.Object,
    world: np.ndarray,
    surface: Surface,
    settings: RunSettings,
    hard: HardEdges | None = None,
) -> tuple[str, QuadPlan | None]:
    """Gives the mesh of `obj` what its source has; what the artist should know of that, or '', and a plan of quads.

    It holds triangles, unfinished or not. `world` (4, 4) is the transform that the mesh is seen through, `hard` what
    Keep Hard Edges asks for. The plan is begun where quads are wanted; to be carried out is up to the caller.
    """
    said: list[str] = []
    mesh = obj.data
    search = SourceSearch(surface)
    if settings.snap:
        _snap(mesh, world, search)
    mesh.validate()
    if len(mesh.polygons):
        _copy_look(mesh, world, surface, search)
        if settings.transfer_uvs and context.mode == "OBJECT" and context.view_layer.objects.get(obj.name) == obj:
            said.append(give_uvs(context, obj, world, surface).text)
        if hard is not None:
            sharp, seams = mark_hard_edges(mesh, world, hard, surface.size)
            said.append(tr("{sharp} edges marked sharp, {seams} as seams", sharp=sharp, seams=seams))
    mesh.update()
    plan = None
    if settings.quads and only_triangles(mesh):
        plan = QuadPlan(mesh, world, search.places if len(surface.faces) else None)
    return "; ".join(said), plan


def _world_positions(mesh: bpy.types.Mesh, world: np.ndarray) -> np.ndarray:
    flat = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.attributes["position"].data.foreach_get("vector", flat)
    return flat.reshape(-1, 3).astype(np.float64) @ world[:3, :3].T + world[:3, 3]


def _snap(mesh: bpy.types.Mesh, world: np.ndarray, search: SourceSearch) -> None:
    """Moves every vertex to the nearest place on the source."""
    if not len(mesh.vertices):
        return
    places, _ = search.nearest(_world_positions(mesh, world))
    local = (places - world[:3, 3]) @ np.linalg.inv(world[:3, :3]).T
    mesh.attributes["position"].data.foreach_set("vector", np.ascontiguousarray(local, dtype=np.float32).reshape(-1))
    mesh.update()


def _copy_look(mesh: bpy.types.Mesh, world: np.ndarray, surface: Surface, search: SourceSearch) -> None:
    """Materials and smooth or flat shading, face by face where the source is not the same all over."""
    for name in surface.materials:
        mesh.materials.append(bpy.data.materials.get(name) if name else None)
    if not len(surface.faces):
        return
    index, smooth = surface.material_index, surface.smooth
    pick = np.zeros(len(mesh.polygons), dtype=np.int64)
    if (index != index[0]).any() or (smooth != smooth[0]).any():
        corners = np.empty(len(mesh.loops), dtype=np.int32)
        mesh.attributes[".corner_vert"].data.foreach_get("value", corners)
        centers = _world_positions(mesh, world)[corners.reshape(-1, 3)].mean(axis=1)
        pick = search.nearest(centers)[1]
    mesh.polygons.foreach_set("material_index", index[pick].astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", smooth[pick])
