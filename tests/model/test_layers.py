"""The parts of a level against their definitions written out slowly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from flashmesh_core.model.layers import (
    Block,
    CrossAttention,
    GatedFeedForward,
    RMSNorm,
    SelfAttention,
    apply_rope,
    merge_heads,
    rope_table,
    split_heads,
    window_mask,
)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_rms_norm_is_the_formula() -> None:
    norm = RMSNorm(8).requires_grad_(False)
    norm.weight.copy_(torch.arange(1.0, 9.0))
    x = randn(2, 5, 8) * 3
    expected = x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected)


def test_heads_split_and_merge() -> None:
    x = randn(2, 5, 12)
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 4)
    torch.testing.assert_close(heads[1, 2, 4], x[1, 4, 8:12])
    torch.testing.assert_close(merge_heads(heads), x)


def test_rope_scores_depend_on_the_distance_alone() -> None:
    q, k = randn(1, 1, 1, 8, seed=1), randn(1, 1, 1, 8, seed=2)

    def score(m: int, n: int) -> float:
        tables = [rope_table(torch.tensor([position]), 8) for position in (m, n)]
        return float((apply_rope(q, tables[0]) * apply_rope(k, tables[1])).sum())

    assert score(7, 3) == pytest.approx(score(104, 100), abs=1e-4)
    assert abs(score(7, 3) - score(7, 4)) > 1e-3
    assert float(apply_rope(q, rope_table(torch.tensor([50]), 8)).norm()) == pytest.approx(float(q.norm()), rel=1e-5)
    torch.testing.assert_close(apply_rope(q, rope_table(torch.tensor([0]), 8)), q)


def test_window_mask_by_hand() -> None:
    mask = window_mask(torch.tensor([4, 5]), torch.arange(7), 3)
    assert mask.int().tolist() == [[0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1, 0]]


@pytest.mark.parametrize("window", [1, 3, 10, 11, 100])
def test_self_attention_sees_the_last_window_positions(window: int) -> None:
    attention = SelfAttention(8, 2, window).requires_grad_(False)
    x = randn(1, 11, 8)
    table = rope_table(torch.arange(11), 4)
    q, k, v = attention.project(x, table)
    for n in range(11):
        seen = slice(max(0, n - window + 1), n + 1)
        weight = torch.softmax(q[0, :, n : n + 1] @ k[0, :, seen].transpose(1, 2) / math.sqrt(4), dim=-1)
        expected = attention.out((weight @ v[0, :, seen]).flatten())
        torch.testing.assert_close(attention(x, table)[0, n], expected, atol=1e-5, rtol=1e-4)


def test_cross_attention_is_the_formula() -> None:
    cross = CrossAttention(8, 2).requires_grad_(False)
    x, condition = randn(1, 4, 8, seed=3), randn(1, 6, 8, seed=4)
    k, v = cross.keys_values(condition)
    q = split_heads(cross.q(x), 2)
    weight = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(4), dim=-1)
    torch.testing.assert_close(cross(x, (k, v)), cross.out(merge_heads(weight @ v)))


def test_gated_feed_forward_is_the_formula() -> None:
    layer = GatedFeedForward(4, 6).requires_grad_(False)
    x = randn(3, 4)
    gate, value = x @ layer.up.weight[:6].T, x @ layer.up.weight[6:].T
    torch.testing.assert_close(layer(x), (gate * torch.sigmoid(gate) * value) @ layer.down.weight.T)


@pytest.mark.parametrize("cross", [True, False])
def test_only_a_block_with_cross_attention_reads_the_condition(cross: bool) -> None:
    torch.manual_seed(0)
    block = Block(dim=8, heads=2, window=9, hidden=8, cross=cross).requires_grad_(False)
    x, table = randn(1, 5, 8), rope_table(torch.arange(5), 4)
    a, b = (block(x, randn(1, 3, 8, seed=seed), table) for seed in (1, 2))
    assert torch.equal(a, b) != cross
    assert (block.condition(x) is None) != cross
