"""What the add-on and the tools of the geometry import runs where torch, scipy and the like are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ML = ["torch", "numba", "safetensors", "trimesh", "starlette", "uvicorn", "PIL", "tqdm"]
COMPILED = {"layout", "distance", "figures", "voxels"}  # of mesh/: what evaluation and training alone ask for
BARE = [*ML, "scipy", "requests"]  # Blender's Python has numpy and requests alone

BLOCKER = """
import importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run(code: str, blocked: list[str]) -> subprocess.CompletedProcess[str]:
    """Run code in a Python in which the blocked packages cannot be imported."""
    command = [sys.executable, "-c", BLOCKER.format(blocked=set(blocked)) + code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def modules_in(folder: str) -> list[str]:
    """Its modules but those that measure: they are compiled."""
    names = [path.stem for path in sorted((ROOT / folder).glob("[!_]*.py"))]
    return [f"{folder.replace('/', '.')}.{name}" for name in names if name not in COMPILED]


NUMPY_ALONE = [
    "flashmesh_core", "flashmesh_core.config", "flashmesh_core.tokenizer", "flashmesh_core.slices",
    "flashmesh_core.picture", "flashmesh_core.service.protocol", "flashmesh_core.service.process",
    "flashmesh_core.service.server", "flashmesh_core.service.worker", *modules_in("flashmesh_core/mesh"),
]  # fmt: skip


def test_the_blocker_blocks() -> None:
    done = run("import flashmesh_core.checkpoint", ML)
    assert done.returncode != 0
    assert "torch is blocked" in done.stderr


def test_geometry_and_process_need_numpy_alone() -> None:
    """One process for all of them; a failing one is named."""
    done = run(
        f"import importlib\nfor name in {NUMPY_ALONE!r}:\n    print(name)\n    importlib.import_module(name)", BARE
    )
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]}: {done.stderr}"
    assert done.stdout.split() == NUMPY_ALONE


def test_the_client_needs_requests_beside() -> None:
    done = run("import flashmesh_core.client", [name for name in BARE if name != "requests"])
    assert done.returncode == 0, done.stderr


ADDON = [
    "batch.engine", "engine.background", "engine.backend", "engine.core_path", "engine.downloads",
    "engine.engine_python", "engine.generation", "engine.installer", "engine.pip_progress", "engine.request",
    "scene.growing",
]  # fmt: skip


@pytest.mark.parametrize("name", ADDON)
def test_the_addon_parts_that_need_no_blender_load_without_torch(name: str) -> None:
    blocked = [*(package for package in BARE if package != "requests"), "bpy"]
    done = run(f"from tests.addon_modules import load\nload({name!r})", blocked)
    assert done.returncode == 0, done.stderr


def test_meshes_are_made_canonical_tokenised_and_read_back_without_torch() -> None:
    code = """
import numpy as np
from flashmesh_core.mesh.canonical import canonicalize
from flashmesh_core.tokenizer import decode, encode
mesh = canonicalize(np.eye(3), np.array([[0, 1, 2]]), 128)
assert (decode(encode(mesh), 128).vertices == mesh.vertices).all()
"""
    done = run(code, BARE)
    assert done.returncode == 0, done.stderr
