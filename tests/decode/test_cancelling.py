"""Setting the event while a source is read: the generation ends there, with nothing."""

from __future__ import annotations

import threading

import pytest

from flashmesh_core.decode.engine import Engine
from flashmesh_core.decode.results import GenerationEvent
from flashmesh_core.surface import reading
from tests.generated_meshes import shape

SET = threading.Event()
SET.set()


class Stages:
    """Progress that sets the event with the first word of `last`, and keeps the stages told."""

    def __init__(self, last: str) -> None:
        self.cancel, self.seen, self._last = threading.Event(), [], last

    def __call__(self, stage: str, share: float) -> None:
        self.seen.append(stage)
        if stage == self._last:
            self.cancel.set()


@pytest.mark.parametrize("last", ["clean", "denoise"])
def test_a_stream_cancelled_while_its_source_is_read(debug_engine: Engine, last: str) -> None:
    stages = Stages(last)
    events = list(debug_engine.stream(shape(0), cancel=stages.cancel, progress=stages, keep_vertices=False))
    assert [(event.kind, event.end_reason, event.n_faces) for event in events] == [("end", "cancelled", 0)]
    assert events[0].faces.shape == (0, 3, 3) and len(events[0].mesh.faces) == 0
    assert stages.seen.count(last) == 1 and stages.seen[-1] == last  # not told another word


def test_all_candidates_of_a_source_that_was_not_read(debug_engine: Engine) -> None:
    stages, told = Stages("clean"), []
    results = debug_engine.generate_all(
        shape(0), candidates=3, seed=7, faces=12, cancel=stages.cancel, progress=stages, on_event=told.append
    )
    assert [(one.candidate, one.seed, one.wanted) for one in results] == [(0, 7, 12), (1, 8, 12), (2, 9, 12)]
    assert all(one.verdict == "cancelled before its first face" for one in results)
    assert all(one.distance == float("inf") and not len(one.mesh.faces) for one in results)
    assert [(event.candidate, event.end_reason) for event in told] == [(n, "cancelled") for n in range(3)]


def test_nothing_is_read_once_the_event_is_set(debug_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(reading, "_read_mesh", lambda *arguments: read.append(arguments))
    told: list[GenerationEvent] = []
    assert debug_engine.generate(shape(0), cancel=SET, on_event=told.append).end_reason == "cancelled"
    batch = debug_engine.generate_batch([shape(0), shape(1)], cancel=SET)
    assert [(one.end_reason, one.candidate, len(one.mesh.faces)) for one in batch] == [("cancelled", 0, 0)] * 2
    assert len(told) == 1 and not read


def test_an_event_that_is_never_set_changes_nothing(debug_engine: Engine) -> None:
    plain = debug_engine.generate(shape(1), max_faces=4)
    watched = debug_engine.generate(shape(1), max_faces=4, cancel=threading.Event())
    assert plain.mesh.triangles.tobytes() == watched.mesh.triangles.tobytes()
