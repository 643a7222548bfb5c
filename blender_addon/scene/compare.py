# SPDX-License-Identifier: GPL-3.0-or-later
"""The same number of faces by Blender's own Decimate, beside a result, so that anybody can judge."""

from __future__ import annotations

import bpy
import numpy as np

from . import mesh_bridge, variants

SUFFIX = "_decimate"
_ROUNDS = 4  # Decimate does not keep exactly to its ratio
_GAP = 0.2  # between the two, in shares of the source's width


def decimate_beside(context: bpy.types.Context, result: bpy.types.Object) -> bpy.types.Object:
    """A decimated copy of the source of `result` with as many triangles, to the right of it along the X axis.

    One that was made before is replaced, and the source, in which the result lies, is hidden. Raises ValueError where
    the source is gone or has no faces.
    """
    source = variants.source_of(result)
    if source is None:
        raise ValueError(f"{result.name!r} must have a source in the scene to decimate, got none")
    with mesh_bridge.shown(source, context):
        surface = mesh_bridge.read_surface(source, context.evaluated_depsgraph_get())
    if not len(surface.faces):
        raise ValueError(f"source {source.name!r} must have faces to decimate, got points alone")
    wanted = len(result.data.loops) - 2 * len(result.data.polygons)
    name = source.name + SUFFIX
    before = bpy.data.objects.get(name)
    mesh = mesh_bridge.mesh_from_arrays(name, surface.vertices, surface.faces, np.eye(4))
    if before is not None:
        old = before.data
        bpy.data.objects.remove(before)
        if old is not None and not old.users:
            bpy.data.meshes.remove(old)
    obj = bpy.data.objects.new(name, mesh)
    result.users_collection[0].objects.link(obj)
    _decimate(context, obj, wanted)
    smooth = float(np.mean(surface.smooth)) > 0.5  # as the result is shaded
    obj.data.polygons.foreach_set("use_smooth", np.full(len(obj.data.polygons), smooth))
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    obj.location.x = (1.0 + _GAP) * float(high[0] - low[0])
    if context.view_layer.objects.get(source.name) == source:
        source.hide_set(True)
        result.show_in_front = False
    return obj


def _decimate(context: bpy.types.Context, obj: bpy.types.Object, wanted: int) -> None:
    """Leaves about `wanted` triangles of an object of triangles, by the Decimate modifier, which is applied."""
    have = len(obj.data.polygons)
    modifier = obj.modifiers.new("Decimate", "DECIMATE")
    modifier.ratio = min(1.0, wanted / max(1, have))
    for _ in range(_ROUNDS):
        depsgraph = context.evaluated_depsgraph_get()
        got = len(obj.evaluated_get(depsgraph).data.polygons)
        if got <= wanted or got == have:
            break
        modifier.ratio *= wanted / got
    made = bpy.data.meshes.new_from_object(obj.evaluated_get(context.evaluated_depsgraph_get()))
    old, obj.data = obj.data, made
    made.name = obj.name
    obj.modifiers.remove(modifier)
    bpy.data.meshes.remove(old)
