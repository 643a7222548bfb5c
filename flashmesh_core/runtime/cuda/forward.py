"""One pass of the hourglass over W tokens of every sequence, in shapes that depend on nothing but W.

The same function runs eagerly on any device and is what a CUDA graph captures: lengths and starts are tensors to it,
and no value is read back. Its numbers are those of `CachedDecoder`, which is the reference.
Suffixes: B batch, W tokens, G positions of a level, D width, H heads, K head width, R slice rows, Q bins, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.runtime.cuda.attention import Attention, Span
from flashmesh_core.runtime.cuda.cache import Caches, groups
from flashmesh_core.runtime.cuda.weights import BlockWeights, StaticWeights
from flashmesh_core.tokenizer import TOKENS_PER_FACE

CrossKeys = list[list["tuple[Tensor, Tensor] | None"]]  # by level and layer, each (B, H, S, K)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the host hands over for a pass; tensors on the device that keep their place."""

    control: Tensor  # (B, 4 + W) int64: length, the three levels' starts, tokens
    rows: Tensor | None  # (B, W, R, Q) uint8

    @property
    def width(self) -> int:
        """W."""
        return self.control.shape[1] - 4


@dataclass(frozen=True)
class Shape:
    """What distinguishes one graph from another."""

    width: int
    depth: int  # 0: no sequence completes a vertex, 1: none completes a face, 2: all levels run
    extent: int  # number of the buffers' part that attention is given; see `LevelBuffers.extent`


def rope_frequencies(head_dim: int, device: torch.device) -> Tensor:
    """Radians a position of rotary embedding, (head_dim / 2,); see `layers.rope_table`."""
    half = head_dim // 2
    return 10_000.0 ** (-torch.arange(half, device=device, dtype=torch.float32) / half)


def rotate(x_BGPHK: Tensor, turns_BGK: Tensor) -> Tensor:
    """Rotary embedding of P kinds of vectors whose neighbours form pairs; in float32."""
    pairs = torch.view_as_complex(x_BGPHK.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns_BGK[:, :, None, None]).flatten(-2).to(x_BGPHK.dtype)


def slice_states(slices: Tensor, rows_BWRQ: Tensor, lengths_B: Tensor) -> Tensor:
    """Project slice rows by the matrix of their position's slot, (B, W, D).

    For whole faces each of the nine matrices meets its own W / 9 positions a sequence; else each position fetches its.
    """
    batch, width = rows_BWRQ.shape[:2]
    flat = rows_BWRQ.flatten(2).to(slices.dtype)
    steps = torch.arange(width, device=flat.device)
    if width % TOKENS_PER_FACE:
        own = slices[((lengths_B[:, None] + steps) % TOKENS_PER_FACE).flatten()]
        return torch.bmm(flat.flatten(0, 1)[:, None], own).view(batch, width, -1)
    faces = width // TOKENS_PER_FACE
    slot, face = steps // faces, steps % faces
    by_slot = (slot - lengths_B[:, None]) % TOKENS_PER_FACE + TOKENS_PER_FACE * face
    gathered = flat.gather(1, by_slot[:, :, None].expand_as(flat))
    gathered = gathered.view(batch, TOKENS_PER_FACE, faces, -1).transpose(0, 1).flatten(1, 2)
    made = torch.bmm(gathered, slices).view(TOKENS_PER_FACE, batch, faces, -1).transpose(0, 1).flatten(1, 2)
    back = (lengths_B[:, None] + steps) % TOKENS_PER_FACE * faces + steps // TOKENS_PER_FACE
    return made.gather(1, back[:, :, None].expand_as(made))


class StaticPass:
    """Weights, buffers and condition of one batch; calling it runs a pass."""

    def __init__(
        self, model: Hourglass, weights: StaticWeights, caches: Caches, cross: CrossKeys, attention: Attention
    ) -> None:
        self.model, self.weights, self.caches, self.cross, self.attention = model, weights, caches, cross, attention
        self.heads = model.config.heads
        self.head_dim = model.config.dim // self.heads
        self.frequencies = rope_frequencies(self.head_dim, model.embed.weight.device)

    def __call__(self, inputs: Inputs, shape: Shape) -> Tensor:
        """The logits (B, W, C) float32 that follow each token; the buffers hold the pass's states afterwards."""
        caches, model = self.caches, self.model
        lengths_B, starts, tokens_BW = inputs.control[:, 0], inputs.control[:, 1:4], inputs.control[:, 4:]
        spans: list[Span] = []
        positions: list[Tensor] = []
        for level in range(shape.depth + 1):
            count = groups(shape.width, level)
            positions.append(lengths_B[:, None] // 3**level + torch.arange(count, device=lengths_B.device))
            spans.append(self._span(level, positions[level], starts[:, level], shape.extent))
        x_BWD = model.embed_tokens(tokens_BW, positions[0] % TOKENS_PER_FACE).float()
        x_BWD = self._run(0, 0, self.weights.below[0], x_BWD, positions, spans)
        caches.coordinates.write(positions[0], x_BWD)
        if shape.depth > 0:
            self._vertices(positions, spans)
        x_BWD = x_BWD + caches.from_vertices.read(positions[0])
        if self.weights.slices is not None and inputs.rows is not None:
            x_BWD = x_BWD + slice_states(self.weights.slices, inputs.rows, lengths_B)
        x_BWD = self._run(0, self.weights.below[0], len(self.weights.blocks[0]), x_BWD, positions, spans)
        rows = None if inputs.rows is None else inputs.rows.float()
        return model.logits(x_BWD, rows)

    def _span(self, level: int, positions_BG: Tensor, starts_B: Tensor, extent: int) -> Span:
        """The span of a level's queries at absolute positions."""
        buffers = self.caches.levels[level]
        angle = positions_BG.float()[:, :, None] * self.frequencies
        slots = positions_BG - starts_B[:, None]
        mask = self.attention.mask(positions_BG, starts_B, buffers.extent(extent), buffers.window, self.weights.dtype)
        return Span(
            turns_BGK=torch.complex(angle.cos(), angle.sin()),
            slots=(buffers.bases + slots).flatten(),
            ends_B=(slots[:, -1] + 1).int(),
            mask_B1GS=mask,
        )

    def _vertices(self, positions: list[Tensor], spans: list[Span]) -> None:
        caches, weights = self.caches, self.weights
        x_BVD = self._shorten(1, positions[1])
        x_BVD = self._run(1, 0, weights.below[1], x_BVD, positions, spans)
        caches.vertices.write(positions[1], x_BVD)
        if len(positions) > 2:
            x_BFD = self._run(2, 0, len(weights.blocks[2]), self._shorten(2, positions[2]), positions, spans)
            self._upsample(2, positions[2], x_BFD)
        x_BVD = x_BVD + caches.from_faces.read(positions[1])
        x_BVD = self._run(1, weights.below[1], len(weights.blocks[1]), x_BVD, positions, spans)
        self._upsample(1, positions[1], x_BVD)

    def _shorten(self, level: int, positions_BG: Tensor) -> Tensor:
        """Inputs of a level from the states of the level below, (B, G, D)."""
        source = self.caches.coordinates if level == 1 else self.caches.vertices
        triples = source.read(_triples(positions_BG, 0)).unflatten(1, (-1, 3)).flatten(2)
        return F.linear(triples.to(self.weights.dtype), self.weights.inward[level]).float()

    def _upsample(self, level: int, positions_BG: Tensor, x_BGD: Tensor) -> None:
        """Lay a level's states where the level below reads them: group g serves 3 g + 2 to 3 g + 4."""
        target = self.caches.from_vertices if level == 1 else self.caches.from_faces
        triples = F.linear(x_BGD.to(self.weights.dtype), self.weights.outward[level])
        target.write(_triples(positions_BG, 2), triples.unflatten(2, (3, -1)).flatten(1, 2))

    def _run(
        self, level: int, first: int, last: int, x_BGD: Tensor, positions: list[Tensor], spans: list[Span]
    ) -> Tensor:
        """Layers first..last - 1 of a level."""
        blocks = self.weights.blocks[level]
        for number in range(first, last):
            if number == len(blocks) - 1:
                self.caches.states[level].write(positions[level], x_BGD)
            x_BGD = self._layer(level, number, blocks[number], x_BGD, spans[level])
        return x_BGD

    def _layer(self, level: int, number: int, weights: BlockWeights, x_BGD: Tensor, span: Span) -> Tensor:
        buffers = self.caches.levels[level]
        normed = self._norm(x_BGD, weights.attention_gain)
        qkv = F.linear(normed, weights.qkv).unflatten(-1, (3, self.heads, self.head_dim))
        turned = rotate(qkv[:, :, :2], span.turns_BGK)
        buffers.write(number, span.slots, turned[:, :, 1], qkv[:, :, 2])
        keys, values = buffers.keys_values(number)
        if span.mask_B1GS is not None:
            extent = span.mask_B1GS.shape[-1]
            keys, values = keys[:, :extent], values[:, :extent]
        mixed = self.attention(turned[:, :, 0], keys, values, span, buffers.window)
        x_BGD = x_BGD + F.linear(mixed.flatten(2), weights.out)
        condition = self.cross[level][number]
        if weights.cross is not None and condition is not None:
            normed = self._norm(x_BGD, weights.cross.gain)
            q = F.linear(normed, weights.cross.q).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            mixed = F.scaled_dot_product_attention(q, *condition).transpose(1, 2)
            x_BGD = x_BGD + F.linear(mixed.flatten(2), weights.cross.out)
        gate, value = F.linear(self._norm(x_BGD, weights.feed_forward_gain), weights.up).chunk(2, dim=-1)
        return x_BGD + F.linear(F.silu(gate) * value, weights.down)

    def _norm(self, x_BGD: Tensor, gain: Tensor) -> Tensor:
        """In float32, then in the dtype of the products."""
        return F.rms_norm(x_BGD, gain.shape, gain, 1e-6).to(self.weights.dtype)


def _triples(positions_BG: Tensor, shift: int) -> Tensor:
    """The positions 3 p + shift to 3 p + shift + 2 of each p, (B, 3 G)."""
    steps = torch.arange(shift, shift + 3, device=positions_BG.device)
    return (3 * positions_BG[:, :, None] + steps).flatten(1)
