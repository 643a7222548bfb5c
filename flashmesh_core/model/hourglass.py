"""The hourglass backbone (paper Sec. 7.1): coordinate, vertex and face level, shortened and upsampled by 3.

Causality: vertex state V_v exists once vertex v is complete and serves the coordinate positions
n = 3v + 2, 3v + 3, 3v + 4; face state F_f serves the vertex positions 3f + 2, 3f + 3, 3f + 4.
Suffixes: B batch, N coordinate positions, V vertices, F faces, D width, C classes, R slice rows, Q bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashmesh_core.config import ModelConfig
from flashmesh_core.model.conditioning import ConditionEncoder
from flashmesh_core.model.draft_heads import DraftHeads
from flashmesh_core.model.layers import Block, RMSNorm, normal, rope_table
from flashmesh_core.model.packing import Packing
from flashmesh_core.tokenizer import TOKENS_PER_FACE


@dataclass
class LevelStates:
    """What the draft heads read: each level's state before its last layer, and the main logits."""

    coordinate_BND: Tensor
    vertex_BVD: Tensor
    face_BFD: Tensor
    logits_BNC: Tensor


def causal_shift(upsampled_BTD: Tensor, length: int) -> Tensor:
    """Shift upsampled states so that group g's three states meet positions 3g + 2 to 3g + 4; cut to `length`."""
    return F.pad(upsampled_BTD, (0, 0, 2, 0))[:, :length]


def shifted_down(upsampled_BTD: Tensor, length: int, packing: Packing | None, level: int) -> Tensor:
    """The same; in packed sequences nothing comes from the crop before. `level` is the one below."""
    shifted = causal_shift(upsampled_BTD, length)
    return shifted if packing is None else shifted * packing.starts[level].to(shifted.dtype)


def masks_by_level(packing: Packing | None) -> list[tuple[Tensor | None, Tensor | None]]:
    """Of self-attention and of the condition, coordinate level first; none for plain sequences."""
    return [(None, None)] * 3 if packing is None else list(zip(packing.masks, packing.conditions, strict=True))


def smooth_embedding(num_bins: int, dim: int) -> Tensor:
    """Sines and cosines of the bin at `dim` / 2 frequencies, from a quarter turn over the range up, (bins, dim).

    Bins that lie near each other begin near each other, so that distances need not be learned bin by bin.
    """
    turns = torch.logspace(math.log2(0.25), math.log2(num_bins / 2), dim // 2, base=2.0)
    angle = 2.0 * math.pi * turns * (torch.arange(num_bins)[:, None] + 0.5) / num_bins
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Hourglass(nn.Module):
    """The complete model: condition encoder, backbone, and the draft and label heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        hidden = int(dim * config.ffn_ratio)

        def stack(count: int, level: int) -> nn.ModuleList:
            window = config.level_window(level)
            cross = config.cross_attention[level]
            return nn.ModuleList(
                Block(dim=dim, heads=config.heads, window=window, hidden=hidden, cross=cross) for _ in range(count)
            )

        self.encoder = ConditionEncoder(config)
        self.embed = nn.Embedding(config.num_bins + 3, dim, _weight=normal(config.num_bins + 3, dim))
        self.slot_embed = nn.Embedding(TOKENS_PER_FACE, dim, _weight=normal(TOKENS_PER_FACE, dim))
        self.coordinate_down = stack(config.coordinate_layers[0], 0)
        self.vertex_in = nn.Linear(3 * dim, dim, bias=False)
        self.vertex_down = stack(config.vertex_layers[0], 1)
        self.face_in = nn.Linear(3 * dim, dim, bias=False)
        self.face = stack(config.face_layers, 2)
        self.face_out = nn.Linear(dim, 3 * dim, bias=False)
        self.vertex_up = stack(config.vertex_layers[1], 1)
        self.vertex_out = nn.Linear(dim, 3 * dim, bias=False)
        self.coordinate_up = stack(config.coordinate_layers[1], 0)
        rows = len(config.slice_rows)
        if rows:
            self.slices = nn.Parameter(torch.empty(TOKENS_PER_FACE, rows * config.num_bins, dim))
            self.copy_gates = nn.Linear(dim, 2 * rows)
        self.out_norm = RMSNorm(dim)
        self.head = nn.Linear(dim, config.num_classes, bias=False)
        self.drafts = DraftHeads(config)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Normal weights of std 1/sqrt(width), what ends a residual branch a third of that; smooth bin embeddings."""
        if self.embed.weight.is_meta:
            return  # nothing to set; drawing numbers there would import torch._dynamo, a second
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                if name.endswith("bias"):
                    nn.init.zeros_(parameter)
                continue
            if "latents" in name or name == "slices":
                std = 0.02
            elif "embed" in name:
                std = 0.5
            else:
                std = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else parameter.shape[-2] ** -0.5
                if name.endswith(("out.weight", "down.weight", "head.weight", "linear", "ffn_out", "_out")):
                    std /= 3.0
            nn.init.normal_(parameter, std=std, generator=generator)
        with torch.no_grad():
            self.embed.weight[: self.config.num_bins] = smooth_embedding(self.config.num_bins, self.config.dim)

    def embed_tokens(self, tokens_BN: Tensor, slots_N: Tensor) -> Tensor:
        """Token and slot embeddings, (B, N, D)."""
        return self.embed(tokens_BN) + self.slot_embed(slots_N)

    def slice_states(self, rows_BNRQ: Tensor, slots_N: Tensor, first: int | None = None) -> Tensor:
        """Project the slice rows by the matrix of the slot that is predicted next, (B, N, D).

        `slots_N` are the slots of the predicting positions; any run of positions is allowed. `first` is the first of
        them, where it is known without a look at the tensor.
        """
        batch, length = rows_BNRQ.shape[:2]
        flat = rows_BNRQ.flatten(2)
        if length % TOKENS_PER_FACE == 0:
            first = int(slots_N[0]) if first is None else first
            by_slot = flat.unflatten(1, (-1, TOKENS_PER_FACE)).permute(2, 0, 1, 3).flatten(1, 2)
            weight = self.slices.roll(-(first + 1), dims=0).to(flat.dtype)
            out = torch.bmm(by_slot, weight)
            return out.unflatten(1, (batch, -1)).permute(1, 2, 0, 3).reshape(batch, length, -1)
        weight = self.slices[(slots_N + 1) % TOKENS_PER_FACE].to(flat.dtype)
        return torch.bmm(flat.transpose(0, 1), weight).transpose(0, 1)

    def logits(self, state_BND: Tensor, rows_BNRQ: Tensor | None) -> Tensor:
        """Logits of the next token, float32; the copy gates add each slice row and its lowest bin to the bins."""
        state = self.out_norm(state_BND)
        logits = self.head(state).float()
        if rows_BNRQ is not None:
            rows = rows_BNRQ.to(state.dtype)
            lowest = rows * (rows.cumsum(dim=-1) <= 1)  # of each set only the first place in the order
            gates = self.copy_gates(state).unsqueeze(-1)
            bins = (gates * torch.cat([rows, lowest], dim=-2)).sum(dim=-2)
            logits = logits + F.pad(bins.float(), (0, 1))
        return logits

    def encode(self, points_BPC: Tensor, face_count_B: Tensor) -> Tensor:
        """The condition tokens of surface samples; see `ConditionEncoder`."""
        return self.encoder(points_BPC, face_count_B)

    def states(
        self, tokens_BN: Tensor, condition_BSD: Tensor, rows_BNRQ: Tensor | None = None,
        packing: Packing | None = None,
    ) -> LevelStates:  # fmt: skip
        """The full forward pass without caches.

        `tokens_BN` begins at a face boundary; `rows_BNRQ` (B, N, R, Q) are the slice rows of every position, needed
        when the configuration names some. Of packed sequences `condition_BSD` holds the tokens of all crops.
        """
        if (rows_BNRQ is None) != (not self.config.slice_rows):
            raise ValueError(f"rows must be given exactly when slice_rows is not empty, got {rows_BNRQ is not None}")
        length = tokens_BN.shape[1]
        device = tokens_BN.device
        positions = torch.arange(length, device=device)
        head_dim = self.config.dim // self.config.heads
        tables = [rope_table(positions[: length // 3**level], head_dim) for level in range(3)]

        masks = masks_by_level(packing)
        x_BND = self.embed_tokens(tokens_BN, positions % TOKENS_PER_FACE)
        for block in self.coordinate_down:
            x_BND = block(x_BND, condition_BSD, tables[0], masks[0])
        vertices = length // 3
        x_BVD = self.vertex_in(x_BND[:, : 3 * vertices].unflatten(1, (vertices, 3)).flatten(2))
        for block in self.vertex_down:
            x_BVD = block(x_BVD, condition_BSD, tables[1], masks[1])
        faces = vertices // 3
        x_BFD = self.face_in(x_BVD[:, : 3 * faces].unflatten(1, (faces, 3)).flatten(2))
        for block in self.face[:-1]:
            x_BFD = block(x_BFD, condition_BSD, tables[2], masks[2])
        face_BFD = x_BFD
        x_BFD = self.face[-1](x_BFD, condition_BSD, tables[2], masks[2])

        up_BVD = self.face_out(x_BFD).unflatten(2, (3, -1)).flatten(1, 2)
        x_BVD = x_BVD + shifted_down(up_BVD, vertices, packing, 1)
        for block in self.vertex_up[:-1]:
            x_BVD = block(x_BVD, condition_BSD, tables[1], masks[1])
        vertex_BVD = x_BVD
        x_BVD = self.vertex_up[-1](x_BVD, condition_BSD, tables[1], masks[1])

        up_BND = self.vertex_out(x_BVD).unflatten(2, (3, -1)).flatten(1, 2)
        x_BND = x_BND + shifted_down(up_BND, length, packing, 0)
        if rows_BNRQ is not None:
            x_BND = x_BND + self.slice_states(rows_BNRQ.to(x_BND.dtype), positions % TOKENS_PER_FACE, 0)
        for block in self.coordinate_up[:-1]:
            x_BND = block(x_BND, condition_BSD, tables[0], masks[0])
        coordinate_BND = x_BND
        x_BND = self.coordinate_up[-1](x_BND, condition_BSD, tables[0], masks[0])
        return LevelStates(coordinate_BND, vertex_BVD, face_BFD, self.logits(x_BND, rows_BNRQ))

    def forward(self, tokens_BN: Tensor, condition_BSD: Tensor, rows_BNRQ: Tensor | None = None) -> Tensor:
        """Logits of the next token at every position, (B, N, num_bins + 1) float32."""
        return self.states(tokens_BN, condition_BSD, rows_BNRQ).logits_BNC


def count_parameters(config: ModelConfig) -> tuple[int, int]:
    """Parameters without and with the draft and label heads, counted on the meta device."""
    with torch.device("meta"):
        model = Hourglass(config)
    total = sum(parameter.numel() for parameter in model.parameters())
    return total - sum(parameter.numel() for parameter in model.drafts.parameters()), total
