"""Writing files so that no reader ever sees half of one. Standard library only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises OSError where `write_atomic` could not put a file: before the work whose outcome it is to hold.

    Makes the folder, and leaves nothing else.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder, not a file that can be written")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part") as file:
        file.write(b"\0")


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file beside `path` and move it there: readers see the old file or the whole new one.

    Makes the folder. Raises OSError if writing fails; the old file then stays, and nothing else is left.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets `write` make a hidden file beside `path`, of the same suffix, and moves that into its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
