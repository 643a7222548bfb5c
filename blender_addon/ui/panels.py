# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar of the 3D viewport, category FlashMesh: what is selected, what is wanted, the button, the engine."""

from __future__ import annotations

import re
import time

import bpy

from ..engine import host, settings
from ..engine.request import LEAST_FACES, PRESETS
from ..scene import session
from ..scene.session import Run
from ..translations import tr
from . import preferences_page, setup, watch
from .drawing import draw_text, duration, progress_text
from .operators import (
    FLASHMESH_OT_another,
    FLASHMESH_OT_cancel,
    FLASHMESH_OT_engine,
    FLASHMESH_OT_generate,
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


class Sidebar:
    """Where all panels of the add-on are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "FlashMesh"


class FLASHMESH_PT_main(Sidebar, bpy.types.Panel):
    """What is selected, what is wanted, the button; while it works, how far it is."""

    bl_idname = "FLASHMESH_PT_main"
    bl_label = "FlashMesh"

    def draw(self, context: bpy.types.Context) -> None:
        """Draws the panel."""
        layout, run = self.layout, session.active
        draw_selection(layout, context)
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.enabled = run is None
        draw_wishes(column, context)
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
        draw_text(layout, context, host.trouble(), "ERROR")
        watch.keep_ready(context)


class FLASHMESH_PT_finish(Sidebar, bpy.types.Panel):
    """What is done to a mesh once its triangles are there."""

    bl_idname = "FLASHMESH_PT_finish"
    bl_parent_id = "FLASHMESH_PT_main"
    bl_label = "At the End"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        """Draws the panel."""
        grid, chosen = self.layout.grid_flow(row_major=True, columns=2, even_columns=True), context.scene.flashmesh
        grid.enabled = session.active is None
        grid.prop(chosen, "snap")
        grid.prop(chosen, "quads", text="Quads")  # short, beside each other; the tooltips say more
        grid.prop(chosen, "hard_edges", text="Hard Edges")
        grid.prop(chosen, "transfer_uvs")
        grid.prop(chosen, "hide_source")
        grid.prop(chosen, "keep_earlier", text="Keep Earlier")


class FLASHMESH_PT_advanced(Sidebar, bpy.types.Panel):
    """What is seldom changed."""

    bl_idname = "FLASHMESH_PT_advanced"
    bl_parent_id = "FLASHMESH_PT_main"
    bl_label = "Advanced"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012
    bl_order = 4

    def draw(self, context: bpy.types.Context) -> None:
        """Draws the panel."""
        layout, chosen = self.layout, context.scene.flashmesh
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.enabled = session.active is None
        for name in ("temperature", "keep_to_surface", "keep_vertices", "clean_up", "fill_holes", "drafter"):
            layout.prop(chosen, name)
        row = layout.row()
        row.enabled = chosen.drafter != "none"
        row.prop(chosen, "width")
        run = session.last
        for result in run.results if run is not None and run.ended else ():
            if result.tokens_per_pass:
                text = tr("{name}: {count} tokens per pass", name=result.name, count=f"{result.tokens_per_pass:.1f}")
                layout.label(text=text, translate=False)


class FLASHMESH_PT_engine(Sidebar, bpy.types.Panel):
    """The engine's state."""

    bl_idname = "FLASHMESH_PT_engine"
    bl_parent_id = "FLASHMESH_PT_main"
    bl_label = "Engine"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012
    bl_order = 5

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        """How the engine is, to be seen while the panel is closed."""
        if not (_engine_state() == "stopped" and settings.engine_is_missing(settings.get_preferences(context))):
            self.layout.label(
                text=re.split(r"; | \(", tr(STATES.get(_engine_state(), _engine_state())))[0], translate=False
            )

    def draw(self, context: bpy.types.Context) -> None:
        """Draws the panel."""
        layout, state = self.layout, _engine_state()
        if state == "stopped" and settings.engine_is_missing(settings.get_preferences(context)):
            layout.label(text="Not set up yet", icon="RADIOBUT_OFF")
            return
        layout.label(text=STATES.get(state, state), icon="RADIOBUT_OFF" if state == "stopped" else "RADIOBUT_ON")
        status = host.status()
        facts = [str(status[name]) for name in ("checkpoint", "device") if status.get(name)]
        if facts:
            layout.label(text=tr("Model: {facts}", facts=", ".join(facts)), translate=False)
        row = layout.row(align=True)
        for action, text, enabled in (
            ("START", "Start", state in ("stopped", "unknown")),
            ("STOP", "Stop", state not in ("stopped", "unknown")),
            ("FREE", "Free Memory", bool(status.get("checkpoint")) and state in ("idle", "running")),
        ):
            button = row.row(align=True)
            button.enabled = enabled
            button.operator(FLASHMESH_OT_engine.bl_idname, text=text).action = action


def _engine_state() -> str:
    """How the engine is, as STATES names it; looks again soon where that is about to change."""
    state = host.status()["state"]
    if host.changing():
        watch.follow()
    # What was heard of it last is older than a run that goes on.
    return "busy" if session.active is not None and state in ("running", "idle") else state


def draw_wishes(column: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What shall be made."""
    chosen = context.scene.flashmesh
    column.row().prop(chosen, "target", expand=True)
    column.prop(chosen, "faces" if chosen.target == "COUNT" else "share")
    for name in ("preset", "seed"):
        column.prop(chosen, name)
    column.row().prop(chosen, "symmetry", expand=True)
    column.prop(chosen, "watertight")
    active = context.active_object
    groups = getattr(active, "vertex_groups", None)
    if chosen.density or groups:
        column.prop_search(chosen, "density", active, "vertex_groups") if groups else column.prop(chosen, "density")
    draw_text(column, context, expectation(context), "INFO")


def draw_set_up(layout: bpy.types.UILayout, context: bpy.types.Context) -> bool:
    """Where there is no engine yet, the button that installs it, or how far that is; whether there was none."""
    if not settings.engine_is_missing(settings.get_preferences(context)) and setup.running("INSTALL") is None:
        return False
    box = layout.box()
    if setup.running("INSTALL") is None:
        draw_text(box, context, tr("The engine that makes the meshes is not on this computer yet"), "INFO")
        if not bpy.app.online_access:
            draw_text(box, context, tr(setup.OFFLINE), "ERROR")
        row = box.row()
        row.scale_y = 1.5
        row.operator(setup.FLASHMESH_OT_install_engine.bl_idname, text="Set Up Engine...", icon="IMPORT")
    preferences_page.draw_task(box, "INSTALL", 34)
    return True


def expectation(context: bpy.types.Context) -> str:
    """How many faces are asked for, as a share or a number, as quads, and how long the last mesh says that takes."""
    chosen, parts = context.scene.flashmesh, []
    counts = [count for item in usable_objects(context) if (count := _triangles(item, context))]
    wanted = [chosen.faces] * len(counts)
    if chosen.target == "SHARE":
        wanted = [max(LEAST_FACES, round(count * chosen.share / 100.0)) for count in counts]
        if counts:
            parts.append(tr("{faces} faces", faces=f"{sum(wanted):,}"))
    elif counts:
        share = 100.0 * sum(wanted) / sum(counts)
        parts.append(tr("{share} % of the source's triangles", share=f"{share:.3g}"))
    if wanted and chosen.quads:
        parts.append(tr("about {count} quads", count=f"{sum(wanted) // 2:,}"))
    each = settings.get_preferences(context).seconds_per_face
    if each and wanted:
        seconds = each * sum(wanted) * PRESETS[chosen.preset].candidates
        parts.append(tr("about {time}", time=duration(max(1.0, seconds))))
    return ", ".join(parts)


def _triangles(obj: bpy.types.Object, context: bpy.types.Context) -> int:
    """How many triangles a mesh has as the scene shows it; 0 of anything else."""
    depsgraph = context.view_layer.depsgraph
    if obj.type != "MESH" or depsgraph is None:
        return 0
    shown = obj.evaluated_get(depsgraph).data
    return len(shown.loops) - 2 * len(shown.polygons)


def draw_selection(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The source, or how many there are."""
    objects = usable_objects(context)
    if not objects:
        layout.label(text="Nothing selected", icon="OBJECT_DATA")
    for item in objects[:3]:
        layout.label(text=describe(item, context), icon=f"OUTLINER_OB_{item.type}", translate=False)
    if len(objects) > 3:
        layout.label(text=tr("and {count} more", count=len(objects) - 3), icon="BLANK1", translate=False)


def describe(obj: bpy.types.Object, context: bpy.types.Context) -> str:
    """An object and its number of faces as it is shown, modifiers included; in Edit Mode those that are selected."""
    if obj.type != "MESH":
        return obj.name
    if obj.mode == "EDIT":
        count = obj.data.total_face_sel
        many = tr("1 face selected") if count == 1 else tr("{count} faces selected", count=f"{count:,}")
        return f"{obj.name}: {many}"
    depsgraph = context.view_layer.depsgraph
    shown = obj.evaluated_get(depsgraph).data if depsgraph is not None else obj.data
    if len(shown.polygons):
        return f"{obj.name}: " + tr("{faces} faces", faces=f"{len(shown.polygons):,}")
    return f"{obj.name}: " + tr("{points} points", points=f"{len(shown.vertices):,}")


def draw_progress(layout: bpy.types.UILayout, run: Run) -> None:
    """How far a run is, and its Cancel button."""
    progress = run.progress
    of = " " + tr("({number} of {of})", number=progress.number, of=progress.of) if progress.of > 1 else ""
    column = layout.column()
    column.label(text=f"{progress.source}{of}", icon="MESH_ICOSPHERE", translate=False)
    generating = progress.stage == "decoding"
    column.progress(factor=progress.factor, text=progress_text(run), translate=False)
    column.operator(FLASHMESH_OT_cancel.bl_idname, icon="X")  # above all that comes and goes: it must not move away
    if progress.step_text:
        column.label(text=progress.text)
    waited = time.monotonic() - progress.entered
    if not generating and waited > 2.0:
        column.label(text=tr("for {time}", time=duration(waited)), translate=False)
    if generating and progress.seconds_left is not None:
        column.label(text=tr("about {time} left", time=duration(progress.seconds_left)), translate=False)
    if progress.reason:
        draw_text(column, bpy.context, progress.reason, "ERROR")


_CLASSES = (FLASHMESH_PT_main, FLASHMESH_PT_finish, FLASHMESH_PT_advanced, FLASHMESH_PT_engine)
register, unregister = bpy.utils.register_classes_factory(_CLASSES)
