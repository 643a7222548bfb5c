"""The event stream through the real client and the real engine: order, content, the queue, unloading."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flashmesh_core.decode.engine import Engine
from flashmesh_core.errors import InputError
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.service.client import EngineError
from flashmesh_core.service.server import load_engine
from flashmesh_core.service.worker import EngineWorker

from .conftest import DEADLINE, RunningService, wait_until


def kinds(events: list[dict]) -> list[str]:
    """Without the progress events, which come only where the machine is slow."""
    return [event["kind"] for event in events if event["kind"] != "progress"]


def test_events_come_in_order_and_carry_what_the_engine_makes(
    make_service: Callable, points: np.ndarray, debug_engine: Engine
) -> None:
    client = make_service("debug").client
    options = {"seed": 0, "temperature": 1.0, "watertight": True, "max_faces": 12, "drafter": "none"}  # a face a pass
    with client.generate(points, points, **options) as stream:
        events = [event for event in stream if event["kind"] != "progress"]
    made = [event for event in debug_engine.stream(points, points, **options) if event.kind == "faces"]
    before = ["queued", "loading", "compiling", "encoding"]
    assert len(made) == 12 and kinds(events) == [*before, *["faces"] * len(made), "end"]
    assert events[0]["id"] == stream.id and events[0]["position"] == 0 and events[1]["checkpoint"] == "debug"
    for event, expected in zip(events[4:-1], made, strict=True):
        np.testing.assert_array_equal(event["faces"], expected.faces)
        assert (event["n_faces"], event["n_tokens"]) == (expected.n_faces, expected.n_tokens)
    end, result = events[-1], debug_engine.generate(points, points, **options)
    assert stream.result is end
    assert (end["end_reason"], end["seed"], end["n_faces"], end["candidate"]) == ("face_limit", 0, 12, 0)
    assert end["gave_up_closure"] == result.tally.gave_up_closure
    assert {name: end[name] for name in result.told()} == result.told() and end["verdict"]
    assert 0 < end["chamfer"] == result.chamfer and 0 < end["hausdorff"] == result.hausdorff
    assert end["n_vertices"] == len(end["vertices"]) and end["tokens_per_second"] > 0
    assert end["vertices"].dtype == np.float32 and end["face_indices"].dtype == np.int32
    np.testing.assert_array_equal(end["vertices"], result.mesh.vertices.astype(np.float32))
    np.testing.assert_array_equal(end["face_indices"], result.mesh.faces)
    with client.generate(points) as again:  # loaded now
        assert kinds(list(again))[:2] == ["queued", "encoding"]


def test_candidates_carry_their_number_and_the_end_names_the_best(
    make_service: Callable, points: np.ndarray, debug_engine: Engine
) -> None:
    options = {"candidates": 3, "temperature": 1.0, "max_faces": 4}
    with make_service("debug").client.generate(points, points, **options) as stream:
        events = [event for event in stream if event["kind"] in ("faces", "candidate_end", "end")]
    expected = debug_engine.generate_all(points, points, **options)
    ended = {event["candidate"]: event for event in events if event["kind"] == "candidate_end"}
    written: Counter[int] = Counter()
    for event in events:
        if event["kind"] == "faces":
            written[event["candidate"]] += len(event["faces"])
    assert {number: event["end_reason"] for number, event in ended.items()} == {
        result.candidate: result.end_reason for result in expected
    }
    assert written == {number: event["n_faces"] for number, event in ended.items()}
    assert kinds(events[-2:]) == ["candidate_end", "end"]
    best = min(expected, key=lambda result: result.chamfer)
    assert (events[-1]["candidate"], events[-1]["seed"], events[-1]["chamfer"]) == (
        best.candidate, best.candidate, best.chamfer,
    )  # fmt: skip


@pytest.mark.parametrize("triangles", [[[0, 1, 2]], [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]])
def test_a_mesh_is_the_engines_own_to_sample(
    make_service: Callable, debug_engine: Engine, triangles: list[list[int]]
) -> None:
    """A single triangle, and a tetrahedron."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])[: np.max(triangles) + 1]
    options = {"seed": 3, "temperature": 1.0, "max_faces": 12}
    with make_service("debug").client.generate(vertices, triangles=triangles, **options) as stream:
        end = list(stream)[-1]
    result = debug_engine.generate(Mesh(vertices, np.array(triangles)), **options)
    np.testing.assert_array_equal(end["vertices"], result.mesh.vertices.astype(np.float32))
    np.testing.assert_array_equal(end["face_indices"], result.mesh.faces)
    assert end["n_faces"] >= 1 and end["end_reason"] == result.end_reason


@pytest.mark.parametrize("limit", [np.int64(2), 2])
def test_numpy_options_and_float64_samples_are_taken(
    running: RunningService, points: np.ndarray, limit: object
) -> None:
    with running.client.generate(points.astype(np.float64), max_faces=limit) as stream:
        end = list(stream)[-1]
    assert (end["n_faces"], end["end_reason"]) == (2, "face_limit")
    assert end["chamfer"] is None and end["hausdorff"] is None  # two slivers on one line: infinitely far


def test_a_value_error_of_the_engine_is_a_400_with_its_field(running: RunningService, points: np.ndarray) -> None:
    with running.client.generate(points, np.zeros_like(points)) as stream, pytest.raises(EngineError) as caught:
        list(stream)
    assert (caught.value.status, caught.value.field) == (400, "normals")
    assert caught.value.message == "normals must not be zero, got 64 zero rows"


def test_a_mesh_without_area_is_a_400_with_its_field(running: RunningService) -> None:
    """The option `faces` is not what is wrong, whatever word the engine's message begins with."""
    line = np.arange(9.0).reshape(3, 3)
    client, triangles = running.client, [[0, 1, 2]]
    with client.generate(line, triangles=triangles, faces=300) as stream, pytest.raises(EngineError) as caught:
        list(stream)
    assert (caught.value.status, caught.value.field) == (400, "triangles") and "area" in caught.value.message


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("source vertices", "points"), ("source faces", "triangles"), ("source", "triangles"), ("points", "points"),
        ("width", "width"), (None, None),
    ],
)  # fmt: skip
def test_an_error_names_what_was_sent(
    make_service: Callable, points: np.ndarray, field: str | None, told: str | None
) -> None:
    class Refusing:
        device = "cpu"

        def warm_up(self, *how: object) -> None:
            pass

        def prepare(self, *arguments: object, **keywords: object) -> None:
            raise InputError("not so", field)

    client = make_service(factory=lambda checkpoint, device: Refusing()).client
    with client.generate(points) as stream, pytest.raises(EngineError) as caught:
        list(stream)
    assert (caught.value.status, caught.value.field, caught.value.message) == (400, told, "not so")


@pytest.mark.parametrize(
    ("points", "triangles", "field", "said"),
    [
        (np.eye(3) * 1e39, [[0, 1, 2]], "points", "must be finite"),
        (np.zeros((3, 3)), [[0, 1, 2]], "triangles", "must have a face with area"),
        (np.zeros((20, 3)), None, "points", "must lie on a surface"),
    ],
)
def test_what_the_engine_refuses_is_named(
    running: RunningService, points: np.ndarray, triangles: list | None, field: str, said: str
) -> None:
    with pytest.raises(EngineError) as caught, running.client.generate(points, triangles=triangles) as stream:
        list(stream)
    assert (caught.value.status, caught.value.field) == (400, field) and said in caught.value.message


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (RuntimeError("out of luck"), 500, "the engine failed: RuntimeError: out of luck"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 503, "the engine ran out of memory: CUDA"),
        (MemoryError(), 503, "the engine ran out of memory: MemoryError"),
    ],
)
def test_a_failure_of_the_engine_ends_that_generation_only(
    make_service: Callable, points: np.ndarray, failure: Exception, status: int, said: str
) -> None:
    def fails_once(checkpoint: str, device: str) -> Engine:
        engine = load_engine(checkpoint, device)
        engine.warm_up()

        def run(*arguments: object, **options: object) -> None:
            del engine.run
            raise failure

        engine.run = run
        return engine

    client = make_service(factory=fails_once).client
    with client.generate(points) as stream, pytest.raises(EngineError) as caught:
        list(stream)
    assert caught.value.status == status and said in caught.value.message
    with client.generate(points) as stream:
        assert list(stream)[-1]["end_reason"] == "eos"


def test_a_checkpoint_that_cannot_be_loaded_says_why(
    make_service: Callable, points: np.ndarray, endless: str, tmp_path: Path
) -> None:
    broken = shutil.copytree(endless, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    for checkpoint, said in (("no-such", "got 'no-such'"), (str(broken), "model.safetensors can't be read")):
        client = make_service(checkpoint).client
        with client.generate(points) as stream, pytest.raises(EngineError) as caught:
            list(stream)
        assert (caught.value.status, caught.value.field) == (400, "checkpoint") and said in caught.value.message
        assert client.health()["checkpoint"] is None


def test_a_python_without_torch_says_what_to_install(make_service: Callable, points: np.ndarray) -> None:
    def lacks_torch(checkpoint: str, device: str) -> Engine:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    client = make_service(factory=lacks_torch).client
    with client.generate(points) as stream, pytest.raises(EngineError) as caught:
        list(stream)
    assert caught.value.status == 503 and "-m pip install torch" in caught.value.message
    assert client.health()["checkpoint"] is None


def test_a_second_generation_waits_and_a_third_can_be_cancelled_while_waiting(
    running: RunningService, points: np.ndarray
) -> None:
    with running.client.generate(points) as first:
        running.wait_for_state("busy")
        with running.client.generate(points, max_faces=3) as second, running.client.generate(points) as third:
            assert next(second)["position"] == 1 and next(third)["position"] == 2
            assert running.client.health()["queued"] == 2
            assert third.cancel() is True
            end = list(third)[-1]
            assert end["end_reason"] == "cancelled" and end["vertices"].shape == (0, 3)
            assert running.worker.status()["generation"] == first.id  # undisturbed
            first.cancel()
            assert kinds(list(second)) == ["encoding", *["faces"] * 3, "end"]


def test_a_waiting_generation_whose_client_leaves_is_never_started(running: RunningService, points: np.ndarray) -> None:
    with running.client.generate(points):
        running.wait_for_state("busy")
        running.client.generate(points).close()
        wait_until(lambda: running.worker.status()["queued"] == 0, "an empty queue")


def test_a_full_queue_is_a_503(make_service: Callable, points: np.ndarray, endless: str) -> None:
    running = make_service(endless, queue_limit=1, parallel=1)
    with running.client.generate(points):
        running.wait_for_state("busy")
        with running.client.generate(points), pytest.raises(EngineError) as caught:
            running.client.generate(points)
    assert caught.value.status == 503 and "at most 1 generations may wait" in caught.value.message


def test_a_silent_stretch_has_progress_events(
    make_service: Callable, points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def slow(checkpoint: str, device: str) -> Engine:
        assert release.wait(DEADLINE)
        return load_engine(checkpoint, device)

    monkeypatch.setattr("flashmesh_core.service.app.HEARTBEAT_SECONDS", 0.05)
    running = make_service(factory=slow)
    with running.client.generate(points) as stream:
        assert [next(stream)["kind"] for _ in range(3)] == ["queued", "loading", "progress"]
        assert running.client.health()["state"] == "loading"  # the event loop is free
        assert next(stream)["stage"] == "loading"
        assert stream.cancel()
        release.set()
        end = next(event for event in stream if event["kind"] != "progress")
    assert end["end_reason"] == "cancelled" and end["n_faces"] == 0


def test_closure_that_was_given_up_is_told(make_service: Callable, points: np.ndarray, debug_engine: Engine) -> None:
    """A mesh that is cut off stays open."""
    client = make_service("debug").client
    options = {"seed": 2, "temperature": 1.0, "max_faces": 6}
    with client.generate(points, points, watertight=True, **options) as stream:
        given_up = list(stream)[-1]["gave_up_closure"]
    with client.generate(points, points, **options) as stream:
        assert list(stream)[-1]["gave_up_closure"] == 0
    made = debug_engine.generate(points, points, watertight=True, **options)
    assert given_up == made.tally.gave_up_closure > 0


def test_the_engine_is_compiled_before_its_first_generation(
    make_service: Callable, points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while it compiles, a generation ends, and the next one finds all compiled."""
    begun, release = threading.Event(), threading.Event()

    def held(checkpoint: str, device: str) -> Engine:
        engine = load_engine(checkpoint, device)
        really = engine.warm_up

        def warm_up(*how: object) -> None:
            begun.set()
            assert release.wait(DEADLINE)
            really()

        engine.warm_up = warm_up
        return engine

    monkeypatch.setattr("flashmesh_core.service.app.HEARTBEAT_SECONDS", 0.05)
    running = make_service(factory=held)
    with running.client.generate(points) as stream:
        assert begun.wait(DEADLINE)
        assert running.client.health()["state"] == "compiling"
        progress = next(event for event in stream if event["kind"] == "progress" and event["stage"] != "loading")
        assert progress["stage"] == "compiling"
        assert stream.cancel()
        release.set()
        assert list(stream)[-1]["end_reason"] == "cancelled"
    with running.client.generate(points) as again:
        assert kinds(list(again))[:2] == ["queued", "encoding"]


def test_unload_frees_the_engine_and_is_refused_while_it_works(
    make_service: Callable, points: np.ndarray, endless: str
) -> None:
    running = make_service(endless)
    assert running.client.unload() is False
    with running.client.generate(points) as stream:
        running.wait_for_state("busy")
        with pytest.raises(EngineError, match="cannot be unloaded while it works") as caught:
            running.client.unload()
        assert caught.value.status == 409
        stream.cancel()
        assert list(stream)[-1]["kind"] == "end"
    assert running.client.health()["checkpoint"] == endless
    assert running.client.unload() is True
    assert running.client.health()["checkpoint"] is None
    with running.client.generate(points, max_faces=1) as stream:
        assert "loading" in kinds(list(stream))


def test_an_idle_engine_is_dropped(make_service: Callable, points: np.ndarray) -> None:
    running = make_service(idle_unload=0.1)
    with running.client.generate(points) as stream:
        assert "loading" in kinds(list(stream))
    wait_until(lambda: running.worker.status()["checkpoint"] is None, "unloading")
    with pytest.raises(ValueError, match="idle_unload must be a number of seconds > 0, got 0"):
        EngineWorker(load_engine, idle_unload=0)


def test_health_and_checkpoints_tell_what_there_is(make_service: Callable, points: np.ndarray) -> None:
    client = make_service().client
    health = client.health()
    assert health["state"] == "idle" and health["checkpoint"] is None and health["device"] == "auto"
    assert health["protocol"] == 1 and health["version"] and health["queued"] == 0
    assert set(health["memory"]) == {"resident_bytes", "cuda_bytes"}
    names = client.checkpoints()
    assert names["checkpoints"][0]["name"] == names["default"] == "debug" and names["loaded"] is None
    with client.generate(points) as stream:
        list(stream)
    health = client.health()
    assert health["checkpoint"] == "debug" and health["device"] == "cpu"
    assert client.checkpoints()["loaded"] == "debug"


def test_bundled_checkpoints_are_described_and_can_be_asked_for(
    make_service: Callable, points: np.ndarray, endless: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("service.app.CHECKPOINTS", "checkpoint.BUNDLED"):
        monkeypatch.setattr(f"flashmesh_core.{module}", tmp_path)
    (tmp_path / "no-checkpoint").mkdir()
    small = shutil.copytree(endless, tmp_path / "small")
    client = make_service("debug").client
    default, bundled = client.checkpoints()["checkpoints"]
    assert default == {"name": "debug", "bytes": None, "model": None}
    assert (bundled["name"], bundled["model"]["num_bins"]) == ("small", 128)
    assert bundled["bytes"] == (small / "model.safetensors").stat().st_size
    with client.generate(points, max_faces=1, checkpoint="small") as stream:
        assert [event.get("checkpoint") for event in stream][1] == "small"
    assert client.health()["checkpoint"] == "small"
    with pytest.raises(EngineError, match="checkpoint must be one of debug, small, got 'no-checkpoint'") as caught:
        client.generate(points, checkpoint="no-checkpoint")
    assert (caught.value.status, caught.value.field) == (400, "checkpoint")


def test_stopping_the_service_ends_a_running_stream(make_service: Callable, points: np.ndarray, endless: str) -> None:
    running = make_service(endless)
    with running.client.generate(points) as stream:
        running.wait_for_state("busy")
        running.stop()
        assert list(stream)[-1]["end_reason"] == "cancelled"
    with pytest.raises(EngineError, match="no engine answers at"):
        running.client.health()
