# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine for a batch: in this Python, in a process of our own, or a service that runs. No bpy here."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.service import protocol

ROOT = Path(__file__).resolve().parents[2]  # where flashmesh_core lies
DEFAULT_CHECKPOINT = "nano"


Reading = Callable[[str, float], None]


class EngineUnavailableError(Exception):
    """No object can be done with the engine that was asked for; the message says why."""


class Engine(Protocol):
    """What the loop needs of an engine, wherever it runs."""

    def generate(
        self, vertices: np.ndarray, triangles: np.ndarray | None, reading: Reading, **wanted: Any
    ) -> dict[str, Any]:
        """The figures of the best candidate, its `vertices` (V, 3) and its `face_indices` (F, 3).

        `vertices` (N, 3) and `triangles` (T, 3) are the source, those of a cloud None; `wanted` are options of
        flashmesh_core.options.OPTIONS.
        `reading` is called with the step of reading that goes on, as the engine calls it, and the share done.
        """

    def close(self) -> None:
        """Ends what was started for it."""


class LocalEngine:
    """The engine inside this Python."""

    def __init__(self, options: argparse.Namespace) -> None:
        from flashmesh_core.service.server import load_engine

        os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as flashmesh_core.__main__ does, before torch loads
        try:
            self._engine = load_engine(options.checkpoint or DEFAULT_CHECKPOINT, options.device)
        except (ValueError, OSError, ImportError) as error:
            raise EngineUnavailableError(f"the engine cannot be loaded: {error}") from error

    def generate(
        self, vertices: np.ndarray, triangles: np.ndarray | None, reading: Reading, **wanted: Any
    ) -> dict[str, Any]:
        """As Engine.generate."""
        source = vertices if triangles is None else Mesh(vertices, triangles)
        result = self._engine.generate(source, progress=reading, **wanted)
        names = ("end_reason", "seconds", "tokens_per_second", "chamfer")
        return {
            **{name: getattr(result, name) for name in names},
            **result.told(),
            "vertices": result.mesh.vertices,
            "face_indices": result.mesh.faces,
        }

    def close(self) -> None:
        """Nothing to end."""


class ServiceEngine:
    """The engine in another process: our own, started anew should it die, or one at an address."""

    def __init__(self, options: argparse.Namespace) -> None:
        from flashmesh_core.service.client import EngineClient, EngineError
        from flashmesh_core.service.process import EngineProcess

        self._process: EngineProcess | None = None
        self._error, self._given = EngineError, {}
        try:
            if "://" in options.engine:
                token = options.token or os.environ.get(protocol.TOKEN_VARIABLE, "")
                self._client = EngineClient(options.engine, token)
                self._given = {"checkpoint": options.checkpoint} if options.checkpoint else {}
                self._client.health()
            else:
                python, checkpoint = engine_python(options.engine_python), options.checkpoint or DEFAULT_CHECKPOINT
                named = {"checkpoint": checkpoint, "device": options.device}
                self._start = partial(EngineProcess.start, python, **named)
                self._process = self._start()
        except EngineError as error:
            raise EngineUnavailableError(str(error)) from error

    def generate(
        self, vertices: np.ndarray, triangles: np.ndarray | None, reading: Reading, **wanted: Any
    ) -> dict[str, Any]:
        """As Engine.generate."""
        if self._process is not None and not self._process.alive:
            self._process = self._start()
        client = self._client if self._process is None else self._process.client
        try:
            with client.generate(vertices, triangles=triangles, **wanted, **self._given) as stream:
                for event in stream:
                    if "step" in event:
                        reading(event["step"], event["share"])
        except self._error as error:
            if error.field in ("checkpoint", "device", *wanted):  # no other object would fare better
                raise EngineUnavailableError(str(error)) from error
            raise
        return stream.result

    def close(self) -> None:
        """Ends the process, if it is ours."""
        if self._process is not None:
            self._process.stop()


def engine_python(given: str | None) -> str:
    """The Python that runs the engine's process."""
    local = [ROOT / ".venv" / "bin" / "python", ROOT / ".venv" / "Scripts" / "python.exe"]
    for named in (given, os.environ.get("FLASHMESH_PYTHON"), *(str(path) for path in local if path.exists())):
        if named:
            return named
    test = [sys.executable, "-c", "import torch"]
    if sys.executable and subprocess.run(test, capture_output=True, check=False).returncode == 0:
        return sys.executable
    raise EngineUnavailableError(
        "--engine-python must name a Python that has torch, got nothing: $FLASHMESH_PYTHON is not set, "
        f"there is no {local[0]}, and {sys.executable or 'this Python'} lacks torch"
    )


def make_engine(options: argparse.Namespace) -> Engine:
    """The engine that --engine asks for."""
    local = options.engine == "inprocess" or (options.engine == "auto" and find_spec("torch") is not None)
    return LocalEngine(options) if local else ServiceEngine(options)
