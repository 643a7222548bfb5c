# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences, and which Python runs the engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from .engine_python import CACHE_VARIABLE, python_in
from .installer import installed_python

if TYPE_CHECKING:
    from bpy.types import Context

ENGINE_PYTHON_VARIABLE = "FLASHMESH_ENGINE_PYTHON"
MAX_FACES = 10_000  # of flashmesh_core.protocol, which is not importable while this class is made


PRESET_ITEMS = (
    ("DRAFT", "Draft", "Ends at the wanted number of faces, complete or not", 0),
    ("STANDARD", "Standard", "One mesh, written to its end", 1),
    ("BEST_OF_4", "Best of 4", "Four meshes, of which the one nearest the source stays: about four times the work", 2),
)


class EnginePythonError(ValueError):
    """No Python for the engine can be named; the message says what to do."""


@dataclass
class PlainPreferences:
    """The same attributes and defaults where the add-on is not installed but imported from the repository."""

    backend: str = "LOCAL"
    engine_python: str = ""
    address: str = ""
    token: str = ""
    device: str = "AUTO"
    checkpoint: str = "nano"
    idle_minutes: int = 10
    on_cancel: str = "KEEP"
    faces: int = 300
    preset: str = "STANDARD"
    hide_source: bool = False


DEFAULTS = PlainPreferences()
_plain = PlainPreferences()


class FlashMeshPreferences(bpy.types.AddonPreferences):
    """What `get_preferences` gives where the add-on is installed."""

    bl_idname = __package__

    backend: EnumProperty(
        name="Engine",
        description="Where meshes are generated",
        items=(
            ("LOCAL", "Local process", "A process on this computer, started on first use; Blender stays responsive"),
            ("IN_PROCESS", "Inside Blender", "In Blender's own Python, which must have torch"),
            ("ADDRESS", "Address", "An engine that runs already, on this computer or another"),
        ),
        default=DEFAULTS.backend,
    )
    engine_python: StringProperty(
        name="Python",
        description="Python program that runs the engine. Empty: the one that Install has made",
        subtype="FILE_PATH",
        default=DEFAULTS.engine_python,
    )
    address: StringProperty(
        name="Address",
        description="Of the engine, as in 127.0.0.1:8000 or http://workstation:8000",
        default=DEFAULTS.address,
    )
    token: StringProperty(
        name="Token",
        description="The engine's bearer token. Kept in Blender's preferences file as it is",
        subtype="PASSWORD",
        default=DEFAULTS.token,
    )
    device: EnumProperty(
        name="Device",
        description="What the engine computes on",
        items=(
            ("AUTO", "Automatic", "The graphics card if the engine can use one, else the processor"),
            ("CPU", "Processor", "Works everywhere"),
            ("CUDA", "NVIDIA graphics card", "Needs the CUDA build of torch"),
        ),
        default=DEFAULTS.device,
    )
    checkpoint: StringProperty(
        name="Checkpoint",
        description="Trained weights: the name of a bundled checkpoint, a folder, or a .safetensors file",
        default=DEFAULTS.checkpoint,
    )
    idle_minutes: IntProperty(
        name="Free memory after",
        description="Minutes without work after which the engine drops its weights. 0: never",
        min=0,
        max=24 * 60,
        default=DEFAULTS.idle_minutes,
    )
    on_cancel: EnumProperty(
        name="On cancel",
        description="What happens to an unfinished mesh",
        items=(
            ("KEEP", "Keep", "The faces that are there stay"),
            ("REMOVE", "Remove", "The unfinished mesh is removed"),
        ),
        default=DEFAULTS.on_cancel,
    )
    faces: IntProperty(
        name="Faces",
        description="Wanted number of faces",
        min=1,
        max=MAX_FACES,
        default=DEFAULTS.faces,
    )
    preset: EnumProperty(
        name="Detail",
        description="How much effort goes into a mesh",
        items=PRESET_ITEMS,
        default=DEFAULTS.preset,
    )
    hide_source: BoolProperty(
        name="Hide the source",
        description="Hide the object that a mesh was made from",
        default=DEFAULTS.hide_source,
    )

    def draw(self, context: Context) -> None:
        """The page in Blender's preferences."""
        from . import preferences_page

        preferences_page.draw(self.layout, self)


def get_preferences(context: Context | None = None) -> FlashMeshPreferences | PlainPreferences:
    """The user's preferences; where the add-on is not installed, a plain object with the same attributes."""
    addon = (context or bpy.context).preferences.addons.get(__package__)
    found = addon.preferences if addon is not None else None
    return _plain if found is None else found


def user_folder(create: bool = False) -> Path:
    """Where the add-on may write: the extension's user folder, or one in Blender's data files if not installed."""
    if __package__.startswith("bl_ext."):
        folder = bpy.utils.extension_path_user(__package__, create=create)
    else:
        folder = bpy.utils.user_resource("DATAFILES", path="flashmesh", create=create)
    if not folder:
        raise OSError("the add-on's user folder cannot be made: see Blender's console")
    return Path(folder)


def kernel_cache(inside: bool = False) -> str:
    """The folder for the engine's compiled kernels, since an extension's own is not for writing; '': numba decides.

    `inside` Blender the core's modules have other names, which numba keeps with what it compiles.
    """
    named = os.environ.get(CACHE_VARIABLE, "")
    if not __package__.startswith("bl_ext.") or (named and Path(named).parent != user_folder()):
        return ""
    return str(user_folder() / ("kernels_inside" if inside else "kernels"))


def resolve_engine_python(preferences: FlashMeshPreferences | PlainPreferences) -> str:
    """The Python for the engine: the given one, the installed one, or that of $FLASHMESH_ENGINE_PYTHON.

    Raises EnginePythonError (a ValueError) that says what to do.
    """
    given = preferences.engine_python.strip()
    if given:
        return _checked_python(bpy.path.abspath(given), "Python, in the add-on's preferences,")
    installed = installed_python(user_folder())
    if installed is not None:
        return str(installed)
    named = os.environ.get(ENGINE_PYTHON_VARIABLE, "").strip()
    if named:
        return _checked_python(named, f"${ENGINE_PYTHON_VARIABLE}")
    raise EnginePythonError(
        "the engine is not installed: press Install Engine in the add-on's preferences, or name a Python there "
        "that has torch"
    )


def _checked_python(path: str, what: str) -> str:
    found = python_in(Path(path))
    if found is None:
        raise EnginePythonError(f"{what} must name a Python program or its environment's folder, got {path!r}")
    return str(found)


def register() -> None:
    """Registers the preferences and their buttons."""
    from . import setup

    bpy.utils.register_class(FlashMeshPreferences)
    setup.register()


def unregister() -> None:
    """Ends what the buttons began and undoes register."""
    from . import setup

    setup.unregister()
    bpy.utils.unregister_class(FlashMeshPreferences)
