"""Decoding with caches: any chunk of tokens in, their logits out, and roll-back by length.

Keys and values stand in static buffers per level; a length says how much of them is valid, so rejecting is not
advancing. The inputs of each shortening and the upsampled states stand in buffers too, addressed by absolute
position, so a rolled-back group is computed anew from them. Buffers roll once more than `window` positions are behind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.model.layers import Block, rope_table, window_mask
from flashmesh_core.runtime.chunks import check_conditions, check_cut, checked_pass, checked_slack
from flashmesh_core.tokenizer import TOKENS_PER_FACE


class Rolling:
    """Buffers whose axis -2 is the absolute position; older positions fall out when they are full."""

    def __init__(self, shape: tuple[int, ...], keep: int, slack: int, like: Tensor) -> None:
        self.keep, self.capacity = keep, keep + slack
        self.data = like.new_zeros((*shape[:-1], self.capacity, shape[-1]))
        self.start = 0

    def make_room(self, length: int, more: int) -> None:
        """Make positions length..length + more - 1 addressable, keeping the last `keep` before them."""
        if length + more - self.start <= self.capacity:
            return
        start = max(self.start, length - self.keep)
        if length + more - start > self.capacity:
            raise ValueError(f"a chunk must hold at most {self.capacity - self.keep} positions, got {more}")
        # Also what lies past `length`: upsampled states serve up to two positions that are still to come.
        kept = self.data[..., start - self.start :, :].clone()
        self.data[..., : kept.shape[-2], :] = kept
        self.start = start

    def write(self, at: int, values: Tensor) -> None:
        """Store values from absolute position `at` on."""
        self.data[..., at - self.start : at - self.start + values.shape[-2], :] = values

    def read(self, begin: int, end: int) -> Tensor:
        """Values of the absolute positions begin..end - 1."""
        return self.data[..., begin - self.start : end - self.start, :]


class LevelCache:
    """Keys and values of one level's layers."""

    def __init__(self, blocks: list[Block], condition: Tensor, window: int, slack: int) -> None:
        self.blocks, self.window = blocks, window
        batch, _, dim = condition.shape
        heads = blocks[0].attention.heads if blocks else 1
        shape = (len(blocks), batch, heads, dim // heads)
        self.keys = Rolling(shape, window, slack, condition)
        self.values = Rolling(shape, window, slack, condition)
        self.states = Rolling((batch, dim), window, slack, condition)  # inputs of the last layer, for the draft heads
        self.conditions = [block.condition(condition) for block in blocks]

    def run(self, first: int, last: int, x_BTD: Tensor, length: int, table: tuple[Tensor, Tensor]) -> Tensor:
        """Layers first..last - 1 over the states of positions length..length + T - 1."""
        count = x_BTD.shape[1]
        end = length + count
        begin = max(self.keys.start, length - self.window + 1)
        mask = None
        if count > 1:
            queries = torch.arange(length, end, device=x_BTD.device)
            mask = window_mask(queries, torch.arange(begin, end, device=x_BTD.device), self.window)
        for number in range(first, last):
            block = self.blocks[number]
            if number == len(self.blocks) - 1:
                self.states.write(length, x_BTD)
            q, k, v = block.attention.project(block.attention_norm(x_BTD), table)
            self.keys.data[number, :, :, length - self.keys.start : end - self.keys.start] = k
            self.values.data[number, :, :, length - self.keys.start : end - self.keys.start] = v
            seen = slice(begin - self.keys.start, end - self.keys.start)
            mixed = block.attention.attend(
                q, self.keys.data[number, :, :, seen], self.values.data[number, :, :, seen], mask
            )
            x_BTD = block.after_attention(x_BTD + mixed, self.conditions[number])
        return x_BTD

    def make_room(self, length: int, more: int) -> None:
        """See `Rolling.make_room`."""
        for buffer in (self.keys, self.values, self.states):
            buffer.make_room(length, more)


class CachedDecoder:
    """The hourglass over a growing prefix. `length` tokens are in; `truncate` rolls back to any shorter length.

    `condition` (B, S, D); a batch advances in lock-step. Chunks hold at most `slack` tokens.
    """

    def __init__(self, model: Hourglass, condition_BSD: Tensor, slack: int | None = None) -> None:
        config = model.config
        self.model, self.config, self.length = model, config, 0
        self.slack = slack = checked_slack(slack, config.window)
        batch, _, dim = condition_BSD.shape
        stacks = (
            [*model.coordinate_down, *model.coordinate_up],
            [*model.vertex_down, *model.vertex_up],
            list(model.face),
        )
        self.levels = [
            LevelCache(blocks, condition_BSD, config.level_window(level), slack // 3**level + 2)
            for level, blocks in enumerate(stacks)
        ]
        self.coordinates = Rolling((batch, dim), 9, slack + 9, condition_BSD)  # inputs of the vertex level
        self.vertices = Rolling((batch, dim), 9, slack + 9, condition_BSD)  # inputs of the face level
        self.from_faces = Rolling((batch, dim), 12, slack + 12, condition_BSD)  # by vertex position
        self.from_vertices = Rolling((batch, dim), 12, slack + 12, condition_BSD)  # by coordinate position
        head_dim = dim // config.heads
        self.tables = _Tables(head_dim, condition_BSD.device)
        self.lowest = 0

    def truncate(self, length: int) -> None:
        """Forget everything from position `length` on. Raises ValueError past the end or the rolled-out past."""
        if not self.lowest <= length <= self.length:
            raise ValueError(f"length must be in [{self.lowest}, {self.length}], got {length}")
        self.length = length

    def states(self, level: int, begin: int, end: int) -> Tensor:
        """Inputs of the last layer of a level (0 coordinate, 1 vertex, 2 face) at positions begin..end - 1.

        (T, D) of the first sequence. Raises ValueError outside what is complete and still kept.
        """
        buffer, length = self.levels[level].states, self.length // 3**level
        if not buffer.start <= begin <= end <= length:
            raise ValueError(f"positions must be in [{buffer.start}, {length}], got {begin} to {end}")
        return buffer.read(begin, end)[0]

    def extend(self, tokens_BN: Tensor, rows_BNRQ: Tensor | None = None) -> Tensor:
        """Append tokens and return the logits (B, N, C) that follow each; rows as in `Hourglass.states`."""
        model, n0 = self.model, self.length
        n1 = n0 + tokens_BN.shape[1]
        self._make_room(n0, n1)
        slots = torch.arange(n0, n1, device=tokens_BN.device) % TOKENS_PER_FACE
        x_BND = model.embed_tokens(tokens_BN, slots)
        table = self.tables.get(n0, n1)
        below = len(model.coordinate_down)
        x_BND = self.levels[0].run(0, below, x_BND, n0, table)
        self.coordinates.write(n0, x_BND)
        self._extend_vertices(n0 // 3, n1 // 3)
        x_BND = x_BND + self.from_vertices.read(n0, n1)
        if rows_BNRQ is not None:
            x_BND = x_BND + model.slice_states(rows_BNRQ.to(x_BND.dtype), slots)
        x_BND = self.levels[0].run(below, len(self.levels[0].blocks), x_BND, n0, table)
        self.length = n1
        return model.logits(x_BND, rows_BNRQ)

    def _extend_vertices(self, v0: int, v1: int) -> None:
        if v1 == v0:
            return
        model = self.model
        below = len(model.vertex_down)
        x_BVD = self.coordinates.read(3 * v0, 3 * v1).unflatten(1, (v1 - v0, 3)).flatten(2)
        x_BVD = model.vertex_in(x_BVD)
        table = self.tables.get(v0, v1)
        x_BVD = self.levels[1].run(0, below, x_BVD, v0, table)
        self.vertices.write(v0, x_BVD)
        self._extend_faces(v0 // 3, v1 // 3)
        x_BVD = x_BVD + self.from_faces.read(v0, v1)
        x_BVD = self.levels[1].run(below, len(self.levels[1].blocks), x_BVD, v0, table)
        self.from_vertices.write(3 * v0 + 2, model.vertex_out(x_BVD).unflatten(2, (3, -1)).flatten(1, 2))

    def _extend_faces(self, f0: int, f1: int) -> None:
        if f1 == f0:
            return
        model = self.model
        x_BFD = self.vertices.read(3 * f0, 3 * f1).unflatten(1, (f1 - f0, 3)).flatten(2)
        x_BFD = self.levels[2].run(0, len(model.face), model.face_in(x_BFD), f0, self.tables.get(f0, f1))
        self.from_faces.write(3 * f0 + 2, model.face_out(x_BFD).unflatten(2, (3, -1)).flatten(1, 2))

    def _make_room(self, n0: int, n1: int) -> None:
        for level, cache in enumerate(self.levels):
            cache.make_room(n0 // 3**level, n1 // 3**level - n0 // 3**level)
        self.coordinates.make_room(n0, n1 - n0)
        self.vertices.make_room(n0 // 3, n1 // 3 - n0 // 3)
        self.from_faces.make_room(n0 // 3, n1 // 3 - n0 // 3 + 3)
        self.from_vertices.make_room(n0, n1 - n0 + 3)
        groups = (
            3 * -(-self.coordinates.start // 3),  # a group is made anew from all three of its inputs
            9 * -(-self.vertices.start // 3),
            self.from_vertices.start,
            3 * self.from_faces.start,
        )
        keys = (
            (cache.keys.start + cache.window - 1) * 3**level
            for level, cache in enumerate(self.levels)
            if cache.keys.start
        )
        rolled = max(*groups, *keys)
        self.lowest = min(n0, rolled)


class _Tables:
    """Rotary tables, grown by doubling."""

    def __init__(self, head_dim: int, device: torch.device) -> None:
        self.head_dim, self.device = head_dim, device
        self.table = rope_table(torch.arange(4096, device=device), head_dim)

    def get(self, begin: int, end: int) -> tuple[Tensor, Tensor]:
        if end > len(self.table[0]):
            self.table = rope_table(torch.arange(2 * end, device=self.device), self.head_dim)
        return self.table[0][begin:end], self.table[1][begin:end]


class TorchDecoder:
    """One `CachedDecoder` a sequence: any torch device, and the float32 reference of the faster decoders."""

    def __init__(self, model: Hourglass, conditions_BSD: Tensor) -> None:
        check_conditions(conditions_BSD, model.config.dim)
        self.config, self.device = model.config, conditions_BSD.device
        self.decoders = [CachedDecoder(model, condition[None]) for condition in conditions_BSD]

    @torch.inference_mode()
    def extend(
        self, tokens: Sequence[np.ndarray | None], rows: Sequence[np.ndarray | None] | None = None
    ) -> list[np.ndarray]:
        """See `Decoder`; the answer is one copy from the device a piece of a sequence."""
        chunks, bits = checked_pass(tokens, rows, len(self.decoders), self.config)
        return [self._advance(*given) for given in zip(self.decoders, chunks, bits, strict=True)]

    def _advance(self, decoder: CachedDecoder, chunk: np.ndarray, bits: np.ndarray) -> np.ndarray:
        logits = [np.zeros((0, self.config.num_classes), dtype=np.float32)]
        for begin in range(0, len(chunk), decoder.slack):
            piece = slice(begin, begin + decoder.slack)
            tokens = torch.from_numpy(chunk[piece].astype(np.int64)).to(self.device)[None]
            rows = torch.from_numpy(bits[piece]).to(self.device).float()[None] if bits.shape[1] else None
            logits.append(decoder.extend(tokens, rows)[0].float().cpu().numpy())
        return np.concatenate(logits)

    def truncate(self, sequence: int, length: int) -> None:
        """See `Decoder`."""
        lowest, lengths = ([getattr(one, name) for one in self.decoders] for name in ("lowest", "length"))
        check_cut(sequence, length, lowest, lengths)
        self.decoders[sequence].truncate(length)

    def states(self, level: int, sequence: int, begin: int, end: int) -> Tensor:
        """See `Decoder`."""
        return self.decoders[sequence].states(level, begin, end)
