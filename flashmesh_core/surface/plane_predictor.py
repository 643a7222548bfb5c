"""The artist's plane behind a face of a dense surface, by a small network that looks at the patch around it.

Remeshing rounds edges, sculpting and scanning bend and roughen what was flat. A filter that knows nothing but noise
takes the noise away and leaves the rounding. The network was fitted to pairs of sources and the artists' meshes that
they were made of (`training/fit_planes.py`); it tells which plane was there, and how sure it is.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flashmesh_core.surface.patches import WIDTH, Patches, sample

PREDICTOR_FILE = Path(__file__).with_name("plane_predictor.npz")
SCALARS = 3  # of the whole surface: noise, detail, wanted detail; see `scalars_of`
OUTPUTS = 5  # normal less (0, 0, 1), distance, doubt
CHUNK = 4096  # faces at once
THREADS = 4  # at most: what a walk needs comes from memory, which more would wait for


class PredictedPlanes(NamedTuple):
    """The artist's planes behind N faces, as far as the network knows them."""

    normals: np.ndarray  # (N, 3) unit
    points: np.ndarray  # (N, 3) on the planes
    doubt: np.ndarray  # (N,) how far the normal is expected to be off, 0 or more


class PlanePredictor(NamedTuple):
    """The layers of the network: weights (inputs, outputs) and biases (outputs,) float32; the first takes WIDTH + 3."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def predict(self, patches: Patches, rows: np.ndarray, edge: float, scalars: np.ndarray) -> PredictedPlanes:
        """The planes behind the faces `rows` (N,) of a surface of typical `edge` and with `scalars` (3,)."""
        chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
        if not chunks:
            return PredictedPlanes(np.empty((0, 3)), np.empty((0, 3)), np.empty(0))
        with ThreadPoolExecutor(min(len(chunks), os.cpu_count() or 1, THREADS)) as pool:
            found = list(pool.map(lambda some: self._of_chunk(patches, some, edge, scalars), chunks))
        return PredictedPlanes(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))

    def _of_chunk(self, patches: Patches, rows: np.ndarray, edge: float, scalars: np.ndarray) -> PredictedPlanes:
        inputs = np.empty((len(rows), WIDTH + SCALARS), dtype=np.float32)
        inputs[:, :WIDTH], inputs[:, WIDTH:] = sample(patches, rows, edge), scalars
        outputs = self._forward(inputs).astype(np.float64)
        local = outputs[:, :3] + np.array([0.0, 0.0, 1.0])
        local /= np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-9)
        normals = np.einsum("nji,nj->ni", patches.frames[rows], local)
        points = patches.centers[rows] + normals * (edge * outputs[:, 3:4])
        return PredictedPlanes(normals, points, np.maximum(outputs[:, 4], 0.0))

    def _forward(self, values: np.ndarray) -> np.ndarray:
        """Inputs (N, WIDTH + SCALARS) to outputs (N, OUTPUTS), float32."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer:
                np.maximum(values, 0.0, out=values)
            values = values @ weight
            values += bias
        return values


def scalars_of(noise: float, edge: float, wanted_edge: float) -> np.ndarray:
    """What the network is told of the whole surface (3,): its noise, its typical edge, the edge of a wanted face."""
    return np.array([np.log2(noise / edge + 0.01), np.log2(edge * 128.0), np.log2(wanted_edge / edge)])


@lru_cache(maxsize=1)
def load_predictor() -> PlanePredictor:
    """The network that is shipped with the package.

    Raises ValueError where it was fitted to other patches than these.
    """
    with np.load(PREDICTOR_FILE) as data:
        count = len(data.files) // 2
        weights = tuple(data[f"weight{n}"].astype(np.float32) for n in range(count))
        biases = tuple(data[f"bias{n}"].astype(np.float32) for n in range(count))
    if weights[0].shape[0] != WIDTH + SCALARS or weights[-1].shape[1] != OUTPUTS:
        raise ValueError(
            f"{PREDICTOR_FILE.name} must take {WIDTH + SCALARS} inputs and give {OUTPUTS} outputs, got "
            f"{weights[0].shape[0]} and {weights[-1].shape[1]}; python training/fit_planes.py makes it anew"
        )
    return PlanePredictor(weights, biases)
