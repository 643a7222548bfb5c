"""An engine that was warmed up has compiled all that reading a dense mesh, decoding and measuring results need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
from numba.core.dispatcher import Dispatcher
from flashmesh_core.decode.engine import Engine
from tests.surface.shapes import sphere

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("flashmesh_core.")]
    kernels = {id(item): item for module in modules for item in vars(module).values() if isinstance(item, Dispatcher)}
    return {(item.__name__, str(kind)) for item in kernels.values() for kind in item.signatures}

engine = Engine.random("debug")
engine.warm_up()
before = compiled()
engine.generate(sphere(250, 80), faces=8, max_faces=8, candidates=2, watertight=True)
names = {name for name, _ in before}
print({"_filter_normals", "_collapse", "move", "_sample", "run_pass"} <= names, sorted(compiled() - before))
"""


def test_a_dense_mesh_needs_nothing_more_than_was_warmed_up() -> None:
    """In a process of its own; what a machine has compiled before is read from its disk, and counts alike."""
    more = {"PYTHONPATH": str(ROOT)}
    asked = [sys.executable, "-c", CODE]
    done = subprocess.run(asked, cwd=ROOT, env={**os.environ, **more}, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True []", done.stdout + done.stderr
