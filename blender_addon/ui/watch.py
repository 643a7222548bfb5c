# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the panel up to date while the engine changes, and ends run and engine before a file or Blender goes."""

from __future__ import annotations

import atexit
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..engine import host
from ..scene import session
from ..scene.outline import viewports

_SECONDS = 0.4  # between two looks
_EXIT_SECONDS = 1.0  # that a run has to end


def follow() -> None:
    """Redraws the panel for as long as the engine is being started, stopped, freed, or asked how it is."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=_SECONDS)


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
