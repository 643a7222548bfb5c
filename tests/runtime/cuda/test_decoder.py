"""The static passes against the full forward pass and the reference decoder, and what makes a CUDA graph of them."""

from __future__ import annotations

import gc
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from flashmesh_core.config import SLICE_ROWS, preset
from flashmesh_core.drafting.heads import HeadSequence
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.runtime.cuda.attention import FlashAttention
from flashmesh_core.runtime.cuda.decoder import StaticDecoder, StaticModel
from flashmesh_core.runtime.cuda.forward import Inputs, Shape
from flashmesh_core.runtime.reference import CachedDecoder
from tests.model.builders import random_inputs, small_config, small_model
from tests.runtime.cuda.cases import CHANGES, LENGTH, SLACK, WIDTH, Case, case


@cache
def static(name: str) -> StaticModel:
    return StaticModel(case(name).model)


def decoder_of(name: str, slack: int = SLACK, width: int = WIDTH) -> StaticDecoder:
    return StaticDecoder(static(name), case(name).conditions, width, slack)


def record(decoder: StaticDecoder) -> list[Shape]:
    """The shapes of the passes that the decoder runs from now on."""
    shapes: list[Shape] = []
    run = decoder.workspace.run

    def recording(inputs: Inputs, shape: Shape) -> Tensor:
        shapes.append(shape)
        return run(inputs, shape)

    decoder.workspace.run = recording  # type: ignore[assignment]
    return shapes


def held_by(decoder: StaticDecoder) -> list[Tensor]:
    """Every buffer that a decoder writes."""
    caches = decoder.workspace.caches
    return [*(level.data for level in caches.levels), *(ring.data for ring in caches.rings)]


COUNTS = st.tuples(st.integers(0, WIDTH + 4), st.integers(0, WIDTH + 4))
# A step: how many tokens go into each sequence, how many wrong ones after them, and how many are taken back of each.
STEPS = st.lists(st.tuples(COUNTS, st.tuples(st.integers(0, WIDTH), st.integers(0, WIDTH)), COUNTS), max_size=20)


@pytest.mark.parametrize("slack", [SLACK, LENGTH])
@pytest.mark.parametrize("name", CHANGES)
@settings(max_examples=12)
@given(steps=STEPS)
@example(steps=[((1, 1), (0, 0), (0, 0))] * LENGTH)
@example(steps=[((18, 9), (0, 18), (0, 0))] * 16)
@example(steps=[((5, 18), (17, 0), (3, 17))] * 60)
def test_chunks_and_roll_backs_equal_the_full_pass(
    name: str, slack: int, steps: list[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]
) -> None:
    this, decoder = case(name), decoder_of(name, slack)
    for counts, tried, back in steps:
        begins = decoder.lengths.copy()
        ends = [min(int(begin) + count, LENGTH) for begin, count in zip(begins, counts, strict=True)]
        this.check(this.feed(decoder, ends), begins, ends)
        this.feed(decoder, [min(end + more, LENGTH) for end, more in zip(ends, tried, strict=True)], wrong=True)
        for b in range(2):
            decoder.truncate(b, max(int(decoder.lowest[b]), ends[b] - back[b]))
            assert decoder.lowest[b] <= ends[b]


@pytest.mark.parametrize("name", ["rows", "narrow", "by level"])
def test_the_draft_pass_equals_the_reference_decoder(name: str) -> None:
    """As speculation uses it: 18 tokens a pass, of which any number from 1 on stays, a number of its own a sequence."""
    this, decoder = case(name), decoder_of(name)
    references = [CachedDecoder(this.model, condition[None], slack=SLACK) for condition in this.conditions]
    kept = np.zeros(2, np.int64)
    while decoder.lengths.max() + WIDTH <= LENGTH:
        begins = decoder.lengths.copy()
        logits = this.feed(decoder, [int(begin) + WIDTH for begin in begins])
        kept = np.array([kept[0] % 18 + 5, kept[1] % 11 + 1])
        for b, reference in enumerate(references):
            span = slice(int(begins[b]), int(begins[b]) + WIDTH)
            rows = None if this.rows is None else torch.from_numpy(this.rows[None, b, span]).float()
            expected = reference.extend(torch.from_numpy(this.tokens[None, b, span]), rows)[0].numpy()
            np.testing.assert_allclose(logits[b], expected, atol=1e-4, rtol=1e-4)
            end = int(begins[b]) + min(int(kept[b]), WIDTH)
            reference.truncate(end)
            decoder.truncate(b, end)
    assert name != "narrow" or decoder.workspace.caches.levels[0].starts.max() > 0


def test_the_debug_preset_equals_the_full_pass() -> None:
    this = Case(Hourglass(preset("debug")).eval().requires_grad_(False), 45)
    decoder = StaticDecoder(StaticModel(this.model), this.conditions)
    this.check(this.feed(decoder, [45, 30]), np.zeros(2, np.int64), [45, 30])


@pytest.mark.parametrize("name", ["plain", "narrow", "by level"])
@pytest.mark.parametrize("step", [1, 7, 18])
def test_roll_backs_as_far_as_they_may_go(name: str, step: int) -> None:
    this = case(name)
    decoder = decoder_of(name)
    for end in range(step, LENGTH, step):
        this.feed(decoder, [end, end])
        if end % 5 == 0 or end + step >= LENGTH:
            begins = decoder.lowest.copy()
            for b in range(2):
                decoder.truncate(b, int(begins[b]))
            middle = [int(begin) + 1 for begin in begins]  # a group's third input alone may be new
            this.check(this.feed(decoder, middle), begins, middle)
            begins = decoder.lengths.copy()
            this.check(this.feed(decoder, [end, end]), begins, [end, end])
    assert decoder.lowest.min() > 0


@pytest.mark.parametrize("name", ["rows", "narrow", "by level"])
def test_a_pass_run_again_gives_the_same_bits(name: str) -> None:
    """Capturing runs a pass a second time over the same inputs, and replays it a third."""
    this, decoder = case(name), decoder_of(name)
    shapes = record(decoder)
    for ends in ([9, 5], [27, 5], [40, 6], [41, 7], [80, 90], [81, 91]):
        this.feed(decoder, ends)
        made = [tensor.clone() for tensor in held_by(decoder)]
        with torch.inference_mode():
            twice = [decoder.workspace.launch(shapes[-1]) for _ in range(2)]
        assert torch.equal(*twice)
        assert all(torch.equal(*pair) for pair in zip(held_by(decoder), made, strict=True))


@pytest.mark.parametrize("width", [1, 9, 20, 64])
def test_other_widths_are_rounded_up_to_whole_faces(width: int) -> None:
    this, decoder = case("rows"), decoder_of("rows", width=width)
    shapes = record(decoder)
    for ends in ([26, 1], [100, 100], [101, 100]):  # in pieces where they are longer than a pass
        begins = decoder.lengths.copy()
        this.check(this.feed(decoder, ends), begins, ends)
    assert decoder.width == {1: 9, 9: 9, 20: 27, 64: 72}[width]
    assert {shape.width for shape in shapes} == {1, decoder.width}


def test_plain_decoding_runs_only_the_levels_of_which_something_is_completed() -> None:
    this, decoder = case("rows"), decoder_of("rows")
    shapes = record(decoder)
    for end in range(1, 19):
        this.feed(decoder, [end, 0])
    assert [shape.width for shape in shapes] == [1] * 18
    assert [shape.depth for shape in shapes] == [0, 0, 1, 0, 0, 1, 0, 0, 2] * 2
    this.feed(decoder, [18, 1])
    assert shapes[-1].depth == 0
    this.feed(decoder, [19, 9])  # the second sequence completes a face
    assert shapes[-1] == Shape(WIDTH, 2, 0)


def test_a_long_run_needs_few_graphs_and_no_new_memory() -> None:
    """5,000 tokens over a window of 900, speculative and plain by turns."""
    model = small_model(window=900)
    decoder = StaticDecoder(StaticModel(model), random_inputs(model, 9)[1], slack=100)
    shapes, caches = record(decoder), decoder.workspace.caches
    places = [(tensor.data_ptr(), tensor.shape) for tensor in held_by(decoder)]
    generator = np.random.default_rng(0)
    while decoder.lengths[0] < 5000:
        decoder.extend([generator.integers(0, 6, generator.choice([1, WIDTH]))])
    assert places == [(tensor.data_ptr(), tensor.shape) for tensor in held_by(decoder)]
    assert caches.levels[0].capacity <= 900 + 100 + 2 * WIDTH + 64
    assert caches.levels[2].starts[0] > 0
    assert len(set(shapes)) <= 3 * (3 + 1)  # extents of 512, 1,024 and all; a token at three depths, and 18 tokens


def test_a_workspace_serves_the_next_decoder_but_never_two_at_once() -> None:
    this = case("narrow")
    model = StaticModel(this.model)
    first = StaticDecoder(model, this.conditions, WIDTH, SLACK)
    this.feed(first, [LENGTH, 70])
    second = StaticDecoder(model, this.conditions.flip(0), WIDTH, SLACK)
    assert second.workspace is not first.workspace
    workspace = first.workspace
    del first
    gc.collect()
    again = StaticDecoder(model, this.conditions, WIDTH, SLACK)
    assert again.workspace is workspace
    for end in (9, 40, 90):
        begins, ends = again.lengths.copy(), [end, end - 3]
        this.check(this.feed(again, ends), begins, ends)
    assert StaticDecoder(model, this.conditions[:1], WIDTH, SLACK).workspace is not workspace
    gc.collect()
    assert len(model.idle) <= 2


def test_states_are_the_inputs_of_the_last_layers() -> None:
    this, decoder = case("rows"), decoder_of("rows", slack=40)
    parts = (this.levels.coordinate_BND, this.levels.vertex_BVD, this.levels.face_BFD)
    for end in range(11, LENGTH, 11):
        this.feed(decoder, [end, end])
        for level, expected in enumerate(parts):
            last = end // 3**level
            first = max(0, (end - 11) // 3**level)
            torch.testing.assert_close(
                decoder.states(level, 1, first, last), expected[1, first:last], atol=1e-4, rtol=1e-4
            )
    with pytest.raises(ValueError, match=r"positions must be in \[0, 47\], got 40 to 48"):
        decoder.states(1, 0, 40, 48)
    with pytest.raises(ValueError, match=r"positions must be in \[\d\d, 143\], got 0 to 5"):
        decoder.states(0, 0, 0, 5)


def test_the_draft_heads_read_the_states() -> None:
    this, decoder = case("rows"), decoder_of("rows")
    full = HeadSequence(this.model, this.conditions[:1], compiled=False)
    parts = (this.levels.coordinate_BND, this.levels.vertex_BVD, this.levels.face_BFD)
    heads = full.for_condition(this.conditions[:1])
    for end in (18, 27, 40):
        this.feed(decoder, [end, 0])
        heads.update(lambda level, begin, stop: decoder.states(level, 0, begin, stop), end)
        full.update(lambda level, begin, stop: parts[level][0, begin:stop], end)
        np.testing.assert_allclose(heads.draft().probabilities, full.draft().probabilities, atol=1e-5)


def test_bf16_is_near_float32() -> None:
    this = case("rows")
    model = StaticModel(this.model, "bf16")
    assert model.weights.blocks[0][0].qkv.dtype == torch.bfloat16
    decoder = StaticDecoder(model, this.conditions)
    assert decoder.workspace.caches.levels[0].data.dtype == torch.bfloat16
    logits = this.feed(decoder, [90, 90])
    assert logits[0].dtype == np.float32
    error = np.abs(np.stack(logits) - this.expected[:, :90])
    assert 0.0 < error.mean() < 0.02 * np.abs(this.expected).mean()


@pytest.mark.parametrize("shape", [Shape(18, 2, 0), Shape(18, 0, 1), Shape(1, 2, 0), Shape(1, 1, 0), Shape(1, 0, 0)])
def test_a_pass_reads_no_value_back(shape: Shape) -> None:
    """On the meta device no tensor has values: whatever asks for one, or leaves the device, raises."""
    with torch.device("meta"):
        model = Hourglass(small_config(slice_rows=SLICE_ROWS)).requires_grad_(False)
    decoder = StaticDecoder(StaticModel(model, "bf16"), torch.zeros(2, 4, 16, device="meta"))
    with torch.inference_mode():
        logits = decoder.workspace.launch(shape)
    assert logits.shape == (2, shape.width, 7)
    with pytest.raises(RuntimeError, match="meta"):
        bool((logits > 0).any())


def flash_attn_as_documented(
    q: Tensor, keys: Tensor, values: Tensor, *, cache_seqlens: Tensor, causal: bool, window_size: tuple[int, int]
) -> Tensor:
    """flash_attn_with_kvcache in the words of its documentation.

    Of T queries and S keys, query i sees the keys i + S - T - window_size[0] to i + S - T + window_size[1]; where it is
    causal, none after i + S - T.
    """
    assert causal and cache_seqlens.dtype == torch.int32
    out = torch.zeros_like(q)
    count = q.shape[1]
    for b, total in enumerate(cache_seqlens.tolist()):
        for i in range(count):
            at = i + total - count
            seen = slice(max(0, at - window_size[0]), at + min(0, window_size[1]) + 1)
            scores = torch.einsum("hk,shk->hs", q[b, i], keys[b, seen]) * q.shape[-1] ** -0.5
            out[b, i] = torch.einsum("hs,shk->hk", scores.softmax(1), values[b, seen])
    return out


@pytest.mark.parametrize("name", ["plain", "narrow", "by level"])
def test_flash_attention_is_called_as_its_documentation_says(name: str) -> None:
    """Not the kernel, which needs a GPU (below): that lengths, window and layout mean to it what they mean to us."""
    this = case(name)
    model = StaticModel(this.model)
    model.attention = FlashAttention(flash_attn_as_documented)
    decoder = StaticDecoder(model, this.conditions, WIDTH, SLACK)
    for end in range(15, LENGTH, 15):
        begins, ends = decoder.lengths.copy(), [end, end // 2 + 1]
        this.check(this.feed(decoder, ends), begins, ends)
        this.feed(decoder, [end + 9, end // 2 + 7], wrong=True)
        decoder.truncate(0, ends[0])
        decoder.truncate(1, ends[1])


def test_wrong_input_names_the_range() -> None:
    this, decoder = case("rows"), decoder_of("rows")
    this.feed(decoder, [12, 5])
    row = np.zeros((1, 3, 6), np.uint8)
    for wrong, message in (
        (lambda: StaticModel(this.model, "int8"), "precision must be one of .*bf16.*, got 'int8'"),
        (lambda: StaticModel(this.model, attention="fast"), "attention must be one of .*sdpa.*, got 'fast'"),
        (lambda: StaticModel(this.model, attention="flash"), "attention 'flash' needs a CUDA device, bf16"),
        (lambda: StaticDecoder(static("rows"), this.conditions[0]), r"conditions must be \(B, S, 16\)"),
        (lambda: decoder_of("rows", width=0), "width must be at least 1, got 0"),
        (lambda: decoder_of("rows", slack=-1), "slack must be at least 1, got -1"),
        (lambda: decoder.truncate(0, 13), r"length must be in \[0, 12\], got 13"),
        (lambda: decoder.truncate(2, 1), r"sequence must be in \[0, 1\], got 2"),
        (lambda: decoder.extend([np.array([1])]), "tokens must be given for 2 sequences, got 1"),
        (lambda: decoder.extend([np.array([9]), None], [row, None]), r"tokens must be in \[0, 8\], got 9 to 9"),
        (lambda: decoder.extend([np.array([0.5]), None], [row, None]), "tokens must be integers"),
        (lambda: decoder.extend([np.array([1]), None]), r"rows must have the shape \(1, 16, 6\), got None"),
        (lambda: decoder.extend([np.array([1]), None], [row]), "rows must be given for 2 sequences, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
    with pytest.raises(ValueError, match="rows must be None"):
        decoder_of("plain").extend([np.array([1]), None], [row, None])
    assert decoder.lengths.tolist() == [12, 5]
