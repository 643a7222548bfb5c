"""The event stream through the real client: order, content, cancelling, the queue, unloading."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flashmesh_core import worker as worker_module
from flashmesh_core.client import EngineClient, EngineError, normalize_address

from .conftest import TOKEN, RunningService, fastest, wait_until
from .engine_double import DEFAULT_FACES, DeterministicEngine

ENDLESS = 100_000  # faces: minutes of work for the engine of these tests


def kinds(events: list[dict]) -> list[str]:
    return [event["kind"] for event in events]


def test_events_come_in_order_and_carry_the_engines_faces(make_service: Callable, points: np.ndarray) -> None:
    client = make_service().client
    with client.generate(points, points, seed=3, temperature=0.0) as stream:
        events = list(stream)
    assert kinds(events) == ["queued", "loading", "encoding", *["faces"] * DEFAULT_FACES, "end"]
    assert events[0]["id"] == stream.id and events[0]["position"] == 0 and events[1]["checkpoint"] == "one"
    expected = [e.faces for e in DeterministicEngine("one").stream(points, seed=3) if e.kind == "faces"]
    np.testing.assert_array_equal(
        np.concatenate([e["faces"] for e in events[3:-1]]), np.concatenate(expected)
    )
    assert [e["n_faces"] for e in events[3:-1]] == list(range(1, DEFAULT_FACES + 1))
    end = events[-1]
    assert stream.result is end
    assert (end["end_reason"], end["seed"], end["n_faces"], end["hausdorff"]) == (
        "eos",
        3,
        DEFAULT_FACES,
        None,
    )
    assert end["vertices"].dtype == np.float32 and end["face_indices"].dtype == np.int32
    np.testing.assert_array_equal(end["vertices"][end["face_indices"]], np.concatenate(expected))
    with client.generate(points) as again:  # loaded now
        assert kinds(list(again))[:2] == ["queued", "encoding"]


def test_candidates_carry_their_number_and_the_end_names_the_best(
    running: RunningService, points: np.ndarray
) -> None:
    with running.client.generate(points, candidates=3, faces=2, max_faces=1) as stream:
        events = [event for event in stream if event["kind"] not in ("queued", "loading", "encoding")]
    assert kinds(events) == ["faces", "candidate_end"] * 3 + ["end"]
    assert [event["candidate"] for event in events] == [0, 0, 1, 1, 2, 2, 2]
    assert events[-1]["end_reason"] == "face_limit" and events[-1]["chamfer"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("limit", [np.int64(2), 2])
def test_numpy_options_and_float64_samples_are_taken(
    running: RunningService, points: np.ndarray, limit: object
) -> None:
    with running.client.generate(points.astype(np.float64), faces=limit) as stream:
        assert list(stream)[-1]["n_faces"] == 2


def test_a_value_error_of_the_engine_is_a_400_with_its_field(
    running: RunningService, points: np.ndarray
) -> None:
    with running.client.generate(points, temperature=3.0) as stream, pytest.raises(EngineError) as caught:
        list(stream)
    assert (caught.value.status, caught.value.field) == (400, "temperature")
    assert caught.value.message == "temperature must be in [0, 2], got 3.0"


def test_a_failure_of_the_engine_ends_that_generation_only(
    running: RunningService, points: np.ndarray
) -> None:
    stream = running.client.generate(points, watertight=True, surface=False)
    with stream, pytest.raises(EngineError) as caught:
        list(stream)
    assert caught.value.status == 500 and "RuntimeError: this combination breaks" in caught.value.message
    with running.client.generate(points, faces=1) as stream:
        assert list(stream)[-1]["end_reason"] == "eos"


def test_the_client_refuses_what_the_service_would(running: RunningService, points: np.ndarray) -> None:
    with pytest.raises(EngineError, match="points must be finite") as caught:
        running.client.generate(points * np.nan)
    assert caught.value.field == "points"
    with pytest.raises(EngineError, match="faces must be an integer in") as caught:
        running.client.generate(points, faces=0)
    assert caught.value.field == "faces"


@pytest.mark.parametrize(
    ("checkpoint", "status", "said"),
    [("needs-torch", 503, "-m pip install torch"), ("missing-file", 400, "no such checkpoint: missing-file")],
)
def test_a_checkpoint_that_cannot_be_loaded_says_why(
    make_service: Callable, points: np.ndarray, checkpoint: str, status: int, said: str
) -> None:
    running = make_service(checkpoint=checkpoint)
    with running.client.generate(points) as stream, pytest.raises(EngineError) as caught:
        list(stream)
    assert caught.value.status == status and said in caught.value.message
    assert running.client.health()["checkpoint"] is None


def test_cancel_by_id_ends_the_stream_with_what_there_is(running: RunningService, points: np.ndarray) -> None:
    def seconds_to_end() -> float:
        with running.client.generate(points, faces=ENDLESS) as stream:
            first = next(event for event in stream if event["kind"] == "faces")
            assert running.client.health()["generation"] == stream.id
            start = time.monotonic()
            assert stream.cancel() is True
            end = list(stream)[-1]
            took = time.monotonic() - start
        assert end["end_reason"] == "cancelled" and end["n_faces"] >= first["n_faces"]
        assert stream.cancel() is False  # has ended
        return took

    assert fastest(seconds_to_end, 0.5) < 0.5


def test_closing_the_connection_stops_the_engine(running: RunningService, points: np.ndarray) -> None:
    def seconds_to_idle() -> float:
        stream = running.client.generate(points, faces=ENDLESS)
        next(event for event in stream if event["kind"] == "faces")
        assert running.worker.status()["state"] == "busy"
        stream.close()
        took = running.wait_for_state("idle")
        assert list(stream) == []
        return took

    assert fastest(seconds_to_idle, 0.5) < 0.5


def test_leaving_the_block_early_stops_the_engine(running: RunningService, points: np.ndarray) -> None:
    def seconds_to_idle() -> float:
        with running.client.generate(points, faces=ENDLESS) as stream:
            for event in stream:
                if event["kind"] == "faces":
                    break
        return running.wait_for_state("idle")

    assert fastest(seconds_to_idle, 0.5) < 0.5


def test_a_reader_in_another_thread_ends_quietly_when_closed(
    running: RunningService, points: np.ndarray
) -> None:
    stream = running.client.generate(points, faces=ENDLESS)
    seen: list[dict] = []
    failures: list[BaseException] = []

    def read() -> None:
        try:
            seen.extend(stream)
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    running.wait_for_state("busy")
    assert stream.cancel()
    reader.join(5.0)
    assert not reader.is_alive() and not failures and seen[-1]["end_reason"] == "cancelled"


def test_a_second_generation_waits_and_a_third_can_be_cancelled_while_waiting(
    running: RunningService, points: np.ndarray
) -> None:
    with running.client.generate(points, faces=ENDLESS) as first:
        running.wait_for_state("busy")
        with running.client.generate(points, faces=3) as second, running.client.generate(points) as third:
            assert next(second)["position"] == 1 and next(third)["position"] == 2
            assert running.client.health()["queued"] == 2
            assert third.cancel() is True
            (end,) = list(third)
            assert end["end_reason"] == "cancelled" and end["vertices"].shape == (0, 3)
            assert running.worker.status()["generation"] == first.id  # undisturbed
            first.cancel()
            assert kinds(list(second)) == ["encoding", *["faces"] * 3, "end"]


def test_a_waiting_generation_whose_client_leaves_is_never_started(
    running: RunningService, points: np.ndarray
) -> None:
    with running.client.generate(points, faces=ENDLESS):
        running.wait_for_state("busy")
        running.client.generate(points).close()
        wait_until(lambda: running.worker.status()["queued"] == 0, "an empty queue")


def test_a_full_queue_is_a_503(make_service: Callable, points: np.ndarray) -> None:
    running = make_service(queue_limit=1)
    with running.client.generate(points, faces=ENDLESS):
        running.wait_for_state("busy")
        with running.client.generate(points), pytest.raises(EngineError) as caught:
            running.client.generate(points)
    assert caught.value.status == 503 and "at most 1 generations may wait" in caught.value.message


def test_a_silent_stretch_has_progress_events(
    make_service: Callable, points: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = tmp_path / "release"
    monkeypatch.setenv("FLASHMESH_TEST_RELEASE", str(release))
    monkeypatch.setattr("flashmesh_core.app.HEARTBEAT_SECONDS", 0.05)
    running = make_service(checkpoint="slow")
    with running.client.generate(points, faces=1) as stream:
        assert [next(stream)["kind"] for _ in range(3)] == ["queued", "loading", "progress"]
        assert running.client.health()["state"] == "loading"  # the event loop is free
        assert next(stream)["stage"] == "loading"
        assert stream.cancel()
        release.touch()
        end = next(event for event in stream if event["kind"] != "progress")
    assert end["end_reason"] == "cancelled" and end["n_faces"] == 0


def test_unload_frees_the_engine_and_is_refused_while_it_works(
    make_service: Callable, points: np.ndarray
) -> None:
    running = make_service()
    assert running.client.unload() is False
    with running.client.generate(points, faces=ENDLESS) as stream:
        running.wait_for_state("busy")
        with pytest.raises(EngineError, match="cannot be unloaded while it works") as caught:
            running.client.unload()
        assert caught.value.status == 409
        stream.cancel()
        assert list(stream)[-1]["kind"] == "end"
    assert running.client.health()["checkpoint"] == "one"
    assert running.client.unload() is True
    assert running.client.health()["checkpoint"] is None
    with running.client.generate(points, faces=1) as stream:
        assert "loading" in kinds(list(stream))


def test_an_idle_engine_is_dropped(make_service: Callable, points: np.ndarray) -> None:
    running = make_service(idle_unload=0.1)
    with running.client.generate(points, faces=1) as stream:
        list(stream)
    wait_until(lambda: running.worker.status()["checkpoint"] is None, "unloading")
    with pytest.raises(ValueError, match="idle_unload must be a number of seconds > 0, got 0"):
        worker_module.EngineWorker(lambda name, device: None, idle_unload=0)


def test_health_and_checkpoints_tell_what_there_is(make_service: Callable, points: np.ndarray) -> None:
    client = make_service().client
    health = client.health()
    assert health["state"] == "idle" and health["checkpoint"] is None and health["device"] == "auto"
    assert health["protocol"] == 1 and health["version"] and health["queued"] == 0
    assert set(health["memory"]) == {"resident_bytes", "cuda_bytes"}
    names = client.checkpoints()
    assert names["checkpoints"][0]["name"] == names["default"] == "one" and names["loaded"] is None
    with client.generate(points, faces=1) as stream:
        list(stream)
    health = client.health()
    assert health["checkpoint"] == "one" and health["device"] == "cpu"


def test_bundled_checkpoints_are_described_and_can_be_asked_for(
    running: RunningService, points: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flashmesh_core.app.CHECKPOINTS", tmp_path)
    (tmp_path / "no-checkpoint").mkdir()
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.json").write_text('{"format": 1, "model": {"num_bins": 64}}')
    (tmp_path / "small" / "model.safetensors").write_bytes(bytes(100))
    listed = running.client.checkpoints()["checkpoints"]
    assert listed == [
        {"name": "one", "bytes": None, "model": None},
        {"name": "small", "bytes": 100, "model": {"num_bins": 64}},
    ]
    with running.client.generate(points, faces=1, checkpoint="small") as stream:
        assert [event.get("checkpoint") for event in stream][1] == "small"
    assert running.client.health()["checkpoint"] == "small"
    with pytest.raises(
        EngineError, match="checkpoint must be one of one, small, got 'no-checkpoint'"
    ) as caught:
        running.client.generate(points, checkpoint="no-checkpoint")
    assert (caught.value.status, caught.value.field) == (400, "checkpoint")


def test_stopping_the_service_ends_a_running_stream(make_service: Callable, points: np.ndarray) -> None:
    running = make_service()
    with running.client.generate(points, faces=ENDLESS) as stream:
        running.wait_for_state("busy")
        running.stop()
        assert list(stream)[-1]["end_reason"] == "cancelled"
    with pytest.raises(EngineError, match="no engine answers at"):
        running.client.health()


def test_a_wrong_token_is_an_error_to_show(running: RunningService) -> None:
    with pytest.raises(EngineError, match="bearer token is missing or wrong") as caught:
        EngineClient(running.address, "nonsense").health()
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "form", ["{a}", "{a}/", "127.0.0.1:{p}", " localhost:{p} ", "HTTP://127.0.0.1:{p}", "{p}", ":{p}"]
)
def test_any_form_of_the_address_reaches_it_and_no_proxy_is_asked(
    running: RunningService, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    address = form.format(a=running.address, p=running.port)
    assert EngineClient(address, TOKEN).health()["state"] == "idle"


@pytest.mark.parametrize(
    ("given", "base"),
    [("[::1]:80", "http://[::1]:80"), ("gpu-box:8000/", "http://gpu-box:8000"), (8000, "http://127.0.0.1:8000"),
     ("https://host", "https://host"), ("0.0.0.0:80", "http://127.0.0.1:80")],
)  # fmt: skip
def test_addresses_are_normalised(given: object, base: str) -> None:
    assert normalize_address(given) == base


@pytest.mark.parametrize(
    "given", ["", "http://", "ftp://host", "host:port", "host/path", "u:p@host", "host?x", "a b"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(EngineError, match="address must look like"):
        normalize_address(given)
