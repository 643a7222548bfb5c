"""Cached decoding equals the full forward pass in float32: any chunks, any roll-back, also when the caches roll."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.runtime.reference import CachedDecoder, Rolling, TorchDecoder
from tests.model.builders import random_inputs, small_model, windows

SLACK = 21
LENGTH = 150
WHOLE, NARROW = 1152, 45  # windows longer and much shorter than the sequence
BY_LEVEL = (18, 36, 63)


@cache
def case(window: int | tuple[int, int, int], rows: bool) -> tuple[Hourglass, Tensor, Tensor, Tensor | None, Tensor]:
    """A model, its inputs for two sequences, and the logits of the full forward pass."""
    model = small_model(**windows(window), slice_rows=SLICE_ROWS if rows else ())
    tokens, condition, slices = random_inputs(model, LENGTH, batch=2)
    return model, tokens, condition, slices, model(tokens, condition, slices)


def cut(rows: Tensor | None, begin: int, end: int) -> Tensor | None:
    return None if rows is None else rows[:, begin:end]


# A step: how many tokens go in, how many wrong ones are tried and taken back after them, how many right ones are too.
STEPS = st.lists(st.tuples(st.integers(1, SLACK), st.integers(0, SLACK), st.integers(0, 30)), max_size=25)


@pytest.mark.parametrize("slack", [LENGTH, SLACK])
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("window", [WHOLE, NARROW, BY_LEVEL])
@settings(max_examples=25)
@given(steps=STEPS)
@example(steps=[(1, 0, 0)] * 150)
@example(steps=[(9, 17, 0)] * 16)
@example(steps=[(21, 21, 8)] * 12)
def test_chunks_and_roll_backs_equal_the_full_pass(
    window: int | tuple[int, int, int], rows: bool, slack: int, steps: list[tuple[int, int, int]]
) -> None:
    model, tokens, condition, slices, expected = case(window, rows)
    wrong = (tokens + 1) % model.config.num_bins
    decoder = CachedDecoder(model, condition, slack=slack)
    for count, tried, back in steps:
        begin, end = decoder.length, min(decoder.length + count, LENGTH)
        if begin == end:
            break
        logits = decoder.extend(tokens[:, begin:end], cut(slices, begin, end))
        torch.testing.assert_close(logits, expected[:, begin:end], atol=1e-4, rtol=1e-4)
        tried = min(tried, LENGTH - end)
        if tried:
            junk = None if slices is None else 1.0 - slices[:, end : end + tried]
            decoder.extend(wrong[:, end : end + tried], junk)
            decoder.truncate(end)
        decoder.truncate(max(decoder.lowest, end - back))


@pytest.mark.parametrize("rows", [False, True])
def test_the_draft_pass_of_eighteen_tokens_with_roll_back(rows: bool) -> None:
    """As speculation uses it: 18 tokens a pass, of which any number from 1 on stays, past several rollings."""
    model, tokens, condition, slices, expected = case(NARROW, rows)
    decoder = CachedDecoder(model, condition, slack=SLACK)
    kept = 0
    while decoder.length + 18 <= LENGTH:
        begin = decoder.length
        logits = decoder.extend(tokens[:, begin : begin + 18], cut(slices, begin, begin + 18))
        torch.testing.assert_close(logits, expected[:, begin : begin + 18], atol=1e-4, rtol=1e-4)
        kept = kept % 18 + 5
        decoder.truncate(begin + min(kept, 18))
    assert decoder.levels[0].keys.start > 0


def test_memory_stays_bounded_when_the_caches_roll() -> None:
    model, tokens, condition, _, _ = case(NARROW, False)
    decoder = CachedDecoder(model, condition, slack=SLACK)
    sizes = [level.keys.data.shape for level in decoder.levels]
    for begin in range(0, 2 * LENGTH, 15):
        at = begin % LENGTH
        decoder.extend(tokens[:, at : at + 15])
    assert [level.keys.data.shape for level in decoder.levels] == sizes
    assert sizes[0][-2] <= NARROW + SLACK + 2
    assert decoder.length == 2 * LENGTH


def test_truncate_names_the_range() -> None:
    model, tokens, condition, _, _ = case(NARROW, False)
    decoder = CachedDecoder(model, condition, slack=SLACK)
    decoder.extend(tokens[:, :12])
    with pytest.raises(ValueError, match=r"length must be in \[0, 12\], got 13"):
        decoder.truncate(13)
    with pytest.raises(ValueError, match=r"length must be in \[0, 12\], got -1"):
        decoder.truncate(-1)
    for begin in range(12, 120, 12):
        decoder.extend(tokens[:, begin : begin + 12])
    assert 60 < decoder.lowest < 120
    with pytest.raises(ValueError, match=rf"length must be in \[{decoder.lowest}, 120\], got 60"):
        decoder.truncate(60)


def test_a_chunk_longer_than_the_slack_is_refused() -> None:
    model, tokens, condition, _, _ = case(NARROW, False)
    decoder = CachedDecoder(model, condition, slack=SLACK)
    decoder.extend(tokens[:, :60][:, :SLACK])
    decoder.extend(tokens[:, SLACK : 2 * SLACK])
    with pytest.raises(ValueError, match="a chunk must hold at most"):
        decoder.extend(tokens[:, 2 * SLACK : 2 * SLACK + 60])


def test_torch_decoder_takes_a_long_chunk_in_pieces() -> None:
    model, tokens, condition, rows, expected = case(NARROW, True)
    assert rows is not None
    decoder = TorchDecoder(model, condition)
    decoder.decoders = [CachedDecoder(model, one[None], slack=SLACK) for one in condition]  # which refuse longer ones
    with torch.inference_mode():
        logits = decoder.extend([chunk.numpy() for chunk in tokens], [row.numpy() for row in rows])
    for made, right in zip(logits, expected, strict=True):
        np.testing.assert_allclose(made, right.detach().numpy(), atol=1e-4)


def test_torch_decoder_names_wrong_input() -> None:
    model, _, condition, _, _ = case(NARROW, False)
    decoder = TorchDecoder(model, condition)
    one = np.array([1, 2, 3])
    decoder.extend([one, None])
    for wrong, message in (
        (lambda: TorchDecoder(model, condition[0]), r"conditions must be \(B, S, 16\)"),
        (lambda: decoder.truncate(0, 4), r"length must be in \[0, 3\], got 4"),
        (lambda: decoder.truncate(2, 1), r"sequence must be in \[0, 1\], got 2"),
        (lambda: decoder.extend([one]), "tokens must be given for 2 sequences, got 1"),
        (lambda: decoder.extend([np.array([9]), None]), r"tokens must be in \[0, 8\], got 9 to 9"),
        (lambda: decoder.extend([one, None], [np.zeros((3, 9, 6)), None]), "rows must be None"),
        (lambda: CachedDecoder(model, condition, slack=0), "slack must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


def test_rolling_keeps_absolute_positions() -> None:
    buffer = Rolling((1, 1), keep=4, slack=3, like=torch.zeros(1))
    for position in range(20):
        buffer.make_room(position, 1)
        buffer.write(position, torch.full((1, 1, 1), float(position)))
        seen = buffer.read(max(0, position - 3), position + 1).flatten().tolist()
        assert seen == list(range(max(0, position - 3), position + 1))
    assert buffer.data.shape == (1, 7, 1)
