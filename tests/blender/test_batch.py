"""batch_generate.py in the real Blender, with a real engine of random weights."""

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import addon_modules
import numpy as np
import pytest

from flashmesh_core.checkpoint import WEIGHTS_FILE, save_checkpoint
from flashmesh_core.decode.engine import Engine
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.service.process import EngineProcess

from .conftest import ROOT, TIMEOUT, Runner

pytestmark = pytest.mark.blender
SCRIPT = ROOT / "batch_generate.py"
SMALL = ("--checkpoint", "debug", "--max-faces", 16, "--seed", 3)
OUTPUTS = {  # by input; two inputs of one stem keep their suffix
    "chair.blend": "chair.blend.glb",
    "chair.obj": "chair.obj.glb",
    "sub/block.stl": "sub/block.glb",
    "sub/chair.fbx": "sub/chair.fbx.glb",
    "sub/chair.glb": "sub/chair.glb.glb",
    "sub/seat.ply": "sub/seat.glb",
}
# What comes of the engine's process and of its weights does not depend on who starts it.
IN_THE_PROGRAM = pytest.mark.parametrize("blender", ["blender"], indirect=True)
LINE = re.compile(
    r"^\[\d+/\d+\] \S+: .+: (\d+) faces in [\d.]+ s, \d+ tokens/s, "
    r"Chamfer [\d.]+, \d+ repaired, (\d+) open edges, .+ \((eos|face_limit)\)$"
)


def entries(output: Path) -> dict[str, dict[str, Any]]:
    return {entry["file"]: entry for entry in json.loads((output / "report.json").read_text())["files"]}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def first(blender: Runner, sources: Path, tmp_path_factory: pytest.TempPathFactory):
    """A run over all formats and a broken file: its input folder, its output folder, the finished process."""
    folder = tmp_path_factory.mktemp("batch")
    shutil.copytree(sources, folder / "in", ignore=shutil.ignore_patterns("more"))
    done = blender.run(SCRIPT, "--input", folder / "in", "--output", folder / "out", *SMALL)
    return folder / "in", folder / "out", done


def test_all_but_the_broken_file_are_done(first) -> None:
    _, output, done = first
    assert done.returncode == 1, done.stdout + done.stderr
    assert files(output) == {*OUTPUTS.values(), "report.json", "report.csv"}
    report = entries(output)
    assert set(report) == {*OUTPUTS, "broken.ply"}
    assert "PLY" in report["broken.ply"]["error"] and report["broken.ply"]["objects"] == []
    for name, result in OUTPUTS.items():
        assert (report[name]["output"], report[name]["error"]) == (result, None)
    assert [row["object"] for row in report["chair.blend"]["objects"]] == ["Leg", "Seat"]


def test_a_line_tells_about_each_object(first) -> None:
    lines = [line for line in first[2].stdout.splitlines() if line.startswith("[")]
    figures = [line for line in lines if LINE.match(line)]
    assert len(figures) == sum(len(entry["objects"]) for entry in entries(first[1]).values())
    told = sorted((int(found[1]), int(found[2])) for line in lines if (found := LINE.match(line)))
    rows = [row for entry in entries(first[1]).values() for row in entry["objects"]]
    assert told == sorted((row["faces"], row["open_edges"]) for row in rows), "console and report say the same"
    assert any(line.startswith("[2/7] chair.blend: Leg (1/2): ") for line in figures)
    assert [line for line in lines if line not in figures] == [
        "[1/7] broken.ply: failed: PLY Importer: broken: Invalid PLY header."
    ]
    assert "7 files: 6 done, 0 skipped, 1 failed" in first[2].stdout


def test_the_table_says_what_the_report_says(first) -> None:
    with (first[1] / "report.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    report = entries(first[1])
    assert len(rows) == 1 + sum(len(entry["objects"]) for entry in report.values())
    for row in rows:
        if row["file"] == "broken.ply":
            assert row["error"] and not row["faces"]
            continue
        (was,) = [item for item in report[row["file"]]["objects"] if item["object"] == row["object"]]
        assert 1 <= int(row["faces"]) == was["faces"] <= 16
        assert float(row["chamfer"]) == was["chamfer"] > 0
        assert float(row["seconds"]) > 0 and float(row["tokens_per_second"]) > 0
        assert row["end_reason"] == was["end_reason"] and row["error"] == ""


def test_results_lie_on_their_sources(blender: Runner, first) -> None:
    source, output, _ = first
    was, now = blender.describe(source / "chair.blend", output / "chair.blend.glb")
    report = entries(output)["chair.blend"]["objects"]
    assert set(now) == set(was) == {"Seat", "Leg"}
    np.testing.assert_allclose(now["Seat"]["matrix"], was["Seat"]["matrix"], atol=1e-5)
    assert {name: item["triangles"] for name, item in now.items()} == {row["object"]: row["faces"] for row in report}
    for name, item in now.items():
        corners, result = np.array(was[name]["vertices"]), np.array(item["vertices"])
        margin = 0.05 * np.ptp(corners, axis=0).max()  # a few bins
        assert (result >= corners.min(axis=0) - margin).all(), name
        assert (result <= corners.max(axis=0) + margin).all(), name


def test_the_next_run_does_only_what_is_missing(blender: Runner, first, tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    shutil.copytree(first[0], source)  # with times
    shutil.copytree(first[1], output)
    arguments = ("--input", source, "--output", output, *SMALL)
    (source / "broken.ply").unlink()
    done = blender.run(SCRIPT, *arguments, FLASHMESH_PYTHON="/nowhere/python")  # no engine is needed
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("done before, skipped") == 6

    (output / "sub" / "block.glb").unlink()
    os.utime(source / "sub" / "seat.ply")
    kept = (output / "chair.obj.glb").stat().st_mtime_ns
    done = blender.run(SCRIPT, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("done before, skipped") == 4
    assert "2 done, 4 skipped, 0 failed" in done.stdout
    assert (output / "sub" / "block.glb").exists() and (output / "chair.obj.glb").stat().st_mtime_ns == kept


@IN_THE_PROGRAM
def test_a_checkpoint_folder(blender: Runner, sources: Path, tmp_path: Path) -> None:
    """Its weights count: with other ones under the same name everything is done again."""
    checkpoint = tmp_path / "weights"
    save_checkpoint(checkpoint, Engine.random("debug", seed=5).model)
    arguments = ("--input", sources / "chair.obj", "--output", tmp_path / "out", "--checkpoint", checkpoint)
    arguments = (*arguments, "--max-faces", 4, "--seed", 3)
    for words in ("1 done, 0 skipped", "0 done, 1 skipped"):
        done = blender.run(SCRIPT, *arguments)
        assert done.returncode == 0 and words in done.stdout, done.stdout + done.stderr
    os.utime(checkpoint / WEIGHTS_FILE)
    done = blender.run(SCRIPT, *arguments)
    assert done.returncode == 0 and "1 done, 0 skipped" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("suffix", ["obj", "ply", "blend"])
def test_other_formats_of_one_file(
    blender: Runner, service: EngineProcess, sources: Path, tmp_path: Path, suffix: str
) -> None:
    report = tmp_path / "reports" / "mine.json"
    arguments = ("--input", sources / "chair.blend", "--output", tmp_path / "out", "--report", report)
    arguments = (*arguments, "--engine", service.address, *SMALL, "--format", suffix, "--keep-holes")
    done = blender.run(SCRIPT, *arguments, FLASHMESH_TOKEN=service.token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(report.read_text())["files"][0]["settings"]["fill_holes"] is False
    assert files(tmp_path) == {f"out/chair.{suffix}", "reports/mine.json", "reports/mine.csv"}
    (result,) = blender.describe(tmp_path / "out" / f"chair.{suffix}")
    assert len(result) == 1 if suffix == "ply" else set(result) == {"Seat", "Leg"}


def write_points(path: Path, points: np.ndarray) -> None:
    """A PLY of vertices alone."""
    head = (
        f"ply\nformat ascii 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float y\nproperty float z\n"
    )
    path.write_text(
        head + "end_header\n" + "\n".join(" ".join(f"{value:.6f}" for value in row) for row in points) + "\n"
    )


def test_a_file_of_points_is_a_cloud(blender: Runner, tmp_path: Path) -> None:
    """As many as a surface takes, or the file is named."""
    points = np.random.default_rng(0).normal(size=(600, 3))
    points = points / np.linalg.norm(points, axis=1, keepdims=True) + (3.0, 0.0, 0.0)
    source = tmp_path / "in"
    source.mkdir()
    write_points(source / "ball.ply", points)
    write_points(source / "few.ply", points[:15])
    done = blender.run(SCRIPT, "--input", source, "--output", tmp_path / "out", *SMALL)
    assert done.returncode == 1, done.stdout + done.stderr
    report = entries(tmp_path / "out")
    assert report["ball.ply"]["error"] is None and report["ball.ply"]["objects"][0]["faces"] >= 4
    assert report["few.ply"]["error"].endswith("or one of at least 16 vertices alone, a point cloud, got none")
    (made,) = blender.describe(tmp_path / "out" / "ball.glb")[0].values()
    corners = np.array(made["vertices"]) - (3.0, 0.0, 0.0)
    assert np.abs(np.linalg.norm(corners, axis=1) - 1.0).max() < 0.3


def test_one_object_that_fails_leaves_the_others(
    blender: Runner, service: EngineProcess, sources: Path, tmp_path: Path
) -> None:
    arguments = ("--input", sources / "more", "--output", tmp_path, "--max-source-faces", 1000)
    arguments = (*arguments, "--engine", service.address, "--visible-only", *SMALL)
    done = blender.run(SCRIPT, *arguments, FLASHMESH_TOKEN=service.token)
    assert done.returncode == 1, done.stdout + done.stderr
    errors = {row["object"]: row["error"] for row in entries(tmp_path)["zoo.blend"]["objects"]}
    assert {name for name, error in errors.items() if error} == {"Heavy", "Ring"}
    assert "at most 1,000 faces" in errors["Ring"] and "got 1,152" in errors["Ring"]
    (result,) = blender.describe(tmp_path / "zoo.glb")
    assert set(result) == set(errors) - {"Heavy", "Ring"} and "Seat" in result


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--faces", 0), "argument --faces: must be an integer in [1, 10,000], got '0'"),
        (("--temperature", "nan"), "argument --temperature: must be a number in [0, 2], got 'nan'"),
        (("--format", "gltf"), "argument --format: invalid choice: 'gltf'"),
        (
            ("--max-source-faces", "many"),
            "argument --max-source-faces: must be an integer in [1, 8,000,000], got 'many'",
        ),
        (
            ("--engine-python", "/nowhere/python", "--engine", "process"),
            "'/nowhere/python' cannot be started",
        ),
        (("--engine", "http://127.0.0.1:9"), "no engine answers at http://127.0.0.1:9"),
        (("--checkpoint", "no-such-checkpoint"), "no-such-checkpoint"),
    ],
)
def test_wrong_usage(blender: Runner, sources: Path, tmp_path: Path, wrong: tuple, message: str) -> None:
    done = blender.run(SCRIPT, "--input", sources / "chair.obj", "--output", tmp_path, *wrong)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert "chair.glb" not in files(tmp_path)


def test_a_service_that_runs_already(blender: Runner, service: EngineProcess, sources: Path, tmp_path: Path) -> None:
    arguments = ("--input", sources / "chair.obj", "--output", tmp_path, "--max-faces", 4)
    arguments = (*arguments, "--engine", service.address)
    refused = blender.run(SCRIPT, *arguments, "--token", "wrong")
    assert refused.returncode == 2 and "token" in refused.stderr, refused.stdout + refused.stderr
    done = blender.run(SCRIPT, *arguments, FLASHMESH_TOKEN=service.token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert service.alive, "it is not ours to end"
    assert {row["faces"] <= 4 for row in entries(tmp_path)["chair.obj"]["objects"]} == {True}


@pytest.mark.parametrize("kind", ["inprocess", "process"])
def test_the_engine_is_given_the_mesh(debug_engine: Engine, kind: str) -> None:
    named = {"engine": kind, "engine_python": sys.executable, "checkpoint": "debug", "device": "cpu"}
    engine = addon_modules.load("batch.engine").make_engine(argparse.Namespace(**named))
    vertices, triangles = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), np.int32([[0, 2, 1], [0, 1, 3]])
    steps: list[tuple[str, float]] = []
    try:
        row = engine.generate(vertices, triangles, lambda *told: steps.append(told), max_faces=8, seed=3)
    finally:
        engine.close()
    expected = debug_engine.generate(Mesh(vertices, triangles), max_faces=8, seed=3)
    np.testing.assert_array_equal(row["vertices"], expected.mesh.vertices)
    np.testing.assert_array_equal(row["face_indices"], expected.mesh.faces)
    assert row["chamfer"] == expected.chamfer
    assert steps[0] == ("clean", 0.0)


@IN_THE_PROGRAM
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_shows_how_far_reading_is(blender: Runner, sources: Path, tmp_path: Path) -> None:
    """In a line that the next one takes the place of; a file has the lines that stay alone."""
    arguments = ("--input", sources / "chair.obj", "--output", tmp_path / "out", *SMALL)
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        blender.arguments(SCRIPT, *arguments), env=blender.environment(), stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    text = b""
    try:
        with suppress(OSError):  # the other end is closed: on Linux an error
            while part := os.read(ours, 4096):
                text += part
    finally:
        os.close(ours)
        assert child.wait(TIMEOUT) == 0
    said = text.decode(errors="replace")
    assert "[1/1] chair.obj: Leg (1/2): reading the surface: cleaning up, 0%" in said
    stays = [line.rpartition("\r")[2].rstrip() for line in said.replace("\r\n", "\n").split("\n")]
    assert len([line for line in stays if LINE.match(line)]) == 2 and not any("reading" in line for line in stays)


class Recorded:
    """A Python for --engine-python that notes the process ids it gets."""

    def __init__(self, folder: Path, python: str) -> None:
        self._notes, self.path = folder / "pids", folder / "python"
        self.path.write_text(f'#!/bin/sh\necho $$ >> "{self._notes}"\nexec "{python}" "$@"\n')
        self.path.chmod(0o755)

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self._notes.read_text().split()] if self._notes.exists() else []


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_for(what: str, condition) -> None:
    deadline = time.monotonic() + TIMEOUT / 2
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals and a shell")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_engine_too(blender: Runner, sources: Path, tmp_path: Path, number: int) -> None:
    python = Recorded(tmp_path, blender.environment()["FLASHMESH_PYTHON"])
    output, log = tmp_path / "out", tmp_path / "log"
    arguments = (
        "--input",
        sources,
        "--output",
        output,
        "--engine",
        "process",
        "--engine-python",
        python.path,
    )
    arguments = (*arguments, "--checkpoint", "debug", "--faces", 2000, "--candidates", 16)
    with log.open("wb") as stream:
        child = subprocess.Popen(
            blender.arguments(SCRIPT, *arguments), env=blender.environment(), stdout=stream, stderr=stream
        )
        try:
            wait_for("the broken file", lambda: b"broken.ply: failed" in log.read_bytes())
            time.sleep(0.5)  # into the next one
            child.send_signal(number)
            status = child.wait(15)
        finally:
            child.kill()
            child.wait()
    assert status == 128 + number, log.read_text("utf-8", "replace")
    (pid,) = python.pids
    wait_for("the engine to end", lambda: ended(pid))
    assert files(output) == {"report.json", "report.csv"}, "no half-written file"
    unfinished = [entry for entry in entries(output).values() if entry["error"].startswith("not finished")]
    assert len(unfinished) == 1


@IN_THE_PROGRAM
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals and a shell")
def test_an_engine_that_dies_is_started_again(blender: Runner, sources: Path, tmp_path: Path) -> None:
    python = Recorded(tmp_path, blender.environment()["FLASHMESH_PYTHON"])
    output, log = tmp_path / "out", tmp_path / "log"
    source = tmp_path / "in"
    source.mkdir()
    for index in range(2):
        shutil.copy(sources / "chair.obj", source / f"{index}.obj")
    arguments = ("--input", source, "--output", output, "--engine", "process", "--engine-python", python.path)
    with log.open("wb") as stream:
        child = subprocess.Popen(
            blender.arguments(SCRIPT, *arguments, *SMALL, "--candidates", 8),
            env=blender.environment(), stdout=stream, stderr=stream,
        )  # fmt: skip
        try:
            wait_for("the first object", lambda: b"[1/2] 0.obj: Leg (1/2): " in log.read_bytes())
            os.kill(python.pids[0], signal.SIGKILL)
            status = child.wait(TIMEOUT)
        finally:
            child.kill()
            child.wait()
    assert len(python.pids) == 2, log.read_text("utf-8", "replace")
    rows = [row for entry in entries(output).values() for row in entry["objects"]]
    failed = [row for row in rows if row["error"]]
    assert len(rows) == 4 and len(failed) <= 1 and status == (1 if failed else 0)
