"""Choosing tokens: greedy, or by the Gumbel maximum.

The noise depends on (seed, position) alone. Compiled functions make it token by token, for those that can still win.
"""

from __future__ import annotations

import math

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.options import MAX_SEED
from flashmesh_core.splitmix import GOLDEN, splitmix

NOISE_RANGE = 20.5  # the largest noise less the smallest is 20.2
_S40 = np.uint64(40)
_ONE = 16777216.0  # of the noise's uniform numbers
# Those from which on noise may exceed 0, 1, 2 and so on: 1 - e^-x of them, which is below e^(-e^-x), less a margin.
_MAY_EXCEED = np.floor(_ONE * (1.0 - np.exp(-np.arange(19.0)))) - 4.0


@njit(cache=True)
def noise_key(seed: int, position: int) -> np.uint64:
    """What `noise_at` needs to know of a seed and an absolute position."""
    return splitmix(np.uint64(position) * GOLDEN + splitmix(np.uint64(seed)))


@njit(cache=True)
def noise_at(key: np.uint64, token: int) -> np.float32:
    """Gumbel noise of one token, from -2.9 to 17.4."""
    bits = splitmix(key + np.uint64(token)) >> _S40
    uniform = (np.float64(bits) + 0.5) / _ONE
    return np.float32(-math.log(-math.log(uniform)))


@njit(cache=True)
def _may_exceed(key: np.uint64, token: int, least: float) -> bool:
    """Whether the noise of a token may be more than `least`; without its logarithms, and never a wrong no."""
    if least < 1.0:
        return True
    bits = splitmix(key + np.uint64(token)) >> _S40
    return np.float64(bits) >= _MAY_EXCEED[min(int(least), len(_MAY_EXCEED) - 1)]


@njit(cache=True)
def choose_token(
    logits: np.ndarray, bias: np.ndarray, allowed: np.ndarray, temperature: float, seed: int, position: int
) -> int:
    """The token at an absolute position: arg max of the allowed (logits + bias) / temperature plus noise, (C,) each.

    At temperature 0 the noise is left out. Everything is in the type of `logits` and `bias` if `temperature` is too, so
    that a token does not depend on what else is asked. -1 where nothing is allowed.
    """
    best, highest = -1, logits[0]
    for token in range(len(logits)):
        if allowed[token] and (best < 0 or logits[token] + bias[token] > highest):
            best, highest = token, logits[token] + bias[token]
    if temperature == 0.0 or best < 0:
        return best
    bound = highest / temperature - np.float32(NOISE_RANGE)
    key = noise_key(seed, position)
    best = -1
    for token in range(len(logits)):
        if allowed[token]:
            score = (logits[token] + bias[token]) / temperature
            # No noise would make others the highest, and most of the rest have too little of it.
            if score >= bound and (best < 0 or _may_exceed(key, token, highest - score)):
                score += noise_at(key, token)
                if best < 0 or score > highest:
                    best, highest = token, score
    return best


@njit(cache=True)
def probability_of(token: int, log_p: np.ndarray, allowed: np.ndarray, temperature: float) -> float:
    """The probability of an allowed token under a temperature, from log probabilities (C,) of any scale."""
    top = -np.inf
    for other in range(len(log_p)):
        if allowed[other] and log_p[other] > top:
            top = log_p[other]
    floored = max(temperature, 0.05)
    total = 0.0
    for other in range(len(log_p)):
        if allowed[other] and log_p[other] > top - 12.0 * floored:  # the others' probabilities are nothing
            total += np.exp((log_p[other] - top) / floored)
    return np.exp((log_p[token] - top) / floored) / total


def noisy_scores(
    logits: np.ndarray, bias: np.ndarray, allowed: np.ndarray, temperature: float, seed: int, position: int
) -> np.ndarray:
    """What `choose_token` maximises, times the temperature, (C,) float64: in logits; -inf where nothing is allowed."""
    score = logits.astype(np.float64) + bias
    if temperature > 0:
        score = score + temperature * gumbel_noise(seed, np.array([position]), len(logits))[0]
    return np.where(allowed, score, -np.inf)


@njit(cache=True)
def _fill(seed: int, positions: np.ndarray, out: np.ndarray) -> None:
    for row in range(len(positions)):
        key = noise_key(seed, positions[row])
        for token in range(out.shape[1]):
            out[row, token] = noise_at(key, token)


def gumbel_noise(seed: int, positions: np.ndarray, num_classes: int) -> np.ndarray:
    """Gumbel noise (N, num_classes) float32 of absolute positions (N,); the same whatever else is asked for.

    `seed` must be in [0, 2^32 - 1].
    """
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be in [0, {MAX_SEED}], got {seed}")
    positions = np.asarray(positions, dtype=np.int64)
    noise = np.empty((len(positions), num_classes), dtype=np.float32)
    _fill(seed, positions, noise)
    return noise
