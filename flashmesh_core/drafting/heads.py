"""The draft heads in the decoding loop: what one sequence's newest split nodes say of the tokens to come (Sec. 3.1, 7).

A drafter reads the backbone's states of accepted positions, keeps the keys and values that its blocks need of them, and
runs the blocks at three nodes alone: the newest coordinate, the newest complete vertex and the newest complete face.
Suffixes: L condition tokens, D width, P drafted positions, C classes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.runtime.draft_blocks import COORDINATE, FACE, VERTEX, WIDTH, DraftBlocks, ReadStates, TorchBlocks

RULE_B = 3  # first tokens that optimisation B leaves to the coordinate level: the main token and two drafts


@dataclass(frozen=True, eq=False)
class HeadDistributions:
    """What the heads say of the positions after the main token; row i stands for position length + 1 + i.

    P is the same in every call. Rows that no level predicts are all zero and come last. `labels` holds, for the drafted
    vertices by absolute index (the BOS group being 0 to 2), probabilities of historical, new and intra-batch, (3,).
    """

    probabilities: np.ndarray  # (P, C) float32, the average over the levels that predict the position
    levels: np.ndarray  # (P, 3) bool: which level predicts it
    labels: dict[int, np.ndarray] = field(default_factory=dict)


@dataclass(eq=False)
class _Made:
    """What a level said at its newest node; kept until a newer node exists."""

    node: int
    first: int = 0  # absolute position of the first row
    first_vertex: int = 0
    probabilities: np.ndarray | None = None  # (rows, C)
    labels: np.ndarray | None = None  # (label rows, 3)


class HeadSequence:
    """The draft heads over one growing sequence. `update` takes accepted states in, `draft` says what may follow.

    `condition_1LD` (1, L, D). `face_tokens` (n, a multiple of 9), `vertex_tokens` (m, a multiple of 3) and
    `coordinate_tokens` are how many tokens each level drafts, the paper's n-m models; None is what was trained, 0
    leaves a level out. `fusion` False upsamples without HF-Blocks. `after_face` is optimisation A: nothing from the
    vertex level where its node also completes a face. `skip_first` is optimisation B: the face and the vertex level
    leave their first three tokens to the coordinate level. `dtype` is of the weights; caches and attention are float32.
    `compiled` picks the CPU's kernels (None: on a CPU that has numba). ValueErrors name the option, its range and the
    value.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: Hourglass,
        condition_1LD: Tensor,
        *,
        face_tokens: int | None = None,
        vertex_tokens: int | None = None,
        coordinate_tokens: int | None = None,
        fusion: bool = True,
        after_face: bool = True,
        skip_first: bool = True,
        dtype: torch.dtype = torch.float32,
        compiled: bool | None = None,
    ) -> None:
        config = model.config
        _check_condition(condition_1LD, config.dim)
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
        self.tokens = (
            _drafted("coordinate_tokens", coordinate_tokens, config.coordinate_drafts, 1),
            _drafted("vertex_tokens", vertex_tokens, config.vertex_drafts, 3),
            _drafted("face_tokens", face_tokens, config.face_drafts, 9),
        )
        if skip_first and any(self.tokens[VERTEX:]) and self.tokens[COORDINATE] < RULE_B - 1:
            raise ValueError(
                f"skip_first leaves two drafts to the coordinate level: coordinate_tokens must be at least "
                f"{RULE_B - 1}, got {self.tokens[COORDINATE]}"
            )
        self.length, self.dim = 0, config.dim
        self.after_face, self.skip = after_face, RULE_B if skip_first else 0
        self.rows = max(self.tokens[COORDINATE], self.tokens[VERTEX] - 1, self.tokens[FACE] - 1, 0)
        self.num_classes = config.num_classes
        self.blocks = _blocks(model, condition_1LD, self.tokens, fusion, dtype, compiled)
        self._made: list[_Made | None] = [None, None, None]

    @torch.inference_mode()
    def for_condition(self, condition_1LD: Tensor) -> HeadSequence:
        """A drafter with the same options over another, still empty sequence; it shares the weights."""
        _check_condition(condition_1LD, self.dim)
        made = copy.copy(self)
        made.length, made._made = 0, [None, None, None]
        made.blocks = self.blocks.for_condition(condition_1LD)
        return made

    @torch.inference_mode()
    def update(self, read: ReadStates, length: int) -> None:
        """Take in accepted states: `length` tokens stand, the main token at position `length` is chosen.

        `read(level, begin, end)` gives the inputs (end - begin, D) of a level's last layer at absolute positions of
        that level (0 coordinate, 1 vertex, 2 face; `LevelStates`), a tensor or an array. It is asked for what is new
        since the last call, up to length // 3**level. Raises ValueError for a length below the last one.
        """
        if length < self.length:
            raise ValueError(f"length must be at least {self.length}, got {length}")
        self.blocks.advance(read, length)
        self.length = length

    @torch.inference_mode()
    def draft(self) -> HeadDistributions:
        """The drafts at the newest nodes; those whose node has not changed are reused."""
        self._predict()
        first = self.length + 1
        probabilities = np.zeros((self.rows, self.num_classes), dtype=np.float32)
        levels = np.zeros((self.rows, 3), dtype=bool)
        labels: dict[int, list[np.ndarray]] = {}
        for level, made in enumerate(self._made):
            if made is None or made.probabilities is None or made.labels is None:
                continue
            rows = made.probabilities[max(0, first - made.first) :]
            begin = max(0, made.first - first)
            probabilities[begin : begin + len(rows)] += rows
            levels[begin : begin + len(rows), level] = True
            for vertex, label in enumerate(made.labels, start=made.first_vertex):
                if vertex >= first // 3:
                    labels.setdefault(vertex, []).append(label)
        probabilities /= np.maximum(levels.sum(axis=1, keepdims=True), 1)
        means = {vertex: sum(parts[1:], parts[0]) / len(parts) for vertex, parts in sorted(labels.items())}
        return HeadDistributions(probabilities, levels, means)

    def _predict(self) -> None:
        """Run the blocks whose node is new, and turn their states into distributions in one product."""
        new: list[tuple[_Made, int, int]] = []
        for level in range(3):
            node = self.length // WIDTH[level] - 1
            old = self._made[level]
            if not self.tokens[level] or node < 0 or (old is not None and old.node == node):
                continue
            made = self._made[level] = _Made(node)
            if level == VERTEX and self.after_face and self.tokens[FACE] and node % 3 == 2:
                continue
            # The first token that the node drafts; then, of these, neither what is known by now nor what is left to
            # the coordinate level.
            first = (node + 1) * WIDTH[level] + (level == COORDINATE)
            skip = max(self.length + 1 - first, 0 if level == COORDINATE else self.skip)
            if skip >= self.tokens[level]:
                continue
            made.first, made.first_vertex = first + skip, (first + skip) // 3
            new.append((made, *self.blocks.run(level, node, skip)))
        if not new:
            return
        probabilities, labels = self.blocks.distributions()
        row = label_row = 0
        for made, rows, label_rows in new:
            made.probabilities = probabilities[row : row + rows]
            made.labels = labels[label_row : label_row + label_rows]
            row, label_row = row + rows, label_row + label_rows


def _blocks(
    model: Hourglass,
    condition_1LD: Tensor,
    tokens: tuple[int, int, int],
    fusion: bool,
    dtype: torch.dtype,
    compiled: bool | None,
) -> DraftBlocks:
    able = condition_1LD.device.type == "cpu" and find_spec("numba") is not None
    if compiled and not able:
        raise ValueError(f"compiled needs a CPU and numba, got a condition on {condition_1LD.device}")
    if able and compiled is not False:
        from flashmesh_core.runtime.cpu.draft_blocks import CompiledBlocks

        return CompiledBlocks(model, condition_1LD, tokens, fusion, dtype)
    return TorchBlocks(model, condition_1LD, tokens, fusion, dtype)


def _check_condition(condition_1LD: Tensor, dim: int) -> None:
    if condition_1LD.ndim != 3 or condition_1LD.shape[0] != 1 or condition_1LD.shape[2] != dim:
        raise ValueError(f"condition must have the shape (1, L, {dim}), got {tuple(condition_1LD.shape)}")


def _drafted(name: str, tokens: int | None, trained: int, width: int) -> int:
    """How many tokens a level drafts, checked against what its heads were trained for."""
    most = trained * width
    if tokens is None:
        return most
    if not 0 <= tokens <= most or tokens % width:
        multiple = f"a multiple of {width} " if width > 1 else ""
        raise ValueError(f"{name} must be {multiple}in [0, {most}], the trained maximum, got {tokens}")
    return int(tokens)
