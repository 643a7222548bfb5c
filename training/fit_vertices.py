"""Fit the vertex predictor: where the artist's vertex is near a vertex of a proxy.

    python training/fit_vertices.py --data DIR --sources 1800

Sources are made of the training split's meshes and read by the engine's own code up to the vertices that the plane
predictor places; a sample is what such a vertex sees, with the artist's vertex, or the nearest place on the artist's
surface where there is none, as the answer.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional as F
from trimesh.triangles import closest_point

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.sources import make_source, vary
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.denoising import FINE, denoise, noisiness, typical_edge
from flashmesh_core.surface.placement import planes_of
from flashmesh_core.surface.reading import CLOUD_HANDLE_EDGES, RICHER, ROUGH, dense_surface
from flashmesh_core.surface.refinement import refiner_of
from flashmesh_core.surface.shells import sheet_of, shell_of
from flashmesh_core.surface.simplification import HANDLE_EDGES, proxies
from flashmesh_core.surface.surroundings import CHANNELS, MOST, WHOLE
from flashmesh_core.surface.vertex_predictor import (
    PLACE,
    PLACE_OUTPUTS,
    PLANE_OUTPUTS,
    PULL,
    SHIFT,
    VERTEX_FILE,
    VertexPredictor,
)
from training.fitting import descend, joined, mean_and_scale, run_fit

HIDDEN, CONTEXT = 64, 96
VERTICES = 400  # samples of a source
REACH = 3.5 / 128  # how far an artist's vertex may be from one of a proxy that is its own
FLAT = 0.3  # weight of the samples without an artist's vertex
LEARNING_RATE = 2e-3
REPORT = 500  # steps between two reports
FEWEST_FACES = 0.4  # of the faces that a vertex sees are left in training, at the least
VECTORS = (0, 3, 8)  # channels at which the vectors of a sample begin
SLACK = 0.1  # 1/128: errors far below it count by their square


def _quarter_turns() -> np.ndarray:
    """The eight ways (8, 3, 3) to turn by quarters around the third axis, and to mirror."""
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turns = [np.linalg.matrix_power(quarter, k) for k in range(4)]
    return np.stack([*turns, *(turn @ np.diag([-1.0, 1.0, 1.0]) for turn in turns)])


TURNS = _quarter_turns()


class Samples(NamedTuple):
    """What N vertices see and where the artist's are."""

    faces: np.ndarray  # (N, MOST, CHANNELS) float16
    counts: np.ndarray  # (N,) int64, faces that are there
    whole: np.ndarray  # (N, WHOLE) float32
    answers: np.ndarray  # (N, 3) float32 way to the artist's, typical edges, in the vertex's frame
    weights: np.ndarray  # (N,) float32
    scales: np.ndarray  # (N,) float32, 1/128 of the longest side in a typical edge


def samples_of(artist: Mesh, family: str, seed: int | list[int], vertices: int = VERTICES) -> Samples | None:
    """Samples of one source of `artist`; None where it shows no surface, or one that is not refined."""
    rng = np.random.default_rng(seed)
    try:
        source = make_source(artist, vary(family, rng), seed=int(rng.integers(1 << 31)))
        box, dense = dense_surface(source) if isinstance(source, Mesh) else dense_surface(source.points, source.normals)
    except ValueError:
        return None
    edge = typical_edge(dense)
    if edge >= FINE:
        return None
    wanted = len(artist.faces)
    denoised = denoise(dense, wanted=wanted)
    planes, refiner = planes_of(denoised), refiner_of(denoised)
    rough = noisiness(denoised.noise, edge) > ROUGH
    handle_edges = HANDLE_EDGES if isinstance(source, Mesh) else CLOUD_HANDLE_EDGES
    counts = [times * wanted for times in RICHER]
    collapsed = proxies(denoised, counts, handle_edges=handle_edges, rough=rough, refine=False)
    own = Mesh(box.apply(artist.vertices), artist.faces)
    shell = isinstance(source, Mesh) and shell_of(planes, edge, rough=rough)
    found = []
    for proxy in collapsed:
        faces = proxy.faces.astype(np.int32)
        if shell and sheet_of(proxy.vertices, faces, edge):
            continue
        moved, seen = refiner.crossed(proxy.vertices, faces, planes, face_geometry(proxy.vertices, faces)[0])
        targets, exact = true_places(own, moved)
        way = np.einsum("vij,vj->vi", seen.frames, targets - moved) / edge
        rows = np.flatnonzero(seen.valid.any(axis=1))
        rows = rng.choice(rows, min(len(rows), vertices // len(RICHER)), replace=False)
        found.append(
            Samples(
                seen.samples[rows].astype(np.float16),
                seen.valid[rows].sum(axis=1),
                seen.whole[rows],
                way[rows].astype(np.float32),
                np.where(exact[rows], 1.0, FLAT).astype(np.float32),
                np.full(len(rows), edge * 128.0, dtype=np.float32),
            )
        )
    return joined(found) if found else None


def true_places(artist: Mesh, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `vertices` (V, 3) should be (V, 3), and whether a vertex of the artist's is there (V,).

    It is where both are each other's nearest and within REACH; elsewhere the nearest place on the surface is taken.
    """
    far, nearest = cKDTree(artist.vertices).query(vertices)
    _, back = cKDTree(vertices).query(artist.vertices)
    exact = (far < REACH) & (back[nearest] == np.arange(len(vertices)))
    return np.where(exact[:, None], artist.vertices[nearest], nearest_places(artist, vertices)), exact


def nearest_places(artist: Mesh, points: np.ndarray) -> np.ndarray:
    """The places (N, 3) on the surface of `artist` that are nearest to `points` (N, 3)."""
    tree = TriangleTree.of_mesh(artist.vertices, artist.faces)
    return closest_point(artist.vertices[artist.faces[tree.nearest(points)[1]]], points)


class Net(nn.Module):
    """The network of `VertexPredictor`, which can be fitted."""

    def __init__(self, mean: Tensor, scale: Tensor, whole_mean: Tensor, whole_scale: Tensor) -> None:
        super().__init__()
        self.sample = nn.Linear(CHANNELS + WHOLE, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.pooled = nn.Linear(2 * HIDDEN + WHOLE, CONTEXT)
        self.context = nn.Linear(CONTEXT, CONTEXT)
        self.mixed = nn.Linear(HIDDEN + CONTEXT, HIDDEN)
        self.planes = nn.Linear(HIDDEN, PLANE_OUTPUTS)
        self.place = nn.Linear(CONTEXT, PLACE_OUTPUTS)
        self.mean, self.scale = nn.Buffer(mean), nn.Buffer(scale)
        self.whole_mean, self.whole_scale = nn.Buffer(whole_mean), nn.Buffer(whole_scale)

    def forward(self, faces: Tensor, valid: Tensor, whole: Tensor) -> Tensor:
        """Ways (N, 3) of faces (N, E, CHANNELS), valid (N, E) bool, and whole (N, WHOLE)."""
        given = (whole - self.whole_mean) * self.whole_scale
        values = torch.cat([(faces - self.mean) * self.scale, given[:, None].expand(-1, faces.shape[1], -1)], dim=2)
        values = F.relu(self.second(F.relu(self.sample(values)))) * valid[..., None]
        mean = values.sum(dim=1) / valid.sum(dim=1, keepdim=True).clamp(min=1)
        context = F.relu(self.pooled(torch.cat([mean, values.amax(dim=1), given], dim=1)))
        context = F.relu(self.context(context))
        mixed = F.relu(self.mixed(torch.cat([values, context[:, None].expand(-1, faces.shape[1], -1)], dim=2)))
        planes, place = self.planes(mixed), self.place(context)
        logs = planes[..., :2].masked_fill(~valid[..., None], -1e9).flatten(1)
        weights = logs.softmax(dim=1).unflatten(1, (-1, 2))
        normals = torch.stack([faces[..., 3:6], faces[..., 8:11]], dim=2)
        distances = faces[..., [6, 11]] + SHIFT * planes[..., 2:]
        pull = PULL * place[:, 3].clamp(-6.0, 6.0).exp()
        weighed = (weights[..., None] * normals).flatten(1, 2)
        left = weighed.transpose(1, 2) @ normals.flatten(1, 2) + pull[:, None, None] * torch.eye(3)
        right = (weighed * distances.flatten(1)[..., None]).sum(dim=1) + (pull * PLACE)[:, None] * place[:, :3]
        return _solved(left, right)

    def arrays(self) -> dict[str, np.ndarray]:
        """The layers as `load_vertex_predictor` reads them; the inputs' scales are in those that take them."""
        found = {}
        for name in ("sample", "second", "pooled", "context", "mixed", "planes", "place"):
            layer = getattr(self, name)
            weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
            if name in ("sample", "pooled"):
                scale, mean = self.whole_scale, self.whole_mean
                if name == "sample":
                    scale, mean = torch.cat([self.scale, scale]), torch.cat([self.mean, mean])
                weight = torch.cat([weight[:, : -len(scale)], weight[:, -len(scale) :] * scale], dim=1)
                bias = bias - weight[:, -len(scale) :] @ mean.double()
            found[f"{name}_weight"] = weight.T.numpy().astype(np.float16)
            found[f"{name}_bias"] = bias.numpy().astype(np.float32)
        assert set(found) == set(VertexPredictor._fields)
        return found


def _solved(left: Tensor, right: Tensor) -> Tensor:
    """The solutions (N, 3) of symmetric, positive systems (N, 3, 3); by hand, several times faster than a library's."""
    a, b, c = left.unbind(dim=1)
    bc = torch.linalg.cross(b, c)
    inverse = torch.stack([bc, torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=1)
    return torch.einsum("nij,ni->nj", inverse, right) / (a * bc).sum(dim=1, keepdim=True)


def loss(
    net: Net, faces: Tensor, valid: Tensor, whole: Tensor, answers: Tensor, weights: Tensor, scales: Tensor
) -> Tensor:
    """The weighed mean distance of the found places from the answers, in 1/128 of the longest side."""
    off = (net(faces, valid, whole) - answers) * scales[:, None]
    far = torch.sqrt((off**2).sum(dim=1) + SLACK**2) - SLACK
    return (far * weights).sum() / weights.sum()


def fit(samples: Samples, steps: int, batch: int, seed: int) -> Net:
    """A network fitted to `samples` in so many steps; the same arguments give the same network on one machine."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    faces, counts, whole, answers, weights, scales = (torch.from_numpy(array) for array in samples)
    valid = torch.arange(MOST) < counts[:, None]
    net = Net(*mean_and_scale(faces[::17][valid[::17]].float()), *mean_and_scale(whole))
    turns = torch.from_numpy(TURNS).float()

    def errors_of_batch() -> Tensor:
        rows = torch.randint(len(faces), (batch,), generator=generator)
        turn = turns[torch.randint(len(turns), (batch,), generator=generator)]
        seen, answer = turned(faces[rows].float(), turn), torch.einsum("nij,nj->ni", turn, answers[rows])
        share = FEWEST_FACES + (1.0 - FEWEST_FACES) * torch.rand(batch, 1, generator=generator)
        left = torch.rand(batch, MOST, generator=generator) < share
        left[:, 0] = True
        return loss(net, seen, valid[rows] & left, whole[rows], answer, weights[rows], scales[rows])[None]

    text = "off by {:.4f}/128 of the longest side"
    descend(net, errors_of_batch, (1.0,), highest=LEARNING_RATE, steps=steps, every=REPORT, text=text)
    return net


def turned(faces: Tensor, turn: Tensor) -> Tensor:
    """Faces (N, E, CHANNELS) with the vectors in them turned by `turn` (N, 3, 3)."""
    result = faces.clone()
    for first in VECTORS:
        result[..., first : first + 3] = faces[..., first : first + 3] @ turn.transpose(1, 2)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Make the samples, fit, and write the file that the engine reads; the exit status."""
    return run_fit(__doc__ or "", arguments, samples_of, fit, steps=6_000, batch=1024, out=VERTEX_FILE)


if __name__ == "__main__":
    raise SystemExit(main())
