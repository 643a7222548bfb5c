"""Noise that depends on seed and position alone and is Gumbel distributed; choosing among allowed tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from flashmesh_core.token_choice import MAX_SEED, NOISE_RANGE, gumbel_noise
from tests.oracles.sampling import choose

SEEDS = st.integers(0, MAX_SEED)


@given(seed=SEEDS, start=st.integers(0, 100_000), picks=st.lists(st.integers(0, 300), min_size=1, max_size=8))
def test_noise_depends_on_seed_and_position_alone(seed: int, start: int, picks: list[int]) -> None:
    whole = gumbel_noise(seed, np.arange(start, start + 301), 5)
    some = gumbel_noise(seed, start + np.array(picks), 5)
    np.testing.assert_array_equal(some, whole[picks])
    np.testing.assert_array_equal(gumbel_noise(seed, np.array([start]), 3)[0], whole[0, :3])


@given(seed=st.integers(0, MAX_SEED - 1), position=st.integers(0, 90_000))
def test_other_seeds_and_positions_have_other_noise(seed: int, position: int) -> None:
    noise = [
        gumbel_noise(s, np.array([p]), 8) for s, p in ((seed, position), (seed + 1, position), (seed, position + 1))
    ]
    assert not np.isclose(noise[0], noise[1]).all()
    assert not np.isclose(noise[0], noise[2]).all()


def test_no_two_noises_are_further_apart_than_the_range() -> None:
    """24 bits, taken at the middle of their steps, are what the noise is made of."""
    least, most = (-math.log(-math.log((bits + 0.5) / 2.0**24)) for bits in (0, 2**24 - 1))
    assert NOISE_RANGE - 0.5 < most - least < NOISE_RANGE
    noise = gumbel_noise(1, np.arange(3000), 129)
    assert least - 1e-5 <= noise.min() <= least + 1.0
    assert most - 10.0 <= noise.max() <= most + 1e-5


@pytest.mark.parametrize("seed", [0, 1, 12345, MAX_SEED])
def test_noise_is_gumbel_distributed(seed: int) -> None:
    noise = gumbel_noise(seed, np.arange(300), 129)
    assert noise.dtype == np.float32
    assert np.isfinite(noise).all()
    assert stats.kstest(noise.reshape(-1), "gumbel_r").pvalue > 1e-3
    for axis in (0, 1):  # neither neighbouring positions nor neighbouring classes go together
        a, b = np.take(noise, range(noise.shape[axis] - 1), axis), np.take(noise, range(1, noise.shape[axis]), axis)
        assert abs(np.corrcoef(a.reshape(-1), b.reshape(-1))[0, 1]) < 0.02


def test_neighbouring_seeds_are_independent() -> None:
    a, b = (gumbel_noise(seed, np.arange(300), 129).reshape(-1) for seed in (7, 8))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_choices_follow_the_softmax(temperature: float) -> None:
    logits = np.array([0.0, 1.0, -1.0, 2.0, 5.0], dtype=np.float32)
    allowed = np.array([True, True, True, True, False])
    noise = gumbel_noise(3, np.arange(8000), 5)
    counts = np.bincount([choose(logits, allowed, temperature, row) for row in noise], minlength=5)
    weight = np.where(allowed, np.exp(logits.astype(np.float64) / temperature), 0.0)
    assert counts[4] == 0
    assert stats.chisquare(counts[:4], (weight / weight.sum() * 8000)[:4]).pvalue > 1e-3


LOGITS = arrays(np.float32, 6, elements=st.floats(-20, 20, width=32))


@given(logits=LOGITS, allowed=arrays(np.bool_, 6).filter(np.any), seed=SEEDS)
def test_greedy_takes_the_best_allowed_and_ignores_the_noise(
    logits: np.ndarray, allowed: np.ndarray, seed: int
) -> None:
    noise = gumbel_noise(seed, np.array([0]), 6)[0]
    token = choose(logits, allowed, 0.0, noise)
    assert allowed[token]
    assert logits[token] == logits[allowed].max()
    assert choose(logits, None, 0.0, None) == logits.argmax()


@given(logits=LOGITS, allowed=arrays(np.bool_, 6).filter(np.any), temperature=st.floats(0.01, 2.0), seed=SEEDS)
def test_a_forbidden_token_is_never_chosen(
    logits: np.ndarray, allowed: np.ndarray, temperature: float, seed: int
) -> None:
    assert allowed[choose(logits, allowed, temperature, gumbel_noise(seed, np.array([9]), 6)[0])]


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"seed must be in \[0, 4294967295\], got {seed}"):
        gumbel_noise(seed, np.array([0]), 4)
