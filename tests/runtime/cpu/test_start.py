"""What a new process need not do again: compile the trial of dtypes, draw numbers for weights that are read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from flashmesh_core.runtime.cpu import weights
from flashmesh_core.runtime.cpu.weights import CONTENDERS, measure_dtype, pick_dtype

ROOT = Path(__file__).resolve().parents[3]


def in_a_new_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_trial_of_dtypes_is_compiled_once_on_a_machine() -> None:
    measure_dtype(tries=1)
    code = """
from flashmesh_core.runtime.cpu import matmul, weights
weights.measure_dtype(tries=1)
print(sum(matmul.linear_alone.stats.cache_hits.values()), sum(matmul.linear_alone.stats.cache_misses.values()))
"""
    assert in_a_new_process(code) == "2 0", "one for each dtype that is tried"


@pytest.mark.parametrize("kept", CONTENDERS)
def test_what_was_picked_once_stays(kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may turn the measurement; the kernels of another dtype would have to be compiled."""
    monkeypatch.setattr(weights, "linear_alone", SimpleNamespace(stats=SimpleNamespace(cache_path=str(tmp_path))))
    monkeypatch.setattr(weights, "measure_dtype", lambda: kept)
    assert pick_dtype() == kept
    monkeypatch.setattr(weights, "measure_dtype", lambda: "measured again")
    assert pick_dtype() == kept
    (path,) = tmp_path.iterdir()
    path.write_text("damaged")
    assert pick_dtype() == "measured again"


def test_loading_draws_no_numbers() -> None:
    """On the meta device that would import a large part of torch, which takes longer than all the rest."""
    code = """
import sys
from flashmesh_core.checkpoint import load_model
model = load_model("nano")
print("torch._dynamo" in sys.modules, any(parameter.is_meta for parameter in model.parameters()))
"""
    assert in_a_new_process(code) == "False False"
