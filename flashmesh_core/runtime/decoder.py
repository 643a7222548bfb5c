"""What every runtime offers decoding: a batch of sequences, each with its own length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor


class Decoder(Protocol):
    """What `runtime.cpu.decoder.FastDecoder` and `TorchDecoder` have in common."""

    def extend(
        self, tokens: Sequence[np.ndarray | None], rows: Sequence[np.ndarray | None] | None = None
    ) -> list[np.ndarray]:
        """Append tokens (N_b,) to each sequence, with slice rows (N_b, R, Q); the logits (N_b, C) that follow each."""

    def truncate(self, sequence: int, length: int) -> None:
        """Forget everything of a sequence from position `length` on."""

    def states(self, level: int, sequence: int, begin: int, end: int) -> np.ndarray | Tensor:
        """Inputs of the last layer of a level at positions begin..end - 1, (T, D)."""
