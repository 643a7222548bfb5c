# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work beside the window: a thread that never touches the scene, and what it says meanwhile."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

_KEPT_LINES = 200


class TaskCancelledError(Exception):
    """The user gave the work up."""


class Task:
    """Runs `work(task)` in a thread. `work` calls `tell` and `check`; everything else is for the one who waits."""

    def __init__(self, name: str, work: Callable[[Task], Any]) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.began = time.monotonic()  # what it said last
        self.progress: float | None = None  # in [0, 1]; None where it is unknown
        self.result: Any = None
        self.error: Exception | None = None
        self._work = work
        self._cancel = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"flashmesh {name}", daemon=True)

    def start(self) -> Task:
        """Begins the work in its thread."""
        self._thread.start()
        return self

    def run(self) -> Any:
        """Does the work here and now: its result, or what it raises."""
        self._run()
        if self.error is not None:
            raise self.error
        return self.result

    def tell(self, line: str, progress: float | None = None) -> None:
        """A line for the user and how much is done; an empty line changes only the latter."""
        if line:
            self.lines.append(line)
            self.began = time.monotonic()
        self.progress = progress

    def cancel(self) -> None:
        """Asks the work to end; it does so at its next `check`."""
        self._cancel.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancel.is_set()

    @property
    def done(self) -> bool:
        """Whether the work has ended, well or not."""
        return self._done.is_set()

    def check(self) -> None:
        """Raises TaskCancelledError once `cancel` was called."""
        if self.cancelled:
            raise TaskCancelledError(f"{self.name} was cancelled")

    def wait(self, timeout: float | None = None) -> bool:
        """Waits at most `timeout` seconds for the end; whether it has come."""
        return self._done.wait(timeout)

    @property
    def last_line(self) -> str:
        """What the work said last."""
        return self.lines[-1] if self.lines else ""

    def _run(self) -> None:
        try:
            self.result = self._work(self)
        except Exception as error:
            self.error = error
        finally:
            self._done.set()
