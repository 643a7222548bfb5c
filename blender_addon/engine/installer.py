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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from .engine_python import MODULES, InstallError, Reporter, find_base_python, python_in, run_lines

POINTER, LOCK, LOG = "engine.json", "install.lock", "install.log"
TORCH_INDEX = {"cpu": "https://download.pytorch.org/whl/cpu", "cuda": "https://download.pytorch.org/whl/cu128"}
SPACE = {"cpu": 3 << 30, "cuda": 12 << 30}  # bytes that an install takes at its peak, pip's temporary files included
TORCH = "torch>=2.6"
REQUIREMENTS = (  # of the project's own list, torch aside; flashmesh_core itself comes with the add-on
    "numpy>=1.24",
    "scipy>=1.10",
    "numba>=0.61",
    "safetensors>=0.4",
    "trimesh>=4.0",
    "fast-simplification>=0.1.9",
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
            _write_pointer(folder, {"environment": fresh.name, "build": build})
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
    return [("--upgrade", "pip"), (TORCH, *index), REQUIREMENTS]


def _fill(
    fresh: Path, base: str, steps: Sequence[Sequence[str]], modules: Iterable[str], task: Reporter, log: IO[str]
) -> None:
    """The environment itself, then each step of pip, then the proof that it works."""

    def run(command: Sequence[str], what: str, share: float, optional: bool = False) -> None:
        task.tell(what, share)
        tail: list[str] = []

        def on_line(line: str) -> None:
            done = _raw_progress(line)
            if done is None:
                print(line, file=log, flush=True)
                tail[:] = [*tail[-_TAIL:], line]
            task.tell("" if done is not None else line.strip(), share + (done or 0.0) * each)

        print(f"$ {' '.join(command)}", file=log, flush=True)
        status = run_lines(command, on_line, task)
        if status and not optional:
            raise InstallError(_why_failed(what, status, tail, Path(log.name)))

    each = 1.0 / (len(steps) + 2)
    run([base, "-I", "-m", "venv", str(fresh)], f"Making an environment with {base}", 0.0)
    python = str(python_in(fresh))
    pip = [python, "-I", "-c", _WITH_PARENT, "pip", "install"]
    for number, step in enumerate(steps, 1):
        raw = ("--progress-bar", "raw") if _pip_version(fresh) >= (24, 1) else ("--progress-bar", "off")
        only_pip = tuple(step) == ("--upgrade", "pip")  # nice to have: an old pip installs as well
        run([*pip, *raw, *step], f"pip install {' '.join(step)}", number * each, optional=only_pip)
    run([python, "-I", "-c", f"import {', '.join(modules)}"], "Testing what was installed", 1.0 - each)


def _pip_version(environment: Path) -> tuple[int, ...]:
    found = [*environment.glob("lib/python*/site-packages/pip-*"), *environment.glob("Lib/site-packages/pip-*")]
    numbers = found[0].name.split("-")[1].split(".")[:2] if found else ()
    return tuple(int(number) for number in numbers if number.isdigit())


def _raw_progress(line: str) -> float | None:
    """The share that one of pip's raw progress lines, "Progress 12 of 345", stands for."""
    words = line.split()
    if len(words) == 4 and words[0] == "Progress" and words[2] == "of" and words[1].isdigit() and words[3].isdigit():
        return min(1.0, int(words[1]) / max(1, int(words[3])))
    return None


def _why_failed(what: str, status: int, tail: Sequence[str], log: Path) -> str:
    text = "\n".join(tail)
    errors = [line.strip() for line in tail if line.lower().lstrip().startswith(("error", "modulenotfounderror"))]
    reason = errors[-1] if errors else (tail[-1].strip() if tail else f"status {status}")
    if "No space left" in text or "not enough space" in text:
        reason = "the disk is full"
    elif "NewConnectionError" in text or "NameResolutionError" in text or "Max retries" in text:
        reason = "no connection to the package index"
    elif "No matching distribution found for torch" in text:
        reason = "there is no build of torch for this Python and system; name another Python, 3.10 to 3.13"
    return f"{what} failed: {reason}. The whole output is in {log}"


def _complete(folder: Path) -> str | None:
    """The name of the environment that is complete."""
    try:
        name = json.loads((folder / POINTER).read_text(encoding="utf-8"))["environment"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and Path(name).name == name else None


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
