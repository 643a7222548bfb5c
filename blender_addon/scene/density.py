# SPDX-License-Identifier: GPL-3.0-or-later
"""More faces where a vertex group is painted: the vertices that the engine is given are chosen by it."""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np
from mathutils import Matrix

from . import mesh_bridge
from .mesh_bridge import Surface

STRENGTH = 0.3  # of the group: twice to five times as many faces where it is painted full
_LEAST = 0.05  # influence of Decimate on what is painted full; at 0 it would keep every face there
_ROUNDS = 6  # Decimate does not keep exactly to its ratio


def denser_where_painted(
    context: bpy.types.Context, obj: bpy.types.Object, surface: Surface, group: str, faces: int
) -> Surface:
    """`surface`, read of `obj`, in at most `faces` triangles, more of them where its vertex group is painted.

    Made by Blender's Decimate, which knows vertex groups, on a copy that is gone afterwards. Raises ValueError where
    there is no such group, nothing is painted, or the source has no more triangles than are wanted.
    """
    if obj.type != "MESH" or group not in obj.vertex_groups:
        names = ", ".join(item.name for item in getattr(obj, "vertex_groups", ())) or "none"
        raise ValueError(f"density must be a vertex group of {obj.name!r}, which has {names}, got {group!r}")
    if len(surface.faces) <= faces:
        raise ValueError(
            f"object {obj.name!r} must have more triangles than the {faces:,} wanted faces for denser places, "
            f"got {len(surface.faces):,}"
        )
    depsgraph = context.evaluated_depsgraph_get()
    seen = obj.evaluated_get(depsgraph)
    mesh = bpy.data.meshes.new_from_object(seen, preserve_all_data_layers=True, depsgraph=depsgraph)
    copy = bpy.data.objects.new(f"{obj.name} density", mesh)
    try:
        _turn_weights(copy, obj, group)
        vertices, kept = _decimated(context, copy, seen.matrix_world, surface.size, faces)
        return replace(surface, vertices=vertices, faces=kept)
    finally:
        bpy.data.objects.remove(copy)
        bpy.data.meshes.remove(mesh)


def _turn_weights(copy: bpy.types.Object, obj: bpy.types.Object, group: str) -> None:
    """Makes of the copy's `group` what Decimate asks for: much influence where nothing is painted."""
    if group not in copy.vertex_groups:
        for item in obj.vertex_groups:
            copy.vertex_groups.new(name=item.name)
    turned = copy.vertex_groups[group]
    painted = np.zeros(len(copy.data.vertices))
    for vertex in copy.data.vertices:
        painted[vertex.index] = max((part.weight for part in vertex.groups if part.group == turned.index), default=0.0)
    if not painted.any():
        raise ValueError(f"vertex group {group!r} of {obj.name!r} must be painted somewhere, got no weight above 0")
    for number, weight in enumerate(painted.tolist()):
        turned.add([number], 1.0 - (1.0 - _LEAST) * weight, "REPLACE")
    modifier = copy.modifiers.new("Density", "DECIMATE")
    modifier.use_collapse_triangulate = True
    modifier.vertex_group, modifier.vertex_group_factor = group, STRENGTH


def _decimated(
    context: bpy.types.Context, copy: bpy.types.Object, matrix: Matrix, size: float, faces: int
) -> tuple[np.ndarray, np.ndarray]:
    """`vertices` (V, 3) in world space and `faces` (F, 3) of the copy, decimated at size 1: STRENGTH is absolute."""
    middle = Matrix.Translation(-matrix.translation)
    copy.data.transform(Matrix.Scale(1.0 / size, 4) @ middle @ matrix)
    context.scene.collection.objects.link(copy)
    modifier = copy.modifiers[0]
    modifier.ratio = faces / max(1, len(copy.data.loops) - 2 * len(copy.data.polygons))
    for _ in range(_ROUNDS):
        vertices, kept = mesh_bridge.evaluated_triangles(copy, context.evaluated_depsgraph_get())
        if len(kept) <= faces:
            break
        modifier.ratio *= 0.995 * faces / len(kept)
    if matrix.determinant() < 0.0:  # turned inside out by the transform of its data
        kept = kept[:, ::-1]
    return vertices * size + np.array(matrix.translation), kept
