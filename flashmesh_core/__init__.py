"""FlashMesh: artist-like low-poly meshes from any surface. `load()` is the door; importing this costs no torch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flashmesh_core.decode.engine import Engine

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(name_or_path: str | os.PathLike[str] = "nano", *, device: str = "auto", precision: str = "auto") -> Engine:
    """An engine with the checkpoint of a bundled name, a folder, or a safetensors file.

    `device` is "auto", "cpu" or "cuda[:N]". Raises ValueError for an unknown checkpoint or device.
    """
    from flashmesh_core.decode.engine import Engine

    return Engine.load(name_or_path, device=device, precision=precision)
