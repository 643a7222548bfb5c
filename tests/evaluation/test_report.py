"""Summaries of rows written by hand, gaps, the table, and a whole evaluation with the debug engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flashmesh_core.__main__ import finite
from flashmesh_core.decode.engine import Engine
from flashmesh_core.evaluation.methods import EMPTY, Made, methods_of, timed
from flashmesh_core.evaluation.objects import ArtistObject, Given
from flashmesh_core.evaluation.pictures import Pictures
from flashmesh_core.evaluation.report import evaluate, format_table, largest_gap, summarize, summarize_rows
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import PointCloud
from tests.mesh.shapes import box, sheet

BOX = ArtistObject("box", Mesh(*box((1.0, 0.61, 0.43))), True)
FIELD = ArtistObject("field", Mesh(sheet(2, 2)[0] - [0.5, 0.5, 0.0], sheet(2, 2)[1]), False)
FIGURES: dict[str, Any] = {
    "chamfer": 0.02, "hausdorff": 0.04, "bbox_iou": 1.0, "edge_chamfer": 0.01, "normal_consistency": 0.9,
    "edge_f1": 0.8, "vertex_f1": 0.7,
    "all_edges_f1": 0.4, "faces_f1": 0.2, "good_quads": 0.5, "thin": 0.05,
    "gap_mean": 0.001, "gap_max": 0.01, "excess_mean": 0.001, "excess_max": 0.01,
    "source_gap": 0.02, "faces": 100, "face_ratio": 1.0, "watertight": True, "open_edges": 0, "flipped": 0,
    "doubled": 0, "seconds": 1.0,
}  # fmt: skip


def row(method: str = "result", family: str = "remesh", closed: bool = True, **figures: Any) -> dict[str, Any]:
    """A row with typical figures and those given."""
    ended = (
        {"end_reason": "eos", "decoded": 1.0}
        if method in ("result", "model")
        else {"end_reason": None, "decoded": None}
    )
    return (
        FIGURES | ended | {"name": "x", "family": family, "method": method, "closed": closed, "wanted": 100} | figures
    )


def test_means_of_f1_and_medians_of_distances() -> None:
    summary = summarize([
        row(edge_f1=0.9, chamfer=0.02, faces=100, decoded=1.0),
        row(edge_f1=0.9, chamfer=0.03, faces=300, decoded=0.8, face_ratio=1.2, end_reason="face_limit"),
        row(edge_f1=0.0, chamfer=np.inf, faces=0, decoded=0.0, face_ratio=0.0, watertight=False),
    ])  # fmt: skip
    assert summary["sources"] == 3
    assert summary["edge_f1"] == pytest.approx(0.6)
    assert summary["median_chamfer"] == 0.03
    assert summary["near_wanted_share"] == pytest.approx(1 / 3)
    assert summary["watertight_share"] == pytest.approx(2 / 3)
    assert summary["ended_share"] == pytest.approx(2 / 3)
    assert summary["decoded_share"] == pytest.approx((100 + 240) / 400)


def test_the_report_is_of_results_and_holds_every_family_and_method() -> None:
    rows = [
        row(chamfer=0.01), row("proxy", chamfer=0.5), row("decimate", chamfer=0.6),
        row(family="cloud", chamfer=0.03), row("proxy", "cloud", chamfer=0.7), row("decimate", "cloud", chamfer=0.8),
        row(family="cloud", closed=False, chamfer=0.05),
    ]  # fmt: skip
    report: dict[str, Any] = summarize_rows(rows)
    assert (report["median_chamfer"], report["median_hausdorff"], report["mean_bbox_iou"]) == (0.03, 0.04, 1.0)
    assert list(report["families"]) == ["remesh", "cloud"]
    assert report["families"]["remesh"]["median_chamfer"] == 0.01
    assert report["families"]["remesh"]["proxy"]["median_chamfer"] == 0.5
    assert report["families"]["cloud"]["median_chamfer"] == pytest.approx(0.04)
    assert report["families"]["cloud"]["decimate"]["ended_share"] is None
    assert report["closed_families"]["cloud"]["median_chamfer"] == 0.03
    assert list(report["open_families"]) == ["cloud"]


def test_a_report_without_results_is_of_all_rows() -> None:
    assert summarize_rows([row("proxy", chamfer=0.5)])["median_chamfer"] == 0.5


def test_the_table_has_a_line_for_each_family_and_method() -> None:
    table = format_table([row(edge_f1=0.85), row("proxy", chamfer=np.inf), row(closed=False, family="scan")])
    lines = table.splitlines()
    assert [line[:21] for line in lines if line.startswith("| ")] == [
        "| family |  | edge F1", "| remesh | result | 0", "| remesh | proxy | 0.",
        "| family |  | edge F1", "| scan | result | 0.8",
    ]  # fmt: skip
    assert "| 0.85 | 0.70 | 0.40 | 0.20 | 0.50 | 5.0% | 0.0200 |" in table
    assert "| inf |" in table
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_the_largest_gap_is_exact_and_over_the_longest_side() -> None:
    half = Mesh(BOX.mesh.vertices, BOX.mesh.faces[BOX.mesh.triangles[:, :, 2].max(axis=1) < 0])
    assert largest_gap(BOX.mesh, half) == pytest.approx(0.43)  # the floor alone: the ceiling is 0.43 away
    assert largest_gap(
        Mesh(BOX.mesh.vertices * 7, BOX.mesh.faces), Mesh(half.vertices * 7, half.faces)
    ) == pytest.approx(0.43)
    assert largest_gap(BOX.mesh.vertices, BOX.mesh) == pytest.approx(0.0, abs=1e-9)
    assert largest_gap(BOX.mesh, EMPTY) == np.inf


def test_an_evaluation_from_sources_to_pictures(debug_engine: Engine, tmp_path: Path) -> None:
    methods = methods_of(debug_engine, ["result", "proxy"], max_faces=8)
    pictures = Pictures(tmp_path / "pages", ["artist", "source", *methods], per_page=2)
    seen: list[tuple[str, str]] = []

    def on_source(source: Given, made: dict[str, tuple[Made, dict[str, object]]]) -> None:
        seen.append((source.artist.name, source.family))
        assert list(made) == ["result", "proxy"]
        pictures.add_source(source, made)

    report: dict[str, Any] = evaluate(
        [BOX, FIELD], ["remesh", "cloud"], methods, cache=tmp_path / "cache", on_source=on_source
    )
    pictures.flush()
    assert seen == [("box", "remesh"), ("box", "cloud"), ("field", "remesh"), ("field", "cloud")]
    assert (len(report["rows"]), report["objects"], report["sources"]) == (8, 2, 4)
    assert [one["wanted"] for one in report["rows"]] == [12] * 4 + [8] * 4
    assert {one["end_reason"] for one in report["rows"] if one["method"] == "proxy"} == {None}
    proxy = report["families"]["remesh"]["proxy"]
    assert report["closed_families"]["remesh"]["proxy"]["vertex_f1"] > 0.9  # a box comes back as a box
    assert proxy["watertight_share"] == 1.0
    json.dumps(finite(report), allow_nan=False)
    pages = sorted((tmp_path / "pages").iterdir())
    assert len(pages) == 2
    with Image.open(pages[0]) as page:
        assert page.width > 4 * 300
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_what_has_no_source_in_a_family_is_left_out_and_named() -> None:
    """A sheet with a back has no thickness: nothing of it is left on the cells of a remesh."""
    sheet = Mesh(FIELD.mesh.vertices * (1, 1, 0), np.concatenate([FIELD.mesh.faces, FIELD.mesh.faces[:, ::-1]]))
    flat = ArtistObject("flat", sheet, closed=True)
    methods = {"proxy": lambda given, faces: timed(lambda: given.artist.mesh)}
    report: dict[str, Any] = evaluate([flat, BOX], ["remesh"], methods)
    assert [row["name"] for row in report["rows"]] == ["box"]
    assert report["left_out"] == [{"name": "flat", "family": "remesh", "reason": report["left_out"][0]["reason"]}]
    assert "thick enough" in report["left_out"][0]["reason"]
    with pytest.raises(ValueError, match="no source could be made of 1 objects; of the first: mesh must be thick"):
        evaluate([flat], ["remesh"], methods)


def test_clouds_are_drawn_as_points(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, ["cloud"])
    pictures.add([PointCloud(np.random.default_rng(0).random((500, 3)))], ["text"])
    pictures.flush()
    with Image.open(next(tmp_path.iterdir())) as page:
        assert len(page.convert("RGB").getcolors(1 << 20)) > 20
