"""`flashmesh batch`: files, errors, resuming, lost workers, a batch killed ten times, a Ray cluster of two nodes."""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from flashmesh_core.__main__ import build_parser, main
from flashmesh_core.arguments import engine_options
from flashmesh_core.batch.command import run_batch, weights_stamp
from flashmesh_core.batch.report import Report
from flashmesh_core.batch.workers import LocalWorkers, Workers
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import PointCloud, load_mesh, save_mesh, save_points

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ("--checkpoint", "debug", "--faces", "12", "--max-faces", "12", "--format", "obj")


def fill(folder: Path, count: int) -> Path:
    """`count` boxes of different sizes, half of them OBJ and half PLY, some in a folder below."""
    corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([half for a, b, c, d in sides for half in ((a, b, c), (a, c, d))])
    for number in range(count):
        size = 1.0 + np.random.default_rng(number).random(3)
        place = folder / ("below" if number % 5 == 0 else ".")
        save_mesh(place / f"box{number:03d}{('.obj', '.ply')[number % 2]}", Mesh(corners * size, faces))
    return folder


def arguments(source: Path, output: Path, *more: str) -> argparse.Namespace:
    given = ["batch", "--input", str(source), "--output", str(output), *OPTIONS, "--workers", "2", *more]
    return build_parser().parse_args(given)


def run(args: argparse.Namespace, say: Callable[[str], None] = lambda line: None) -> int:
    return run_batch(args, engine_options(args, faces=args.faces, max_faces=args.max_faces), say)


def results(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.obj"))}


def test_a_folder_of_files_with_one_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = fill(tmp_path / "in", 4), tmp_path / "out"
    save_points(source / "cloud.xyz", PointCloud(np.random.default_rng(0).normal(size=(200, 3))))
    (source / "broken.stl").write_text("nothing")
    (source / "notes.txt").write_text("not a mesh")
    given = ["batch", "--input", str(source), "--output", str(output), *OPTIONS, "--workers", "2"]
    assert main(given) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("broken.stl: failed: " in line for line in lines)
    assert lines[-1].startswith("6 files: 5 done, 0 skipped, 1 failed; report in ")
    assert sum(" faces in " in line and " repaired, " in line and " open edges, " in line for line in lines) == 5
    made = results(output)
    assert sorted(made) == [
        "below/box000.obj", "box001.obj", "box002.obj", "box003.obj", "cloud.obj",
    ]  # fmt: skip
    entries = {entry["file"]: entry for entry in json.loads((output / "report.json").read_text())["files"]}
    (row,) = entries["box001.ply"]["objects"]
    assert row["faces"] == len(load_mesh(output / "box001.obj").faces) and row["wanted"] == 12
    assert row["verdict"] and row["error"] is None and entries["broken.stl"]["error"]
    with (output / "report.csv").open(newline="") as file:
        assert {line["file"]: line["verdict"] for line in csv.DictReader(file)}["box001.ply"] == row["verdict"]
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.obj")}
    assert main(given) == 1  # all but the broken one are skipped
    assert "5 skipped, 1 failed" in capsys.readouterr().out.splitlines()[-1]
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.obj")} == before
    single = tmp_path / "single.obj"
    from flashmesh_core.batch.workers import Remaker, WorkSettings

    args = arguments(source, output)
    settings = WorkSettings("debug", "cpu", engine_options(args, faces=12, max_faces=12))
    save_mesh(single, Remaker(settings).remake("", load_mesh(source / "box001.ply")).mesh)
    assert single.read_bytes() == made["box001.obj"]


def test_a_lost_worker_is_replaced_and_its_file_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, lines, killed = fill(tmp_path / "in", 3), [], []
    really = LocalWorkers.wait

    def wait(self: LocalWorkers) -> list:
        if not killed:
            killed.append(os.kill(next(iter(self._busy.values())).pid, signal.SIGKILL))
        return really(self)

    monkeypatch.setattr(LocalWorkers, "wait", wait)
    assert run(arguments(source, tmp_path / "out"), lines.append) == 0
    assert sum("its worker was lost, it is tried again" in line for line in lines) == 1
    assert len(results(tmp_path / "out")) == 3


def test_a_file_that_every_worker_dies_of_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, lines = fill(tmp_path / "in", 3), []
    really = LocalWorkers.wait

    def wait(self: LocalWorkers) -> list:
        for key, process in self._busy.items():
            if key == "box001.ply":
                os.kill(process.pid, signal.SIGKILL)
        return really(self)

    monkeypatch.setattr(LocalWorkers, "wait", wait)
    assert run(arguments(source, tmp_path / "out"), lines.append) == 1
    assert any("box001.ply: failed: its worker was lost 3 times" in line for line in lines)
    assert sorted(results(tmp_path / "out")) == ["below/box000.obj", "box002.obj"]


@pytest.mark.parametrize(("count", "kills"), [(12, 3)])
def test_a_batch_killed_at_random_ends_in_the_same_bytes(tmp_path: Path, count: int, kills: int) -> None:
    """The whole program is killed again and again; each run goes on where the last one was. More by hand: faults.md."""
    source = fill(tmp_path / "in", count)
    assert run(arguments(source, tmp_path / "whole")) == 0
    command = [sys.executable, "-m", "flashmesh_core", "batch", "--input", str(source), "--output",
               str(tmp_path / "parts"), *OPTIONS, "--workers", "1"]  # fmt: skip
    chance, ended = random.Random(0), []
    for _ in range(kills):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
        for _ in range(chance.randrange(0, 3)):
            child.stdout.readline()
        time.sleep(chance.random())
        child.kill()
        ended.append(child.wait())
        child.stdout.close()
    assert set(ended) <= {-signal.SIGKILL, 0}
    assert subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--workers", "0"), r"--workers must be in \[1, 256\], got 0"),
        (("--report", "report.txt"), r"--report must be a file name that ends in \.json"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    source = fill(tmp_path / "in", 1)
    with pytest.raises(ValueError, match=said):
        run(arguments(source, tmp_path / "out", *more))
    for wrong, said in (
        (arguments(tmp_path / "none", tmp_path / "out"), "--input must be a folder or file that exists"),
        (arguments(source, source), "--output must be another folder than --input"),
        (arguments(source, source / "below" / "box000.obj"), "--output must be a folder"),
    ):
        with pytest.raises(ValueError, match=said):
            run(wrong)


def test_replaced_weights_are_not_taken_for_the_same(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"1")
    os.utime(weights, ns=(1, 5))
    assert weights_stamp(str(tmp_path)) == 5 == weights_stamp(str(weights))
    assert weights_stamp("nano") > 0 == weights_stamp("debug")


@pytest.fixture
def cluster() -> Iterator[object]:
    """Two nodes of a Ray cluster, each with one CPU, in processes of their own."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    made = Cluster()
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=80_000_000)
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_ray_cluster_of_two_nodes_with_a_worker_and_a_node_killed(
    tmp_path: Path, cluster: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from flashmesh_core.batch.ray_workers import RayWorkers

    source, lines, killed = fill(tmp_path / "in", 6), [], []
    assert run(arguments(source, tmp_path / "local")) == 0
    really = RayWorkers.wait

    def wait(self: RayWorkers) -> list:
        if len(killed) == 0 and len(self._busy) == 2:
            assert len(ray.nodes()) == 2
            killed.append(ray.kill(next(iter(self._busy.values()))[1]))
        elif len(killed) == 1 and len(lines) >= 3:
            killed.append(cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False))
        return really(self)

    monkeypatch.setattr(RayWorkers, "wait", wait)
    assert run(arguments(source, tmp_path / "ray", "--ray", cluster.address), lines.append) == 0
    assert len(killed) == 2 and any("its worker was lost, it is tried again" in line for line in lines)
    assert results(tmp_path / "ray") == results(tmp_path / "local")


def test_what_a_batch_needs_of_workers_is_what_they_have() -> None:
    from flashmesh_core.batch.ray_workers import RayWorkers

    for name in ("free", "give", "wait", "close"):
        assert all(hasattr(kind, name) for kind in (Workers, LocalWorkers, RayWorkers)) and Report
