"""Who starts and who gets the next pass: decided from arrays of waiting and running generations, written by hand."""

from __future__ import annotations

import numpy as np

from flashmesh_core.service import turns
from flashmesh_core.service.generation import Generation
from flashmesh_core.service.protocol import GenerationRequest

POINTS = np.zeros((16, 3), dtype=np.float32)


def asks(faces: int | None, candidates: int = 1, **fields: object) -> Generation:
    options = {"candidates": candidates} | ({} if faces is None else {"faces": faces})
    return Generation(GenerationRequest(POINTS, None, options), lambda frame: None, **fields)


def test_the_cost_is_the_faces_of_all_candidates() -> None:
    assert [asks(300).cost, asks(10_000, 16).cost, asks(None).cost] == [300, 160_000, 2_000]


def test_short_work_starts_first_and_equals_in_order() -> None:
    long, first, second = asks(9_000), asks(100), asks(100)
    assert turns.next_to_start([long, first, second], [], 1) is first
    assert turns.next_to_start([long], [], 1) is long
    assert turns.next_to_start([first], [long], 1) is None  # no place
    assert turns.next_to_start([], [], 4) is None


def test_who_was_passed_over_often_goes_first() -> None:
    patient = asks(9_000, passed_over=turns.PATIENCE)
    assert turns.next_to_start([patient, asks(100)], [], 1) is patient


def test_the_last_place_is_kept_for_short_work() -> None:
    running = [asks(9_000), asks(10_000, 16)]
    patient = asks(9_000, passed_over=turns.PATIENCE)
    assert turns.next_to_start([patient], running, 3) is None
    short = asks(200)
    assert turns.next_to_start([patient, short], running, 3) is short
    assert turns.next_to_start([patient], [asks(100), asks(100)], 3) is patient  # these will not hold it long


def test_passes_go_to_whoever_used_least_and_newcomers_start_level() -> None:
    old, new = asks(10_000, 16), asks(100)
    old.work = new.work = iter(())
    old.used = 60.0
    turns.join(new, [old])
    assert new.used == 60.0
    new.used += 0.1
    assert turns.next_to_step([old, new]) is old
    old.used += 1.0
    assert turns.next_to_step([old, new]) is new
    old.last = b"its end is only to be told"
    assert turns.next_to_step([old, new]) is old
    assert turns.next_to_step([asks(1)]) is None  # its surface is still read
