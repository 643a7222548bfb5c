"""Several crops in one sequence, each of which sees only itself: what training runs the definition on.

Sequences of a mesh or a few, cut to one length, leave no position unused and have one shape, which is what a compiled
training step wants. Self-attention runs in blocks: a block of queries sees the keys of itself and of the blocks before
that hold the rest of the window. Suffixes: B sequences, G face groups, C crops a sequence, L condition tokens, T
positions of a level, N blocks, W queries of a block, S keys of a block.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from flashmesh_core.config import ModelConfig

LEVELS = 3
BLOCKS = ((2, 72), (2, 24), (1, 16))  # by level: in how many blocks a window is cut; positions a block is a multiple of


class Packing(NamedTuple):
    """What attention and upsampling may not cross, by level (coordinate, vertex, face)."""

    masks: tuple[Tensor, Tensor, Tensor]  # (B, N, W, S) float, added to the scores: 0 or minus infinity
    conditions: tuple[Tensor, Tensor, Tensor]  # (B, T, C * L) the same for the condition tokens of all crops
    starts: tuple[Tensor, Tensor]  # (B, T, 1) coordinate, vertex: 0 where nothing of the level above comes from, else 1


def block_of(window: int, length: int, level: int) -> tuple[int, int]:
    """Queries of a block and blocks before it whose keys it sees, for sequences of `length` positions."""
    parts, multiple = BLOCKS[level]
    if length <= window:
        return length, 0
    width = max(multiple, window // parts // multiple * multiple)
    while length % width:
        width -= multiple
    return width, -(-(window - 1) // width)


def make_packing(config: ModelConfig, crops_BG: Tensor, crops: int, condition_tokens: int) -> Packing:
    """The masks of sequences whose face groups belong to the crops `crops_BG`, numbered from 0; -1 is unused.

    `crops` is the largest number of crops of a sequence, `condition_tokens` how many condition tokens each has.
    """
    masks, conditions = [], []
    for level in range(LEVELS):
        of_BT = crops_BG.repeat_interleave(3 ** (LEVELS - 1 - level), dim=1)
        masks.append(_block_mask(of_BT, config.level_window(level), level))
        own = of_BT[:, :, None] == torch.arange(crops, device=of_BT.device)
        own = own | (of_BT < 0)[:, :, None]  # unused positions see something, so that nothing is divided by zero
        conditions.append(_added(own.repeat_interleave(condition_tokens, dim=2)))
    first_BG = crops_BG != F.pad(crops_BG, (1, 0), value=-2)[:, :-1]
    starts = []
    for level in (0, 1):
        each = 3 ** (LEVELS - 1 - level)
        cut = first_BG[:, :, None] & (torch.arange(each, device=crops_BG.device) < 2)
        starts.append((~cut).flatten(1)[:, :, None].float())
    return Packing(
        (masks[0], masks[1], masks[2]), (conditions[0], conditions[1], conditions[2]), (starts[0], starts[1])
    )


def _added(seen: Tensor) -> Tensor:
    return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, float("-inf"))


def _block_mask(of_BT: Tensor, window: int, level: int) -> Tensor:
    """(B, N, W, S): the same crop, not after the query, within the window."""
    length = of_BT.shape[1]
    width, back = block_of(window, length, level)
    number = torch.arange(length, device=of_BT.device)
    query_NW = number.view(-1, width)
    key_NS = query_NW[:, :1] - back * width + torch.arange((back + 1) * width, device=of_BT.device)
    distance = query_NW[:, :, None] - key_NS[:, None, :]
    allowed = (distance >= 0) & (distance < window) & (key_NS[:, None, :] >= 0)
    crop_BNS = F.pad(of_BT, (back * width, 0), value=-2)[:, key_NS + back * width]
    same = of_BT.view(len(of_BT), -1, width)[:, :, :, None] == crop_BNS[:, :, None, :]
    return _added(allowed & same)


def in_blocks(x_BHTK: Tensor, width: int) -> Tensor:
    """(B, H, T, K) to (B, H, N, W, K)."""
    return x_BHTK.unflatten(2, (-1, width))


def keys_of_blocks(x_BHTK: Tensor, width: int, back: int) -> Tensor:
    """(B, H, T, K) to (B, H, N, S, K): of each block its own and those of the `back` blocks before it."""
    if not back:
        return in_blocks(x_BHTK, width)
    padded = in_blocks(F.pad(x_BHTK, (0, 0, back * width, 0)), width)
    count = padded.shape[2] - back
    return torch.cat([padded[:, :, part : part + count] for part in range(back + 1)], dim=3)


def attend(q: Tensor, k: Tensor, v: Tensor, added: Tensor) -> Tensor:
    """Softmax attention with `added` scores, in float32 between the products; plain, so that a compiler fuses it."""
    scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5 + added
    return torch.softmax(scores, dim=-1).to(v.dtype) @ v


def attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, mask_BNWS: Tensor) -> Tensor:
    """Self-attention (B, H, T, K) of packed sequences over the blocks that the mask was made for."""
    width, seen = mask_BNWS.shape[-2:]
    back = seen // width - 1
    blocks = [in_blocks(q, width), keys_of_blocks(k, width, back), keys_of_blocks(v, width, back)]
    return attend(blocks[0], blocks[1], blocks[2], mask_BNWS[:, None]).flatten(2, 3)
