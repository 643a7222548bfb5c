# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's own Python environment: made with pip, tested, found again. Standard library only.

An environment is made in a fresh folder env1, env2, ... and counts only once engine.json names it, which is
written last and in one step. So an install that is interrupted leaves the one before as it was, and a folder
that the next install removes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .engine_python import MODULES, InstallError, Reporter, find_base_python, python_in, run_lines
from .pip_progress import PipProgress

POINTER, LOCK, LOG = "engine.json", "install.lock", "install.log"
TORCH_INDEX = {"cpu": "https://download.pytorch.org/whl/cpu", "cuda": "https://download.pytorch.org/whl/cu128"}
SPACE = {"cpu": 3 << 30, "cuda": 12 << 30}  # bytes that an install takes at its peak, pip's temporary files included
SIZES = {"cpu": (0.4, 1.3), "cuda": (3.0, 6.5)}  # GB to download, GB on disk in the end
ONE_BUILD = ("darwin", "win32")  # systems for which the ordinary index has the small build, not the large one
TORCH = "torch>=2.6"
REQUIREMENTS = (  # of the project's own list, torch aside; flashmesh_core itself comes with the add-on
    "numpy>=1.24",
    "scipy>=1.10",
    "numba>=0.61",
    "safetensors>=0.4",
    "trimesh>=4.0",
    "scikit-image>=0.22",
    "pillow>=9.0",
    "tqdm>=4.60",
    "requests>=2.28",
    "starlette>=0.37",
    "uvicorn>=0.27",
)
_TAIL = 40  # lines of a program's output that are searched for the reason of its failure

# Runs a module, and ends it with all that it started as soon as stdin closes: when whoever started it is gone.
# Raw reads, since a thread in a buffered one makes Python's end fail.
_WITH_PARENT = """
import os, runpy, signal, sys, threading
def watch():
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL) if hasattr(os, "killpg") else os._exit(1)
threading.Thread(target=watch, daemon=True).start()
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def installed_python(folder: Path) -> Path | None:
    """The Python of the complete environment under the user folder `folder`; None if there is none."""
    name = _complete(folder)
    return None if name is None else python_in(folder / name)


@dataclass(frozen=True)
class Installed:
    """What engine.json says of the complete environment."""

    python: Path
    build: str  # "cpu", "cuda"; "" where an older add-on did not say
    torch: str
    gigabytes: float  # 0 where it is not known
    date: str

    @property
    def text(self) -> str:
        """One line for the user."""
        parts = [f"torch {self.torch}" if self.torch else "the engine"]
        parts += [{"cpu": "for the processor", "cuda": "for NVIDIA cards"}.get(self.build, "")]
        parts += [f"{self.gigabytes:.1f} GB" if self.gigabytes else "", f"since {self.date}" if self.date else ""]
        return "Installed: " + ", ".join(part for part in parts if part)


def installed(folder: Path) -> Installed | None:
    """The complete environment under the user folder `folder`; None if there is none."""
    facts = _facts(folder)
    python = python_in(folder / facts["environment"]) if facts else None
    if python is None:
        return None
    named = {name: str(facts.get(name, "")) for name in ("build", "torch", "date")}
    size = facts.get("bytes")
    return Installed(python, gigabytes=size / 1e9 if isinstance(size, int) else 0.0, **named)


def forecast(folder: Path, build: str, system: str = sys.platform) -> tuple[list[str], bool]:
    """What an install will take, in sentences, and whether there is room for it. `folder` need not be there yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    download, disk = SIZES[build]
    free = shutil.disk_usage(folder).free
    lines = [f"Downloads about {download:g} GB and takes {disk:g} GB on disk ({free / 1e9:.0f} GB free)"]
    if build == "cpu" and system not in ONE_BUILD:
        download, disk = SIZES["cuda"]
        lines.append(f"Where the small build cannot be had: {download:g} GB, and {disk:g} GB on disk")
    lines.append("Takes 3 to 20 minutes; goes into Blender's user folder")
    lines += [] if free >= SPACE[build] else [f"Needs {SPACE[build] / 1e9:.0f} GB free while it runs"]
    return lines, free >= SPACE[build]


def install_engine(
    folder: Path,
    task: Reporter,
    *,
    base: str = "",
    build: str = "cpu",
    steps: Sequence[Sequence[str]] | None = None,
    modules: Sequence[str] = tuple(name for name in MODULES if name != "flashmesh_core"),
) -> Path:
    """Makes the engine's environment under `folder` and returns its Python.

    `base` is the Python that makes it (empty: Blender's own), `build` "cpu" or "cuda", `steps` the arguments of
    one `pip install` each, `modules` what must load in the end. The output goes to install.log. Raises
    InstallError, or what `task.check` raises; the environment that was there before then still is.
    """
    if build not in TORCH_INDEX:
        raise InstallError(f"build must be one of {', '.join(TORCH_INDEX)}, got {build!r}")
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / LOCK), open(folder / LOG, "w", encoding="utf-8") as log:
        remove_leftovers(folder)
        if steps is None:
            steps = pip_steps(build)
            _check_space(folder, SPACE[build])
        program = find_base_python(base, task)
        fresh = _fresh_folder(folder)
        try:
            _fill(fresh, str(program), steps, modules, task, log)
            _write_pointer(folder, {"environment": fresh.name, "build": build, **_measure(fresh)})
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=log)
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        remove_leftovers(folder)  # what was there before
        task.tell("The engine is installed", 1.0)
        return python_in(fresh) or fresh


def remove_engine(folder: Path) -> None:
    """Removes the installed environment; InstallError while one is being installed."""
    if folder.is_dir():
        with _locked(folder / LOCK):
            (folder / POINTER).unlink(missing_ok=True)
            remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """Removes the environments that engine.json does not name; what is in use elsewhere stays for the next time."""
    complete = _complete(folder)
    for path in folder.glob("env[0-9]*"):
        if path.name != complete and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def pip_steps(build: str, system: str = sys.platform) -> list[tuple[str, ...]]:
    """The arguments of each `pip install`; torch's own index has the build that is wanted (macOS: there is one)."""
    index = () if system == "darwin" else ("--index-url", TORCH_INDEX[build])
    quickly = ("--retries", "1", "--timeout", "20") if index else ()  # there is another index
    return [("--upgrade", "pip"), (TORCH, *index, *quickly), REQUIREMENTS]


def ordinary(step: Sequence[str]) -> tuple[str, ...] | None:
    """A step without its own package index, from the one that pip uses by default; None where it names none."""
    words = list(step)
    if "--index-url" not in words:
        return None
    at = words.index("--index-url")
    return tuple(words[:at] + words[at + 2 :])


def _fill(
    fresh: Path, base: str, steps: Sequence[Sequence[str]], modules: Iterable[str], task: Reporter, log: IO[str]
) -> None:
    """The environment itself, then each step of pip, then the proof that it works."""

    each = 1.0 / (len(steps) + 3)  # the last one, getting it ready, is its caller's

    def run(command: Sequence[str], number: int, what: str) -> tuple[int, list[str]]:
        progress = PipProgress(f"Step {number + 1} of {len(steps) + 3}: {what}")
        task.tell(progress.text, number * each)
        tail: list[str] = []

        def on_line(line: str) -> None:
            before = progress.text
            if not progress.feed(line):
                print(line, file=log, flush=True)
                tail[:] = [*tail[-_TAIL:], line]
            task.tell(progress.text if progress.text != before else "", (number + progress.share) * each)

        print(f"$ {' '.join(command)}", file=log, flush=True)
        return run_lines(command, on_line, task), tail

    def must(command: Sequence[str], number: int, what: str) -> None:
        status, tail = run(command, number, what)
        if status:
            raise InstallError(_why_failed(what, status, tail, Path(log.name)))

    must([base, "-I", "-m", "venv", str(fresh)], 0, "making a place for the engine")
    python = str(python_in(fresh))
    pip = [python, "-I", "-c", _WITH_PARENT, "pip", "install"]
    for number, step in enumerate(steps, 1):
        raw = ("--progress-bar", "raw") if _pip_version(fresh) >= (24, 1) else ("--progress-bar", "off")
        if tuple(step) == ("--upgrade", "pip"):
            run([*pip, *raw, *step], number, "updating the installer")  # nice to have: an old pip installs as well
            continue
        what = step[0].split(">")[0] if len(step) < len(REQUIREMENTS) else "smaller libraries"
        status, tail = run([*pip, *raw, *step], number, what)
        other = ordinary(step)
        if status and other is not None and not _is_full(tail):
            large = sys.platform not in ONE_BUILD and step[0] == TORCH
            if large:
                _check_space(fresh.parent, SPACE["cuda"])
            size = f", whose build is larger: about {SIZES['cuda'][0]:g} GB" if large else ""
            task.tell(f"The first package index did not answer: trying the ordinary one{size}", number * each)
            status, tail = run([*pip, *raw, *other], number, what)
        if status:
            raise InstallError(_why_failed(f"pip install {' '.join(step)}", status, tail, Path(log.name)))
    must([python, "-I", "-c", f"import {', '.join(modules)}"], len(steps) + 1, "Testing what was installed")


def _pip_version(environment: Path) -> tuple[int, ...]:
    found = [*environment.glob("lib/python*/site-packages/pip-*"), *environment.glob("Lib/site-packages/pip-*")]
    numbers = found[0].name.split("-")[1].split(".")[:2] if found else ()
    return tuple(int(number) for number in numbers if number.isdigit())


def _is_full(tail: Sequence[str]) -> bool:
    text = "\n".join(tail)
    return "No space left" in text or "not enough space" in text


def _measure(environment: Path) -> dict[str, Any]:
    """What is told of an environment once it is there: version of torch, bytes, date."""
    found = [*environment.glob("lib/python*/site-packages/torch-*.dist-info")]
    found += environment.glob("Lib/site-packages/torch-*.dist-info")
    size = sum(path.stat().st_size for path in environment.rglob("*") if path.is_file() and not path.is_symlink())
    version = found[0].name.removesuffix(".dist-info").partition("-")[2] if found else ""
    facts = {"torch": version, "bytes": size, "date": time.strftime("%Y-%m-%d")}
    large = any(environment.glob("lib/python*/site-packages/nvidia"))
    return {**facts, "build": "cuda"} if large else facts  # the ordinary index may have given the larger one


def _why_failed(what: str, status: int, tail: Sequence[str], log: Path) -> str:
    text = "\n".join(tail)
    errors = [line.strip() for line in tail if line.lower().lstrip().startswith(("error", "modulenotfounderror"))]
    reason = errors[-1] if errors else (tail[-1].strip() if tail else f"status {status}")
    if _is_full(tail):
        reason = "the disk is full"
    elif "NewConnectionError" in text or "NameResolutionError" in text or "Max retries" in text:
        reason = "no connection to the package index"
    elif "No matching distribution found for torch" in text:
        reason = "there is no build of torch for this Python and system; name another Python, 3.10 to 3.13"
    return f"{what} failed: {reason}. The whole output is in {log}"


def _complete(folder: Path) -> str | None:
    """The name of the environment that is complete."""
    facts = _facts(folder)
    return facts["environment"] if facts else None


def _facts(folder: Path) -> dict[str, Any]:
    """What engine.json says; nothing where it names no environment."""
    try:
        facts = json.loads((folder / POINTER).read_text(encoding="utf-8"))
        name = facts["environment"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return facts if isinstance(name, str) and Path(name).name == name else {}


def _write_pointer(folder: Path, facts: dict[str, Any]) -> None:
    part = folder / f"{POINTER}.part"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(facts, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, folder / POINTER)


def _fresh_folder(folder: Path) -> Path:
    number = 1
    while (folder / f"env{number}").exists():
        number += 1
    return folder / f"env{number}"  # short: a long path is an error on Windows


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InstallError(f"{folder} must have {needed >> 30} GiB free, got {free / 2**30:.1f} GiB")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock that the system drops with the process; InstallError if another process has it."""
    with open(path, "a+b") as file:
        try:
            if os.name == "nt":
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InstallError("an install is running already, perhaps in another Blender: wait for its end") from None
        yield
