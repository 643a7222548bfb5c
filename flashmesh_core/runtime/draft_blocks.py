"""The draft heads' blocks at single nodes, on any device torch knows: the caches they need and one node's arithmetic.

`DraftBlocks` is what `HeadSequence` drives; draft_blocks.py has the same in compiled form for the CPU.
Suffixes: T positions, P drafts or drafted positions, D width, H heads (of all drafts), K head width, C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flashmesh_core.model.draft_heads import NUM_LABELS, HFBlock, SPBlock
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.model.layers import apply_rope
from flashmesh_core.runtime.reference import Rolling, _Tables

COORDINATE, VERTEX, FACE = range(3)
WIDTH = (1, 3, 9)  # tokens a node of each level stands for

ReadStates = Callable[[int, int, int], "Tensor | np.ndarray"]
BlocksT = TypeVar("BlocksT")
PartT = TypeVar("PartT", bound="BlockPart")


class DraftBlocks(Protocol):
    """The blocks of all levels over one sequence."""

    def for_condition(self, condition_1LD: Tensor) -> DraftBlocks:
        """The same blocks, sharing weights, over another sequence that is still empty."""

    def advance(self, read: ReadStates, length: int) -> None:
        """Take in the states that `length` accepted tokens complete."""

    def run(self, level: int, node: int, skip: int) -> tuple[int, int]:
        """Draft at a level's newest node, without the first `skip` tokens: numbers of states and of label states."""

    def distributions(self) -> tuple[np.ndarray, np.ndarray]:
        """Of all states since the last call: token probabilities (P, C) and label probabilities (V, 3), float32."""


class BlockPart:
    """A block of the draft heads over one level of one sequence; weights are shared by the sequences."""

    level: Any

    def look_at(self, condition_1LD: Tensor) -> None:
        """Make what the block reads of the condition; nothing in most."""

    def for_condition(self: PartT, level: Any, condition_1LD: Tensor) -> PartT:
        """The same block over another sequence."""
        made = copy.copy(self)
        made.level = level
        made.look_at(condition_1LD)
        return made


def copy_for_condition(blocks: BlocksT, condition_1LD: Tensor) -> BlocksT:
    """A copy of the blocks of all levels over another, still empty sequence."""
    made: Any = copy.copy(blocks)
    made.levels = [level.empty_copy() for level in made.levels]
    for name, part in vars(blocks).items():
        if isinstance(part, BlockPart):
            setattr(made, name, part.for_condition(made.levels[part.level.level], condition_1LD))
    return made


def _normed(x: Tensor) -> Tensor:
    """RMS normalisation without its gain, which is folded into the matrix that follows."""
    return F.rms_norm(x, (x.shape[-1],), None, 1e-6)


def _each(x_PD: Tensor, weight_PDE: Tensor) -> Tensor:
    """Each row by its own matrix, (P, E) float32."""
    return torch.bmm(x_PD.unsqueeze(1).to(weight_PDE.dtype), weight_PDE).squeeze(1).float()


class _Level:
    """The accepted states of one level: one fused projection into the keys and values of every block that reads them.

    Blocks share the head axis; `owners` gives each block's heads as a slice.
    """

    def __init__(self, level: int, window: int, dim: int, heads: int) -> None:
        self.level, self.window, self.head_dim = level, window, dim // heads
        self.done = 0  # states 0..done - 1 are in
        self.newest: Tensor | None = None  # (D,) the state done - 1
        self.owners: dict[str, slice] = {}
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def add(self, owner: str, gain_D: Tensor, keys_ED: Tensor, values_ED: Tensor) -> None:
        """Let a block read this level; the matrices' rows are its heads one after another."""
        first = sum(len(part) for part in self._keys) // self.head_dim
        self.owners[owner] = slice(first, first + len(keys_ED) // self.head_dim)
        self._keys.append(keys_ED.float() * gain_D.float())
        self._values.append(values_ED.float() * gain_D.float())

    def finish(self, dtype: torch.dtype) -> None:
        """Fuse the matrices and allocate the caches."""
        if not self.owners:
            return
        self.weight_ED = torch.cat(self._keys + self._values).to(dtype)
        self._keys, self._values = [], []
        self._allocate()

    def empty_copy(self) -> _Level:
        """The same level of another sequence, still empty."""
        made = copy.copy(self)
        made.done, made.newest = 0, None
        if self.owners:
            made._allocate()
        return made

    def _allocate(self) -> None:
        heads = len(self.weight_ED) // (2 * self.head_dim)
        keep = self.window + 9 // WIDTH[self.level]  # a block's newest query may stand before the newest state
        self.piece = max(keep // 4, 64)
        like = self.weight_ED.new_zeros((), dtype=torch.float32)
        self.keys = Rolling((heads, self.head_dim), keep, self.piece, like)
        self.values = Rolling((heads, self.head_dim), keep, self.piece, like)

    def advance(self, read: ReadStates, end: int, tables: _Tables) -> None:
        """Take in the states done..end - 1, or as many of the last as any query can still see."""
        if end <= self.done or not self.owners:
            return
        begin = max(self.done, end - self.keys.keep)
        while begin < end:
            stop = min(end, begin + self.piece)
            x_TD = self._states(read, begin, stop)
            both = F.linear(_normed(x_TD).to(self.weight_ED.dtype), self.weight_ED).float()
            keys, values = both.unflatten(1, (2, -1, self.head_dim)).permute(1, 2, 0, 3)
            for store, new in ((self.keys, apply_rope(keys, tables.get(begin, stop))), (self.values, values)):
                store.make_room(begin, stop - begin)
                store.write(begin, new)
            begin = stop
        self.newest = x_TD[-1]
        self.done = end

    def _states(self, read: ReadStates, begin: int, end: int) -> Tensor:
        states = torch.as_tensor(read(self.level, begin, end))
        shape = (end - begin, self.weight_ED.shape[1])
        if tuple(states.shape) != shape:
            raise ValueError(
                f"states of level {self.level} at positions {begin} to {end - 1} must have the shape {shape}, "
                f"got {tuple(states.shape)}"
            )
        return states.to(device=self.weight_ED.device, dtype=torch.float32)

    def seen(self, owner: str, last: int, skip: int = 0) -> tuple[Tensor, Tensor]:
        """Keys and values (1, H, T, K) that a query at position `last` sees, without the owner's first `skip` heads."""
        own = self.owners[owner]
        begin = max(0, last - self.window + 1)
        k, v = (store.read(begin, last + 1) for store in (self.keys, self.values))
        return k[None, own.start + skip : own.stop], v[None, own.start + skip : own.stop]


class _Speculation(BlockPart):
    """An SP-Block at one node: its first `drafts` heads, with the norms' gains folded into the matrices."""

    def __init__(
        self, block: SPBlock, name: str, level: _Level, drafts: int, condition_1LD: Tensor, dtype: torch.dtype
    ):
        dim = block.linear.shape[-1]
        used, at = drafts * dim, block.drafts * dim
        self.name, self.level, self.dim, self.heads = name, level, dim, block.heads
        level.add(name, block.norm.weight, block.kv.weight[:used], block.kv.weight[at : at + used])
        self.q_ED = (block.q.weight[:used].float() * block.norm.weight.float()).to(dtype)
        self.attention_out = block.attention_out[:drafts].to(dtype)
        self.cross_q = (block.cross_q[:drafts].float() * block.cross_norm.weight.float()[:, None]).to(dtype)
        self.cross_out = block.cross_out[:drafts].to(dtype)
        self.linear = (block.linear[:drafts].float() * block.linear_norm.weight.float()[:, None]).to(dtype)
        self.module, self.drafts = block, drafts
        self.look_at(condition_1LD)

    def look_at(self, condition_1LD: Tensor) -> None:
        """Make the keys and values of the condition."""
        k, v = self.module.condition(condition_1LD.to(self.module.cross_kv.weight.dtype))
        used = self.drafts * self.heads
        self.cross_keys, self.cross_values = k[:, :used].float().contiguous(), v[:, :used].float().contiguous()

    def __call__(self, node: int, skip: int, tables: _Tables) -> Tensor:
        """Drafted states (P - skip, D) of the level's newest node, without the first `skip` heads."""
        h_D = self.level.newest
        assert h_D is not None
        head = skip * self.heads
        q = F.linear(_normed(h_D).to(self.q_ED.dtype), self.q_ED[skip * self.dim :]).float()
        q = apply_rope(q.view(1, -1, 1, self.level.head_dim), tables.get(node, node + 1))
        mixed = F.scaled_dot_product_attention(q, *self.level.seen(self.name, node, head))
        x_PD = h_D + _each(mixed.reshape(-1, self.dim), self.attention_out[skip:])
        q = _each(_normed(x_PD), self.cross_q[skip:]).view(1, -1, 1, self.level.head_dim)
        mixed = F.scaled_dot_product_attention(q, self.cross_keys[:, head:], self.cross_values[:, head:])
        x_PD = x_PD + _each(mixed.reshape(-1, self.dim), self.cross_out[skip:])
        return h_D + _each(_normed(x_PD), self.linear[skip:])


class _Fusion(BlockPart):
    """An HF-Block below one node: its first `positions` positions. Without `fuse` it only upsamples."""

    def __init__(
        self, block: HFBlock, name: str, level: _Level, positions: int, fuse: bool, dtype: torch.dtype
    ) -> None:
        dim = block.upsample.in_features
        self.name, self.level, self.dim, self.fuse = name, level, dim, fuse
        self.upsample = block.upsample.weight.to(dtype)
        if not fuse:
            return
        level.add(name, block.key_norm.weight, block.kv.weight[:dim], block.kv.weight[dim:])
        self.q = (block.q[:positions].float() * block.query_norm.weight.float()[:, None]).to(dtype)
        self.ffn_in = (block.ffn_in[:positions].float() * block.ffn_norm.weight.float()[:, None]).to(dtype)
        self.ffn_out = block.ffn_out[:positions].to(dtype)

    def __call__(self, h_PD: Tensor, first: int, given: int, skip: int, tables: _Tables) -> Tensor:
        """Lower-level states (positions - skip, D) without the first `skip` positions.

        `first` is the absolute position that the block's position 0 stands at; `h_PD` are the upper level's drafted
        states from its draft number `given` on.
        """
        x_PD = F.linear(h_PD.to(self.upsample.dtype), self.upsample).float().view(-1, self.dim)[skip - 3 * given :]
        if not self.fuse:
            return x_PD
        q_PD = _each(_normed(x_PD), self.q[skip:])
        q = q_PD.view(1, len(q_PD), -1, self.level.head_dim).transpose(1, 2)
        q = apply_rope(q, tables.get(first + skip, first + skip + len(q_PD)))
        mixed = F.scaled_dot_product_attention(q, *self.level.seen(self.name, first - 1))
        hidden = F.silu(_each(_normed(mixed.transpose(1, 2).reshape(-1, self.dim)), self.ffn_in[skip:]))
        return x_PD + _each(hidden, self.ffn_out[skip:])


class TorchBlocks:
    """`DraftBlocks` in torch. `tokens` is how many each level drafts, `fusion` False leaves HF-Blocks out."""

    def __init__(
        self, model: Hourglass, condition_1LD: Tensor, tokens: tuple[int, int, int], fusion: bool, dtype: torch.dtype
    ) -> None:
        config, heads = model.config, model.drafts
        self.num_classes = config.num_classes
        self.tables = _Tables(config.dim // config.heads, condition_1LD.device)
        self.levels = [_Level(k, config.level_window(k), config.dim, config.heads) for k in range(3)]
        self._rows: list[Tensor] = []
        self._label_rows: list[Tensor] = []

        def speculate(name: str, level: int) -> _Speculation:
            drafts = tokens[level] // WIDTH[level]
            return _Speculation(getattr(heads, name), name, self.levels[level], drafts, condition_1LD, dtype)

        def fuse(name: str, level: int, drafted: int) -> _Fusion:
            return _Fusion(getattr(heads, name), name, self.levels[level], drafted // WIDTH[level], fusion, dtype)

        if tokens[COORDINATE]:
            self.coordinate = speculate("coordinate", COORDINATE)
        if tokens[VERTEX]:
            self.vertex = speculate("vertex", VERTEX)
            self.vertex_to_coordinate = fuse("vertex_to_coordinate", COORDINATE, tokens[VERTEX])
        if tokens[FACE]:
            self.face = speculate("face", FACE)
            self.face_to_vertex = fuse("face_to_vertex", VERTEX, tokens[FACE])
            self.face_to_coordinate = fuse("face_to_coordinate", COORDINATE, tokens[FACE])
        for level in self.levels:
            level.finish(dtype)
        self.head_CD = (model.head.weight.float() * model.out_norm.weight.float()).to(dtype)
        if tokens[VERTEX] or tokens[FACE]:
            self.label_weight, self.label_bias = heads.label.weight.float(), heads.label.bias.float()

    def for_condition(self, condition_1LD: Tensor) -> TorchBlocks:
        """See `DraftBlocks.for_condition`."""
        made = copy_for_condition(self, condition_1LD)
        made._rows, made._label_rows = [], []
        return made

    def advance(self, read: ReadStates, length: int) -> None:
        """See `DraftBlocks.advance`."""
        for level in self.levels:
            level.advance(read, length // WIDTH[level.level], self.tables)

    def run(self, level: int, node: int, skip: int) -> tuple[int, int]:
        """See `DraftBlocks.run`."""
        if level == COORDINATE:
            rows = self.coordinate(node, skip, self.tables)
            labels = rows[:0]
        elif level == VERTEX:
            labels = self.vertex(node, skip // 3, self.tables)
            rows = self.vertex_to_coordinate(labels, 3 * (node + 1), skip // 3, skip, self.tables)
        else:
            drafted = self.face(node, skip // 9, self.tables)
            labels = self.face_to_vertex(drafted, 3 * (node + 1), skip // 9, skip // 3, self.tables)
            rows = self.face_to_coordinate(labels, 9 * (node + 1), skip // 3, skip, self.tables)
        self._rows.append(rows)
        self._label_rows.append(labels)
        return len(rows), len(labels)

    def distributions(self) -> tuple[np.ndarray, np.ndarray]:
        """See `DraftBlocks.distributions`; one copy to the host."""
        states_PD, label_states_VD = torch.cat(self._rows), torch.cat(self._label_rows)
        self._rows, self._label_rows = [], []
        logits = F.linear(_normed(states_PD).to(self.head_CD.dtype), self.head_CD).float()
        flat = logits.softmax(dim=-1).flatten()
        if len(label_states_VD):
            labels = F.linear(label_states_VD, self.label_weight, self.label_bias).softmax(dim=-1)
            flat = torch.cat([flat, labels.flatten()])
        host = flat.cpu().numpy()
        count = len(states_PD) * self.num_classes
        return host[:count].reshape(-1, self.num_classes), host[count:].reshape(-1, NUM_LABELS)
