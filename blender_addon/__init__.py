# SPDX-License-Identifier: GPL-3.0-or-later
"""FlashMesh in Blender: register only. Nothing is imported before that, since the parts need flashmesh_core."""

from __future__ import annotations

import atexit
import sys
from importlib import import_module
from types import ModuleType

_PARTS = (
    "translations", "scene.variants", "ui.preferences", "ui.setup", "ui.properties", "ui.watch", "ui.operators",
    "ui.panels", "ui.bake", "ui.results",
)  # fmt: skip
_registered: list[ModuleType] = []


def register() -> None:
    """Registers all parts, or none."""
    import bpy

    import_module(".engine.core_path", __package__).ensure_core()
    if not bpy.app.binary_path:  # a module of Python, which ends without unregistering: bpy 4.5 then hangs
        atexit.register(unregister)
    try:
        for name in _PARTS:
            part = import_module(f".{name}", __package__)
            part.register()
            _registered.append(part)
    except BaseException:
        unregister()
        raise


def unregister() -> None:
    """Undoes register, and ends a run and the engine. All of it is imported anew the next time, as it is then."""
    atexit.unregister(unregister)
    while _registered:
        _registered.pop().unregister()
    import_module(".engine.core_path", __package__).release_core()
    for name in [name for name in sys.modules if name.startswith(f"{__package__}.")]:
        del sys.modules[name]
        globals().pop(name.removeprefix(f"{__package__}."), None)
