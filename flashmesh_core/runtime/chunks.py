"""What a decoder is given in a pass, checked: each sequence's tokens and slice rows. B sequences, N_b tokens each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def checked_tokens(tokens: Sequence[NDArray | None], batch: int) -> list[NDArray]:
    """Each sequence's tokens (N_b,) integers, none for None; a ValueError says what has another number or shape."""
    if len(tokens) != batch:
        raise ValueError(f"tokens must be given for {batch} sequences, got {len(tokens)}")
    chunks = [np.zeros(0, np.int64) if chunk is None else np.asarray(chunk) for chunk in tokens]
    for chunk in chunks:
        if chunk.ndim != 1 or (chunk.size and chunk.dtype.kind not in "iu"):
            raise ValueError(f"tokens must be integers (N,), got {chunk.dtype} of shape {chunk.shape}")
    return chunks


def checked_rows(
    rows: Sequence[NDArray | None] | None, chunks: list[NDArray], kinds: int, num_bins: int
) -> list[NDArray]:  # fmt: skip
    """Each sequence's rows (N_b, kinds, num_bins) uint8; (0, kinds, num_bins) where it has no tokens or there are none.

    A ValueError where rows are missing, are given although there are no kinds, or have another shape.
    """
    given = list(rows) if rows is not None else [None] * len(chunks)
    if len(given) != len(chunks):
        raise ValueError(f"rows must be given for {len(chunks)} sequences, got {len(given)}")
    checked = []
    for chunk, row in zip(chunks, given, strict=True):
        if not kinds and row is not None and len(row):
            raise ValueError("rows must be None, as slice_rows is empty")
        if not kinds or not len(chunk):
            checked.append(np.zeros((0, kinds, num_bins), np.uint8))
            continue
        shape = (len(chunk), kinds, num_bins)
        if row is None or row.shape != shape:
            raise ValueError(f"rows must have the shape {shape}, got {None if row is None else row.shape}")
        checked.append((row if row.dtype == np.uint8 else row != 0).astype(np.uint8, copy=False))
    return checked
