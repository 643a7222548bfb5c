"""Ordinary shapes made by Blender's own tools hold up beside its Decimate; see benchmarks/shapes_in_blender.py."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from .conftest import ROOT, Runner

pytestmark = pytest.mark.blender

QUICK = (
    "cylinder of 32", "cylinder of 128", "flat grid", "monkey at 300", "cog in voxels", "text", "torus",
    "sheet with a hole", "three parts", "table in voxels", "monkey in voxels of 0.03", "bevelled cube in voxels",
)  # fmt: skip


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The figures of each shape: made, generated and measured within Python with bpy, which runs the engine too."""
    python = os.environ.get("FLASHMESH_BPY_PYTHON")
    if not python:
        pytest.skip("FLASHMESH_BPY_PYTHON does not name a Python that has bpy and what the engine needs")
    runner = Runner("bpy", (python,), tmp_path_factory.mktemp("home"))
    done = runner.run(ROOT / "benchmarks" / "shapes_in_blender.py", "--shapes", ",".join(QUICK))
    assert done.returncode == 0, done.stdout + done.stderr
    return {made["shape"]: made for made in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("name", QUICK)
def test_a_shape_is_as_near_as_decimate(figures: dict[str, dict[str, Any]], name: str) -> None:
    made = figures[name]
    within = made["gap"] <= 1.25 * made["decimate_gap"] + 0.003
    assert bool(made["misses"]) != within, "the benchmark says the same"
    assert within


@pytest.mark.parametrize("name", QUICK)
def test_a_shape_is_closed_and_of_the_wanted_size(figures: dict[str, dict[str, Any]], name: str) -> None:
    made = figures[name]
    assert made["open_edges"] == 0 or made["source_open_edges"] > 0
    assert made["faces"] == pytest.approx(made["wanted"], rel=0.1)
    assert made["decimate_faces"] == pytest.approx(made["wanted"], rel=0.1), "what it is compared with"
