"""The weights of the hourglass as the CPU's kernels read them (matmul.py), and the choice of their dtype.

"bf16" rounds the matrices of layers and slices to bfloat16, "int16" those of layers to integers with a scale a
column and those of slices to bfloat16; embeddings and head stay float32. So do activations, but for the integers
that are multiplied with integers, and the bfloat16 that tiles take.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from llvmlite import binding
from numpy.typing import NDArray
from torch import Tensor

from flashmesh_core.files import write_atomic
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.model.layers import Block, rope_table
from flashmesh_core.runtime.cpu.cpu_features import HAS_PAIRS, HAS_TILES, PANEL
from flashmesh_core.runtime.cpu.forward import PLAN_COLUMNS
from flashmesh_core.runtime.cpu.int16 import max_integer
from flashmesh_core.runtime.cpu.matmul import linear_alone

DTYPES = ("bf16", "int16", "float32")
Floats = NDArray[np.float32]


def padded(number: int) -> int:
    """`number` rounded up to whole panels."""
    return -(-number // PANEL) * PANEL


def to_numpy(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).numpy())


def bfloat_bits(numbers: Floats) -> NDArray[np.uint16]:
    """Numbers rounded to bfloat16, as bits."""
    return torch.from_numpy(numbers).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)


def in_pairs(panels: Floats) -> NDArray[np.int32]:
    """Panels (..., K, 64) as words (..., K / 2, 64) of two bfloat16, the even row in the low half."""
    bits = bfloat_bits(panels).astype(np.uint32)
    return (bits[..., ::2, :] | bits[..., 1::2, :] << np.uint32(16)).view(np.int32)


def pack(matrix: Floats, dtype: str) -> NDArray:
    """A matrix (N, K) as flat panels, see matmul.py: float32, uint32 of two bfloat16, or int16 ("int16")."""
    columns, depth = matrix.shape
    full = np.zeros((padded(columns), depth if dtype == "float32" else depth + depth % 2), np.float32)
    full[:columns, :depth] = matrix
    panels = np.ascontiguousarray(full.reshape(-1, PANEL, full.shape[1]).transpose(0, 2, 1))
    if dtype == "float32":
        return panels.ravel()
    if dtype == "int16":
        return _int16_panels(panels, depth)
    return in_pairs(panels).view(np.uint32).ravel()


def _int16_panels(panels: Floats, depth: int) -> NDArray[np.int16]:
    """Panels (P, K, 64) as integers (P, K / 2 + 1, 64, 2), the last row of words being the columns' scales."""
    scales = np.abs(panels).max(axis=1, keepdims=True) / np.float32(max_integer(depth))
    integers = np.rint(panels / np.where(scales > 0, scales, 1)).astype(np.int16)
    pairs = np.stack([integers[:, ::2], integers[:, 1::2]], axis=-1)
    return np.concatenate([pairs, scales.view(np.int16).reshape(len(panels), 1, PANEL, 2)], axis=1).ravel()


def as_dots(packed: NDArray) -> NDArray:
    """Packed bfloat16 as what tiles multiply with bfloat16 activations, where there are any; anything else unchanged.

    Columns of activations from K up to a multiple of 32 must then be numbers, as they are multiplied by zero.
    """
    return packed.view(np.int32) if HAS_TILES and packed.dtype == np.uint32 else packed


CONTENDERS = ("int16" if HAS_PAIRS and not HAS_TILES else "bf16", "float32")  # of the others the CPU lacks instructions


def pick_dtype() -> str:
    """The faster dtype on this machine, measured once and kept beside the compiled kernels.

    Kept, since other work on the machine may turn a measurement, and the kernels of another dtype would then have to be
    compiled, which takes minutes. They differ in their numbers, so a caller who wants the same output everywhere names
    one instead.
    """
    folder = linear_alone.stats.cache_path
    path = Path(folder or ".") / f"dtype-{binding.get_host_cpu_name()}.txt"
    with suppress(OSError, ValueError):
        known = path.read_text(encoding="utf-8").strip() if folder else ""
        if known in CONTENDERS:
            return known
    picked = measure_dtype()
    with suppress(OSError):
        if folder:
            write_atomic(path, picked.encode())
    return picked


def measure_dtype(tries: int = 5) -> str:
    """The dtype of CONTENDERS whose products of 1 and 18 rows take less time, measured in some milliseconds."""
    contenders = CONTENDERS
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((4096, 512), dtype=np.float32)
    x, y = np.ones((18, 512), np.float32), np.zeros((18, 4096), np.float32)
    weights = {dtype: as_dots(pack(matrix, dtype)) for dtype in contenders}
    best = dict.fromkeys(contenders, float("inf"))
    for attempt in range(tries + 1):
        for dtype in contenders:
            start = time.perf_counter()
            for rows in (1, 1, 1, 18):
                linear_alone(x, 512, weights[dtype], 0, 1 if dtype == "float32" else 2, y, 4096, rows)
            if attempt:  # the first one compiles
                best[dtype] = min(best[dtype], time.perf_counter() - start)
    return min(contenders, key=lambda dtype: best[dtype])


class FastModel:
    """A model's weights as the kernels read them; decoders share one. Raises ValueError for an unknown dtype."""

    def __init__(self, model: Hourglass, dtype: str) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
        self.config, self.dtype = model.config, dtype
        self.per_word = 1 if dtype == "float32" else 2
        self.dim = model.config.dim
        self._matrices: list[NDArray] = []
        self._gains: list[Floats] = []
        self._used = [0, 0]
        self.stacks = [
            [*model.coordinate_down, *model.coordinate_up],
            [*model.vertex_down, *model.vertex_up],
            list(model.face),
        ]
        self.plans = [self._plan(blocks) for blocks in self.stacks]
        # Keys and values of the condition are made once a sequence, by torch.
        self.condition_weights = [
            [block.cross.kv.weight.detach().float().cpu() for block in blocks if block.cross is not None]
            for blocks in self.stacks
        ]
        self.hidden = int(self.dim * model.config.ffn_ratio)
        self.vertex_in, self.face_in, self.face_out, self.vertex_out = (
            self._matrix(part.weight) for part in (model.vertex_in, model.face_in, model.face_out, model.vertex_out)
        )
        self.gains, self.weights = np.concatenate(self._gains), as_dots(np.concatenate(self._matrices))
        del self._gains, self._matrices, self.stacks
        self.embeddings, self.slots = to_numpy(model.embed.weight), to_numpy(model.slot_embed.weight)
        head, bias = to_numpy(model.head.weight), np.zeros(0, np.float32)
        self.kinds = len(model.config.slice_rows)
        self.slices: NDArray = np.zeros((9, 0, self.dim), np.float32)
        if self.kinds:
            slices = to_numpy(model.slices)
            self.slices = slices if dtype == "float32" else bfloat_bits(slices)
            head = np.concatenate([head, to_numpy(model.copy_gates.weight)])
            bias = to_numpy(model.copy_gates.bias)
        self.out_gain, self.head = to_numpy(model.out_norm.weight), pack(head, "float32")
        self.bias = np.zeros(padded(len(head)), np.float32)
        self.bias[model.config.num_classes : model.config.num_classes + len(bias)] = bias
        heads = model.config.heads
        self.arguments = (self.gains, self.weights, self.per_word, self.dim, heads, self.hidden)
        below = (model.config.coordinate_layers[0], model.config.vertex_layers[0], model.config.face_layers)
        self.levels = tuple(zip(self.plans, below, strict=True))
        self.between = (self.vertex_in, self.face_in, self.face_out, self.vertex_out)
        self.ends = (self.embeddings, self.slots, self.slices, self.out_gain, self.head, self.bias)
        self.table = (np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
        self.grow_table(4096)

    def _matrix(self, weight: Tensor) -> int:
        """Append a matrix (N, K) and return where it begins."""
        self._matrices.append(pack(to_numpy(weight), self.dtype))
        words = self._matrices[-1].nbytes // 4
        self._used[0] += words
        return self._used[0] - words

    def _gain(self, weight: Tensor) -> int:
        self._gains.append(to_numpy(weight))
        self._used[1] += self._gains[-1].size
        return self._used[1] - self._gains[-1].size

    def _plan(self, blocks: list[Block]) -> NDArray[np.int64]:
        rows = []
        for block in blocks:
            cross, cross_norm = block.cross, block.cross_norm
            rows.append([
                self._gain(block.attention_norm.weight),
                self._gain(cross_norm.weight) if cross_norm is not None else -1,
                self._gain(block.feed_forward_norm.weight),
                self._matrix(block.attention.qkv.weight),
                self._matrix(block.attention.out.weight),
                self._matrix(cross.q.weight) if cross is not None else -1,
                self._matrix(cross.out.weight) if cross is not None else -1,
                self._matrix(block.feed_forward.up.weight),
                self._matrix(block.feed_forward.down.weight),
            ])  # fmt: skip
        return np.array(rows, np.int64).reshape(-1, PLAN_COLUMNS)

    def grow_table(self, positions: int) -> None:
        """Make the rotary table cover `positions` positions at least."""
        if len(self.table[0]) < positions:
            cos, sin = rope_table(torch.arange(2 * positions), self.dim // self.config.heads)
            self.table = (to_numpy(cos), to_numpy(sin))
