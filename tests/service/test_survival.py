"""What must not stop the service: failures of the engine, of its thread, of a reader; work that does not end."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flashmesh_core.config import preset
from flashmesh_core.decode.engine import Engine
from flashmesh_core.decode.source import prepare_source
from flashmesh_core.service import protocol, reading, turns
from flashmesh_core.service.client import EngineClient, EngineError
from flashmesh_core.service.reading import Readers, ReadingEndedError
from flashmesh_core.service.server import load_engine

from .conftest import DEADLINE, RunningService, grid, wait_until

CONFIG = preset("debug")


def fails(client: EngineClient, points: np.ndarray, **options: object) -> EngineError:
    with pytest.raises(EngineError) as caught, client.generate(points, **options) as stream:
        list(stream)
    return caught.value


def works(client: EngineClient, points: np.ndarray) -> bool:
    with client.generate(points, max_faces=2) as stream:
        return list(stream)[-1]["kind"] == "end"


def test_a_message_longer_than_a_frame_is_cut(
    make_service: Callable, points: np.ndarray, endless: str, tmp_path: Path
) -> None:
    """256 face layers against the weights of one: torch names every one that is missing."""
    folder = shutil.copytree(endless, tmp_path / "many")
    config = json.loads((folder / "config.json").read_text())
    config["model"]["face_layers"] = 256
    (folder / "config.json").write_text(json.dumps(config))
    client = make_service(str(folder)).client
    error = fails(client, points)
    assert error.status == 400 and "does not fit its config" in error.message
    assert len(error.message) <= 2_000 and error.message.endswith("characters in all)")
    assert client.health()["state"] == "idle" and client.health()["restarts"] == 0
    frame = protocol.encode_frame({"kind": "error", **protocol.RequestError("x" * 10**6, "y" * 10**6).to_json()})
    assert len(frame) < 3_000


@pytest.mark.parametrize(
    ("where", "failure"),
    [
        ("prepare", SystemExit(3)), ("run", SystemExit(3)), ("warm_up", SystemExit(3)), ("run", KeyboardInterrupt()),
        ("run", RecursionError("too deep")),
    ],
)  # fmt: skip
def test_whatever_the_engine_raises_ends_one_generation(
    make_service: Callable, points: np.ndarray, failure: BaseException, where: str
) -> None:
    def factory(checkpoint: str, device: str) -> Engine:
        engine = load_engine(checkpoint, device)
        engine.warm_up()

        def fail(*arguments: object, **options: object) -> None:
            delattr(engine, where)
            raise failure

        setattr(engine, where, fail)
        return engine

    client = make_service(factory=factory).client
    error = fails(client, points)
    assert error.status == 500 and type(failure).__name__ in error.message
    assert works(client, points) and client.health()["restarts"] == 0


def test_a_broken_loop_is_started_anew_and_says_why(
    make_service: Callable, points: np.ndarray, endless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = make_service(endless)
    really, broken = turns.next_to_step, []

    def breaks_once(generations: list) -> object:
        if generations and generations[0].latest.get("n_faces") and not broken:
            broken.append(1)
            raise AssertionError("a table that is not as it should be")
        return really(generations)

    monkeypatch.setattr(turns, "next_to_step", breaks_once)
    error = fails(running.client, points)
    assert error.status == 500 and "a table that is not as it should be; it was started anew" in error.message
    health = running.client.health()
    assert health["restarts"] == 1 and "AssertionError" in health["last_failure"] and health["checkpoint"] is None
    assert works(running.client, points)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_is_gone_is_noticed(
    make_service: Callable, points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even giving up fails once, as it would without memory: the thread ends for good."""
    running = make_service()
    worker = running.worker
    assert works(running.client, points)

    def fail(*arguments: object) -> None:
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr(worker, "_give_up", fail)
    monkeypatch.setattr(turns, "next_to_start", lambda *arguments: 1 // 0)
    first = worker._thread
    with worker._changed:
        worker._changed.notify_all()
    wait_until(lambda: not first.is_alive(), "the end of the thread")
    assert running.client.health()["last_failure"] == "the engine's thread has ended"
    assert works(running.client, points)


def test_a_client_whose_sink_fails_ends_its_own_generation_only(
    make_service: Callable, points: np.ndarray, endless: str
) -> None:
    running = make_service(endless)
    sent = []

    def sink(frame: bytes | None) -> None:
        sent.append(frame)
        if len(sent) > 3:
            raise OSError("nobody is there")

    running.worker.submit(protocol.GenerationRequest(points, None, {}), sink)
    wait_until(lambda: running.worker.status()["state"] == "idle" and len(sent) > 3, "its end")
    assert works(running.client, points) and running.client.health()["restarts"] == 0


def test_a_reader_makes_what_this_process_would(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, readers, heard = grid(40), Readers(), []
    try:
        made = readers.prepare(mesh, None, CONFIG, faces=60, progress=lambda stage, share: heard.append(stage))
        expected = prepare_source(mesh, None, CONFIG, faces=60)
        np.testing.assert_array_equal(made.channels, expected.channels)
        np.testing.assert_array_equal(made.proxy.vertices, expected.proxy.vertices)
        np.testing.assert_array_equal(made.surface.samples, expected.surface.samples)
        assert "tree" in vars(made.surface) and len(readers._idle) == 1 and heard
        (reader,) = readers._idle
        with pytest.raises(ValueError, match="must be finite"):
            readers.prepare(np.full((3_000, 3), np.nan), None, CONFIG, faces=60)
        assert readers._idle == [reader] and reader.alive
        monkeypatch.setattr(reading, "LARGE", 1_000)
        readers.prepare(mesh, None, CONFIG, faces=60)
        assert readers._idle == [] and not reader._process.is_alive()  # its memory went back
    finally:
        readers.close()


def test_unloading_ends_the_reader_that_waits(make_service: Callable) -> None:
    running, mesh = make_service(), grid(40)
    with running.client.generate(mesh.vertices, triangles=mesh.faces, faces=20, max_faces=20) as stream:
        assert list(stream)[-1]["kind"] == "end"
    (reader,) = running.worker._readers._idle
    assert reader.alive and running.client.unload() is True
    assert not reader._process.is_alive() and running.worker._readers._idle == []


def test_raising_in_progress_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    readers, made = Readers(), []
    really = reading._Reader
    monkeypatch.setattr(reading, "_Reader", lambda: made.append(really()) or made[-1])

    class StopError(Exception):
        pass

    def stop(stage: str, share: float) -> None:
        if stage != "start":
            raise StopError

    with pytest.raises(StopError):
        readers.prepare(grid(400), None, CONFIG, faces=60, progress=stop)
    assert len(made) == 1 and not made[0]._process.is_alive() and readers._idle == []


def test_a_reader_that_is_killed_is_an_error_that_says_so() -> None:
    readers = Readers()
    readers.start()
    (reader,) = readers._idle
    killed = []

    def kill(stage: str, share: float) -> None:
        if stage != "start" and not killed:
            killed.append(os.kill(reader._process.pid, signal.SIGKILL))

    try:
        with pytest.raises(ReadingEndedError, match="ended by SIGKILL: the machine ran out of memory, most likely"):
            readers.prepare(grid(400), None, CONFIG, faces=60, progress=kill)
        assert len(readers.prepare(grid(40), None, CONFIG, faces=60).proxy.faces) <= 60
    finally:
        readers.close()


def test_a_large_source_reports_its_reading_and_can_be_cancelled_in_it(make_service: Callable) -> None:
    running, mesh = make_service(), grid(400)
    with running.client.generate(mesh.vertices, triangles=mesh.faces, faces=100) as stream:
        event = next(event for event in stream if event.get("step") not in (None, "start"))
        assert event["kind"] == "progress" and event["stage"] == "encoding" and 0 <= event["share"] <= 1
        assert stream.cancel()
        end = next(event for event in stream if event["kind"] == "end")
    assert end["end_reason"] == "cancelled" and end["verdict"] == "cancelled before its first face"
    assert running.client.health()["state"] == "idle"


@pytest.mark.parametrize("shared", [True, False])
def test_a_hundred_thousand_copies_of_a_triangle_end(make_service: Callable, shared: bool) -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
    vertices = corners if shared else np.tile(corners, (100_000, 1))
    triangles = np.tile([[0, 1, 2]], (100_000, 1)) if shared else np.arange(300_000).reshape(-1, 3)
    client = make_service("debug").client
    with client.generate(vertices, triangles=triangles, faces=20, max_faces=20) as stream:
        assert list(stream)[-1]["n_faces"] >= 1


def test_short_work_ends_while_long_work_runs(make_service: Callable, points: np.ndarray, endless: str) -> None:
    running = make_service(endless)
    with running.client.generate(points, faces=10_000, candidates=4) as long:
        running.wait_for_state("busy")
        next(event for event in long if event["kind"] == "faces")
        with running.client.generate(points, max_faces=3) as short:
            assert list(short)[-1]["n_faces"] == 3
        assert running.client.health()["running"] == [long.id]
        next(event for event in long if event["kind"] == "faces")
        long.cancel()
        assert list(long)[-1]["end_reason"] == "cancelled"


def test_generations_that_alternate_make_what_they_make_alone(
    make_service: Callable, points: np.ndarray, debug_engine: Engine
) -> None:
    running = make_service("debug")
    options = [{"seed": seed, "temperature": 1.0, "max_faces": 30, "candidates": 1 + seed % 2} for seed in range(4)]
    streams = [running.client.generate(points, points, **given) for given in options]
    for stream, given in zip(streams, options, strict=True):
        result = debug_engine.generate(points, points, **given)
        end = list(stream)[-1]
        np.testing.assert_array_equal(end["vertices"], result.mesh.vertices.astype(np.float32))
        np.testing.assert_array_equal(end["face_indices"], result.mesh.faces)


def test_a_deadline_ends_what_runs_and_what_waits(make_service: Callable, points: np.ndarray, endless: str) -> None:
    running = make_service(endless, parallel=1, deadline=DEADLINE)
    with running.client.generate(points, faces=10_000) as first:
        running.wait_for_state("busy")
        error = fails(running.client, points, deadline=0.1)
        assert (error.status, error.field) == (504, "deadline") and "got 0.1 s, which are over" in error.message
        assert running.worker.status()["generation"] == first.id
    running.wait_for_state("idle")
    assert fails(running.client, points, deadline=0.5, faces=10_000).status == 504
    with pytest.raises(EngineError, match=r"deadline must be a number in \[0.1, 86400\]"):
        running.client.generate(points, deadline=0.0)
    other = make_service(endless, deadline=0.1)
    assert fails(other.client, points, faces=10_000).status == 504


def test_another_checkpoint_waits_until_those_that_run_have_ended(
    make_service: Callable, points: np.ndarray, endless: str
) -> None:
    running = make_service(endless)
    with running.client.generate(points) as first:
        running.wait_for_state("busy")
        request = protocol.GenerationRequest(points, None, {"checkpoint": "debug", "max_faces": 2})
        frames: list[bytes | None] = []
        running.worker.submit(request, frames.append)
        wait_until(lambda: len(frames) == 1, "its first event")
        assert running.client.health()["checkpoint"] == endless and running.client.health()["queued"] == 1
        first.cancel()
        assert list(first)[-1]["end_reason"] == "cancelled"
    wait_until(lambda: frames[-1] is None, "its end")
    assert running.client.health()["checkpoint"] == "debug"


def test_health_and_metrics_tell_who_waits(make_service: Callable, points: np.ndarray, endless: str) -> None:
    import requests

    running = make_service(endless, parallel=1, queue_limit=3)
    with running.client.generate(points), running.client.generate(points):
        running.wait_for_state("busy")
        health = running.client.health()
        assert (health["queued"], health["queue_limit"], health["parallel"], len(health["running"])) == (1, 3, 1, 1)
        assert health["longest_wait_seconds"] >= 0.0 and health["last_failure"] is None
    running.wait_for_state("idle")
    address = f"{running.address}/metrics"
    assert requests.get(address, timeout=DEADLINE).status_code == 401
    answer = requests.get(address, headers={"Authorization": f"Bearer {running.service.token}"}, timeout=DEADLINE)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    figures = {name: float(value) for name, value in (line.split(" ") for line in lines)}
    assert figures["flashmesh_submitted_total"] == 2 == figures["flashmesh_cancelled_total"]
    assert figures["flashmesh_queue_limit"] == 3 and figures["flashmesh_memory_resident_bytes"] > 0
    assert figures["flashmesh_failed_total"] == figures["flashmesh_restarts_total"] == 0


def test_the_arrays_of_a_request_are_let_go(make_service: Callable, points: np.ndarray) -> None:
    running: RunningService = make_service()
    generation = running.worker.submit(protocol.GenerationRequest(points, None, {"max_faces": 2}), lambda frame: None)
    wait_until(lambda: generation.request is None, "its end")
    assert generation.work is None and generation.rows == 0


def test_wrong_settings_of_the_queue_are_refused() -> None:
    from flashmesh_core.service.worker import EngineWorker

    for given, said in (
        ({"parallel": 0}, r"parallel must be in \[1, 64\] generations, got 0"),
        ({"deadline": -1.0}, "deadline must be a number of seconds > 0, got -1.0"),
        ({"queue_limit": -1}, "queue must be 0 or more generations, got -1"),
    ):
        with pytest.raises(ValueError, match=said):
            EngineWorker(load_engine, **given)
