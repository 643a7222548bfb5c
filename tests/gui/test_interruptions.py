"""What comes between, in the real window and with an engine that does not end by itself: keys, kills, quitting."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .window import Screen, Window, is_running, optimised, wait_for

pytestmark = pytest.mark.blender


def begin(window: Window, faces: int = 6) -> int:
    """Presses the button and waits for the first faces; the process id of the engine."""
    window.generate()
    return window.until("faces", lambda now: now["running"] and now["faces"] >= faces)["pid"]


def test_the_cancel_button_removes_where_the_preferences_say_so(window: Window, endless: str) -> None:
    window.fresh("monkey", checkpoint=endless, faces=5_000)
    window.call("set_preferences", on_cancel="REMOVE")
    begin(window)
    window.press()  # the same place in the list of buttons is Cancel now
    done = window.ended()
    assert done["outcome"] == "cancelled" and list(done["objects"]) == ["Monkey"]
    assert "FlashMesh" not in done["collections"]


def test_the_cancel_button_stays_where_it_is(window: Window, endless: str) -> None:
    """Whoever moves the pointer there must not find it gone: what comes and goes is below it."""
    window.fresh("monkey", checkpoint=endless, faces=5_000)
    window.generate()
    at_once = window.buttons()[0]
    window.until("an estimate", lambda now: now["seconds_left"] is not None or not now["running"])
    assert window.buttons()[0] == at_once
    window.press()
    assert window.ended()["outcome"] == "cancelled"


def test_undo_during_a_run_does_nothing(window: Window, endless: str) -> None:
    window.fresh("monkey", checkpoint=endless, faces=5_000)
    begin(window)
    window.key("ctrl+z")
    faces = window.state()["faces"]
    now = window.until("more faces", lambda now: now["faces"] > faces + 50 or not now["running"])
    assert now["running"] and "Monkey" in now["objects"]
    window.key("Escape")
    window.ended()


def location(now: dict[str, Any]) -> list[float]:
    return now["objects"]["Monkey"]["location"]


def test_the_viewport_can_be_used_meanwhile(window: Window, endless: str) -> None:
    """The view is turned and the source dragged: Escape ends the drag first. What was done is a step of its own."""
    window.fresh("monkey", checkpoint=endless, faces=5_000)
    begin(window)
    view = window.state()["view"]
    window.point_at_viewport()
    window.screen.do("mousedown", 2)
    window.drag("VIEW3D_OT_rotate", lambda now: now["view"] != view)
    window.screen.do("mouseup", 2)

    place = location(window.state())
    for last in ("Escape", "Return"):
        window.key("g")
        window.drag("TRANSFORM_OT_translate", lambda now: location(now) != place)
        window.screen.do("key", last)
        moved = window.until("the end of the drag", lambda now: now["modal"] == ["FLASHMESH_OT_generate"])
        assert moved["running"] and (location(moved) == place) == (last == "Escape")
    faces = window.state()["faces"]
    window.until("more faces", lambda now: now["faces"] > faces + 50 or not now["running"])
    window.key("Escape")
    done = window.ended()
    assert done["outcome"] == "cancelled" and done["faces"] > faces
    window.key("ctrl+z")
    window.until("the undo", lambda now: now["faces"] < done["faces"])
    window.key("ctrl+z")
    undone = window.until("another undo", lambda now: "Monkey_flashmesh" not in now["objects"])
    assert location(undone) == place


def delete_the_result(window: Window) -> None:
    window.call("select", name="Monkey_flashmesh")
    window.key("Delete")


def edit_the_source(window: Window) -> None:
    window.key("Tab")


def show_another_scene(window: Window) -> None:
    window.call("show_another_scene")


def open_a_file(window: Window) -> None:
    window.call("new_file")


@pytest.mark.parametrize(
    ("interrupt", "message"),
    [
        (delete_the_result, "stopped: the growing mesh was deleted or undone"),
        (edit_the_source, "stopped: the mode was changed"),
        (show_another_scene, "stopped: another scene is shown"),
        (open_a_file, None),
    ],
)
def test_what_the_artist_does_meanwhile_ends_the_run(
    window: Window, endless: str, interrupt: Callable[[Window], None], message: str | None
) -> None:
    """Nothing of it is left but the engine, which waits for the next mesh."""
    window.fresh("monkey", checkpoint=endless, faces=5_000)
    window.call("set_preferences", on_cancel="REMOVE")
    pid = begin(window)
    interrupt(window)
    done = window.ended()
    if message is not None:  # a file that is opened takes the run's messages away, too
        assert done["messages"] == [message] and done["outcome"] == "cancelled"
    assert done["faces"] == 0 and done["mode"] == ("EDIT_MESH" if interrupt is edit_the_source else "OBJECT")
    done = window.until("the threads to end", lambda now: not now["threads"] and not now["modal"])
    assert window.children() == [pid] == [done["pid"]] and is_running(pid)


def test_a_killed_engine_is_told_of_and_the_next_press_works(window: Window, pictures: Path, endless: str) -> None:
    """It is started again, with the reason; killed again it ends the run, with the reason; the next press is fine."""
    window.fresh("monkey", checkpoint=endless, faces=5_000)
    killed = begin(window)
    os.kill(killed, signal.SIGKILL)
    again = window.until("another engine", lambda now: now["pid"] not in (None, killed) or not now["running"])
    assert again["running"] and "SIGKILL" in again["messages"][0] and "started again" in again["messages"][0]
    again = window.until("faces", lambda now: now["faces"] >= 6 or not now["running"])
    assert again["running"]

    os.kill(again["pid"], signal.SIGKILL)
    done = window.ended()
    assert done["outcome"] == "failed" and done["pid"] is None
    assert "ended twice" in done["messages"][-1] and "SIGKILL" in done["messages"][-1]
    assert list(done["objects"]) == ["Monkey"] and "FlashMesh" not in done["collections"]
    window.point_at_viewport()
    window.still()
    optimised(window.screen.picture(), pictures / "engine_killed.png")

    last = begin(window)
    assert last not in (killed, again["pid"]) and not is_running(killed) and not is_running(again["pid"])
    window.key("Escape")
    assert window.ended()["outcome"] == "cancelled"


def quit_by_key(window: Window) -> None:
    window.key("ctrl+q")


def kill(window: Window) -> None:
    window.process.kill()


@pytest.mark.parametrize(("end", "status"), [(quit_by_key, 0), (kill, -signal.SIGKILL)])
def test_no_engine_outlives_blender(
    screen: Screen, home: Path, tmp_path: Path, endless: str, end: Callable[[Window], None], status: int
) -> None:
    """In the middle of a run."""
    window = Window(screen, home, tmp_path / "blender.log")
    try:
        window.fresh("monkey", checkpoint=endless, faces=5_000)
        pid = begin(window)
        assert is_running(pid) and window.children() == [pid]
        end(window)
        wait_for("Blender to end", lambda: window.process.poll() is not None)
        assert window.process.returncode == status, window.said()
        wait_for("the engine to end", lambda: not is_running(pid))
    finally:
        window.close()
