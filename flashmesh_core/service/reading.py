"""Reading of large surfaces in processes of their own: it can be ended at once, and holds nobody up.

Reading four million triangles takes minutes and gigabytes, in calls that nothing can interrupt. A process can be
killed, gives all its memory back, and takes nothing down with it where it crashes or the machine runs out of memory.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from flashmesh_core.config import ModelConfig
from flashmesh_core.mesh.canonical import Mesh

if TYPE_CHECKING:  # imported where it is needed: the service starts without what it compiles
    from flashmesh_core.decode.source import Source

Progress = Callable[[str, float], None]

SMALL = 2_000  # rows of a source that is read in the caller's own thread: it is done before a process would start
LARGE = 250_000  # rows of a source after which the process ends, for its memory
_PIECE = 1 << 24  # bytes sent at once
_POLL_SECONDS = 0.05  # between two looks at whether the caller wants to stop
_REPORT_SECONDS = 0.1  # between two words about how far one step is


class ReadingEndedError(RuntimeError):
    """The process that read a surface ended by itself."""


class Readers:
    """Processes that read surfaces; at most one waits for work. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._idle: list[_Reader] = []
        self._lock = threading.Lock()
        self._closed = False

    def prepare(
        self, source: Mesh | np.ndarray, normals: np.ndarray | None, config: ModelConfig, *,
        progress: Progress | None = None, **keywords: Any,
    ) -> Source:  # fmt: skip
        """As `decode.source.prepare_source`; raising in `progress` ends the reading within a tenth of a second.

        Raises what `prepare_source` raises, and ReadingEndedError where the process ends before it has an answer.
        """
        rows = max(len(source.faces), len(source.vertices)) if isinstance(source, Mesh) else len(source)
        if rows <= SMALL:
            from flashmesh_core.decode.source import prepare_source

            return prepare_source(source, normals, config, progress=progress, **keywords)
        return self.prepare_apart(source, normals, config, progress=progress, keep=rows <= LARGE, **keywords)

    def prepare_apart(
        self, source: Mesh | np.ndarray, normals: np.ndarray | None, config: ModelConfig, *,
        progress: Progress | None = None, keep: bool = True, **keywords: Any,
    ) -> Source:  # fmt: skip
        """As `prepare`, however small the source is; the process waits for more afterwards where it is to be kept."""
        report = progress or (lambda stage, share: None)
        reader = self._take()
        try:
            outcome = reader.read((source, normals, config, keywords), report)
        except BaseException:
            reader.end()
            raise
        self._put_back(reader, keep)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def start(self) -> None:
        """Starts a process ahead of its first work, unless one waits for work already."""
        with self._lock:
            waits = any(reader.alive for reader in self._idle)
        if not waits:
            self._put_back(self._take(), keep=True)

    def close(self) -> None:
        """Ends the process that waits, for good; those at work are ended by whoever waits for them."""
        self._closed = True
        self.rest()

    def rest(self) -> None:
        """Ends the process that waits, for its memory; the next work starts another."""
        with self._lock:
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.end()

    def _take(self) -> _Reader:
        with self._lock:
            reader = self._idle.pop() if self._idle else None
        if reader is not None and reader.alive:
            return reader
        return _Reader()

    def _put_back(self, reader: _Reader, keep: bool) -> None:
        with self._lock:
            kept = keep and not self._idle and not self._closed
            if kept:
                self._idle.append(reader)
        if not kept:
            reader.end()


class _Reader:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), name="flashmesh-reader", daemon=True)
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def read(self, request: tuple, report: Progress) -> Source | BaseException:
        """What the process makes of the request, or the exception that it ended in."""
        told = ("start", 0.0)

        def look() -> None:
            report(*told)

        try:
            while not self._pipe.poll(_POLL_SECONDS):  # it may still be starting
                look()
            self._pipe.recv()
            _send(self._pipe, request, look)
            while True:
                while not self._pipe.poll(_POLL_SECONDS):
                    look()
                kind, what = _receive(self._pipe, look)
                if kind != "progress":
                    return what
                told = what
                look()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join(1.0)
            raise ReadingEndedError(_why_ended(self._process.exitcode)) from None

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _why_ended(status: int | None) -> str:
    if status is not None and status < 0:
        name = signal.Signals(-status).name if -status in {*signal.Signals} else str(-status)
        likely = ": the machine ran out of memory, most likely" if name == "SIGKILL" else ""
        return f"the process that read the surface was ended by {name}{likely}"
    return f"the process that read the surface ended with status {status}"


def _serve(pipe: Connection) -> None:
    """The process's own loop: one request after the other, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the service's to handle
    os.dup2(sys.stderr.fileno() if sys.stderr is not None else os.open(os.devnull, os.O_WRONLY), 1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    importlib.import_module("flashmesh_core.decode.source")  # half a second, before anything is asked
    while True:
        try:
            pipe.send("ready")
            source, normals, config, keywords = _receive(pipe, lambda: None)
        except (EOFError, OSError):
            return
        _send(pipe, _answer(pipe, source, normals, config, keywords), lambda: None)
        del source, normals


def _answer(pipe: Connection, source: Any, normals: Any, config: ModelConfig, keywords: dict) -> tuple[str, Any]:
    from flashmesh_core.decode.source import prepare_source

    told, last = 0.0, ""

    def progress(stage: str, share: float) -> None:
        nonlocal told, last
        if stage != last or time.monotonic() - told > _REPORT_SECONDS:
            told, last = time.monotonic(), stage
            _send(pipe, ("progress", (stage, float(share))), lambda: None)

    try:
        made = prepare_source(source, normals, config, progress=progress, **keywords)
        progress("measure", 0.0)
        for name in ("samples", "tree"):  # computed here, and kept in the answer
            getattr(made.surface, name)
        return "done", made
    except Exception as error:  # whatever it is, the caller raises it
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return "failed", error


def end_with_parent() -> None:
    """Ends this process, one that multiprocessing started, as soon as the one that started it has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(0)


def _send(pipe: Connection, message: Any, between: Callable[[], None]) -> None:
    """Pickles a message, its arrays apart and in pieces; calls `between` after each."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    pipe.send((data, [view.nbytes for view in views]))
    for view in views:
        for begin in range(0, view.nbytes, _PIECE):
            pipe.send_bytes(view[begin : begin + _PIECE])
            between()


def _receive(pipe: Connection, between: Callable[[], None]) -> Any:
    data, sizes = pipe.recv()
    arrays: list[Any] = [np.empty(size, dtype=np.uint8) for size in sizes]
    for array in arrays:
        for begin in range(0, len(array), _PIECE):
            pipe.recv_bytes_into(memoryview(array)[begin : begin + _PIECE])
            between()
    return pickle.loads(data, buffers=arrays)
