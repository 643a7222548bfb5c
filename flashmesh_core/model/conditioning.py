"""The condition: surface samples through Fourier features and a Perceiver encoder, and the face-count token."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashmesh_core.config import ModelConfig
from flashmesh_core.model.layers import CrossAttention, GatedFeedForward, RMSNorm, merge_heads, normal, split_heads


class LatentBlock(nn.Module):
    """Full self-attention and FFN over the latent tokens."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = RMSNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.feed_forward_norm = RMSNorm(dim)
        self.feed_forward = GatedFeedForward(dim, hidden)

    def forward(self, x_BLD: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.attention_norm(x_BLD)).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v)
        x_BLD = x_BLD + self.out(merge_heads(mixed))
        return x_BLD + self.feed_forward(self.feed_forward_norm(x_BLD))


class ConditionEncoder(nn.Module):
    """Points and normals to `num_latents` + 1 condition tokens.

    `points_BPC` (B, P, 7): unit-box position, unit normal (zeros where there is none), and 1 where the normal
    is known. `face_count` (B,) float: the wanted number of faces, or 0 for "any". Returns (B, L + 1, D).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.bands = config.fourier_bands
        hidden = int(config.dim * config.ffn_ratio)
        self.point_in = nn.Linear(3 * 2 * self.bands + 7, config.dim)
        self.latents = nn.Parameter(normal(config.num_latents, config.dim, std=0.02))
        self.read_norm = RMSNorm(config.dim)
        self.point_norm = RMSNorm(config.dim)
        self.read = CrossAttention(config.dim, config.heads)
        self.read_ffn_norm = RMSNorm(config.dim)
        self.read_ffn = GatedFeedForward(config.dim, hidden)
        self.blocks = nn.ModuleList(LatentBlock(config.dim, config.heads, hidden) for _ in range(config.encoder_layers))
        self.count_in = nn.Linear(17, config.dim)
        self.out_norm = RMSNorm(config.dim)

    def point_features(self, points_BPC: Tensor) -> Tensor:
        """Sines and cosines of the position at `fourier_bands` octaves, and the raw channels."""
        octaves = 2.0 ** torch.arange(self.bands, device=points_BPC.device, dtype=torch.float32) * math.pi
        angle = (points_BPC[..., :3].float()[..., None] * octaves).flatten(-2)
        return torch.cat([angle.sin(), angle.cos(), points_BPC.float()], dim=-1)

    def count_features(self, face_count_B: Tensor) -> Tensor:
        """The wanted face count on a log scale (base 2, 0 to 16) as 8 sine pairs and a "known" bit, (B, 17)."""
        known = (face_count_B > 0).float()
        level = torch.log2(face_count_B.float().clamp(min=1.0)) / 16.0
        octaves = 2.0 ** torch.arange(8, device=face_count_B.device, dtype=torch.float32) * math.pi / 2.0
        angle = level[:, None] * octaves
        return torch.cat([angle.sin(), angle.cos(), known[:, None]], dim=-1) * known[:, None]

    def forward(self, points_BPC: Tensor, face_count_B: Tensor) -> Tensor:
        point_BPD = self.point_norm(self.point_in(self.point_features(points_BPC)))
        x_BLD = self.latents.expand(points_BPC.shape[0], -1, -1)
        x_BLD = x_BLD + self.read(self.read_norm(x_BLD), self.read.keys_values(point_BPD))
        x_BLD = x_BLD + self.read_ffn(self.read_ffn_norm(x_BLD))
        for block in self.blocks:
            x_BLD = block(x_BLD)
        count_B1D = self.count_in(self.count_features(face_count_B))[:, None]
        return self.out_norm(torch.cat([x_BLD, count_B1D.to(x_BLD.dtype)], dim=1))
