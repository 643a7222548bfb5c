# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preferences look like."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import Any

import bpy

from ..engine import downloads
from ..engine.core_path import core_folder
from ..engine.engine_python import python_in
from ..engine.installer import installed
from ..engine.settings import user_folder
from . import setup
from .drawing import duration

_WIDTH = 90  # characters of a line of text


def draw(layout: bpy.types.UILayout, preferences: Any) -> None:
    """The whole page."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    _draw_engine(layout.box(), preferences)
    _draw_checkpoints(layout.box(), preferences)
    box = layout.box()
    box.label(text="Defaults of the Panel")
    for name in ("faces", "preset", "hide_source", "on_cancel"):
        box.prop(preferences, name)


def _draw_engine(box: bpy.types.UILayout, preferences: Any) -> None:
    box.prop(preferences, "backend")
    if preferences.backend == "ADDRESS":
        box.prop(preferences, "address")
        box.prop(preferences, "token")
    else:
        if preferences.backend == "LOCAL":
            box.prop(preferences, "engine_python")
            found = installed(user_folder())
            if found is not None:
                row = box.row()
                row.label(text=found.text, icon="CHECKMARK", translate=False)
                row.operator(setup.FLASHMESH_OT_install_engine.bl_idname, text="Repair...")
                row.operator(setup.FLASHMESH_OT_remove_engine.bl_idname, text="Remove", icon="TRASH")
            elif not preferences.engine_python:
                box.label(text="The engine is not installed yet", icon="INFO")
            if preferences.engine_python and python_in(Path(bpy.path.abspath(preferences.engine_python))) is None:
                box.label(text="There is no Python program of that name", icon="ERROR")
        box.prop(preferences, "device")
        if preferences.backend == "LOCAL":
            box.prop(preferences, "keep_ready")
        box.prop(preferences, "idle_minutes")
    row = box.row()
    row.operator(setup.FLASHMESH_OT_test_engine.bl_idname)
    if preferences.backend == "LOCAL":
        if installed(user_folder()) is None:
            row.operator(setup.FLASHMESH_OT_install_engine.bl_idname, text="Install Engine...")
        if not bpy.app.online_access:
            box.label(text=setup.OFFLINE, icon="INTERNET_OFFLINE" if _has_icon("INTERNET_OFFLINE") else "INFO")
    for kind in ("TEST", "INSTALL"):
        draw_task(box, kind)


def _draw_checkpoints(box: bpy.types.UILayout, preferences: Any) -> None:
    box.label(text="Model")
    try:
        entries = downloads.list_checkpoints(core_folder() / "flashmesh_core" / "checkpoints", user_folder())
    except (ImportError, OSError) as error:
        _draw_lines(box, [str(error)], "ERROR")
        entries = []
    for entry in entries:
        row = box.row()
        chosen = entry.value == preferences.checkpoint
        size = f"{entry.size / 1e6:.0f} MB" + (", bundled" if entry.bundled else "")
        use = setup.FLASHMESH_OT_use_checkpoint.bl_idname
        icon = "RADIOBUT_ON" if chosen else "RADIOBUT_OFF"
        label = f"{entry.name} ({size})"
        row.operator(use, text=label, icon=icon, emboss=False, translate=False).value = entry.value
        if not entry.bundled:
            row.operator(setup.FLASHMESH_OT_remove_checkpoint.bl_idname, text="", icon="TRASH").value = entry.value
    box.prop(preferences, "checkpoint", text="Name or path")
    box.operator(setup.FLASHMESH_OT_download_checkpoint.bl_idname, text="Download Model...")
    draw_task(box, "DOWNLOAD")


def draw_task(box: bpy.types.UILayout, kind: str, width: int = _WIDTH) -> None:
    """How far a task is, with its Cancel button, or how it ended."""
    task = setup.running(kind)
    if task is None:
        well, lines = setup.note(kind)
        _draw_lines(box, lines, "CHECKMARK" if well else "ERROR", width)
        return
    since = f" ({duration(time.monotonic() - task.began)})" if task.progress is None else ""
    _draw_lines(box, [f"{task.last_line}{since}"], "NONE", width)
    row = box.row()
    share = task.progress or 0.0
    row.progress(factor=share, text=f"{100.0 * share:.0f} %" if share else "...", translate=False)
    row.operator(setup.FLASHMESH_OT_cancel_install.bl_idname, icon="X").task = kind


def _draw_lines(box: bpy.types.UILayout, lines: list[str], icon: str, width: int = _WIDTH) -> None:
    column = box.column(align=True)
    wrapped = [part for text in lines for line in text.splitlines() for part in textwrap.wrap(line, width)]
    for number, line in enumerate(wrapped):
        column.label(text=line, icon="BLANK1" if number and icon != "NONE" else icon, translate=False)


def _has_icon(name: str) -> bool:
    return name in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items
