"""The benchmark with other masks, with families of sources, and with wider heads than those that are shipped."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from flashmesh_core.__main__ import main
from flashmesh_core.bench import sources
from flashmesh_core.bench.settings import make_plan
from flashmesh_core.bench.sources import Subject, choose_subjects, parse_sources
from flashmesh_core.checkpoint import save_checkpoint
from flashmesh_core.config import preset
from flashmesh_core.decode.engine import Engine
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.sources import FAMILIES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--no-surface", "--manifold", "off"], "surface off, manifold off"),
        (["--guidance", "0", "--watertight", "--manifold", "on"], "manifold on, closure, coverage guidance off"),
        (["--watertight", "--sources", "given"], "closed at the end"),
    ],
)
def test_masks_are_asked_for_and_reported(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path, Engine.random("debug", seed=3).model)
    asked = ["bench", "--checkpoint", str(tmp_path), "--device", "cpu", "--precision", "float32", "--limit", "1"]
    assert main([*asked, "--stop-at", "3", "--drafters", "none,half_edge", "--widths", "9", *options]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["identical"] is True
    assert report["sources"] == ["given"] and list(report["rows"][0]["families"]) == ["given"]
    spec = importlib.util.spec_from_file_location("write_tables", ROOT / "benchmarks" / "write_tables.py")
    assert spec is not None and spec.loader is not None
    write_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(write_tables)
    assert write_tables.masks(report) == told


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """A folder of two boxes, one of them without a side."""
    folder = tmp_path / "boxes"
    folder.mkdir()
    box = trimesh.creation.box((1.0, 0.6, 0.4))
    box.export(folder / "closed.ply")
    trimesh.Trimesh(box.vertices, box.faces[2:], process=False).export(folder / "open.ply")
    return folder


def test_data_are_read_as_families_of_sources(boxes: Path) -> None:
    """The artist's mesh is the answer that the results are measured against, and no source."""
    families = parse_sources(None, boxes)
    assert families == FAMILIES
    subjects = choose_subjects(boxes, split="test", min_faces=1, max_faces=400, limit=None, sources=families)
    assert [one.name for one in subjects] == [f"{name}, {of}" for name in ("closed", "open") for of in FAMILIES]
    remesh, sculpt, scan, cloud = (one.make() for one in subjects[:4])
    assert isinstance(remesh, Mesh) and isinstance(sculpt, Mesh) and min(len(remesh.faces), len(sculpt.faces)) > 10_000
    assert isinstance(scan, PointCloud) and scan.normals is None
    assert isinstance(cloud, PointCloud) and cloud.normals is not None and cloud.points.shape == (16_384, 3)
    for one in subjects:
        assert one.answer is not None and one.wanted == one.answer_faces == (12 if "closed" in one.name else 10)
    walls = [one.make() for one in subjects if one.family == "remesh"]
    assert signed_volume(walls[0]) > 3 * signed_volume(walls[1]) > 0  # of an open box: a shell


def signed_volume(mesh: object) -> float:
    assert isinstance(mesh, Mesh)
    return float(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).volume)


def test_names_of_families_are_checked_and_the_examples_are_sources_themselves(boxes: Path) -> None:
    assert parse_sources("cloud,remesh", boxes) == ("remesh", "cloud")
    assert parse_sources("given", boxes) == parse_sources(None, None) == ("given",)
    for wrong in ("", "cube", "given,scan"):
        with pytest.raises(ValueError, match=r"sources must be some of remesh,sculpt,scan,cloud, got"):
            parse_sources(wrong, boxes)
    with pytest.raises(ValueError, match=r"sources must be given without data: .* got 'scan'"):
        parse_sources("scan", None)


def test_a_source_in_which_no_surface_shows_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "checkpoint", Engine.random("debug", seed=3).model)
    made = trimesh.creation.box((1.0, 0.6, 0.4))
    line = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]]))
    box = Mesh(np.asarray(made.vertices), np.asarray(made.faces))
    subjects = [
        Subject(name, "given", mesh, 12, lambda mesh=mesh: mesh) for name, mesh in (("line", line), ("box", box))
    ]
    monkeypatch.setattr(sources, "choose_subjects", lambda *_, **__: subjects)
    asked = ["bench", "--checkpoint", str(tmp_path / "checkpoint"), "--device", "cpu", "--precision", "float32"]
    assert main([*asked, "--stop-at", "3", "--drafters", "half_edge", "--widths", "9"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out.splitlines()[-1])
    assert report["meshes"] == 1 and [left["name"] for left in report["left_out"]] == ["line"]
    assert f"line is left out: {report['left_out'][0]['reason']}" in out
    del subjects[1]
    assert main(asked) == 2
    assert "data must hold a source in which a surface shows, got none" in capsys.readouterr().err


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
