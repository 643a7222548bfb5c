"""Runs that go wrong: losses that are not finite, damaged states, full disks, other settings, folders in use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import FAST, REPO, same, state

from flashmesh_core.checkpoint import load_model
from flashmesh_core.mesh.store import MeshStore
from training import state as states
from training import train
from training.losses import joint_loss
from training.train import main

STEPS = ["--validate-every", "1000"]


def start(out: Path, steps: int, *more: str) -> int:
    return main([*FAST, *STEPS, "--steps", str(steps), "--out", str(out), *more])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps, saved twice."""
    out = tmp_path_factory.mktemp("runs") / "begun"
    assert start(out, 2) == 0 and start(out, 3, "--resume") == 0
    return out


def copy(begun: Path, folder: Path) -> Path:
    return shutil.copytree(begun, folder / "run")


def spoil(monkeypatch: pytest.MonkeyPatch, bad: set[int], worth: float = float("nan")) -> None:
    """Makes the loss of these steps, counted from 1, not finite."""
    count = [0]

    def spoiled(*arguments: object) -> object:
        count[0] += 1
        parts = joint_loss(*arguments)
        return replace(parts, total=parts.total * (worth if count[0] in bad else 1.0))

    monkeypatch.setattr(train, "joint_loss", spoiled)


@pytest.mark.parametrize("worth", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], worth: float
) -> None:
    spoil(monkeypatch, {2}, worth)
    assert start(tmp_path, 3) == 0
    assert "step 2: the loss is not finite, skipped (1 so far)" in capsys.readouterr().err
    saved = state(tmp_path)
    assert (saved["step"], saved["skipped"]) == (3, 1)
    assert all(torch.isfinite(tensor).all() for tensor in saved["model"].values())
    assert all(torch.isfinite(tensor).all() for tensor in load_model(tmp_path / "checkpoint").state_dict().values())


def test_three_in_a_row_go_back_to_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(monkeypatch, {2, 3, 4})
    assert start(tmp_path, 4) == 0
    assert "step 4: the loss is not finite, skipped (3 so far), back to the last good state" in capsys.readouterr().err
    first = torch.load(tmp_path / states.OLDER, weights_only=True)
    assert first["step"] == 0 and same(first["model"], state(tmp_path)["model"])


def test_a_loss_that_stays_so_ends_the_run_and_keeps_what_was_good(
    tmp_path: Path, begun: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copy(begun, tmp_path)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix != ".csv"}
    spoil(monkeypatch, set(range(100)))
    assert start(out, 50, "--resume") == 2
    assert "the loss is not a finite number at step 12, 9 steps in a row" in capsys.readouterr().err
    for path, data in before.items():
        assert path.read_bytes() == data, path


def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path: Path, begun: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy(begun, tmp_path) / "checkpoint"
    weights = load_file(folder / "model.safetensors")
    for worth in (float("nan"), float("inf")):
        name = sorted(weights)[3]
        broken = {**weights, name: weights[name].clone()}
        broken[name].view(-1)[0] = worth
        save_file(broken, folder / "model.safetensors")
        with pytest.raises(ValueError, match=f"model.safetensors must be finite, got NaN or infinity in {name}"):
            load_model(folder)
        with pytest.raises(ValueError, match=f"must be finite to be saved, got NaN or infinity in {name}"):
            states.check_finite(broken)


@pytest.mark.parametrize("damage", ["half", "empty", "bit", "gone", "other"])
def test_the_older_state_is_taken_where_the_newest_is_damaged(
    tmp_path: Path, begun: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    out = copy(begun, tmp_path)
    newest = out / states.NEWEST
    data = bytearray(newest.read_bytes())
    if damage == "gone":  # as where the process ended between the two moves
        newest.unlink()
    else:
        flipped = data.copy()
        flipped[len(data) // 2] ^= 1
        newest.write_bytes({"half": data[: len(data) // 2], "bit": flipped, "other": b"not a state"}.get(damage, b""))
    assert states.load_state(out, "cpu")["step"] == 2
    said = capsys.readouterr().err
    assert damage == "gone" or ("state.pt is damaged" in said and "step 2" in said)
    assert start(out, 3, "--resume") == 0 and state(out)["step"] == 3
    (out / states.OLDER).write_bytes(b"")
    newest.write_bytes(b"")
    assert start(out, 4, "--resume") == 2
    assert "--resume needs a whole state: " in capsys.readouterr().err


def test_a_state_of_an_older_version_has_no_checksum(tmp_path: Path, begun: Path) -> None:
    out = copy(begun, tmp_path)
    (out / states.SUMS).unlink()
    assert states.load_state(out, "cpu")["step"] == 3
    old = {name: value for name, value in states.load_state(out, "cpu").items() if name not in ("settings", "skipped")}
    torch.save(old, out / states.NEWEST)
    assert start(out, 4, "--resume") == 0


def test_both_generations_are_known_by_their_checksums(begun: Path) -> None:
    known = json.loads((begun / states.SUMS).read_text())["sha256"]
    assert known == [states.checksum(begun / name) for name in (states.NEWEST, states.OLDER)]


def test_a_used_folder_is_refused_without_resume(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (begun / states.NEWEST).read_bytes()
    assert start(begun, 5) == 2
    assert "--out must be a new folder, or --resume be given" in capsys.readouterr().err
    assert (begun / states.NEWEST).read_bytes() == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--seed", "7"), "--seed must be 0, as the run was started with, to go on with --resume, got 7"),
        (("--lr", "1e-3"), "--lr must be 0.002,"),
        (("--accumulate", "2"), "--accumulate must be 1,"),
        (("--batch-tokens", "1152"), "--batch-tokens must be 2304,"),
        (("--optimizer", "adam"), "--optimizer must be muon,"),
    ],
)
def test_resuming_with_other_settings_is_refused(
    begun: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], said: str
) -> None:
    assert start(begun, 5, "--resume", *given) == 2
    assert said in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of a process")
def test_a_full_disk_is_a_sentence_and_leaves_the_states_whole(tmp_path: Path, begun: Path) -> None:
    """A file may not grow beyond 100,000 bytes, as on a disk that fills up."""
    out = copy(begun, tmp_path)
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from training.train import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = [*FAST, *STEPS, "--steps", "4", "--out", str(out), "--resume"]
    done = subprocess.run([sys.executable, "-c", limited, *arguments], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"error: the state of the run can't be written to {out}: " in done.stderr
    assert "the one before is whole" in done.stderr
    assert states.load_state(out, "cpu")["step"] == 3 and not list(out.glob("*.part"))


def test_torchrun_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert start(tmp_path / "run", 1) == 2
    assert "training runs in one process, got WORLD_SIZE 2: start it without torchrun" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_mesh_without_area_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1))
    faces = "f 1 2 4\nf 1 4 3\nf 5 8 6\nf 5 7 8\nf 1 5 6\nf 1 6 2\nf 3 4 8\nf 3 8 7\n"
    (tmp_path / "whole.obj").write_text(box + faces)
    (tmp_path / "line.obj").write_text("v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n")
    store = MeshStore.open(tmp_path)
    assert (store.names, store.without_area, store.skipped) == (["whole"], ["line"], 0)
    point = MeshStore([], [], [])
    point.add(np.zeros((3, 3)), np.array([[0, 1, 2]]), "point")
    assert point.without_area == ["point"]
