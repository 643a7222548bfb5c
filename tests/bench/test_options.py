"""The benchmark with other masks, with clouds, and with wider heads than those that are shipped."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest

from flashmesh_core.__main__ import main
from flashmesh_core.bench.settings import make_plan
from flashmesh_core.bench.sources import choose_subjects
from flashmesh_core.checkpoint import save_checkpoint
from flashmesh_core.config import preset
from flashmesh_core.decode.engine import Engine
from flashmesh_core.model.hourglass import Hourglass

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--no-surface", "--manifold", "off"], "surface off, manifold off"),
        (["--guidance", "0", "--watertight", "--manifold", "on"], "manifold on, closure, coverage guidance off"),
        (["--watertight", "--clouds"], "closed at the end"),
    ],
)
def test_masks_and_clouds_are_asked_for_and_reported(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path, Engine.random("debug", seed=3).model)
    asked = ["bench", "--checkpoint", str(tmp_path), "--device", "cpu", "--precision", "float32", "--limit", "1"]
    assert main([*asked, "--stop-at", "3", "--drafters", "none,half_edge", "--widths", "9", *options]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["identical"] is True
    assert report["clouds"] is ("--clouds" in options)
    spec = importlib.util.spec_from_file_location("write_tables", ROOT / "benchmarks" / "write_tables.py")
    assert spec is not None and spec.loader is not None
    write_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(write_tables)
    assert write_tables.masks(report) == told


def test_clouds_are_samples_of_the_same_meshes() -> None:
    meshes, clouds = (
        choose_subjects(None, split="test", min_faces=1, max_faces=400, limit=None, clouds=clouds)
        for clouds in (False, True)
    )
    for mesh, cloud in zip(meshes, clouds, strict=True):
        assert (mesh.name, mesh.wanted, mesh.source_faces) == (cloud.name, cloud.wanted, cloud.source_faces)
        assert cloud.points is not None and cloud.source is cloud.points
        if mesh.mesh is not None:
            assert mesh.source is mesh.mesh and cloud.points.shape == (131_072, 3)


def test_wider_heads_make_every_row_of_the_papers_tables(tmp_path: Path) -> None:
    """Also Table 7's variant; the other rows keep to the paper's own numbers of drafts."""
    config = dataclasses.replace(preset("debug"), face_drafts=3, vertex_drafts=9, coordinate_drafts=17)
    plan = make_plan(config, ("none",), (18,), heads_table=True, ablation=True)
    assert not plan.missing
    settings = {setting.name: setting for setting in plan.settings}
    asked = {
        (d.face_tokens, d.vertex_tokens, d.coordinate_tokens)
        for d in (settings[name].drafting for rows in plan.tables.values() for _, name in rows)
        if d.face_tokens is not None
    }
    assert asked == {
        (9, 9, 2), (18, 12, 2), (18, 15, 2), (18, 18, 2), (27, 9, 2), (27, 27, 2), (0, 0, 2), (0, 0, 17),
    }  # fmt: skip
    assert settings[dict(plan.tables["table 7"])["variant"]].width == 18
    save_checkpoint(tmp_path, Hourglass(config))
    asked_for = ["bench", "--checkpoint", str(tmp_path), "--device", "cpu", "--precision", "float32", "--limit", "1"]
    json_file = tmp_path / "run.json"
    options = ["--stop-at", "2", "--drafters", "none", "--heads-table", "--ablation", "--json", str(json_file)]
    assert main([*asked_for, *options]) == 0
    report = json.loads(json_file.read_text())
    assert report["identical"] is True and len(report["rows"]) == len(plan.settings)
