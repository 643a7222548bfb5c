# SPDX-License-Identifier: GPL-3.0-or-later
"""Other Pythons than Blender's own: run, tested for what the engine needs, found. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

MODULES = ("torch", "numba", "numpy", "scipy", "safetensors", "starlette", "uvicorn", "flashmesh_core")
_SHOWN = ("torch", "numba", "flashmesh_core")
OLDEST = (3, 10)
CACHE_VARIABLE = "NUMBA_CACHE_DIR"

_PROBE = """
import importlib, json, os, platform, sys
facts = {"python": platform.python_version(), "versions": {}, "problems": {}, "device": ""}
for name in sys.argv[1].split(","):
    try:
        facts["versions"][name] = str(getattr(importlib.import_module(name), "__version__", "of unknown version"))
    except BaseException as error:
        facts["problems"][name] = f"{type(error).__name__}: {error}"
if "torch" in facts["versions"]:
    torch = sys.modules["torch"]
    facts["device"] = f"processor, {os.cpu_count()} threads"
    try:
        if torch.cuda.is_available():
            gibibytes = torch.cuda.get_device_properties(0).total_memory / 2**30
            facts["device"] = f"{torch.cuda.get_device_name(0)}, {gibibytes:.0f} GiB"
    except BaseException as error:
        facts["problems"]["CUDA"] = f"{type(error).__name__}: {error}"
print("\\nFLASHMESH " + json.dumps(facts), flush=True)
"""

# Compiles all that the engine compiles, and shows by one small mesh that the engine works. It ends with whoever started
# it, since stdin closes then. Raw reads, as a thread in a buffered one makes Python's end fail.
_WARM_UP = """
import os, threading
def watch():
    while os.read(0, 1):
        pass
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
import numpy as np
from flashmesh_core.service.server import load_engine
engine = load_engine("nano", "auto")
engine.warm_up()
points = np.random.default_rng(0).normal(size=(4096, 3))
points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
result = engine.generate(points, points, faces=16, max_faces=16)
print(f"FLASHMESH wrote {len(result.mesh.faces)} faces", flush=True)
"""


class InstallError(Exception):
    """What went wrong and what to do, to be shown as it stands."""


class Reporter(Protocol):
    """Who listens: a Task, or whatever has these two."""

    def tell(self, line: str, progress: float | None = None) -> None:
        """Shows a line and the share that is done, in [0, 1]."""

    def check(self) -> None:
        """Raises if the user has given up."""


@dataclass(frozen=True)
class EngineReport:
    """What one Python has of what the engine needs."""

    program: str
    python: str
    versions: dict[str, str]
    problems: dict[str, str]  # by module; empty where the engine can run
    device: str

    @property
    def ok(self) -> bool:
        """Whether the engine can run there."""
        return not self.problems

    @property
    def lines(self) -> list[str]:
        """For the user to read."""
        shown = [
            f"{name} {self.versions[name]}" for name in ("torch", "numba", "flashmesh_core") if name in self.versions
        ]
        device = [f"Device: {self.device}"] if self.device else []
        missing = [name for name, why in self.problems.items() if why.startswith("ModuleNotFoundError")]
        broken = [f"{name} does not load: {why}" for name, why in self.problems.items() if name not in missing]
        lacks = [f"Missing: {', '.join(missing)}. Press Install Engine, which makes a Python of the engine's own"]
        return [f"Python {self.python}", *shown, *device, *broken, *(lacks if missing else [])]


def python_in(path: Path) -> Path | None:
    """The Python program that `path` is, or that lies in the environment `path`; None if there is none."""
    if path.is_dir():
        inside = (path / "bin" / "python", path / "Scripts" / "python.exe", path / "python.exe")
        return next((program for program in inside if program.is_file()), None)
    return path if path.is_file() and (os.name == "nt" or os.access(path, os.X_OK)) else None


def find_base_python(given: str, task: Reporter) -> Path:
    """The Python that makes the environment: the given one, or the first that can of Blender's own and the path's.

    It is tried out: Blender's sys.executable may be another program, and a system's Python may lack venv.
    """
    if given:
        program = python_in(Path(given))
        if program is None:
            raise InstallError(f"the Python to install with must be a program that can be run, got {given!r}")
        why = _why_no_base(program, task)
        if why:
            raise InstallError(f"{program} cannot make an environment: {why}")
        return program
    tried: list[str] = []
    for program in _base_candidates():
        why = _why_no_base(program, task)
        if not why:
            return program
        tried.append(f"{program}: {why}")
    found = "; ".join(tried) or "none was found"
    raise InstallError(f"no Python can make an environment ({found}). Name one of version 3.10 or newer as Python")


def probe(python: str, core: Path, task: Reporter, *, timeout: float = 120.0) -> EngineReport:
    """Asks a Python for its versions and device; `core` is the folder that holds flashmesh_core.

    Raises InstallError where it cannot be started, says nothing in `timeout` seconds or breaks.
    """
    lines: list[str] = []
    command = [python, "-c", _PROBE, ",".join(MODULES)]
    status = run_lines(command, lines.append, task, timeout=timeout, more={"PYTHONPATH": str(core)})
    answers = [line.removeprefix("FLASHMESH ") for line in lines if line.startswith("FLASHMESH {")]
    if not answers:
        said = "; ".join(line.strip() for line in lines[-3:] if line.strip()) or "nothing"
        raise InstallError(f"{python} did not answer as a Python does (status {status}). It said: {said}")
    return EngineReport(program=python, **json.loads(answers[-1]))


def warm_up(python: str, core: Path, cache: str, task: Reporter, *, timeout: float = 3600.0) -> None:
    """Compiles the engine of a Python, so that the first mesh need not wait for that, and tries it out.

    `cache` is the folder for what is compiled; empty: beside the source. Raises InstallError if no mesh comes.
    """
    lines: list[str] = []
    more = {"PYTHONPATH": str(core), **({CACHE_VARIABLE: cache} if cache else {})}
    status = run_lines([python, "-c", _WARM_UP], lines.append, task, timeout=timeout, more=more)
    if status or not any(line.startswith("FLASHMESH wrote ") for line in lines):
        said = next((line.strip() for line in reversed(lines) if line.strip()), f"status {status}")
        raise InstallError(f"{python} was installed, but the engine does not work there: {said}")


def run_lines(
    command: Sequence[str],
    on_line: Callable[[str], object],
    task: Reporter,
    *,
    timeout: float | None = None,
    more: dict[str, str] | None = None,
) -> int:
    """Runs a program, hands each line of its output to `on_line`, returns its status; ends it if `task.check` raises.

    Raises InstallError if it cannot be started or takes longer than `timeout` seconds.
    """
    windows = os.name == "nt"
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**clean_environment(), **(more or {})},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            start_new_session=not windows,  # so that what it starts can be ended with it
        )
    except OSError as error:
        raise InstallError(f"{command[0]!r} cannot be started: {error.strerror or error}") from None
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read_lines, args=(child.stdout, lines), daemon=True)
    reader.start()
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while True:
            task.check()
            if deadline is not None and time.monotonic() > deadline:
                raise InstallError(f"{command[0]} did not answer in {timeout:g} s")
            with contextlib.suppress(queue.Empty):
                line = lines.get(timeout=0.1)
                if line is None:
                    return child.wait()
                on_line(line)
    finally:
        _end(child)
        reader.join(1.0)


def clean_environment() -> dict[str, str]:
    """This process's environment without what would make another Python take Blender's modules for its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "__PYVENV"))}
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "PIP_NO_INPUT": "1"}


def _why_no_base(program: Path, task: Reporter) -> str:
    """Why this Python cannot make an environment; empty if it can."""
    lines: list[str] = []
    code = "import ensurepip, sys, venv; print('version', *sys.version_info[:2])"
    try:
        status = run_lines([str(program), "-I", "-c", code], lines.append, task, timeout=30.0)
    except InstallError as error:
        return str(error)
    words = lines[-1].split() if lines else []
    if status or len(words) != 3 or words[0] != "version":
        return f"it lacks venv ({lines[-1].strip()})" if lines else f"it ended with status {status}"
    if (int(words[1]), int(words[2])) < OLDEST:
        return f"it must be Python {OLDEST[0]}.{OLDEST[1]} or newer, got {words[1]}.{words[2]}"
    return ""


def _base_candidates() -> list[Path]:
    version, suffix = f"{sys.version_info[0]}.{sys.version_info[1]}", ".exe" if os.name == "nt" else ""
    names = (f"python{version}{suffix}", f"python3{suffix}", f"python{suffix}")
    own = [Path(sys.prefix) / "bin" / name for name in names] + [Path(sys.prefix) / f"python{suffix}"]
    on_path = [shutil.which(name) for name in (names[0], "python3.13", "python3.12", "python3.11", *names[1:])]
    paths = [*own, *(Path(found) for found in on_path if found)]
    return list(dict.fromkeys(path for path in paths if path.is_file()))


def _read_lines(pipe: IO[bytes], lines: queue.Queue[str | None]) -> None:
    with pipe:
        for line in pipe:
            lines.put(line.decode("utf-8", "replace").rstrip())
    lines.put(None)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends a program and all that it started, if it still runs."""
    if child.poll() is None:
        if os.name == "nt":
            command = ["taskkill", "/F", "/T", "/PID", str(child.pid)]
            subprocess.run(command, capture_output=True, creationflags=subprocess.CREATE_NO_WINDOW, check=False)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()
