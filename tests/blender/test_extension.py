"""The zip of build_addon.py in the real Blender: validated, installed into empty settings, enabled, switched off."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import build_addon
from tests import kernels

from .conftest import HERE, TIMEOUT, Runner

pytestmark = pytest.mark.blender


@dataclass(frozen=True)
class Extensions:
    """Blender's own command line for extensions, with settings of its own in `home`."""

    program: str
    home: Path

    def command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, "--command", "extension", *map(str, arguments)],
            env={**os.environ, "BLENDER_USER_RESOURCES": str(self.home)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )


@pytest.fixture(scope="module")
def extensions(tmp_path_factory: pytest.TempPathFactory) -> Extensions:
    program = shutil.which("blender")
    if program is None:
        message = "the program blender is not on the path"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return Extensions(program, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_addon.build(tmp_path_factory.mktemp("dist"))


def test_it_is_valid(extensions: Extensions, built: Path) -> None:
    done = extensions.command("validate", built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Success parsing TOML" in done.stdout and "warning" not in done.stdout.lower()


def test_the_validator_and_we_agree_on_a_spoilt_one(extensions: Extensions, built: Path, tmp_path: Path) -> None:
    """What both notice, so that the test above is known to be able to fail."""
    spoilt = tmp_path / "spoilt.zip"
    with zipfile.ZipFile(built) as source, zipfile.ZipFile(spoilt, "w") as target:
        for item in source.infolist():
            data = source.read(item)
            if item.filename == build_addon.MANIFEST:
                data = re.sub(rb'tagline = "(.+)"', rb'tagline = "\1."', data)
            if not item.filename.endswith(".safetensors"):
                target.writestr(item, data)
    done = extensions.command("validate", spoilt)
    assert done.returncode != 0, done.stdout
    assert any(problem.startswith("tagline must not end with punctuation") for problem in build_addon.check(spoilt))


def test_it_installs_and_works(extensions: Extensions, built: Path) -> None:
    """Of what an install compiles, it does one module anew: the rest is lent, and would be found missing alike."""
    done = extensions.command("install-file", "-r", "user_default", "-e", built)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = extensions.home / "extensions" / "user_default" / "flashmesh"
    user_folder = extensions.home / "extensions" / ".user" / "user_default" / "flashmesh"
    lent = kernels.lend(folder / "lib" / "flashmesh_core", user_folder / "kernels", without="cleaning")
    # Not --factory-startup, which would forget that the extension is enabled.
    runner = Runner(
        "blender", (extensions.program, "--background", "--python-exit-code", "9", "--python"), extensions.home
    )
    (answer,) = runner.ask("EXTENSION", HERE / "use_extension.py", sys.executable)
    assert answer["enabled"] and answer["operator"] and answer["kind"] == "FlashMeshPreferences"
    assert Path(answer["core"]) == folder / "lib"
    assert Path(answer["user_folder"]) == user_folder
    assert answer["checkpoints"] == ["nano"]
    for generated in answer["generated"]:
        assert generated["status"] == ["FINISHED"] and generated["faces"] >= 50
        box, made = np.array(generated["boxes"])
        a_bin = np.ptp(box, axis=0).max() / 128  # the shipped checkpoint's
        np.testing.assert_allclose(made, box, rtol=0.0, atol=a_bin)
    if "NUMBA_CACHE_DIR" not in os.environ:
        compiled = set(answer["compiled"]) - set(lent)
        assert any(name.startswith("cleaning.") for name in compiled), "nothing was compiled there"
        assert answer["compiled"] == answer["kernels"], "the install has left something to compile"
    assert not list(folder.rglob("*.nb[ic]")), "written into the extension's folder"
    well, lines = answer["report"]
    assert answer["tested"] == ["FINISHED"] and well
    assert any(line.startswith("torch ") for line in lines) and any("flashmesh_core" in line for line in lines)
    assert (answer["left"], answer["paths"], answer["modules"]) == ([], [], [])  # while it was switched off
    assert answer["again"] and answer["warnings"] == []

    done = extensions.command("remove", "flashmesh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not folder.exists()
