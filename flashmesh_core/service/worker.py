"""One thread that owns the engine: a bounded queue of generations, loading, cancelling, unloading.

Knows no HTTP: a generation's events leave as protocol frames through the sink that its submitter gave.
"""

from __future__ import annotations

import gc
import logging
import secrets
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flashmesh_core.errors import InputError
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.service import protocol
from flashmesh_core.service.protocol import GenerationRequest, RequestError

EngineFactory = Callable[[str, str], Any]  # (checkpoint, device) -> an engine with `generate`, `warm_up` and `device`
Sink = Callable[["bytes | None"], None]  # takes frames from any thread, then None once
Arrays = Mapping[str, np.ndarray]

QUEUE_LIMIT = 8  # generations that may wait behind the running one
_REMEMBERED = 256  # finished generations whose ids still get an answer other than 404

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Generation:
    """One request on its way through the queue. `snapshot` may be read from any thread."""

    request: GenerationRequest
    sink: Sink
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    cancelled: threading.Event = field(default_factory=threading.Event)
    stage: str = "queued"  # queued, loading, compiling, encoding, decoding
    latest: dict[str, Any] = field(default_factory=dict)  # figures of the newest engine event

    def send(self, kind: str, arrays: Arrays | None = None, **header: Any) -> None:
        """One event frame to the submitter."""
        self.sink(_event(kind, arrays, **header))

    def enter(self, stage: str, **header: Any) -> None:
        """Goes on to the next stage and says so."""
        self.stage = stage
        self.send(stage, **header)

    def on_event(self, event: Any) -> None:
        """Passes a GenerationEvent of the engine on as a frame."""
        self.stage = "decoding"
        names = ("candidate", "n_faces", "n_tokens", "seconds")
        self.latest = {name: getattr(event, name) for name in names}
        if event.kind == "faces":
            self.send("faces", {"faces": event.faces}, **self.latest)
        elif event.kind == "end" and self.request.options.get("candidates", 1) > 1:
            self.send("candidate_end", end_reason=event.end_reason, **self.latest)


class EngineWorker:
    """The queue and the thread behind it. All methods may be called from any thread and return at once.

    `factory(checkpoint, device)` makes the engine when the first generation needs it, in the worker's thread.
    `idle_unload` is the number of seconds without work after which the engine is dropped; None for never. With
    `get_ready` the engine is loaded and compiled at once, not when the first generation comes.
    """

    def __init__(
        self,
        factory: EngineFactory,
        *,
        checkpoint: str = "nano",
        device: str = "auto",
        queue_limit: int = QUEUE_LIMIT,
        idle_unload: float | None = None,
        get_ready: bool = False,
    ) -> None:
        if idle_unload is not None and not idle_unload > 0:
            raise ValueError(f"idle_unload must be a number of seconds > 0, got {idle_unload}")
        if queue_limit < 0:
            raise ValueError(f"queue must be 0 or more generations, got {queue_limit}")
        self.checkpoint, self.device, self.queue_limit = checkpoint, device, queue_limit
        self._factory, self._idle_unload = factory, idle_unload
        self._engine: Any = None
        self._loaded: str | None = None  # the checkpoint that `_engine` was made from
        self._getting_ready = get_ready
        self._is_warm = False  # whether `_engine` has compiled what it runs
        self._state = "idle"  # idle, loading, compiling, busy
        self._current: Generation | None = None
        self._waiting: deque[Generation] = deque()
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._unloading: Future[bool] | None = None
        self._idle_since = time.monotonic()
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="flashmesh-engine", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest, sink: Sink) -> Generation:
        """Puts a request into the queue; its first event, `queued`, is in the sink when this returns.

        Raises RequestError (503) if the queue is full or the service is ending.
        """
        generation = Generation(request, sink)
        with self._changed:
            if self._closing:
                raise RequestError("the service is ending", status=503)
            if len(self._waiting) >= self.queue_limit:
                raise RequestError(
                    f"at most {self.queue_limit} generations may wait, got one more; try again later",
                    status=503,
                )
            generation.send("queued", id=generation.id, position=self._ahead(len(self._waiting)))
            self._waiting.append(generation)
            if self._getting_ready and self._state != "idle":
                generation.enter(self._state, checkpoint=self.checkpoint)
            self._changed.notify_all()
        return generation

    def cancel(self, generation_id: str) -> bool:
        """Whether a generation was still waiting or running and is now told to stop.

        Raises RequestError (404) for an id that was never given out (or long ago).
        """
        with self._changed:
            current = self._current
            if current is not None and current.id == generation_id:
                current.cancelled.set()
                return True
            waiting = next((item for item in self._waiting if item.id == generation_id), None)
            if waiting is not None:
                self._waiting.remove(waiting)
                self._end_unstarted(waiting)
                return True
            if generation_id in self._finished:
                return False
        raise RequestError(f"generation must be an id of this service, got {generation_id!r:.80}", "id", 404)

    def position(self, generation: Generation) -> int:
        """How many generations run or wait ahead of this one."""
        with self._changed:
            return self._ahead(self._waiting.index(generation)) if generation in self._waiting else 0

    def unload(self) -> Future[bool]:
        """Drops the engine and its memory; the future says whether there was one.

        Raises RequestError (409) while a generation runs or waits.
        """
        with self._changed:
            if self._closing:
                raise RequestError("the service is ending", status=503)
            if self._current is not None or self._waiting:
                raise RequestError("the engine cannot be unloaded while it works; cancel first", status=409)
            if self._unloading is None:
                self._unloading = Future()
            self._changed.notify_all()
            return self._unloading

    def status(self) -> dict[str, Any]:
        """State, loaded checkpoint, device, running generation and number of waiting ones."""
        with self._changed:
            return {
                "state": self._state,
                "checkpoint": self._loaded,
                "default_checkpoint": self.checkpoint,
                "device": self.device if self._engine is None else str(self._engine.device),
                "generation": None if self._current is None else self._current.id,
                "queued": len(self._waiting),
            }

    def close(self, timeout: float = 0.0) -> bool:
        """Cancels everything and ends the thread; whether it had ended after `timeout` seconds."""
        with self._changed:
            self._closing = True
            if self._current is not None:
                self._current.cancelled.set()
            while self._waiting:
                self._end_unstarted(self._waiting.popleft())
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _ahead(self, index: int) -> int:
        return index + (self._current is not None)

    def _end_unstarted(self, generation: Generation) -> None:
        generation.cancelled.set()
        self._finish(generation, _end_unstarted())

    def _finish(self, generation: Generation, last: bytes) -> None:
        generation.sink(last)
        self._finished[generation.id] = None
        while len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)
        generation.sink(None)

    def _run(self) -> None:
        if self._getting_ready:
            self._get_ready()
        while True:
            generation, unloading = self._next()
            if generation is not None:
                self._work(generation)
            elif unloading is not None:
                unloading.set_result(self._drop_engine())
            elif self._closing:
                self._drop_engine()
                return
            else:
                self._drop_engine()  # idle for long enough

    def _next(self) -> tuple[Generation | None, Future[bool] | None]:
        """Waits for a generation, an unload, or neither (when closing, or idle for long enough)."""
        with self._changed:
            while True:
                if self._unloading is not None:
                    unloading, self._unloading = self._unloading, None
                    return None, unloading
                if self._closing:
                    return None, None
                if self._waiting:
                    self._current = self._waiting.popleft()
                    return self._current, None
                rest = None
                if self._idle_unload is not None and self._engine is not None:
                    rest = self._idle_since + self._idle_unload - time.monotonic()
                    if rest <= 0:
                        return None, None
                self._changed.wait(rest)

    def _work(self, generation: Generation) -> None:
        try:
            last = self._generate(generation)
        except Exception as error:  # whatever goes wrong in the engine ends this generation, not the service
            refusal = _refusal(error)
            if refusal.status >= 500:
                logger.exception("generation %s failed", generation.id)
            last = _event("error", status=refusal.status, **refusal.to_json())
        with self._changed:  # free again before the client hears of the end
            self._state, self._current = "idle", None
            self._idle_since = time.monotonic()
            self._finish(generation, last)

    def _generate(self, generation: Generation) -> bytes:
        """Runs one generation and returns its last frame."""
        request = generation.request
        options = dict(request.options)
        checkpoint = options.pop("checkpoint", None) or self.checkpoint
        if self._engine is None or self._loaded != checkpoint:
            self._load(checkpoint, generation.enter)
        if not self._is_warm and not generation.cancelled.is_set():
            self._warm_up(generation.enter)
        if generation.cancelled.is_set():
            return _end_unstarted()
        self._state = "busy"
        generation.enter("encoding")
        source = request.points if request.triangles is None else Mesh(request.points, request.triangles)
        result = self._engine.generate(
            source,
            request.normals,
            on_event=generation.on_event,
            cancel=generation.cancelled,
            **options,
        )
        return _end(result)

    def _get_ready(self) -> None:
        """Loads and compiles before anything is asked for; where that fails the first generation tries it again."""

        def tell(stage: str, **header: Any) -> None:
            with self._changed:
                for generation in self._waiting:
                    generation.enter(stage, **header)

        try:
            self._load(self.checkpoint, tell)
            if not self._closing:
                self._warm_up(tell)
        except Exception:
            logger.exception("the engine could not be loaded ahead of its first use")
        with self._changed:
            self._state, self._getting_ready = "idle", False
            self._idle_since = time.monotonic()

    def _load(self, checkpoint: str, tell: Callable[..., None]) -> None:
        self._state = "loading"
        tell("loading", checkpoint=checkpoint)
        self._drop_engine()
        engine = self._factory(checkpoint, self.device)
        with self._changed:
            self._engine, self._loaded, self._is_warm = engine, checkpoint, False

    def _warm_up(self, tell: Callable[..., None]) -> None:
        self._state = "compiling"
        tell("compiling")
        self._engine.warm_up()
        self._is_warm = True

    def _drop_engine(self) -> bool:
        with self._changed:
            had_one = self._engine is not None
            self._engine, self._loaded = None, None
        if had_one:
            gc.collect()
            torch = sys.modules.get("torch")
            if torch is not None and torch.cuda.is_available():
                torch.cuda.empty_cache()
        return had_one


def _event(kind: str, arrays: Arrays | None = None, **header: Any) -> bytes:
    return protocol.encode_frame({"kind": kind, **header}, arrays)


def _end(result: Any) -> bytes:
    """The last event, from a GenerationResult."""
    names = ("end_reason", "candidate", "n_tokens", "seconds", "tokens_per_second", "tokens_per_pass", "seed")
    figures = {name: getattr(result, name) for name in (*names, "chamfer", "hausdorff")}
    figures |= {"gave_up_closure": result.tally.gave_up_closure, **result.told()}
    vertices = np.asarray(result.mesh.vertices, dtype=np.float32).reshape(-1, 3)
    faces = np.asarray(result.mesh.faces, dtype=np.int32).reshape(-1, 3)
    arrays = {"vertices": vertices, "face_indices": faces}
    return _event("end", arrays, n_faces=len(faces), n_vertices=len(vertices), **figures)


def _end_unstarted() -> bytes:
    """The last event of a generation that was cancelled before its first token."""
    arrays = {"vertices": np.zeros((0, 3), np.float32), "face_indices": np.zeros((0, 3), np.int32)}
    names = ("candidate", "n_faces", "n_vertices", "n_tokens", "gave_up_closure", "repaired", "open_edges")
    rates = dict.fromkeys(("seconds", "tokens_per_second", "tokens_per_pass"), 0.0)
    unknown = dict.fromkeys(("seed", "chamfer", "hausdorff", "wanted", "gap", "excess"), None)
    figures = {**dict.fromkeys(names, 0), **rates, **unknown, "verdict": "cancelled before its first face"}
    return _event("end", arrays, end_reason="cancelled", **figures)


# What the engine calls the arrays of a mesh, and the client.
_SENT_AS = {"source": "triangles", "source faces": "triangles", "source vertices": "points"}


def _refusal(error: Exception) -> RequestError:
    """An exception of the engine as what the client is told."""
    if isinstance(error, RequestError):
        return error
    text = str(error) or type(error).__name__
    if isinstance(error, ValueError):
        field = error.field if isinstance(error, InputError) else None
        return RequestError(text, _SENT_AS.get(field or "", field))
    if isinstance(error, ImportError):
        lacks = f"it lacks {error.name!r}" if isinstance(error, ModuleNotFoundError) else "an import fails"
        name = (error.name or "torch").split(".")[0]
        advice = f"install it with: {sys.executable} -m pip install {name}"
        return RequestError(f"the engine cannot be loaded, {lacks} ({text}); {advice}", status=503)
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return RequestError(f"the engine ran out of memory: {text}", status=503)
    return RequestError(f"the engine failed: {type(error).__name__}: {text}", status=500)
