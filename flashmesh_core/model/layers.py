"""The parts every level is built from. Shape suffixes: B batch, T queries, S keys, D width, H heads, K head width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashmesh_core.model.packing import attend, attend_in_blocks


def normal(*shape: int, std: float = 1.0) -> Tensor:
    """Normally distributed numbers; none on the meta device, where that costs a second."""
    made = torch.empty(*shape)
    return made if made.is_meta else nn.init.normal_(made, std=std)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain; computed in float32."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return F.rms_norm(x_BTD, (x_BTD.shape[-1],), self.weight.to(x_BTD.dtype), 1e-6)


def rope_table(positions: Tensor, head_dim: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary embedding at absolute `positions` (T,), each (T, head_dim / 2) float32."""
    half = head_dim // 2
    frequency = base ** (-torch.arange(half, device=positions.device, dtype=torch.float32) / half)
    angle = positions.to(torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


def apply_rope(x_BHTK: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the halves of the last axis by the table's angles; `table` broadcasts over batch and heads."""
    cos, sin = table[0].to(x_BHTK.dtype), table[1].to(x_BHTK.dtype)
    a, b = x_BHTK.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def split_heads(x_BTD: Tensor, heads: int) -> Tensor:
    """(B, T, D) to (B, H, T, K)."""
    return x_BTD.unflatten(-1, (heads, -1)).transpose(-2, -3)


def merge_heads(x_BHTK: Tensor) -> Tensor:
    """(B, H, T, K) to (B, T, D)."""
    return x_BHTK.transpose(-2, -3).flatten(-2)


def window_mask(query_positions: Tensor, key_positions: Tensor, window: int) -> Tensor:
    """True where a query may see a key: not after it, and within the last `window` positions. (T, S) bool."""
    distance = query_positions[:, None] - key_positions[None, :]
    return (distance >= 0) & (distance < window)


class SelfAttention(nn.Module):
    """Causal self-attention with RoPE over the last `window` positions."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def project(self, x_BTD: Tensor, table: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, each (B, H, T, K)."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x_BTD).chunk(3, dim=-1))
        return apply_rope(q, table), apply_rope(k, table), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention over given keys; `mask` (T, S) bool, or None for every key. Returns (B, T, D)."""
        return self.out(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))

    def forward(self, x_BTD: Tensor, table: tuple[Tensor, Tensor], mask_BNWS: Tensor | None = None) -> Tensor:
        """The whole sequence at once, without a cache; with the mask of a packed one, in blocks."""
        q, k, v = self.project(x_BTD, table)
        if mask_BNWS is not None:
            return self.out(merge_heads(attend_in_blocks(q, k, v, mask_BNWS)))
        length = x_BTD.shape[1]
        if length > self.window:
            positions = torch.arange(length, device=x_BTD.device)
            return self.attend(q, k, v, window_mask(positions, positions, self.window))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(merge_heads(mixed))


class CrossAttention(nn.Module):
    """Attention from the sequence to the condition; its keys and values are made once a condition."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def keys_values(self, condition_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the condition, each (B, H, S, K)."""
        k, v = self.kv(condition_BSD).chunk(2, dim=-1)
        return split_heads(k, self.heads), split_heads(v, self.heads)

    def forward(self, x_BTD: Tensor, keys_values: tuple[Tensor, Tensor], mask_BTS: Tensor | None = None) -> Tensor:
        q = split_heads(self.q(x_BTD), self.heads)
        if mask_BTS is not None:
            return self.out(merge_heads(attend(q, *keys_values, mask_BTS[:, None])))
        return self.out(merge_heads(F.scaled_dot_product_attention(q, *keys_values)))


class GatedFeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) * up x)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate, value = self.up(x_BTD).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


class Block(nn.Module):
    """Self-attention, cross-attention to the condition where `cross` is set, gated FFN; RMSNorm before each."""

    def __init__(self, *, dim: int, heads: int, window: int, hidden: int, cross: bool) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(dim)
        self.attention = SelfAttention(dim, heads, window)
        self.cross_norm = RMSNorm(dim) if cross else None
        self.cross = CrossAttention(dim, heads) if cross else None
        self.feed_forward_norm = RMSNorm(dim)
        self.feed_forward = GatedFeedForward(dim, hidden)

    def after_attention(
        self, x_BTD: Tensor, keys_values: tuple[Tensor, Tensor] | None, mask_BTS: Tensor | None = None
    ) -> Tensor:
        """What follows self-attention and its residual."""
        if self.cross is not None and self.cross_norm is not None and keys_values is not None:
            x_BTD = x_BTD + self.cross(self.cross_norm(x_BTD), keys_values, mask_BTS)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))

    def condition(self, condition_BSD: Tensor) -> tuple[Tensor, Tensor] | None:
        """This layer's keys and values of the condition, or None without cross-attention."""
        return self.cross.keys_values(condition_BSD) if self.cross is not None else None

    def forward(
        self, x_BTD: Tensor, condition_BSD: Tensor, table: tuple[Tensor, Tensor],
        masks: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> Tensor:  # fmt: skip
        """`masks` are those of a packed sequence: of self-attention and of the condition."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), table, masks[0])
        return self.after_attention(x_BTD, self.condition(condition_BSD), masks[1])
