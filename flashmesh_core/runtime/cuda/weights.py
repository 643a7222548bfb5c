"""The backbone's matrices as the static pass reads them: once a model, shared by every decoder.

Matrices are in the dtype of the products; gains, embeddings and the logits' head stay float32, as do residuals.
Suffixes: R slice rows, Q bins, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.model.layers import Block

DTYPES = {"bf16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True, eq=False)
class CrossWeights:
    """Cross-attention to the condition."""

    gain: Tensor
    q: Tensor
    kv: Tensor
    out: Tensor


@dataclass(frozen=True, eq=False)
class BlockWeights:
    """One layer. The rows of `qkv` that make queries and keys are in pairs: see `pair_halves`."""

    attention_gain: Tensor
    qkv: Tensor
    out: Tensor
    cross: CrossWeights | None
    feed_forward_gain: Tensor
    up: Tensor
    down: Tensor


def pair_halves(qkv: Tensor, heads: int) -> Tensor:
    """Reorder each head's query and key rows from (first half, second half) to pairs of one of each.

    Rotary embedding turns such a pair, so that it becomes one complex product. Scores stay the same, as queries and
    keys are reordered alike.
    """
    dim = qkv.shape[1]
    parts = qkv.view(3, heads, 2, dim // heads // 2, dim)
    paired = parts[:2].transpose(2, 3).reshape(2, dim, dim)
    return torch.cat([paired.flatten(0, 1), qkv[2 * dim :]])


class StaticWeights:
    """The matrices of a model in `dtype`, on the model's own device."""

    def __init__(self, model: Hourglass, dtype: torch.dtype) -> None:
        self.dtype = dtype
        heads = model.config.heads

        def cast(weight: Tensor) -> Tensor:
            return weight.detach().to(dtype)

        def block(layer: nn.Module) -> BlockWeights:
            assert isinstance(layer, Block)
            cross = None
            if layer.cross is not None and layer.cross_norm is not None:
                cross = CrossWeights(
                    gain=layer.cross_norm.weight.detach().float(),
                    q=cast(layer.cross.q.weight),
                    kv=cast(layer.cross.kv.weight),
                    out=cast(layer.cross.out.weight),
                )
            return BlockWeights(
                attention_gain=layer.attention_norm.weight.detach().float(),
                qkv=cast(pair_halves(layer.attention.qkv.weight.detach(), heads)),
                out=cast(layer.attention.out.weight),
                cross=cross,
                feed_forward_gain=layer.feed_forward_norm.weight.detach().float(),
                up=cast(layer.feed_forward.up.weight),
                down=cast(layer.feed_forward.down.weight),
            )

        self.below = (len(model.coordinate_down), len(model.vertex_down), 0)  # layers before the inner level
        stacks = ((model.coordinate_down, model.coordinate_up), (model.vertex_down, model.vertex_up), (model.face,))
        self.blocks = [[block(layer) for stack in level for layer in stack] for level in stacks]
        self.inward = {1: cast(model.vertex_in.weight), 2: cast(model.face_in.weight)}  # by the level they lead to
        self.outward = {1: cast(model.vertex_out.weight), 2: cast(model.face_out.weight)}  # by the level they come from
        self.slices: Tensor | None = None  # (9, R Q, D): row s for positions of slot s
        if model.config.slice_rows:
            self.slices = cast(model.slices.roll(-1, dims=0))
