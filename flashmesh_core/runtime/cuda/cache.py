"""Buffers of a fixed shape for decoding on a device, addressed by absolute position.

Lengths and starts are integers on the host, handed to the device with each pass, so a pass reads no number back.
Writing past a length does not advance it: what a pass writes for padding is written anew before it is ever read.
Suffixes: B batch, G positions of a pass, D width, H heads, K head width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flashmesh_core.config import ModelConfig

EXTENTS = (512, 192, 64)  # the shortest part of the three levels' buffers that attention is given; it doubles
ALIGNMENT = 64


def groups(width: int, level: int) -> int:
    """Positions of a level that `width` tokens complete at most, from any start."""
    return -(-width // 3**level)


class Ring:
    """Rows (B, R, D) at the positions modulo R: the newest R positions are held, whatever the length."""

    def __init__(self, batch: int, rows: int, dim: int, device: torch.device) -> None:
        self.rows = rows
        self.data = torch.zeros((batch, rows, dim), dtype=torch.float32, device=device)
        self.bases = torch.arange(batch, device=device)[:, None] * rows
        self.high = np.zeros(batch, np.int64)  # one past the highest position ever written, by sequence

    def _places(self, positions_BG: Tensor) -> Tensor:
        return (self.bases + positions_BG % self.rows).flatten()

    def write(self, positions_BG: Tensor, values_BGD: Tensor) -> None:
        """Store values at G different positions of each sequence."""
        self.data.flatten(0, 1).index_copy_(0, self._places(positions_BG), values_BGD.flatten(0, 1).float())

    def read(self, positions_BG: Tensor) -> Tensor:
        """Values at the positions, (B, G, D)."""
        rows = self.data.flatten(0, 1).index_select(0, self._places(positions_BG))
        return rows.view(*positions_BG.shape, -1)

    def span(self, sequence: int, begin: int, end: int) -> Tensor:
        """Values of one sequence at the positions begin..end - 1, (T, D)."""
        first = begin % self.rows
        last = first + end - begin
        data = self.data[sequence]
        return data[first:last] if last <= self.rows else torch.cat([data[first:], data[: last - self.rows]])

    def mark(self, ends_B: np.ndarray) -> None:
        """Say that positions below `ends_B` are written now."""
        self.high = np.maximum(self.high, ends_B)

    @property
    def low(self) -> np.ndarray:
        """The lowest position that is still held, by sequence."""
        return np.maximum(self.high - self.rows, 0)


class LevelBuffers:
    """Keys and values of a level's layers; they roll, a sequence at a time, once more than `window` are behind."""

    def __init__(
        self,
        config: ModelConfig,
        level: int,
        *,
        batch: int,
        slack: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.level, self.window, self.groups = level, config.level_window(level), groups(width, level)
        wanted = self.window + slack // 3**level + 2 * self.groups
        self.capacity = -(-wanted // ALIGNMENT) * ALIGNMENT
        stacks = (sum(config.coordinate_layers), sum(config.vertex_layers), config.face_layers)
        shape = (stacks[level], 2, batch, self.capacity, config.heads, config.dim // config.heads)
        self.data = torch.zeros(shape, dtype=dtype, device=device)
        self.bases = torch.arange(batch, device=device)[:, None] * self.capacity
        self.starts = np.zeros(batch, np.int64)

    def keys_values(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, each (B, capacity, H, K)."""
        return self.data[layer, 0], self.data[layer, 1]

    def write(self, layer: int, slots: Tensor, keys_BGHK: Tensor, values_BGHK: Tensor) -> None:
        """Store keys and values in the slots (B G,) of the flattened buffers."""
        for buffer, rows in zip(self.data[layer], (keys_BGHK, values_BGHK), strict=True):
            buffer.flatten(0, 1).index_copy_(0, slots, rows.flatten(0, 1))

    def make_room(self, lengths_B: np.ndarray) -> None:
        """Make a pass's positions from the level's own lengths on addressable, keeping `window` before them."""
        for sequence in np.flatnonzero(lengths_B + self.groups - self.starts > self.capacity):
            start = int(lengths_B[sequence]) - self.window
            shift = start - int(self.starts[sequence])
            for layer in self.data:  # one by one: the copy is a layer's
                layer[:, sequence, : self.window] = layer[:, sequence, shift : shift + self.window].clone()
            self.starts[sequence] = start

    def extent(self, number: int) -> int:
        """How many slots attention is given at the extent `number`."""
        return min(self.capacity, EXTENTS[self.level] << number)

    def extent_number(self, lengths_B: np.ndarray) -> int:
        """The lowest extent number that holds a pass from the level's own lengths on."""
        used = int((lengths_B - self.starts).max()) + self.groups
        return ((used - 1) // EXTENTS[self.level]).bit_length()

    @property
    def lowest(self) -> np.ndarray:
        """The lowest token length to which each sequence may be rolled back, as far as keys go."""
        return np.where(self.starts > 0, (self.starts + self.window - 1) * 3**self.level, 0)


class Caches:
    """All that a batch of sequences keeps between passes."""

    def __init__(
        self, config: ModelConfig, *, batch: int, slack: int, width: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.width = width
        self.levels = [
            LevelBuffers(config, level, batch=batch, slack=slack, width=width, dtype=dtype, device=device)
            for level in range(3)
        ]
        rows = slack + 2 * width + 18
        rings = [Ring(batch, rows, config.dim, device) for _ in range(7)]
        self.coordinates, self.vertices = rings[:2]  # inputs of the vertex and of the face level
        self.from_faces, self.from_vertices = rings[2:4]  # by vertex and by coordinate position
        self.states = rings[4:]  # inputs of each level's last layer
        self.rings = rings

    def reset(self) -> None:
        """Make every sequence empty. Only what no group serves, positions 0 and 1, must be zero anew."""
        for ring in self.rings:
            ring.high[:] = 0
        for ring in (self.from_faces, self.from_vertices):
            ring.data[:, :2] = 0
        for level in self.levels:
            level.starts[:] = 0

    def make_room(self, lengths_B: np.ndarray, width: int, depth: int) -> None:
        """Prepare for a pass of `width` tokens from `lengths_B` on through the levels 0 to `depth`."""
        coordinates, vertices, faces = (
            lengths_B // 3**level + (groups(width, level) if level <= depth else 0) for level in range(3)
        )  # fmt: skip
        for level, buffers in enumerate(self.levels[: depth + 1]):
            buffers.make_room(lengths_B // 3**level)
        for ring, ends in zip(self.states[: depth + 1], (coordinates, vertices, faces), strict=False):
            ring.mark(ends)
        self.coordinates.mark(coordinates)
        if depth > 0:
            self.vertices.mark(vertices)
            self.from_vertices.mark(3 * vertices + 2)
        if depth > 1:
            self.from_faces.mark(3 * faces + 2)

    @property
    def lowest(self) -> np.ndarray:
        """The lowest length to which each sequence may be rolled back.

        A group is made anew from all of its inputs. Rings by vertex position hold three times as many tokens as these.
        """
        bounds = [level.lowest for level in self.levels]
        return np.max([*bounds, 3 * -(-self.coordinates.low // 3), self.from_vertices.low], axis=0)
