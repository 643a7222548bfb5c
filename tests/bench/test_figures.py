"""The figures of the bench command, by hand: accuracies, rows of a pass, differences, near-ties, quartiles."""

from __future__ import annotations

import math

import numpy as np

from flashmesh_core.bench.figures import Divergence, accuracy, by_place, first_difference, spread
from flashmesh_core.bench.trace import Pass, Run, TopTwo


def run_of(tokens: list[int], passes: list[Pass] | None = None, end: str = "eos") -> Run:
    return Run(
        tokens=[np.array(tokens, np.int64)], end_reasons=[end], result=None,  # type: ignore[arg-type]
        passes=passes or [], n_passes=len(passes or []), seconds=1.0, first_face=None,
    )  # fmt: skip


def test_accuracies_are_of_the_passes_that_begin_a_face_or_a_vertex() -> None:
    passes = [
        Pass(0, 0, 26, 3, 0.0),  # the prefill has no main token
        Pass(1, 18, 18, 17, 1.0),  # at a face: all 18
        Pass(2, 36, 18, 2, 2.0),  # at a face: 3
        Pass(3, 39, 18, 17, 3.0),  # at the second vertex: 18, of which the point level's 15 count
        Pass(4, 57, 18, 0, 4.0),  # at the second vertex: its main token alone
        Pass(5, 58, 18, 9, 5.0),  # within a vertex: of older predictions
    ]
    runs = [run_of([], passes)]
    assert accuracy(runs, "face", 18) == (18 + 3) / 2
    assert accuracy(runs, "point", 15) == (15 + 1) / 2
    assert accuracy([run_of([], passes[:1])], "face", 18) is None
    assert by_place(runs) == {"passes": [2, 0, 0, 2, 1, 0, 0, 0, 0], "tokens": [21, 0, 0, 19, 10, 0, 0, 0, 0]}


def test_a_passs_rows_are_the_groups_that_it_completes_and_candidates_add_up() -> None:
    run = run_of([], [Pass(0, 0, 9, 0, 1.0), Pass(0, 0, 9, 0, 2.0), Pass(1, 10, 1, 0, 3.0), Pass(1, 11, 18, 2, 7.0)])
    assert run.loop_rows() == [(1 + 18, 0 + 6, 0 + 2)] and run.loop_seconds == 5.0


def test_the_first_difference_is_found_and_another_end_is_one() -> None:
    plain = run_of([1, 2, 3, 4])
    assert first_difference(plain, run_of([1, 2, 3, 4])) == []
    assert first_difference(plain, run_of([1, 2, 5, 4])) == [(0, 2)]
    assert first_difference(plain, run_of([1, 2, 3])) == [(0, 3)]
    assert first_difference(plain, run_of([1, 2, 3, 4], end="face_limit")) == [(0, 4)]


def test_a_near_tie_is_between_the_same_two_tokens_and_as_small_as_rounding() -> None:
    def told(plain: TopTwo | None, other: TopTwo | None, dtype: str) -> bool:
        return Divergence("chair", 0, 7, plain, other).is_near_tie(dtype)

    close, turned = TopTwo((3, 4), (8.0, 7.9)), TopTwo((4, 3), (8.0, 7.95))
    assert told(close, turned, "bf16") and not told(close, turned, "float32")
    assert not told(close, TopTwo((4, 3), (8.0, 6.0)), "bf16")
    assert not told(close, TopTwo((5, 3), (8.0, 7.95)), "bf16")
    assert not told(close, None, "bf16")


def test_quartiles_leave_out_what_is_no_number() -> None:
    assert spread([1.0, math.nan, 2.0, 3.0, math.inf]) == {"median": 2.0, "q1": 1.5, "q3": 2.5}
    assert spread([math.nan]) == {"median": None, "q1": None, "q3": None}
