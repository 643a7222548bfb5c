"""A mouse click on the real button: what an artist sees before, during and after, and undo and search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .window import Window, is_running, optimised

pytestmark = pytest.mark.blender
BINS = 128  # of the shipped checkpoint's grid
BOX_OFF = 3.0  # bins that the boxes may differ by: few flat faces lie inside a rounded form such as the monkey
TOLERANCE = 8.0  # bins that a vertex may lie off the source: what the mask of its samples lets through


def show(window: Window, pictures: Path, name: str) -> None:
    window.point_at_viewport()
    window.still()
    optimised(window.screen.picture(), pictures / f"{name}.png")


def wait_until_frozen(window: Window) -> None:
    assert window.until("faces", lambda now: now["frozen"] or not now["running"])["running"], "the run was over first"


def red(window: Window) -> int:
    """The number of pixels of the viewport that show the result, after inside.wire."""
    window.point_at_viewport()
    pixels = window.still(window.viewport())
    return int(((pixels[..., 0] > 240) & (pixels[..., 1:] < 16).all(axis=2)).sum())


@pytest.mark.parametrize(("scene", "source", "faces"), [("monkey", "Monkey", 150), ("table", "Table", 30)])
def test_a_click_writes_a_mesh_exactly_over_the_source(
    window: Window, pictures: Path, scene: str, source: str, faces: int
) -> None:
    """No faces are handed over while the picture in the middle is taken, so that it shows those of the state."""
    name = f"{source}_flashmesh"
    window.fresh(scene, faces=300)
    window.call("set_preferences", on_cancel="REMOVE")
    show(window, pictures, f"{scene}_before")
    window.call("freeze", faces=faces)
    window.generate()
    wait_until_frozen(window)
    show(window, pictures, f"{scene}_during")
    grown = window.state()
    assert grown["stage"] == "decoding" and faces <= grown["faces"] < 2 * faces and grown["objects"][name]["in_front"]
    window.key("Escape")  # what stood still tells no true time
    cancelled = window.ended()
    assert cancelled["outcome"] == "cancelled" and name not in cancelled["objects"]
    window.call("thaw")

    window.generate()
    done = window.ended()
    assert done["outcome"] == "finished" and done["results"] == 1 and done["messages"] == []
    result = done["objects"][name]
    assert result["faces"] >= faces and "FlashMesh" in done["collections"]
    assert not done["objects"][source]["hidden"] and result["in_front"], "the two would flicker"
    assert result["selected"] and done["active"] == name and not done["objects"][source]["selected"]
    box, made = np.array(done["objects"][source]["box"]), np.array(result["box"])
    one_bin = np.ptp(box, axis=0).max() / BINS
    off = window.call("distance", name=name, source=source) / one_bin
    print(f"{scene}: vertices at most {off:.1f} bins off, the box {np.abs(box - made).max() / one_bin:.1f}")
    assert off <= TOLERANCE and np.abs(box - made).max() <= BOX_OFF * one_bin
    window.until("the panel to show that the engine rests", lambda now: now["shown"] == "idle")
    show(window, pictures, f"{scene}_after")
    window.call("select_only", name=name)
    show(window, pictures, f"{scene}_result")


def test_faces_grow_on_the_screen_and_escape_keeps_them(window: Window) -> None:
    window.fresh("monkey", faces=300)
    window.call("wire", name="Monkey")
    assert red(window) == 0, "the test's own look shows something else"
    window.call("freeze", faces=40)
    window.generate()
    wait_until_frozen(window)
    first_red, first = red(window), window.state()["faces"]
    window.call("freeze", faces=first + 60)
    wait_until_frozen(window)
    second_red, second = red(window), window.state()["faces"]
    assert second >= first + 60
    print(f"{first} faces cover {first_red} pixels, {second} cover {second_red}")
    assert 0 < first_red < second_red

    window.key("Escape")
    done = window.ended()
    assert done["outcome"] == "cancelled"
    assert done["faces"] >= second, "kept"
    window.call("thaw")
    assert is_running(done["pid"]), "the engine stays for the next mesh"


def test_one_undo_takes_the_result_and_brings_the_source_back(window: Window) -> None:
    window.fresh("table", faces=40, preset="DRAFT", hide_source=True, snap=True)
    window.generate()
    done = window.ended()
    assert done["outcome"] == "finished" and done["objects"]["Table"]["hidden"]
    assert done["active"] == "Table_flashmesh" and not done["objects"]["Table_flashmesh"]["in_front"]
    assert sorted(done["objects"]) == ["Room", "Table", "Table_flashmesh"]
    assert window.call("distance", name="Table_flashmesh", source="Table") < 1e-5, "snapped, but not onto the source"

    window.key("ctrl+z")
    undone = window.until("the undo", lambda now: "Table_flashmesh" not in now["objects"])
    assert sorted(undone["objects"]) == ["Room", "Table"] and "FlashMesh" not in undone["collections"]
    assert not undone["objects"]["Table"]["hidden"] and undone["objects"]["Table"]["selected"]
    assert undone["active"] == "Table", "ready for another try"
    window.key("ctrl+shift+z")
    window.until("the redo", lambda now: now["faces"] == done["faces"])


def test_f3_search_finds_and_runs_it(window: Window) -> None:
    window.fresh("monkey", faces=40, preset="DRAFT")
    before = window.still()
    window.key("F3")
    window.screen.changed(before)
    before = window.screen.still()
    window.screen.do("type", "Generate Artist")
    window.screen.changed(before)
    window.screen.still()
    run = window.state()["run"]
    window.screen.do("key", "Return")
    window.until("a run", lambda now: now["run"] != run)
    assert window.ended()["outcome"] == "finished"
