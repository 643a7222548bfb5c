"""Fit the normal predictor: which plane of the surface lies behind a noisy sample of a cloud without normals.

    python training/fit_normals.py --data DIR --sources 700 --max-faces 4000 --steps 8000

Clouds are sampled from the training split's meshes and filtered by the engine's own code; an example is what a sample's
neighbours look like, with the plane that it was taken from as the answer.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.sources import make_source, vary
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.gathering import gathered
from flashmesh_core.surface.normal_predictor import (
    CHANNELS,
    NORMAL_FILE,
    OUTPUTS,
    WHOLE,
    NormalPredictor,
    neighbourhoods_of,
)
from flashmesh_core.surface.samples import filtered_cloud
from training.fitting import descend, mean_and_scale, run_fit

FAMILIES = ("scan", "cloud")
HIDDEN, CONTEXT = 64, 128
SAMPLES = 3000  # of a source, half of them where the filter is off
OFF = 0.99  # cosine of the filtered to the true normal, below which it is
MANY, MANY_POINTS, MANY_NOISE = 0.1, 150_000, (0.004, 0.012)  # share of the clouds that are gathered first
STREWN, STRAYS, HOVER = 0.3, 0.01, 0.02  # share of the clouds with strays, of these in them, and how far off half lie
LEARNING_RATE = 2e-3
REPORT = 1000  # steps between two reports
MAX_DISTANCE_LOSS = 2.0  # reaches


class Samples(NamedTuple):
    """N neighbourhoods and the planes that the samples were taken from."""

    near: np.ndarray  # (N, NEIGHBOURS + 1, CHANNELS) float16
    whole: np.ndarray  # (N, WHOLE) float32
    normals: np.ndarray  # (N, 3) float32 of the plane, in the frame of the sample, of either sign
    distances: np.ndarray  # (N,) float32 from the sample along that normal to the plane, in its reach


def samples_of(artist: Mesh, family: str, seed: int | list[int], count: int = SAMPLES) -> Samples | None:
    """Samples of one cloud of `artist`; None where walls are thinner than the noise."""
    rng = np.random.default_rng(seed)
    settings = replace(vary(family, rng), holes=0, normals=True, normal_noise=0.0)
    if rng.random() < MANY:
        settings = replace(settings, points=MANY_POINTS, noise=float(rng.uniform(*MANY_NOISE)))
    number = int(rng.integers(1 << 31))
    noisy, exact = (make_source(artist, replace(settings, noise=noise), seed=number) for noise in (settings.noise, 0.0))
    points, true, normals = noisy.points, exact.points, noisy.normals
    found = gathered(points, None, lambda share: None)
    if found is not None:
        points = found[0]
        true, normals = nearest_planes(artist, points)
    strewn = _strewn(points, rng) if rng.random() < STREWN else points[:0]
    cloud = filtered_cloud(np.concatenate([points, strewn]), lambda stage, share: None)
    if cloud is None:
        return None
    off = np.flatnonzero(np.abs(np.einsum("ij,ij->i", cloud.normals[: len(points)], normals)) < OFF)
    each = count // 2
    rows = [rng.choice(among, min(len(among), each), replace=False) for among in (np.arange(len(points)), off)]
    rows = np.unique(np.concatenate(rows))
    seen = neighbourhoods_of(cloud, rows)
    distances = ((true[rows] - points[rows]) * normals[rows]).sum(axis=1) / cloud.reach[rows]
    return Samples(
        seen.near.astype(np.float16), seen.whole,
        np.einsum("nij,nj->ni", seen.frames, normals[rows]).astype(np.float32), distances.astype(np.float32),
    )  # fmt: skip


def nearest_planes(artist: Mesh, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A corner (N, 3) and the normal (N, 3) of the face of `artist` that is nearest to each of `points` (N, 3)."""
    _, face = TriangleTree.of_mesh(artist.vertices, artist.faces).nearest(points)
    normals, _, _ = face_geometry(artist.vertices, artist.faces.astype(np.int32))
    return artist.vertices[artist.faces[face, 0]], normals[face]


def _strewn(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points (N, 3) of no surface: half of them hover about `points` (M, 3), the others lie anywhere."""
    count = int(rng.uniform(0.0, STRAYS) * len(points)) // 2 + 1
    near = points[rng.integers(len(points), size=count)] + rng.normal(0.0, HOVER, (count, 3))
    return np.concatenate([near, rng.uniform(-0.55, 0.55, (count, 3))])


class Net(nn.Module):
    """The network of `NormalPredictor`, which can be fitted."""

    def __init__(self, mean: Tensor, scale: Tensor, whole_mean: Tensor, whole_scale: Tensor) -> None:
        super().__init__()
        self.sample = nn.Linear(CHANNELS, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.pooled = nn.Linear(3 * HIDDEN + WHOLE, CONTEXT)
        self.context = nn.Linear(CONTEXT, CONTEXT)
        self.normal = nn.Linear(CONTEXT, OUTPUTS + 1)  # the distance only helps to learn
        self.mean, self.scale = nn.Buffer(mean), nn.Buffer(scale)
        self.whole_mean, self.whole_scale = nn.Buffer(whole_mean), nn.Buffer(whole_scale)

    def forward(self, near: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Unit normals (N, 3) and distances (N,) of `near` (N, NEIGHBOURS + 1, CHANNELS) and `whole` (N, WHOLE)."""
        given = (whole - self.whole_mean) * self.whole_scale
        values = F.relu(self.second(F.relu(self.sample((near - self.mean) * self.scale))))
        pooled = torch.cat([values.mean(dim=1), values.amax(dim=1), values[:, 0], given], dim=1)
        outputs = self.normal(F.relu(self.context(F.relu(self.pooled(pooled)))))
        return F.normalize(outputs[:, :3] + torch.tensor([0.0, 0.0, 1.0]), dim=1), outputs[:, 3]

    def arrays(self) -> dict[str, np.ndarray]:
        """The layers as `load_normal_predictor` reads them; the inputs' scales are in those that take them."""
        found = {}
        for name in NormalPredictor._fields:
            layer = getattr(self, name)
            weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
            if name in ("sample", "pooled"):
                scale, mean = (self.scale, self.mean) if name == "sample" else (self.whole_scale, self.whole_mean)
                last = weight[:, -len(scale) :] * scale
                bias = bias - last @ mean.double()
                weight = torch.cat([weight[:, : -len(scale)], last], dim=1)
            if name == "normal":
                weight, bias = weight[:OUTPUTS], bias[:OUTPUTS]
            found[f"{name}_weight"] = weight.T.numpy().astype(np.float16)
            found[f"{name}_bias"] = bias.numpy().astype(np.float32)
        return found


def mirrored(near: Tensor, normals: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
    """What is seen (N, E, CHANNELS) and normals (N, 3) with axes of their frames turned round by `signs` (N, 3).

    A neighbour's normal that is turned to the other side looks to the sample's again. What is mirrored is a surface
    as good as the first.
    """
    near = near.clone()
    for first in (0, 3, 6):
        near[..., first : first + 3] *= signs[:, None]
    near[..., 6:9] *= signs[:, None, 2:]
    return near, normals * signs


def losses(net: Net, near: Tensor, whole: Tensor, normals: Tensor, distances: Tensor) -> Tensor:
    """Mean errors of the normals and of the distances (2,): absolute ones, as edges have two right answers."""
    found, along = net(near, whole)
    side = torch.where((found.detach() * normals).sum(dim=1) < 0.0, -1.0, 1.0)
    off = torch.sqrt(((found - side[:, None] * normals) ** 2).sum(dim=1) + 1e-4)
    far = (along - side * distances).abs().clamp(max=MAX_DISTANCE_LOSS)
    return torch.stack([off.mean(), far.mean()])


def fit(samples: Samples, steps: int, batch: int, seed: int) -> Net:
    """A network fitted to `samples` in so many steps; the same arguments give the same network on one machine."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    near, whole, normals, distances = (torch.from_numpy(array) for array in samples)
    net = Net(*mean_and_scale(near[::17].float().flatten(0, 1)), *mean_and_scale(whole))

    def errors_of_batch() -> Tensor:
        rows = torch.randint(len(near), (batch,), generator=generator)
        signs = torch.randint(0, 2, (batch, 3), generator=generator) * 2.0 - 1.0
        seen, answers = mirrored(near[rows].float(), normals[rows], signs)
        return losses(net, seen, whole[rows], answers, distances[rows])

    text = "normals off by {:.4f}, distances by {:.4f} reaches"
    descend(net, errors_of_batch, (1.0, 0.5), highest=LEARNING_RATE, steps=steps, every=REPORT, text=text)
    return net


def main(arguments: list[str] | None = None) -> int:
    """Make the samples, fit, and write the file that the engine reads; the exit status."""
    return run_fit(
        __doc__ or "", arguments, samples_of, fit, steps=12_000, batch=1024, out=NORMAL_FILE, families=FAMILIES
    )


if __name__ == "__main__":
    raise SystemExit(main())
