"""What every runtime offers decoding: a batch of sequences, each with its own length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor


class Decoder(Protocol):
    """What `runtime.cpu.decoder.FastDecoder`, `runtime.cuda.decoder.StaticDecoder` and `TorchDecoder` have in common.

    Each takes conditions (B, S, D), checks what it is given by `runtime.chunks`, whose ValueErrors all raise, and takes
    chunks of any length, in pieces where it must.
    """

    def extend(
        self, tokens: Sequence[np.ndarray | None], rows: Sequence[np.ndarray | None] | None = None
    ) -> list[np.ndarray]:
        """Append tokens (N_b,) to each sequence and return the float32 logits (N_b, C) that follow each.

        None or no tokens leave a sequence as it is. `rows`: each sequence's slice rows (N_b, R, Q), needed exactly when
        the configuration names some. Raises ValueError for other shapes and for tokens out of range.
        """

    def truncate(self, sequence: int, length: int) -> None:
        """Forget everything of a sequence from position `length` on.

        Raises ValueError for an unknown sequence, and past the end or the rolled-out past.
        """

    def states(self, level: int, sequence: int, begin: int, end: int) -> np.ndarray | Tensor:
        """Inputs of the last layer of a level (0 coordinate, 1 vertex, 2 face) at positions begin..end - 1, (T, D).

        Float32, on any device, valid until the next `extend`. Raises ValueError outside what is complete and kept.
        """
