"""Short names for the random draws that shapes are made of, each from the generator handed down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A float in [low, high)."""
    return low + (high - low) * rng.random()


def whole(rng: np.random.Generator, low: int, high: int) -> int:
    """An integer in [low, high], both included."""
    return low + int(rng.random() * (high - low + 1))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of `options`, all equally likely."""
    return options[int(rng.random() * len(options))]


def sides(rng: np.random.Generator) -> int:
    """A side count as low-poly artists choose it: mostly 6 or 8, sometimes up to 24."""
    return pick(rng, (5, 6, 6, 6, 7, 8, 8, 8, 8, 8, 10, 10, 12, 12, 12, 16, 16, 24))
