"""The engine service as a child process: started, read until it is ready, ended. Standard library only."""

from __future__ import annotations

import json
import os
import queue
import re
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flashmesh_core.service import protocol
from flashmesh_core.service.protocol import EngineError

if TYPE_CHECKING:
    from flashmesh_core.service.client import EngineClient

_TAIL_LINES = 40  # of the service's stderr, kept for the message


class EngineProcess:
    """The service as a child process that ends with this one. Made by `start`; a context manager."""

    def __init__(self, child: subprocess.Popen[bytes], python: str) -> None:
        self.python, self.pid = python, child.pid
        self.address, self.token = "", ""
        self._child = child
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._readers = [
            threading.Thread(target=self._read_stdout, args=(child.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(child.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @classmethod
    def start(
        cls,
        python: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        checkpoint: str = "nano",
        device: str = "auto",
        arguments: Sequence[str] = (),
        command: Sequence[str] = ("-m", "flashmesh_core", "serve"),
        cancel: threading.Event | None = None,
    ) -> EngineProcess:
        """Starts `python` with the service and waits until it is ready.

        `env` adds to this process's environment, `arguments` to those of `serve`; `cancel` gives the wait up.
        The child uses the copy of flashmesh_core that this module is in. Raises EngineError that says why it
        did not start, and what to install where that is the reason.
        """
        python = python or sys.executable
        token = secrets.token_urlsafe(32)
        options = ("--checkpoint", checkpoint, "--device", device, "--watch-stdin", *arguments)
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            child = subprocess.Popen(
                [python, *command, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_child_environment(token, env),
                creationflags=flags,
            )
        except OSError as error:
            raise EngineError(f"{python!r} cannot be started: {error.strerror or error}", "python") from None
        process = cls(child, python)
        try:
            process._await_ready(token, timeout, cancel)
        except BaseException:
            process.stop(timeout=1.0)
            raise
        return process

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def client(self) -> EngineClient:
        """A client of this service."""
        from flashmesh_core.service.client import EngineClient

        return EngineClient(self.address, self.token)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._child.poll() is None

    @property
    def stderr_tail(self) -> str:
        """The last lines that the service wrote for people."""
        return "\n".join(list(self._tail))

    def stop(self, timeout: float = 5.0) -> int:
        """Ends the process: by closing its stdin, and after `timeout` seconds by force. Its exit status."""
        with suppress(OSError):
            if self._child.stdin is not None:
                self._child.stdin.close()
        for end in (self._child.terminate, self._child.kill):
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout)
                break
            end()
        status = self._child.wait()
        for reader in self._readers:
            reader.join(1.0)
        return status

    def _await_ready(self, token: str, timeout: float, cancel: threading.Event | None) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if cancel is not None and cancel.is_set():
                raise EngineError("starting the engine was cancelled")
            try:
                line = self._lines.get(timeout=0.1)
            except queue.Empty:
                continue
            if line is None:
                raise EngineError(self._why_ended(), "python")
            ready = _ready_line(line)
            if ready is not None:
                self.address, self.token = str(ready.get("address")), token
                return
        raise EngineError(f"the engine was not ready after {timeout:g} s. It said: {self.stderr_tail or 'nothing'}")

    def _why_ended(self) -> str:
        """A sentence on why the process ended, from its exit status and what it wrote."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(5.0)
        self._readers[1].join(1.0)
        complaint = re.search(r"^error: (.+)$", self.stderr_tail, re.MULTILINE)
        if complaint:
            return f"the engine did not start: {complaint[1]}"
        lacks = re.search(r"No module named '?(\w+)", self.stderr_tail)
        if lacks:
            name = {"flashmesh_core": "flashmesh"}.get(lacks[1], lacks[1])
            return f"{self.python} lacks {lacks[1]}; install with: {self.python} -m pip install {name}"
        said = self.stderr_tail.strip().splitlines()[-5:]
        return f"the engine ended with status {self._child.poll()}. It said: " + ("\n".join(said) or "nothing")

    def _read_stdout(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self._lines.put(line.decode("utf-8", "replace"))
        self._lines.put(None)

    def _read_stderr(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self._tail.append(line.decode("utf-8", "replace").rstrip())


def _child_environment(token: str, extra: Mapping[str, str] | None) -> dict[str, str]:
    env = {**os.environ, **(extra or {}), protocol.TOKEN_VARIABLE: token}
    env.pop("PYTHONHOME", None)  # Blender's own, if any, is not the child's
    package = Path(__file__).resolve().parents[1]
    if package.name == "flashmesh_core":
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(package.parent), env.get("PYTHONPATH"))))
    return {**env, "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def _ready_line(line: str) -> dict[str, Any] | None:
    try:
        ready = json.loads(line)
    except ValueError:
        return None
    return ready if isinstance(ready, dict) and ready.get("event") == "ready" else None
