"""The add-on's modules that need no Blender, and who listens to their work."""

from __future__ import annotations

import importlib
from types import ModuleType


def load(name: str) -> ModuleType:
    """The module blender_addon.NAME."""
    return importlib.import_module(f"blender_addon.{name}")


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
