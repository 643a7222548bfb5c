"""The real Blender program, and the bpy module of another Python where $FLASHMESH_BPY_PYTHON names one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flashmesh_core.service.process import EngineProcess
from tests import kernels

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TIMEOUT = 1800  # seconds, against a hang alone: kernels are compiled before


@dataclass(frozen=True)
class Runner:
    """Starts scripts in Blender; `command` is what stands before the script."""

    name: str
    command: tuple[str, ...]
    home: Path  # in place of the user's own Blender settings

    def arguments(self, script: Path, *arguments: object) -> list[str]:
        return [*self.command, str(script), "--", *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key != "FLASHMESH_TOKEN"}
        own = {"BLENDER_USER_RESOURCES": str(self.home), "OMP_NUM_THREADS": "1"}
        return {"FLASHMESH_PYTHON": sys.executable, **inherited, **own}

    def run(self, script: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.arguments(script, *arguments),
            env={**self.environment(), **environment},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )

    def ask(self, mark: str, script: Path, *arguments: object) -> list[Any]:
        """What the script prints as JSON after `mark`, line by line."""
        done = self.run(script, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith(f"{mark} ")]
        return [json.loads(line.removeprefix(f"{mark} ")) for line in lines]

    def told(self, script: Path) -> dict[str, Any]:
        """What each scenario of a script told, by its name; none has failed."""
        (answers,) = self.ask("TOLD", script)
        for name, answer in answers.items():
            assert "failed" not in answer, f"{name}: {answer['failed']}"
        return answers

    def describe(self, *paths: Path) -> list[dict[str, dict[str, Any]]]:
        """For each mesh file its objects by name; see describe.py."""
        answers = self.ask("DESCRIBED", HERE / "describe.py", *paths)
        return [{item["name"]: item for item in answer["objects"]} for answer in answers]


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """The engine's kernels, which every engine process finds on the disk then: no test waits for the compiler."""
    kernels.compile_all()


@pytest.fixture(scope="session", params=["blender", "bpy"])
def blender(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Blender, both ways."""
    home = tmp_path_factory.mktemp("home")
    if request.param == "bpy":
        python = os.environ.get("FLASHMESH_BPY_PYTHON")
        if not python:
            pytest.skip("FLASHMESH_BPY_PYTHON does not name a Python that has bpy")
        return Runner("bpy", (python,), home)
    program = shutil.which("blender")
    if program is None:
        message = "the program blender is not on the path"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    options = ("--background", "--factory-startup", "--python-exit-code", "9", "--python")
    return Runner("blender", (program, *options), home)


@pytest.fixture(scope="session")
def service() -> Iterator[EngineProcess]:
    """A service that somebody else has started, for all that isn't about starting one."""
    with EngineProcess.start(sys.executable, checkpoint="debug") as process:
        yield process


@pytest.fixture(scope="session")
def sources(blender: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small inputs; see make_sources.py. Not to be changed."""
    folder = tmp_path_factory.mktemp("sources") / "in"
    done = blender.run(HERE / "make_sources.py", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
