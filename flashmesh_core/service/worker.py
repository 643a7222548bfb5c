"""One thread that owns the engine: a bounded queue, loading, turns between generations, cancelling, unloading.

Knows no HTTP: a generation's events leave as protocol frames through the sink that its submitter gave. Surfaces are
read beside the thread (reading.py), and passes of several generations alternate (turns.py), so that nobody waits for
what somebody else reads or for the end of somebody else's mesh.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.options import Options
from flashmesh_core.service import turns
from flashmesh_core.service.generation import CancelledError, Generation, Sink, last_frame, steps, unstarted_frame
from flashmesh_core.service.holder import EngineFactory, EngineHolder
from flashmesh_core.service.memory import give_back_memory
from flashmesh_core.service.metrics import Counts
from flashmesh_core.service.protocol import GenerationRequest, RequestError, cut
from flashmesh_core.service.reading import SMALL, Readers

QUEUE_LIMIT = 8  # generations that may wait behind the running ones
PARALLEL = 4  # generations that share the engine
MAX_PARALLEL = 64
_REMEMBERED = 256  # finished generations whose ids still get an answer other than 404
_TIDY_ROWS = 50_000  # of a source: memory is given back once a generation that had so many has ended

logger = logging.getLogger(__name__)


class EngineWorker:
    """The queue and the thread behind it. All methods may be called from any thread and return at once.

    `factory(checkpoint, device)` makes the engine when the first generation needs it, in the worker's thread.
    `idle_unload` is the number of seconds without work after which the engine is dropped; None for never. `deadline` is
    the number of seconds that a generation may take which names none itself; None for any. With `get_ready` the engine
    is loaded and compiled at once, not when the first generation comes.
    """

    def __init__(
        self,
        factory: EngineFactory,
        *,
        checkpoint: str = "nano",
        device: str = "auto",
        queue_limit: int = QUEUE_LIMIT,
        parallel: int = PARALLEL,
        deadline: float | None = None,
        idle_unload: float | None = None,
        get_ready: bool = False,
    ) -> None:
        for name, seconds in (("idle_unload", idle_unload), ("deadline", deadline)):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} must be a number of seconds > 0, got {seconds}")
        if queue_limit < 0:
            raise ValueError(f"queue must be 0 or more generations, got {queue_limit}")
        if not 1 <= parallel <= MAX_PARALLEL:
            raise ValueError(f"parallel must be in [1, {MAX_PARALLEL}] generations, got {parallel}")
        self.checkpoint, self.device, self.queue_limit = checkpoint, device, queue_limit
        self.parallel, self.deadline = parallel, deadline
        self.counts = Counts()  # written under the lock
        self._held, self._idle_unload = EngineHolder(factory, device), idle_unload
        self._getting_ready = get_ready
        self._state = "idle"  # idle, loading, compiling, busy
        self._running: list[Generation] = []
        self._waiting: deque[Generation] = deque()
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._unloading: Future[bool] | None = None
        self._idle_since = self._stepped = time.monotonic()
        self._failure: str | None = None  # why the thread was last started anew
        self._closing, self._is_untidy = False, False
        self._readers = Readers()
        self._changed = threading.Condition()
        self._thread = self._start_thread()

    def submit(self, request: GenerationRequest, sink: Sink) -> Generation:
        """Puts a request into the queue; its first event, `queued`, is in the sink when this returns.

        Raises RequestError (503) if the queue is full or the service is ending.
        """
        seconds = request.options.get("deadline") or self.deadline
        generation = Generation(request, sink, seconds)
        with self._changed:
            self._ensure_thread()
            if self._closing:
                raise RequestError("the service is ending", status=503)
            if len(self._waiting) >= self.queue_limit + self.parallel - len(self._running):
                self.counts.add("refused")
                raise RequestError(
                    f"at most {self.queue_limit} generations may wait, got one more; try again later",
                    status=503,
                )
            generation.send("queued", id=generation.id, position=len(self._running) + len(self._waiting))
            self._waiting.append(generation)
            self.counts.add("submitted")
            if self._getting_ready and self._state != "idle":
                generation.enter(self._state, checkpoint=self.checkpoint)
            self._changed.notify_all()
        return generation

    def cancel(self, generation_id: str) -> bool:
        """Whether a generation was still waiting or running and is now told to stop.

        Raises RequestError (404) for an id that was never given out (or long ago).
        """
        with self._changed:
            waiting = next((item for item in self._waiting if item.id == generation_id), None)
            if waiting is not None:
                self._waiting.remove(waiting)
                self._finish(waiting, unstarted_frame(), "cancelled")
                return True
            for running in self._running:
                if running.id == generation_id:
                    running.cancelled.set()
                    self._changed.notify_all()
                    return True
            if generation_id in self._finished:
                return False
        raise RequestError(f"generation must be an id of this service, got {generation_id!r:.80}", "id", 404)

    def position(self, generation: Generation) -> int:
        """How many generations run or wait ahead of this one."""
        with self._changed:
            if generation not in self._waiting:
                return 0
            return len(self._running) + self._waiting.index(generation)

    def unload(self) -> Future[bool]:
        """Drops the engine and its memory; the future says whether there was one.

        Raises RequestError (409) while a generation runs or waits.
        """
        with self._changed:
            self._ensure_thread()
            if self._closing:
                raise RequestError("the service is ending", status=503)
            if self._running or self._waiting:
                raise RequestError("the engine cannot be unloaded while it works; cancel first", status=409)
            if self._unloading is None:
                self._unloading = Future()
            self._changed.notify_all()
            return self._unloading

    def status(self) -> dict[str, Any]:
        """State, loaded checkpoint, device, who runs and waits, and whether the thread had to be started anew."""
        with self._changed:
            self._ensure_thread()
            now = time.monotonic()
            oldest = min((item.submitted for item in self._waiting), default=now)
            return {
                "state": self._state,
                "checkpoint": self._held.checkpoint,
                "default_checkpoint": self.checkpoint,
                "device": self._held.device,
                "generation": self._running[0].id if self._running else None,
                "running": [item.id for item in self._running],
                "parallel": self.parallel,
                "queued": len(self._waiting),
                "queue_limit": self.queue_limit,
                "longest_wait_seconds": round(now - oldest, 3),
                "mean_wait_seconds": round(self.counts.mean_wait, 3),
                "silent_seconds": round(now - self._stepped, 3) if self._running else 0.0,
                "restarts": self.counts.totals["restarts"],
                "last_failure": self._failure,
            }

    def close(self, timeout: float = 0.0) -> bool:
        """Cancels everything and ends the thread; whether it had ended after `timeout` seconds."""
        with self._changed:
            self._closing = True
            for running in self._running:
                running.cancelled.set()
            while self._waiting:
                self._finish(self._waiting.popleft(), unstarted_frame(), "cancelled")
            self._changed.notify_all()
        self._readers.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # ---------------------------------------------------------------- the thread

    def _start_thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._supervise, name="flashmesh-engine", daemon=True)
        thread.start()
        return thread

    def _ensure_thread(self) -> None:
        """Starts the thread anew should it have ended, however that came about; the lock is held."""
        if not self._thread.is_alive() and not self._closing:
            self._give_up("the engine's thread has ended")
            self._thread = self._start_thread()

    def _supervise(self) -> None:
        while True:
            try:
                self._serve()
                return
            except BaseException as error:  # not of one generation, those are caught: the loop itself is broken
                logger.exception("the engine's thread failed")
                with self._changed:
                    self._give_up(f"the engine's thread failed: {type(error).__name__}: {error}")

    def _give_up(self, reason: str) -> None:
        """Ends all that runs with the reason, drops the engine, and counts a restart; the lock is held."""
        self._failure = cut(reason, 500)
        self.counts.add("restarts")
        self._held.forget()
        self._state = "idle"
        message = f"{self._failure}; it was started anew, try again"
        for generation in list(self._running):
            generation.cancelled.set()  # its reading, should it still run
            self._finish(generation, last_frame(RequestError(message, status=500)), "failed")
        if self._unloading is not None:
            self._unloading.set_result(True)
            self._unloading = None

    def _serve(self) -> None:
        if self._getting_ready:
            self._get_ready()
        while (task := self._next()) is not None:
            task()
            self._stepped = time.monotonic()

    def _next(self) -> Callable[[], object] | None:
        """Waits until there is something to do; None once the worker is closed and all has ended."""
        with self._changed:
            while True:
                self._end_overdue()
                if self._unloading is not None:
                    unloading, self._unloading = self._unloading, None
                    return lambda: unloading.set_result(self._drop())
                starting = self._next_to_start()
                if starting is not None:
                    return lambda: self._start(starting)
                due = turns.next_to_step(self._running)
                if due is not None:
                    return lambda: self._step(due)
                if self._closing and not self._running:
                    self._drop()
                    return None
                if self._is_untidy and not self._running:
                    self._is_untidy = False
                    return give_back_memory
                rest = self._rest()
                if rest is not None and rest <= 0:
                    return self._drop
                self._changed.wait(rest)

    def _rest(self) -> float | None:
        """Seconds until a deadline or until the engine is idle for too long; None if nothing is to come."""
        now, until = time.monotonic(), [item.ends_at for item in self._waiting if item.ends_at is not None]
        rests = [max(moment - now, 0.01) for moment in until]
        if self._idle_unload is not None and self._held.engine is not None and not self._running:
            rests.append(self._idle_since + self._idle_unload - now)
        return min(rests, default=None)

    def _end_overdue(self) -> None:
        """Ends those that wait although their deadline has passed; the lock is held."""
        for generation in list(self._waiting):
            try:
                generation.check()
            except (RequestError, CancelledError) as error:
                self._waiting.remove(generation)
                how = "cancelled" if isinstance(error, CancelledError) else "failed"
                self._finish(generation, last_frame(error), how)

    def _next_to_start(self) -> Generation | None:
        """Takes the generation that starts now out of the queue, if one does; the lock is held."""
        chosen = turns.next_to_start(self._waiting, self._running, self.parallel)
        if chosen is None:
            return None
        if self._running and self._held.checkpoint not in (None, chosen.options.get("checkpoint") or self.checkpoint):
            return None  # another checkpoint is loaded once those that run have ended
        for other in self._waiting:
            other.passed_over += other.submitted < chosen.submitted
        self._waiting.remove(chosen)
        turns.join(chosen, self._running)
        self._running.append(chosen)
        chosen.started = time.monotonic()
        self.counts.waited(chosen.started - chosen.submitted)
        self._state = "busy"
        return chosen

    def _start(self, generation: Generation) -> None:
        """Loads what the generation needs, and lets its surface be read."""
        try:
            if generation.rows > SMALL:  # it imports what it needs while the engine is loaded
                self._readers.start()
            checkpoint = generation.options.get("checkpoint") or self.checkpoint
            if self._held.engine is None or self._held.checkpoint != checkpoint:
                self._state = "loading"
                generation.enter("loading", checkpoint=checkpoint)
                self._held.load(checkpoint)
            if not self._held.is_warm and not generation.cancelled.is_set():
                self._state = "compiling"
                generation.enter("compiling")
                self._held.warm_up(self._readers, generation)
            self._state = "busy"
            generation.check()
            generation.enter("encoding")
            arguments = (generation, self._held.engine)
            threading.Thread(target=self._read, args=arguments, name="flashmesh-reading", daemon=True).start()
        except BaseException as error:  # whatever it is, it ends this generation, not the service
            self._fail(generation, error)

    def _get_ready(self) -> None:
        """Loads and compiles before anything is asked for; where that fails the first generation tries it again."""

        def tell(stage: str, **header: Any) -> None:
            with self._changed:
                self._state = stage
                for generation in self._waiting:
                    generation.enter(stage, **header)

        try:
            tell("loading", checkpoint=self.checkpoint)
            self._held.load(self.checkpoint)
            if not self._closing:
                tell("compiling")
                self._held.warm_up(self._readers)
        except Exception:
            logger.exception("the engine could not be loaded ahead of its first use")
        with self._changed:
            self._state, self._getting_ready = "idle", False
            self._idle_since = time.monotonic()

    def _read(self, generation: Generation, engine: Any) -> None:
        """Reads the surface, in a thread of its own; then the engine's thread goes on with `work`."""
        try:
            request = generation.request
            if request is None:
                return
            options = dict(request.options)
            for name in ("checkpoint", "deadline"):
                options.pop(name, None)
            candidates = options.pop("candidates", 1)
            given = request.points if request.triangles is None else Mesh(request.points, request.triangles)
            checked = Options.of(options)
            report, using = generation.on_reading, self._readers.prepare
            source = engine.prepare(given, request.normals, checked, report, using, candidates=candidates)
            work = steps(generation, engine, source, checked, candidates)
            with self._changed:
                generation.work = work
                self._changed.notify_all()
        except BaseException as error:  # a thread must not end in silence
            self._fail(generation, error)

    def _step(self, generation: Generation) -> None:
        """The next step of a generation, which is its end where there is none."""
        began = time.monotonic()
        try:
            if generation.last is None and generation.work is not None:
                if not generation.cancelled.is_set():
                    generation.check()
                generation.last = next(generation.work)
        except BaseException as error:
            self._fail(generation, error)
        generation.used += time.monotonic() - began
        if generation.last is not None:
            with self._changed:
                self._finish(generation, generation.last, "failed" if generation.has_failed else "ended")

    def _fail(self, generation: Generation, error: BaseException) -> None:
        """Lets a generation end with an error (or as cancelled); the engine's thread says so when it is its turn."""
        if not isinstance(error, (CancelledError, RequestError, ValueError)):
            logger.error("generation %s failed", generation.id, exc_info=error)
        with self._changed:
            generation.has_failed = not isinstance(error, CancelledError)
            generation.last = last_frame(error)
            self._changed.notify_all()

    def _drop(self) -> bool:
        self._readers.rest()
        return self._held.drop()

    def _finish(self, generation: Generation, last: bytes, how: str) -> None:
        """Sends the last frame of a generation, which is free of it before its client hears; the lock is held."""
        if generation in self._running:
            self._running.remove(generation)
            self._state = "busy" if self._running else "idle"
            self._idle_since = time.monotonic()
        if generation.id in self._finished:
            return
        how = "cancelled" if how == "ended" and generation.cancelled.is_set() else how
        self.counts.add(how)
        for name in ("tokens", "faces"):
            self.counts.add(name, int(generation.latest.get(f"n_{name}") or 0))
        self._is_untidy = self._is_untidy or generation.rows > _TIDY_ROWS
        generation.forget()
        self._finished[generation.id] = None
        while len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)
        generation.send_frame(last)
        generation.send_frame(None)
