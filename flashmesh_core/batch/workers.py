"""Workers of a batch: processes of this machine, or actors on a Ray cluster. Each holds an engine of its own.

A worker gets a source as arrays and gives a mesh as arrays: files are read and written in one place, so that nothing
need be shared between machines. A worker that is lost says so, and whoever gave it the work may give it again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.service.reading import end_with_parent


@dataclass(frozen=True)
class WorkSettings:
    """What every worker is started with: the engine's checkpoint and device, and the options of each generation."""

    checkpoint: str
    device: str
    options: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one source: a mesh and its figures, or an error, or nothing since its worker is lost."""

    key: str
    mesh: Mesh | None = None
    figures: dict[str, Any] | None = None
    error: str | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the worker ended before it had an answer."""
        return self.mesh is None and self.error is None


class Workers(Protocol):
    """Where the sources of a batch go."""

    def free(self) -> int:
        """How many more sources may be given now."""

    def give(self, key: str, source: Mesh | PointCloud) -> None:
        """Starts work on a source; `key` comes back with its outcome."""

    def wait(self) -> list[Outcome]:
        """Waits for outcomes of those that are at work; may give none after a while."""

    def close(self) -> None:
        """Ends all workers, whatever they do."""


class Remaker:
    """The work itself, in whichever process: one engine, and one source after the other."""

    def __init__(self, settings: WorkSettings) -> None:
        import torch

        from flashmesh_core.service.server import load_engine

        torch.set_num_threads(1)  # workers share the cores, and the same bytes come out wherever they run
        self._options = settings.options
        self._engine = load_engine(settings.checkpoint, settings.device)

    def remake(self, key: str, source: Mesh | PointCloud) -> Outcome:
        """The mesh of a source and its figures; errors of the source or of the engine become the outcome's."""
        try:
            given = (source, None) if isinstance(source, Mesh) else (source.points, source.normals)
            result = self._engine.generate(*given, **self._options)
            if not len(result.mesh.faces):
                raise ValueError("the engine gave no faces; try another seed or more candidates")
        except Exception as error:
            return Outcome(key, error=str(error) or type(error).__name__)
        figures: dict[str, Any] = {"faces": len(result.mesh.faces), **result.told(), "end_reason": result.end_reason}
        for name in ("seconds", "tokens_per_second", "chamfer"):
            figures[name] = getattr(result, name)
        plain = {name: None if isinstance(value, float) and not np.isfinite(value) else value
                 for name, value in figures.items()}  # fmt: skip
        return Outcome(key, result.mesh, plain)


class LocalWorkers:
    """`count` processes of this machine, each started with its first work, and anew where it is lost."""

    def __init__(self, count: int, settings: WorkSettings) -> None:
        self._settings = settings
        self._idle: list[_Process | None] = [None] * count  # None: one that is to be started
        self._busy: dict[str, _Process] = {}

    def free(self) -> int:
        """See Workers."""
        return len(self._idle)

    def give(self, key: str, source: Mesh | PointCloud) -> None:
        """See Workers."""
        process = self._idle.pop()
        if process is None or not process.is_alive():
            process = _Process(self._settings)
        self._busy[key] = process
        process.give((key, source))

    def wait(self) -> list[Outcome]:
        """See Workers."""
        ready = set(wait([process.pipe for process in self._busy.values()]))
        outcomes = []
        for key, process in [item for item in self._busy.items() if item[1].pipe in ready]:
            del self._busy[key]
            outcome = process.take()
            if outcome is None:
                process.end()
            self._idle.append(None if outcome is None else process)
            outcomes.append(outcome or Outcome(key))
        return outcomes

    def close(self) -> None:
        """See Workers."""
        for process in [*self._idle, *self._busy.values()]:
            if process is not None:
                process.end()


class _Process:
    def __init__(self, settings: WorkSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, settings), name="flashmesh-batch", daemon=False)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return int(self._process.pid or 0)

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def give(self, work: tuple) -> None:
        def send() -> None:
            with contextlib.suppress(OSError):  # it has ended meanwhile, which `take` will tell
                self.pipe.send(work)

        threading.Thread(target=send, daemon=True).start()  # it may still be starting, and others have answers

    def take(self) -> Outcome | None:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Connection, settings: WorkSettings) -> None:
    """A local worker's own loop. It ends with the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the batch's to handle
    threading.Thread(target=end_with_parent, daemon=True).start()
    remaker: Remaker | None = None
    while True:
        try:
            key, source = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            remaker = remaker or Remaker(settings)
        except Exception as error:
            pipe.send(Outcome(key, error=f"the engine cannot be loaded: {error}"))
            continue
        pipe.send(remaker.remake(key, source))
