"""Choosing tokens: greedy, or by the Gumbel maximum (DESIGN section 7).

The noise depends on (seed, position) alone.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.protocol import MAX_SEED

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15))


def _splitmix(x: np.ndarray) -> np.ndarray:
    """The splitmix64 finaliser, element by element."""
    with np.errstate(over="ignore"):
        x = x + _MIX[2]
        x = (x ^ (x >> np.uint64(30))) * _MIX[0]
        x = (x ^ (x >> np.uint64(27))) * _MIX[1]
    return x ^ (x >> np.uint64(31))


def gumbel_noise(seed: int, positions: np.ndarray, num_classes: int) -> np.ndarray:
    """Gumbel noise (N, num_classes) float32 of absolute positions (N,); the same whatever else is asked for.

    `seed` must be in [0, 2^32 - 1].
    """
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be in [0, {MAX_SEED}], got {seed}")
    positions = np.asarray(positions, dtype=np.uint64).reshape(-1, 1)
    with np.errstate(over="ignore"):
        key = _splitmix(positions * _MIX[2] + _splitmix(np.full((1, 1), seed, dtype=np.uint64)))
        bits = _splitmix(key + np.arange(num_classes, dtype=np.uint64)) >> np.uint64(40)
    uniform = (bits.astype(np.float64) + 0.5) / 2.0**24
    return (-np.log(-np.log(uniform))).astype(np.float32)


def choose(logits: np.ndarray, allowed: np.ndarray | None, temperature: float, noise: np.ndarray | None) -> int:
    """The token: arg max of the allowed logits over the temperature plus noise; of the logits alone at temperature 0.

    `logits` and `noise` (C,) float32, `allowed` (C,) bool with at least one True.
    """
    score = logits if temperature == 0.0 or noise is None else logits / np.float32(temperature) + noise
    if allowed is not None:
        score = np.where(allowed, score, -np.inf)
    return int(score.argmax())
