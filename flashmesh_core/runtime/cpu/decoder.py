"""The hourglass on a CPU at speed: the same numbers as `CachedDecoder`, whatever the chunks they are asked for in.

`FastModel` holds the weights, cut into panels once; `FastDecoder` holds a batch of growing sequences. The numbers of a
position are bitwise the same however positions are grouped into calls and sequences into batches, in both dtypes and
with any number of threads, since all of it runs in kernels whose sums have a fixed order (matmul.py, forward.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flashmesh_core.jit import refer
from flashmesh_core.runtime.chunks import check_conditions, check_cut, checked_pass, checked_slack
from flashmesh_core.runtime.cpu import forward
from flashmesh_core.runtime.cpu.attention import QUERIES
from flashmesh_core.runtime.cpu.cpu_features import LANES, PANEL
from flashmesh_core.runtime.cpu.weights import DTYPES, FastModel, Floats, in_pairs, padded, pick_dtype, to_numpy

__all__ = ["DTYPES", "FastDecoder", "FastModel", "pick_dtype"]


class _RollingRows:
    """Rows (B, T, D) by absolute position, each sequence with its own start; the last `keep` are kept."""

    def __init__(self, batch: int, keep: int, slack: int, dim: int) -> None:
        self.keep, self.capacity = keep, keep + slack
        self.data = np.zeros((batch, self.capacity, padded(dim)), np.float32)
        self.starts = np.zeros(batch, np.int64)

    def end(self, sequence: int) -> int:
        """The position after the last addressable one."""
        return int(self.starts[sequence]) + self.capacity

    def make_room(self, sequence: int, length: int, more: int) -> None:
        """Make positions length..length + more - 1 addressable."""
        old = int(self.starts[sequence])
        if length + more - old <= self.capacity:
            return
        start = max(old, length - self.keep)
        rows = self.data[sequence]
        rows[: self.capacity - (start - old)] = rows[start - old :].copy()
        self.starts[sequence] = start


class _LevelCache:
    """Keys, values and last-layer inputs of one level; keys in tiles of positions, values in panels of columns."""

    def __init__(self, fast: FastModel, level: int, conditions: Tensor, slack: int) -> None:
        config = fast.config
        batch, self.window = len(conditions), config.level_window(level)
        self.capacity = padded(self.window + slack + PANEL)
        width = config.dim // config.heads
        panels = padded(width) // PANEL
        shape = (len(fast.plans[level]), batch, config.heads)
        # Numbers in a word of the caches: key and value columns in pairs where the CPU multiplies bfloat16.
        self.per = 2 if fast.weights.dtype != np.float32 and width % (2 * LANES) == 0 else 1
        kind = (np.uint32 if fast.dtype == "int16" else fast.weights.dtype) if self.per == 2 else np.float32
        self.keys = np.zeros((*shape, self.capacity // PANEL, width // self.per, PANEL), kind)
        self.values = np.zeros((*shape, panels, self.capacity // self.per, PANEL), kind)
        self.starts = np.zeros(batch, np.int64)
        self.states = _RollingRows(batch, self.window, slack, config.dim)
        weights = fast.condition_weights[level]
        count = conditions.shape[1]
        shape = (len(weights), batch, config.heads)
        cross_keys: NDArray = np.zeros((*shape, padded(count) // PANEL, width, PANEL), np.float32)
        cross_values: NDArray = np.zeros((*shape, panels, padded(count), PANEL), np.float32)
        for layer, weight in enumerate(weights):
            for sequence in range(batch):  # one by one: a product's last bits may follow from its number of rows
                both = to_numpy(conditions[sequence] @ weight.t()).reshape(count, 2, config.heads, width)
                k = np.zeros((padded(count), config.heads, width), np.float32)
                k[:count] = both[:, 0]
                cross_keys[layer, sequence] = k.reshape(-1, PANEL, config.heads, width).transpose(2, 0, 3, 1)
                for panel in range(panels):
                    part = both[:, 1, :, panel * PANEL : (panel + 1) * PANEL].transpose(1, 0, 2)
                    cross_values[layer, sequence, :, panel, :count, : part.shape[2]] = part
        if self.per == 2:
            cross_keys, cross_values = in_pairs(cross_keys).view(kind), in_pairs(cross_values).view(kind)
        self.arguments = (
            self.keys, self.values, cross_keys, cross_values, count, self.starts, self.window,
            self.states.data, self.states.starts,
        )  # fmt: skip

    def make_room(self, sequence: int, length: int, more: int) -> None:
        """Make positions length..length + more - 1 addressable, keeping `window` before them. Starts are on tiles."""
        self.states.make_room(sequence, length, more)
        old = int(self.starts[sequence])
        if length + more - old <= self.capacity:
            return
        start = max(old, (length - self.window) // PANEL * PANEL)
        shift = start - old
        kept = self.capacity - shift
        keys, values = self.keys[:, sequence], self.values[:, sequence]
        keys[:, :, : kept // PANEL] = keys[:, :, shift // PANEL :].copy()
        values[:, :, :, : kept // self.per] = values[:, :, :, shift // self.per :].copy()
        self.starts[sequence] = start


class FastDecoder:
    """A batch of sequences over their conditions (B, S, D), each with its own length.

    Memory is bounded by the window. Longer chunks than `slack` tokens are taken in pieces.
    """

    def __init__(self, fast: FastModel, conditions: Tensor, slack: int | None = None) -> None:
        config = fast.config
        check_conditions(conditions, config.dim)
        self.fast, self.config = fast, config
        self.slack = checked_slack(slack, config.window)
        batch = len(conditions)
        self.lengths = np.zeros(batch, np.int64)
        self.lowest = np.zeros(batch, np.int64)
        conditions = conditions.detach().to("cpu", torch.float32)
        self.levels = [_LevelCache(fast, level, conditions, self.slack // 3**level + 2) for level in range(3)]
        self.coordinates, self.vertices = (_RollingRows(batch, 9, self.slack + 9, config.dim) for _ in range(2))
        self.from_faces, self.from_vertices = (_RollingRows(batch, 12, self.slack + 12, config.dim) for _ in range(2))
        scores = max(padded(conditions.shape[1]), *(level.capacity for level in self.levels))
        self.attention = (np.zeros((QUERIES, scores), np.float32), np.zeros((QUERIES + 1, PANEL), np.float32))
        self.rolling = tuple(
            (part.data, part.starts) for part in (self.coordinates, self.vertices, self.from_faces, self.from_vertices)
        )
        # How far each sequence can grow, and where it can be cut to, before rows must be moved.
        self.room, self.rolled = np.zeros(batch, np.int64), np.zeros(batch, np.int64)
        self._allocate(32)

    def _allocate(self, rows: int) -> None:
        dim, hidden = self.config.dim, self.fast.hidden
        widths = (dim, max(3 * dim, 2 * hidden, len(self.fast.bias)), max(dim, hidden))
        normed, wide, mixed = (np.zeros((rows, padded(width)), np.float32) for width in widths)
        self.scratch = (normed, wide, mixed, *self.attention)
        counts = (rows // 3**level + len(self.lengths) for level in range(3))
        self.x = tuple(np.zeros((count, padded(dim)), np.float32) for count in counts)
        self.arrays = None

    def _refer(self) -> None:
        """Make the reference to all arrays anew: they, or the rotary table, were made anew."""
        fast = self.fast
        self.table = fast.table
        caches = tuple(cache.arguments for cache in self.levels)
        self.arrays = refer(
            forward.Arrays(
                fast.arguments, fast.levels, fast.between, fast.ends, caches, self.rolling, fast.table, self.x,
                self.scratch,
            )
        )  # fmt: skip

    def truncate(self, sequence: int, length: int) -> None:
        """Forget everything of a sequence from position `length` on.

        Raises ValueError for an unknown sequence, and past the end or the rolled-out past.
        """
        check_cut(sequence, length, self.lowest, self.lengths)
        self.lengths[sequence] = length

    def states(self, level: int, sequence: int, begin: int, end: int) -> Floats:
        """Inputs of the last layer of a level (0 coordinate, 1 vertex, 2 face) at positions begin..end - 1, (T, D).

        A view, valid until the next `extend`. Raises ValueError outside what is complete and still kept.
        """
        buffer = self.levels[level].states
        start, length = int(buffer.starts[sequence]), int(self.lengths[sequence]) // 3**level
        if not start <= begin <= end <= length:
            raise ValueError(f"positions must be in [{start}, {length}], got {begin} to {end}")
        return buffer.data[sequence, begin - start : end - start, : self.config.dim]

    def state(self, level: int, sequence: int) -> Floats:
        """All that `states` can give; its last row is that of the newest complete position."""
        start = int(self.levels[level].states.starts[sequence])
        return self.states(level, sequence, start, max(start, int(self.lengths[sequence]) // 3**level))

    def extend(
        self, tokens: Sequence[NDArray | None], rows: Sequence[NDArray | None] | None = None
    ) -> list[Floats]:  # fmt: skip
        """Append tokens (N_b,) to each sequence and return the float32 logits (N_b, C) that follow each.

        None or no tokens leave a sequence as it is. `rows`: each sequence's slice rows (N_b, R, Q), needed exactly
        when the configuration names some. Raises ValueError for other shapes and for tokens out of range.
        """
        chunks, bits = checked_pass(tokens, rows, len(self.lengths), self.config, ranged=False)
        bits = [row.reshape(len(row), self.fast.kinds * self.config.num_bins) for row in bits]
        longest = max(len(chunk) for chunk in chunks)
        if longest <= self.slack:
            return self._advance(chunks, bits)
        pieces = [slice(begin, begin + self.slack) for begin in range(0, longest, self.slack)]
        parts = [self._advance([chunk[piece] for chunk in chunks], [bit[piece] for bit in bits]) for piece in pieces]
        return [np.concatenate(logits) for logits in zip(*parts, strict=True)]

    def _advance(self, chunks: list[NDArray], bits: list[NDArray]) -> list[Floats]:
        """All sequences' rows through every level at once; each sequence's logits (N_b, C)."""
        fast = self.fast
        active = [(b, int(self.lengths[b]), len(chunk)) for b, chunk in enumerate(chunks) if len(chunk)]
        count = sum(n for _, _, n in active)
        logits = np.empty((count, self.config.num_classes), np.float32)
        if not count:
            return [logits for _ in chunks]
        for sequence, length, more in active:
            if length + more > self.room[sequence]:
                self._make_room(sequence, length, length + more)
            self.lowest[sequence] = min(length, self.rolled[sequence])
        if count > len(self.scratch[0]):
            self._allocate(count)
        tokens = np.concatenate(chunks) if len(chunks) > 1 else np.ascontiguousarray(chunks[0])
        rows = np.concatenate(bits) if len(bits) > 1 else np.ascontiguousarray(bits[0])
        if self.arrays is None or self.table is not fast.table:
            self._refer()
        spans = np.array(active, np.int64)
        if not forward.run_pass(self.arrays, tokens.astype(np.int64, copy=False), spans, rows, logits):
            raise ValueError(f"tokens must be in [0, {self.config.pad}], got {tokens.min()} to {tokens.max()}")
        for sequence, length, more in active:
            self.lengths[sequence] = length + more
        if len(chunks) == 1:
            return [logits]
        ends = np.cumsum([len(chunk) for chunk in chunks])
        return [logits[end - len(chunk) : end] for chunk, end in zip(chunks, ends, strict=True)]

    def _make_room(self, sequence: int, n0: int, n1: int) -> None:
        self.fast.grow_table(n1)
        v0, v1 = n0 // 3, n1 // 3
        for level, cache in enumerate(self.levels):
            cache.make_room(sequence, n0 // 3**level, n1 // 3**level - n0 // 3**level)
        self.coordinates.make_room(sequence, n0, n1 - n0)
        self.vertices.make_room(sequence, v0, v1 - v0)
        self.from_faces.make_room(sequence, v0, v1 - v0 + 3)
        self.from_vertices.make_room(sequence, n0, n1 - n0 + 3)
        self.rolled[sequence] = max(
            3 * -(-int(self.coordinates.starts[sequence]) // 3),  # a group is made anew from all three of its inputs
            9 * -(-int(self.vertices.starts[sequence]) // 3),
            int(self.from_vertices.starts[sequence]),
            3 * int(self.from_faces.starts[sequence]),
            *(
                (int(cache.starts[sequence]) + cache.window - 1) * 3**level
                for level, cache in enumerate(self.levels)
                if cache.starts[sequence]
            ),
        )
        self.room[sequence] = min(
            len(self.fast.table[0]),
            self.coordinates.end(sequence),
            3 * self.vertices.end(sequence),
            3 * (self.from_faces.end(sequence) - 3),
            self.from_vertices.end(sequence) - 3,
            *(3**level * (int(cache.starts[sequence]) + cache.capacity) for level, cache in enumerate(self.levels)),
            *(3**level * cache.states.end(sequence) for level, cache in enumerate(self.levels)),
        )
