# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons of the preferences: test, install, download.

The work runs in a thread and goes on when the window closes: a timer of Blender's follows it, since a modal operator
would end with the Preferences window. In background mode, where no timer fires, a button returns when it is done.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import EnumProperty, StringProperty

from ..engine import downloads, engine_python, host, installer
from ..engine.background import Task, TaskCancelledError
from ..engine.core_path import core_folder
from ..engine.settings import get_preferences, kernel_cache, resolve_engine_python, user_folder
from ..translations import tr
from . import watch

if TYPE_CHECKING:
    from bpy.types import Context

OFFLINE = "Blender is offline: allow online access in its System preferences"
_TICK = 0.2  # seconds
_QUIT_SECONDS = 5.0  # that a task has to end when the add-on is switched off

_tasks: dict[str, Task] = {}  # by kind, TEST, INSTALL or DOWNLOAD: what runs
_whens_done: dict[str, Callable[[Any], list[str]]] = {}
_notes: dict[str, tuple[bool, list[str]]] = {}  # by kind: whether the last one went well, and what to show


def running(kind: str) -> Task | None:
    """The task of that kind that runs now."""
    return _tasks.get(kind)


def note(kind: str) -> tuple[bool, list[str]]:
    """Whether the last task of that kind went well, and the lines that say so."""
    return _notes.get(kind, (True, []))


def _start(operator: bpy.types.Operator, kind: str, task: Task, when_done: Callable[[Any], list[str]]) -> set[str]:
    """Begins a task; `when_done` gets its result in the main thread and returns the lines to show."""
    _tasks[kind], _whens_done[kind] = task, when_done
    _notes.pop(kind, None)
    if not bpy.app.background:
        task.start()
        if not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=_TICK, persistent=True)
        return {"FINISHED"}
    with contextlib.suppress(Exception):  # kept in task.error
        task.run()
    _finish(kind)
    well, lines = _notes[kind]
    operator.report({"INFO" if well else "ERROR"}, "\n".join(lines))
    return {"FINISHED"} if well else {"CANCELLED"}


def _finish(kind: str) -> None:
    task, when_done = _tasks.pop(kind), _whens_done.pop(kind)
    if task.error is None:
        _notes[kind] = (True, when_done(task.result))
    elif isinstance(task.error, TaskCancelledError):
        _notes[kind] = (False, ["Cancelled"])
    else:
        expected = isinstance(task.error, (installer.InstallError, downloads.DownloadError, ValueError, OSError))
        what = "" if expected or getattr(task.error, "message", None) else f"{type(task.error).__name__}: "
        _notes[kind] = (False, [f"{what}{task.error}"])


def _tick() -> float | None:
    for kind in [kind for kind, task in _tasks.items() if task.done]:
        _finish(kind)
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
    watch.redraw_panels()
    return _TICK if _tasks else None


class FLASHMESH_OT_test_engine(bpy.types.Operator):
    """Ask the engine's Python for its versions and its device, or the address whether an engine answers"""

    bl_idname = "flashmesh.test_engine"
    bl_label = "Test"

    @classmethod
    def poll(cls, context: Context) -> bool:
        return _poll_free(cls, "TEST")

    def execute(self, context: Context) -> set[str]:
        preferences = get_preferences(context)
        try:
            work = _test_work(preferences)
        except (ValueError, OSError, ImportError) as error:
            _notes["TEST"] = (False, [str(error)])
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return _start(self, "TEST", Task("the test", work), list)


class FLASHMESH_OT_install_engine(bpy.types.Operator):
    """Download what the engine needs, into a folder of its own in Blender's user folder"""

    bl_idname = "flashmesh.install_engine"
    bl_label = "Install Engine"

    build: EnumProperty(
        name="For",
        description="What the engine shall compute on",
        items=(
            ("CPU", "Processor", "Works everywhere; 1.3 GB on disk"),
            ("CUDA", "NVIDIA graphics card", "Faster, and about 6 GB on disk"),
        ),
        default="CPU",
    )
    base: StringProperty(
        name="Made with",
        description="Python program, 3.10 or newer, that makes the environment. Empty: Blender's own",
        subtype="FILE_PATH",
    )

    @classmethod
    def poll(cls, context: Context) -> bool:
        return _poll_online(cls) and _poll_free(cls, "INSTALL")

    def invoke(self, context: Context, event: bpy.types.Event) -> set[str]:
        preferences = get_preferences(context)
        self.build = "CUDA" if preferences.device == "CUDA" else "CPU"
        self.base = preferences.engine_python
        return context.window_manager.invoke_props_dialog(self, width=450, confirm_text=tr("Install"))

    def draw(self, context: Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "build")
        if self.base:
            layout.prop(self, "base")
        lines, fits = installer.forecast(user_folder(), self.build.lower())
        for line in lines:
            layout.label(text=line, icon="INFO" if fits else "ERROR", translate=False)

    def execute(self, context: Context) -> set[str]:
        base = bpy.path.abspath(self.base.strip()) if self.base.strip() else ""
        folder, build = user_folder(create=True), self.build.lower()
        named = {"base": base, "build": build, "core": core_folder(), "cache": kernel_cache()}
        work = partial(_install_work, folder=folder, **named)
        return _start(self, "INSTALL", Task("the install", work), _when_installed)


class FLASHMESH_OT_remove_engine(bpy.types.Operator):
    """Remove the installed engine from the disk"""

    bl_idname = "flashmesh.remove_engine"
    bl_label = "Remove Engine"

    @classmethod
    def poll(cls, context: Context) -> bool:
        return _poll_free(cls, "INSTALL")

    def invoke(self, context: Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: Context) -> set[str]:
        host.shutdown()  # its process runs out of the folder
        try:
            installer.remove_engine(user_folder())
        except (installer.InstallError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        _notes.pop("INSTALL", None)
        return {"FINISHED"}


class FLASHMESH_OT_cancel_install(bpy.types.Operator):
    """Give up what is running; an engine that was installed before stays"""

    bl_idname = "flashmesh.cancel_install"
    bl_label = "Cancel"

    task: EnumProperty(
        name="Task",
        items=(("INSTALL", "Install", ""), ("DOWNLOAD", "Download", ""), ("TEST", "Test", "")),
        default="INSTALL",
    )

    def execute(self, context: Context) -> set[str]:
        task = running(self.task)
        if task is None:
            return {"CANCELLED"}
        task.cancel()
        return {"FINISHED"}


class FLASHMESH_OT_download_checkpoint(bpy.types.Operator):
    """Download a model, going on where an earlier try ended, and choose it"""

    bl_idname = "flashmesh.download_checkpoint"
    bl_label = "Download Model"

    url: StringProperty(name="URL", description="Of a .zip, or of model.safetensors that has config.json beside it")
    sha256: StringProperty(name="SHA-256", description="Of that file, 64 digits. Empty: it is not checked")
    checkpoint_name: StringProperty(name="Name", description="Empty: made from the URL")

    @classmethod
    def poll(cls, context: Context) -> bool:
        return _poll_online(cls) and _poll_free(cls, "DOWNLOAD")

    def invoke(self, context: Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=550)

    def execute(self, context: Context) -> set[str]:
        try:
            url, name, sha256 = downloads.check_request(self.url, self.checkpoint_name, self.sha256)
        except downloads.DownloadError as error:
            _notes["DOWNLOAD"] = (False, [str(error)])
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        work = partial(_download_work, folder=user_folder(create=True), url=url, name=name, sha256=sha256)
        return _start(self, "DOWNLOAD", Task("the download", work), _when_downloaded)


class FLASHMESH_OT_use_checkpoint(bpy.types.Operator):
    """Generate with this model"""

    bl_idname = "flashmesh.use_checkpoint"
    bl_label = "Use"

    value: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: Context) -> set[str]:
        _choose_checkpoint(self.value)
        return {"FINISHED"}


class FLASHMESH_OT_remove_checkpoint(bpy.types.Operator):
    """Remove a downloaded model from the disk"""

    bl_idname = "flashmesh.remove_checkpoint"
    bl_label = "Remove"

    value: StringProperty(options={"SKIP_SAVE"})

    def invoke(self, context: Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: Context) -> set[str]:
        try:
            downloads.remove_checkpoint(user_folder(), self.value)
        except (downloads.DownloadError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if get_preferences(context).checkpoint == self.value:
            _choose_checkpoint("nano")
        return {"FINISHED"}


def _poll_online(cls: type[bpy.types.Operator]) -> bool:
    if not bpy.app.online_access:
        cls.poll_message_set(tr(OFFLINE))
    return bpy.app.online_access


def _poll_free(cls: type[bpy.types.Operator], kind: str) -> bool:
    if kind in _tasks:
        cls.poll_message_set(tr("It is running already"))
    return kind not in _tasks


def _test_work(preferences: Any) -> Callable[[Task], list[str]]:
    """What Test does for the chosen backend, with all that it needs of Blender taken along."""
    if preferences.backend == "IN_PROCESS":
        return _test_in_process
    if preferences.backend == "ADDRESS":
        from ..engine.backend import EngineChoice

        named = {"address": preferences.address, "token": preferences.token, "online": bpy.app.online_access}
        choice = EngineChoice(backend="ADDRESS", **named)
        if choice.problem():
            raise ValueError(choice.problem())
        return partial(_test_address, choice=choice)
    return partial(_test_python, python=resolve_engine_python(preferences), core=core_folder())


def _test_python(task: Task, *, python: str, core: Path) -> list[str]:
    task.tell(f"Asking {python}")
    report = engine_python.probe(python, core, task)
    if not report.ok:
        raise installer.InstallError("\n".join([python, *report.lines]))
    return [python, *report.lines]


def _test_address(task: Task, *, choice: Any) -> list[str]:
    from flashmesh_core.service.client import EngineClient

    task.tell(f"Asking {choice.address}")
    health = EngineClient(choice.address, choice.token, timeout=10.0).health()
    version, state = health.get("version"), health.get("state")
    return [f"FlashMesh {version} answers, {state}", f"Python {health.get('python')}, device {health.get('device')}"]


def _test_in_process(task: Task) -> list[str]:
    """Looks without importing, since a library that is loaded once stays in Blender."""
    from ..engine.backend import IN_PROCESS_MODULES

    missing = [name for name in IN_PROCESS_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise installer.InstallError(
            f"Blender's Python lacks {', '.join(missing)}: install the zip that has the wheels, or choose Local process"
        )
    versions = [f"{name} {importlib.metadata.version(name)}" for name in IN_PROCESS_MODULES]
    return [f"Python {sys.version.split()[0]}", *versions]


def _install_work(task: Task, *, folder: Path, base: str, build: str, core: Path, cache: str) -> Path:
    python = installer.install_engine(folder, task, base=base, build=build)
    task.tell("Last step: preparing the engine, this once, for some minutes", None)
    engine_python.warm_up(str(python), core, cache, task)
    return python


def _when_installed(python: Path) -> list[str]:
    preferences = get_preferences()
    if preferences.engine_python:
        preferences.engine_python = ""  # so that the one just installed is used
        bpy.context.preferences.is_dirty = True
    found = installer.installed(user_folder())
    return [found.text if found is not None else f"Installed: {python}"]


def _download_work(task: Task, *, folder: Path, url: str, name: str, sha256: str) -> Path:
    return downloads.download_checkpoint(folder, url, task, name=name, sha256=sha256)


def _when_downloaded(folder: Path) -> list[str]:
    _choose_checkpoint(str(folder))
    return [f"Downloaded and chosen: {folder.name}"]


def _choose_checkpoint(value: str) -> None:
    get_preferences().checkpoint = value
    bpy.context.preferences.is_dirty = True


_CLASSES = (
    FLASHMESH_OT_test_engine,
    FLASHMESH_OT_install_engine,
    FLASHMESH_OT_remove_engine,
    FLASHMESH_OT_cancel_install,
    FLASHMESH_OT_download_checkpoint,
    FLASHMESH_OT_use_checkpoint,
    FLASHMESH_OT_remove_checkpoint,
)


def register() -> None:
    """Registers the buttons."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Ends what runs and undoes register."""
    for task in _tasks.values():
        task.cancel()
    for task in _tasks.values():
        task.wait(_QUIT_SECONDS)
    _tasks.clear()
    _whens_done.clear()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
