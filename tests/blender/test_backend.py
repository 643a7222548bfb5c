"""The add-on's engines and their thread, which need no Blender: a real service, a real process, real weights."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blender_addon.engine import backend, generation
from blender_addon.engine import request as request_module
from blender_addon.scene import growing
from flashmesh_core.decode.engine import Engine
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.service.process import EngineProcess

from .conftest import TIMEOUT

EngineChoice, Job, RunSettings = backend.EngineChoice, generation.Job, request_module.RunSettings
CUBE = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
TRIANGLES = np.array([corner for a, b, c, d in QUADS for corner in ([a, b, c], [a, c, d])])


def cube_request(**options: Any) -> Any:
    return request_module.make_request(CUBE, TRIANGLES, RunSettings(**options))


class Watched:
    """A Job whose events are kept as they come."""

    def __init__(self, engine: Any, **options: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.job = Job(engine, lambda: cube_request(**options))

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT / 2
        while True:
            new = self.job.drain(0.1)
            self.events += new
            for event in new:
                if condition(event):
                    return event
            assert time.monotonic() < deadline, self.kinds()

    def until_kind(self, *kinds: str) -> dict[str, Any]:
        return self.until(lambda event: event["kind"] in kinds)

    def kinds(self) -> list[str]:
        """The kinds of events, each once in a row."""
        kinds = [event["kind"] for event in self.events if event["kind"] != "progress"]
        return [kind for number, kind in enumerate(kinds) if kinds[number - 1 : number] != [kind]]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def local(endless: str) -> Iterator[Any]:
    """An engine in a process of its own that does not end by itself."""
    engine = backend.make_engine(EngineChoice(python=sys.executable, checkpoint=endless))
    yield engine
    engine.stop()


def test_a_process_is_started_on_first_use_and_ended(local: Any) -> None:
    assert local.status() == {"state": "stopped"} and local.pid is None
    watched = Watched(local, faces=8)
    end = watched.until_kind("end", "failed")
    assert watched.kinds() == ["sampling", "starting", "queued", "loading", "compiling", "encoding", "faces", "end"]
    assert watched.events[1]["reason"] == "" and end["face_indices"].shape[1:] == (3,)
    pid = local.pid
    assert is_running(pid)
    local.refresh()
    assert local.status()["state"] == "idle" and local.status()["checkpoint"]
    again = Watched(local, faces=8)
    again.until_kind("end", "failed")
    assert "starting" not in again.kinds() and "loading" not in again.kinds() and local.pid == pid
    local.free()
    assert local.status()["checkpoint"] is None
    local.stop()
    assert not is_running(pid) and local.status() == {"state": "stopped"} and local.trouble == ""
    assert watched.job.join(5.0) and again.job.join(5.0)


def test_cancel_ends_the_engines_work(local: Any) -> None:
    watched = Watched(local, faces=10_000)
    watched.until_kind("faces")
    watched.job.cancel()
    assert watched.until_kind("end", "failed")["end_reason"] == "cancelled"
    assert watched.job.join(5.0)
    local.refresh()
    assert local.status()["state"] == "idle"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_cancel_while_the_process_starts(tmp_path: Path) -> None:
    """This Python never gets ready: the wait is given up and the process ended."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\nexec cat\n')
    python.chmod(0o755)
    engine = backend.make_engine(EngineChoice(python=str(python)))
    watched = Watched(engine)
    watched.until_kind("starting")
    deadline = time.monotonic() + TIMEOUT / 2
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert engine.status() == {"state": "starting"}
    watched.job.cancel()
    watched.until_kind("failed")
    assert watched.job.join(10.0) and not is_running(int((tmp_path / "pid").read_text()))
    assert engine.status() == {"state": "stopped"} and engine.trouble == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_killed_process_is_started_again_once(local: Any) -> None:
    watched = Watched(local, faces=10_000)
    watched.until_kind("faces")
    first = local.pid
    os.kill(first, signal.SIGKILL)
    assert "SIGKILL" in watched.until_kind("restarting")["reason"]
    watched.until_kind("faces")
    second = local.pid
    assert second != first and "SIGKILL" in local.trouble
    os.kill(second, signal.SIGKILL)
    failed = watched.until_kind("failed")
    assert "ended twice" in failed["message"] and "SIGKILL" in failed["message"]
    assert local.status() == {"state": "stopped"} and watched.job.join(5.0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_process_that_died_in_between_gives_its_reason(local: Any) -> None:
    Watched(local, faces=4).until_kind("end", "failed")
    os.kill(local.pid, signal.SIGKILL)
    deadline = time.monotonic() + TIMEOUT / 4
    while local.pid is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert local.status() == {"state": "stopped"} and "SIGKILL" in local.trouble
    watched = Watched(local, faces=4)
    assert "SIGKILL" in watched.until_kind("starting")["reason"]
    assert watched.until_kind("end", "failed")["kind"] == "end"
    Watched(local, faces=4).until_kind("end", "failed")
    assert local.trouble == "", "it goes well again"


def test_stop_in_the_middle_is_no_crash(local: Any) -> None:
    watched = Watched(local, faces=10_000)
    watched.until_kind("faces")
    local.stop()
    watched.until_kind("end", "failed")
    assert "restarting" not in watched.kinds() and local.pid is None and local.trouble == ""
    assert watched.job.join(5.0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"python": "/nowhere/python"}, "cannot be started"), ({"checkpoint": "no-such"}, "no-such")],
)
def test_what_cannot_work_is_told(wrong: dict[str, str], words: str) -> None:
    engine = backend.make_engine(EngineChoice(**{"python": sys.executable, **wrong}))
    try:
        failed = Watched(engine).until_kind("failed")
        assert words in failed["message"] and failed["field"] in ("python", "checkpoint", None)
    finally:
        engine.stop()


@pytest.mark.parametrize(
    "form", ["http://127.0.0.1:{}", "127.0.0.1:{}", "localhost:{}", " http://localhost:{}/ ", "{}"]
)
def test_an_address_in_any_form(service: EngineProcess, form: str) -> None:
    address = form.format(service.address.rpartition(":")[2])
    choice = EngineChoice(backend="ADDRESS", address=address, token=service.token, online=False)
    assert choice.problem() == "", "loopback needs no network"
    engine = backend.make_engine(choice)
    watched = Watched(engine, faces=4)
    assert watched.until_kind("end", "failed")["kind"] == "end"
    engine.start()
    assert engine.status()["state"] == "idle"
    engine.stop()
    assert service.alive, "it is not ours to end"


def test_an_address_with_a_wrong_token(service: EngineProcess) -> None:
    engine = backend.make_engine(EngineChoice(backend="ADDRESS", address=service.address, token="wrong"))
    assert "token" in Watched(engine).until_kind("failed")["message"]
    assert "token" in engine.trouble


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"backend": "ADDRESS", "address": " "}, "got nothing"),
        ({"backend": "ADDRESS", "address": "ftp://x"}, "must look like"),
        ({"backend": "ADDRESS", "address": "engine.example:80", "online": False}, "offline"),
        ({"backend": "ADDRESS", "address": "127.0.0.1.example.com:80", "online": False}, "offline"),
        ({"backend": "ADDRESS", "address": "engine.example:80"}, ""),
        ({"backend": "ADDRESS", "address": "[::1]:80", "online": False}, ""),
        ({"backend": "LOCAL", "online": False}, ""),
        ({"backend": "IN_PROCESS", "online": False}, ""),
    ],
)
def test_what_speaks_against_a_choice(choice: dict[str, Any], words: str) -> None:
    problem = EngineChoice(**choice).problem()
    assert words in problem and bool(words) == bool(problem)


def test_offline_nothing_is_sent() -> None:
    engine = backend.make_engine(EngineChoice(backend="ADDRESS", address="192.0.2.1:80", online=False))
    failed = Watched(engine).until_kind("failed")
    assert "offline" in failed["message"] and failed["field"] == "address"


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="backend must be one of LOCAL, IN_PROCESS, ADDRESS, got 'REMOTE'"):
        backend.make_engine(EngineChoice(backend="REMOTE"))


def test_in_process(endless: str) -> None:
    engine = backend.make_engine(EngineChoice(backend="IN_PROCESS", checkpoint=endless, device="cpu"))
    assert engine.status() == {"state": "stopped"}
    watched = Watched(engine, faces=8)
    watched.until_kind("end", "failed")
    assert watched.kinds() == ["sampling", "queued", "loading", "compiling", "encoding", "faces", "end"]
    long = Watched(engine, faces=10_000)
    long.until_kind("faces")
    assert engine.status()["state"] == "busy"
    with pytest.raises(backend.EngineError, match="while it works"):
        engine.free()
    long.job.cancel()
    assert long.until_kind("end", "failed")["end_reason"] == "cancelled"
    engine.stop()
    assert engine.status() == {"state": "stopped"} and long.job.join(5.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "flashmesh-engine" and thread.is_alive()]


@pytest.mark.parametrize("kind", ["LOCAL", "ADDRESS", "IN_PROCESS"])
def test_every_engine_is_given_the_mesh(service: EngineProcess, debug_engine: Engine, kind: str) -> None:
    """Corner by corner what the engine makes of the mesh itself."""
    named = {"python": sys.executable, "checkpoint": "debug", "device": "cpu"}
    engine = backend.make_engine(EngineChoice(kind, address=service.address, token=service.token, **named))
    try:
        end = Watched(engine, faces=8, preset="DRAFT").until_kind("end", "failed")
    finally:
        engine.stop()
    request = cube_request(faces=8, preset="DRAFT")
    made = debug_engine.generate(Mesh(request.points, request.triangles), **request.options).mesh
    np.testing.assert_array_equal(end["vertices"], made.vertices.astype(np.float32))
    np.testing.assert_array_equal(end["face_indices"], made.faces)


def test_in_process_tells_what_is_wrong() -> None:
    engine = backend.make_engine(EngineChoice(backend="IN_PROCESS", checkpoint="no-such"))
    assert "no-such" in Watched(engine).until_kind("failed")["message"]
    engine.stop()


@pytest.mark.parametrize(
    ("status", "said", "sentence"),
    [
        (3, "", "the engine ended with status 3"),
        (1, "FlashMesh serves on x\nboom\n\n", "the engine ended with status 1: boom"),
        (-9, "", "the engine ended by SIGKILL (killed, often because memory ran out)"),
        (-15, "last words", "the engine ended by SIGTERM: last words"),
    ],
)
def test_why_a_process_ended(status: int, said: str, sentence: str) -> None:
    assert backend.why_ended(status, said) == sentence


def test_a_cancellation_runs_its_hook_once_and_elsewhere() -> None:
    names, done = [], threading.Event()
    cancellation = generation.Cancellation()
    cancellation.hook(lambda: (names.append(threading.current_thread().name), done.set()))
    cancellation.set()
    assert done.wait(TIMEOUT)
    cancellation.set()
    cancellation.hook(lambda: names.append("late"))
    assert names == ["flashmesh-cancel", "late"]


def test_settings_become_the_engines_options() -> None:
    options = RunSettings(faces=40, preset="DRAFT", seed=7, temperature=float(np.float32(0.7)), watertight=True)
    assert options.engine_options() == {
        "faces": 40, "seed": 7, "temperature": 0.7, "watertight": True, "surface": True, "candidates": 1,
        "max_faces": 40,
    }  # fmt: skip
    assert RunSettings(preset="BEST_OF_4").engine_options()["candidates"] == 4
    assert "max_faces" not in RunSettings().engine_options()
    assert RunSettings(fill_holes=False).engine_options()["fill_holes"] is False
    assert "clean_up" not in RunSettings().engine_options()
    for settings in (RunSettings(clean_up=False), RunSettings(selected_only=True)):
        assert settings.engine_options()["clean_up"] is False, "what was selected is meant as it is"
    assert "keep_vertices" not in RunSettings().engine_options()
    for kept, asked in (("ON", True), ("OFF", False)):
        assert RunSettings(keep_vertices=kept).engine_options()["keep_vertices"] is asked
    assert RunSettings(keep_vertices="OFF", density="Group").engine_options()["keep_vertices"] is True
    assert not {"drafter", "width"} & set(options.engine_options()), "what an older engine does not know"
    drafted = RunSettings(drafter="heads", width=18).engine_options()
    assert (drafted["drafter"], drafted["width"]) == ("heads", 18)
    with pytest.raises(ValueError, match=r"width must be an integer in \[2, 64\], got 1"):
        RunSettings(width=1).engine_options()
    with pytest.raises(ValueError, match=r"faces must be an integer in \[1, 10,000\] or null, got 0"):
        RunSettings(faces=0).engine_options()


def test_a_mesh_is_sent_around_the_origin() -> None:
    far = CUBE / 3 + 1e6
    request = request_module.make_request(far, TRIANGLES, RunSettings())
    np.testing.assert_allclose(request.center, 1e6 + 0.5 / 3, rtol=1e-15)
    np.testing.assert_allclose(request.points, (CUBE - 0.5) / 3, atol=2e-8)  # not 0.03, as float32 is at 1e6
    np.testing.assert_array_equal(request.triangles, TRIANGLES)
    assert (request.points.dtype, request.triangles.dtype) == (np.float32, np.int32)
    assert "manifold" not in request.options, "the engine sees for itself"


def test_vertices_without_a_face_are_not_sent() -> None:
    """Nor do they count for the bounding box, wherever they stand among the others."""
    vertices = np.insert(CUBE, [0, 3, 8], [[99.0, 0.0, 0.0]], axis=0)
    kept = np.flatnonzero(vertices[:, 0] < 99)
    request = request_module.make_request(vertices, kept[TRIANGLES], RunSettings())
    plain = cube_request()
    np.testing.assert_array_equal(request.points, plain.points)
    np.testing.assert_array_equal(request.triangles, plain.triangles)
    np.testing.assert_array_equal(request.center, [0.5, 0.5, 0.5])


def test_a_cloud_is_its_vertices(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, as far as the engine takes so many."""
    cloud = np.random.default_rng(0).random((150_000, 3))
    request = request_module.make_request(cloud, np.zeros((0, 3), np.int64), RunSettings(preset="DRAFT"))
    assert request.triangles is None and len(request.points) == 150_000 and request.points.dtype == np.float32
    monkeypatch.setattr(request_module.protocol, "MAX_POINTS", 100_000)
    request = request_module.make_request(cloud, np.zeros((0, 3), np.int64), RunSettings(preset="DRAFT"))
    assert len(request.points) == 100_000
    rows = {row.tobytes() for row in (cloud - request.center).astype(np.float32)}
    assert {row.tobytes() for row in request.points} <= rows
    with pytest.raises(ValueError, match="at least 16 vertices, got 15"):
        request_module.make_request(cloud[:15], np.zeros((0, 3), np.int64), RunSettings())


def test_a_growing_mesh_is_welded() -> None:
    mesh = growing.GrowingMesh()
    corners = CUBE[TRIANGLES].astype(np.float32)
    for part in np.array_split(corners, 5):
        mesh.append(part)
    assert len(mesh.vertices) == 8
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], corners)
    mesh.append(np.array([[[0, 0, 0], [-0.0, 0, 0], [1, 1, 1]]], dtype=np.float32))
    assert len(mesh.faces) == 12 and len(mesh.vertices) == 8, "a face that comes to a line"
    mesh.append(corners[:2, [2, 1, 0]])
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], corners, "the other side of faces that are there")
    mesh.clear()
    assert len(mesh.vertices) == len(mesh.faces) == 0


def test_a_growing_mesh_has_room_for_all() -> None:
    corners = np.random.default_rng(1).random((3_000, 3, 3)).astype(np.float32)
    mesh = growing.GrowingMesh()
    mesh.append(corners[:1])
    mesh.append(corners[1:])
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], corners)


def test_a_cloud_is_sent_around_its_objects_origin_where_that_is_near() -> None:
    """There the camera stood that took it; float32 would be coarse if it were far."""
    cloud, none = np.random.default_rng(0).random((100, 3)) + 5.0, np.zeros((0, 3), np.int64)
    for origin, center in (
        (np.array([1.0, 2.0, 3.0]), (1.0, 2.0, 3.0)),
        (np.full(3, 1e3), cloud.min(0) / 2 + cloud.max(0) / 2),
    ):
        request = request_module.make_request(cloud, none, RunSettings(), origin)
        np.testing.assert_allclose(request.center, center)
        np.testing.assert_allclose(request.points + request.center, cloud, atol=1e-6)
    request = request_module.make_request(CUBE, TRIANGLES, RunSettings(), np.zeros(3))
    np.testing.assert_array_equal(request.center, [0.5, 0.5, 0.5])
