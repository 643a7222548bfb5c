"""The `evaluate` command, from files to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flashmesh_core.__main__ import main
from flashmesh_core.checkpoint import save_checkpoint
from flashmesh_core.decode.engine import Engine
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import save_mesh
from tests.mesh.shapes import box, sheet


@pytest.fixture
def artists(tmp_path: Path) -> Path:
    """A folder with a closed and an open mesh."""
    folder = tmp_path / "artists"
    folder.mkdir()
    save_mesh(folder / "box.obj", Mesh(*box((1.0, 0.61, 0.43))))
    save_mesh(folder / "sheet.obj", Mesh(*sheet(2, 2)))
    return folder


def test_a_report_a_table_and_pictures(
    artists: Path, tmp_path: Path, debug_engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "debug", debug_engine.model)
    report, pages = tmp_path / "report.json", tmp_path / "pages"
    code = main([
        "evaluate", "--data", str(artists), "--checkpoint", str(tmp_path / "debug"), "--sources", "cloud,remesh",
        "--rows", "proxy,result", "--closed-only", "--faces", "8", "--report", str(report), "--pictures", str(pages),
    ])  # fmt: skip
    assert code == 0
    written = json.loads(report.read_text())
    assert (written["objects"], written["sources"], written["faces"]) == (1, 2, 8)
    assert list(written["families"]) == ["remesh", "cloud"]
    assert {"median_chamfer", "median_hausdorff", "mean_bbox_iou", "options", "checkpoint"} <= set(written)
    assert [row["method"] for row in written["rows"]] == ["result", "proxy"] * 2
    assert len(list(pages.iterdir())) == 1
    printed = capsys.readouterr().out
    assert "Closed objects (1)" in printed
    assert "Open objects" not in printed
    assert "1 objects: median Chamfer" in printed


def test_bad_options_are_one_line(
    artists: Path, debug_engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "debug", debug_engine.model)
    common = ["evaluate", "--data", str(artists), "--checkpoint", str(tmp_path / "debug")]
    for more, message in (
        (["--sources", "photo"], "sources must be some of remesh,sculpt,scan,cloud, got 'photo'"),
        (
            ["--rows", "best"],
            "rows must be some of result,geometry,proxy,decimate,model,repaired,unaided,artist, got 'best'",
        ),
        (["--rows", "proxy", "--min-faces", "500"], "data must hold meshes of 500 faces or more, got none"),
        (["--rows", "proxy", "--faces", "0"], "faces must be at least 1, got 0"),
    ):
        assert main([*common, *more]) == 2
        assert capsys.readouterr().err.strip() == f"error: {message}"
