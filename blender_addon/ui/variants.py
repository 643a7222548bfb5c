# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of one source beside each other: click to compare, keep one, or look at what Decimate makes."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from ..scene import compare, session, variants
from ..scene.results import remove_object


def shown_source(context: bpy.types.Context) -> bpy.types.Object | None:
    """The source that the active object is, or was made from."""
    active = context.active_object
    return None if active is None else variants.source_of(active) or active


class _ResultOperator:
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012
    result: StringProperty(name="Result", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether objects may be changed now."""
        return session.active is None and context.mode == "OBJECT"

    def found(self, context: bpy.types.Context) -> tuple[bpy.types.Object, list[bpy.types.Object]]:
        """The named result and all of its source; ValueError where it is gone."""
        obj = context.scene.objects.get(self.result)
        if obj is None or not obj.flashmesh.number:
            raise ValueError(f"result must be the name of a result in this scene, got {self.result!r}")
        source = obj.flashmesh.source
        return obj, variants.results_of(source) if source is not None else [obj]


class FLASHMESH_OT_show_result(_ResultOperator, bpy.types.Operator):
    """Show this result and hide the others of the same object"""

    bl_idname = "flashmesh.show_result"
    bl_label = "Show Result"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Shows one and selects it."""
        try:
            chosen, others = self.found(context)
        except ValueError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        variants.show_only(context, chosen, others)
        return {"FINISHED"}


class FLASHMESH_OT_keep_result(_ResultOperator, bpy.types.Operator):
    """Keep this result and remove the others of the same object"""

    bl_idname = "flashmesh.keep_result"
    bl_label = "Keep Only This"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Removes the others."""
        try:
            chosen, others = self.found(context)
        except ValueError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        variants.show_only(context, chosen, ())
        for item in others:
            if item != chosen:
                remove_object(item)
        return {"FINISHED"}


class FLASHMESH_OT_decimate(_ResultOperator, bpy.types.Operator):
    """Make the same number of faces with Blender's Decimate, beside the result, to compare the two"""

    bl_idname = "flashmesh.decimate"
    bl_label = "Compare with Decimate"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Puts the other mesh beside it."""
        try:
            chosen, _ = self.found(context)
            made = compare.decimate_beside(context, chosen)
        except ValueError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{made.name}: {len(made.data.polygons):,} faces")
        return {"FINISHED"}


class FLASHMESH_PT_variants(bpy.types.Panel):
    """The results of the selected object."""

    bl_idname = "FLASHMESH_PT_variants"
    bl_parent_id = "FLASHMESH_PT_main"
    bl_label = "Results of This Object"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "FlashMesh"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there are any."""
        source = shown_source(context)
        return source is not None and bool(variants.results_of(source))

    def draw(self, context: bpy.types.Context) -> None:
        """A line each: seed, faces, distance; below, what can be done with the one that is shown."""
        source = shown_source(context)
        results = variants.results_of(source) if source is not None else []
        column = self.layout.column(align=True)
        for item in results:
            seen = item.visible_get()
            icon = "RADIOBUT_ON" if seen else "RADIOBUT_OFF"
            column.operator(FLASHMESH_OT_show_result.bl_idname, text=line_of(item), icon=icon).result = item.name
        shown = [item for item in results if item.visible_get()]
        if not shown:
            return
        if len(results) > 1:
            self.layout.operator(FLASHMESH_OT_keep_result.bl_idname, icon="CHECKMARK").result = shown[-1].name
        self.layout.operator(FLASHMESH_OT_decimate.bl_idname, icon="MOD_DECIM").result = shown[-1].name


def line_of(obj: bpy.types.Object) -> str:
    """A result in one line."""
    note = obj.flashmesh
    distance = f", {100.0 * note.distance:.2f} % off" if note.distance >= 0.0 else ""
    return f"Seed {note.seed}: {len(obj.data.polygons):,} faces{distance}"


_CLASSES = (FLASHMESH_OT_show_result, FLASHMESH_OT_keep_result, FLASHMESH_OT_decimate, FLASHMESH_PT_variants)


def register() -> None:
    """Registers operators and panel."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Undoes register."""
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
