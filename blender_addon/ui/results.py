# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel says of the last run, and the results of one source beside each other: compare them, keep one."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from ..scene import compare, session, variants
from ..scene.figures import Result
from ..scene.results import remove_object
from ..translations import tr
from .bake import draw_bake
from .drawing import END_REASONS, draw_text, faces_text, fault_text, open_text, quads_text, share, source_texts
from .panels import Sidebar


def shown_source(context: bpy.types.Context) -> bpy.types.Object | None:
    """The source that the active object is, or was made from."""
    active = context.active_object
    return None if active is None else variants.source_of(active) or active


class ResultOperator:
    """What is done with one result, named by `result`. Subclasses have `act`, which may raise ValueError."""

    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012
    result: StringProperty(name="Result", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether objects may be changed now."""
        return session.active is None and context.mode == "OBJECT"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Finds the result and does it."""
        try:
            obj = context.scene.objects.get(self.result)
            if obj is None or not obj.flashmesh.number:
                raise ValueError(f"result must be the name of a result in this scene, got {self.result!r}")
            source = obj.flashmesh.source
            self.act(context, obj, variants.results_of(source) if source is not None else [obj])
        except ValueError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def act(self, context: bpy.types.Context, chosen: bpy.types.Object, known: list[bpy.types.Object]) -> None:
        """What to do with the `chosen` result, one of all `known` ones of its source."""
        raise NotImplementedError


class FLASHMESH_OT_show_result(ResultOperator, bpy.types.Operator):
    """Show this result and hide the others of the same object"""

    bl_idname = "flashmesh.show_result"
    bl_label = "Show Result"

    def act(self, context: bpy.types.Context, chosen: bpy.types.Object, known: list[bpy.types.Object]) -> None:
        """Shows one and selects it."""
        variants.show_only(context, chosen, known)


class FLASHMESH_OT_keep_result(ResultOperator, bpy.types.Operator):
    """Keep this result and remove the others of the same object"""

    bl_idname = "flashmesh.keep_result"
    bl_label = "Keep Only This"

    def act(self, context: bpy.types.Context, chosen: bpy.types.Object, known: list[bpy.types.Object]) -> None:
        """Removes the others."""
        variants.show_only(context, chosen, ())
        for item in known:
            if item != chosen:
                remove_object(item)


class FLASHMESH_OT_decimate(ResultOperator, bpy.types.Operator):
    """Make the same number of faces with Blender's Decimate, beside the result, to compare the two"""

    bl_idname = "flashmesh.decimate"
    bl_label = "Compare with Decimate"

    def act(self, context: bpy.types.Context, chosen: bpy.types.Object, known: list[bpy.types.Object]) -> None:
        """Puts the other mesh beside it."""
        made = compare.decimate_beside(context, chosen)
        faces = tr("{faces} faces; the source is hidden", faces=f"{len(made.data.polygons):,}")
        self.report({"INFO"}, f"{made.name}: {faces}")


class FLASHMESH_PT_result(Sidebar, bpy.types.Panel):
    """The figures of the last run."""

    bl_idname = "FLASHMESH_PT_result"
    bl_parent_id = "FLASHMESH_PT_main"
    bl_label = "Last Result"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is one."""
        return session.last is not None and session.last.ended

    def draw(self, context: bpy.types.Context) -> None:
        """Draws the panel."""
        run = session.last
        if run is None:
            return
        for level, text in run.messages:
            draw_text(self.layout, context, text, "ERROR" if level != "INFO" else "INFO")
        for result in run.results:
            draw_result(self.layout, context, result)


class FLASHMESH_PT_variants(Sidebar, bpy.types.Panel):
    """The results of the selected object."""

    bl_idname = "FLASHMESH_PT_variants"
    bl_parent_id = "FLASHMESH_PT_main"
    bl_label = "Results of This Object"
    bl_order = 3

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
            icon = "RADIOBUT_ON" if item.visible_get() else "RADIOBUT_OFF"
            name = FLASHMESH_OT_show_result.bl_idname
            column.operator(name, text=line_of(item), icon=icon, translate=False).result = item.name
        shown = [item for item in results if item.visible_get()]
        if not shown:
            return
        if len(results) > 1:
            self.layout.operator(FLASHMESH_OT_keep_result.bl_idname, icon="CHECKMARK").result = shown[-1].name
        self.layout.operator(FLASHMESH_OT_decimate.bl_idname, icon="MOD_DECIM").result = shown[-1].name
        draw_bake(self.layout, context, shown[-1])


def line_of(obj: bpy.types.Object) -> str:
    """A result in one line."""
    note = obj.flashmesh
    line = tr("Seed {seed}: {faces} faces", seed=note.seed, faces=f"{len(obj.data.polygons):,}")
    return line + (", " + tr("{share} off", share=share(note.distance)) if note.distance >= 0.0 else "")


def draw_result(layout: bpy.types.UILayout, context: bpy.types.Context, result: Result) -> None:
    """The figures of one result; what is not known is left out."""
    box = layout.box().column(align=True)
    box.label(text=result.name, icon="MESH_DATA", translate=False)
    draw_text(box, context, faces_text(result), "NONE")
    if quads_text(result):
        draw_text(box, context, quads_text(result), "NONE")
    text = open_text(result)
    box.label(text=text[:1].upper() + text[1:], icon="CHECKMARK" if result.watertight else "NONE", translate=False)
    for text in source_texts(result):
        draw_text(box, context, text, "NONE")
    if result.distance is not None and result.farthest is not None:
        values = {"mean": share(result.distance), "most": share(result.farthest)}
        draw_text(box, context, tr("Off the source: {mean}, at most {most}", **values), "NONE")
    if result.end_reason == "eos" and not result.faults:
        box.label(text="Complete", icon="CHECKMARK")
    elif result.end_reason != "eos":
        box.label(text=END_REASONS.get(result.end_reason, result.end_reason), icon="ERROR")
    for text in result.faults:
        draw_text(box, context, fault_text(text), "ERROR")


_CLASSES = (
    FLASHMESH_OT_show_result, FLASHMESH_OT_keep_result, FLASHMESH_OT_decimate, FLASHMESH_PT_result,
    FLASHMESH_PT_variants,
)  # fmt: skip
register, unregister = bpy.utils.register_classes_factory(_CLASSES)
