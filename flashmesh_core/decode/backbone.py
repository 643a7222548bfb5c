"""The backbone as decoding drives it: a batch of sequences, each with its own length, on a CPU or on a torch device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from flashmesh_core.model.cache import CachedDecoder
from flashmesh_core.model.hourglass import Hourglass


class Decoder(Protocol):
    """What `model.fast_cpu.FastDecoder` and `TorchDecoder` have in common."""

    def extend(
        self, tokens: Sequence[np.ndarray | None], rows: Sequence[np.ndarray | None] | None = None
    ) -> list[np.ndarray]:
        """Append tokens (N_b,) to each sequence, with slice rows (N_b, R, Q); the logits (N_b, C) that follow each."""

    def truncate(self, sequence: int, length: int) -> None:
        """Forget everything of a sequence from position `length` on."""

    def states(self, level: int, sequence: int, begin: int, end: int) -> np.ndarray | Tensor:
        """Inputs of the last layer of a level at positions begin..end - 1, (T, D)."""


class TorchDecoder:
    """One `CachedDecoder` a sequence: any torch device, and the float32 reference of the faster decoders."""

    def __init__(self, model: Hourglass, conditions_BSD: Tensor) -> None:
        self.decoders = [CachedDecoder(model, condition[None]) for condition in conditions_BSD]
        self.device = conditions_BSD.device

    @torch.inference_mode()
    def extend(
        self, tokens: Sequence[np.ndarray | None], rows: Sequence[np.ndarray | None] | None = None
    ) -> list[np.ndarray]:
        """See `Decoder`; the answer is one copy from the device a sequence."""
        answers = []
        for number, decoder in enumerate(self.decoders):
            chunk = tokens[number]
            if chunk is None or not len(chunk):
                answers.append(np.zeros((0, decoder.config.num_classes), dtype=np.float32))
                continue
            row = None if rows is None else rows[number]
            bits = None if row is None else torch.from_numpy(row).to(self.device).float()[None]
            logits = decoder.extend(torch.from_numpy(chunk).to(self.device)[None], bits)
            answers.append(logits[0].float().cpu().numpy())
        return answers

    def truncate(self, sequence: int, length: int) -> None:
        """See `Decoder`."""
        self.decoders[sequence].truncate(length)

    def states(self, level: int, sequence: int, begin: int, end: int) -> Tensor:
        """See `Decoder`."""
        return self.decoders[sequence].states(level, begin, end)
