"""The floor of a pass: the backbone's matrix products alone, with the same weights, kernel, dtype and rows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch

from flashmesh_core.config import ModelConfig
from flashmesh_core.decode.engine import Engine
from flashmesh_core.jit import njit
from flashmesh_core.runtime.cpu import forward
from flashmesh_core.runtime.cpu.matmul import linear
from flashmesh_core.runtime.cpu.weights import FastModel, padded
from flashmesh_core.runtime.cuda.weights import DTYPES

Rows = tuple[int, int, int]  # of the coordinate, vertex and face level
TRIES = 3  # of each kind of pass, in rounds over all kinds


@njit(nogil=True)
def multiply(weights, per_word, jobs, x, y):
    """The products of a pass: jobs (J, 4) of where a matrix begins, K, N and rows."""
    for j in range(jobs.shape[0]):
        linear(x, jobs[j, 1], weights, jobs[j, 0], per_word, y, jobs[j, 2], jobs[j, 3])


def layer_shapes(dim: int, hidden: int) -> dict[int, tuple[int, int]]:
    """K and N of a layer's matrices, by their column in the plan."""
    return {
        forward.QKV: (dim, 3 * dim), forward.OUT: (dim, dim), forward.CROSS_Q: (dim, dim),
        forward.CROSS_OUT: (dim, dim), forward.UP: (dim, 2 * hidden), forward.DOWN: (hidden, dim),
    }  # fmt: skip


def products(fast: FastModel, rows: Rows) -> list[tuple[int, int, int, int]]:
    """Where each matrix of the layers and between levels begins, its K and N, and the rows that it multiplies."""
    dim = fast.dim
    shapes = layer_shapes(dim, fast.hidden)
    jobs = []
    for level, plan in enumerate(fast.plans):
        jobs += [(int(layer[c]), *shape, rows[level]) for layer in plan for c, shape in shapes.items() if layer[c] >= 0]
    jobs += [(fast.vertex_in, 3 * dim, dim, rows[1]), (fast.vertex_out, dim, 3 * dim, rows[1])]
    jobs += [(fast.face_in, 3 * dim, dim, rows[2]), (fast.face_out, dim, 3 * dim, rows[2])]
    return [job for job in jobs if job[3]]


def head_columns(config: ModelConfig) -> int:
    """Rows of the output head's matrix: the classes, and two copy gates a slice row."""
    return config.num_classes + 2 * len(config.slice_rows)


def shapes(config: ModelConfig, rows: Rows) -> list[tuple[int, int, int]]:
    """K, N and rows of every product of a pass, the output head's last."""
    dim = config.dim
    kinds = layer_shapes(dim, int(dim * config.ffn_ratio))
    cross = (forward.CROSS_Q, forward.CROSS_OUT)
    layers = (sum(config.coordinate_layers), sum(config.vertex_layers), config.face_layers)
    found = []
    for level, count in enumerate(layers):
        used = [shape for column, shape in kinds.items() if config.cross_attention[level] or column not in cross]
        found += [(*shape, rows[level]) for shape in used] * count
    found += [(3 * dim, dim, rows[level]) for level in (1, 2)] + [(dim, 3 * dim, rows[level]) for level in (1, 2)]
    found.append((dim, head_columns(config), rows[0]))
    return [shape for shape in found if shape[2]]


def compiled_floor(fast: FastModel, rows: Rows) -> Callable[[], None]:
    """A call that makes the pass's products by our kernel, on the engine's own weights."""
    jobs = np.array(products(fast, rows), np.int64).reshape(-1, 4)
    columns = head_columns(fast.config)
    wide = padded(max(3 * fast.dim, 2 * fast.hidden, columns))
    head = np.array([(0, fast.dim, padded(columns), rows[0])], np.int64)
    x, y = np.ones((max(rows), wide), np.float32), np.zeros((max(rows), wide), np.float32)

    def run() -> None:
        multiply(fast.weights, fast.per_word, jobs, x, y)
        multiply(fast.head, 1, head, x, y)

    return run


def torch_floor(config: ModelConfig, dtype: torch.dtype, device: str, rows: Rows) -> Callable[[], None]:
    """The same products by torch, with the threads torch has; the weights hold other numbers."""
    pairs = [
        (
            torch.ones(m, k, dtype=dtype, device=device), torch.ones(n, k, dtype=dtype, device=device).t(),
            torch.empty(m, n, dtype=dtype, device=device),
        )
        for k, n, m in shapes(config, rows)
    ]  # fmt: skip

    def run() -> None:
        for x, w, y in pairs:
            torch.mm(x, w, out=y)
        if y.is_cuda:
            torch.cuda.synchronize(y.device)

    return run


class Floor:
    """Times the products of an engine's passes; the calls are made once a kind of pass."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls: dict[Rows, Callable[[], None]] = {}

    def _call(self, rows: Rows) -> Callable[[], None]:
        if rows not in self.calls:
            fast = self.engine.fast
            self.calls[rows] = (
                compiled_floor(fast, rows)
                if fast is not None
                else torch_floor(self.engine.config, DTYPES[self.engine.arithmetic], self.engine.device, rows)
            )
        return self.calls[rows]

    def total(self, passes: Iterable[Rows]) -> float:
        """Seconds of the products of these passes, by what each kind of pass takes now."""
        passes = list(passes)
        seconds = self.measure(set(passes))
        return sum(seconds[rows] for rows in passes)

    @torch.inference_mode()
    def measure(self, kinds: set[Rows]) -> dict[Rows, float]:
        """Seconds of each kind of pass now: the median of `TRIES`, each after another of the same kind."""
        wanted = sorted(kinds)
        seconds: dict[Rows, list[float]] = {rows: [] for rows in wanted}
        for _ in range(TRIES):
            for rows in wanted:
                call = self._call(rows)
                call()
                start = time.perf_counter()
                call()
                seconds[rows].append(time.perf_counter() - start)
        return {rows: statistics.median(times) for rows, times in seconds.items()}
