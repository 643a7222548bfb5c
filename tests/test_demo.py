"""The demo, with a checkpoint of random weights."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flashmesh_core.checkpoint import save_checkpoint
from flashmesh_core.decode.engine import Engine
from flashmesh_core.mesh.io import load_mesh

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, Engine.random("debug").model)
    return folder


def demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)


@pytest.mark.parametrize("name", ["chair.obj", "lamp.xyz"])
def test_it_writes_a_mesh_and_a_picture_and_tells_the_figures(checkpoint: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "new" / "out"
    source = ROOT / "examples" / name
    done = demo("--checkpoint", checkpoint, "--input", source, "--out", out, "--candidates", 2, "--faces", 4)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"result.glb", "result.png"}
    result = load_mesh(out / "result.glb")
    figures = done.stdout.splitlines()[-1]
    assert figures.startswith(f"{name}: {len(result.faces)} faces (4 wanted), best of 2 in ")
    told = r", Chamfer \d\.\d{4}, Hausdorff \d\.\d{4}, \d+ faces repaired, .+, ended by (eos|face_limit)$"
    assert re.search(told, figures), figures
    with Image.open(out / "result.png") as image:
        assert image.width > 2 * 480 and image.height > 480
        left, right = (np.asarray(image)[60:-20, at : at + 440] for at in (20, image.width - 460))
    assert left.std() > 5 and right.std() > 5 and (left != right).any()


def test_wrong_input_is_one_line_and_status_2(checkpoint: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--checkpoint", "no-such-checkpoint"), "no-such-checkpoint"),
        (("--checkpoint", checkpoint, "--input", tmp_path / "none.obj"), "none.obj"),
        (("--checkpoint", checkpoint, "--candidates", 0), "candidates must be an integer in [1, 16], got 0"),
    ):
        done = demo("--out", tmp_path / "out", *arguments)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
