"""Packed sequences: every crop's logits are those that it has alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flashmesh_core.config import preset
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.model.packing import make_packing

CONFIG = replace(preset("debug"), window=576, level_windows=(144, 288, 576))
GROUPS, CROPS = 96, 3


@pytest.fixture(scope="module")
def model() -> Hourglass:
    torch.manual_seed(0)
    return Hourglass(CONFIG).eval()


def given(generator: torch.Generator, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, CONFIG.num_bins, (1, 9 * groups), generator=generator)
    shape = (1, 9 * groups, len(CONFIG.slice_rows), CONFIG.num_bins)
    return tokens, (torch.rand(shape, generator=generator) < 0.05).to(torch.uint8)


@pytest.mark.parametrize("sizes", [(96,), (40, 56), (7, 70, 11)])
def test_a_crop_sees_itself_alone(model: Hourglass, sizes: tuple[int, ...]) -> None:
    """Its logits are those of the plain forward pass, windows, conditions and upsampled states included."""
    generator = torch.Generator().manual_seed(len(sizes))
    points = torch.randn((CROPS, CONFIG.num_points, 7), generator=generator)
    condition = model.encode(points, torch.tensor([20.0, 300.0, 0.0]))
    crops = [given(generator, size) for size in sizes]
    owner = torch.cat([torch.full((size,), number) for number, size in enumerate(sizes)])
    owner = torch.cat([owner, torch.full((GROUPS - len(owner),), -1)])[None]
    tokens = torch.full((1, 9 * GROUPS), CONFIG.pad)
    rows = torch.zeros((1, 9 * GROUPS, len(CONFIG.slice_rows), CONFIG.num_bins), dtype=torch.uint8)
    at = 0
    for own, bits in crops:
        tokens[:, at : at + own.shape[1]], rows[:, at : at + own.shape[1]] = own, bits
        at += own.shape[1]
    packing = make_packing(CONFIG, owner, CROPS, condition.shape[1])
    with torch.no_grad():
        packed = model.states(tokens, condition.reshape(1, -1, CONFIG.dim), rows, packing).logits_BNC
        assert torch.isfinite(packed).all()
        at = 0
        for number, (own, bits) in enumerate(crops):
            alone = model(own, condition[number : number + 1], bits)
            torch.testing.assert_close(packed[:, at : at + own.shape[1]], alone, atol=2e-4, rtol=1e-4)
            at += own.shape[1]
