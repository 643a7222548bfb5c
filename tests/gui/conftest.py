"""The zip of build_addon.py, installed into empty settings, in Blender's own window on a screen without a monitor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import build_addon
from tests import kernels

from .window import PATIENCE, Screen, Window, missing_programs

COMPILE = """
import sys
from flashmesh_core.service.server import load_engine
for checkpoint in sys.argv[1:]:
    load_engine(checkpoint, "cpu").warm_up()
"""


@pytest.fixture(scope="session")
def programs() -> None:
    """Skips without Blender and an X server; fails under CI, where they belong."""
    missing = missing_programs()
    if missing:
        message = f"not on the path: {', '.join(missing)}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


@pytest.fixture(scope="session")
def home(programs: None, endless: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blender's settings, with the add-on installed and enabled, and its engine's kernels compiled.

    What is compiled here already is lent; the rest takes as long as it takes: no test waits for it afterwards.
    """
    folder = tmp_path_factory.mktemp("home")
    built = build_addon.build(tmp_path_factory.mktemp("dist"))
    done = subprocess.run(
        ["blender", "--command", "extension", "install-file", "-r", "user_default", "-e", str(built)],
        env={**os.environ, "BLENDER_USER_RESOURCES": str(folder)},
        capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    extensions = folder / "extensions"
    own = extensions / ".user" / "user_default" / "flashmesh" / "kernels"  # see kernel_cache in engine/settings.py
    core = extensions / "user_default" / "flashmesh" / "lib"
    kernels.lend(core / "flashmesh_core", own)
    more = {"PYTHONPATH": str(core), "NUMBA_CACHE_DIR": str(own)}
    command = [sys.executable, "-c", COMPILE, "nano", endless]
    subprocess.run(command, env={**os.environ, **more}, cwd=folder, check=True)
    return folder


@pytest.fixture(scope="session")
def screen(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """The screen that all windows share, one at a time."""
    made = Screen(tmp_path_factory.mktemp("screen") / "xvfb.log")
    yield made
    made.close()


@pytest.fixture(scope="module")
def window(screen: Screen, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """Blender for the tests of a file; each begins with `fresh`."""
    opened = Window(screen, home, tmp_path_factory.mktemp("window") / "blender.log")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go, to be looked at: $FLASHMESH_PICTURES, or a folder of the test run."""
    named = os.environ.get("FLASHMESH_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
