# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a run while it goes on, and of each result."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import bpy

from ..engine.generation import Event
from ..engine.request import RunSettings
from . import mesh_bridge
from .measure import Gap, measure_gap
from .results import Placement

COMPLETE = "complete"  # the engine's verdict on a mesh without faults
FAULTS = (  # that its verdict may name, with their values
    "it has no faces",
    "cancelled before its first face",
    "it was cut off before its end: cancelled",
    "{count} edges are open although the source is closed",
    "faces that look the wrong way: {count}, {proxy} in the proxy mesh",
    "faces that look the wrong way: {count}",
    "faces over the vertices of others: {count}, {proxy} in the proxy mesh",
    "faces over the vertices of others: {count}",
    "{share} % of the longest side are missing somewhere",
    "it has {count} faces, not within {share} of the {wanted} wanted",
)
STAGES = {
    "sampling": "Reading the object",
    "starting": "Starting the engine",
    "restarting": "Restarting the engine",
    "queued": "Waiting for the engine",
    "loading": "Loading the model",
    "compiling": "Preparing the engine (first time only)",
    "encoding": "Reading the surface",
    "decoding": "Generating",
    "pairing": "Joining triangles to quads",
}
STEPS = {  # of reading the surface, by the engine's names; those of clouds come first
    "reading": "Looking at the points",
    "neighbours": "Looking at the points",
    "planes": "Finding which way it faces",
    "normals": "Removing noise",
    "positions": "Moving points onto it",
    "sides": "Telling inside from outside",
    "distances": "Making a surface of the points",
    "triangles": "Making a surface of the points",
    "clean": "Cleaning up",
    "denoise": "Removing noise",
    "flatten": "Evening it out",
    "simplify": "Reducing its faces",
    "measure": "Measuring it",
}


@dataclass
class Progress:
    """What the panel shows of a run."""

    source: str = ""
    number: int = 0  # of the object, from 1
    of: int = 0
    stage: str = "sampling"
    step: str = ""  # of reading the surface, as the engine calls it; empty where it has not said
    step_share: float = 0.0  # how much of that step is done
    entered: float = field(default_factory=time.monotonic)  # when the stage began
    reason: str = ""  # why the engine had to be started again
    faces: int = 0  # in the scene
    wanted: int = 0
    faces_per_second: float = 0.0

    @property
    def text(self) -> str:
        """The stage in words."""
        return STAGES.get(self.stage, self.stage)

    @property
    def step_text(self) -> str:
        """The step of reading the surface in words; empty where none is known."""
        return STEPS.get(self.step, "")

    @property
    def factor(self) -> float:
        """Of the faces of this object, or of the step of reading its surface, from 0 to 1; 0 where nothing is known."""
        if self.stage == "encoding":
            return self.step_share
        return min(1.0, self.faces / self.wanted) if self.wanted and self.stage == "decoding" else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate, or None where there is nothing to go by."""
        if self.faces_per_second <= 0.0 or self.faces >= self.wanted:
            return None
        return (self.wanted - self.faces) / self.faces_per_second


@dataclass(frozen=True)
class Result:
    """The figures of one finished object."""

    name: str
    source: str
    wanted: int  # faces that were asked for
    faces: int  # in the scene
    triangles: int  # before pairs of them were joined, and some taken away for that
    quads: int
    end_reason: str
    seconds: float | None
    tokens_per_second: float | None
    tokens_per_pass: float | None
    distance: float | None  # mean way between result and source, in shares of the source's longest side
    farthest: float | None  # the longest one
    watertight: bool
    open_edges: int  # with one face only
    repaired: int  # faces that were not the model's: they cover what it left bare
    strays: int  # left out: points of a cloud, pieces and spikes of a mesh
    gashes: int  # small ragged holes of the source that were closed
    faults: tuple[str, ...]  # what the engine finds worse than it should be, in sentences
    gave_up_closure: bool  # watertight was asked for, and open edges are left
    took: float | None = None  # seconds from the first look at the surface to the end, as it was seen here


def figures_of(
    obj: bpy.types.Object, placement: Placement, settings: RunSettings, event: Event, took: float | None = None
) -> Result:
    """The figures of the result `obj` as it is in the scene, and what the engine said of it in its `end`."""
    mesh, part = obj.data, placement.welded
    strays = int(event.get("strays") or 0)
    gap = measure_gap(mesh, placement.matrix, placement.surface, strays) or Gap(None, None)
    obj.flashmesh.distance = -1.0 if gap.mean is None else gap.mean
    said = ("seconds", "tokens_per_second", "tokens_per_pass")
    return Result(
        name=obj.name,
        source=placement.source.name,
        wanted=settings.faces,
        faces=len(mesh.polygons) if part is None else part.faces,
        triangles=placement.triangles if part is None else part.triangles,
        quads=sum(len(face.vertices) == 4 for face in mesh.polygons) if part is None else part.quads,
        end_reason=event["end_reason"],
        distance=gap.mean,
        farthest=gap.most,
        watertight=mesh_bridge.is_watertight(mesh),
        open_edges=mesh_bridge.open_edges(mesh),
        repaired=int(event.get("repaired") or 0),
        strays=strays,
        gashes=int(event.get("gashes") or 0),
        faults=_faults(event, settings),
        took=took,
        gave_up_closure=settings.watertight and bool(event.get("gave_up_closure")),
        **{name: event.get(name) for name in said},
    )


def _faults(event: Event, settings: RunSettings) -> tuple[str, ...]:
    """What the engine's verdict finds wrong. It judged a part alone where that is mirrored or welded: nothing then."""
    verdict = str(event.get("verdict") or COMPLETE)
    if verdict == COMPLETE or settings.symmetry != "NONE" or settings.selected_only:
        return ()
    return tuple(verdict.split("; "))
