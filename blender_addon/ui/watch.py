# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the panel up to date while the engine changes, and ends run and engine before a file or Blender goes."""

from __future__ import annotations

import atexit
from contextlib import suppress
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..engine import host, settings
from ..scene import session
from ..scene.outline import viewports

_SECONDS = 0.4  # between two looks
_EXIT_SECONDS = 1.0  # that a run has to end

_ready_asked = False  # whether the engine was started ahead of its first use in this Blender


def follow() -> None:
    """Redraws the panel for as long as the engine is being started, stopped, freed, or asked how it is."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=_SECONDS)


def keep_ready(context: bpy.types.Context) -> None:
    """Starts the engine, once, when its panel is seen and the preferences allow it. To be called while drawing."""
    global _ready_asked
    wanted = settings.get_preferences(context)
    if _ready_asked or bpy.app.background or not wanted.keep_ready or wanted.backend != "LOCAL":
        return
    if not host.problem(context):
        _ready_asked = True
        bpy.app.timers.register(_start, first_interval=0.0)  # nothing is to be changed while Blender draws


def _start() -> None:
    with suppress(ValueError, OSError):  # the button says why there is no engine
        host.act(bpy.context, "START")
        follow()


def look_again() -> None:
    """Sees to it that the panel shows the engine as it is after a run, not as it was at the last look."""
    host.ask_again()
    redraw_panels()
    follow()


def redraw_panels() -> None:
    """Asks for a redraw of what shows the panel, and of that alone: the scene beside it may be slow to draw."""
    for area in viewports():
        for region in area.regions:
            if region.type == "UI":
                region.tag_redraw()


def shutdown(timeout: float = _EXIT_SECONDS) -> None:
    """Ends the run and the engine; waits for both, not longer than a few seconds."""
    session.abandon(timeout)
    host.shutdown(timeout)


def _look() -> float | None:
    redraw_panels()
    return _SECONDS if session.active is None and host.changing() else None


@persistent
def _before_load(*_: Any) -> None:
    session.abandon()
    session.last = None  # its objects are not in the file that comes


def register() -> None:
    """Sees to it that a run ends before a file is loaded, and run and engine before Blender does."""
    bpy.app.handlers.load_pre.append(_before_load)
    atexit.register(shutdown)


def unregister() -> None:
    """Undoes register, and ends what runs."""
    shutdown()
    atexit.unregister(shutdown)
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)
    if _before_load in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(_before_load)
