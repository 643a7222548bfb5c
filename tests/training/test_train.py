"""The trainer: exact resume, ends on SIGTERM with a checkpoint, learns, refuses bad options."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from flashmesh_core.checkpoint import load_model
from training.train import fast_precision, main, parse_arguments

REPO = Path(__file__).resolve().parents[2]
FAST = [
    "--preset", "debug", "--batch-tokens", "2304", "--accumulate", "1", "--workers", "0", "--precision", "float32",
    "--picture-minutes", "0",
]  # fmt: skip


def state(folder: Path) -> dict:
    return torch.load(folder / "state.pt", weights_only=True)


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_a_resumed_run_equals_one_that_went_on(tmp_path: Path, optimizer: str) -> None:
    options = [*FAST, "--optimizer", optimizer, "--draft-every", "3"]
    assert main([*options, "--steps", "8", "--out", str(tmp_path / "whole")]) == 0
    assert main([*options, "--steps", "4", "--out", str(tmp_path / "parts")]) == 0
    assert main([*options, "--steps", "8", "--out", str(tmp_path / "parts"), "--resume"]) == 0
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole["step"] == parts["step"] == 8
    for name in ("model", "averaged", "optimizers", "tokens"):
        assert same(whole[name], parts[name]), name


def test_the_loss_falls_and_the_checkpoint_loads(tmp_path: Path) -> None:
    assert main([*FAST, "--steps", "40", "--out", str(tmp_path), "--validate-every", "20"]) == 0
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < 0.6 * float(rows[0]["loss"])
    assert float(rows[-1]["val"]) > 0
    for level in ("coordinate", "vertex", "face", "label"):
        assert float(rows[-1][level]) > 0
    assert load_model(tmp_path / "checkpoint").config.name == "debug"


def test_sigterm_saves_and_resume_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, str(REPO / "training" / "train.py"), *FAST, "--workers", "1", "--out", str(tmp_path)]
    process = subprocess.Popen(
        command,
        cwd=REPO,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 1200
        while time.monotonic() < deadline and (not (tmp_path / "log.csv").is_file() or rows_of(tmp_path) < 1):
            assert process.poll() is None
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGTERM)  # as a service manager does: the data process gets it too
        assert process.wait(timeout=600) == 0
    finally:
        process.kill()
    step = state(tmp_path)["step"]
    assert step >= 20
    assert main([*FAST, "--steps", str(step + 1), "--out", str(tmp_path), "--resume"]) == 0
    assert state(tmp_path)["step"] == step + 1
    assert not list(tmp_path.glob("*.part"))


def rows_of(folder: Path) -> int:
    return len((folder / "log.csv").read_text().splitlines()) - 1


def test_training_draws_sample_pictures(tmp_path: Path) -> None:
    options = FAST[: FAST.index("--picture-minutes")]
    assert main([*options, "--steps", "2", "--out", str(tmp_path), "--picture-minutes", "10"]) == 0
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["step_000002_000.png"]


def test_bad_options_name_the_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--steps", "0"])
    assert "--steps must be in [1," in capsys.readouterr().err
    one_step = [*FAST, "--steps", "1", "--out", str(tmp_path)]
    assert main([*one_step, "--data", str(tmp_path / "nothing")]) == 2
    assert "data must be an .npz file or a folder" in capsys.readouterr().err
    assert main([*one_step, "--resume"]) == 2, "a run that could not start leaves no state"
    assert "--resume needs" in capsys.readouterr().err


def test_the_precision_is_the_devices_own_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = [option for option in FAST if option not in ("--precision", "float32")]
    for supported, wanted in ((True, "bf16"), (False, "float32")):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda supported=supported: supported)
        assert fast_precision("cpu") == wanted
        assert fast_precision("cuda:0") == "bf16"
    assert main([*start, "--steps", "1", "--out", str(tmp_path)]) == 0
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)  # another machine
    assert main([*start, "--steps", "2", "--out", str(tmp_path), "--resume"]) == 0
    assert state(tmp_path)["settings"]["precision"] == "float32"
