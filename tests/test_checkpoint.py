"""Checkpoints: what is saved is loaded, files appear whole or not at all, and errors name the file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import flashmesh_core
from flashmesh_core import checkpoint
from flashmesh_core.checkpoint import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    bundled_names,
    find_checkpoint,
    load_config,
    load_model,
    save_checkpoint,
)
from flashmesh_core.config import SLICE_ROWS, ModelConfig
from flashmesh_core.decode.engine import Engine
from flashmesh_core.model.hourglass import Hourglass

CONFIG = ModelConfig(
    name="tiny", num_bins=8, dim=16, heads=2, coordinate_layers=(0, 1), vertex_layers=(0, 1), face_layers=1,
    num_points=16, num_latents=2, encoder_layers=0, slice_rows=SLICE_ROWS,
    coordinate_drafts=1, vertex_drafts=1, face_drafts=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Hourglass:
    torch.manual_seed(0)
    return Hourglass(CONFIG).eval()


@pytest.fixture
def folder(model: Hourglass, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "tiny", model, extra={"step": 12, "tokens": 3456})
    return tmp_path / "tiny"


def test_save_and_load_is_the_identity(model: Hourglass, folder: Path) -> None:
    loaded = load_model(folder)
    assert loaded.config == CONFIG
    assert not loaded.training
    state, expected = loaded.state_dict(), model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    tokens, rows = torch.tensor([[9] * 9 + [1, 2, 3]]), torch.zeros(1, 12, len(SLICE_ROWS), 8)
    condition = torch.zeros(1, 3, 16)
    torch.testing.assert_close(loaded(tokens, condition, rows), model(tokens, condition, rows))


def test_the_files_are_what_they_are_said_to_be(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    data = json.loads((folder / CONFIG_FILE).read_text())
    assert data["format"] == 1
    assert data["training"] == {"step": 12, "tokens": 3456}
    assert load_config(folder) == ModelConfig.from_dict(data["model"]) == CONFIG


def test_half_precision_weights_load_in_the_wanted_type(model: Hourglass, folder: Path) -> None:
    whole = (folder / WEIGHTS_FILE).stat().st_size
    save_checkpoint(folder, model, dtype=torch.bfloat16)
    assert (folder / WEIGHTS_FILE).stat().st_size < 0.6 * whole
    for dtype in (torch.float32, torch.bfloat16):
        loaded = load_model(folder, dtype=dtype)
        assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
        torch.testing.assert_close(loaded.head.weight.float(), model.head.weight, atol=1e-2, rtol=1e-2)


def test_a_checkpoint_is_found_by_name_folder_and_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint(folder) == folder
    assert find_checkpoint(str(folder)) == folder
    assert find_checkpoint(folder / WEIGHTS_FILE) == folder
    monkeypatch.setattr(checkpoint, "BUNDLED", folder.parent)
    assert bundled_names() == ["tiny"]
    assert find_checkpoint("tiny") == folder
    assert load_model("tiny").config == CONFIG
    assert flashmesh_core.load("tiny", device="cpu").name == "tiny"
    assert Engine.load(folder, device="cpu").config == CONFIG
    monkeypatch.setattr(checkpoint, "BUNDLED", folder.parent / "none")
    assert bundled_names() == []


@pytest.mark.parametrize("wanted", ["", "tiny", "../tiny", "nowhere/model.safetensors", "/"])
def test_what_is_not_found_is_named(wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint, "BUNDLED", tmp_path / "none")
    with pytest.raises(ValueError, match=r"checkpoint must be one of \[\] or a folder with config.json and") as error:
        find_checkpoint(wanted)
    assert str(error.value).endswith(f"got {wanted!r}")


def test_a_name_finds_no_folder_outside_the_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundled name wins over a folder of the same name in the working directory, and is only a name."""
    inner = folder.parent / "bundle"
    (inner / "deep").mkdir(parents=True)
    monkeypatch.setattr(checkpoint, "BUNDLED", inner)
    monkeypatch.chdir(inner)
    with pytest.raises(ValueError, match="checkpoint must be one of"):
        find_checkpoint("tiny")


BROKEN = [
    b"",
    b"{",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b'{"model": 3}',
    b'{"model": {"dim": 16}}',
    b'{"model": {"name": "x", "dim": "y"}}',
    b'{"model": {"name": "x", "size": 1}}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_config_is_a_value_error_that_names_it(folder: Path, text: bytes) -> None:
    (folder / CONFIG_FILE).write_bytes(text)
    with pytest.raises(ValueError, match=r"^checkpoint config .*tiny.config\.json can't be read: "):
        load_model(folder)


@pytest.mark.parametrize("keep", [0, 5, 200])
def test_broken_weights_are_a_value_error_that_names_them(folder: Path, keep: int) -> None:
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"checkpoint weights .*model.safetensors can't be read"):
        load_model(folder)


@pytest.mark.parametrize("changes", [{"dim": 32}, {"face_layers": 2}, {"slice_rows": ()}, {"num_bins": 9}])
def test_weights_of_another_config_are_refused(folder: Path, changes: dict[str, object]) -> None:
    data = json.loads((folder / CONFIG_FILE).read_text())
    data["model"] |= changes
    (folder / CONFIG_FILE).write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"checkpoint .*tiny does not fit its config"):
        load_model(folder)


def test_saving_over_a_checkpoint_replaces_it(model: Hourglass, folder: Path) -> None:
    other = Hourglass(CONFIG)
    other.reset_parameters(torch.Generator().manual_seed(5))
    save_checkpoint(folder, other)
    assert torch.equal(load_model(folder).head.weight, other.head.weight)
    assert not torch.equal(other.head.weight, model.head.weight)


@pytest.mark.parametrize("worth", [math.inf, -math.inf, math.nan])
def test_weights_that_are_not_finite_are_refused(folder: Path, model: Hourglass, worth: float) -> None:
    """A diverged run must show, not be repaired."""
    with torch.no_grad():
        weight = model.out_norm.weight[0].clone()
        model.out_norm.weight[0] = worth
        save_checkpoint(folder, model)
        model.out_norm.weight[0] = weight
    with pytest.raises(ValueError, match=r"must be finite, got NaN or infinity in out_norm\.weight"):
        load_model(folder)
