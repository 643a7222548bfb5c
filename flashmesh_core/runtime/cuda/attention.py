"""Attention over static key and value buffers, in shapes that a CUDA graph can hold.

A buffer's slot s of a sequence holds the absolute position start + s. G queries of a sequence stand at the positions
first, first + 1, ...; their own keys are written before they attend. What lies past them in the buffer is never seen.
Suffixes: B batch, G queries, S slots, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """`flash_attn_with_kvcache`, flash-attn's kernel for decoding: it reads only what is filled. CUDA, bf16."""

    narrows: ClassVar[bool] = False

    def __init__(self, kernel: Callable[..., Tensor]) -> None:
        self.kernel = kernel

    def mask(self, positions_BG: Tensor, starts_B: Tensor, extent: int, window: int, dtype: torch.dtype) -> None:
        """None: the kernel masks by itself, its last query being at the last of `ends_B` slots."""

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, span: Span, window: int) -> Tensor:
        """See `Attention`."""
        return self.kernel(q, keys, values, cache_seqlens=span.ends_B, causal=True, window_size=(window - 1, 0))


def flash_kernel() -> Callable[..., Tensor] | None:
    """flash-attn's kernel; None where it is not installed, or built for another torch."""
    try:
        from flash_attn import flash_attn_with_kvcache
    except ImportError:
        return None
    return flash_attn_with_kvcache


def pick_attention(name: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> Attention:
    """The backend `name`; "auto" is flash where it is installed and can run.

    Raises ValueError for an unknown name and for flash where it can't run.
    """
    if name not in BACKENDS:
        raise ValueError(f"attention must be one of {BACKENDS}, got {name!r}")
    if name == "sdpa":
        return SdpaAttention()
    needs = {
        "a CUDA device": device.type == "cuda",
        "bf16": dtype == torch.bfloat16,
        "a head width that is a multiple of 8 up to 256": head_dim % 8 == 0 and head_dim <= 256,
    }
    missing = [need for need, met in needs.items() if not met]
    kernel = None if missing else flash_kernel()
    if kernel is not None:
        return FlashAttention(kernel)
    if name == "flash":
        raise ValueError(f"attention 'flash' needs {', '.join(missing or ['the package flash-attn'])}")
    return SdpaAttention()
