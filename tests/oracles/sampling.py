"""Choosing one token: greedy, or by the Gumbel maximum."""

from __future__ import annotations

import numpy as np


def choose(logits: np.ndarray, allowed: np.ndarray | None, temperature: float, noise: np.ndarray | None) -> int:
    """The token: arg max of the allowed logits over the temperature plus noise; of the logits alone at temperature 0.

    `logits` and `noise` (C,) float32, `allowed` (C,) bool with at least one True.
    """
    score = logits if temperature == 0.0 or noise is None else logits / np.float32(temperature) + noise
    if allowed is not None:
        score = np.where(allowed, score, -np.inf)
    return int(score.argmax())
