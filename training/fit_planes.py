"""Fit the plane predictor: which plane of the artist's lies behind a face of a dense, rounded, noisy surface.

    python training/fit_planes.py --data DIR --sources 1600 --steps 50000

Sources are made of the training split's meshes and read by the engine's own code up to the surface that it denoises; a
sample is the patch around one of its faces, with the plane of the artist's nearest face as the answer.
"""

from __future__ import annotations

import sys
from itertools import pairwise
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
from flashmesh_core.surface.denoising import COARSE, estimate_noise, even_edge, typical_edge
from flashmesh_core.surface.patches import CHANNELS, DIRECTIONS, RADII, WIDTH, Patches, patches_of, sample
from flashmesh_core.surface.plane_predictor import OUTPUTS, PREDICTOR_FILE, SCALARS, scalars_of
from flashmesh_core.surface.reading import dense_surface
from training.fitting import descend, mean_and_scale, run_fit

HIDDEN = (224, 128, 64)
FACES = 1500  # samples of a source, half of them where it is curved
CURVED = 0.985  # cosine of a face's normal to those around it, below which it is
FARTHER = 1.5  # typical edges that an artist's face looking the same way may be farther than the nearest one
REACH = 5.0  # typical edges; artist's faces beyond say nothing about a dense one
LEARNING_RATE = 2e-3
REPORT = 2000  # steps between two reports
MAX_DISTANCE_LOSS = 3.0  # typical edges; what is farther off is the wrong face


class Samples(NamedTuple):
    """N patches and the artist's planes behind them."""

    patches: np.ndarray  # (N, WIDTH) float16
    scalars: np.ndarray  # (N, 3) float32
    normals: np.ndarray  # (N, 3) float32, in the frames of the faces
    distances: np.ndarray  # (N,) float32, from the face's center along the normal, in typical edges


def samples_of(artist: Mesh, family: str, seed: int | list[int], faces: int = FACES) -> Samples | None:
    """Samples of one source of `artist`; None where it shows no surface, or one of few faces."""
    rng = np.random.default_rng(seed)
    try:
        source = make_source(artist, vary(family, rng), seed=int(rng.integers(1 << 31)))
        box, dense = dense_surface(source) if isinstance(source, Mesh) else dense_surface(source.points, source.normals)
    except ValueError:
        return None
    edge = typical_edge(dense)
    if edge > COARSE:
        return None
    patches = patches_of(dense.vertices, dense.faces)
    curved = np.flatnonzero((patches.near * patches.frames[:, 2]).sum(axis=1) < CURVED)
    each = faces // 2
    rows = np.concatenate(
        [rng.choice(among, min(len(among), each), replace=False) for among in (np.arange(len(dense.faces)), curved)]
    )
    rows = np.unique(rows)
    normals, distances, known = true_planes(Mesh(box.apply(artist.vertices), artist.faces), patches, rows, edge)
    rows, normals, distances = rows[known], normals[known], distances[known]
    wanted_edge = even_edge(float(patches.areas.sum()) / len(artist.faces))
    scalars = scalars_of(estimate_noise(dense), edge, wanted_edge)
    return Samples(
        sample(patches, rows, edge).astype(np.float16), np.tile(scalars.astype(np.float32), (len(rows), 1)),
        normals.astype(np.float32), distances.astype(np.float32),
    )  # fmt: skip


def true_planes(
    artist: Mesh, patches: Patches, rows: np.ndarray, edge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The planes of the nearest faces of `artist` that look the same way as the dense faces `rows` (N,).

    Normals (N, 3) in the frames of the dense faces, distances (N,) from their centers in `edge`, and whether there is
    such a face about as near as the nearest of all, (N,) bool.
    """
    tree = TriangleTree.of_mesh(artist.vertices, artist.faces)
    centers = np.ascontiguousarray(patches.centers[rows])
    nearest, _ = tree.nearest(centers)
    far, face = tree.nearest_facing(centers, np.ascontiguousarray(patches.wide[rows]), 0.1)
    known = (far < nearest + FARTHER * edge) & (far < REACH * edge)
    normals, _, _ = face_geometry(artist.vertices, artist.faces.astype(np.int32))
    normals = normals[face]
    distances = ((artist.vertices[artist.faces[face, 0]] - centers) * normals).sum(axis=1) / edge
    return np.einsum("nij,nj->ni", patches.frames[rows], normals), distances, known


class Net(nn.Module):
    """Inputs (N, WIDTH + SCALARS) to unit normals (N, 3), distances (N,) and doubts (N,)."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        sizes = (WIDTH + SCALARS, *HIDDEN, OUTPUTS)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.mean, self.scale = nn.Buffer(mean), nn.Buffer(scale)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values = (inputs - self.mean) * self.scale
        for layer in self.layers[:-1]:
            values = F.relu(layer(values))
        outputs = self.layers[-1](values)
        return F.normalize(outputs[:, :3] + torch.tensor([0.0, 0.0, 1.0]), dim=1), outputs[:, 3], outputs[:, 4]

    def arrays(self) -> dict[str, np.ndarray]:
        """The layers as `plane_predictor.load_predictor` reads them; the inputs' scale is in the first."""
        found = {}
        for number, layer in enumerate(self.layers):
            weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
            if number == 0:
                weight = weight * self.scale
                bias = bias - weight @ self.mean.double()
            found[f"weight{number}"] = weight.T.numpy().astype(np.float16)
            found[f"bias{number}"] = bias.numpy().astype(np.float32)
        return found


def mirrored(patches: Tensor, normals: Tensor, flip: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Patches (N, WIDTH) and normals (N, 3) with the first or second axis of their frames turned round, or both.

    `flip` holds two arrays (N,) bool. What is mirrored is a surface as good as the first.
    """
    count, half = len(patches), DIRECTIONS // 2
    patches, normals = patches.view(count, DIRECTIONS, len(RADII), CHANNELS), normals.clone()
    for axis, which in enumerate(flip):
        signs = torch.ones(CHANNELS)
        signs[[axis, axis + 3]] = -1.0
        order = torch.tensor([((half if axis == 0 else 0) - k) % DIRECTIONS for k in range(DIRECTIONS)])
        patches = torch.where(which[:, None, None, None], patches[:, order] * signs, patches)
        normals[:, axis] = torch.where(which, -normals[:, axis], normals[:, axis])
    return patches.reshape(count, WIDTH), normals


def losses(net: Net, inputs: Tensor, normals: Tensor, distances: Tensor) -> Tensor:
    """Mean errors of the normals, the distances and the doubts (3,): absolute ones, as edges have two right answers."""
    found, along, doubt = net(inputs)
    off = torch.sqrt(((found - normals) ** 2).sum(dim=1) + 1e-4)
    far = (along - distances).abs().clamp(max=MAX_DISTANCE_LOSS)
    return torch.stack([off.mean(), far.mean(), (doubt - off.detach()).abs().mean()])


def fit(samples: Samples, steps: int, batch: int, seed: int) -> Net:
    """A network fitted to `samples` in so many steps; the same arguments give the same network on one machine."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    patches, scalars, normals, distances = (torch.from_numpy(array) for array in samples)
    net = Net(*mean_and_scale(torch.cat([patches[::17].float(), scalars[::17]], dim=1)))

    def errors_of_batch() -> Tensor:
        rows = torch.randint(len(patches), (batch,), generator=generator)
        flip = torch.rand(2, batch, generator=generator) < 0.5
        inputs, answers = mirrored(patches[rows].float(), normals[rows], (flip[0], flip[1]))
        return losses(net, torch.cat([inputs, scalars[rows]], dim=1), answers, distances[rows])

    text = "normals off by {:.4f}, distances by {:.4f} edges"
    descend(net, errors_of_batch, (1.0, 0.5, 0.3), highest=LEARNING_RATE, steps=steps, every=REPORT, text=text)
    return net


def main(arguments: list[str] | None = None) -> int:
    """Make the samples, fit, and write the file that the engine reads; the exit status."""
    return run_fit(__doc__ or "", arguments, samples_of, fit, steps=50_000, batch=2048, out=PREDICTOR_FILE)


if __name__ == "__main__":
    raise SystemExit(main())
