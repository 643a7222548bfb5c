"""Models, inputs and expected logits for the tests of the static decoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.runtime.cuda.decoder import StaticDecoder
from tests.model.builders import random_inputs, small_model

LENGTH = 150
SLACK = 21
WIDTH = 18
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rows": {"slice_rows": SLICE_ROWS},
    "narrow": {"window": 45, "slice_rows": SLICE_ROWS},
    "by level": {"window": 63, "level_windows": (18, 36, 63), "slice_rows": SLICE_ROWS},
    "no cross below": {"cross_attention": (False, True, False), "coordinate_layers": (0, 1), "vertex_layers": (0, 2)},
}


class Case:
    """A model, two sequences' tokens (2, N), conditions and rows, and the logits (2, N, C) of the full forward pass."""

    def __init__(self, model: Hourglass, length: int) -> None:
        tokens, self.conditions, rows = random_inputs(model, length, batch=2)
        self.expected = model(tokens, self.conditions, rows).numpy()
        self.levels = model.states(tokens, self.conditions, rows)
        self.model, self.tokens = model, tokens.numpy()
        self.rows = None if rows is None else rows.numpy().astype(np.uint8)

    def feed(self, decoder: StaticDecoder, ends: Sequence[int], wrong: bool = False) -> list[NDArray]:
        """Extend each sequence up to its end; `wrong` tokens and rows are those of a path to be taken back."""
        spans = [slice(int(begin), end) for begin, end in zip(decoder.lengths, ends, strict=True)]
        tokens = [self.tokens[b, span] for b, span in enumerate(spans)]
        rows = None if self.rows is None else [self.rows[b, span] for b, span in enumerate(spans)]
        if wrong:
            tokens = [(chunk + 1) % self.model.config.num_bins for chunk in tokens]
            rows = None if rows is None else [1 - row for row in rows]
        return decoder.extend([chunk if len(chunk) else None for chunk in tokens], rows)

    def check(self, logits: list[NDArray], begins: NDArray, ends: Sequence[int]) -> None:
        for b, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            np.testing.assert_allclose(logits[b], self.expected[b, begin:end], atol=1e-4, rtol=1e-4)


@cache
def case(name: str) -> Case:
    return Case(small_model(**CHANGES[name]), LENGTH)
