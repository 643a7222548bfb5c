"""More draft heads than the weights they start from: what is copied, what trains, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import FAST

from flashmesh_core.checkpoint import load_model, save_checkpoint
from flashmesh_core.config import SLICE_ROWS, preset
from flashmesh_core.drafting.heads import HeadSequence
from flashmesh_core.model.hourglass import Hourglass
from training.train import main
from training.transfer import parse_drafts, transfer


def drafted(model: Hourglass, **tokens: int) -> np.ndarray:
    """What the heads say at one face of made-up states."""
    generator = torch.Generator().manual_seed(3)
    condition = torch.randn(1, 5, model.config.dim, generator=generator)
    states = [torch.randn(9, model.config.dim, generator=generator) for _ in range(3)]
    drafter = HeadSequence(model, condition, compiled=False, skip_first=False, **tokens)  # type: ignore[arg-type]
    drafter.update(lambda level, begin, end: states[level][begin:end], 9)
    return drafter.draft().probabilities


def test_the_first_heads_say_what_they_said_before() -> None:
    torch.manual_seed(0)
    source = Hourglass(preset("debug")).eval()
    target = Hourglass(parse_drafts("27-27-17", source.config)).eval()
    transfer(source, target)
    narrow = {"face_tokens": 18, "vertex_tokens": 15, "coordinate_tokens": 2}
    np.testing.assert_allclose(drafted(target, **narrow), drafted(source, **narrow), atol=1e-6)
    assert len(drafted(target)) == 26
    block, wide = source.drafts.vertex, target.drafts.vertex
    dim = source.config.dim
    keys, values = wide.kv.weight.view(2, 9, dim, dim)
    assert torch.equal(keys[8], block.kv.weight.view(2, 5, dim, dim)[0, 4])
    assert torch.equal(values[8], block.kv.weight.view(2, 5, dim, dim)[1, 4])
    assert torch.equal(wide.linear[5], block.linear[4])
    back = Hourglass(source.config).eval()
    transfer(target, back)
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in source.state_dict().items())


def test_a_frozen_backbone_stays_and_the_heads_learn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "start", Hourglass(preset("debug")))
    options = [*FAST, "--weights", str(tmp_path / "start"), "--drafts", "9-18-17", "--freeze-backbone"]
    options += ["--draft-every", "1", "--out", str(tmp_path / "run")]
    assert main([*options, "--steps", "2"]) == 0
    assert main([*options, "--steps", "4", "--resume"]) == 0
    before = load_model(tmp_path / "start").state_dict()
    after = load_model(tmp_path / "run" / "checkpoint")
    assert (after.config.face_drafts, after.config.vertex_drafts, after.config.coordinate_drafts) == (1, 6, 17)
    for name, tensor in after.state_dict().items():
        if not name.startswith("drafts."):
            assert torch.equal(tensor, before[name].bfloat16().float()), name
    assert not torch.equal(after.drafts.face.linear[0], before["drafts.face.linear"][0].bfloat16().float())


def test_a_model_of_more_rows_begins_as_the_one_of_fewer() -> None:
    """Weights of before candidates were shown: the same answers, whatever the new rows hold."""
    torch.manual_seed(0)
    config = preset("debug")
    source = Hourglass(replace(config, slice_rows=SLICE_ROWS[:10])).eval()
    target = Hourglass(replace(config, slice_rows=SLICE_ROWS)).eval()
    transfer(source, target)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, config.num_bins, (2, 18), generator=generator)
    rows = torch.randint(0, 2, (2, 18, 16, config.num_bins), generator=generator, dtype=torch.uint8)
    condition = torch.randn(2, 5, config.dim, generator=generator)
    torch.testing.assert_close(target(tokens, condition, rows), source(tokens, condition, rows[:, :, :10]))
    with pytest.raises(ValueError, match="slice_rows is"):
        transfer(target, source)


def test_what_does_not_fit_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for text in ("18", "18-15-2-1", "10-15", "18-16", "a-b", "-9-9", "999-9"):
        with pytest.raises(ValueError, match="drafts"):
            parse_drafts(text, preset("debug"))
    with pytest.raises(ValueError, match=r"dim is 48 there, 256 here"):
        transfer(Hourglass(preset("debug")), Hourglass(preset("nano")))
    with pytest.raises(SystemExit):
        main([*FAST, "--freeze-backbone", "--out", str(tmp_path)])
    assert "--draft-every must be 1 with --freeze-backbone, got 2" in capsys.readouterr().err
    assert main([*FAST, "--drafts", "10-9", "--out", str(tmp_path)]) == 2
    assert "drafts must be a multiple of 9 and a multiple of 3, then any number, got '10-9'" in capsys.readouterr().err
