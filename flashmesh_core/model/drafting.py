"""The draft heads in the decoding loop: what one sequence's newest split nodes say of the tokens to come (Sec. 3.1, 7).

A drafter reads the backbone's states of accepted positions, keeps the keys and values that its blocks need of them, and
runs the blocks at three nodes alone: the newest coordinate, the newest complete vertex and the newest complete face.
Suffixes: T positions, P drafts or drafted positions, D width, H heads (of all drafts), K head width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flashmesh_core.model.cache import Rolling, _Tables
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.model.layers import apply_rope
from flashmesh_core.model.speculation import NUM_LABELS, HFBlock, SPBlock

COORDINATE, VERTEX, FACE = range(3)
WIDTH = (1, 3, 9)  # tokens a node of each level stands for
RULE_B = 3  # first tokens that optimisation B leaves to the coordinate level: the main token and two drafts

ReadStates = Callable[[int, int, int], "Tensor | np.ndarray"]


@dataclass(frozen=True, eq=False)
class HeadDrafts:
    """What the heads say of the positions after the main token; row i stands for position length + 1 + i.

    P is the same in every call. Rows that no level predicts are all zero and come last. `labels` holds, for the drafted
    vertices by absolute index (the BOS group being 0 to 2), probabilities of historical, new and intra-batch, (3,).
    """

    probabilities: np.ndarray  # (P, C) float32, the average over the levels that predict the position
    levels: np.ndarray  # (P, 3) bool: which level predicts it
    labels: dict[int, np.ndarray] = field(default_factory=dict)


@dataclass(eq=False)
class _Made:
    """What a level said at its newest node; kept until a newer node exists."""

    node: int
    first: int  # absolute position of the first row
    rows: int
    first_vertex: int = 0
    label_rows: int = 0
    probabilities: np.ndarray | None = None  # (rows, C)
    labels: np.ndarray | None = None  # (label_rows, 3)


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
        heads = len(self.weight_ED) // (2 * self.head_dim)
        keep = self.window + 9 // WIDTH[self.level]  # a block's newest query may stand before the newest state
        self.piece = max(keep // 4, 64)
        like = self.weight_ED.new_zeros((), dtype=torch.float32)
        self.keys = Rolling((heads, self.head_dim), keep, self.piece, like)
        self.values = Rolling((heads, self.head_dim), keep, self.piece, like)
        self._keys, self._values = [], []

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


class _Speculation:
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
        k, v = block.condition(condition_1LD.to(block.cross_kv.weight.dtype))
        used = drafts * block.heads
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


class _Fusion:
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


class HeadDrafter:
    """The draft heads over one growing sequence. `update` takes accepted states in, `draft` says what may follow.

    `condition_1LD` (1, L, D). `face_tokens` (n, a multiple of 9), `vertex_tokens` (m, a multiple of 3) and
    `coordinate_tokens` are how many tokens each level drafts, the paper's n-m models; None is what was trained, 0
    leaves a level out. `fusion` False upsamples without HF-Blocks. `after_face` is optimisation A: nothing from the
    vertex level where its node also completes a face. `skip_first` is optimisation B: the face and the vertex level
    leave their first three tokens to the coordinate level. `dtype` is of the weights; caches and attention are float32.
    ValueErrors name the option, its range and the value.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: Hourglass,
        condition_1LD: Tensor,
        *,
        face_tokens: int | None = None,
        vertex_tokens: int | None = None,
        coordinate_tokens: int | None = None,
        fusion: bool = True,
        after_face: bool = True,
        skip_first: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        config, heads = model.config, model.drafts
        if tuple(condition_1LD.shape[::2]) != (1, config.dim):
            raise ValueError(f"condition must have the shape (1, L, {config.dim}), got {tuple(condition_1LD.shape)}")
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
        self.tokens = (
            _drafted("coordinate_tokens", coordinate_tokens, config.coordinate_drafts, 1),
            _drafted("vertex_tokens", vertex_tokens, config.vertex_drafts, 3),
            _drafted("face_tokens", face_tokens, config.face_drafts, 9),
        )
        upper = self.tokens[VERTEX] or self.tokens[FACE]
        if skip_first and upper and self.tokens[COORDINATE] < RULE_B - 1:
            raise ValueError(
                f"skip_first leaves two drafts to the coordinate level: coordinate_tokens must be at least "
                f"{RULE_B - 1}, got {self.tokens[COORDINATE]}"
            )
        self.length = 0
        self.after_face, self.skip = after_face, RULE_B if skip_first else 0
        self.rows = max(self.tokens[COORDINATE], self.tokens[VERTEX] - 1, self.tokens[FACE] - 1, 0)
        self.num_classes = config.num_classes
        self._tables = _Tables(config.dim // config.heads, condition_1LD.device)
        self.levels = [_Level(k, config.window // WIDTH[k], config.dim, config.heads) for k in range(3)]
        self._made: list[_Made | None] = [None, None, None]

        def speculate(name: str, level: int) -> _Speculation:
            drafts = self.tokens[level] // WIDTH[level]
            return _Speculation(getattr(heads, name), name, self.levels[level], drafts, condition_1LD, dtype)

        def fuse(name: str, level: int, tokens: int) -> _Fusion:
            return _Fusion(getattr(heads, name), name, self.levels[level], tokens // WIDTH[level], fusion, dtype)

        if self.tokens[COORDINATE]:
            self.coordinate = speculate("coordinate", COORDINATE)
        if self.tokens[VERTEX]:
            self.vertex = speculate("vertex", VERTEX)
            self.vertex_to_coordinate = fuse("vertex_to_coordinate", COORDINATE, self.tokens[VERTEX])
        if self.tokens[FACE]:
            self.face = speculate("face", FACE)
            self.face_to_vertex = fuse("face_to_vertex", VERTEX, self.tokens[FACE])
            self.face_to_coordinate = fuse("face_to_coordinate", COORDINATE, self.tokens[FACE])
        for level in self.levels:
            level.finish(dtype)
        self.head_CD = (model.head.weight.float() * model.out_norm.weight.float()).to(dtype)
        if upper:
            self.label_weight, self.label_bias = heads.label.weight.float(), heads.label.bias.float()

    @torch.inference_mode()
    def update(self, read: ReadStates, length: int) -> None:
        """Take in accepted states: `length` tokens stand, the main token at position `length` is chosen.

        `read(level, begin, end)` gives the inputs (end - begin, D) of a level's last layer at absolute positions of
        that level (0 coordinate, 1 vertex, 2 face; `LevelStates`), a tensor or an array. It is asked for what is new
        since the last call, up to length // 3**level. Raises ValueError for a length below the last one.
        """
        if length < self.length:
            raise ValueError(f"length must be at least {self.length}, got {length}")
        for level in self.levels:
            level.advance(read, length // WIDTH[level.level], self._tables)
        self.length = length

    @torch.inference_mode()
    def draft(self) -> HeadDrafts:
        """The drafts at the newest nodes; those whose node has not changed are reused."""
        self._predict()
        first = self.length + 1
        probabilities = np.zeros((self.rows, self.num_classes), dtype=np.float32)
        levels = np.zeros((self.rows, 3), dtype=bool)
        labels: dict[int, list[np.ndarray]] = {}
        for level, made in enumerate(self._made):
            if made is None or made.probabilities is None or made.labels is None:
                continue
            rows = made.probabilities[max(0, first - made.first) :]
            begin = max(0, made.first - first)
            probabilities[begin : begin + len(rows)] += rows
            levels[begin : begin + len(rows), level] = True
            for vertex, label in enumerate(made.labels, start=made.first_vertex):
                if vertex >= first // 3:
                    labels.setdefault(vertex, []).append(label)
        probabilities /= np.maximum(levels.sum(axis=1, keepdims=True), 1)
        means = {vertex: np.stack(parts).mean(axis=0) for vertex, parts in sorted(labels.items())}
        return HeadDrafts(probabilities, levels, means)

    def _predict(self) -> None:
        """Run the blocks whose node is new, and turn their states into distributions in one product."""
        new: list[_Made] = []
        states: list[Tensor] = []
        label_states: list[Tensor] = []
        for level, run in enumerate((self._run_coordinate, self._run_vertex, self._run_face)):
            node = self.length // WIDTH[level] - 1
            made = self._made[level]
            if not self.tokens[level] or node < 0 or (made is not None and made.node == node):
                continue
            self._made[level] = None
            if level == VERTEX and self.after_face and self.tokens[FACE] and node % 3 == 2:
                continue
            first = (node + 1) * WIDTH[level]
            # Of what the node could draft, neither what is known by now nor what is left to the coordinate level.
            skip = self.length + 1 - first
            if level != COORDINATE:
                skip = max(skip, self.skip)
            if skip >= self.tokens[level] + (level == COORDINATE):
                self._made[level] = _Made(node, first, 0)
                continue
            rows, label_rows = run(node, skip)
            made = _Made(node, first + skip, len(rows), first // 3 + skip // 3, len(label_rows))
            self._made[level] = made
            new.append(made)
            states.append(rows)
            label_states.append(label_rows)
        if new:
            self._distribute(new, torch.cat(states), torch.cat(label_states))

    def _run_coordinate(self, node: int, skip: int) -> tuple[Tensor, Tensor]:
        drafted = self.coordinate(node, skip - 1, self._tables)
        return drafted, drafted[:0]

    def _run_vertex(self, node: int, skip: int) -> tuple[Tensor, Tensor]:
        drafted = self.vertex(node, skip // 3, self._tables)
        first = 3 * (node + 1)
        return self.vertex_to_coordinate(drafted, first, skip // 3, skip, self._tables), drafted

    def _run_face(self, node: int, skip: int) -> tuple[Tensor, Tensor]:
        drafted = self.face(node, skip // 9, self._tables)
        first = node + 1
        drafted = self.face_to_vertex(drafted, 3 * first, skip // 9, skip // 3, self._tables)
        return self.face_to_coordinate(drafted, 9 * first, skip // 3, skip, self._tables), drafted

    def _distribute(self, new: list[_Made], states_PD: Tensor, label_states_PD: Tensor) -> None:
        """Fill in the distributions of new drafts; one copy to the host."""
        logits = F.linear(_normed(states_PD).to(self.head_CD.dtype), self.head_CD).float()
        flat = logits.softmax(dim=-1).flatten()
        if len(label_states_PD):
            labels = F.linear(label_states_PD, self.label_weight, self.label_bias).softmax(dim=-1)
            flat = torch.cat([flat, labels.flatten()])
        host = flat.cpu().numpy()
        count = len(states_PD) * self.num_classes
        probabilities, labels_PL = host[:count].reshape(-1, self.num_classes), host[count:].reshape(-1, NUM_LABELS)
        row = label_row = 0
        for made in new:
            made.probabilities = probabilities[row : row + made.rows]
            made.labels = labels_PL[label_row : label_row + made.label_rows]
            row, label_row = row + made.rows, label_row + made.label_rows


def _drafted(name: str, tokens: int | None, trained: int, width: int) -> int:
    """How many tokens a level drafts, checked against what its heads were trained for."""
    most = trained * width
    if tokens is None:
        return most
    if not 0 <= tokens <= most or tokens % width:
        multiple = f"a multiple of {width} " if width > 1 else ""
        raise ValueError(f"{name} must be {multiple}in [0, {most}], the trained maximum, got {tokens}")
    return int(tokens)
