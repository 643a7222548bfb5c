"""The CPU runtime against the reference decoder and against itself in other chunks, batches and after roll-backs."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from flashmesh_core.config import SLICE_ROWS, preset
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.runtime.cpu.cpu_features import HAS_TILES
from flashmesh_core.runtime.cpu.decoder import DTYPES, FastDecoder, FastModel, pick_dtype
from flashmesh_core.runtime.cpu.matmul import linear
from flashmesh_core.runtime.cpu.weights import as_dots, bfloat_bits, pack
from flashmesh_core.runtime.reference import CachedDecoder
from tests.model.builders import random_inputs, small_model

LENGTH = 420
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rows": {"slice_rows": SLICE_ROWS},
    "no cross below": {"cross_attention": (False, True, False), "coordinate_layers": (0, 1), "vertex_layers": (0, 2)},
    "two panels of head width": {"dim": 144, "heads": 2, "num_bins": 70, "ffn_ratio": 0.51},
    "caches in pairs": {"dim": 128, "heads": 2, "slice_rows": SLICE_ROWS},
    "narrow": {"window": 27, "slice_rows": SLICE_ROWS},
    "by level": {"window": 108, "level_windows": (18, 54, 108), "slice_rows": SLICE_ROWS},
}
Inputs = tuple[Hourglass, NDArray, Tensor, "NDArray | None"]


@cache
def case(name: str) -> Inputs:
    """A model, tokens (2, N), conditions and rows (2, N, R, Q) or None."""
    model = small_model(**CHANGES[name])
    tokens, conditions, rows = random_inputs(model, LENGTH, batch=2)
    return model, tokens.numpy(), conditions, None if rows is None else rows.numpy().astype(np.uint8)


@cache
def fast_model(name: str, dtype: str) -> FastModel:
    return FastModel(case(name)[0], dtype)


def decoder(name: str, dtype: str, sequences: slice = slice(0, 1), slack: int | None = None) -> FastDecoder:
    return FastDecoder(fast_model(name, dtype), case(name)[2][sequences], slack)


def feed(fast: FastDecoder, name: str, begin: int, end: int, sequence: int = 0) -> NDArray:
    _, tokens, _, rows = case(name)
    bits = None if rows is None else [rows[sequence, begin:end]]
    return fast.extend([tokens[sequence, begin:end]], bits)[0]


def one_by_one(name: str, dtype: str, sequence: int = 0, slack: int | None = None) -> NDArray:
    fast = decoder(name, dtype, slice(sequence, sequence + 1), slack)
    return np.concatenate([feed(fast, name, at, at + 1, sequence) for at in range(LENGTH)])


def chunks(seed: int, longest: int = 30) -> list[tuple[int, int]]:
    bounds, generator = [0], np.random.default_rng(seed)
    while bounds[-1] < LENGTH:
        bounds.append(min(LENGTH, bounds[-1] + int(generator.integers(1, longest + 1))))
    return list(pairwise(bounds))


@pytest.mark.parametrize("name", CHANGES)
def test_float32_agrees_with_the_full_forward_pass_and_the_reference(name: str) -> None:
    model, tokens, conditions, rows = case(name)
    bits = None if rows is None else torch.from_numpy(rows[:1]).float()
    full = model(torch.from_numpy(tokens[:1]), conditions[:1], bits)[0].numpy()
    fast = decoder(name, "float32", slack=36)
    reference = CachedDecoder(model, conditions[:1], slack=36)
    for begin, end in chunks(1):
        logits = feed(fast, name, begin, end)
        part = None if bits is None else bits[:, begin:end]
        np.testing.assert_allclose(
            logits, reference.extend(torch.from_numpy(tokens[:1, begin:end]), part)[0].numpy(), atol=1e-4
        )
        np.testing.assert_allclose(logits, full[begin:end], atol=1e-4)


@pytest.mark.parametrize("name", ["debug", "nano"])
def test_the_presets_agree_with_the_full_forward_pass(name: str) -> None:
    model = Hourglass(preset(name)).eval().requires_grad_(False)
    tokens, conditions, rows = random_inputs(model, 45)
    assert rows is not None
    fast = FastDecoder(FastModel(model, "float32"), conditions)
    logits = fast.extend([tokens[0].numpy()], [rows[0].numpy().astype(np.uint8)])[0]
    np.testing.assert_allclose(logits, model(tokens, conditions, rows)[0].numpy(), atol=1e-4)


def test_bf16_is_float32_over_rounded_matrices() -> None:
    model = small_model(seed=3)
    for block in (*model.coordinate_down, *model.coordinate_up, *model.vertex_down, *model.vertex_up, *model.face):
        for layer in (block.attention.qkv, block.attention.out, block.cross.q, block.cross.out):
            layer.weight.copy_(layer.weight.bfloat16())
        block.feed_forward.up.weight.copy_(block.feed_forward.up.weight.bfloat16())
        block.feed_forward.down.weight.copy_(block.feed_forward.down.weight.bfloat16())
    for layer in (model.vertex_in, model.face_in, model.face_out, model.vertex_out):
        layer.weight.copy_(layer.weight.bfloat16())
    tokens, conditions, _ = random_inputs(model, 27)
    models = [FastModel(model, dtype) for dtype in ("bf16", "float32")]
    logits = [FastDecoder(fast, conditions).extend([tokens[0].numpy()])[0] for fast in models]
    if HAS_TILES:  # activations, keys and values are rounded as well
        scale = np.abs(logits[1]).max()
        assert 0 < np.abs(logits[0] - logits[1]).max() < 0.03 * scale
    else:
        assert np.array_equal(*logits)


@pytest.mark.skipif(not HAS_TILES, reason="this CPU has no tiles of bfloat16")
@pytest.mark.parametrize("depth", [80, 96, 256])
@pytest.mark.parametrize("rows", [1, 2, 5, 6, 16, 18, 33])
def test_tiles_multiply_rounded_numbers(rows: int, depth: int) -> None:
    """With depths that tiles take whole (a multiple of 32) and not."""
    rng = np.random.default_rng(rows)
    columns = 70
    x = np.zeros((rows, 256), np.float32)
    x[:, :depth] = rng.standard_normal((rows, depth))
    matrix = rng.standard_normal((columns, depth)).astype(np.float32)
    y = np.zeros((rows, 128), np.float32)
    linear(x, depth, as_dots(pack(matrix, "bf16")), 0, 2, y, columns, rows)

    def rounded(numbers: np.ndarray) -> np.ndarray:
        return (bfloat_bits(numbers).astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)

    assert np.abs(y[:, :columns] - rounded(x[:, :depth].copy()) @ rounded(matrix).T).max() < 1e-4
    assert not y[:, columns:].any()
    for row in range(rows):
        alone = np.zeros((1, 128), np.float32)
        linear(x[row : row + 1], depth, as_dots(pack(matrix, "bf16")), 0, 2, alone, columns, 1)
        assert np.array_equal(alone[0], y[row])
    assert not np.array_equal(one_by_one("plain", "bf16"), one_by_one("plain", "float32"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CHANGES)
def test_any_chunks_give_the_same_bits(name: str, dtype: str) -> None:
    expected = one_by_one(name, dtype, slack=36)
    for seed in range(4):
        fast = decoder(name, dtype, slack=36)
        assert np.array_equal(np.concatenate([feed(fast, name, *chunk) for chunk in chunks(seed)]), expected)
    fast = decoder(name, dtype, slack=36)
    assert np.array_equal(feed(fast, name, 0, LENGTH), expected)  # taken in pieces of 36


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["rows", "narrow", "by level"])
def test_a_batch_gives_the_bits_of_each_sequence_alone(name: str, dtype: str) -> None:
    _, tokens, _, rows = case(name)
    assert rows is not None
    fast = decoder(name, dtype, slice(0, 2), slack=36)
    got: list[list[NDArray]] = [[], []]
    generator = np.random.default_rng(5)
    while fast.lengths.min() < LENGTH:
        counts = generator.integers(0, 20, 2)
        ends = np.minimum(fast.lengths + counts, LENGTH)
        parts = [slice(int(a), int(b)) for a, b in zip(fast.lengths, ends, strict=True)]
        given = [tokens[b, part] if part.stop > part.start else None for b, part in enumerate(parts)]
        for b, logits in enumerate(fast.extend(given, [rows[b, part] for b, part in enumerate(parts)])):
            got[b].append(logits)
    for b in range(2):
        assert np.array_equal(np.concatenate(got[b]), one_by_one(name, dtype, b, slack=36))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["plain", "narrow", "by level"])
def test_rolled_back_positions_are_made_anew(name: str, dtype: str) -> None:
    expected = one_by_one(name, dtype, slack=36)
    _, tokens, _, rows = case(name)
    fast = decoder(name, dtype, slack=36)
    generator = np.random.default_rng(2)
    at = 0
    while at < LENGTH - 20:
        count, kept = int(generator.integers(1, 20)), 0
        wrong = (tokens[0, at : at + count] + 1) % 6  # a drafted path that is taken back
        fast.extend([wrong], None if rows is None else [1 - rows[0, at : at + count]])
        fast.truncate(0, at)
        kept = int(generator.integers(1, 20))
        assert np.array_equal(feed(fast, name, at, at + kept), expected[at : at + kept])
        back = int(generator.integers(0, kept + 1))
        fast.truncate(0, max(at + kept - back, int(fast.lowest[0])))
        at = int(fast.lengths[0])


def test_states_are_the_inputs_of_the_last_layers() -> None:
    model, tokens, conditions, rows = case("rows")
    assert rows is not None
    states = model.states(torch.from_numpy(tokens[:1]), conditions[:1], torch.from_numpy(rows[:1]).float())
    fast = decoder("rows", "float32")
    for chunk in chunks(3):
        feed(fast, "rows", *chunk)
    fast.truncate(0, 400)
    for level, expected in enumerate((states.coordinate_BND, states.vertex_BVD, states.face_BFD)):
        count = 400 // 3**level
        assert fast.state(level, 0).shape == (count, model.config.dim)
        np.testing.assert_allclose(fast.state(level, 0), expected[0, :count].numpy(), atol=1e-4)
        np.testing.assert_array_equal(fast.states(level, 0, count - 4, count - 1), fast.state(level, 0)[-4:-1])
    with pytest.raises(ValueError, match=r"positions must be in \[0, 400\], got 399 to 401"):
        fast.states(0, 0, 399, 401)


def test_memory_is_bounded_and_old_states_fall_out() -> None:
    fast = decoder("narrow", "float32", slack=36)
    before = [level.keys.shape for level in fast.levels]
    for _ in range(10):
        for chunk in chunks(0):
            feed(fast, "narrow", *chunk)
    assert fast.lengths[0] == 10 * LENGTH
    assert [level.keys.shape for level in fast.levels] == before
    assert 27 <= len(fast.state(0, 0)) <= 27 + 38
    lowest = fast.lowest[0]
    assert 10 * LENGTH - 200 < lowest < 10 * LENGTH
    with pytest.raises(ValueError, match=rf"length must be in \[{lowest}, 4200\], got {lowest - 1}"):
        fast.truncate(0, lowest - 1)


def test_wrong_input_is_named() -> None:
    fast, with_rows = decoder("plain", "float32"), decoder("rows", "float32")
    tokens = np.array([1, 2, 3])
    with pytest.raises(ValueError, match=r"dtype must be one of \('bf16', 'int16', 'float32'\), got 'half'"):
        FastModel(case("plain")[0], "half")
    with pytest.raises(ValueError, match=r"conditions must be \(B, S, 16\), got \(1, 3, 8\)"):
        FastDecoder(fast.fast, torch.zeros(1, 3, 8))
    with pytest.raises(ValueError, match="slack must be at least 1, got 0"):
        FastDecoder(fast.fast, torch.zeros(1, 3, 16), slack=0)
    with pytest.raises(ValueError, match="tokens must be given for 1 sequences, got 2"):
        fast.extend([tokens, tokens])
    with pytest.raises(ValueError, match=r"tokens must be in \[0, 8\], got 1 to 9"):
        fast.extend([np.array([1, 9])])
    with pytest.raises(ValueError, match=r"tokens must be integers \(N,\), got float64"):
        fast.extend([np.array([0.5])])
    with pytest.raises(ValueError, match="rows must be None, as slice_rows is empty"):
        fast.extend([tokens], [np.zeros((3, 1, 6), np.uint8)])
    with pytest.raises(ValueError, match=r"rows must have the shape \(3, 16, 6\), got None"):
        with_rows.extend([tokens])
    with pytest.raises(ValueError, match=r"rows must have the shape \(3, 16, 6\), got \(2, 3, 6\)"):
        with_rows.extend([tokens], [np.zeros((2, 3, 6), np.uint8)])
    with pytest.raises(ValueError, match=r"sequence must be in \[0, 0\], got 1"):
        fast.truncate(1, 0)
    with pytest.raises(ValueError, match=r"length must be in \[0, 0\], got 1"):
        fast.truncate(0, 1)
    assert fast.lengths[0] == 0 == with_rows.lengths[0]
    assert [part.shape for part in fast.extend([None])] == [(0, 7)]


def test_packing_keeps_numbers_and_pads_with_zeros() -> None:
    matrix = np.random.default_rng(0).standard_normal((70, 5)).astype(np.float32)
    panels = pack(matrix, "float32").reshape(2, 5, 64)
    assert np.array_equal(panels.transpose(0, 2, 1).reshape(128, 5)[:70], matrix)
    assert not panels[1, :, 6:].any()
    words = pack(matrix, "bf16").reshape(2, 3, 64)
    odd = (words & np.uint32(0xFFFF0000)).view(np.float32)
    even = (words << np.uint32(16)).view(np.float32)
    both = np.stack([even, odd], axis=2).reshape(2, 6, 64).transpose(0, 2, 1).reshape(128, 6)
    assert np.array_equal(both[:70, :5], torch.from_numpy(matrix).bfloat16().float().numpy())
    assert not both[:, 5].any()


def test_the_picked_dtype_can_be_used() -> None:
    assert pick_dtype() in DTYPES
