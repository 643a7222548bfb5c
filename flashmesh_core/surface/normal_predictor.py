"""The normal of the surface behind a noisy sample of a cloud, by a small network that looks at its neighbours.

A filter bends planes around edges that noise hides: half of the neighbours lie on the other side. The network was
fitted to samples whose normals are known (`training/fit_normals.py`).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.patches import frames_of
from flashmesh_core.surface.point_normals import COMPILED, ROWS, Progress
from flashmesh_core.surface.threads import between, bounds_of_parts

NORMAL_FILE = Path(__file__).with_name("normal_predictor.npz")
NEIGHBOURS = 32  # that are seen, and the sample itself
CHANNELS = 10  # of each: see `neighbourhoods_of`
WHOLE = 2  # of all together
OUTPUTS = 3  # normal less (0, 0, 1)
SAME, FEWEST = 0.9, 3  # cosine of normals of one plane; neighbours on it that make it one
CHUNK = 512  # samples at once
THREADS = 4  # at most


class Filtered(NamedTuple):
    """A cloud of N samples as the filters leave it, with normals of either sign; lengths in the unit box."""

    given: np.ndarray  # (N, 3) the samples as they came
    points: np.ndarray  # (N, 3)
    normals: np.ndarray  # (N, 3) unit
    deviation: np.ndarray  # (N,) of the neighbours from their plane
    nearest: np.ndarray  # (N, k) neighbours
    reach: np.ndarray  # (N,) of the filters
    noise: float
    gap: float


class Neighbourhoods(NamedTuple):
    """What the network is told of M samples."""

    near: np.ndarray  # (M, NEIGHBOURS + 1, CHANNELS) float32, the sample itself first
    whole: np.ndarray  # (M, WHOLE) float32
    frames: np.ndarray  # (M, 3, 3) rows across and along the nearest edge, and the filtered normal


def neighbourhoods_of(cloud: Filtered, rows: np.ndarray) -> Neighbourhoods:
    """What the network is told of the samples `rows` (M,); lengths in their reach.

    Of each neighbour: where it was given (3), where the filter left it (3), its filtered normal, turned to the
    sample's side (3), and the deviation from its plane, in noises.
    """
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    tensors = np.empty((len(rows), 9))
    parts = bounds_of_parts(0, len(rows), ROWS)
    between(_tensors, parts, rows, cloud.nearest, cloud.normals, tensors)
    frames = frames_of(tensors, cloud.normals[rows])
    near = np.empty((len(rows), NEIGHBOURS + 1, CHANNELS), dtype=np.float32)
    rough = cloud.noise + 0.01 * cloud.gap
    between(
        _look, parts, rows, cloud.given, cloud.points, cloud.normals, cloud.deviation, cloud.nearest, cloud.reach,
        frames, rough, near,
    )  # fmt: skip
    whole = np.empty((len(rows), WHOLE), dtype=np.float32)
    whole[:, 0] = np.log2(cloud.noise / cloud.gap + 0.01)
    whole[:, 1] = np.log2(cloud.reach[rows] / cloud.gap)
    return Neighbourhoods(near, whole, frames)


@njit(**COMPILED)
def _tensors(first, last, rows, nearest, normals, result):
    """Of the normals around samples first to last the sums of n n^T, and the sample's own normal, into `result`."""
    for r in range(first, last):
        i = rows[r]
        result[r] = 0.0
        for q in nearest[i]:
            x, y, z = normals[q, 0], normals[q, 1], normals[q, 2]
            result[r, 0] += x * x
            result[r, 1] += x * y
            result[r, 2] += x * z
            result[r, 3] += y * y
            result[r, 4] += y * z
            result[r, 5] += z * z
        for axis in range(3):
            result[r, 6 + axis] = normals[i, axis]


@njit(**COMPILED)
def _look(first, last, rows, given, points, normals, deviation, nearest, reach, frames, rough, result):
    for r in range(first, last):
        i = rows[r]
        scale = 1.0 / reach[i]
        for j in range(result.shape[1]):
            q = i if j == 0 else nearest[i, j - 1]
            dot = normals[i, 0] * normals[q, 0] + normals[i, 1] * normals[q, 1] + normals[i, 2] * normals[q, 2]
            side = 1.0 if dot >= 0.0 else -1.0
            for row in range(3):
                a = b = c = 0.0
                for axis in range(3):
                    along = frames[r, row, axis]
                    a += along * (given[q, axis] - given[i, axis])
                    b += along * (points[q, axis] - given[i, axis])
                    c += along * normals[q, axis]
                result[r, j, row], result[r, j, 3 + row], result[r, j, 6 + row] = a * scale, b * scale, c * side
            result[r, j, 9] = deviation[q] / rough


def with_shared_planes(cloud: Filtered, normals: np.ndarray) -> np.ndarray:
    """Unit `normals` (N, 3) of either sign, the filter's where no plane is told that others share.

    A normal that turned is one of a plane if FEWEST neighbours lie on it, up to their noise, and look the same way.
    """
    result = np.empty_like(normals)
    between(_keep_shared, bounds_of_parts(0, len(normals), ROWS), normals, *cloud, result)
    return result


@njit(**COMPILED)
def _keep_shared(first, last, normals, given, points, filtered, deviation, nearest, reach, noise, gap, result):
    for i in range(first, last):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        turned = abs(x * filtered[i, 0] + y * filtered[i, 1] + z * filtered[i, 2]) < SAME
        shared = 0
        if turned:
            high = 2.0 * noise + 0.1 * reach[i]
            for q in nearest[i]:
                up = x * (given[q, 0] - given[i, 0]) + y * (given[q, 1] - given[i, 1]) + z * (given[q, 2] - given[i, 2])
                same = abs(x * normals[q, 0] + y * normals[q, 1] + z * normals[q, 2]) > SAME
                shared += same and abs(up) < high
        for axis in range(3):
            result[i, axis] = filtered[i, axis] if turned and shared < FEWEST else normals[i, axis]


class Layer(NamedTuple):
    """A layer of the network, float32."""

    weight: np.ndarray  # (inputs, outputs)
    bias: np.ndarray  # (outputs,)

    def outputs(self, values: np.ndarray) -> np.ndarray:
        """Of `values` (..., inputs) what the layer makes, before it is rectified."""
        return np.asarray(values @ self.weight + self.bias)

    def rectified(self, values: np.ndarray) -> np.ndarray:
        """The outputs (..., outputs) that are above 0, 0 in place of the others."""
        found = self.outputs(values)
        return np.maximum(found, 0.0, out=found)


class NormalPredictor(NamedTuple):
    """The layers of the network, which the file holds as `x_weight` and `x_bias`."""

    sample: Layer  # CHANNELS
    second: Layer
    pooled: Layer  # the mean and the largest over the neighbours, the sample's own, WHOLE
    context: Layer
    normal: Layer

    def predict(self, cloud: Filtered, progress: Progress) -> np.ndarray:
        """Unit normals (N, 3) of the planes behind the samples, of either sign; `progress` is told the share done."""
        count = len(cloud.given)

        def normals_from(first: int) -> np.ndarray:
            seen = neighbourhoods_of(cloud, np.arange(first, min(first + CHUNK, count)))
            return np.asarray(np.einsum("nji,nj->ni", seen.frames, self.local_normals(seen.near, seen.whole)))

        normals = np.empty((count, 3))
        with ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as pool:
            for number, some in enumerate(pool.map(normals_from, range(0, count, CHUNK))):
                normals[number * CHUNK :][: len(some)] = some
                progress(min(number * CHUNK / count, 1.0))
        return normals

    def local_normals(self, near: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Unit normals (M, 3) in the frames of M samples that see `near` and `whole`."""
        values = self.second.rectified(self.sample.rectified(near))
        pooled = np.concatenate([values.mean(axis=1), values.max(axis=1), values[:, 0], whole], axis=1)
        outputs = self.normal.outputs(self.context.rectified(self.pooled.rectified(pooled)))
        local = outputs.astype(np.float64) + np.array([0.0, 0.0, 1.0])
        return np.asarray(local / np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-9))


@lru_cache(maxsize=1)
def load_normal_predictor() -> NormalPredictor:
    """The network that is shipped with the package.

    Raises ValueError where it was fitted to other neighbourhoods than these.
    """
    with np.load(NORMAL_FILE) as data:
        layers = (
            Layer(*(data[f"{name}_{part}"].astype(np.float32) for part in Layer._fields))
            for name in NormalPredictor._fields
        )
        found = NormalPredictor(*layers)
    sizes = found.sample.weight.shape[0], found.normal.weight.shape[1]
    if sizes != (CHANNELS, OUTPUTS):
        raise ValueError(
            f"{NORMAL_FILE.name} must take {CHANNELS} inputs and give {OUTPUTS} outputs, got {sizes[0]} and "
            f"{sizes[1]}; python training/fit_normals.py makes it anew"
        )
    return found
