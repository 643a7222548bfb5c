"""Verification: which drafts are what the backbone itself picks (paper Sec. 3.3; DESIGN section 7)."""

from __future__ import annotations

import numpy as np


def pick_tokens(
    logits_NC: np.ndarray, bias_NC: np.ndarray | None, allowed_NC: np.ndarray, temperature: float, noise_NC: np.ndarray
) -> np.ndarray:
    """The backbone's token at N positions, (N,) int64: arg max of the allowed logits over the temperature plus noise.

    `bias_NC` is guidance's part of the logits or None; at temperature 0 the noise is left out. Element by element, so
    that a position's token does not depend on what else is asked. -1 where nothing is allowed.
    """
    score = logits_NC if bias_NC is None else logits_NC + bias_NC
    if temperature > 0.0:
        score = score / np.float32(temperature) + noise_NC
    tokens = np.where(allowed_NC, score, np.float32(-np.inf)).argmax(axis=1)
    return np.where(allowed_NC.any(axis=1), tokens, -1)


def count_accepted(tokens_N: np.ndarray, drafts: np.ndarray) -> int:
    """How many of the `drafts` (N - 1,), from the first on, equal the backbone's tokens (N,)."""
    wrong = np.flatnonzero(tokens_N[: len(drafts)] != drafts)
    return int(wrong[0]) if len(wrong) else len(drafts)
