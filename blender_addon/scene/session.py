# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over the objects that were selected: drains the worker's events, grows the mesh, ends cleanly.

Everything is driven by `Run.tick` on the main thread. Objects are found anew each time by their session id, since
undo and deletion replace or free what a kept reference would point at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import bpy
import numpy as np

from flashmesh_core.mesh.sheets import separate_sheets

from ..engine.generation import Engine, Event, Job
from ..engine.request import RunSettings, make_request
from ..translations import tr
from . import mesh_bridge
from .density import denser_where_painted
from .figures import STAGES, Progress, Result, figures_of
from .growing import GrowingMesh
from .halves import Half, half_of
from .hard_edges import read_hard_edges
from .mesh_bridge import Surface
from .outline import Outline
from .patches import read_patch
from .results import Key, Placement, find, key_of, select_results, selected_ids

CANCEL_SECONDS = 0.4  # that the engine has for its last word once a run is cancelled
_ENGINE_FIELDS = ("python", "address", "device", "checkpoint", "faces", "options")  # no other object would fare better


@dataclass
class Run:
    """A run from its first tick to its end. `active` and `last` of this module hold the newest ones."""

    sources: Sequence[Key]
    settings: RunSettings
    engine: Engine
    scene: int  # session id
    again: bool = False  # the last mesh with other finishing touches: the engine is not asked again
    progress: Progress = field(default_factory=Progress)
    results: list[Result] = field(default_factory=list)
    messages: list[tuple[str, str]] = field(default_factory=list)  # (level of Operator.report, text)
    outcome: str = ""  # finished, cancelled, failed; empty while it runs
    at_end: list[Callable[[], None]] = field(default_factory=list)  # timers and the like to take away

    def __post_init__(self) -> None:
        self.progress.of, self.progress.wanted = len(self.sources), self.settings.engine_faces
        self._wanted = self.settings  # of the object at hand: a share of its faces is a number then
        self._next = 0
        self._job: Job | None = None
        self._placement: Placement | None = None
        self._ending: Event | None = None  # the engine's last word, while quads are planned
        self._half: Half | None = None  # what the engine is given where the result shall be symmetric
        self._made: list[Key] = []
        self._selected: frozenset[int] = frozenset()  # session ids of what was selected at the beginning
        self._growing = GrowingMesh()
        self._center = np.zeros(3)  # add it to what the engine says
        self._cancelled_at: float | None = None
        self._looked_at: float | None = None  # when the engine began with the surface
        self._outline = Outline()
        self.at_end.append(self._outline.remove)

    @property
    def ended(self) -> bool:
        """Whether it is over: nothing of it runs any more and nothing is left to tick."""
        return bool(self.outcome)

    @property
    def cancelling(self) -> bool:
        """Whether it was told to stop and has not done so yet."""
        return self._cancelled_at is not None and not self.ended

    def cancel(self, why: str = "") -> None:
        """Stops the engine's work; a later tick ends the run, within CANCEL_SECONDS. Returns at once."""
        if self.ended or self._cancelled_at is not None:
            return
        self._cancelled_at = time.monotonic()
        self.messages.append(("INFO", why or tr("cancelled")))
        if self._job is not None:
            self._job.cancel()

    def tick(self, context: bpy.types.Context, wait: float = 0.0) -> None:
        """Takes in what has come from the engine; `wait` seconds for the first event where nothing else runs."""
        if self.ended:
            return
        why = self._interruption(context)
        if why:
            self.messages.append(("WARNING", why))
            if self._job is not None:
                self._job.cancel()
            self._conclude(context, "cancelled", unfinished=True)
        elif self._ending is not None:
            self._pair(context, wait)
        elif self._job is None:
            self._begin_next(context)
        else:
            self._take_in(context, self._job.drain(wait))
            if self._cancelled_at is not None and time.monotonic() - self._cancelled_at > CANCEL_SECONDS:
                self._conclude(context, "cancelled", unfinished=True)

    def abandon(self) -> None:
        """Ends without a touch to Blender's data: for when the file is about to go, or Blender itself."""
        if self.ended:
            return
        if self._job is not None:
            self._job.cancel()
        self._end("cancelled")

    def join(self, timeout: float) -> bool:
        """Waits for the worker thread; whether there is none any more."""
        return self._job is None or self._job.join(timeout)

    def _interruption(self, context: bpy.types.Context) -> str:
        """What happened to the scene or the mesh that this run cannot go on with."""
        if context.scene is None or context.scene.session_uid != self.scene:
            return tr("stopped: another scene is shown")
        if context.mode != "OBJECT":
            return tr("stopped: the mode was changed")
        if self._placement is not None and self._placement.made and self._placement.result() is None:
            return tr("stopped: the growing mesh was deleted or undone")
        return ""

    def _begin_next(self, context: bpy.types.Context) -> None:
        """Reads the next object and gives it to a worker; ends the run after the last one."""
        if self._cancelled_at is not None or self._next >= len(self.sources):
            self._conclude(context, self._outcome_at_end())
            return
        if self._next == 0:
            self._selected = selected_ids(context)
        key = self.sources[self._next]
        self._next += 1
        self.progress.source, self.progress.number = key.name, self._next
        self._enter("sampling")
        self._looked_at = None
        self.progress.faces, self.progress.faces_per_second = 0, 0.0
        self._growing.clear()
        obj = find(key)
        if obj is None:
            self.messages.append(("WARNING", tr("{name} is gone", name=repr(key.name))))
            return
        try:
            given = self._read(context, obj, key)
        except ValueError as error:
            self.messages.append(("ERROR", str(error)))
            return
        known = self._answer_before(key)
        if known is not None:
            self._center = known.center
            self._finish_object(context, known.event)
            return
        origin = np.array(obj.matrix_world.translation, dtype=np.float64)
        self._job = Job(self.engine, partial(make_request, given.vertices, given.faces, self._wanted, origin))

    def _read(self, context: bpy.types.Context, obj: bpy.types.Object, key: Key) -> Surface | Half:
        """Reads an object and makes its placement; what the engine is given of it. Raises ValueError."""
        if self.settings.selected_only:
            return self._read_patch(obj, key)
        hard = None
        with mesh_bridge.shown(obj, context):
            depsgraph = context.evaluated_depsgraph_get()
            surface = given = mesh_bridge.read_surface(obj, depsgraph, uvs=self.settings.transfer_uvs)
            self._wanted = self.settings.for_source(obj.name, len(surface.faces))
            if self._wanted.hard_edges:
                hard = read_hard_edges(obj, depsgraph)
            if self._wanted.density:
                given = denser_where_painted(context, obj, surface, self._wanted.density, self._wanted.faces)
        self._half = None if self._wanted.symmetry == "NONE" else half_of(given, self._wanted.symmetry)
        self.progress.wanted = self._wanted.engine_faces
        self._placement = Placement(key, surface, hard)
        return self._half or given

    def _read_patch(self, obj: bpy.types.Object, key: Key) -> Surface:
        """As `_read` for the selected faces of an object."""
        if self.settings.symmetry != "NONE" or self.settings.density:
            raise ValueError("symmetry and density must be off for selected faces alone, got one of them")
        patch = read_patch(obj)
        self._wanted = self.settings.for_source(obj.name, len(patch.part.faces))
        self._half, self.progress.wanted = None, self._wanted.engine_faces
        self._placement = Placement(key, patch.whole, None, patch)
        return patch.part

    def _answer_before(self, key: Key) -> Answer | None:
        """What the engine said the last time, where the same is asked of it again."""
        known = _answers.get(key.uid) if self.again else None
        return known if known is not None and known.options == self._wanted.engine_options() else None

    def _outcome_at_end(self) -> str:
        if self._cancelled_at is not None:
            return "cancelled"
        return "finished" if self.results else "failed"

    def _take_in(self, context: bpy.types.Context, events: list[Event]) -> None:
        newest: list[np.ndarray] = []
        for event in events:
            kind = event["kind"]
            if kind == "faces":
                self._enter("decoding")
                if event["candidate"] == 0:
                    newest.append(event["faces"])
            elif kind == "progress":
                self._enter(event["stage"])
                self.progress.step, self.progress.step_share = event.get("step", ""), event.get("share", 0.0)
            elif kind == "restarting":
                newest.clear()
                self._void(event["reason"])
            elif kind in ("end", "failed"):
                self._grow(context, newest)
                self._job = None
                if kind == "end":
                    self._finish_object(context, event)
                else:
                    self._fail_object(context, event)
                return
            elif kind in STAGES:
                self.progress.reason = event.get("reason") or self.progress.reason
                self._enter(kind)
        self._grow(context, newest)

    def _enter(self, stage: str) -> None:
        if stage != self.progress.stage:
            self.progress.stage, self.progress.entered = stage, time.monotonic()
            self.progress.step, self.progress.step_share = "", 0.0
            if stage == "encoding":
                self._looked_at = self.progress.entered

    def _grow(self, context: bpy.types.Context, newest: list[np.ndarray]) -> None:
        """Puts new faces, each (k, 3, 3), into the mesh; the first ones make the object."""
        if not newest or self._job is None or self._job.request is None or self._placement is None:
            return
        self._center = self._job.request.center
        corners = np.concatenate(newest)
        self._growing.append(corners)
        self.progress.faces = len(self._growing.faces)
        elapsed = time.monotonic() - self.progress.entered
        self.progress.faces_per_second = self.progress.faces / elapsed if elapsed > 0.5 else 0.0
        self._placement.put(context, self._growing.vertices + self._center, self._growing.faces)
        self._outline.show(corners + self._center)

    def _void(self, reason: str) -> None:
        """The engine begins this object again: what there is of it goes."""
        self.progress.reason, self.progress.faces = reason, 0
        self.messages.append(("WARNING", tr("{reason}; it was started again", reason=reason)))
        self._enter("restarting")
        self._growing.clear()
        if self._placement is not None:
            self._placement.empty()

    def _finish_object(self, context: bpy.types.Context, event: Event) -> None:
        """The last word of the engine: its welded mesh takes the place of the growing one."""
        placement = self._placement
        assert placement is not None
        cut_short = event["end_reason"] == "cancelled"
        if cut_short and self._cancelled_at is None:
            self.messages.append(("WARNING", tr("the engine's work was cancelled from elsewhere")))
            self._cancelled_at = time.monotonic()
        faces = event["face_indices"]
        if cut_short and not (len(faces) and self.settings.keep_unfinished):
            self._conclude(context, "cancelled", unfinished=True)
            return
        if not len(faces):
            self.messages.append(("ERROR", f"{placement.source.name!r}: no faces came; try another seed"))
            placement.remove()
        else:
            vertices = np.asarray(event["vertices"], dtype=np.float64) + self._center
            if self._half is not None:
                vertices, faces = self._half.whole(vertices, faces)
            placement.put(context, *separate_sheets(vertices, faces))
            _answers[placement.source.uid] = Answer(self._wanted.engine_options(), self._center, event)
            self._finish_mesh(context, placement)
            if placement.plan is not None:
                self._ending = event
                self._enter("pairing")
                return
            self._complete(context, placement, event)
        self._placement = None

    def _pair(self, context: bpy.types.Context, wait: float) -> None:
        """Waits for the plan of quads; once the run is cancelled the result is left in triangles."""
        placement, event = self._placement, self._ending
        assert placement is not None and placement.plan is not None and event is not None
        if placement.plan.wait(wait) or self._cancelled_at is not None:
            self._placement = self._ending = None
            self._complete(context, placement, event)

    def _finish_mesh(self, context: bpy.types.Context, placement: Placement) -> None:
        said = placement.finish(context, self._wanted)
        if said:
            self.messages.append(("INFO", said))

    def _complete(self, context: bpy.types.Context, placement: Placement, event: Event) -> None:
        """The last touches and the figures; none while the artist edits the result: then there is no mesh to read."""
        result = placement.result()
        if result is None or result.mode != "OBJECT":
            return
        said = placement.complete(context, result, self._wanted)
        if said:
            self.messages.append(("INFO", said))
        self._made.append(key_of(result))
        took = (
            None if self._looked_at is None or not event.get("tokens_per_pass") else time.monotonic() - self._looked_at
        )
        self.results.append(figures_of(result, placement, self._wanted, event, took))

    def _fail_object(self, context: bpy.types.Context, event: Event) -> None:
        placement, self._placement = self._placement, None
        if self._cancelled_at is not None:
            self._placement = placement
            self._conclude(context, "cancelled", unfinished=True)
            return
        if placement is not None:
            placement.remove()
        self.messages.append(("ERROR", event["message"]))
        if event["field"] is None or event["field"] in _ENGINE_FIELDS:
            self._conclude(context, "failed")

    def _conclude(self, context: bpy.types.Context, outcome: str, *, unfinished: bool = False) -> None:
        """Ends the run; `unfinished`: there may be a mesh that is not complete, kept or not as the settings say."""
        placement, self._placement = self._placement, None
        event, self._ending = self._ending, None
        if unfinished and placement is not None and placement.result() is not None:
            if event is not None:  # all but its quads is there
                self._complete(context, placement, event)
            elif self.settings.keep_unfinished and len(self._growing.faces):
                self._finish_mesh(context, placement)
                self._complete(context, placement, {"end_reason": "cancelled"})
            else:
                placement.remove()
        elif placement is not None:
            placement.bring_back()
        if self._made:
            select_results(context, self._made, self._selected)
        self._end(outcome)

    def _end(self, outcome: str) -> None:
        self.outcome = outcome
        for action in self.at_end:
            action()
        self.at_end.clear()


@dataclass(frozen=True, eq=False)
class Answer:
    """What the engine said of one object in the last run."""

    options: dict[str, Any]
    center: np.ndarray  # add it to the event's places
    event: Event


_answers: dict[int, Answer] = {}  # by the session id of the source
active: Run | None = None  # that runs
last: Run | None = None  # whose results the panel shows


def begin(
    sources: Sequence[Key], settings: RunSettings, engine: Engine, scene: bpy.types.Scene, *, again: bool = False
) -> Run:
    """The one run that there can be at a time. Raises RuntimeError while another one is not over.

    With `again` what the engine said the last time is finished anew, where it was asked for the same.
    """
    global active, last
    if active is not None and not active.ended:
        raise RuntimeError("another run is not over yet")
    if not again:
        _answers.clear()
    active = last = Run(sources, settings, engine, scene.session_uid, again)
    active.at_end.append(_forget)
    return active


def _forget() -> None:
    global active
    active = None


def abandon(timeout: float = 0.0) -> None:
    """Ends the run that there is, if any, without a touch to Blender's data."""
    run = active
    if run is not None:
        run.abandon()
        if timeout > 0.0:
            run.join(timeout)
