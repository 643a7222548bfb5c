"""Where the artist's vertex is, by a small network that looks at the dense faces around a vertex of a proxy.

The plane predictor tells which planes were there, and the planes of all faces around a vertex cross near the artist's.
Which of them meet there, and which belong to the next edge, it cannot know. This network weighs and shifts them. It was
fitted to proxies of real sources and the artists' meshes that those were made of (`training/fit_vertices.py`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flashmesh_core.surface.surroundings import CHANNELS, WHOLE, Surroundings

VERTEX_FILE = Path(__file__).with_name("vertex_predictor.npz")
SHIFT, PLACE, PULL = 0.05, 0.1, 0.01  # typical edges of an output of 1; the place's weight, of that of all planes
PLANE_OUTPUTS = 4  # of a face: the logarithms of the weights of its two planes, their shifts
PLACE_OUTPUTS = 4  # of the vertex: a place, the logarithm of its weight
CHUNK = 256  # vertices at once


class VertexPredictor(NamedTuple):
    """The layers of the network, float32: `x_weight` (inputs, outputs) and `x_bias` (outputs,)."""

    sample_weight: np.ndarray  # CHANNELS + WHOLE: a face, and what all together are like
    sample_bias: np.ndarray
    second_weight: np.ndarray
    second_bias: np.ndarray
    pooled_weight: np.ndarray  # the mean and the largest over the faces, WHOLE
    pooled_bias: np.ndarray
    context_weight: np.ndarray
    context_bias: np.ndarray
    mixed_weight: np.ndarray  # a face, the context
    mixed_bias: np.ndarray
    planes_weight: np.ndarray
    planes_bias: np.ndarray
    place_weight: np.ndarray
    place_bias: np.ndarray

    def predict(self, surroundings: Surroundings) -> np.ndarray:
        """From each of V vertices to the artist's (V, 3): typical edges, in the vertex's frame; 0 where nothing is."""
        ways = np.zeros((len(surroundings.samples), 3))
        for first in range(0, len(ways), CHUNK):
            chunk = slice(first, first + CHUNK)
            samples, valid, whole, _ = (array[chunk] for array in surroundings)
            ways[chunk] = self._forward(samples, valid, whole)
        ways[~surroundings.valid.any(axis=1)] = 0.0
        return ways

    def _forward(self, samples: np.ndarray, valid: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Where the weighed planes of each vertex cross (V, 3)."""
        width = samples.shape[2]
        values = samples @ self.sample_weight[:width]
        values += (whole @ self.sample_weight[width:] + self.sample_bias)[:, None]
        values = _rectified(_rectified(values) @ self.second_weight + self.second_bias)
        values *= valid[..., None]
        mean = values.sum(axis=1) / np.maximum(valid.sum(axis=1), 1)[:, None]
        pooled = np.concatenate([mean, values.max(axis=1), whole], axis=1)
        context = _rectified(pooled @ self.pooled_weight + self.pooled_bias)
        context = _rectified(context @ self.context_weight + self.context_bias)
        width = values.shape[2]
        values = values @ self.mixed_weight[:width]
        values += (context @ self.mixed_weight[width:] + self.mixed_bias)[:, None]
        planes = _rectified(values) @ self.planes_weight + self.planes_bias
        place = context @ self.place_weight + self.place_bias
        weights = np.exp(planes[..., :2].astype(np.float64) - planes[..., :2].max(axis=(1, 2), keepdims=True))
        weights *= valid[..., None]
        weights /= np.maximum(weights.sum(axis=(1, 2), keepdims=True), 1e-300)
        normals, distances = planes_of_samples(samples)
        distances = distances + SHIFT * planes[..., 2:]
        pull = PULL * np.exp(np.clip(place[:, 3].astype(np.float64), -6.0, 6.0))
        left = np.einsum("vep,vepi,vepj->vij", weights, normals, normals) + pull[:, None, None] * np.eye(3)
        right = np.einsum("vep,vep,vepi->vi", weights, distances, normals) + (pull * PLACE)[:, None] * place[:, :3]
        return np.linalg.solve(left, right[..., None])[..., 0]


def planes_of_samples(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predicted and the filtered plane of each face: normals (..., 2, 3), distances (..., 2)."""
    return np.stack([samples[..., 3:6], samples[..., 8:11]], axis=-2), samples[..., (6, 11)]


def _rectified(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0.0, out=values)


@lru_cache(maxsize=1)
def load_vertex_predictor() -> VertexPredictor:
    """The network that is shipped with the package.

    Raises ValueError where it was fitted to other surroundings than these.
    """
    with np.load(VERTEX_FILE) as data:
        found = VertexPredictor(*(data[name].astype(np.float32) for name in VertexPredictor._fields))
    sizes = found.sample_weight.shape[0], found.planes_weight.shape[1] + found.place_weight.shape[1]
    if sizes != (CHANNELS + WHOLE, PLANE_OUTPUTS + PLACE_OUTPUTS):
        raise ValueError(
            f"{VERTEX_FILE.name} must take {CHANNELS + WHOLE} inputs and give {PLANE_OUTPUTS + PLACE_OUTPUTS} outputs, "
            f"got {sizes[0]} and {sizes[1]}; python training/fit_vertices.py makes it anew"
        )
    return found
