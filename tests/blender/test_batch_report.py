"""The plan of a batch and its report, without Blender."""

import csv
import json
import os
from pathlib import Path

import pytest

from flashmesh_core.batch.report import COLUMNS, UNFINISHED, Job, Report, plan_jobs
from flashmesh_core.files import write_atomically

SUFFIXES = (".obj", ".stl", ".ply", ".blend")
ROW = {"object": "A", "faces": 3, "seconds": 0.5, "tokens_per_second": 54.0, "chamfer": 0.1}
ROW |= {"end_reason": "eos", "error": None}


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def test_folders_are_mirrored_and_only_known_files_taken(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "b.OBJ", "a/c.stl", "a/c.txt", ".hidden.obj", ".git/x.obj", "a/._c.stl")
    jobs = plan_jobs(source, tmp_path / "out", SUFFIXES, ".glb")
    assert [(job.key, job.output.relative_to(tmp_path).as_posix()) for job in jobs] == [
        ("a/c.stl", "out/a/c.glb"),
        ("b.OBJ", "out/b.glb"),
    ]


def test_one_file_as_input(tmp_path: Path) -> None:
    source = fill(tmp_path, "one.obj", "two.obj")
    (job,) = plan_jobs(source / "one.obj", tmp_path / "out", SUFFIXES, ".ply")
    assert (job.key, job.output) == ("one.obj", tmp_path / "out" / "one.ply")


def test_outputs_never_collide(tmp_path: Path) -> None:
    names = ("c.obj", "c.stl", "C.ply", "c.obj.stl", "c.obj.ply", "d.obj", "e/c.obj")
    jobs = plan_jobs(fill(tmp_path / "in", *names), tmp_path / "out", SUFFIXES, ".glb")
    outputs = {job.key: job.output.relative_to(tmp_path / "out").as_posix() for job in jobs}
    assert len({name.lower() for name in outputs.values()}) == len(names)
    assert outputs["c.obj"] == "c.obj.glb" and outputs["c.stl"] == "c.stl.glb"
    assert outputs["d.obj"] == "d.glb" and outputs["e/c.obj"] == "e/c.glb"


def test_results_inside_the_input_are_no_input(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "a.obj", "out/a.obj")
    assert [job.key for job in plan_jobs(source, source / "out", SUFFIXES, ".obj")] == ["a.obj"]


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    source = fill(tmp_path, "in/a.obj", "in/in/a.obj") / "in"
    with pytest.raises(ValueError, match="no input is overwritten"):
        plan_jobs(source, tmp_path, SUFFIXES, ".obj")


def test_a_folder_without_meshes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold files that end in \.obj \.stl"):
        plan_jobs(fill(tmp_path / "in", "a.txt"), tmp_path / "out", SUFFIXES, ".glb")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    fill(tmp_path, "in/a.obj", "out/a.glb")
    return Job("a.obj", tmp_path / "in" / "a.obj", tmp_path / "out" / "a.glb")


def done(job: Job, settings: dict) -> Report:
    report = Report(job.output.parent / "report.json", settings)
    report.begin(job)
    report.finish(job, [ROW], None)
    return report


def test_done_is_remembered_and_undone_by_any_change(job: Job) -> None:
    path = done(job, {"seed": 1}).path
    assert Report(path, {"seed": 1}).is_done(job)
    assert not Report(path, {"seed": 2}).is_done(job)
    assert not Report(path, {"seed": 1}).is_done(Job(job.key, job.source, job.output.with_suffix(".ply")))
    facts = job.source.stat()
    os.utime(job.source, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000_000))
    assert not Report(path, {"seed": 1}).is_done(job)
    report = done(job, {"seed": 1})
    job.output.unlink()
    assert not report.is_done(job)


def test_a_change_while_the_file_is_being_done_counts(job: Job) -> None:
    report = Report(job.output.parent / "report.json", {})
    report.begin(job)
    job.source.write_text("other content")
    report.finish(job, [ROW], None)
    assert not report.is_done(job)


@pytest.mark.parametrize(("rows", "error"), [([ROW, {"object": "B", "error": "no faces"}], None), ([], "broken")])
def test_what_failed_is_not_done(job: Job, rows: list, error: str | None) -> None:
    report = Report(job.output.parent / "report.json", {})
    report.begin(job)
    assert not report.is_done(job)
    assert json.loads(report.path.read_text())["files"][0]["error"] == UNFINISHED
    report.finish(job, rows, error)
    assert not report.is_done(job)
    with report.path.with_suffix(".csv").open(newline="") as table:
        lines = list(csv.DictReader(table))
    assert lines[-1]["error"] == (error or "no faces") and list(lines[0]) == list(COLUMNS)


def test_a_foreign_file_is_not_taken_for_a_report(tmp_path: Path) -> None:
    for text in ("not json", "[1]", '{"files": [{"file": "a"}]}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(ValueError, match="must be a new file or a report"):
            Report(tmp_path / "report.json", {})
        assert (tmp_path / "report.json").read_text() == text


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        assert path.suffix == ".glb" and path.parent == tmp_path
        path.write_text("half")
        raise RuntimeError("disk full")

    (tmp_path / "a.glb").write_text("old")
    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(tmp_path / "a.glb", fail)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.glb", "old")]
