# SPDX-License-Identifier: GPL-3.0-or-later
"""What a result remembers: its source and how it came about. So a second click finds the source again."""

from __future__ import annotations

from collections.abc import Iterable

import bpy
from bpy.props import FloatProperty, IntProperty, PointerProperty


class FlashMeshResult(bpy.types.PropertyGroup):
    """`object.flashmesh`: of an object that is a result. `number` is 0 for all others."""

    source: PointerProperty(type=bpy.types.Object)
    number: IntProperty()  # among the results of its source, from 1
    seed: IntProperty()
    wanted: IntProperty()
    distance: FloatProperty(default=-1.0)  # in shares of the source's size; negative: not known


def source_of(obj: bpy.types.Object) -> bpy.types.Object | None:
    """The object that a result was made from; None for what is no result, or whose source is gone."""
    source = obj.flashmesh.source if obj.flashmesh.number else None
    return source if source is not None and source.users_scene else None


def results_of(source: bpy.types.Object) -> list[bpy.types.Object]:
    """The results of an object that are in a scene, the oldest first."""
    found = [item for item in bpy.data.objects if item.flashmesh.number and item.flashmesh.source == source]
    return sorted((item for item in found if item.users_scene), key=lambda item: item.flashmesh.number)


def sources(objects: Iterable[bpy.types.Object]) -> list[bpy.types.Object]:
    """The objects, with the source in place of each result; each once."""
    return list(dict.fromkeys(source_of(item) or item for item in objects))


def show_only(context: bpy.types.Context, chosen: bpy.types.Object, others: Iterable[bpy.types.Object]) -> None:
    """Hides the others, shows and selects the chosen one."""
    layer = context.view_layer.objects
    for item in others:
        if item != chosen and layer.get(item.name) == item:
            item.hide_set(True)
    if layer.get(chosen.name) == chosen:
        chosen.hide_set(False)
        for item in context.selected_objects:
            item.select_set(False)
        chosen.select_set(True)
        layer.active = chosen


def register() -> None:
    """Registers what a result remembers."""
    bpy.utils.register_class(FlashMeshResult)
    bpy.types.Object.flashmesh = PointerProperty(type=FlashMeshResult)


def unregister() -> None:
    """Undoes register."""
    del bpy.types.Object.flashmesh
    bpy.utils.unregister_class(FlashMeshResult)
