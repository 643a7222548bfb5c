# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as the preferences name it: a process, this Python, or an address. Nothing here touches bpy.

An engine's `generate` runs in the thread of a Job, blocks, and yields the events of protocol.py. Before them may
come `starting` (with the `reason` for a restart), and in their midst `restarting` (`reason`): the engine died, and
the faces so far are void.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flashmesh_core.service import protocol
from flashmesh_core.service.client import EngineClient, EngineError, normalize_address
from flashmesh_core.service.process import EngineProcess

from .engine_python import CACHE_VARIABLE
from .generation import Cancellation, Engine, Event
from .request import Request

IN_PROCESS_MODULES = ("torch", "numba", "scipy", "safetensors", "numpy")
_HEALTH_TIMEOUT = 3.0  # seconds
_DEATH_SECONDS = 1.0  # within which a process whose connection broke is seen to be dead


@dataclass(frozen=True)
class EngineChoice:
    """Which engine, from the preferences; equal choices share one engine."""

    backend: str = "LOCAL"  # LOCAL, IN_PROCESS, ADDRESS
    python: str = ""
    address: str = ""
    token: str = ""
    device: str = "auto"
    checkpoint: str = "nano"
    idle_minutes: int = 0
    online: bool = True  # whether Blender may reach beyond this computer
    cache: str = ""  # folder for the engine's compiled kernels; empty: numba decides

    def problem(self) -> str:
        """Why this engine cannot be used, as a sentence; empty where nothing speaks against it. Quick."""
        if self.backend == "IN_PROCESS":
            lacks = next((name for name in IN_PROCESS_MODULES if importlib.util.find_spec(name) is None), "")
            if lacks:
                return f"Blender's own Python lacks {lacks}: choose another engine in the add-on's preferences"
        if self.backend != "ADDRESS":
            return ""
        if not self.address.strip():
            return "the engine's address must be given in the add-on's preferences, got nothing"
        try:
            address = normalize_address(self.address)
        except EngineError as error:
            return error.message
        if not self.online and not is_loopback(address):
            return f"Blender is offline (System preferences), so the engine at {address} is not asked"
        return ""


def is_loopback(address: str) -> bool:
    """Whether a normalised address stays on this computer."""
    host = urlsplit(address).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class _ServiceEngine:
    """What a process of ours and an engine at an address have in common."""

    def __init__(self, choice: EngineChoice) -> None:
        self.choice, self.trouble = choice, ""
        self._health: Event = {}

    def _client(self, timeout: float = 30.0) -> EngineClient | None:
        raise NotImplementedError

    def free(self) -> None:
        client = self._client()
        if client is not None:
            client.unload()
            self.refresh()

    def refresh(self) -> None:
        client = self._client(_HEALTH_TIMEOUT)
        try:
            self._health = {} if client is None else client.health()
        except EngineError as error:
            self._health = {}
            self.trouble = self.trouble or error.message


class ProcessEngine(_ServiceEngine):
    """The service as a child process: started on first use, and again after a crash."""

    def __init__(self, choice: EngineChoice) -> None:
        super().__init__(choice)
        self._process: EngineProcess | None = None
        self._starting: threading.Event | None = None
        self._stopped = threading.Event()  # on purpose: what breaks then is no crash
        self._lock = threading.Lock()  # held while it is started or stopped

    @property
    def pid(self) -> int | None:
        """The id of the process that runs."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    def generate(self, request: Request, cancel: Cancellation) -> Iterator[Event]:
        if self.pid is None:
            yield {"kind": "starting", "reason": self._note_death(self._process)}
        else:
            self.trouble = ""
        for may_restart in (True, False):
            process = self._ensure(cancel)
            try:
                yield from _stream(process.client, request, cancel)
                return
            except EngineError as error:
                if error.status is not None or cancel.is_set() or not self._died(process):
                    raise
                if self._stopped.is_set():
                    raise EngineError("the engine was stopped") from None
                reason = self._note_death(process)
                if not may_restart:
                    raise EngineError(f"the engine ended twice: {reason}") from None
            yield {"kind": "restarting", "reason": reason}

    def start(self) -> None:
        self._ensure(threading.Event(), "--get-ready")

    def stop(self, timeout: float = 5.0) -> None:
        self._stopped.set()
        starting = self._starting
        if starting is not None:
            starting.set()
        with self._lock:
            process, self._process = self._process, None
            self._health = {}
            if process is not None:
                process.stop(timeout)

    def refresh(self) -> None:
        """No answer in time is no trouble: that its process lives is known, so it is only busy."""
        client = self._client(_HEALTH_TIMEOUT)
        if client is None:
            self._health = {}
            return
        with suppress(EngineError):
            self._health = client.health()

    def status(self) -> Event:
        if self._starting is not None:
            return {"state": "starting"}
        if self.pid is None:
            self._note_death(self._process)
            return {"state": "stopped"}
        return {**self._health, "state": self._health.get("state", "running")}

    def _client(self, timeout: float = 30.0) -> EngineClient | None:
        process = self._process
        if process is None or not process.alive:
            return None
        return EngineClient(process.address, process.token, timeout=timeout)

    def _ensure(self, cancel: threading.Event, *more: str) -> EngineProcess:
        """The process, started if it does not run, with `more` arguments."""
        while not self._lock.acquire(timeout=0.05):
            if cancel.is_set():
                raise EngineError("starting the engine was cancelled")
        try:
            if self._process is not None and self._process.alive:
                return self._process
            self._note_death(self._process)
            self._starting = cancel
            self._stopped.clear()
            idle = ("--idle-unload", str(60 * self.choice.idle_minutes)) if self.choice.idle_minutes > 0 else ()
            named: dict[str, Any] = {"checkpoint": self.choice.checkpoint, "device": self.choice.device}
            cache = {CACHE_VARIABLE: self.choice.cache} if self.choice.cache else {}
            named["arguments"] = (*idle, *more)
            self._process = EngineProcess.start(self.choice.python, env=cache, cancel=cancel, **named)
            return self._process
        except EngineError as error:
            if not cancel.is_set():
                self.trouble = error.message
            raise
        finally:
            self._starting = None
            self._lock.release()

    def _died(self, process: EngineProcess) -> bool:
        deadline = time.monotonic() + _DEATH_SECONDS
        while process.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        return not process.alive

    def _note_death(self, process: EngineProcess | None) -> str:
        """Why the process ended, if it did by itself; kept in `trouble`."""
        if process is None or process.alive or self._stopped.is_set():
            return self.trouble if process is None else ""
        if process is self._process:
            self._process, self._health = None, {}
            self.trouble = why_ended(process.stop(), process.stderr_tail)
        return self.trouble


class AddressEngine(_ServiceEngine):
    """A service that runs already, here or elsewhere: not ours to start or end."""

    def generate(self, request: Request, cancel: Cancellation) -> Iterator[Event]:
        client = self._client()
        try:
            client.health()  # a wrong address or version is told before the surface is sent
        except EngineError as error:
            self.trouble = error.message
            raise
        self.trouble = ""
        yield from _stream(client, request, cancel)

    def start(self) -> None:
        self.trouble = ""
        self.refresh()
        if self.trouble:
            raise EngineError(self.trouble, "address")

    def stop(self, timeout: float = 5.0) -> None:
        self._health = {}

    def status(self) -> Event:
        return {**self._health, "state": self._health.get("state", "unknown")}

    def _client(self, timeout: float = 30.0) -> EngineClient:
        problem = self.choice.problem()
        if problem:
            raise EngineError(problem, "address")
        return EngineClient(self.choice.address, self.choice.token, timeout=timeout)


class InProcessEngine:
    """The engine in a thread of Blender's own Python, behind the same queue that the service has."""

    def __init__(self, choice: EngineChoice) -> None:
        self.choice, self.trouble = choice, ""
        self._worker: Any = None
        self._lock = threading.Lock()

    def generate(self, request: Request, cancel: Cancellation) -> Iterator[Event]:
        worker = self._ensure()
        frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        wanted = protocol.GenerationRequest(request.points, None, request.options, request.triangles)
        try:
            generation = worker.submit(wanted, frames.put)
        except protocol.RequestError as error:
            raise EngineError(error.message, error.field, error.status) from None
        cancel.hook(lambda: worker.cancel(generation.id))
        try:
            while (data := frames.get()) is not None:
                frame = protocol.decode_frame(data)
                event = {**frame.header, **frame.arrays}
                if event["kind"] == "error":
                    raise EngineError(event["error"]["message"], event["error"]["field"], event["status"])
                yield event
        finally:
            cancel.hook(None)
            generation.cancelled.set()

    def start(self) -> None:
        self._ensure()

    def stop(self, timeout: float = 5.0) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.close(timeout)

    def free(self) -> None:
        worker = self._worker
        if worker is not None:
            try:
                worker.unload()
            except protocol.RequestError as error:
                raise EngineError(error.message) from None

    def refresh(self) -> None:
        """Its health is known at any time."""

    def status(self) -> Event:
        worker = self._worker
        return {"state": "stopped"} if worker is None else worker.status()

    def _ensure(self) -> Any:
        problem = self.choice.problem()
        if problem:
            raise EngineError(problem, "python")
        with self._lock:
            if self._worker is None:
                os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as flashmesh_core.__main__ does
                if self.choice.cache:
                    os.environ[CACHE_VARIABLE] = self.choice.cache  # read when numba is imported
                from flashmesh_core.service.server import load_engine
                from flashmesh_core.service.worker import EngineWorker

                idle = 60.0 * self.choice.idle_minutes or None
                named = {"checkpoint": self.choice.checkpoint, "device": self.choice.device, "idle_unload": idle}
                self._worker = EngineWorker(load_engine, **named)
            return self._worker


def _stream(client: EngineClient, request: Request, cancel: Cancellation) -> Iterator[Event]:
    """The events of a generation at a service; `cancel` tells the service to stop."""
    with client.generate(request.points, triangles=request.triangles, **request.options) as stream:
        cancel.hook(stream.cancel)
        try:
            yield from stream
        finally:
            cancel.hook(None)


def why_ended(status: int, said: str) -> str:
    """A sentence on a process that ended by itself, from its exit status and what it wrote last."""
    how = f"with status {status}"
    if status < 0:
        with suppress(ValueError):
            how = f"by {signal.Signals(-status).name}"
        if status == -9:
            how += " (killed, often because memory ran out)"
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("FlashMesh serves")]
    return f"the engine ended {how}" + (f": {lines[-1].strip():.300}" if lines else "")


def make_engine(choice: EngineChoice) -> Engine:
    """The engine of a choice, not started yet."""
    kinds = {"LOCAL": ProcessEngine, "IN_PROCESS": InProcessEngine, "ADDRESS": AddressEngine}
    if choice.backend not in kinds:
        raise ValueError(f"backend must be one of {', '.join(kinds)}, got {choice.backend!r}")
    return kinds[choice.backend](choice)
