"""The draft and label heads: shapes, nothing after the split node is used, and any choice of groups."""

from __future__ import annotations

from dataclasses import fields
from functools import cache

import pytest
import torch
from torch import Tensor

from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.model.draft_heads import NUM_LABELS, Drafts
from flashmesh_core.model.hourglass import Hourglass, LevelStates
from tests.model.builders import random_inputs, small_model

GROUPS = 4
WIDTHS = {"coordinate_BSPD": 9, "vertex_BSPD": 3, "face_BSPD": 1, "vertex_labels_BSPC": 3, "face_labels_BSPC": 1}


@cache
def case(window: int = 1152) -> tuple[Hourglass, Tensor, Tensor, Tensor | None]:
    model = small_model(window=window, slice_rows=SLICE_ROWS, coordinate_drafts=2, vertex_drafts=3, face_drafts=2)
    return model, *random_inputs(model, 9 * GROUPS)


def drafts_of(model: Hourglass, states: LevelStates, condition: Tensor, groups: Tensor | None = None) -> Drafts:
    batch = states.coordinate_BND.shape[0]
    groups = torch.arange(GROUPS).expand(batch, -1) if groups is None else groups
    return model.drafts.draft_all(
        states.coordinate_BND, states.vertex_BVD, states.face_BFD, condition.expand(batch, -1, -1), groups
    )


def parts(drafts: Drafts) -> dict[str, Tensor]:
    return {field.name: getattr(drafts, field.name) for field in fields(drafts)}


def test_shapes_follow_the_configuration() -> None:
    model, tokens, condition, rows = case()
    assert rows is not None
    states = model.states(tokens.expand(2, -1), condition.expand(2, -1, -1), rows.expand(2, -1, -1, -1))
    drafts = drafts_of(model, states, condition, torch.tensor([[0, 2, 3], [1, 1, 0]]))
    dim = model.config.dim
    assert {name: tuple(part.shape) for name, part in parts(drafts).items()} == {
        "coordinate_BSPD": (2, 27, 2, dim),
        "vertex_BSPD": (2, 9, 9, dim),
        "face_BSPD": (2, 3, 18, dim),
        "vertex_labels_BSPC": (2, 9, 3, NUM_LABELS),
        "face_labels_BSPC": (2, 3, 6, NUM_LABELS),
    }


@pytest.mark.parametrize("window", [1152, 9])
@pytest.mark.parametrize("what", ["token", "row"])
def test_a_draft_uses_nothing_after_its_split_node(window: int, what: str) -> None:
    """For every position n: a change there changes no draft whose split node was complete before n."""
    model, tokens, condition, rows = case(window)
    assert rows is not None
    length = 9 * GROUPS
    n = torch.arange(length)
    changed, changed_rows = tokens.repeat(length, 1), rows.repeat(length, 1, 1, 1)
    if what == "token":
        changed[n, n] = (changed[n, n] + 1) % model.config.num_bins
    else:
        changed_rows[n, n] = 1.0 - changed_rows[n, n]
    before = parts(drafts_of(model, model.states(tokens, condition, rows), condition))
    states = model.states(changed, condition.expand(length, -1, -1), changed_rows)
    after = parts(drafts_of(model, states, condition))
    for name, per_group in WIDTHS.items():
        difference = (after[name] - before[name]).abs().amax(dim=(2, 3))
        tokens_a_node = 9 // per_group
        for position in range(length):
            node = position // tokens_a_node  # the first split node that may know of the change
            assert (difference[position, :node] <= 1e-5).all(), (name, position)
            if what == "token":
                assert difference[position, node] > 1e-4, (name, position)


@pytest.mark.parametrize("level", range(3))
def test_a_draft_uses_no_later_state_of_any_level(level: int) -> None:
    """The states themselves, perturbed: an HF-Block reads lower levels only up to the end of its split node."""
    model, tokens, condition, rows = case()
    states = model.states(tokens, condition, rows)
    names = ("coordinate_BND", "vertex_BVD", "face_BFD")
    before = parts(drafts_of(model, states, condition))
    width = (1, 3, 9)[level]
    reads = {0: set(WIDTHS) - {"vertex_labels_BSPC", "face_labels_BSPC"}, 1: set(WIDTHS) - {"coordinate_BSPD"}}
    readers = reads.get(level, {"face_BSPD", "face_labels_BSPC"})
    for state in range(9 * GROUPS // width):
        kept = {name: getattr(states, name) for name in names}
        changed = kept[names[level]].clone()
        changed[:, state] += 1.0
        after = parts(
            drafts_of(model, LevelStates(**(kept | {names[level]: changed}), logits_BNC=states.logits_BNC), condition)
        )
        end = state * width + width - 1  # the last token that the state stands for
        for name, per_group in WIDTHS.items():
            difference = (after[name] - before[name]).abs().amax(dim=(0, 2, 3))
            node = end // (9 // per_group)
            assert (difference[:node] <= 1e-6).all(), (name, state)
            assert (difference[node] > 1e-5) == (name in readers), (name, state)


def test_chosen_groups_equal_the_same_entries_of_all() -> None:
    model, tokens, condition, rows = case()
    states = model.states(tokens, condition, rows)
    whole = parts(drafts_of(model, states, condition))
    groups = torch.tensor([[3, 0, 2]])
    some = parts(drafts_of(model, states, condition, groups))
    for name, per_group in WIDTHS.items():
        nodes = [per_group * int(group) + k for group in groups[0] for k in range(per_group)]
        torch.testing.assert_close(some[name], whole[name][:, nodes], atol=1e-5, rtol=1e-4)


def test_the_heads_of_a_level_are_independent() -> None:
    """Changing one draft's matrices of an SP-Block changes that draft alone."""
    model = small_model(seed=3, coordinate_drafts=3)
    tokens, condition, _ = random_inputs(model, 9 * GROUPS)
    states = model.states(tokens, condition)
    before = drafts_of(model, states, condition).coordinate_BSPD
    block = model.drafts.coordinate
    for weights in (block.attention_out, block.cross_q, block.cross_out, block.linear):
        weights[1] += 0.3
    block.q.weight[16:32] += 0.3
    after = drafts_of(model, states, condition).coordinate_BSPD
    assert before is not None and after is not None
    difference = (after - before).abs().amax(dim=(0, 1, 3))
    assert difference[1] > 1e-2
    assert difference[[0, 2]].max() <= 1e-6


@pytest.mark.parametrize("off", ["coordinate_drafts", "vertex_drafts", "face_drafts"])
def test_a_level_may_draft_nothing(off: str) -> None:
    model = small_model(**{off: 0})
    tokens, condition, _ = random_inputs(model, 9 * GROUPS)
    made = parts(drafts_of(model, model.states(tokens, condition), condition))
    missing = {name for name, part in made.items() if part is None}
    assert missing == {name for name in WIDTHS if name.startswith(off.removesuffix("_drafts"))}
