"""The add-on's modules without Blender: loaded as parts of a package whose __init__, which needs bpy, is not run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = "flashmesh_addon"
FOLDER = Path(__file__).resolve().parents[1] / "blender_addon"


def load(name: str) -> ModuleType:
    """The module blender_addon/NAME.py."""
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = [str(FOLDER)]
        sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.{name}")


class Listener:
    """Keeps what a task tells, and ends it once `give_up` is set."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shares: list[float] = []
        self.give_up = False

    def tell(self, line: str, progress: float | None = None) -> None:
        if line:
            self.lines.append(line)
        if progress is not None:
            self.shares.append(progress)

    def check(self) -> None:
        if self.give_up:
            raise KeyboardInterrupt
