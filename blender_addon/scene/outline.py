# SPDX-License-Identifier: GPL-3.0-or-later
"""The edges of the newest faces, drawn over the viewport while a mesh grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

NEWEST = 24  # faces
COLOR = (1.0, 0.55, 0.1, 1.0)
_EDGES = np.array([0, 1, 1, 2, 2, 0])


class Outline:
    """A draw handler of the 3D viewports; there from `show` to `remove`."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._lines = np.zeros((0, 3), dtype=np.float32)

    def show(self, corners: np.ndarray) -> None:
        """Draws the last of the faces `corners` (k, 3, 3), in world space, from now on."""
        if bpy.app.background:
            return
        if self._handle is None:
            self._handle = bpy.types.SpaceView3D.draw_handler_add(self._draw, (), "WINDOW", "POST_VIEW")
        self._lines = np.ascontiguousarray(corners[-NEWEST:, _EDGES].reshape(-1, 3), dtype=np.float32)
        _redraw_viewports()

    def remove(self) -> None:
        """Draws nothing any more."""
        if self._handle is not None:
            bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
            self._handle = None
            _redraw_viewports()

    def _draw(self) -> None:
        import gpu
        from gpu_extras.batch import batch_for_shader

        if not len(self._lines):
            return
        shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
        batch = batch_for_shader(shader, "LINES", {"pos": self._lines.tolist()})
        region = bpy.context.region
        shader.bind()
        shader.uniform_float("viewportSize", (region.width, region.height))
        shader.uniform_float("lineWidth", 2.0)
        shader.uniform_float("color", COLOR)
        batch.draw(shader)


def viewports() -> Iterator[bpy.types.Area]:
    """Every 3D viewport of every window."""
    for window in bpy.context.window_manager.windows:
        yield from (area for area in window.screen.areas if area.type == "VIEW_3D")


def _redraw_viewports() -> None:
    for area in viewports():
        area.tag_redraw()
