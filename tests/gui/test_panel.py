"""The panel in the real window: no engine yet, a second click, other results beside each other, Decimate."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import ndimage

from .window import MARK, Window, optimised

pytestmark = pytest.mark.blender


def boxes(window: Window) -> list[tuple[int, ...]]:
    """The boxes of options that are not set, from the top: left, top, right, bottom."""
    labels, _ = ndimage.label((window.screen.pixels() == MARK).all(axis=2))
    places = [(part[1].start, part[0].start, part[1].stop, part[0].stop) for part in ndimage.find_objects(labels)]
    square = [box for box in places if 8 <= box[2] - box[0] <= 24 and 8 <= box[3] - box[1] <= 24]
    return sorted(square, key=lambda box: (box[1], box[0]))


def show(window: Window, pictures: Path, name: str) -> None:
    window.point_at_viewport()
    window.still()
    optimised(window.screen.picture(), pictures / f"{name}.png")


def test_without_an_engine_the_panel_sets_it_up(window: Window, pictures: Path) -> None:
    """The first button is Set Up; it opens a dialog that says what it will take, and Escape leaves all as it is."""
    window.fresh("monkey")
    window.call("set_preferences", engine_python="")
    window.call("go_online")
    show(window, pictures, "set_up")
    assert window.call("panel_state") == {"missing": True, "reason": window.call("panel_state")["reason"]}
    assert window.call("panel_state")["reason"].startswith("the engine is not installed: press Set Up Engine")
    before = window.screen.pixels()
    window.press()
    window.screen.changed(before)
    window.screen.still()
    optimised(window.screen.picture(), pictures / "set_up_dialog.png")
    window.screen.do("key", "Escape")
    assert window.call("installing") is False


def test_another_try_replaces_the_result_and_decimate_stands_beside_it(window: Window, pictures: Path) -> None:
    window.fresh("monkey", faces=150)
    window.generate()
    first = window.ended()
    assert first["outcome"] == "finished" and first["active"] == "Monkey_flashmesh"
    show(window, pictures, "first_result")
    buttons = window.buttons()
    before = first["run"]
    window.screen.click(buttons[1])  # beside Generate: another try
    window.until("a run", lambda now: now["run"] != before)
    second = window.ended()
    assert sorted(second["objects"]) == ["Monkey", "Monkey_flashmesh"] and second["active"] == "Monkey_flashmesh"
    assert window.call("seed") == 1

    window.call("keep_earlier")
    window.screen.click(window.buttons()[1])
    window.until("a run", lambda now: now["run"] != second["run"])
    third = window.ended()
    assert third["objects"]["Monkey_flashmesh"]["hidden"] and third["active"] == "Monkey_flashmesh.001"
    window.call("decimate", result="Monkey_flashmesh.001")
    other = window.until("Decimate's mesh", lambda now: "Monkey_decimate" in now["objects"])
    show(window, pictures, "compare")
    faces = other["objects"]["Monkey_flashmesh.001"]["faces"]
    assert 0.7 * faces <= other["objects"]["Monkey_decimate"]["faces"] <= faces
    window.key("ctrl+z")
    window.until("the undo", lambda now: "Monkey_decimate" not in now["objects"])


def test_touches_of_the_last_mesh_are_done_anew_at_once(window: Window, pictures: Path) -> None:
    """Adjust Last Operation: quads, without a question to the engine."""
    window.fresh("table", faces=60)
    window.generate()
    done = window.ended()
    triangles = done["objects"]["Table_flashmesh"]["faces"]
    window.call("mark_boxes", color=[value / 255 for value in (*MARK, 255)])
    window.point_at_viewport()
    window.still()
    known = boxes(window)
    before = window.screen.still()
    window.screen.do("key", "F9")
    window.screen.changed(before)
    window.screen.still()
    optimised(window.screen.picture(), pictures / "adjust.png")
    new = [box for box in boxes(window) if box not in known]
    assert new, "the options are not shown"
    x, y = (new[0][0] + new[0][2]) // 2, (new[0][1] + new[0][3]) // 2
    window.screen.do("mousemove", x - 3, y, "mousemove", x, y, "sleep", 0.5, "click", 1)
    now = window.until("quads", lambda now: now["objects"]["Table_flashmesh"]["faces"] < triangles)
    assert now["pid"] == done["pid"] and now["outcome"] == "finished" and now["run"] != done["run"]
    assert sorted(now["objects"]) == ["Room", "Table", "Table_flashmesh"]
