"""Decoding on a CUDA device at speed: every pass has one of a few fixed shapes and is replayed as one CUDA graph.

`StaticModel` holds the weights and lends out buffers, with the graphs that were captured over them; `StaticDecoder`
is a batch of growing sequences. A pass of W tokens, W a multiple of 9, completes W / 3 vertices and W / 9 faces from
any start; shorter chunks are padded to it, and padding never advances a sequence. Plain decoding has graphs of one
token, which leave out the levels of which nothing is completed. On other devices the very same passes run eagerly.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from flashmesh_core.config import ModelConfig
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.runtime.chunks import check_conditions, check_cut, checked_pass, checked_slack
from flashmesh_core.runtime.cuda.attention import pick_attention
from flashmesh_core.runtime.cuda.cache import Caches
from flashmesh_core.runtime.cuda.forward import CrossKeys, Inputs, Shape, StaticPass
from flashmesh_core.runtime.cuda.weights import DTYPES, StaticWeights
from flashmesh_core.tokenizer import TOKENS_PER_FACE

IDLE_WORKSPACES = 2  # kept for later decoders; a larger collection would hold memory for nothing


class StaticModel:
    """A model made ready for static passes on the device where it is.

    `precision` is "bf16" or "float32", or "auto": bf16 on CUDA, else float32. `attention` is "flash", "sdpa"
    or "auto", see `pick_attention`. ValueErrors name the option, what it may be and the value.
    """

    @torch.inference_mode()
    def __init__(self, model: Hourglass, precision: str = "auto", attention: str = "auto") -> None:
        if precision not in ("auto", *DTYPES):
            raise ValueError(f"precision must be one of {('auto', *DTYPES)}, got {precision!r}")
        self.model, self.config = model, model.config
        self.device = model.embed.weight.device
        if precision == "auto":
            precision = "bf16" if self.device.type == "cuda" else "float32"
        self.precision, dtype = precision, DTYPES[precision]
        self.attention = pick_attention(attention, self.device, dtype, self.config.dim // self.config.heads)
        self.weights = StaticWeights(model, dtype)
        self.idle: list[Workspace] = []

    def on_device(self) -> AbstractContextManager[object]:
        """Where streams, events and graphs belong to the model's device."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def borrow(self, batch: int, condition_length: int, width: int, slack: int) -> Workspace:
        """An idle workspace of these sizes, or a new one."""
        key = (batch, condition_length, width, slack)
        for number, workspace in enumerate(self.idle):
            if workspace.key == key:
                return self.idle.pop(number)
        with self.on_device():
            return Workspace(self, *key)

    def give_back(self, workspace: Workspace) -> None:
        """Keep a workspace whose decoder is gone, with its graphs."""
        self.idle.append(workspace)
        del self.idle[:-IDLE_WORKSPACES]


class Workspace:
    """Buffers and graphs for batches of one size. All is of a fixed place, as graphs know tensors by their address."""

    def __init__(self, static: StaticModel, batch: int, condition_length: int, width: int, slack: int) -> None:
        config, device, dtype = static.config, static.device, static.weights.dtype
        self.key = (batch, condition_length, width, slack)
        self.caches = Caches(config, batch=batch, slack=slack, width=width, dtype=dtype, device=device)
        shape = (2, batch, config.heads, condition_length, config.dim // config.heads)
        self.cross: CrossKeys = [
            [None if block.cross is None else tuple(torch.zeros(shape, dtype=dtype, device=device)) for block in level]
            for level in static.weights.blocks
        ]
        self.run = StaticPass(static.model, static.weights, self.caches, self.cross, static.attention)
        self.blocks = static.weights.blocks
        self.device, self.captures = device, device.type == "cuda"
        self.host = {
            size: _inputs(config, batch, size, torch.device("cpu"), self.captures) for size in {1, width}
        }  # fmt: skip
        self.inputs = self.host
        if device.type != "cpu":
            self.inputs = {size: _inputs(config, batch, size, device, False) for size in self.host}
        self.graphs: dict[Shape, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        if self.captures:
            shapes = {size: (batch, size, config.num_classes) for size in self.host}
            self.answers = {size: torch.zeros(shape, pin_memory=True) for size, shape in shapes.items()}
            self.pool = torch.cuda.graph_pool_handle()
            self.ready = torch.cuda.Event()

    def condition(self, conditions_BSD: Tensor) -> None:
        """Make every layer's keys and values of the conditions; empty the sequences."""
        self.caches.reset()
        for blocks, level in zip(self.blocks, self.cross, strict=True):
            for block, held in zip(blocks, level, strict=True):
                if block.cross is None or held is None:
                    continue
                both = F.linear(conditions_BSD.to(block.cross.kv.dtype), block.cross.kv)
                for target, part in zip(held, both.chunk(2, dim=-1), strict=True):
                    target.copy_(part.unflatten(-1, (target.shape[1], -1)).transpose(1, 2))

    def launch(self, shape: Shape) -> Tensor:
        """Hand the host's inputs over and run the pass; the logits (B, W, C), good after `wait`. Waits for nothing.

        On CUDA they are on their way to the host's memory, else on the device.
        """
        host, inputs = self.host[shape.width], self.inputs[shape.width]
        if inputs is not host:
            inputs.control.copy_(host.control, non_blocking=True)
            if inputs.rows is not None and host.rows is not None:
                inputs.rows.copy_(host.rows, non_blocking=True)
        if not self.captures:
            return self.run(inputs, shape)
        if shape not in self.graphs:
            self.graphs[shape] = self._capture(inputs, shape)
        graph, logits = self.graphs[shape]
        graph.replay()
        answer = self.answers[shape.width].copy_(logits, non_blocking=True)
        self.ready.record()
        return answer

    def wait(self) -> None:
        """Wait for the last pass: the one time that a pass does."""
        if self.captures:
            self.ready.synchronize()

    def _capture(self, inputs: Inputs, shape: Shape) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """A pass may run twice over the same inputs, so a first, eager one sets up the libraries."""
        stream, current = torch.cuda.Stream(self.device), torch.cuda.current_stream(self.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            self.run(inputs, shape)
        current.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=stream, capture_error_mode="thread_local"):
            logits = self.run(inputs, shape)
        return graph, logits


def _inputs(config: ModelConfig, batch: int, width: int, device: torch.device, pinned: bool) -> Inputs:
    control = torch.zeros((batch, 4 + width), dtype=torch.int64, device=device, pin_memory=pinned)
    if not config.slice_rows:
        return Inputs(control, None)
    shape = (batch, width, len(config.slice_rows), config.num_bins)
    return Inputs(control, torch.zeros(shape, dtype=torch.uint8, device=device, pin_memory=pinned))


class StaticDecoder:
    """A batch of sequences over their conditions (B, S, D), each with its own length; memory bounded by the window.

    `width` is how many tokens a pass takes at most, rounded up to whole faces; longer chunks go in pieces. The last
    pass can always be rolled back, about `slack` tokens while nothing rolls: see `lowest`.
    """

    @torch.inference_mode()
    def __init__(self, static: StaticModel, conditions: Tensor, width: int = 18, slack: int | None = None) -> None:
        config = static.config
        check_conditions(conditions, config.dim)
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        slack = checked_slack(slack, config.window)
        self.static, self.config = static, config
        self.width = -(-width // TOKENS_PER_FACE) * TOKENS_PER_FACE
        batch, condition_length, _ = conditions.shape
        self.lengths = np.zeros(batch, np.int64)
        self.workspace = static.borrow(batch, condition_length, self.width, slack)
        self.workspace.condition(conditions.to(static.device))
        finalizer = weakref.finalize(self, static.give_back, self.workspace)
        finalizer.atexit = False

    @property
    def lowest(self) -> NDArray[np.int64]:
        """The lowest length to which each sequence may be rolled back."""
        return self.workspace.caches.lowest

    def truncate(self, sequence: int, length: int) -> None:
        """Forget everything of a sequence from position `length` on.

        Raises ValueError for an unknown sequence, and past the end or the rolled-out past.
        """
        check_cut(sequence, length, self.lowest, self.lengths)
        self.lengths[sequence] = length

    @torch.inference_mode()
    def states(self, level: int, sequence: int, begin: int, end: int) -> Tensor:
        """Inputs of the last layer of a level (0 coordinate, 1 vertex, 2 face) at positions begin..end - 1, (T, D).

        Float32, on the device, valid until the next `extend`. About `slack` positions are kept. Raises ValueError
        outside what is complete and still kept.
        """
        ring = self.workspace.caches.states[level]
        low, length = int(ring.low[sequence]), int(self.lengths[sequence]) // 3**level
        if not low <= begin <= end <= length:
            raise ValueError(f"positions must be in [{low}, {length}], got {begin} to {end}")
        return ring.span(sequence, begin, end)

    @torch.inference_mode()
    def extend(
        self, tokens: Sequence[NDArray | None], rows: Sequence[NDArray | None] | None = None
    ) -> list[NDArray[np.float32]]:
        """Append tokens (N_b,) to each sequence and return the float32 logits (N_b, C) that follow each.

        None or no tokens leave a sequence as it is. `rows`: each sequence's slice rows (N_b, R, Q), needed exactly
        when the configuration names some. Raises ValueError for other shapes and for tokens out of range.
        """
        chunks, bits = checked_pass(tokens, rows, len(self.lengths), self.config)
        parts: list[list[NDArray]] = [[] for _ in chunks]
        for begin in range(0, max(len(chunk) for chunk in chunks), self.width):
            piece = slice(begin, begin + self.width)
            answers = self._advance([chunk[piece] for chunk in chunks], [bit[piece] for bit in bits])
            for part, answer in zip(parts, answers, strict=True):
                part.append(answer)
        nothing = np.zeros((0, self.config.num_classes), np.float32)
        return [np.concatenate(part) if part else nothing for part in parts]

    def _advance(self, chunks: list[NDArray], bits: list[NDArray]) -> list[NDArray]:
        """One pass over at most `width` tokens of each sequence; each sequence's logits (N_b, C)."""
        counts = np.array([len(chunk) for chunk in chunks])
        with self.static.on_device():
            shape = self._prepare(chunks, bits, counts)
            answer = self.workspace.launch(shape)
            self.workspace.wait()
        self.lengths += counts
        logits = answer.cpu().numpy()
        return [logits[sequence, :count].copy() for sequence, count in enumerate(counts)]

    def _prepare(self, chunks: list[NDArray], bits: list[NDArray], counts: NDArray[np.int64]) -> Shape:
        """Choose the pass's shape, make room for it and fill in the host's inputs."""
        workspace, lengths = self.workspace, self.lengths
        width = 1 if counts.max() <= 1 else self.width
        completes = [bool(((lengths + counts) // 3**level > lengths // 3**level).any()) for level in (1, 2)]
        depth = sum(completes)
        workspace.caches.make_room(lengths, width, depth)
        extent = 0
        if self.static.attention.narrows:
            levels = workspace.caches.levels[: depth + 1]
            extent = max(level.extent_number(lengths // 3**number) for number, level in enumerate(levels))
        else:
            extent = max(level.capacity.bit_length() for level in workspace.caches.levels)
        host = workspace.host[width]
        control = host.control.numpy()
        control[:, 0] = lengths
        control[:, 1:4] = np.stack([level.starts for level in workspace.caches.levels], axis=1)
        control[:, 4:] = 0
        for sequence, chunk in enumerate(chunks):
            control[sequence, 4 : 4 + len(chunk)] = chunk
            if host.rows is not None:
                host.rows.numpy()[sequence, : len(chunk)] = bits[sequence]  # rows past these reach nothing that is read
        return Shape(width, depth, extent)
