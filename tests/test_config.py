"""Presets against the paper, the round trip through JSON, and what a configuration refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from flashmesh_core.config import PAPER_PARAMETERS, PRESETS, SLICE_ROWS, ModelConfig, preset
from flashmesh_core.model.hourglass import Hourglass, count_parameters
from tests.model.builders import small_config


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_survives_json(name: str) -> None:
    config = preset(name)
    assert config.name == name
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_presets_follow_the_paper() -> None:
    """Table 8: layers per level, width, heads, window."""
    shape = {name: (c.layer_string, c.dim, c.heads, c.window) for name, c in PRESETS.items()}
    assert shape["meshtron-0.5b"] == ("4-8-12", 768, 8, 18_432)
    assert shape["meshtron-1b"] == ("4-8-12", 1536, 16, 18_432)
    assert shape["mesh-rft"] == ("4-8-12", 1536, 16, 36_864)
    assert shape["meshtron-2b"] == ("4-10-18", 2048, 16, 18_432)
    for name in PAPER_PARAMETERS:
        config = preset(name)
        drafts = (config.coordinate_drafts, 3 * config.vertex_drafts, 9 * config.face_drafts)
        assert drafts == (2, 15, 18)  # tokens, Sec. 7.4
        assert config.slice_rows == ()
    assert preset("nano").slice_rows == SLICE_ROWS


@pytest.mark.parametrize(("name", "tolerance"), [("meshtron-1b", 0.05), ("mesh-rft", 0.05), ("meshtron-2b", 0.10)])
def test_parameter_counts_are_the_papers(name: str, tolerance: float) -> None:
    counted = count_parameters(preset(name))
    for ours, paper in zip(counted, PAPER_PARAMETERS[name], strict=True):
        assert abs(ours / 1e9 - paper) <= tolerance * paper


def test_24_layers_of_width_768_are_not_half_a_billion() -> None:
    without, total = count_parameters(preset("meshtron-0.5b"))
    assert 0.27e9 < without < 0.29e9
    assert 0.39e9 < total < 0.42e9


def test_count_parameters_counts_what_a_real_model_has() -> None:
    config = small_config(slice_rows=SLICE_ROWS)
    model = Hourglass(config)
    heads = sum(parameter.numel() for parameter in model.drafts.parameters())
    total = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(config) == (total - heads, total)
    assert heads > 0


def test_a_model_without_draft_heads_has_no_draft_parameters() -> None:
    without, total = count_parameters(small_config(coordinate_drafts=0, vertex_drafts=0, face_drafts=0))
    assert without == total


def test_classes_and_special_tokens() -> None:
    config = small_config(num_bins=100)
    assert (config.eos, config.bos, config.pad, config.num_classes) == (100, 101, 102, 101)
    assert config.layer_string == "3-3-2"


def test_an_unknown_preset_lists_the_names() -> None:
    with pytest.raises(ValueError, match=r"preset must be one of \['debug', .*'nano', 'small'\], got 'huge'"):
        preset("huge")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_bins", 1, r"num_bins must be in \[2, 4096\], got 1"),
        ("num_bins", 5000, r"num_bins must be in \[2, 4096\], got 5000"),
        ("heads", 0, r"heads must be in \[1, 256\], got 0"),
        ("face_layers", 0, r"face_layers must be in \[1, 256\], got 0"),
        ("ffn_ratio", math.nan, r"ffn_ratio must be in \[0.25, 16.0\], got nan"),
        ("num_points", 15, r"num_points must be in \[16, 1000000\], got 15"),
        ("coordinate_drafts", -1, r"coordinate_drafts must be in \[0, 64\], got -1"),
        ("draft_ffn_ratio", 0.0, r"draft_ffn_ratio must be in \[0.05, 16.0\], got 0.0"),
        ("dim", 18, "dim must be heads times an even number, got dim 18, heads 2"),
        ("dim", 17, "dim must be heads times an even number, got dim 17, heads 2"),
        ("window", 50, "window must be a multiple of 9, got 50"),
        (
            "level_windows",
            (9, 18),
            r"level_windows must be three multiples of 9 in \[9, window = 1152\], got \(9, 18\)",
        ),
        ("level_windows", (9, 20, 27), r"level_windows must be three .*, got \(9, 20, 27\)"),
        ("level_windows", (9, 0, 27), r"level_windows must be three .*, got \(9, 0, 27\)"),
        ("level_windows", (9, 18, 1161), r"level_windows must be three .*, got \(9, 18, 1161\)"),
        (
            "coordinate_layers",
            (1, 0),
            r"coordinate_layers must be a pair of integers from \(0, 1\) to \(64, 64\), got \(1, 0\)",
        ),
        (
            "vertex_layers",
            (1, 1, 1),
            r"vertex_layers must be a pair of integers from \(0, 1\) to \(64, 64\), got \(1, 1, 1\)",
        ),
        (
            "slice_rows",
            SLICE_ROWS[:8],
            r"slice_rows must be the first \(0, 9, 10, 16\) of .*, got .*'supported_corner'\)",
        ),
    ],
)
def test_a_field_out_of_range_is_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_config(**{field: value})


def test_windows_by_level_are_positions_of_the_level() -> None:
    config = small_config(window=1152)
    assert [config.level_window(level) for level in range(3)] == [1152, 384, 128]
    config = small_config(window=1152, level_windows=(288, 576, 1152))
    assert [config.level_window(level) for level in range(3)] == [288, 192, 128]


def test_from_dict_refuses_unknown_and_missing_fields() -> None:
    data = small_config().to_dict()
    with pytest.raises(ValueError, match=r"config has unknown fields \['depth', 'width'\]; known are \["):
        ModelConfig.from_dict(data | {"width": 3, "depth": 2})
    del data["name"]
    with pytest.raises(ValueError, match="config must have a field 'name'"):
        ModelConfig.from_dict(data)
