# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread that talks to an engine, one a generation. Nothing here touches bpy."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from flashmesh_core.service.protocol import EngineError, RequestError

from .request import Request

Event = dict[str, Any]


class Cancellation(threading.Event):
    """An event that also runs what was hooked to it, once, in a thread of its own: `set` never waits."""

    def __init__(self) -> None:
        super().__init__()
        self._hook: Callable[[], Any] | None = None
        self._guard = threading.Lock()

    def set(self) -> None:
        """As Event.set."""
        with self._guard:
            super().set()
            hook, self._hook = self._hook, None
        if hook is not None:
            threading.Thread(target=_quietly, args=(hook,), name="flashmesh-cancel", daemon=True).start()

    def hook(self, action: Callable[[], Any] | None) -> None:
        """`action` is called when this is set, or now if it is set already; None takes the last one away."""
        with self._guard:
            waits = not self.is_set()
            self._hook = action if waits else None
        if not waits and action is not None:
            _quietly(action)


def _quietly(action: Callable[[], Any]) -> None:
    with suppress(EngineError, RequestError):  # it has ended meanwhile
        action()


class Engine(Protocol):
    """One engine, wherever it runs. All methods may be called from any thread; `status` returns at once."""

    trouble: str  # why it last ended by itself, or did not start

    def generate(self, request: Request, cancel: Cancellation) -> Iterator[Event]:
        """The events of one generation; raises EngineError."""

    def start(self) -> None:
        """Gets it ready; raises EngineError."""

    def stop(self, timeout: float = 5.0) -> None:
        """Ends what was started for it, and the generation that runs."""

    def free(self) -> None:
        """Drops the model from memory; raises EngineError while it works."""

    def refresh(self) -> None:
        """Asks for its health; may block for some seconds."""

    def status(self) -> Event:
        """`state` (stopped, starting, running, unknown) and, where known, what health says."""


class Job:
    """One generation in a thread of its own. The main thread drains its events and may cancel it."""

    def __init__(self, engine: Engine, prepare: Callable[[], Request]) -> None:
        self.cancellation = Cancellation()
        self.request: Request | None = None  # there once an event after `sampling` has come
        self._engine, self._prepare = engine, prepare
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="flashmesh-job", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Ends it soon; returns at once."""
        self.cancellation.set()

    def join(self, timeout: float) -> bool:
        """Waits for the thread; whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def drain(self, wait: float = 0.0) -> list[Event]:
        """The events since the last call; waits up to `wait` seconds for the first. The last is `end` or `failed`."""
        events: list[Event] = []
        with suppress(queue.Empty):
            if wait > 0.0:
                events.append(self._events.get(timeout=wait))
            while True:
                events.append(self._events.get_nowait())
        return events

    def _run(self) -> None:
        try:
            self._events.put({"kind": "sampling"})
            self.request = self._prepare()
            if self.cancellation.is_set():
                raise EngineError("cancelled")
            for event in self._engine.generate(self.request, self.cancellation):
                self._events.put(event)
        except (EngineError, RequestError) as error:
            self._events.put({"kind": "failed", "message": error.message, "field": error.field})
        except ValueError as error:
            self._events.put({"kind": "failed", "message": str(error), "field": "points"})
        except Exception as error:  # a thread must not end in silence
            self._events.put({"kind": "failed", "message": f"{type(error).__name__}: {error}", "field": None})
