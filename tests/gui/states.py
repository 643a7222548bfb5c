"""Pictures of what the first hour does not show: reading, density, selected faces, baking, quads, preferences; no test.

    python -m tests.gui.states HOME PICTURES [NAME ...]

HOME is a folder of Blender's settings that has the zip installed; the engine runs with the Python of this program.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from PIL import Image

from .first_hour import SIZE, Hour
from .window import Screen, optimised

DRAWN_SECONDS = 2.0  # until the panel shows what has come


def made(hour: Hour) -> str:
    """Presses Generate; the name of the result."""
    hour.window.generate()
    done = hour.window.ended()
    assert done["outcome"] == "finished", done["messages"]
    return next(name for name in done["objects"] if name.endswith("_flashmesh"))


def reading(hour: Hour) -> None:
    """A source that takes long to read."""
    hour.window.fresh("dense_monkey", faces=600)
    hour.window.generate()
    hour.window.until("a step of reading", lambda now: now["step"] in ("denoise", "simplify") or not now["running"])
    time.sleep(DRAWN_SECONDS)
    hour.picture("reading", still=False)
    hour.window.key("Escape")
    hour.window.ended()


def density(hour: Hour) -> None:
    """A painted ball, and its result, from the front."""
    hour.window.fresh("painted_ball", faces=400, density="Detail", hide_source=True)
    hour.window.call("paint_weights", on=True)
    hour.picture("density_painted")
    hour.window.call("paint_weights", on=False)
    made(hour)
    hour.window.call("show_wires")
    hour.picture("density")


def selected(hour: Hour) -> None:
    """Selected faces of a ball in Edit Mode, and what is made of them."""
    hour.window.fresh("part_of_ball", faces=100)
    hour.picture("selected_faces")
    made(hour)
    hour.window.call("show_wires")
    hour.picture("selected_faces_after")


def baking(hour: Hour) -> None:
    """A bumpy ring in two colors, its result without and with what was baked onto it."""
    hour.window.fresh("wheel", faces=400, hide_source=True)
    hour.picture("bake_source")
    name = made(hour)
    hour.window.call("bake", name=name)
    hour.window.until("the images", lambda now: now["images"] and not now["modal"])
    hour.window.call("show_materials")
    hour.picture("bake")


def quads(hour: Hour) -> None:
    """A wheel of voxels in triangles and in quads, side by side."""
    parts = []
    for joined in (False, True):
        hour.window.fresh("cog_of_voxels", faces=500, quads=joined, hide_source=True)
        made(hour)
        hour.window.call("show_wires")
        hour.window.still()
        left, top, right, bottom = hour.window.viewport()
        wide, high = right - left, bottom - top
        middle = (left + 0.3 * wide, top + 0.22 * high, left + 0.97 * wide, top + 0.83 * high)
        parts.append(hour.screen.picture().crop(tuple(round(edge) for edge in middle)))
    both = Image.new("RGB", (sum(part.width for part in parts), parts[0].height))
    both.paste(parts[0], (0, 0))
    both.paste(parts[1], (parts[0].width, 0))
    optimised(both.resize((1200, both.height * 1200 // both.width), Image.Resampling.LANCZOS),
              hour.pictures / "quads_of_voxels.png", 64)  # fmt: skip


def preferences(hour: Hour) -> None:
    """The add-on as it stands in Blender's preferences once its zip was dropped into Blender."""
    hour.window.fresh("monkey")
    hour.window.call("show_preferences")
    hour.window.still()
    hour.picture("installed", still=False)


STATES = {function.__name__: function for function in (reading, density, selected, baking, quads, preferences)}


def main(home: str, pictures: str, *names: str) -> None:
    """The states of these names, or all."""
    folder = Path(pictures)
    folder.mkdir(parents=True, exist_ok=True)
    screen = Screen(folder / "xvfb.log", SIZE)
    try:
        for name in names or STATES:
            hour = Hour(screen, Path(home), folder)
            try:
                STATES[name](hour)
            finally:
                hour.window.close()
    finally:
        screen.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
