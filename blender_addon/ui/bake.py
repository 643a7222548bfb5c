# SPDX-License-Identifier: GPL-3.0-or-later
"""The button that bakes normals and colors of the source onto a result, with progress."""

from __future__ import annotations

import bpy
from bpy.props import IntProperty, StringProperty

from ..scene import baking, session, variants
from ..scene.baking import Bake
from ..translations import tr
from . import watch

TICK_SECONDS = 0.2
MIN_SIZE, MAX_SIZE = 16, 8192
ROOM = 1.5  # times the farthest place of the source that was measured: how far the bake looks


class FLASHMESH_OT_bake(bpy.types.Operator):
    """Paint the fine shape and the colors of the source onto this result, as images (Blender's bake, with Cycles)"""

    bl_idname = "flashmesh.bake"
    bl_label = "Bake from Source"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012

    result: StringProperty(name="Result", options={"SKIP_SAVE"})
    size: IntProperty(
        name="Image Size", description="Pixels of each side of the images", min=MIN_SIZE, max=MAX_SIZE, default=1024
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether objects may be changed now, and Blender has Cycles."""
        if "cycles" not in context.preferences.addons:
            cls.poll_message_set(tr("Switch the add-on Cycles on in Blender's preferences"))
            return False
        return session.active is None and baking.active is None and context.mode == "OBJECT"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Bakes, and returns when all is done: for scripts and for Blender without a window."""
        try:
            with baking.baking(context, self._new(context)) as bake:
                for number, _ in enumerate(bake.kinds, 1):
                    bpy.ops.object.bake(**bake.options())
                    bake.done = number
        except (ValueError, RuntimeError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return self._conclude(bake)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Starts a bake that a timer follows, and returns at once."""
        if bpy.app.background or context.window is None:
            return self.execute(context)
        self._stop = False
        try:
            bake = self._new(context)
            bake.begin(context)
        except ValueError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        baking.active, self._bake, self._began = bake, bake, -1
        self._timer = context.window_manager.event_timer_add(TICK_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(self)
        watch.redraw_panels()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Begins one bake after the other: a job of Blender's each, which shows how far it is and ends with Escape."""
        if event.type == "ESC" and event.value == "PRESS":
            self._stop = True
        if event.type != "TIMER" or bpy.app.is_job_running("OBJECT_BAKE"):
            return {"PASS_THROUGH"}
        bake = self._bake
        if self._began == bake.done and not self._stop:
            bake.done += 1
        if bake.done < len(bake.kinds) and not self._stop:
            self._began = bake.done
            try:
                bpy.ops.object.bake("INVOKE_DEFAULT", **bake.options())
            except RuntimeError as error:
                self.report({"ERROR"}, str(error))
                self._stop = True
            watch.redraw_panels()
            return {"PASS_THROUGH"}
        self.cancel(context)
        return self._conclude(bake)

    def cancel(self, context: bpy.types.Context) -> None:
        """The end, or Blender ends this operator itself."""
        context.window_manager.event_timer_remove(self._timer)
        baking.active = None
        self._bake.finish(context)
        watch.redraw_panels()

    def _new(self, context: bpy.types.Context) -> Bake:
        obj = context.scene.objects.get(self.result)
        if obj is None or not obj.flashmesh.number:
            raise ValueError(f"result must be the name of a result in this scene, got {self.result!r}")
        source = variants.source_of(obj)
        if source is None:
            raise ValueError(f"{obj.name!r} must have a source in the scene to bake from, got none")
        known = [item for item in (session.last.results if session.last else ()) if item.name == obj.name]
        farthest = max((item.farthest or 0.0 for item in known), default=0.0)
        return Bake(obj, source, self.size, reach=max(baking.REACH, ROOM * farthest))

    def _conclude(self, bake: Bake) -> set[str]:
        names = [bake.images[kind].name for kind in bake.kinds[: bake.done]]
        if not names:
            self.report({"WARNING"}, tr("Nothing was baked"))
            return {"CANCELLED"}
        text = tr("Baked: {names}", names=", ".join(names))
        if baking.COLORS not in bake.kinds:
            text += "; " + tr("the source has no colors")
        self.report({"INFO"}, text)
        return {"FINISHED"}


def draw_bake(layout: bpy.types.UILayout, context: bpy.types.Context, result: bpy.types.Object) -> None:
    """The button, or which bake goes on."""
    bake = baking.active
    if bake is None:
        row = layout.split(factor=0.68, align=True)
        button = row.operator(FLASHMESH_OT_bake.bl_idname, icon="RENDER_STILL")
        button.result, button.size = result.name, int(context.scene.flashmesh.bake_size)
        row.prop(context.scene.flashmesh, "bake_size", text="")
        return
    kind = bake.kinds[min(bake.done, len(bake.kinds) - 1)]
    text = tr(baking.WORDS[kind]) + " " + tr("({number} of {of})", number=bake.done + 1, of=len(bake.kinds))
    layout.progress(factor=(bake.done + 0.5) / len(bake.kinds), text=text, translate=False)
    layout.label(text="Escape stops it", icon="INFO")


def register() -> None:
    """Registers the button."""
    bpy.utils.register_class(FLASHMESH_OT_bake)


def unregister() -> None:
    """Undoes register."""
    baking.active = None
    bpy.utils.unregister_class(FLASHMESH_OT_bake)
