"""One generation on its way through the service: its events as frames, its last frame, and errors as refusals."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flashmesh_core.errors import InputError
from flashmesh_core.options import DEFAULT_FACE_LIMIT, Options
from flashmesh_core.service import protocol
from flashmesh_core.service.protocol import GenerationRequest, RequestError
from flashmesh_core.service.reading import ReadingEndedError

Sink = Callable[["bytes | None"], None]  # takes frames from any thread, then None once
Arrays = Mapping[str, np.ndarray]

REPORT_SECONDS = 0.2  # between two events that say how far one step of reading is


@dataclass(eq=False)
class Generation:
    """One request. Its first fields may be read from any thread; what `work` yields between is the engine thread's."""

    request: GenerationRequest | None  # None once it has ended
    sink: Sink
    seconds_allowed: float | None = None  # from `submitted` to its end
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    cancelled: threading.Event = field(default_factory=threading.Event)
    stage: str = "queued"  # queued, loading, compiling, encoding, decoding
    latest: dict[str, Any] = field(default_factory=dict)  # figures of the newest engine event, or of reading
    submitted: float = field(default_factory=time.monotonic)
    started: float | None = None  # when it stopped waiting
    passed_over: int = 0  # later ones that went first
    used: float = 0.0  # seconds of the engine, counted from the least of those it runs beside
    work: Iterator[bytes | None] | None = None  # steps of the engine; the last one gives the last frame
    last: bytes | None = None  # the last frame, once there is one
    has_failed: bool = False
    _told: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """The options that were given; none once it has ended."""
        return {} if self.request is None else self.request.options

    @property
    def rows(self) -> int:
        """Vertices or triangles of the source, whichever are more; 0 once it has ended."""
        if self.request is None:
            return 0
        return max(len(self.request.points), 0 if self.request.triangles is None else len(self.request.triangles))

    @property
    def cost(self) -> int:
        """Faces that it may write, in all candidates: what short work is known by."""
        options = self.options
        faces = options.get("faces") or options.get("max_faces") or DEFAULT_FACE_LIMIT
        return int(faces) * int(options.get("candidates") or 1)

    @property
    def ends_at(self) -> float | None:
        """When its deadline passes, on the monotonic clock."""
        return None if self.seconds_allowed is None else self.submitted + self.seconds_allowed

    def check(self) -> None:
        """Raises RequestError (504) once the deadline has passed, CancelledError once it was cancelled."""
        if self.cancelled.is_set():
            raise CancelledError
        if self.ends_at is not None and time.monotonic() > self.ends_at:
            message = f"deadline must leave the generation enough time, got {self.seconds_allowed:g} s, which are over"
            raise RequestError(message, "deadline", 504)

    def send(self, kind: str, arrays: Arrays | None = None, **header: Any) -> None:
        """One event frame to the submitter; a sink that fails cancels the generation."""
        self.send_frame(event_frame(kind, arrays, **header))

    def send_frame(self, frame: bytes | None) -> None:
        """As `send`, of a frame that is made already, or None after the last."""
        try:
            self.sink(frame)
        except Exception:
            self.cancelled.set()

    def enter(self, stage: str, **header: Any) -> None:
        """Goes on to the next stage and says so."""
        self.stage = stage
        self.send(stage, **header)

    def on_reading(self, step: str, share: float) -> None:
        """Says how far the reading of the surface is; raises as `check` does."""
        self.check()
        begins = step != self.latest.get("step")
        self.latest = {"step": step, "share": round(min(max(float(share), 0.0), 1.0), 3)}
        if begins or time.monotonic() - self._told > REPORT_SECONDS:
            self._told = time.monotonic()
            self.send("progress", stage=self.stage, position=0, **self.latest)

    def on_event(self, event: Any) -> None:
        """Passes a GenerationEvent of the engine on as a frame."""
        self.stage = "decoding"
        names = ("candidate", "n_faces", "n_tokens", "seconds")
        self.latest = {name: getattr(event, name) for name in names}
        if event.kind == "faces":
            self.send("faces", {"faces": event.faces}, **self.latest)
        elif event.kind == "end" and self.options.get("candidates", 1) > 1:
            self.send("candidate_end", end_reason=event.end_reason, **self.latest)

    def forget(self) -> None:
        """Lets go of the arrays of a generation that has ended."""
        self.request, self.work = None, None


class CancelledError(Exception):
    """The generation was cancelled before its first token."""


def event_frame(kind: str, arrays: Arrays | None = None, **header: Any) -> bytes:
    """The frame of one event."""
    return protocol.encode_frame({"kind": kind, **header}, arrays)


def end_frame(result: Any) -> bytes:
    """The last event, from a GenerationResult."""
    names = ("end_reason", "candidate", "n_tokens", "seconds", "tokens_per_second", "tokens_per_pass", "seed")
    figures = {name: getattr(result, name) for name in (*names, "chamfer", "hausdorff")}
    figures |= {"gave_up_closure": result.tally.gave_up_closure, **result.told()}
    vertices = np.asarray(result.mesh.vertices, dtype=np.float32).reshape(-1, 3)
    faces = np.asarray(result.mesh.faces, dtype=np.int32).reshape(-1, 3)
    arrays = {"vertices": vertices, "face_indices": faces}
    return event_frame("end", arrays, n_faces=len(faces), n_vertices=len(vertices), **figures)


def unstarted_frame() -> bytes:
    """The last event of a generation that was cancelled before its first token."""
    arrays = {"vertices": np.zeros((0, 3), np.float32), "face_indices": np.zeros((0, 3), np.int32)}
    names = (
        "candidate", "n_faces", "n_vertices", "n_tokens", "gave_up_closure", "repaired", "open_edges",
        "strays", "gashes",
    )  # fmt: skip
    rates = dict.fromkeys(("seconds", "tokens_per_second", "tokens_per_pass"), 0.0)
    unknown = dict.fromkeys(("seed", "chamfer", "hausdorff", "wanted", "gap", "excess"), None)
    figures = {**dict.fromkeys(names, 0), **rates, **unknown, "verdict": "cancelled before its first face"}
    return event_frame("end", arrays, end_reason="cancelled", **figures)


def error_frame(refusal: RequestError) -> bytes:
    """The last event of a generation that failed."""
    return event_frame("error", status=refusal.status, **refusal.to_json())


# What the engine calls the arrays of a mesh, and the client.
_SENT_AS = {"source": "triangles", "source faces": "triangles", "source vertices": "points"}


def refusal_of(error: BaseException) -> RequestError:
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
    if isinstance(error, ReadingEndedError):
        return RequestError(f"{text}; try again, or with a smaller source", status=503)
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return RequestError(f"the engine ran out of memory: {text}", status=503)
    return RequestError(f"the engine failed: {type(error).__name__}: {text}", status=500)


def steps(generation: Generation, engine: Any, source: Any, options: Options, count: int) -> Iterator[bytes | None]:
    """The engine's passes for a generation, with None after each, and at last its last frame."""
    decoding = engine.run([source], options, candidates=count, cancel=generation.cancelled)
    for events in decoding.passes():
        for event in events:
            generation.on_event(event)
        yield None
    results = []
    for index in range(count):
        results.append(decoding.result(index))
        yield None
    yield end_frame(min(results, key=lambda result: result.distance))


def last_frame(error: BaseException) -> bytes:
    """The last event of a generation that ended in an exception."""
    return unstarted_frame() if isinstance(error, CancelledError) else error_frame(refusal_of(error))
