"""Attention over static key and value buffers, in shapes that a CUDA graph can hold.

A buffer's slot s of a sequence holds the absolute position start + s. G queries of a sequence stand at the positions
first, first + 1, ...; their own keys are written before they attend. What lies past them in the buffer is never seen.
Suffixes: B batch, G queries, S slots, H heads, K head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

BACKENDS = ("auto", "flash", "sdpa")


@dataclass(frozen=True, eq=False)
class Span:
    """Where a level's queries of one pass stand; tensors on the device, so that a graph may be replayed elsewhere."""

    turns_BGK: Tensor  # complex64 (B, G, K / 2): what rotary embedding multiplies by
    slots: Tensor  # (B G,) int64: the queries' own rows in the flattened buffers
    ends_B: Tensor  # (B,) int32: slots up to the last query's
    mask_B1GS: Tensor | None  # added to the scores; None where the backend reads `ends_B`


class Attention(Protocol):
    """Softmax attention of queries (B, G, H, K) over buffers (B, S, H, K) within the last `window` positions."""

    narrows: ClassVar[bool]  # True where the cost follows the slots given, so that fewer should be given

    def mask(
        self, positions_BG: Tensor, starts_B: Tensor, extent: int, window: int, dtype: torch.dtype
    ) -> Tensor | None:
        """What every layer of a level shares: see `Span`."""

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, span: Span, window: int) -> Tensor:
        """The mixed values (B, G, H, K)."""


class SdpaAttention:
    """torch's scaled_dot_product_attention under a mask made from the lengths; any device and dtype."""

    narrows: ClassVar[bool] = True

    def mask(self, positions_BG: Tensor, starts_B: Tensor, extent: int, window: int, dtype: torch.dtype) -> Tensor:
        """0 where a query sees the slot, else minus infinity, (B, 1, G, extent)."""
        held_BS = starts_B[:, None] + torch.arange(extent, device=starts_B.device)
        distance = positions_BG[:, :, None] - held_BS[:, None, :]
        unseen = (distance < 0) | (distance >= window)
        zeros = torch.zeros(unseen.shape, dtype=dtype, device=unseen.device)
        return zeros.masked_fill_(unseen, float("-inf"))[:, None]

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, span: Span, window: int) -> Tensor:
        """See `Attention`; `keys` and `values` are as many slots as the mask."""
        q, keys, values = (part.transpose(1, 2) for part in (q, keys, values))
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=span.mask_B1GS).transpose(1, 2)


class FlashAttention:
    """flash-attn's kernel for decoding: it reads only what is filled. CUDA, bf16."""

    narrows: ClassVar[bool] = False

    def __init__(self) -> None:
        from flash_attn import flash_attn_with_kvcache

        self.kernel = flash_attn_with_kvcache

    def mask(self, positions_BG: Tensor, starts_B: Tensor, extent: int, window: int, dtype: torch.dtype) -> None:
        """None: the kernel masks by itself, its last query being at the last of `ends_B` slots."""

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, span: Span, window: int) -> Tensor:
        """See `Attention`."""
        return self.kernel(q, keys, values, cache_seqlens=span.ends_B, causal=True, window_size=(window - 1, 0))


def pick_attention(name: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> Attention:
    """The backend `name`; "auto" is flash where it is installed and can run.

    Raises ValueError for an unknown name and for flash where it can't run.
    """
    if name not in BACKENDS:
        raise ValueError(f"attention must be one of {BACKENDS}, got {name!r}")
    reasons = {
        "a CUDA device": device.type == "cuda",
        "bf16": dtype == torch.bfloat16,
        "a head width that is a multiple of 8 up to 256": head_dim % 8 == 0 and head_dim <= 256,
        "the package flash-attn": find_spec("flash_attn") is not None,
    }
    missing = [reason for reason, met in reasons.items() if not met]
    if name == "flash" and missing:
        raise ValueError(f"attention 'flash' needs {', '.join(missing)}")
    return SdpaAttention() if name == "sdpa" or missing else FlashAttention()
