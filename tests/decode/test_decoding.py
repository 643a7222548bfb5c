"""What a decoding tells of its passes, and how it ends."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from flashmesh_core.decode.decoding import Pass
from flashmesh_core.decode.engine import Engine
from flashmesh_core.options import Options
from tests.generated_meshes import shape

BOS = 9


@pytest.mark.parametrize("drafter", ["none", "half_edge"])
def test_passes_add_up_to_what_was_written(debug_engine: Engine, drafter: str) -> None:
    options = Options(max_faces=4, drafter=drafter, width=9, fill_holes=False)
    told: list[Pass] = []
    source = debug_engine.prepare(shape(0), None, options)
    decoding = debug_engine.run([source], options, candidates=2, on_pass=told.append)
    kinds = [event.kind for event in decoding]
    assert kinds.count("end") == 2
    assert [one.number for one in told] == sorted(one.number for one in told)
    for index, candidate in enumerate(decoding.candidates):
        mine = [one for one in told if one.index == index]
        assert len(mine) == candidate.tally.passes
        assert mine[0].length == 0 and len(mine[0].logits) >= BOS
        lengths = [one.length for one in mine[1:]] + [candidate.length]
        before = [0] + [one.length for one in mine[1:]]
        stand = [one.accepted + (1 if one.length else BOS) for one in mine]
        assert np.subtract(lengths, before).tolist() == stand
        assert sum(one.accepted for one in mine) == candidate.tally.accepted_at.sum()


def test_looking_changes_nothing(debug_engine: Engine) -> None:
    options = Options(max_faces=4, width=9)
    source = debug_engine.prepare(shape(1), None, options)
    watched = debug_engine.run([source], options, on_pass=lambda one: None).run().results()[0]
    plain = debug_engine.run([source], options).run().results()[0]
    np.testing.assert_array_equal(watched.mesh.vertices, plain.mesh.vertices)
    np.testing.assert_array_equal(watched.mesh.faces, plain.mesh.faces)


def test_a_pass_can_be_the_last_one(debug_engine: Engine) -> None:
    """Setting the event from `on_pass` ends every candidate before the next pass."""
    options = Options(max_faces=50, drafter="none")
    source = debug_engine.prepare(shape(2), None, options)
    enough = threading.Event()
    told: list[Pass] = []

    def stop(one: Pass) -> None:
        told.append(one)
        if one.number == 3:
            enough.set()

    events = list(debug_engine.run([source], options, candidates=2, cancel=enough, on_pass=stop))
    assert [event.end_reason for event in events if event.kind == "end"] == ["cancelled", "cancelled"]
    assert [(one.number, one.index) for one in told] == [(number, index) for number in range(4) for index in range(2)]
