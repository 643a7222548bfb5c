"""The service as a process: the ready line, ending with the parent, what it says when it cannot start."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flashmesh_core.service.client import EngineClient, EngineError
from flashmesh_core.service.process import EngineProcess
from flashmesh_core.service.server import add_serve_arguments, choose_token, host_test, run_serve

from .conftest import DEADLINE, wait_until

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
SERVE = ("-m", "flashmesh_core", "serve")
COLD = """
import sys
from flashmesh_core.__main__ import main
status = main(["serve", "--watch-stdin", "--token", "t"])
print(status, "torch" in sys.modules, repr(sys.stdin.read()))
"""
SLOW = """
import sys, time
from flashmesh_core.service import server
from flashmesh_core.__main__ import main
server.load_engine = lambda checkpoint, device: time.sleep(600)
sys.exit(main())
"""


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def serve_arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_serve_arguments(parser)
    return parser.parse_args(given)


def start_serve(*options: str, entry: tuple[str, ...] = SERVE) -> subprocess.Popen:
    command = [sys.executable, *entry, *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_a_child_serves_the_engine_and_stops(points: np.ndarray) -> None:
    with EngineProcess.start(checkpoint="debug") as process:
        assert process.address.startswith("http://127.0.0.1:") and process.alive
        client = process.client
        assert client.health()["checkpoint"] is None
        with client.generate(points, points, max_faces=2, candidates=2) as stream:
            events = list(stream)
        assert {event["candidate"] for event in events if event["kind"] == "candidate_end"} == {0, 1}
        assert 1 <= events[-1]["n_faces"] <= 2 and stream.result is events[-1]
        with client.generate(points, np.zeros_like(points)) as stream, pytest.raises(EngineError) as caught:
            list(stream)
        assert (caught.value.status, caught.value.field) == (400, "normals")
        health = client.health()
        assert (health["checkpoint"], health["device"], health["pid"]) == ("debug", "cpu", process.pid)
        assert client.unload() is True and client.health()["checkpoint"] is None
        assert "FlashMesh serves on" in process.stderr_tail
        with pytest.raises(EngineError, match="bearer token"):
            EngineClient(process.address, "").health()
    assert not process.alive and process.stop() == 0


def test_the_first_line_of_stdout_is_the_ready_line_and_stdin_eof_ends_it(points: np.ndarray, endless: str) -> None:
    child = start_serve("--watch-stdin", "--checkpoint", endless)
    ready = json.loads(child.stdout.readline())
    assert ready["event"] == "ready" and ready["pid"] == child.pid and ready["protocol"] == 1
    assert len(ready["token"]) >= 32
    client = EngineClient(ready["address"], ready["token"])
    with client.generate(points) as stream:
        next(event for event in stream if event["kind"] == "faces")
        child.stdin.close()
        assert list(stream)[-1]["end_reason"] == "cancelled"
    assert child.wait(DEADLINE) == 0
    assert child.stdout.read() == b""
    child.stdout.close()


@needs_signals
def test_it_ends_when_its_parent_is_killed() -> None:
    parent = (
        "import sys; from flashmesh_core.client import EngineProcess; p = EngineProcess.start();"
        "print(p.pid, p.client.health()['default_checkpoint'], flush=True); sys.stdin.read()"
    )
    child = start_serve(entry=("-c", parent))
    service, checkpoint = child.stdout.readline().split()
    assert checkpoint == b"nano" and not ended(int(service))
    child.kill()
    child.wait(DEADLINE)
    wait_until(lambda: ended(int(service)), "the end of the service")
    child.stdin.close()
    child.stdout.close()


@needs_signals
def test_a_signal_ends_it_in_the_middle_of_a_generation(points: np.ndarray, endless: str) -> None:
    process = EngineProcess.start(checkpoint=endless)
    with process.client.generate(points) as stream:
        next(event for event in stream if event["kind"] == "faces")
        os.kill(process.pid, signal.SIGTERM)
        assert list(stream)[-1]["end_reason"] == "cancelled"
    wait_until(lambda: not process.alive, "the end of the service")
    process.stop()


@needs_signals
def test_ctrl_c_ends_it() -> None:
    process = EngineProcess.start()
    os.kill(process.pid, signal.SIGINT)
    wait_until(lambda: not process.alive, "the end of the service")
    assert process.stop() == 0 and "Traceback" not in process.stderr_tail


def test_it_ends_even_while_a_checkpoint_is_being_loaded(points: np.ndarray) -> None:
    process = EngineProcess.start(command=("-c", SLOW, "serve"))
    with process.client.generate(points) as stream:
        next(event for event in stream if event["kind"] == "loading")
        assert process.stop(timeout=DEADLINE) == 0


def test_the_client_imports_nothing_heavy() -> None:
    names = "torch scipy trimesh starlette uvicorn"
    code = f"import sys, flashmesh_core.client; print([n for n in {names.split()!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_service_without_work_imports_no_torch_and_keeps_its_hands_off_stdin() -> None:
    child = start_serve(entry=("-c", COLD))
    address = json.loads(child.stdout.readline())["address"]
    assert EngineClient(address, "t").health()["state"] == "idle"
    stdin = Path(f"/proc/{child.pid}/fd/0")  # libraries that look at it while they load must find nothing to wait for
    assert not stdin.is_symlink() or stdin.readlink() == Path(os.devnull)
    child.stdin.close()
    assert child.stdout.read().split() == [b"0", b"False", b"''"]
    assert child.wait(DEADLINE) == 0
    child.stdout.close()


@pytest.mark.parametrize(
    ("python", "command", "said"),
    [
        ("no-such-python", SERVE, "'no-such-python' cannot be started: "),
        (
            None,
            ("-c", "import sys; sys.exit('error: port must be free')"),
            "did not start: port must be free",
        ),
        (None, ("-c", "import no_such_library"), "-m pip install no_such_library"),
        (None, ("-m", "no_such_module"), "lacks no_such_module; install with:"),
        (None, ("-c", "raise RuntimeError('out of luck')"), "status 1. It said: .*out of luck"),
        (None, (*SERVE, "--port", "70000"), "port must be in"),
    ],
)
def test_a_child_that_cannot_start_says_why(python: str | None, command: tuple, said: str) -> None:
    with pytest.raises(EngineError, match=f"(?s){said}"):
        EngineProcess.start(python, command=command, timeout=DEADLINE)


def test_a_child_that_never_gets_ready_is_ended() -> None:
    command = ("-c", "import sys; print('no JSON'); sys.stdin.read()")
    with pytest.raises(EngineError, match=r"was not ready after 0\.5 s"):
        EngineProcess.start(command=command, timeout=0.5)
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(EngineError, match="was cancelled"):
        EngineProcess.start(command=command, timeout=DEADLINE, cancel=given_up)


def test_a_python_without_the_libraries_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("flashmesh_core.service.server._ENGINE_NEEDS", ("json", "no_such_library"))
    monkeypatch.setattr("flashmesh_core.service.server._SERVICE_NEEDS", ("another_missing_one",))
    assert run_serve(serve_arguments()) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert "lacks another_missing_one no_such_library; install with:" in said.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--host", "0.0.0.0"), "host must be loopback unless --allow-remote is given, got '0.0.0.0'"),
        (("--host", "0.0.0.0", "--allow-remote"), "token must have at least 16 characters"),
        (("--host", "0.0.0.0", "--allow-remote", "--token", "x" * 15), "where host is not loopback, got 15"),
        (("--token", "with space"), "token must be 1 to 512 printable"),
        (("--token", ""), "token must be 1 to 512 printable"),
        (("--port", "-1"), "port must be in [0, 65535], got -1"),
        (("--queue", "-1"), "queue must be 0 or more generations, got -1"),
        (("--idle-unload", "-2"), "idle_unload must be a number of seconds > 0, got -2.0"),
    ],
)
def test_arguments_out_of_range_are_refused(given: tuple, said: str, capsys: pytest.CaptureFixture) -> None:
    assert run_serve(serve_arguments(*given)) == 2
    assert said in capsys.readouterr().err


def test_the_token_comes_from_the_argument_the_environment_or_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLASHMESH_TOKEN", raising=False)
    assert choose_token("127.0.0.1", None, False) != choose_token("::1", None, False)
    monkeypatch.setenv("FLASHMESH_TOKEN", "from-the-environment")
    assert choose_token("localhost", None, False) == "from-the-environment"
    assert choose_token("10.0.0.1", None, True) == "from-the-environment"
    assert choose_token("localhost", "given", False) == "given"


@pytest.mark.parametrize(
    ("host", "port", "good", "bad"),
    [
        (
            "127.0.0.1",
            8000,
            ["127.0.0.1:8000", "localhost:8000"],
            ["127.0.0.2:8000", "localhost", "", ":8000"],
        ),
        ("::1", 8000, ["[::1]:8000", "localhost:8000"], ["::1:8000", "[::2]:8000"]),
        ("10.1.2.3", 8000, ["10.1.2.3:8000"], ["localhost:8000", "10.1.2.4:8000", "rebound.example:8000"]),
        ("0.0.0.0", 80, ["10.1.2.3", "10.1.2.3:80", "[fe80::1]:80"], ["rebound.example", "10.1.2.3:8080"]),
    ],
)
def test_only_the_services_own_host_values_pass(host: str, port: int, good: list, bad: list) -> None:
    allows: Callable[[str], bool] = host_test(host, port)
    assert [value for value in good if not allows(value)] == []
    assert [value for value in bad if allows(value)] == []
