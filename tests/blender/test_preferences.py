"""The add-on's preferences inside Blender: defaults, which Python runs the engine, and what the buttons answer."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flashmesh_core.checkpoint import save_checkpoint
from flashmesh_core.decode.engine import Engine

from .conftest import HERE, Runner

pytestmark = pytest.mark.blender
SCRIPT = HERE / "use_preferences.py"


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *arguments: object) -> None:
        """Nothing on the test's output."""


@pytest.fixture(scope="module")
def checkpoint_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a small checkpoint's weights can be downloaded."""
    folder = tmp_path_factory.mktemp("served")
    save_checkpoint(folder / "debug-2", Engine.random("debug", seed=2).model)
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/debug-2/model.safetensors"
        server.shutdown()
        thread.join()


def test_from_the_repository(blender: Runner) -> None:
    first, missing, named, given, folder, last = blender.ask("PREFERENCES", SCRIPT, "not_installed", sys.executable)
    assert first["kind"] == "PlainPreferences"
    values = first["values"]
    assert (values["backend"], values["device"], values["checkpoint"]) == ("LOCAL", "AUTO", "nano")
    assert (values["on_cancel"], values["preset"], values["engine_python"]) == ("REMOVE", "STANDARD", "")
    assert first["python"].startswith("error: the engine is not installed: press Set Up Engine")
    assert missing["python"].startswith("error: $FLASHMESH_ENGINE_PYTHON must name a Python program")
    assert named["python"] == sys.executable
    assert given["python"].endswith("or its environment's folder, got '/nowhere/python'")
    assert Path(folder["python"]).parent == Path(sys.executable).parent
    assert last == {"registered": True, "left": []}


def test_the_buttons(blender: Runner, checkpoint_url: str) -> None:
    answers = iter(blender.ask("PREFERENCES", SCRIPT, "buttons", checkpoint_url, sys.executable))
    assert next(answers) == {"kind": "FlashMeshPreferences", "same": True}
    assert next(answers)["test"] == {"status": ["FINISHED"], "error": ""}
    assert "got '/nowhere/python'" in next(answers)["test"]["error"]
    assert "Blender is offline" in next(answers)["test"]["error"]
    offline = next(answers)
    assert all("Blender is offline: allow online access" in answer["error"] for answer in offline.values())

    online = next(answers)
    assert online["online"] and "URL must begin with https://, got 'ftp://a'" in online["download"]["error"]
    fetched = next(answers)
    assert fetched["download"]["status"] == ["FINISHED"], fetched
    chosen = Path(fetched["checkpoint"])
    assert chosen.name == "mine" and chosen.is_relative_to(blender.home)
    assert "must be a program that can be run" in next(answers)["install"]["error"]
    assert "checkpoint must be one of those in" in next(answers)["remove"]["error"]
    removed = next(answers)
    assert removed == {"remove": {"status": ["FINISHED"], "error": ""}, "checkpoint": "nano"}
    assert not chosen.exists()
    assert next(answers)["checkpoint"] == "/a/checkpoint"
    assert next(answers)["cancel"]["status"] == ["CANCELLED"]
    assert next(answers) == {"remove": {"status": ["FINISHED"], "error": ""}, "missing": [False, True], "left": False}
    assert next(answers) == {"registered": True, "left": []}
