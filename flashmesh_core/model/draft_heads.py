"""SP-Blocks, HF-Blocks and the label head (paper Sec. 3.1, 3.2, 7.3).

Draft d = 1..D of a level stands for: the token at n + 1 + d (coordinate level, after the main token n + 1), the vertex
v + d (vertex level, where v + 1 holds the main token), the face f + d (face level). Suffixes: B batch, S split nodes,
T earlier positions, P drafts or drafted positions, D width, H heads, K head width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashmesh_core.config import ModelConfig
from flashmesh_core.model.layers import RMSNorm, apply_rope, rope_table

LABEL_HISTORICAL, LABEL_NEW, LABEL_INTRA_BATCH = 0, 1, 2
NUM_LABELS = 3


def _heads(x: Tensor, drafts: int, heads: int) -> Tensor:
    """(B, T, P * D) or (B, T, P, D) to (B, P * H, T, K)."""
    return x.reshape(*x.shape[:2], drafts * heads, -1).transpose(1, 2)


def _per_draft(x_BSPD: Tensor, weight_PDE: Tensor) -> Tensor:
    """Each draft's own matrix: (B, S, P, D) by (P, D, E) to (B, S, P, E)."""
    batch, nodes, drafts, dim = x_BSPD.shape
    flat = x_BSPD.permute(2, 0, 1, 3).reshape(drafts, batch * nodes, dim)
    out = torch.bmm(flat, weight_PDE.to(flat.dtype))
    return out.reshape(drafts, batch, nodes, -1).permute(1, 2, 0, 3)


def _matrix(count: int, rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(count, rows, columns))


class SPBlock(nn.Module):
    """`drafts` parameter-independent heads, h^(d) = Linear(CA(SA(h))) + h on the state h before the last layer (Eq. 1).

    The equation is read as a transformer block: self- and cross-attention keep their residuals and norms inside.
    """

    def __init__(self, *, dim: int, heads: int, drafts: int, window: int, cross: bool = True) -> None:
        super().__init__()
        self.heads, self.drafts, self.window = heads, drafts, window
        self.norm = RMSNorm(dim)
        self.q = nn.Linear(dim, drafts * dim, bias=False)
        self.kv = nn.Linear(dim, drafts * 2 * dim, bias=False)
        self.attention_out = _matrix(drafts, dim, dim)
        self.cross_norm = RMSNorm(dim)
        self.cross_q = _matrix(drafts, dim, dim)
        self.cross_kv = nn.Linear(dim, drafts * 2 * dim, bias=False)
        self.cross_out = _matrix(drafts, dim, dim)
        self.linear_norm = RMSNorm(dim)
        self.linear = _matrix(drafts, dim, dim)

    def keys_values(self, h_BTD: Tensor, table: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """What the self-attention caches of every earlier state: keys and values (B, P * H, T, K)."""
        k, v = self.kv(self.norm(h_BTD)).chunk(2, dim=-1)
        return apply_rope(_heads(k, self.drafts, self.heads), table), _heads(v, self.drafts, self.heads)

    def condition(self, condition_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the condition for every head, (B, P * H, L, K)."""
        k, v = self.cross_kv(condition_BLD).chunk(2, dim=-1)
        return _heads(k, self.drafts, self.heads), _heads(v, self.drafts, self.heads)

    def forward(
        self,
        h_BSD: Tensor,
        table: tuple[Tensor, Tensor],
        keys_values: tuple[Tensor, Tensor],
        condition: tuple[Tensor, Tensor],
        mask: Tensor | None,
    ) -> Tensor:
        """Drafted states (B, S, P, D) of the split nodes `h_BSD`, whose rotary angles are `table`."""
        q = _heads(self.q(self.norm(h_BSD)), self.drafts, self.heads)
        q = apply_rope(q, (table[0].unsqueeze(-3), table[1].unsqueeze(-3)))
        mixed = F.scaled_dot_product_attention(q, *keys_values, attn_mask=mask)
        mixed_BSPD = mixed.transpose(1, 2).unflatten(2, (self.drafts, self.heads)).flatten(3)
        x_BSPD = h_BSD[:, :, None] + _per_draft(mixed_BSPD, self.attention_out)
        q = _heads(_per_draft(self.cross_norm(x_BSPD), self.cross_q), self.drafts, self.heads)
        mixed = F.scaled_dot_product_attention(q, *condition)
        mixed_BSPD = mixed.transpose(1, 2).unflatten(2, (self.drafts, self.heads)).flatten(3)
        x_BSPD = x_BSPD + _per_draft(mixed_BSPD, self.cross_out)
        return h_BSD[:, :, None] + _per_draft(self.linear_norm(x_BSPD), self.linear)


class HFBlock(nn.Module):
    """Upsample drafted states by 3 and let each position attend to the backbone's states below (Eq. 2 to 5).

    `positions` drafted positions of the lower level, a query projection and an FFN each; keys and values are shared.
    """

    def __init__(self, *, dim: int, heads: int, positions: int, window: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.positions, self.window = heads, positions, window
        self.upsample = nn.Linear(dim, 3 * dim, bias=False)
        self.query_norm = RMSNorm(dim)
        self.q = _matrix(positions, dim, dim)
        self.key_norm = RMSNorm(dim)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.ffn_norm = RMSNorm(dim)
        self.ffn_in = _matrix(positions, dim, hidden)
        self.ffn_out = _matrix(positions, hidden, dim)

    def keys_values(self, x_BTD: Tensor, table: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Keys and values of the backbone's lower-level states, (B, H, T, K)."""
        k, v = self.kv(self.key_norm(x_BTD)).chunk(2, dim=-1)
        return apply_rope(_heads(k, 1, self.heads), table), _heads(v, 1, self.heads)

    def forward(
        self,
        h_BSPD: Tensor,
        first_BS: Tensor,
        keys_values: tuple[Tensor, Tensor],
        mask: Tensor | None,
    ) -> Tensor:
        """Refined lower-level states (B, S, positions, D) of drafted states (B, S, positions / 3, D).

        `first_BS` is the absolute lower-level position that the first drafted state stands at; `mask` (B, 1, S *
        positions, T) says which earlier states a drafted position may see.
        """
        batch, nodes = h_BSPD.shape[:2]
        x_BSPD = self.upsample(h_BSPD).unflatten(-1, (3, -1)).flatten(2, 3)
        q_BSPD = _per_draft(self.query_norm(x_BSPD), self.q)
        offset = torch.arange(self.positions, device=h_BSPD.device)
        table = rope_table((first_BS[:, :, None] + offset).flatten(), q_BSPD.shape[-1] // self.heads)
        table = (
            table[0].view(batch, 1, nodes * self.positions, -1),
            table[1].view(batch, 1, nodes * self.positions, -1),
        )
        q = apply_rope(_heads(q_BSPD.flatten(1, 2), 1, self.heads), table)
        mixed = F.scaled_dot_product_attention(q, *keys_values, attn_mask=mask)
        mixed_BSPD = mixed.transpose(1, 2).flatten(2).unflatten(1, (nodes, self.positions))
        hidden = F.silu(_per_draft(self.ffn_norm(mixed_BSPD), self.ffn_in))
        return x_BSPD + _per_draft(hidden, self.ffn_out)


@dataclass
class Drafts:
    """Drafted states before the output norm: what each level says of the positions that follow its split node."""

    coordinate_BSPD: Tensor | None  # (B, S, coordinate_drafts, D)
    vertex_BSPD: Tensor | None  # (B, S, 3 * vertex_drafts, D)
    face_BSPD: Tensor | None  # (B, S, 9 * face_drafts, D)
    vertex_labels_BSPC: Tensor | None  # (B, S, vertex_drafts, 3) logits of the labels
    face_labels_BSPC: Tensor | None  # (B, S, 3 * face_drafts, 3)


class DraftHeads(nn.Module):
    """The SP- and HF-Blocks of the three levels and the label head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, heads = config.dim, config.heads
        windows = [config.level_window(level) for level in range(3)]
        hidden = int(dim * config.draft_ffn_ratio)
        self.config = config

        def fuse(positions: int, level: int) -> HFBlock:
            return HFBlock(dim=dim, heads=heads, positions=positions, window=windows[level], hidden=hidden)

        if config.coordinate_drafts:
            self.coordinate = SPBlock(dim=dim, heads=heads, drafts=config.coordinate_drafts, window=windows[0])
        if config.vertex_drafts:
            self.vertex = SPBlock(dim=dim, heads=heads, drafts=config.vertex_drafts, window=windows[1])
            self.vertex_to_coordinate = fuse(3 * config.vertex_drafts, 0)
        if config.face_drafts:
            self.face = SPBlock(dim=dim, heads=heads, drafts=config.face_drafts, window=windows[2])
            self.face_to_vertex = fuse(3 * config.face_drafts, 1)
            self.face_to_coordinate = fuse(9 * config.face_drafts, 0)
        if config.vertex_drafts or config.face_drafts:
            self.label = nn.Linear(dim, NUM_LABELS)

    def draft_all(
        self,
        coordinate_BND: Tensor,
        vertex_BVD: Tensor,
        face_BFD: Tensor,
        condition_BLD: Tensor,
        groups_BS: Tensor,
    ) -> Drafts:
        """Drafts of every split node in the face groups `groups_BS`, over whole-sequence states (training, tests).

        Each group holds nine coordinate nodes, three vertex nodes and one face node, so S in the result is 9, 3 and 1
        times the number of groups.
        """
        head_dim = self.config.dim // self.config.heads
        states = (coordinate_BND, vertex_BVD, face_BFD)
        positions = [torch.arange(state.shape[1], device=state.device) for state in states]
        tables = [rope_table(position, head_dim) for position in positions]
        nodes = [
            (groups_BS[:, :, None] * width + torch.arange(width, device=groups_BS.device)).flatten(1)
            for width in (9, 3, 1)
        ]

        def speculate(block: SPBlock, level: int) -> Tensor:
            node = nodes[level]
            h = torch.gather(states[level], 1, node[..., None].expand(-1, -1, states[level].shape[-1]))
            table = (tables[level][0][node], tables[level][1][node])
            mask = _see(node, positions[level], block.window)
            keys_values = block.keys_values(states[level], tables[level])
            return block(h, table, keys_values, block.condition(condition_BLD), mask)

        def fuse(block: HFBlock, drafted_BSPD: Tensor, node: Tensor, level: int, width: int) -> Tensor:
            last = node * width + width - 1  # the lower-level position completed with the split node
            mask = _see(last.repeat_interleave(block.positions, dim=1), positions[level], block.window)
            return block(drafted_BSPD, last + 1, block.keys_values(states[level], tables[level]), mask)

        coordinate = vertex = face = vertex_labels = face_labels = None
        if self.config.coordinate_drafts:
            coordinate = speculate(self.coordinate, 0)
        if self.config.vertex_drafts:
            drafted = speculate(self.vertex, 1)
            vertex_labels = self.label(drafted)
            vertex = fuse(self.vertex_to_coordinate, drafted, nodes[1], 0, 3)
        if self.config.face_drafts:
            drafted = fuse(self.face_to_vertex, speculate(self.face, 2), nodes[2], 1, 3)
            face_labels = self.label(drafted)
            face = fuse(self.face_to_coordinate, drafted, nodes[2], 0, 9)
        return Drafts(coordinate, vertex, face, vertex_labels, face_labels)


def _see(query_BS: Tensor, key_T: Tensor, window: int) -> Tensor:
    """True where a query position may see a key position, (B, 1, S, T) bool."""
    distance = query_BS[:, None, :, None] - key_T
    return (distance >= 0) & (distance < window)
