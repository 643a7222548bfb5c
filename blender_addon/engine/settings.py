# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preferences hold: their defaults, where the add-on may write, and which Python runs the engine.

Nothing here registers anything: all parts may read this, and ui/preferences.py declares the same fields to Blender.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from .engine_python import CACHE_VARIABLE, python_in
from .installer import installed_python

PACKAGE = __package__.rpartition(".")[0]  # of the add-on, as Blender knows it
ENGINE_PYTHON_VARIABLE = "FLASHMESH_ENGINE_PYTHON"


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
    keep_ready: bool = True
    on_cancel: str = "REMOVE"
    faces: int = 300
    preset: str = "STANDARD"
    hide_source: bool = False
    seconds_per_face: float = 0.0  # of the last mesh, for the estimate; 0: not known


DEFAULTS = PlainPreferences()
_plain = PlainPreferences()


def get_preferences(context: bpy.types.Context | None = None) -> Any:
    """The user's preferences; where the add-on is not installed, a plain object with the same attributes."""
    addon = (context or bpy.context).preferences.addons.get(PACKAGE)
    found = addon.preferences if addon is not None else None
    return _plain if found is None else found


def user_folder(create: bool = False) -> Path:
    """Where the add-on may write: the extension's user folder, or one in Blender's data files if not installed."""
    if PACKAGE.startswith("bl_ext."):
        folder = bpy.utils.extension_path_user(PACKAGE, create=create)
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
    if not PACKAGE.startswith("bl_ext.") or (named and Path(named).parent != user_folder()):
        return ""
    return str(user_folder() / ("kernels_inside" if inside else "kernels"))


def resolve_engine_python(preferences: Any) -> str:
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
        "the engine is not installed: press Set Up Engine, or name a Python that has torch in the add-on's preferences"
    )


def engine_is_missing(preferences: Any) -> bool:
    """Whether no engine was ever set up: it must run on this computer, and no Python is named or installed for it."""
    named = preferences.engine_python.strip() or os.environ.get(ENGINE_PYTHON_VARIABLE, "").strip()
    return preferences.backend == "LOCAL" and not named and installed_python(user_folder()) is None


def _checked_python(path: str, what: str) -> str:
    found = python_in(Path(path))
    if found is None:
        raise EnginePythonError(f"{what} must name a Python program or its environment's folder, got {path!r}")
    return str(found)
