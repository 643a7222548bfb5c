"""The scorer of suggestions from the half-edge table: a small network, fitted by `training/fit_scorer.py`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from flashmesh_core.drafting.buffers import DraftBuffers
from flashmesh_core.drafting.features import FEATURES
from flashmesh_core.jit import njit
from flashmesh_core.runtime.cpu.cpu_features import PANEL
from flashmesh_core.runtime.cpu.matmul import linear

SCORER_FILE = Path(__file__).with_name("half_edge_scorer.npz")


class Scorer(NamedTuple):
    """A network of three layers a vertex slot over the features of a suggestion; see `training/fit_scorer.py`."""

    hidden: np.ndarray  # (3, FEATURES, H) float32
    hidden_bias: np.ndarray  # (3, H)
    second: np.ndarray  # (3, H, K)
    second_bias: np.ndarray  # (3, K)
    out: np.ndarray  # (3, K)

    def padded(self) -> Scorer:
        """With H and K filled up with zeros to whole panels, as the kernels want them."""
        width = (0, -self.hidden.shape[2] % PANEL)
        narrow = (0, -self.second.shape[2] % PANEL)
        none = (0, 0)
        return Scorer(
            np.pad(self.hidden, (none, none, width)), np.pad(self.hidden_bias, (none, width)),
            np.pad(self.second, (none, width, narrow)), np.pad(self.second_bias, (none, narrow)),
            np.pad(self.out, (none, narrow)),
        )  # fmt: skip


def load_scorer() -> Scorer:
    """The scorer that is shipped with the package: it knows meshes, no backbone, and serves every checkpoint.

    Raises ValueError where it was fitted to other features than there are: the kernel would read beside its weights.
    """
    with np.load(SCORER_FILE) as data:
        scorer = Scorer(*(data[name].astype(np.float32) for name in Scorer._fields))
    if scorer.hidden.shape[1] != FEATURES:
        known = f"{SCORER_FILE.name} must be fitted to {FEATURES} features, got {scorer.hidden.shape[1]}"
        raise ValueError(f"{known}; python training/fit_scorer.py makes it anew")
    return scorer.padded()


@njit(cache=True)
def score(scorer: Scorer, slot: int, buffers: DraftBuffers, count: int) -> None:
    """Log weights of `count` suggestions and of "none", normalised over all of them, from their features."""
    hidden, inner, weights = buffers.hidden, buffers.inner, buffers.weights
    for number in range(count + 1):
        hidden[number] = scorer.hidden_bias[slot]
        inner[number] = scorer.second_bias[slot]
    linear(buffers.features, FEATURES, scorer.hidden[slot].ravel(), 0, 1, hidden, PANEL, count + 1)
    _rectify(hidden[: count + 1])
    linear(hidden, PANEL, scorer.second[slot].ravel(), 0, 1, inner, PANEL, count + 1)
    _rectify(inner[: count + 1])
    top = np.float32(-1e9)
    for number in range(count + 1):
        total = np.float32(0.0)
        for unit in range(PANEL):
            total += inner[number, unit] * scorer.out[slot, unit]
        weights[number] = total
        top = max(top, total)
    total = np.float32(0.0)
    for number in range(count + 1):
        total += np.exp(weights[number] - top)
    for number in range(count + 1):
        weights[number] -= top + np.log(total)


@njit(cache=True)
def _rectify(x: np.ndarray) -> None:
    for row in range(x.shape[0]):
        for unit in range(x.shape[1]):
            x[row, unit] = max(x[row, unit], np.float32(0.0))
