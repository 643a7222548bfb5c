# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar of the 3D viewport, category FlashMesh."""

from __future__ import annotations

import textwrap

import bpy

from ..engine import host, settings
from ..scene import session
from ..scene.figures import Result
from ..scene.session import Run
from . import preferences_page, setup, watch
from .operators import (
    FLASHMESH_OT_another,
    FLASHMESH_OT_cancel,
    FLASHMESH_OT_engine,
    FLASHMESH_OT_generate,
    open_text,
    usable_objects,
    why_not,
)

STATES = {
    "stopped": "Stopped; starts when needed",
    "starting": "Starting",
    "running": "Ready",
    "idle": "Ready",
    "loading": "Loading the model",
    "compiling": "Preparing itself (first time only)",
    "busy": "Working",
    "unknown": "Not asked yet",
}
END_REASONS = {
    "eos": "Complete",
    "face_limit": "Cut off at the face limit",
    "cancelled": "Unfinished: cancelled",
}


class _Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "FlashMesh"


class FLASHMESH_PT_main(_Sidebar, bpy.types.Panel):
    """What is selected, what is wanted, the button; while it works, how far it is."""

    bl_idname = "FLASHMESH_PT_main"
    bl_label = "FlashMesh"

    def draw(self, context: bpy.types.Context) -> None:
        """Draws the panel."""
        layout, chosen, run = self.layout, context.scene.flashmesh, session.active
        draw_selection(layout, context)
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.enabled = run is None
        for name in ("faces", "preset", "seed", "temperature"):
            column.prop(chosen, name)
        column.row().prop(chosen, "symmetry", expand=True)
        column.label(text=expectation(context))
        column.separator()
        for name in ("watertight", "keep_to_surface", "snap", "quads"):
            column.prop(chosen, name)
        layout.separator()
        if run is not None:
            draw_progress(layout, run)
            return
        if draw_set_up(layout, context):
            return
        row = layout.row()
        row.scale_y = 1.5
        row.operator(FLASHMESH_OT_generate.bl_idname, icon="MESH_ICOSPHERE")
        if session.last is not None and session.last.results:
            row.operator(FLASHMESH_OT_another.bl_idname, text="", icon="FILE_REFRESH")
        draw_text(layout, context, why_not(context), "INFO")


class FLASHMESH_PT_advanced(_Sidebar, bpy.types.Panel):
    """What is seldom changed."""

    bl_idname = "FLASHMESH_PT_advanced"
    bl_parent_id = "FLASHMESH_PT_main"
    bl_label = "Advanced"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    def draw(self, context: bpy.types.Context) -> None:
        """Draws the panel."""
        layout, chosen = self.layout, context.scene.flashmesh
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.enabled = session.active is None
        layout.prop(chosen, "drafter")
        row = layout.row()
        row.enabled = chosen.drafter != "none"
        row.prop(chosen, "width")
        layout.prop(chosen, "fill_holes")
        layout.prop(chosen, "transfer_uvs")
        layout.prop(chosen, "hide_source")
        layout.prop(chosen, "keep_earlier")
        run = session.last
        for result in run.results if run is not None and run.ended else ():
            if result.tokens_per_pass:
                layout.label(text=f"{result.name}: {result.tokens_per_pass:.1f} tokens per pass")


class FLASHMESH_PT_result(_Sidebar, bpy.types.Panel):
    """The figures of the last run."""

    bl_idname = "FLASHMESH_PT_result"
    bl_parent_id = "FLASHMESH_PT_main"
    bl_label = "Last Result"

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
            draw_result(self.layout, result)


class FLASHMESH_PT_engine(_Sidebar, bpy.types.Panel):
    """The engine's state."""

    bl_idname = "FLASHMESH_PT_engine"
    bl_parent_id = "FLASHMESH_PT_main"
    bl_label = "Engine"

    def draw(self, context: bpy.types.Context) -> None:
        """Draws the panel."""
        layout, status = self.layout, host.status()
        if host.changing():
            watch.follow()
        state = status["state"]
        if session.active is not None and state in ("running", "idle"):
            state = "busy"  # what was heard of it last is older than the run
        if state == "stopped" and settings.engine_is_missing(settings.get_preferences(context)):
            layout.label(text="Not set up yet", icon="RADIOBUT_OFF")
            return
        layout.label(text=STATES.get(state, state), icon="RADIOBUT_OFF" if state == "stopped" else "RADIOBUT_ON")
        facts = [str(status[name]) for name in ("checkpoint", "device") if status.get(name)]
        if facts:
            layout.label(text="Model: " + " on ".join(facts) if status.get("checkpoint") else f"On {facts[0]}")
        draw_text(layout, context, host.trouble(), "ERROR")
        row = layout.row(align=True)
        for action, text, enabled in (
            ("START", "Start", state in ("stopped", "unknown")),
            ("STOP", "Stop", state not in ("stopped", "unknown")),
            ("FREE", "Free Memory", bool(status.get("checkpoint")) and state in ("idle", "running")),
        ):
            button = row.row(align=True)
            button.enabled = enabled
            button.operator(FLASHMESH_OT_engine.bl_idname, text=text).action = action


def draw_set_up(layout: bpy.types.UILayout, context: bpy.types.Context) -> bool:
    """Where there is no engine yet, the button that installs it, or how far that is; whether there was none."""
    if not settings.engine_is_missing(settings.get_preferences(context)) and setup.running("INSTALL") is None:
        return False
    box = layout.box()
    if setup.running("INSTALL") is None:
        draw_text(box, context, "The engine that makes the meshes is not on this computer yet", "INFO")
        if not bpy.app.online_access:
            draw_text(box, context, setup.OFFLINE, "ERROR")
        row = box.row()
        row.scale_y = 1.5
        row.operator(setup.FLASHMESH_OT_install_engine.bl_idname, text="Set Up Engine...", icon="IMPORT")
    preferences_page.draw_task(box, "INSTALL", 44)
    return True


def expectation(context: bpy.types.Context) -> str:
    """What share of the selected objects' faces is asked for, and how long the last mesh says that will take."""
    chosen, parts = context.scene.flashmesh, []
    objects = usable_objects(context)
    depsgraph = context.view_layer.depsgraph
    seen = [item.evaluated_get(depsgraph).data for item in objects if item.type == "MESH" and depsgraph is not None]
    have = sum(len(mesh.loops) - 2 * len(mesh.polygons) for mesh in seen)
    if have:
        parts.append(f"{100.0 * chosen.faces * len(seen) / have:.3g} % of the source's triangles")
    run = session.last
    known = [result for result in (run.results if run is not None else ()) if result.seconds and result.triangles]
    if known and objects:
        each = sum(result.seconds / result.triangles for result in known) / len(known)
        parts.append(f"about {duration(max(1.0, each * chosen.faces * len(objects)))}")
    return ", ".join(parts)


def draw_selection(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The source, or how many there are."""
    objects = usable_objects(context)
    if not objects:
        layout.label(text="Nothing selected", icon="OBJECT_DATA")
    for item in objects[:3]:
        layout.label(text=describe(item, context), icon=f"OUTLINER_OB_{item.type}")
    if len(objects) > 3:
        layout.label(text=f"and {len(objects) - 3} more", icon="BLANK1")


def describe(obj: bpy.types.Object, context: bpy.types.Context) -> str:
    """An object and its number of faces as it is shown, modifiers included."""
    if obj.type != "MESH":
        return obj.name
    depsgraph = context.view_layer.depsgraph
    shown = obj.evaluated_get(depsgraph).data if depsgraph is not None else obj.data
    faces = len(shown.polygons)
    return f"{obj.name}: {faces:,} faces" if faces else f"{obj.name}: {len(shown.vertices):,} points"


def draw_progress(layout: bpy.types.UILayout, run: Run) -> None:
    """How far a run is, and its Cancel button."""
    progress = run.progress
    of = f" ({progress.number} of {progress.of})" if progress.of > 1 else ""
    column = layout.column()
    column.label(text=f"{progress.source}{of}", icon="MESH_ICOSPHERE")
    generating = progress.stage == "decoding"
    text = f"{progress.faces:,} of {progress.wanted:,} faces" if generating else progress.text
    column.progress(factor=progress.factor if generating else 0.0, text="Cancelling" if run.cancelling else text)
    if generating and progress.faces_per_second > 0.0:
        left = progress.seconds_left
        rest = "" if left is None else f", about {duration(left)} left"
        column.label(text=f"{progress.faces_per_second:.1f} faces/s{rest}")
    if progress.reason:
        column.label(text=progress.reason, icon="ERROR")
    column.operator(FLASHMESH_OT_cancel.bl_idname, icon="X")


def draw_result(layout: bpy.types.UILayout, result: Result) -> None:
    """The figures of one result; what is not known is left out."""
    box = layout.box().column(align=True)
    box.label(text=result.name, icon="MESH_DATA")
    seconds = "" if result.seconds is None else f" in {result.seconds:.1f} s"
    triangles = f" of {result.triangles:,} triangles" if result.triangles != result.faces else ""
    box.label(text=f"{result.faces:,} faces of {result.wanted:,} wanted{seconds}")
    if triangles:
        box.label(text=f"{result.quads:,} quads{triangles}")
    box.label(text=result.verdict or END_REASONS.get(result.end_reason, result.end_reason))
    text = open_text(result)
    box.label(text=text[:1].upper() + text[1:], icon="CHECKMARK" if result.watertight else "NONE")
    if result.repaired:
        box.label(text=f"{result.repaired:,} faces cover what was left bare")
    if result.distance is not None and result.farthest is not None:
        box.label(text=f"Off the source: {share(result.distance)}, at most {share(result.farthest)}")


def share(part: float) -> str:
    """A distance in shares of the object's size, in words."""
    return f"{100.0 * part:.{1 if part >= 0.01 else 2}f} %"


def draw_text(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str) -> None:
    """Text over as many lines as the region's width asks for; nothing where it is empty."""
    scale = context.preferences.system.ui_scale
    width = context.region.width if context.region is not None else 240
    lines = textwrap.wrap(text[:1].upper() + text[1:], max(20, int((width / scale - 60) / 6.5)))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(lines):
        column.label(text=line, icon="BLANK1" if number else icon)


def duration(seconds: float) -> str:
    """A time in words, as "40 s" or "3 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


_CLASSES = (FLASHMESH_PT_main, FLASHMESH_PT_advanced, FLASHMESH_PT_result, FLASHMESH_PT_engine)


def register() -> None:
    """Registers the panels."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Undoes register."""
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
