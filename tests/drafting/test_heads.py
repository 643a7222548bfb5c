"""The drafter equals the draft heads over whole sequences at the same nodes, and predicts what the paper says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from flashmesh_core.drafting.heads import HeadDistributions, HeadSequence
from flashmesh_core.model.draft_heads import Drafts
from flashmesh_core.model.hourglass import Hourglass
from tests.model.builders import random_inputs, small_model, windows

LENGTH = 135
WHOLE, NARROW = 1152, 27  # windows longer and much shorter than the sequence
BY_LEVEL = (18, 27, 45)
Window = int | tuple[int, int, int]
WIDTH = (1, 3, 9)
TRAINED = {"face_tokens": 27, "vertex_tokens": 18, "coordinate_tokens": 2}
VARIANT = {"face_tokens": 0, "vertex_tokens": 0, "coordinate_tokens": 18}


@dataclass
class Case:
    model: Hourglass
    condition: Tensor
    states: tuple[Tensor, Tensor, Tensor]  # (T, D) of each level
    drafts: Drafts  # of every split node


@cache
def case(window: Window = WHOLE, variant: bool = False) -> Case:
    sizes = (18, 0, 0) if variant else (2, 6, 3)
    names = ("coordinate_drafts", "vertex_drafts", "face_drafts")
    model = small_model(**windows(window), **dict(zip(names, sizes, strict=True)))
    tokens, condition, rows = random_inputs(model, LENGTH)
    states = model.states(tokens, condition, rows)
    levels = (states.coordinate_BND, states.vertex_BVD, states.face_BFD)
    drafts = model.drafts.draft_all(*levels, condition, torch.arange(LENGTH // 9)[None])
    return Case(model, condition, (levels[0][0], levels[1][0], levels[2][0]), drafts)


def reader(case: Case) -> Callable[[int, int, int], Tensor]:
    return lambda level, begin, end: case.states[level][begin:end]


def drafter(case: Case, **options: Any) -> HeadSequence:
    return HeadSequence(case.model, case.condition, **({"compiled": False} | options))


def expected(case: Case, length: int, options: dict[str, Any]) -> HeadDistributions:
    """By the definitions, from the drafts of every node over the whole sequence."""
    sizes = [
        options.get(name, TRAINED[name] if name != "coordinate_tokens" else 2)
        for name in ("coordinate_tokens", "vertex_tokens", "face_tokens")
    ]
    rows = max(sizes[0], sizes[1] - 1, sizes[2] - 1)
    parts: list[list[np.ndarray]] = [[] for _ in range(rows)]
    levels = np.zeros((rows, 3), dtype=bool)
    labels: dict[int, list[np.ndarray]] = {}
    drafted = (case.drafts.coordinate_BSPD, case.drafts.vertex_BSPD, case.drafts.face_BSPD)
    label_logits = (None, case.drafts.vertex_labels_BSPC, case.drafts.face_labels_BSPC)
    for level in range(3):
        node = length // WIDTH[level] - 1
        if node < 0 or not sizes[level]:
            continue
        if level == 1 and options.get("after_face", True) and sizes[2] and node % 3 == 2:
            continue
        state = drafted[level]
        assert state is not None
        probabilities = case.model.head(case.model.out_norm(state[0, node, : sizes[level]])).softmax(-1).numpy()
        first = (node + 1) * WIDTH[level] + (1 if level == 0 else 0)
        skip = 3 if level and options.get("skip_first", True) else 0
        for j in range(skip, sizes[level]):
            row = first + j - length - 1
            if row >= 0:
                parts[row].append(probabilities[j])
                levels[row, level] = True
        logits = label_logits[level]
        if logits is not None:
            for k in range(skip // 3, sizes[level] // 3):
                vertex = first // 3 + k
                if vertex >= (length + 1) // 3:
                    labels.setdefault(vertex, []).append(logits[0, node, k].softmax(-1).numpy())
    nothing = np.zeros(case.model.config.num_classes, dtype=np.float32)
    mean = [np.mean(part, axis=0) if part else nothing for part in parts]
    return HeadDistributions(np.stack(mean), levels, {v: np.mean(part, axis=0) for v, part in sorted(labels.items())})


def same(got: HeadDistributions, want: HeadDistributions, tolerance: float = 1e-5) -> None:
    np.testing.assert_array_equal(got.levels, want.levels)
    np.testing.assert_allclose(got.probabilities, want.probabilities, atol=tolerance)
    assert list(got.labels) == list(want.labels)
    for vertex, label in got.labels.items():
        np.testing.assert_allclose(label, want.labels[vertex], atol=tolerance)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"after_face": False},
    {"skip_first": False},
    {"after_face": False, "skip_first": False},
    *({"face_tokens": n, "vertex_tokens": m} for n, m in ((9, 9), (18, 9), (18, 12), (18, 15), (18, 18), (27, 9))),
    {"face_tokens": 0, "vertex_tokens": 9},
    {"face_tokens": 18, "vertex_tokens": 0},
    {"coordinate_tokens": 0, "skip_first": False},
    {"coordinate_tokens": 1, "skip_first": False, "face_tokens": 9, "vertex_tokens": 3},
]


@pytest.mark.parametrize("window", [WHOLE, NARROW, BY_LEVEL])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_length_equals_the_heads_over_the_whole_sequence(
    window: Window, compiled: bool, options: dict[str, Any]
) -> None:
    """Token by token from within the BOS group to far beyond the narrow window."""
    this = case(window)
    made = drafter(this, **options, compiled=compiled)
    for length in range(1, LENGTH + 1):
        made.update(reader(this), length)
        same(made.draft(), expected(this, length, options))


@pytest.mark.parametrize("window", [WHOLE, NARROW, BY_LEVEL])
@pytest.mark.parametrize("compiled", [False, True])
@settings(max_examples=30)
@given(steps=st.lists(st.integers(1, 40), max_size=30), options=st.sampled_from(OPTIONS))
@example(steps=[9, *[18] * 7], options={})
@example(steps=[LENGTH], options={})
def test_any_number_of_accepted_tokens_a_pass(
    window: Window, compiled: bool, steps: list[int], options: dict[str, Any]
) -> None:
    """Also where a pass goes past several nodes; and an update without a draft in between changes nothing."""
    this = case(window)
    made = drafter(this, **options, compiled=compiled)
    length = 0
    for number, step in enumerate(steps):
        length = min(length + step, LENGTH)
        made.update(reader(this), length)
        if number % 3 != 2:
            same(made.draft(), expected(this, length, options))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", [{"dim": 132, "heads": 2}, {"draft_ffn_ratio": 0.35}, {"window": 900}], ids=str)
def test_compiled_equals_torch_at_other_sizes(changes: dict[str, Any], dtype: torch.dtype) -> None:
    """Heads wider than a panel, an odd hidden width, and windows that are rolled out of, at sizes of many panels."""
    model = small_model(**({"face_drafts": 4, "vertex_drafts": 3} | changes))
    condition = torch.randn(1, 70, model.config.dim, generator=torch.Generator().manual_seed(0))
    made = [HeadSequence(model, condition, dtype=dtype, compiled=compiled) for compiled in (False, True)]
    generator = torch.Generator().manual_seed(1)
    states = [torch.randn(1500 // width, model.config.dim, generator=generator) for width in WIDTH]
    for length in (200, 213, 700, 718, 719, 1020, 1370, 1499):
        for one in made:
            one.update(lambda level, begin, end: states[level][begin:end], length)
        same(made[1].draft(), made[0].draft(), tolerance=1e-4 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_variant_that_drafts_eighteen_tokens_from_the_coordinate_level(compiled: bool) -> None:
    this = case(variant=True)
    made = drafter(this, compiled=compiled)
    for length in (1, 7, 30, 100):
        made.update(reader(this), length)
        same(made.draft(), expected(this, length, VARIANT))
        assert made.draft().levels.tolist() == [[True, False, False]] * 18
    assert not made.draft().labels


def test_the_papers_example_of_which_positions_each_level_predicts() -> None:
    """Sec. 7.4, a 9-9 model: at S5 one main token and eight drafts, at S6 one and seven, two predictions for S8.

    S4 ends a vertex and S7 the face, the first one: S5 is position 6. At S8 the vertex level gives way to the face.
    """
    this = case()
    made = drafter(this, face_tokens=9, vertex_tokens=9)
    predicted = {}
    for main in (5, 6, 7, 8):
        made.update(reader(this), main + 1)
        predicted[main] = [[main + 1 + row for row in rows] for rows in rows_by_level(made.draft().levels)]
    assert predicted == {
        5: [[6, 7], [8, 9, 10, 11, 12, 13], []],
        6: [[7, 8], [8, 9, 10, 11, 12, 13], []],
        7: [[8, 9], [8, 9, 10, 11, 12, 13], []],
        8: [[9, 10], [], [11, 12, 13, 14, 15, 16]],
    }


def rows_by_level(levels: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(levels[:, level]).tolist() for level in range(3)]


def test_rule_a_leaves_out_the_vertex_level_where_a_face_is_complete() -> None:
    this = case()
    made = {rule: drafter(this, after_face=rule) for rule in (True, False)}
    for length in range(1, 60):
        for one in made.values():
            one.update(reader(this), length)
        with_rule, without = made[True].draft().levels[:, 1], made[False].draft().levels[:, 1]
        if length >= 9 and length % 9 < 3:
            assert not with_rule.any() and without.any()
        else:
            np.testing.assert_array_equal(with_rule, without)


def test_rule_b_leaves_three_tokens_to_the_coordinate_level() -> None:
    """Just after a face: the main token and two drafts come from the coordinate level alone."""
    this = case()
    sizes = {"face_tokens": 18, "vertex_tokens": 9}
    made = {rule: drafter(this, skip_first=rule, **sizes) for rule in (True, False)}
    for one in made.values():
        one.update(reader(this), 18)
    assert rows_by_level(made[True].draft().levels) == [[0, 1], [], list(range(2, 17))]
    assert rows_by_level(made[False].draft().levels) == [[0, 1], [], list(range(17))]


def test_rows_without_a_prediction_come_last() -> None:
    this = case()
    made = drafter(this, face_tokens=9, vertex_tokens=6)
    counts = set()
    for length in range(1, 100):
        made.update(reader(this), length)
        drafts = made.draft()
        predicted = drafts.levels.any(axis=1)
        count = int(predicted.sum())
        counts.add(count)
        assert predicted[:count].all()
        assert drafts.probabilities.shape == (8, this.model.config.num_classes)
        np.testing.assert_allclose(drafts.probabilities.sum(axis=1), predicted.astype(float), atol=1e-5)
        assert drafts.probabilities.dtype == np.float32
    assert min(counts) == 2 and max(counts) == 8


def test_a_node_that_has_not_changed_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    this = case()
    made = drafter(this, after_face=False)
    runs: list[str] = []
    for name in ("coordinate", "vertex", "face"):
        block = getattr(made.blocks, name)

        def counted(*args: Any, name: str = name, block: Any = block) -> Tensor:
            runs.append(name)
            return block(*args)

        monkeypatch.setattr(made.blocks, name, counted)
    for length in range(1, 28):
        made.update(reader(this), length)
        made.draft()
        made.draft()
    assert {name: runs.count(name) for name in ("coordinate", "vertex", "face")} == {
        "coordinate": 27, "vertex": 9, "face": 3
    }  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True])
def test_without_fusion_states_are_only_upsampled(compiled: bool) -> None:
    this = case()
    heads, model = this.model.drafts, this.model
    made = drafter(this, fusion=False, skip_first=False, coordinate_tokens=0, compiled=compiled)
    plain = drafter(this, skip_first=False, coordinate_tokens=0)
    for length in (9, 12, 40):
        made.update(reader(this), length)
        plain.update(reader(this), length)
        assert np.abs(made.draft().probabilities - plain.draft().probabilities).max() > 1e-3
    node = torch.arange(LENGTH // 9)[None]
    fused = (heads.vertex_to_coordinate, heads.face_to_vertex, heads.face_to_coordinate)
    kept = [block.ffn_out.clone() for block in fused]
    try:
        for block in fused:
            block.ffn_out.zero_()  # what remains of x + FFN(attention) is the upsampled state
        states = [state[None] for state in this.states]
        without = model.drafts.draft_all(states[0], states[1], states[2], this.condition, node)
    finally:
        for block, weight in zip(fused, kept, strict=True):
            block.ffn_out.copy_(weight)
    made = drafter(this, fusion=False, skip_first=False, coordinate_tokens=0, compiled=compiled)
    bare = Case(model, this.condition, this.states, without)
    for length in (9, 12, 40, 100):
        made.update(reader(this), length)
        same(made.draft(), expected(bare, length, {"skip_first": False, "coordinate_tokens": 0}))


@pytest.mark.parametrize("compiled", [False, True])
def test_arrays_are_taken_as_tensors_are(compiled: bool) -> None:
    this = case()
    tensors, arrays = drafter(this, compiled=compiled), drafter(this, compiled=compiled)
    for length in (9, 20, 38):
        tensors.update(reader(this), length)
        arrays.update(lambda level, begin, end: this.states[level][begin:end].numpy(), length)
        same(arrays.draft(), tensors.draft(), tolerance=0.0)


@pytest.mark.parametrize("compiled", [False, True])
def test_each_state_is_read_once_and_only_when_complete(compiled: bool) -> None:
    this = case()
    read: list[tuple[int, int]] = []

    def reading(level: int, begin: int, end: int) -> Tensor:
        read.extend((level, position) for position in range(begin, end))
        return this.states[level][begin:end]

    made = drafter(this, compiled=compiled)
    for length in (9, 10, 17, 18, 35, 36, 64):
        made.update(reading, length)
        made.draft()
        assert sorted(read) == [(level, n) for level in range(3) for n in range(length // WIDTH[level])]


@pytest.mark.parametrize("compiled", [False, True])
def test_narrow_windows_bound_the_memory(compiled: bool) -> None:
    this = case(NARROW)
    made = drafter(this, compiled=compiled)

    def sizes() -> list[int]:
        caches = [level.values if compiled else level.values.data for level in made.blocks.levels]
        return [cache.shape[-2] for cache in caches]

    before = sizes()

    def reading(level: int, begin: int, end: int) -> Tensor:
        return this.states[level][torch.arange(begin, end) % len(this.states[level])]

    for length in range(9, 2_000, 13):
        made.update(reading, length)
    assert made.draft().levels.any()
    assert sizes() == before
    assert max(before) < 300


@pytest.mark.parametrize("compiled", [False, True])
def test_drafters_that_share_weights_keep_their_sequences_apart(compiled: bool) -> None:
    """A second one with another condition, begun when the first is under way, equals one made alone."""
    this = case()
    other = torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(4))
    first, alone = drafter(this, compiled=compiled), HeadSequence(this.model, other, compiled=compiled)
    first.update(reader(this), 40)
    first.draft()
    second = first.for_condition(other)
    assert not second.draft().levels.any()
    for length in (9, 31, 50):
        for one in (second, alone):
            one.update(lambda level, begin, end: this.states[level][begin + 1 : end + 1], length)
        same(second.draft(), alone.draft(), tolerance=1e-6)
        first.update(reader(this), 40 + length)
        same(first.draft(), expected(this, 40 + length, {}))


@pytest.mark.parametrize("compiled", [False, True])
def test_bf16_weights_stay_close(compiled: bool) -> None:
    this = case()
    whole, half = drafter(this), drafter(this, dtype=torch.bfloat16, compiled=compiled)
    for length in (9, 30, 47):
        whole.update(reader(this), length)
        half.update(reader(this), length)
        same(half.draft(), whole.draft(), tolerance=0.06)
        assert np.abs(half.draft().probabilities - whole.draft().probabilities).max() > 0


def messages() -> Iterator[tuple[dict[str, Any], str]]:
    yield {"face_tokens": 36}, r"face_tokens must be a multiple of 9 in \[0, 27\], the trained maximum, got 36"
    yield {"face_tokens": 12}, r"face_tokens must be a multiple of 9 in \[0, 27\], the trained maximum, got 12"
    yield {"vertex_tokens": 21}, r"vertex_tokens must be a multiple of 3 in \[0, 18\], the trained maximum, got 21"
    yield {"vertex_tokens": 10}, r"vertex_tokens must be a multiple of 3 in \[0, 18\], the trained maximum, got 10"
    yield {"coordinate_tokens": 3}, r"coordinate_tokens must be in \[0, 2\], the trained maximum, got 3"
    yield {"coordinate_tokens": -1}, r"coordinate_tokens must be in \[0, 2\], the trained maximum, got -1"
    yield {"coordinate_tokens": 1}, "coordinate_tokens must be at least 2, got 1"
    yield {"dtype": torch.float16}, r"dtype must be torch.float32 or torch.bfloat16, got torch.float16"


@pytest.mark.parametrize(("options", "message"), list(messages()), ids=lambda value: str(value)[:40])
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drafter(case(), **options)


@pytest.mark.parametrize("compiled", [False, True])
def test_bad_states_lengths_and_conditions_are_named(compiled: bool) -> None:
    this = case()
    made = drafter(this, compiled=compiled)
    made.update(reader(this), 20)
    with pytest.raises(ValueError, match="length must be at least 20, got 19"):
        made.update(reader(this), 19)
    with pytest.raises(ValueError, match=r"states of level 0 at positions 20 to 21 must have the shape \(2, 16\)"):
        made.update(lambda level, begin, end: this.states[level][begin : end - 1], 22)
    with pytest.raises(ValueError, match=r"condition must have the shape \(1, L, 16\), got \(2, 4, 16\)"):
        HeadSequence(this.model, this.condition.expand(2, -1, -1))
    with pytest.raises(ValueError, match=r"condition must have the shape \(1, L, 16\), got \(4, 16\)"):
        made.for_condition(this.condition[0])
