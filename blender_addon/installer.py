# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's own Python environment. No Blender here, so that it can be tested without."""

from __future__ import annotations

import json
import os
from pathlib import Path

POINTER = "engine.json"  # written last: names the environment that is complete


def python_in(path: Path) -> Path | None:
    """The Python program that `path` is, or that lies in the environment `path`; None if there is none."""
    if path.is_dir():
        inside = (path / "bin" / "python", path / "Scripts" / "python.exe", path / "python.exe")
        return next((program for program in inside if program.is_file()), None)
    return path if path.is_file() and (os.name == "nt" or os.access(path, os.X_OK)) else None


def installed_python(folder: Path) -> Path | None:
    """The Python of the complete environment under the user folder `folder`; None if there is none."""
    try:
        name = json.loads((folder / POINTER).read_text(encoding="utf-8"))["environment"]
        return python_in(folder / name)
    except (OSError, ValueError, KeyError, TypeError):
        return None
