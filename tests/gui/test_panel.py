"""The panel in the real window where there is no engine yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from .window import Window, optimised

pytestmark = pytest.mark.blender


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


def test_the_engine_gets_ready_as_soon_as_its_panel_is_seen(window: Window) -> None:
    """Where the preferences allow it, and without a click: its process starts and loads the model."""
    window.fresh("monkey")
    assert window.state()["pid"] is None
    window.call("set_preferences", keep_ready=True)
    window.call("redraw")
    ready = window.until("the engine to rest", lambda now: now["pid"] and now["shown"] == "idle" and now["loaded"])
    assert ready["results"] == 0 and not ready["running"] and ready["loaded"] == "nano"
