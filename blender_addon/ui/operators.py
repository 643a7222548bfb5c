# SPDX-License-Identifier: GPL-3.0-or-later
"""flashmesh.generate, and the small operators beside it."""

from __future__ import annotations

import time
from dataclasses import replace

import bpy
from bpy.props import EnumProperty

from ..engine import host, settings
from ..engine.request import PRESETS
from ..scene import baking, session, variants
from ..scene.mesh_bridge import MAX_SOURCE_FACES, can_be_source, expected_faces
from ..scene.results import key_of
from ..scene.session import Run
from ..translations import tr
from . import watch
from .drawing import faces_text, summary
from .properties import MAX_SEED, option_properties, run_settings

TICK_SECONDS = 1 / 15
SHAPING = ("faces", "preset", "seed", "symmetry", "watertight")
FINISHING = ("snap", "quads", "hard_edges", "transfer_uvs", "hide_source")  # what is done once the engine is done
_WAIT_SECONDS = 0.1  # for the next event, where the operator has the main thread for itself


def usable_objects(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected objects that can be sources, the active one first; the source in place of a result."""
    selected = sorted(context.selected_objects, key=lambda item: (item != context.active_object, item.name))
    return [item for item in variants.sources(selected) if can_be_source(item)]


def why_not(context: bpy.types.Context) -> str:
    """Why nothing can be generated now, as a sentence for the artist, or ''."""
    if session.active is not None:
        return tr("A mesh is being generated")
    if baking.active is not None:
        return tr("Images are being baked")
    if context.mode not in ("OBJECT", "EDIT_MESH"):
        return tr("Switch to Object Mode")
    if context.mode == "EDIT_MESH" and not any(item.data.total_face_sel for item in context.objects_in_mode):
        return tr("Select the faces that shall be made anew")
    objects = usable_objects(context)
    if not objects:
        return tr("Select a mesh, curve, surface, text, metaball or collection instance")
    return next((reason for item in objects if (reason := too_large(item, context))), "") or host.problem(context)


def too_large(obj: bpy.types.Object, context: bpy.types.Context) -> str:
    """Why an object cannot be read for the number of its faces, or ''. Quick: nothing is evaluated for it."""
    depsgraph = context.view_layer.depsgraph
    seen = obj.evaluated_get(depsgraph).data if depsgraph is not None and obj.type == "MESH" else None
    count = max(expected_faces(obj), len(seen.polygons) if seen is not None else 0)
    if count <= MAX_SOURCE_FACES:
        return ""
    return tr(
        "{name} has {count} faces, and at most {most} can be read: lower its subdivision levels or decimate it",
        name=obj.name, count=f"{count:,}", most=f"{MAX_SOURCE_FACES:,}",
    )  # fmt: skip


class FLASHMESH_OT_generate(bpy.types.Operator):
    """Write a new mesh of few, well placed faces over each selected object"""

    bl_idname = "flashmesh.generate"
    bl_label = "Generate Artist Mesh"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012
    __annotations__ = option_properties(options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether something can be generated; the reason if not is shown with the button."""
        reason = why_not(context)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Generates, and returns when all is done: for scripts and for Blender without a window."""
        run = self._begin(context, again=self.options.is_repeat)
        if run is None:
            return {"CANCELLED"}
        try:
            while not run.ended:
                run.tick(context, _WAIT_SECONDS)
        finally:
            run.abandon()
        return self._conclude(run)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Starts a run that a timer drives, and returns at once."""
        if bpy.app.background or context.window is None:
            return self.execute(context)
        run = self._run = self._begin(context)
        self._shown: tuple | None = None
        if run is None:
            return {"CANCELLED"}
        manager = context.window_manager
        timer = manager.event_timer_add(TICK_SECONDS, window=context.window)
        run.at_end.append(lambda: bpy.context.window_manager.event_timer_remove(timer))
        run.at_end.append(watch.look_again)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """One event: a tick of the timer, or what the artist does meanwhile."""
        run = self._run
        if not run.ended:
            if event.type == "ESC" and event.value == "PRESS":
                run.cancel()
                return {"RUNNING_MODAL"}
            if event.type == "Z" and (event.ctrl or event.oskey):
                return {"RUNNING_MODAL"}  # an undo now would take the ground from under this operator
            if event.type != "TIMER":
                return {"PASS_THROUGH"}
            run.tick(context)
            if not run.ended:
                self._show(run)
                return {"PASS_THROUGH"}
        return self._conclude(run)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends this operator itself: its window closes, or a file is loaded."""
        self._run.abandon()

    def draw(self, context: bpy.types.Context) -> None:
        """The options. Those that shape the mesh would start the engine when touched, and can only be read here."""
        layout = self.layout
        layout.use_property_split = True
        for result in session.last.results if session.last is not None else ():
            layout.label(text=f"{result.name}: {faces_text(result)}", translate=False)
        for name in FINISHING:
            layout.prop(self, name)
        column = layout.column()
        column.enabled = False
        for name in SHAPING:
            column.prop(self, name)
        layout.label(text="For another shape press Another Try in the sidebar", icon="INFO")

    def _show(self, run: Run) -> None:
        """Redraws the panel if it has something new to show."""
        news = (replace(run.progress), run.cancelling, int(time.monotonic() - run.progress.entered))
        if news != self._shown:
            self._shown = news
            watch.redraw_panels()

    def _begin(self, context: bpy.types.Context, *, again: bool = False) -> Run | None:
        try:
            chosen = run_settings(self, context)
            if context.mode == "EDIT_MESH":
                chosen = replace(chosen, selected_only=True)
            chosen.engine_options()
            for name in option_properties():  # so that Adjust Last Operation shows what was used
                setattr(self.properties, name, getattr(chosen, name))
            objects = usable_objects(context)
            if context.mode == "EDIT_MESH":
                objects = [context.edit_object]
                bpy.ops.object.mode_set(mode="OBJECT")
            sources = [key_of(item) for item in objects]
            return session.begin(sources, chosen, host.engine(context), context.scene, again=again)
        except (ValueError, RuntimeError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return None

    def _conclude(self, run: Run) -> set[str]:
        """Tells what happened; FINISHED, and with that an undo step, where there is something to undo."""
        for level, text in run.messages:
            # An error would raise an exception in a script, whatever was done.
            self.report({"WARNING" if level == "ERROR" and run.results else level}, text)
        _note_speed(run)
        if run.outcome == "finished":
            self.report({"INFO"}, "; ".join(summary(result) for result in run.results))
        return {"FINISHED"} if run.results else {"CANCELLED"}


def _note_speed(run: Run) -> None:
    """Keeps how long a face took, for the next estimate."""
    known = [result for result in run.results if result.took and result.triangles]
    if known:
        candidates = PRESETS[run.settings.preset].candidates
        each = sum(result.took for result in known) / sum(result.triangles for result in known) / candidates
        settings.get_preferences().seconds_per_face = each


class FLASHMESH_OT_another(bpy.types.Operator):
    """Make the mesh once more with the next seed"""

    bl_idname = "flashmesh.another"
    bl_label = "Another Try"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """As Generate."""
        return FLASHMESH_OT_generate.poll(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Counts the seed on and presses Generate."""
        chosen = context.scene.flashmesh
        chosen.seed = chosen.seed + 1 if chosen.seed < MAX_SEED else 0
        answer = bpy.ops.flashmesh.generate("INVOKE_DEFAULT")
        return {"CANCELLED"} if answer == {"CANCELLED"} else {"FINISHED"}


class FLASHMESH_OT_cancel(bpy.types.Operator):
    """Stop generating; what happens to the unfinished mesh is set in the preferences"""

    bl_idname = "flashmesh.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is something to stop."""
        return session.active is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Tells the run, which ends in one of its next ticks."""
        if session.active is not None:
            session.active.cancel()
        return {"FINISHED"}


class FLASHMESH_OT_engine(bpy.types.Operator):
    """Start or stop the engine, or free its memory"""

    bl_idname = "flashmesh.engine"
    bl_label = "Engine"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    action: EnumProperty(
        name="Action",
        items=(
            ("START", "Start", "Start the engine now instead of when it is first needed"),
            ("STOP", "Stop", "End the engine, and with it the mesh that is being generated"),
            ("FREE", "Free Memory", "Drop the model; the next mesh loads it again"),
        ),
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip of each of the three buttons."""
        return properties.bl_rna.properties["action"].enum_items[properties.action].description

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Returns at once: the panel shows what becomes of it."""
        try:
            host.act(context, self.action)
            watch.follow()
        except (ValueError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def _menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator_context = "INVOKE_DEFAULT"
    self.layout.operator(FLASHMESH_OT_generate.bl_idname, icon="MESH_ICOSPHERE")


_CLASSES = (FLASHMESH_OT_generate, FLASHMESH_OT_another, FLASHMESH_OT_cancel, FLASHMESH_OT_engine)


def register() -> None:
    """Registers the operators; the menu entry also makes the F3 search find it."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.VIEW3D_MT_object.append(_menu)


def unregister() -> None:
    """Undoes register."""
    bpy.types.VIEW3D_MT_object.remove(_menu)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
