"""The backbone: no logit depends on a later token or slice row; the condition; the projection of slice rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.model.hourglass import Hourglass, causal_shift

from .builders import random_inputs, small_config, small_model

ROWS = {"slice_rows": SLICE_ROWS}
VARIANTS: list[dict[str, Any]] = [
    {},
    ROWS,
    ROWS | {"window": 9},
    {"coordinate_layers": (0, 1), "vertex_layers": (0, 1), "face_layers": 1},
]
LENGTH = 41  # four groups and a half: also positions whose vertex and face stay unfinished


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_token_changes_nothing_before_it(changes: dict[str, Any]) -> None:
    """For every n, t_n changes no logit before n and no state completed before n, but does change those at n."""
    model = small_model(**changes)
    tokens, condition, rows = random_inputs(model, LENGTH)
    n = torch.arange(LENGTH)
    changed = tokens.repeat(LENGTH, 1)
    changed[n, n] = (changed[n, n] + 1) % model.config.num_bins
    condition = condition.expand(LENGTH, -1, -1)
    rows = None if rows is None else rows.expand(LENGTH, -1, -1, -1)
    before = model.states(tokens.expand(LENGTH, -1), condition, rows)
    after = model.states(changed, condition, rows)
    for name, width in (("logits_BNC", 1), ("coordinate_BND", 1), ("vertex_BVD", 3), ("face_BFD", 9)):
        difference = (getattr(after, name) - getattr(before, name)).abs().amax(dim=2)
        for position in range(LENGTH):
            group = position // width  # the first state that may know the changed token
            assert (difference[position, :group] <= 1e-5).all(), (name, position)
            assert (difference[position, group : group + 1] > 1e-4).all(), (name, position)


def test_slice_rows_change_nothing_before_them() -> None:
    model = small_model(**ROWS)
    tokens, condition, rows = random_inputs(model, LENGTH)
    assert rows is not None
    n = torch.arange(LENGTH)
    changed = rows.repeat(LENGTH, 1, 1, 1)
    changed[n, n] = 1.0 - changed[n, n]
    before = model(tokens, condition, rows)
    after = model(tokens.expand(LENGTH, -1), condition.expand(LENGTH, -1, -1), changed)
    difference = (after - before).abs().amax(dim=2)
    for position in range(LENGTH):
        assert (difference[position, :position] <= 1e-5).all(), position
        assert difference[position, position] > 1e-4, position


def test_upsampled_states_serve_the_positions_after_their_group() -> None:
    """V_v serves n = 3v + 2 to 3v + 4; positions 0 and 1 are served by nothing."""
    up = torch.arange(1.0, 10.0)[None, :, None]  # the three states of each of three groups
    assert causal_shift(up, 9)[0, :, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert causal_shift(up, 11)[0, :, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_rows_are_given_exactly_when_the_configuration_names_some() -> None:
    with_rows, without = small_model(**ROWS), small_model()
    tokens, condition, rows = random_inputs(with_rows, 9)
    with pytest.raises(ValueError, match="rows must be given exactly when slice_rows is not empty"):
        with_rows(tokens, condition)
    with pytest.raises(ValueError, match="rows must be given exactly when slice_rows is not empty"):
        without(tokens, condition, rows)


@pytest.mark.parametrize("first", range(9))
def test_a_run_of_slice_rows_equals_its_positions_one_by_one(first: int) -> None:
    """Runs of whole groups take another path through the matrices than single positions."""
    model = small_model(**ROWS)
    _, _, rows = random_inputs(model, 18, batch=2)
    assert rows is not None
    slots = torch.arange(first, first + 18) % 9
    whole = model.slice_states(rows, slots)
    for n in range(18):
        flat = rows[:, n].flatten(1)
        torch.testing.assert_close(whole[:, n], flat @ model.slices[(slots[n] + 1) % 9], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(whole[:, n : n + 1], model.slice_states(rows[:, n : n + 1], slots[n : n + 1]))


def test_the_copy_gates_add_to_the_bins_of_their_row() -> None:
    """A gate a row for all its bins, and another for the lowest of them."""
    model = small_model(**ROWS)
    state, bins = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(1)), model.config.num_bins
    rows = torch.zeros(1, 1, len(SLICE_ROWS), bins)
    plain = model.logits(state, rows)
    rows[0, 0, 1, 2:5] = 1.0
    rows[0, 0, 2, 0] = 1.0
    difference = (model.logits(state, rows) - plain)[0, 0]
    gates = model.copy_gates(model.out_norm(state))[0, 0]
    expected = torch.zeros(bins + 1)
    expected[2:5] += gates[1]
    expected[2] += gates[len(SLICE_ROWS) + 1]
    expected[0] += gates[2] + gates[len(SLICE_ROWS) + 2]
    torch.testing.assert_close(difference, expected, atol=1e-5, rtol=1e-4)


def test_the_condition_does_not_depend_on_the_order_of_the_points() -> None:
    model = small_model()
    points = torch.randn(1, 16, 7, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    count = torch.tensor([40.0])
    condition = model.encode(points, count)
    assert condition.shape == (1, model.config.num_latents + 1, model.config.dim)
    torch.testing.assert_close(model.encode(points[:, order], count), condition, atol=1e-5, rtol=1e-4)
    assert (model.encode(points * 0.5, count) - condition).abs().max() > 1e-3


def test_the_face_count_is_one_token_that_may_be_unknown() -> None:
    model = small_model()
    points = torch.zeros(3, 16, 7)
    condition = model.encode(points, torch.tensor([0.0, 100.0, 1000.0]))
    torch.testing.assert_close(condition[0, :-1], condition[1, :-1])
    assert (condition[0, -1] - condition[1, -1]).abs().max() > 1e-3
    assert (condition[1, -1] - condition[2, -1]).abs().max() > 1e-3
    features = model.encoder.count_features(torch.tensor([0.0, 1.0]))
    assert features[0].abs().sum() == 0.0
    assert features[1, -1] == 1.0


def test_the_condition_and_the_face_count_reach_the_logits() -> None:
    model = small_model()
    tokens, _, _ = random_inputs(model, 12)
    points = torch.randn(1, 16, 7, generator=torch.Generator().manual_seed(0))
    logits = [
        model(tokens, model.encode(p, torch.tensor([c]))) for p, c in ((points, 9.0), (points, 0.0), (-points, 9.0))
    ]
    assert (logits[0] - logits[1]).abs().max() > 1e-4
    assert (logits[0] - logits[2]).abs().max() > 1e-4


def test_weights_come_from_the_generator_alone() -> None:
    a, b = (Hourglass(small_config(**ROWS)) for _ in range(2))
    for model in (a, b):
        model.reset_parameters(torch.Generator().manual_seed(7))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in a.parameters())
