"""The bench command: what it runs, what its figures are, and what it prints and writes."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flashmesh_core.__main__ import main
from flashmesh_core.bench import trace
from flashmesh_core.bench.command import add_bench_arguments, compare
from flashmesh_core.bench.figures import divergence_text, first_difference, row_of, table_text
from flashmesh_core.bench.floor import Floor, products, shapes
from flashmesh_core.bench.plot import COLORS
from flashmesh_core.bench.settings import PLAIN, TABLE_3, Plan, free, make_plan, parse_drafters, parse_widths
from flashmesh_core.bench.sources import Subject, choose_subjects
from flashmesh_core.bench.trace import Run, TopTwo, decode
from flashmesh_core.checkpoint import save_checkpoint
from flashmesh_core.config import preset
from flashmesh_core.decode.engine import Engine
from flashmesh_core.drafters import DRAFTERS
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.options import Options
from flashmesh_core.runtime.cpu.decoder import FastModel

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("--heads-table", "--ablation")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, Engine.random("debug", seed=3).model)
    return folder


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Engine:
    return Engine.load(checkpoint, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def subject() -> Subject:
    return next(one for one in choose_subjects(None, **EVERYTHING) if one.name == "table")


EVERYTHING: dict[str, Any] = {"split": "test", "min_faces": 1, "max_faces": 400, "limit": None}


@pytest.fixture(scope="module")
def written(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], Path]:
    """What the command printed, its JSON file, and its picture, of two examples with every table."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("report") / "new"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main([
            "bench", "--checkpoint", str(checkpoint), "--device", "cpu", "--precision", "float32", "--limit", "2",
            "--stop-at", "4", "--widths", "9,54", *TABLES, "--json", str(folder / "run.json"),
            "--plot", str(folder / "run.png"),
        ])  # fmt: skip
    assert status == 0
    return out.getvalue(), json.loads((folder / "run.json").read_text()), folder / "run.png"


# ---------------------------------------------------------------- the report


def test_the_last_line_is_the_report_and_its_figures_agree(written: tuple[str, dict[str, Any], Path]) -> None:
    text, report, _ = written
    last = json.loads(text.splitlines()[-1])
    rows = {row["name"]: row for row in report["rows"]}
    assert {"none", "half_edge 9", "half_edge 54", "heads 9", "united 54", "heads 9-9 paper"} <= set(rows)
    assert len(rows) == len(report["rows"])
    for row in report["rows"]:
        lines = row.pop("per_mesh")
        assert len(lines) == row["meshes"] == report["meshes"] == 2
        for name in ("tokens", "faces", "passes"):
            assert row[name] == sum(line[name] for line in lines)
        assert row["tokens_per_pass"] == row["tokens"] / row["passes"]
        assert math.isclose(row["tokens_per_second"], row["tokens_per_pass"] * row["passes_per_second"])
        assert math.isclose(row["faces_per_second"] * row["seconds"], row["faces"])
        assert row["identical"] is True and not row["divergences"]
        ratios = [line["pass_over_matmul"] for line in lines]
        assert math.isclose(row["pass_over_matmul"], sum(ratios) / 2) and min(ratios) > 0
        assert math.isclose(row["speedup"]["median"], sum(line["speedup"] for line in lines) / 2)
        # All tokens but the first of each mesh are some pass's main token, or a draft that it accepted.
        assert sum(row["by_place"]["passes"]) == row["passes"] - row["meshes"]
        assert row["tokens"] == rows["none"]["tokens"]
    assert last == report
    assert rows["none"]["tokens_per_pass"] == 1 and rows["none"]["speedup"]["median"] == 1
    assert rows["half_edge 54"]["tokens_per_pass"] > 1
    default = rows[report["default"]]
    assert report["default"] == "half_edge 54" and report["identical"] is True
    assert report["speedup"] == default["speedup"]["median"]
    assert report["tokens_per_pass"] == default["tokens_per_pass"]
    assert report["pass_over_matmul"] == default["pass_over_matmul"]


def test_the_text_has_a_line_a_row_and_says_what_is_missing(written: tuple[str, dict[str, Any], Path]) -> None:
    text, report, _ = written
    for row in report["rows"]:
        line = next(line for line in text.splitlines() if line.startswith(row["name"] + "  "))
        assert f" {row['tokens_per_pass']:.2f} " in line and line.endswith("yes")
    assert "table 3: no row 27-27: the heads of the checkpoint predict 18-15 at most" in text


def test_the_plot_has_a_bar_of_each_drafters_color(written: tuple[str, dict[str, Any], Path]) -> None:
    _, report, path = written
    with Image.open(path) as image:
        assert image.format == "PNG" and image.width > 800 and image.height > 34 * len(report["rows"])
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    share = {name: int((pixels == color).all(axis=1).sum()) for name, color in COLORS.items()}
    assert all(count > 100 for count in share.values()), share


def test_other_precisions_run_too_and_candidates_share_passes(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for precision, candidates in (("bf16", 2), ("int16", 1), ("torch", 1)):
        asked = ["--precision", precision, "--candidates", str(candidates), "--drafters", "half_edge", "--widths", "9"]
        common = ["--checkpoint", str(checkpoint), "--device", "cpu", "--limit", "1", "--stop-at", "3", "--seed", "1"]
        assert main(["bench", *common, *asked]) == 0
        report = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert report["precision"] == {"torch": "float32 by torch"}.get(precision, precision)
        assert [row["name"] for row in report["rows"]] == ["none", "half_edge 9"]
        assert report["candidates"] == candidates and report["default"] == "half_edge 9"
        assert report["identical"] or all(d["near_tie"] for row in report["rows"] for d in row["divergences"])


def test_wrong_arguments_are_one_line_and_nothing_is_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (["--drafters", "none,guess"], f"drafters must be some of {', '.join(DRAFTERS)}, got 'none,guess'"),
        (["--widths", "9,x"], "widths must be an integer in [2, 64], separated by commas, got '9,x'"),
        (["--widths", "65"], "widths must be an integer in [2, 64], got 65"),
        (["--limit", "0"], "limit must be at least 1, got 0"),
        (["--min-faces", "9", "--max-faces", "8"], "min-faces must be in [1, 8], the given max-faces, got 9"),
        (["--temperature", "3"], "temperature must be a number in [0, 2], got 3.0"),
        (["--candidates", "17"], "candidates must be an integer in [1, 16], got 17"),
        (["--stop-at", "0"], "stop-at must be an integer in [1, 10,000] or null, got 0"),
        (["--threads", "0"], "threads must be an integer in [1, 1024], got 0"),
        (["--json", str(tmp_path)], "json must name a .json file"),
        (["--plot", str(tmp_path / "plot.txt")], "plot must name a .png file"),
        (["--data", str(tmp_path / "none")], "which is neither"),
        (["--checkpoint", "no-such-checkpoint"], "no-such-checkpoint"),
    ):
        given = arguments if "--checkpoint" in arguments else ["--checkpoint", str(checkpoint), *arguments]
        assert main(["bench", *given]) == 2, arguments
        printed = capsys.readouterr()
        assert printed.err.startswith("error: ") and message in printed.err, printed.err
        assert printed.err.count("\n") == 1 and not printed.out
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_no_file(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = trace.decode, []

    def interrupted(*args: Any, **kwargs: Any) -> Run:
        calls.append(args)
        if len(calls) == 4:  # in the middle of the first mesh, after the warm-up of both settings
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(trace, "decode", interrupted)
    arguments = ["--drafters", "half_edge", "--widths", "9", "--limit", "1", "--stop-at", "2"]
    files = ["--json", str(tmp_path / "new" / "run.json"), "--plot", str(tmp_path / "run.png")]
    assert main(["bench", "--checkpoint", str(checkpoint), "--device", "cpu", *arguments, *files]) == 130
    assert len(calls) == 4 and "interrupted" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the rows


def test_names_tell_settings_apart_and_equal_settings_run_once() -> None:
    plan = make_plan(preset("nano"), parse_drafters("none,half_edge,heads,united"), (9, 18, 27), heads_table=True,
                     ablation=True)  # fmt: skip
    names = [setting.name for setting in plan.settings]
    assert plan.settings[0] == PLAIN and len(set(names)) == len(names)
    assert set(plan.tables) == {"drafters", "table 2", "table 3", "table 6"}
    assert all(name in names for lines in plan.tables.values() for _, name in lines)
    by_name = {setting.name: setting for setting in plan.settings}
    paper = dict(plan.tables["table 3"])["18-15"]
    assert paper == dict(plan.tables["table 2"])["SP + HF + paper"] == dict(plan.tables["table 6"])["A + B"]
    assert (by_name[paper].width, by_name[paper].face_of, by_name[paper].point_of) == (18, 18, 15)
    alone = by_name[dict(plan.tables["table 2"])["SP"]]
    assert (alone.drafting.face_tokens, alone.drafting.vertex_tokens, alone.width) == (0, 0, 3)
    without = by_name[dict(plan.tables["table 6"])["none"]]
    assert not without.drafting.after_face and not without.drafting.skip_first


def test_rows_that_the_heads_cannot_make_are_told() -> None:
    def labels(faces: int, vertices: int) -> tuple[list[str], list[str]]:
        from dataclasses import replace

        config = replace(preset("debug"), face_drafts=faces, vertex_drafts=vertices)
        plan = make_plan(config, ("none",), (9,), heads_table=True)
        return [label for label, _ in plan.tables["table 3"]], [lack["label"] for lack in plan.missing]

    every = [f"{face}-{point}" for face, point in TABLE_3]
    assert labels(2, 5) == (["plain", "9-9", "18-12", "18-15"], ["18-18", "27-9", "27-27"])
    assert labels(3, 9) == (["plain", *every], [])


def test_a_checkpoint_without_heads_is_refused_for_their_drafters_alone() -> None:
    from dataclasses import replace

    config = replace(preset("debug"), face_drafts=0)
    assert len(make_plan(config, ("none", "half_edge"), (9,)).settings) == 2
    for drafters, tables in ((("heads",), {}), (("none",), {"ablation": True})):
        with pytest.raises(ValueError, match="checkpoint must have draft heads"):
            make_plan(config, drafters, (9,), **tables)


def test_lists_may_hold_spaces_and_repeats() -> None:
    assert parse_drafters(" none, united,none") == ("none", "united") and parse_widths("27, 9,27,") == (27, 9)
    for empty in ("", " , "):
        with pytest.raises(ValueError, match="drafters"):
            parse_drafters(empty)
        with pytest.raises(ValueError, match="widths"):
            parse_widths(empty)


# ---------------------------------------------------------------- the figures


def test_a_mesh_that_differs_is_told_with_its_scores(engine: Engine, subject: Subject) -> None:
    options = Options(faces=4, max_faces=4, drafter="half_edge", width=9)
    setting = free("half_edge", 9, engine.config)
    prepared = engine.prepare(subject.make(), None, options)
    runs = {one: decode(engine, prepared, Options(faces=4, max_faces=4, drafter=one.drafter, width=9), one)
            for one in (PLAIN, setting)}  # fmt: skip
    assert not first_difference(runs[PLAIN], runs[setting])
    runs[setting].tokens[0][5] += 1
    scores = {PLAIN: TopTwo((3, 4), (9.0, 5.0)), setting: TopTwo((4, 3), (9.0, 5.0))}
    found = compare(subject, (PLAIN, setting), runs, {PLAIN: 1.0, setting: 1.0}, 0.1, lambda one, watch: scores[one])
    row = row_of(setting, [found[setting]], "float32")
    assert row["identical"] is False and [d["token"] for d in row["divergences"]] == [5]
    assert divergence_text(row) == [
        "half_edge 9: table differs from token 5 on, NOT a near-tie (two best scores: plain 4, other 4)"
    ]
    assert "NO, 1 differ" in table_text([row])
    assert row_of(PLAIN, [found[PLAIN]], "float32")["identical"] is True


@pytest.mark.parametrize("drafter", ["none", "half_edge", "heads", "united"])
def test_a_watched_token_is_the_best_of_its_scores(engine: Engine, subject: Subject, drafter: str) -> None:
    setting = PLAIN if drafter == "none" else free(drafter, 9, engine.config)
    options = Options(faces=60, max_faces=6, drafter=drafter, width=9, temperature=0.7, coverage_guidance=0.0, seed=5)
    prepared = engine.prepare(subject.make(), None, options)
    whole = decode(engine, prepared, options, setting)
    assert whole.n_faces == 6 and whole.n_passes == len(whole.passes)
    stood = sum(1 + p.accepted for p in whole.passes)  # the last pass may end before another main token
    assert whole.n_tokens in (stood, stood - 1)
    for token in (0, 1, 8, 9, 31, 53):
        seen = decode(engine, prepared, options, setting, watch=(0, token)).seen
        assert seen is not None and seen.tokens[0] == whole.tokens[0][token] and seen.scores[0] >= seen.scores[1]


# ---------------------------------------------------------------- the floor and the sources


@pytest.mark.parametrize("dtype", ["bf16", "int16"])
@pytest.mark.parametrize("rows", [(1, 0, 0), (1, 1, 0), (18, 6, 2)])
def test_the_floor_has_the_matrices_of_the_pass(engine: Engine, rows: tuple[int, int, int], dtype: str) -> None:
    fast = FastModel(engine.model, dtype)
    ours = sorted((k, n, m) for _, k, n, m in products(fast, rows))
    *layers, head = shapes(engine.config, rows)
    assert sorted(layers) == ours
    columns = len(engine.model.head.weight) + len(engine.model.copy_gates.weight)
    assert head == (48, columns, rows[0])
    assert {m for *_, m in ours} == {count for count in rows if count}
    if all(rows):
        blocks = [block for name in ("coordinate_down", "coordinate_up", "vertex_down", "vertex_up", "face")
                  for block in getattr(engine.model, name)]  # fmt: skip
        weights = [
            w for block in blocks for name, w in block.named_parameters() if w.ndim == 2 and "cross.kv" not in name
        ]
        between = [getattr(engine.model, name).weight for name in ("vertex_in", "vertex_out", "face_in", "face_out")]
        assert sum(k * n for k, n, _ in ours) == sum(w.numel() for w in (*weights, *between))


def test_a_runs_floor_is_the_sum_over_its_passes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    floor = Floor(engine)
    kinds = {(1, 0, 0), (18, 6, 2)}
    assert floor.measure(kinds).keys() == kinds and floor.total([]) == 0
    monkeypatch.setattr(floor, "measure", lambda kinds: {rows: float(rows[0]) for rows in kinds})
    assert floor.total([(1, 0, 0), (18, 6, 2), (1, 0, 0)]) == 20.0


def test_the_examples_are_the_sources_without_data() -> None:
    subjects = {one.name: one for one in choose_subjects(None, **(EVERYTHING | {"max_faces": 100}))}
    assert set(subjects) == {"car_scan", "chair", "chair_remesh", "house", "lamp", "table", "vase"}
    assert subjects["table"].wanted == 96 and subjects["chair"].wanted == 100 and subjects["chair"].answer_faces == 140
    lamp = subjects["lamp"]
    cloud = lamp.make()
    assert lamp.answer is None and lamp.answer_faces is None and lamp.wanted == 100
    assert isinstance(cloud, PointCloud) and cloud.points.shape == (4000, 3)


def test_data_is_cut_to_whole_objects_of_the_split_and_range(tmp_path: Path) -> None:
    triangle = np.array([[0, 1, 2]], np.uint16)
    np.savez(
        tmp_path / "meshes.npz", vertices=np.tile(np.eye(3, dtype=np.float32), (4, 1)), faces=np.tile(triangle, (6, 1)),
        vert_offsets=np.arange(0, 13, 3), face_offsets=np.array([0, 1, 2, 3, 6]),
    )  # fmt: skip
    rows = ["id,split,kind", "whole,test,object", "knob,test,part", "other,train,object", "large,test,object"]
    (tmp_path / "index.csv").write_text("\n".join(rows))

    def names(**changed: Any) -> list[str]:
        return [one.name for one in choose_subjects(tmp_path, **(EVERYTHING | changed))]

    assert names() == ["whole", "large"] and names(max_faces=2) == ["whole"] and names(min_faces=2) == ["large"]
    assert names(split="train") == ["other"] and names(limit=1) == ["whole"]
    with pytest.raises(ValueError, match="must hold meshes of 7 to 9 faces, got none"):
        names(min_faces=7, max_faces=9)


@pytest.mark.data
def test_the_shared_test_split_has_over_a_hundred_objects(data_dir: Path, test_split: MeshStore) -> None:
    subjects = choose_subjects(data_dir, **EVERYTHING)
    assert 100 <= len(subjects) < sum(len(faces) <= 400 for faces in test_split.faces)
    assert all(one.wanted == one.answer_faces <= 400 for one in subjects)


def test_plan_and_parser_have_usable_defaults() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_bench_arguments(parser)
    args = parser.parse_args([])
    plan = make_plan(preset("nano"), parse_drafters(args.drafters), parse_widths(args.widths))
    assert [setting.name for setting in plan.settings][:3] == ["none", "half_edge 18", "half_edge 54"]
    assert Plan().settings == [PLAIN]


# ---------------------------------------------------------------- the tables in docs


@pytest.fixture(scope="module")
def write_tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_tables", ROOT / "benchmarks" / "write_tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_document_are_written_from_the_report(
    written: tuple[str, dict[str, Any], Path], write_tables: ModuleType, tmp_path: Path
) -> None:
    report = written[2].with_suffix(".json")
    docs = tmp_path / "benchmarks.md"
    docs.write_bytes(write_tables.DOCS.read_bytes())
    write_tables.write([report, report], docs)
    text = docs.read_text(encoding="utf-8")
    rows = {row["name"]: row for row in json.loads(report.read_text())["rows"]}
    row = rows["heads 18-15 paper"]
    line = next(line for line in text.splitlines() if line.startswith("| 18-15 | 9.80/18 | 10.04/15 |"))
    assert f"| {row['tokens_per_pass']:.2f} | yes |" in line and f"| {row['tokens_per_second']:.0f} |" in line
    assert next(line for line in text.splitlines() if line.startswith("| 27-27 |")).count("not trained") == 1
    assert text.count("| float32 | as given | default | 0.5 | 0 | 1 | 2 | ") == 2
    write_tables.write([report, report], docs)
    assert docs.read_text(encoding="utf-8") == text


def test_a_report_without_the_tables_or_a_document_without_markers_is_an_error(
    written: tuple[str, dict[str, Any], Path], write_tables: ModuleType, tmp_path: Path
) -> None:
    whole = json.loads(written[2].with_suffix(".json").read_text())
    docs, report = tmp_path / "benchmarks.md", tmp_path / "run.json"
    docs.write_bytes(write_tables.DOCS.read_bytes())
    report.write_text(json.dumps(whole | {"tables": {"drafters": whole["tables"]["drafters"]}}))
    with pytest.raises(ValueError, match="the rows of table 2: run bench with --ablation"):
        write_tables.write([report], docs)
    assert docs.read_bytes() == write_tables.DOCS.read_bytes()
    report.write_text(json.dumps(whole))
    docs.write_text("# Empty\n")
    with pytest.raises(ValueError, match="must have the markers '<!-- begin conditions -->'"):
        write_tables.write([report], docs)
