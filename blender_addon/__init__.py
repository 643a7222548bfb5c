# SPDX-License-Identifier: GPL-3.0-or-later
"""FlashMesh in Blender: register only. What needs flashmesh_core is imported once that can be found."""

from __future__ import annotations

import atexit
import sys
from importlib import import_module
from types import ModuleType

import bpy

from . import core_path, preferences

_PARTS = ("properties", "host", "operators", "panels")
_registered: list[ModuleType] = []
_imported: list[str] = []  # dotted names of our modules that use flashmesh_core


def register() -> None:
    """Registers all parts, or none."""
    core_path.ensure_core()
    if not bpy.app.binary_path:  # a module of Python, which ends without unregistering: bpy 4.5 then hangs
        atexit.register(unregister)
    before = set(sys.modules)
    try:
        for part in (preferences, *(import_module(f".{name}", __package__) for name in _PARTS)):
            part.register()
            _registered.append(part)
    except BaseException:
        unregister()
        raise
    finally:
        _imported.extend(name for name in sys.modules if name not in before and name.startswith(f"{__package__}."))


def unregister() -> None:
    """Undoes register, and ends a run and the engine. What used the core is imported anew the next time, as it is."""
    atexit.unregister(unregister)
    while _registered:
        _registered.pop().unregister()
    core = [name for name in sys.modules if name.startswith(f"{__package__}.lib.")]
    for name in dict.fromkeys([*_imported, *core]):
        sys.modules.pop(name, None)
        globals().pop(name.rpartition(".")[2], None)
    _imported.clear()
    core_path.release_core()
