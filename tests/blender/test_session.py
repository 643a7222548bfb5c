"""Runs inside Blender with a real engine that does not end by itself, and all that may come between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from .conftest import HERE, TIMEOUT, Runner

pytestmark = pytest.mark.blender
Told = dict[str, Any]
CANCELLED_RUNS = [
    "mesh_grows", "cancel_keeps", "cancel_removes", "cancel_brings_back", "cancel_while_reading",
    "cancel_leaves_the_rest", "result_deleted",
    "result_unlinked", "another_takes_its_name", "result_renamed", "source_deleted", "scene_switched",
    "edit_mode_of_the_source", "edit_mode_of_the_result", "edit_mode_of_a_result_that_is_kept",
    "file_loaded", "one_at_a_time", "engine_killed",
    "engine_stopped",
]  # fmt: skip


@pytest.fixture(scope="module")
def told(blender: Runner, endless: str) -> Told:
    """What each scenario of addon_runs.py told, by its name; `threads`: those left after the add-on was taken away."""
    runs, rest = blender.ask("TOLD", HERE / "addon_runs.py", endless)
    return {**runs, **rest}


@pytest.mark.parametrize("name", CANCELLED_RUNS)
def test_every_interruption_ends_the_run_and_its_thread(told: Told, name: str) -> None:
    """Of processes there is the one engine, which waits for the next mesh, and where that was stopped none."""
    assert "failed" not in told[name], told[name]["failed"]
    assert told[name]["outcome"] == "cancelled"
    assert told[name]["threads"] == [] and told[name]["active"] is False
    if sys.platform == "linux":
        assert told[name]["children"] == ([] if told[name]["engine"] is None else [told[name]["engine"]])
        assert told[name]["children"] or name == "engine_stopped"


def test_nothing_is_left_after_unregistering(told: Told) -> None:
    assert told["threads"] == [] and told["children"] == []
    if sys.platform == "linux":
        engines = {told[name]["engine"] for name in CANCELLED_RUNS} - {None}
        assert engines and not any(is_running(pid) for pid in engines)


def test_the_mesh_grows_by_what_the_engine_says(told: Told) -> None:
    grown = told["mesh_grows"]
    for polygons, faces in grown["counts"]:
        assert polygons == faces
    last = grown["counts"][-1][1]
    assert last >= 40 and grown["corners"] == 3 * last
    assert grown["vertices"] == grown["places"] < grown["corners"] and grown["edges"] == grown["pairs"], "not welded"
    assert grown["stage"] == "decoding" and grown["factor"] == last / 10_000
    (low, high), (result_low, result_high) = grown["boxes"]
    margin = 0.05 * np.ptp([low, high], axis=0).max()
    assert (np.array(result_low) >= np.array(low) - margin).all()
    assert (np.array(result_high) <= np.array(high) + margin).all()


def test_cancel_keeps_what_is_there(told: Told) -> None:
    kept = told["cancel_keeps"]
    assert kept["cancelling"] is True
    assert kept["made"] == ["Source_flashmesh"] and kept["collections"] == ["FlashMesh"]
    (result,) = kept["results"]
    assert result["faces"] == kept["polygons"] > 0 and result["end_reason"] == "cancelled"


def test_cancel_removes_what_is_there(told: Told) -> None:
    assert told["cancel_removes"]["made"] == [] and told["cancel_removes"]["collections"] == []
    assert told["cancel_removes"]["meshes"] == ["Cube"], "the mesh without its object"


def test_cancel_brings_back_what_was_there(told: Told) -> None:
    back = told["cancel_brings_back"]
    assert back["hidden"] == [True, False] and back["made"] == ["Source_flashmesh"]
    assert back["selected"] == ["Source_flashmesh"] and back["now_active"] == "Source_flashmesh"


def test_cancel_before_the_first_face(told: Told) -> None:
    assert told["cancel_while_reading"]["made"] == [] and told["cancel_while_reading"]["results"] == []


def test_cancel_begins_no_other_object(told: Told) -> None:
    assert told["cancel_leaves_the_rest"]["made"] == ["First_flashmesh"]


@pytest.mark.parametrize("name", ["result_deleted", "result_unlinked", "another_takes_its_name"])
def test_a_result_that_is_gone_ends_the_run(told: Told, name: str) -> None:
    assert told[name]["messages"] == ["stopped: the growing mesh was deleted or undone"]
    assert told[name]["results"] == []


def test_another_object_of_the_name_is_left_alone(told: Told) -> None:
    assert told["another_takes_its_name"]["untouched"] is True


def test_a_renamed_result_grows_on(told: Told) -> None:
    assert told["result_renamed"]["grew"] is True
    assert [result["name"] for result in told["result_renamed"]["results"]] == ["Mine"]


def test_the_source_is_needed_no_more(told: Told) -> None:
    assert told["source_deleted"]["made"] == ["Source_flashmesh"]


def test_switching_the_scene_leaves_the_other_one_alone(told: Told) -> None:
    assert told["scene_switched"]["messages"] == ["stopped: another scene is shown"]
    assert told["scene_switched"]["linked"] == [] and told["scene_switched"]["made"] == ["Source_flashmesh"]


def test_edit_mode(told: Told) -> None:
    assert told["edit_mode_of_the_source"]["made"] == []
    assert told["edit_mode_of_the_result"]["made"] == ["Source_flashmesh"], "what is being edited cannot be removed"
    kept = told["edit_mode_of_a_result_that_is_kept"]
    assert (
        kept["polygons"] > 0
        and kept["outcome"] == "cancelled"
        and kept["messages"] == ["stopped: the mode was changed"]
    )


def test_loading_a_file_takes_away_what_belongs_to_the_run(told: Told) -> None:
    assert told["file_loaded"]["ended"] == [True] and told["file_loaded"]["made"] == []


def test_one_run_at_a_time(told: Told) -> None:
    assert told["one_at_a_time"]["refused"] == "another run is not over yet"
    assert (told["one_at_a_time"]["could"], told["one_at_a_time"]["can"]) == (False, True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_killed_engine_is_started_again_and_says_why(told: Told) -> None:
    killed = told["engine_killed"]
    assert killed["emptied"] == [0, 0] and killed["another"] is True
    assert "SIGKILL" in killed["messages"][0] and "SIGKILL" in killed["trouble"]
    assert killed["results"][0]["faces"] > 0


def test_stop_ends_the_engine_and_the_run_without_a_restart(told: Told) -> None:
    assert told["engine_stopped"]["pid"] is None and told["engine_stopped"]["trouble"] == ""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("way", ["exit", "quit", "kill"])
def test_the_engine_ends_with_blender(blender: Runner, endless: str, way: str) -> None:
    """In the middle of a run: the program ends by itself, by Blender's own operator, or is killed."""
    child = subprocess.Popen(
        blender.arguments(HERE / "addon_quit.py", way, endless),
        env=blender.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert child.stdout is not None and child.stdin is not None
        line = next((line for line in child.stdout if line.startswith("ENGINE ")), "")
        pid = int(line.split()[1])
        assert is_running(pid)
        if way == "kill":
            child.kill()
        child.stdin.close()
        assert child.wait(TIMEOUT) == (-signal.SIGKILL if way == "kill" else 0)
        deadline = time.monotonic() + TIMEOUT / 4
        while is_running(pid):
            assert time.monotonic() < deadline, "the engine lives on"
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
