"""The first hour of an artist in the real window, step by step, with a picture of each; not a test.

    python -m tests.gui.first_hour EMPTY READY PICTURES

EMPTY and READY are folders of Blender's settings that have the zip installed; in READY an engine was set up. Times go
to the standard output.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from .window import Screen, Window, optimised

SIZE, WIDTH = (1600, 900), 1200  # pixels of the screen, and across a picture
DIALOG_SECONDS, DOWNLOAD_SECONDS = 3.0, 40.0  # until the dialog, and a download, can be seen


class Hour:
    """A window, and pictures of it."""

    def __init__(self, screen: Screen, home: Path, pictures: Path) -> None:
        self.screen, self.pictures = screen, pictures
        self.window = Window(screen, home, pictures / "blender.log")

    def picture(self, name: str, still: bool = True) -> None:
        """Writes what the screen shows, smaller."""
        if still:
            self.window.point_at_viewport()
            self.window.still()
        shown = self.screen.picture()
        small = shown.resize((WIDTH, shown.height * WIDTH // shown.width), Image.Resampling.LANCZOS)
        optimised(small, self.pictures / f"{name}.png", 128)
        print(f"{name}.png", flush=True)


def set_up(hour: Hour) -> None:
    """No engine yet: the panel, the dialog, and the first part of a real download, which is given up."""
    window = hour.window
    window.fresh("monkey")
    window.call("set_preferences", engine_python="")
    window.call("go_online")
    hour.picture("set_up")
    window.press()
    time.sleep(DIALOG_SECONDS)
    hour.picture("set_up_dialog", still=False)
    hour.screen.do("key", "Return")
    begin = time.monotonic()
    while not window.call("installing") and time.monotonic() - begin < DOWNLOAD_SECONDS:
        time.sleep(0.5)
    while window.call("installing") and time.monotonic() - begin < DOWNLOAD_SECONDS:
        time.sleep(1.0)
    hour.picture("set_up_progress", still=False)
    window.press()


def first_mesh(hour: Hour) -> None:
    """A click with an engine that does not run yet, cancelled; then a whole mesh."""
    window = hour.window
    window.fresh("monkey", faces=300)
    window.call("set_preferences", engine_python="", on_cancel="REMOVE")
    hour.picture("monkey_before")
    window.call("freeze", faces=150)
    window.generate()
    window.until("many faces", lambda now: now["frozen"] or not now["running"])
    hour.picture("monkey_during")
    window.key("Escape")
    window.ended()
    window.call("thaw")
    hour.picture("monkey_cancelled")
    window.generate()
    new, running = window.ended()["seconds"]
    print(f"click to first face: {new:.2f} s with a new process, {running:.2f} s with a running one", flush=True)
    hour.picture("monkey_after")


def compare(hour: Hour) -> None:
    """Another seed beside the first, Decimate, quads and UVs in Adjust Last Operation."""
    window = hour.window
    window.call("change", keep_earlier=True)
    window.another()
    window.ended()
    hour.picture("another_seed")
    boxes = window.buttons()
    widest = max(box[2] - box[0] for box in boxes)  # Generate and Bake share their rows with something
    hour.screen.click([box for box in boxes if box[2] - box[0] == widest][-1])
    window.until("the other mesh", lambda now: "Monkey_decimate" in now["objects"])
    window.call("look_at_results")
    hour.picture("decimate")
    window.key("ctrl+z")
    window.until("the undo", lambda now: "Monkey_decimate" not in now["objects"])


def finish(hour: Hour) -> None:
    """Quads, hard edges and a UV map, the bake, and the export."""
    window = hour.window
    window.fresh("table", faces=100, quads=True, hard_edges=True, transfer_uvs=True, hide_source=True)
    window.call("set_preferences", engine_python="")
    window.generate()
    done = window.ended()
    window.call("show_wires")
    hour.picture("quads")
    name = next(name for name in done["objects"] if name.endswith("_flashmesh"))
    window.call("bake", name=name)
    window.until("the image", lambda now: now["images"] and not now["modal"])
    with tempfile.TemporaryDirectory() as folder:
        print(f"exported {window.call('export', name=name, path=str(Path(folder) / 'table.glb'))} bytes", flush=True)


def german(hour: Hour) -> None:
    """The panel in German, with what is said of a result."""
    window = hour.window
    window.fresh("table", faces=100, quads=True, hard_edges=True, transfer_uvs=True, hide_source=True)
    window.call("set_preferences", engine_python="")
    window.call("speak", language="de_DE")
    window.generate()
    window.ended()
    window.call("show_wires")
    hour.picture("german")


def main(empty: str, ready: str, pictures: str) -> None:
    """All of it."""
    folder = Path(pictures)
    folder.mkdir(parents=True, exist_ok=True)
    screen = Screen(folder / "xvfb.log", SIZE)
    try:
        for home, steps in ((empty, (set_up,)), (ready, (first_mesh, compare, finish, german))):
            hour = Hour(screen, Path(home), folder)
            try:
                for step in steps:
                    step(hour)
            finally:
                hour.picture("last", still=False)
                hour.window.close()
    finally:
        screen.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
