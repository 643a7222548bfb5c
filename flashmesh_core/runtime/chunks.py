"""What a decoder is given, checked: conditions, and in a pass each sequence's tokens and slice rows.

B sequences, N_b tokens each. All errors are ValueErrors that name what was given, what it may be and what it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flashmesh_core.config import ModelConfig


def checked_pass(
    tokens: Sequence[NDArray | None],
    rows: Sequence[NDArray | None] | None,
    batch: int,
    config: ModelConfig,
    *,
    ranged: bool = True,
) -> tuple[list[NDArray], list[NDArray]]:
    """Each sequence's tokens (N_b,) and rows (N_b, R, Q) uint8 of a pass, none for None.

    Without `ranged` the tokens' values are left to the kernel, which looks at them anyway.
    """
    chunks = checked_tokens(tokens, batch)
    if ranged:
        check_range(chunks, config.pad)
    return chunks, checked_rows(rows, chunks, len(config.slice_rows), config.num_bins)


def checked_tokens(tokens: Sequence[NDArray | None], batch: int) -> list[NDArray]:
    """Each sequence's tokens (N_b,) integers, none for None; a ValueError says what has another number or shape."""
    if len(tokens) != batch:
        raise ValueError(f"tokens must be given for {batch} sequences, got {len(tokens)}")
    chunks = [np.zeros(0, np.int64) if chunk is None else np.asarray(chunk) for chunk in tokens]
    for chunk in chunks:
        if chunk.ndim != 1 or (chunk.size and chunk.dtype.kind not in "iu"):
            raise ValueError(f"tokens must be integers (N,), got {chunk.dtype} of shape {chunk.shape}")
    return chunks


def check_range(chunks: Sequence[NDArray], top: int) -> None:
    """Raises a ValueError where a token is not in [0, top]."""
    for chunk in chunks:
        if chunk.size and not 0 <= int(chunk.min()) <= int(chunk.max()) <= top:
            raise ValueError(f"tokens must be in [0, {top}], got {int(chunk.min())} to {int(chunk.max())}")


def check_conditions(conditions: Tensor, dim: int) -> None:
    """Raises a ValueError where conditions are not (B, S, dim), with at least one of each."""
    if conditions.ndim != 3 or conditions.shape[2] != dim or 0 in conditions.shape:
        raise ValueError(f"conditions must be (B, S, {dim}), got {tuple(conditions.shape)}")


def checked_slack(slack: int | None, window: int) -> int:
    """How many tokens can be rolled back at least: `slack`, or what suits the window."""
    if slack is None:
        return max(window // 4, 288)
    if slack < 1:
        raise ValueError(f"slack must be at least 1, got {slack}")
    return slack


def check_cut(sequence: int, length: int, lowest: Sequence[int] | NDArray, lengths: Sequence[int] | NDArray) -> None:
    """Raises a ValueError for an unknown sequence, and for a length past its end or in the rolled-out past."""
    if not 0 <= sequence < len(lengths):
        raise ValueError(f"sequence must be in [0, {len(lengths) - 1}], got {sequence}")
    if not lowest[sequence] <= length <= lengths[sequence]:
        raise ValueError(f"length must be in [{lowest[sequence]}, {lengths[sequence]}], got {length}")


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
