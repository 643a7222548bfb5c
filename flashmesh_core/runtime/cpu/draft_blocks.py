"""The draft heads' blocks on a CPU at speed: weights, caches and calls of draft_forward.py.

See draft_blocks.py for what the blocks are.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flashmesh_core.model.draft_heads import NUM_LABELS, HFBlock, SPBlock
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.model.layers import RMSNorm, rope_table
from flashmesh_core.runtime.cpu import draft_forward
from flashmesh_core.runtime.cpu.attention import QUERIES
from flashmesh_core.runtime.cpu.cpu_features import PANEL
from flashmesh_core.runtime.cpu.weights import Floats, pack, padded, to_numpy
from flashmesh_core.runtime.draft_blocks import (
    COORDINATE,
    FACE,
    VERTEX,
    WIDTH,
    BlockPart,
    ReadStates,
    copy_for_condition,
)


def _folded(norm: RMSNorm, weight_ED: Tensor) -> Floats:
    return to_numpy(weight_ED.float() * norm.weight.float())


class _Pool:
    """Matrices of one block: those of one kind follow each other."""

    def __init__(self, dtype: str) -> None:
        self.dtype, self.parts, self.used = dtype, [np.zeros(0, np.uint32 if dtype == "bf16" else np.float32)], 0
        self.at: list[int] = []
        self.strides: list[int] = []

    def add(self, matrices: list[Floats]) -> None:
        """Append matrices (N, K) of one kind."""
        packed = [pack(matrix, self.dtype) for matrix in matrices]
        self.at.append(self.used)
        self.strides.append(packed[0].size)
        self.parts += packed
        self.used += sum(part.size for part in packed)

    def add_each(self, weight_PDE: Tensor, drafts: int, norm: RMSNorm | None = None) -> None:
        """Append every draft's (D, E), the form of `SPBlock`'s and `HFBlock`'s parameters."""
        transposed = weight_PDE[:drafts].float().transpose(1, 2)
        self.add([to_numpy(matrix) if norm is None else _folded(norm, matrix) for matrix in transposed])

    def finish(self) -> tuple[NDArray, NDArray[np.int64], NDArray[np.int64]]:
        """All matrices, where each kind begins, and each kind's stride."""
        return np.concatenate(self.parts), np.array(self.at, np.int64), np.array(self.strides, np.int64)


class _Level:
    """The accepted states of one level as keys and values of every block that reads them; older ones fall out."""

    def __init__(self, level: int, window: int, dim: int, heads: int) -> None:
        self.level, self.window, self.dim, self.width = level, window, dim, dim // heads
        self.done = self.start = 0
        self.heads = 0
        self._keys: list[Floats] = []
        self._values: list[Floats] = []

    def add(self, norm: RMSNorm, keys_ED: Tensor, values_ED: Tensor) -> int:
        """Let a block read this level; returns its first head."""
        first = self.heads
        self._keys.append(_folded(norm, keys_ED))
        self._values.append(_folded(norm, values_ED))
        self.heads += len(keys_ED) // self.width
        return first

    def finish(self, dtype: str) -> None:
        """Fuse the matrices and allocate the caches."""
        if not self.heads:
            return
        self.weights = pack(np.concatenate(self._keys + self._values), dtype)
        self._keys, self._values = [], []
        self._allocate()

    def empty_copy(self) -> _Level:
        """The same level of another sequence, still empty."""
        made = copy.copy(self)
        made.done = made.start = 0
        if self.heads:
            made._allocate()
        return made

    def _allocate(self) -> None:
        self.keep = self.window + 9 // WIDTH[self.level]  # a block's newest query may stand before the newest state
        self.piece = max(self.keep // 4, 64)
        self.capacity = padded(self.keep + self.piece + PANEL)
        self.keys = np.zeros((self.heads, self.capacity // PANEL, self.width, PANEL), np.float32)
        self.values = np.zeros((self.heads, padded(self.width) // PANEL, self.capacity, PANEL), np.float32)
        self.x = np.zeros((1, padded(self.dim)), np.float32)
        self.normed = np.zeros_like(self.x)
        self.wide = np.zeros((1, padded(2 * self.heads * self.width)), np.float32)
        self.newest = np.zeros((1, padded(self.dim)), np.float32)

    def advance(self, read: ReadStates, end: int, blocks: CompiledBlocks) -> None:
        """Take in the states done..end - 1, or as many of the last as any query can still see."""
        if end <= self.done or not self.heads:
            return
        begin = max(self.done, end - self.keep)
        while begin < end:
            count = min(end - begin, self.piece)
            states = np.asarray(read(self.level, begin, begin + count))
            if states.shape != (count, self.dim):
                raise ValueError(
                    f"states of level {self.level} at positions {begin} to {begin + count - 1} must have the shape "
                    f"{(count, self.dim)}, got {states.shape}"
                )
            self._make_room(begin, count)
            if count > len(self.x):
                self.x, self.normed, self.wide = (
                    np.zeros((count, part.shape[1]), np.float32) for part in (self.x, self.normed, self.wide)
                )
            self.x[:count, : self.dim] = states
            draft_forward.take(
                self.x, count, begin, self.weights, blocks.per_word, blocks.ones, self.width, self.start,
                blocks.table(begin + count), self.keys, self.values, self.normed, self.wide,
            )  # fmt: skip
            begin += count
        self.newest[0] = self.x[count - 1]
        self.done = end

    def _make_room(self, length: int, more: int) -> None:
        if length + more - self.start <= self.capacity:
            return
        start = max(self.start, (length - self.keep) // PANEL * PANEL)
        shift = start - self.start
        kept = self.capacity - shift
        if kept > 0:
            self.keys[:, : kept // PANEL] = self.keys[:, shift // PANEL :].copy()
            self.values[:, :, :kept] = self.values[:, :, shift:].copy()
        self.start = start

    def seen(self, last: int) -> tuple[int, int]:
        """First key, and last key + 1, in the caches, that a query at position `last` sees."""
        return max(0, last - self.window + 1) - self.start, last + 1 - self.start


class _Speculation(BlockPart):
    """An SP-Block's first `drafts` heads."""

    def __init__(self, block: SPBlock, level: _Level, drafts: int, condition_1LD: Tensor, blocks: CompiledBlocks):
        dim, heads = level.dim, block.heads
        used, at = drafts * dim, block.drafts * dim
        self.level, self.drafts = level, drafts
        self.owned = level.add(block.norm, block.kv.weight[:used], block.kv.weight[at : at + used])
        pool = _Pool(blocks.dtype)
        pool.add([_folded(block.norm, part) for part in block.q.weight[:used].split(dim)])
        pool.add_each(block.attention_out, drafts)
        pool.add_each(block.cross_q, drafts, block.cross_norm)
        pool.add_each(block.cross_out, drafts)
        pool.add_each(block.linear, drafts, block.linear_norm)
        weights, begin, strides = pool.finish()
        self.block = (weights, begin, int(strides[0]))
        self.dims = (blocks.per_word, heads, blocks.ones, drafts)
        self.module = block
        self.look_at(condition_1LD)

    def look_at(self, condition_1LD: Tensor) -> None:
        """Make the keys and values of the condition."""
        count, width = self.drafts * self.module.heads, self.level.width
        k, v = (part[0, :count] for part in self.module.condition(condition_1LD.to(self.module.cross_kv.weight.dtype)))
        self.conditions = k.shape[1]
        room = padded(self.conditions)
        keys = np.zeros((count, room, width), np.float32)
        keys[:, : self.conditions] = to_numpy(k)
        values = np.zeros((count, room, padded(width)), np.float32)
        values[:, : self.conditions, :width] = to_numpy(v)
        self.cross = (
            np.ascontiguousarray(keys.reshape(count, -1, PANEL, width).swapaxes(2, 3)),
            np.ascontiguousarray(values.reshape(count, room, -1, PANEL).swapaxes(1, 2)),
        )

    def __call__(self, node: int, skip: int, out: Floats, blocks: CompiledBlocks) -> int:
        """Drafted states of the newest node into `out`, without the first `skip` heads; returns how many."""
        level = self.level
        draft_forward.speculate(
            level.newest, skip, self.block, self.dims, (level.keys, level.values, self.owned), level.seen(node), node,
            self.cross, self.conditions, blocks.table(node + 1), blocks.scratch, out,
        )  # fmt: skip
        return self.drafts - skip


class _Fusion(BlockPart):
    """An HF-Block's first `positions` positions; without `fuse` it only upsamples."""

    def __init__(self, block: HFBlock, level: _Level, positions: int, fuse: bool, blocks: CompiledBlocks) -> None:
        dim = level.dim
        self.level, self.positions, self.fuse, self.owned = level, positions, fuse, 0
        pool = _Pool(blocks.dtype)
        pool.add([to_numpy(block.upsample.weight)])
        hidden = block.ffn_in.shape[-1] if fuse else 0
        if fuse:
            self.owned = level.add(block.key_norm, block.kv.weight[:dim], block.kv.weight[dim:])
            pool.add_each(block.q, positions, block.query_norm)
            pool.add_each(block.ffn_in, positions, block.ffn_norm)
            pool.add_each(block.ffn_out, positions)
        self.block = pool.finish()
        self.dims = (blocks.per_word, block.heads, blocks.ones, hidden, positions)

    def __call__(self, h: Floats, count: int, first: int, skip: int, out: Floats, blocks: CompiledBlocks) -> int:
        """Lower-level states into `out`, without the first `skip` positions; returns how many.

        `first` is the absolute position of the block's position 0; `h` holds the upper level's last `count` states.
        """
        level = self.level
        keys = (level.keys, level.values, self.owned) if self.fuse else blocks.nothing
        draft_forward.refine(
            h, count, skip, self.block, self.dims, keys, level.seen(first - 1), first,
            blocks.table(first + self.positions), blocks.scratch, out,
        )  # fmt: skip
        return self.positions - skip


class CompiledBlocks:
    """`DraftBlocks` in compiled kernels. Arguments as in `TorchBlocks`; sums are float32 whatever the dtype."""

    def __init__(
        self, model: Hourglass, condition_1LD: Tensor, tokens: tuple[int, int, int], fusion: bool, dtype: torch.dtype
    ) -> None:
        config, heads = model.config, model.drafts
        dim = config.dim
        self.dtype = "bf16" if dtype == torch.bfloat16 else "float32"
        self.per_word = 2 if self.dtype == "bf16" else 1
        self.num_classes, self.width = config.num_classes, dim // config.heads
        self.ones = np.ones(dim, np.float32)
        self._table = (np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
        self.levels = [_Level(k, config.level_window(k), dim, config.heads) for k in range(3)]
        coordinate, vertex, face = self.levels
        if tokens[COORDINATE]:
            self.coordinate = _Speculation(heads.coordinate, coordinate, tokens[COORDINATE], condition_1LD, self)
        if tokens[VERTEX]:
            drafts = tokens[VERTEX] // 3
            self.vertex = _Speculation(heads.vertex, vertex, drafts, condition_1LD, self)
            self.vertex_to_coordinate = _Fusion(heads.vertex_to_coordinate, coordinate, 3 * drafts, fusion, self)
        if tokens[FACE]:
            drafts = tokens[FACE] // 9
            self.face = _Speculation(heads.face, face, drafts, condition_1LD, self)
            self.face_to_vertex = _Fusion(heads.face_to_vertex, vertex, 3 * drafts, fusion, self)
            self.face_to_coordinate = _Fusion(heads.face_to_coordinate, coordinate, 9 * drafts, fusion, self)
        for level in self.levels:
            level.finish(self.dtype)
        self.head = pack(_folded(model.out_norm, model.head.weight), self.dtype)
        upper = bool(tokens[VERTEX] or tokens[FACE])
        self.label_DL = to_numpy(heads.label.weight.T) if upper else np.zeros((dim, NUM_LABELS), np.float32)
        self.label_bias = to_numpy(heads.label.bias) if upper else np.zeros(NUM_LABELS, np.float32)
        self.sizes = (dim, config.num_classes, sum(tokens), max(tokens), int(dim * config.draft_ffn_ratio))
        self._allocate()

    def for_condition(self, condition_1LD: Tensor) -> CompiledBlocks:
        """See `DraftBlocks.for_condition`."""
        made = copy_for_condition(self, condition_1LD)
        made._allocate()
        return made

    def _allocate(self) -> None:
        dim, classes, total, most, hidden = self.sizes

        def rows(count: int, columns: int) -> Floats:
            return np.zeros((max(count, 1), padded(columns)), np.float32)

        conditions = [part.conditions for part in vars(self).values() if isinstance(part, _Speculation)]
        longest = max(
            PANEL,
            *(level.capacity for level in self.levels if level.heads),
            *(padded(count) for count in conditions),
        )
        self.scratch = (
            rows(most, dim), rows(most, dim), rows(most, dim), rows(most, dim), rows(most, 3 * dim),
            rows(most, hidden), rows(QUERIES, longest), rows(QUERIES + 1, PANEL),
        )  # fmt: skip
        self.upper = rows(most, dim)
        self.states, self.label_states = rows(total, dim), rows(total, dim)
        self.normed, self.wide = rows(total, dim), rows(total, classes)
        self.filled = self.label_filled = 0
        self.nothing = (np.zeros((1, 1, 1, PANEL), np.float32), np.zeros((1, 1, 1, PANEL), np.float32), 0)

    def table(self, positions: int) -> tuple[Floats, Floats]:
        """Rotary cosines and sines of `positions` positions at least."""
        if positions > len(self._table[0]):
            cos, sin = rope_table(torch.arange(max(4096, 2 * positions)), self.width)
            self._table = (to_numpy(cos), to_numpy(sin))
        return self._table

    def advance(self, read: ReadStates, length: int) -> None:
        """See `DraftBlocks.advance`."""
        for level in self.levels:
            level.advance(read, length // WIDTH[level.level], self)

    def run(self, level: int, node: int, skip: int) -> tuple[int, int]:
        """See `DraftBlocks.run`."""
        out, labels = self.states[self.filled :], self.label_states[self.label_filled :]
        known = 0
        if level == COORDINATE:
            count = self.coordinate(node, skip, out, self)
        elif level == VERTEX:
            known = self.vertex(node, skip // 3, labels, self)
            count = self.vertex_to_coordinate(labels, known, 3 * (node + 1), skip, out, self)
        else:
            faces = self.face(node, skip // 9, self.upper, self)
            known = self.face_to_vertex(self.upper, faces, 3 * (node + 1), skip // 3, labels, self)
            count = self.face_to_coordinate(labels, known, 9 * (node + 1), skip, out, self)
        self.filled += count
        self.label_filled += known
        return count, known

    def distributions(self) -> tuple[np.ndarray, np.ndarray]:
        """See `DraftBlocks.distributions`."""
        probabilities = np.empty((self.filled, self.num_classes), np.float32)
        draft_forward.distribute(
            self.states, self.filled, self.ones, self.head, self.per_word, self.num_classes, self.normed, self.wide,
            probabilities,
        )  # fmt: skip
        logits = self.label_states[: self.label_filled, : len(self.ones)] @ self.label_DL + self.label_bias
        labels = np.exp(logits - logits.max(axis=1, keepdims=True))
        self.filled = self.label_filled = 0
        return probabilities, labels / labels.sum(axis=1, keepdims=True)
