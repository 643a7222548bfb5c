"""A screen without a monitor, and Blender's window on it: pictures, keys and a mouse, and calls into Blender."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageGrab
from scipy import ndimage

HERE = Path(__file__).resolve().parent
PROGRAMS = ("blender", "Xvfb", "xdotool")
SIZE = (1200, 900)  # pixels: software draws each; lower, the panel's last buttons are out of sight
PATIENCE = 1800  # seconds, against a hang alone: kernels are compiled before, and nothing else takes minutes
MARK = (255, 0, 255)
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the screen


def missing_programs() -> list[str]:
    """Which of the programs that all this needs are not on the path."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def wait_for(what: str, look: Callable[[], Any]) -> Any:
    """What `look` returns, as soon as that is true; AssertionError after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
    return found


def is_running(pid: int) -> bool:
    """Whether there is a process of this id that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Screen:
    """An X server with one screen; `size` in pixels."""

    def __init__(self, log: Path, size: tuple[int, int] = SIZE) -> None:
        self.size = size
        self._log = log.open("wb")
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp"],
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._server.stdout is not None
        number = self._server.stdout.readline().decode().strip()
        assert number, f"Xvfb did not start: {log.read_text(errors='replace')}"
        self.display = f":{number}"

    def picture(self) -> Image.Image:
        """What is on the screen."""
        return ImageGrab.grab(xdisplay=self.display).convert("RGB")

    def pixels(self, box: Box | None = None) -> np.ndarray:
        """The same as an array (height, width, 3) uint8, all of it or a part."""
        picture = self.picture()
        return np.asarray(picture if box is None else picture.crop(box))

    def still(self, box: Box | None = None) -> np.ndarray:
        """The pixels once two looks at them agree: for what a full redraw would disturb."""
        seen = [self.pixels(box)]

        def look() -> bool:
            seen.append(self.pixels(box))
            return np.array_equal(seen[-2], seen[-1])

        wait_for("a picture that is still", look)
        return seen[-1]

    def changed(self, before: np.ndarray) -> None:
        """Waits until the screen does not look as before."""
        wait_for("a change on the screen", lambda: not np.array_equal(self.pixels(), before))

    def do(self, *words: object) -> None:
        """One xdotool command line."""
        subprocess.run(
            ["xdotool", *map(str, words)], env={**os.environ, "DISPLAY": self.display}, check=True, timeout=PATIENCE
        )

    def click(self, box: Box, from_left: int = 200) -> None:
        """Moves the pointer, from so many pixels left of it, onto the middle of a button; clicks once that is lit."""
        x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
        self.do("mousemove", box[0] - from_left, y)
        before = self.still(box)
        self.do("mousemove", x - 5, y, "mousemove", x, y)
        wait_for("the button to light up", lambda: not np.array_equal(self.pixels(box), before))
        self.do("click", 1)

    def close(self) -> None:
        """Ends the server."""
        self._server.kill()
        self._server.wait()
        assert self._server.stdout is not None
        self._server.stdout.close()
        self._log.close()


class Window:
    """Blender with the add-on installed in `home`, in a window that fills `screen`."""

    def __init__(self, screen: Screen, home: Path, log: Path) -> None:
        self.screen, self._log = screen, log
        self._folder = tempfile.TemporaryDirectory()  # short: a socket's path has room for some 100 characters
        self._socket = str(Path(self._folder.name) / "socket")
        dropped = ("FLASHMESH_TOKEN", "FLASHMESH_ENGINE_PYTHON", "WAYLAND_DISPLAY")
        environment = {name: value for name, value in os.environ.items() if name not in dropped} | {
            "DISPLAY": screen.display,
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "BLENDER_USER_RESOURCES": str(home),
            "OMP_NUM_THREADS": "1",
        }
        geometry = ["--window-geometry", "0", "0", *map(str, screen.size)]
        script = ["--python", str(HERE / "inside.py"), "--", self._socket, sys.executable]
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                ["blender", *geometry, *script], env=environment, stdout=said, stderr=subprocess.STDOUT
            )
        wait_for("Blender to answer", self._answers)

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Calls a function of inside.py."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self._socket)
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.write(json.dumps({"name": name, "arguments": arguments}) + "\n")
                stream.flush()
                line = stream.readline()
        assert line, f"Blender ended:\n{self.said()}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def state(self) -> dict[str, Any]:
        """See inside.state."""
        return self.call("state")

    def until(self, what: str, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The first state that fulfils a condition."""
        seen: list[dict[str, Any]] = []

        def look() -> bool:
            seen[:] = [self.state()]
            return bool(condition(seen[0]))

        try:
            wait_for(what, look)
        except AssertionError as error:
            raise AssertionError(f"{error}; there is {seen}\n{self.said()[-2000:]}") from None
        return seen[0]

    def fresh(self, scene: str, **options: Any) -> None:
        """An empty file with one object by a function of inside.py, selected; the add-on's panel in view."""
        self.call("new_file")
        self.call("prepare", **options)
        wait_for("the sidebar", lambda: self.call("open_tab"))
        self.call(scene)
        self.point_at_viewport()
        self.still()

    def still(self, box: Box | None = None) -> np.ndarray:
        """The pixels when nothing moves any more: those of several full redraws in turn agree."""
        seen: list[np.ndarray] = []

        def look() -> bool:
            drawn = self.call("redraw")
            wait_for("a redraw", lambda: all(now > drawn[kind] for kind, now in self.call("drawn").items()))
            seen.append(self.screen.pixels(box))
            return len(seen) >= 3 and all(np.array_equal(seen[-1], other) for other in seen[-3:-1])

        wait_for("a picture that is still", look)
        return seen[-1]

    def buttons(self, kind: str = "buttons", width: int = 40) -> list[Box]:
        """The boxes of the buttons that can be pressed, at least `width` pixels wide, from the top; or of "options"."""
        self.call(f"mark_{kind}", color=[value / 255 for value in (*MARK, 255)])

        def look() -> list[Box]:
            labels, _ = ndimage.label((self.screen.pixels() == MARK).all(axis=2))
            places = [
                (part[1].start, part[0].start, part[1].stop, part[0].stop) for part in ndimage.find_objects(labels)
            ]
            return [box for box in places if box[2] - box[0] >= width and box[3] - box[1] >= min(12, width)]

        found = wait_for("a button", look)
        self.call(f"mark_{kind}")
        wait_for("the buttons in their own colour", lambda: not look())
        return sorted(found, key=lambda box: (box[1], box[0]))

    def press(self, number: int = 0) -> None:
        """Clicks on a button, counted from the top: 0 is the add-on's Generate or, during a run, Cancel."""
        self.screen.click(self.buttons()[number])

    def another(self) -> None:
        """Clicks on Another Try, which is beside Generate; returns as soon as there is a run."""
        before = self.state()["run"]
        generate = self.buttons()[0]
        beside = next(
            box for box in self.buttons(width=8) if box[0] > generate[2] and generate[1] <= box[1] < generate[3]
        )
        self.screen.click(beside)
        self.until("a run", lambda now: now["run"] != before)

    def adjust(self, number: int) -> None:
        """Ticks a box in Adjust Last Operation (F9), counted from the top, and closes that again."""
        before = self.still()
        self.key("F9")
        self.screen.changed(before)
        self.screen.still()
        places = self.call("layout")
        boxes = [box for box in self.buttons("options", width=8) if box[2] < places["sidebar"][0]]
        self.screen.click(boxes[number], from_left=20)  # the popup closes when the pointer leaves it

    def generate(self) -> None:
        """Clicks on Generate; returns as soon as there is a run."""
        before = self.state()["run"]
        self.press()
        self.until("a run", lambda now: now["run"] != before)

    def ended(self) -> dict[str, Any]:
        """The state after the run."""
        return self.until("the end of the run", lambda now: not now["running"])

    def viewport(self) -> Box:
        """The part of the screen that the viewport fills and neither sidebar nor toolbar covers."""
        places = self.call("layout")
        x, y, _, height = places["viewport"]
        bottom = self.screen.size[1] - y
        return x + 60, bottom - height + 60, places["sidebar"][0] - 20, bottom - 10

    def point_at_viewport(self) -> None:
        """Moves the pointer where keys go to the viewport."""
        left, _, right, bottom = self.viewport()
        self.screen.do("mousemove", (left + right) // 2 - 5, bottom - 40, "mousemove", (left + right) // 2, bottom - 40)

    def drag(self, operator: str, changed: Callable[[dict[str, Any]], Any]) -> None:
        """Moves the pointer once a modal operator has begun, until the state shows it."""
        self.until(operator, lambda now: operator in now["modal"])
        self.screen.do("mousemove_relative", "--", -40, -20)
        self.until("what was dragged", changed)

    def key(self, *names: str) -> None:
        """Presses keys over the viewport."""
        self.point_at_viewport()
        self.screen.do("key", *names)

    def children(self) -> list[int]:
        """The ids of the processes that Blender has started and that still run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                state, parent = path.read_text().rpartition(")")[2].split()[:2]
                if int(parent) == self.process.pid and state != "Z":
                    found.append(int(path.parent.name))
        return sorted(found)

    def said(self) -> str:
        """What Blender printed."""
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        """Ends Blender, and its engine with it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._folder.cleanup()

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"Blender ended:\n{self.said()}"
        try:
            return bool(self.call("layout"))
        except (FileNotFoundError, ConnectionRefusedError):
            return False


def optimised(picture: Image.Image, path: Path, colors: int = 256) -> None:
    """Writes a picture as a small PNG."""
    picture.quantize(colors, dither=Image.Dither.NONE).save(path, optimize=True)
