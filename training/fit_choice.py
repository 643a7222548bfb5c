"""Fit the choice of vertices: which vertices of a reading's proxies are the artist's, and where his are.

    python training/fit_choice.py --data DIR --readings CACHE

Only readings that are in the cache are used; `python -m training.readings` makes them.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional as F

from flashmesh_core.files import write_atomic
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.sources import FAMILIES
from flashmesh_core.surface.choice.candidates import INPUTS, RELATION, Candidates, candidates_of
from flashmesh_core.surface.choice.features import BIN, SNAP_FEATURES, SNAPS
from flashmesh_core.surface.choice.network import CHOICE_FILE, MOVES, ROUNDS, STEP
from training.fitting import descend, mean_and_scale
from training.readings import keys_of, load_reading

HIDDEN, SNAPPING = 56, 32
SAME, OWN = 1.5 * BIN, 4.0 * BIN  # how near a vertex is the artist's, and how near it may be meant to become it
LEARNING_RATE = 3e-3
BATCH = 9_000  # candidates of a step, about
REPORT = 60  # steps between two reports
WEIGHTS = (1.0, 0.5, 1.0)  # of the errors in the odds, in the places, and of moves where the artist has no vertex
EXACT, STILL, FLAT = 0.3, 0.03, 0.15  # in the places; of moves without an artist's vertex, in all and off the surface


class Answer(NamedTuple):
    """A reading's candidates and, for each, whether the artist has a vertex that is its own, and the way to it."""

    given: Candidates
    own: np.ndarray  # (N,) bool
    ways: np.ndarray  # (N, 3) float32, 0 where there is none


def answer_of(artist: Mesh, proxies: Sequence[Mesh]) -> Answer:
    """What the network should say of `proxies`, by the vertices of the artist's mesh in the same space."""
    given = candidates_of(proxies, len(proxies[0].faces))
    vertices = np.unique((artist.vertices[np.unique(artist.faces)] - given.center) / given.scale, axis=0)
    own, ways = [], []
    for shape in given.shapes:
        found = own_vertices(vertices, shape.vertices)
        own.append(found >= 0)
        ways.append(np.where(found[:, None] >= 0, vertices[found] - shape.vertices, 0.0))
    return Answer(given, np.concatenate(own), np.concatenate(ways).astype(np.float32))


def own_vertices(artist: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """The row of the artist's vertices (A, 3) that each of `vertices` (V, 3) is nearest to, one to one; -1 for none."""
    far, nearest = cKDTree(vertices).query(artist, distance_upper_bound=OWN)
    own = np.full(len(vertices), -1)
    for row in np.argsort(far, kind="stable"):
        if np.isfinite(far[row]) and own[nearest[row]] < 0:
            own[nearest[row]] = row
    return own


class Batch(NamedTuple):
    """The candidates of several readings as one graph; fields as in `Candidates` and `Answer`."""

    features: Tensor
    teller: Tensor
    told: Tensor
    relations: Tensor
    ways: Tensor
    directions: Tensor
    snaps: Tensor
    snap_features: Tensor
    units: Tensor  # (N,)
    reading: Tensor  # (N,) of which reading a candidate is
    own: Tensor
    answers: Tensor


def batch_of(answers: Sequence[Answer]) -> Batch:
    """Several readings side by side."""
    sizes = [len(answer.own) for answer in answers]
    first = np.cumsum([0, *sizes])

    def together(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(answer.given, name) for answer in answers]))

    def numbers(name: str) -> Tensor:
        parts = [getattr(answer.given, name) + at for answer, at in zip(answers, first[:-1], strict=True)]
        return torch.from_numpy(np.concatenate(parts))

    return Batch(
        together("features"), numbers("teller"), numbers("told"), together("relations"), together("ways"),
        together("directions"), together("snaps"), together("snap_features"),
        torch.from_numpy(np.repeat([a.given.unit for a in answers], sizes)).float(),
        torch.from_numpy(np.repeat(np.arange(len(answers)), sizes)),
        torch.from_numpy(np.concatenate([a.own for a in answers])),
        torch.from_numpy(np.concatenate([a.ways for a in answers])),
    )  # fmt: skip


class Net(nn.Module):
    """The network of `ChoiceNetwork`, which can be fitted."""

    def __init__(self, mean: Tensor, scale: Tensor, relation_mean: Tensor, relation_scale: Tensor) -> None:
        super().__init__()
        sizes = {"first": (INPUTS, HIDDEN), "second": (HIDDEN, HIDDEN), "hidden": (HIDDEN, HIDDEN)}
        sizes |= {"out": (HIDDEN, 1 + MOVES), "share_out": (HIDDEN, 1), "snap": (HIDDEN, SNAPPING)}
        sizes |= {"snap_features": (SNAP_FEATURES, SNAPPING), "snap_out": (SNAPPING, SNAPS)}
        for name in ("share", *(f"round{number}" for number in range(ROUNDS))):
            sizes |= {f"{name}_teller": (HIDDEN, HIDDEN), f"{name}_told": (HIDDEN, HIDDEN)}
            sizes[f"{name}_relation"] = (RELATION, HIDDEN)
        for number in range(ROUNDS):
            sizes |= {f"round{number}_mixed": (4 * HIDDEN, HIDDEN), f"round{number}_out": (HIDDEN, HIDDEN)}
        unbiased = ("_teller", "_told", "snap_features")
        self.layers = nn.ModuleDict(
            {name: nn.Linear(*size, bias=not name.endswith(unbiased)) for name, size in sizes.items()}
        )
        for name in ("out", "share_out", "snap_out"):  # at first nothing moves
            nn.init.zeros_(self.layers[name].weight)
            nn.init.zeros_(self.layers[name].bias)
        self.mean, self.scale = nn.Buffer(mean), nn.Buffer(scale)
        self.relation_mean, self.relation_scale = nn.Buffer(relation_mean), nn.Buffer(relation_scale)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The odds (N,) and the moves (N, 3) of a batch's candidates."""
        layer, count = self.layers, len(batch.features)
        relations = (batch.relations - self.relation_mean) * self.relation_scale
        in_mesh = batch.relations[:, -4] > 0
        kinds = [torch.nonzero(rows)[:, 0] for rows in (in_mesh, ~in_mesh)]
        state = layer["second"](F.relu(layer["first"]((batch.features - self.mean) * self.scale)))
        for number in range(ROUNDS):
            seen = F.relu(state)
            message = self._messages(f"round{number}", seen, batch, relations)
            means = [_means(message[rows], batch.told[rows], count) for rows in kinds]
            whole = _means(seen, batch.reading, int(batch.reading[-1]) + 1)[batch.reading]
            state = state + layer[f"round{number}_out"](
                F.relu(layer[f"round{number}_mixed"](torch.cat([seen, *means, whole], dim=1)))
            )
        seen = F.relu(state)
        share = layer["share_out"](self._messages("share", seen, batch, relations))
        moves = torch.zeros(count, 3).index_add(0, batch.told, share * batch.ways)
        out = layer["out"](F.relu(layer["hidden"](seen)))
        ones = torch.ones_like(batch.units)
        steps = out[:, 1:] * torch.stack([BIN * ones, STEP * batch.units, STEP * ones], dim=1)
        moves = moves + (steps[..., None] * batch.directions).sum(dim=1)
        snap = layer["snap"](seen)[:, None] + layer["snap_features"](batch.snap_features)
        return out[:, 0], moves + (layer["snap_out"](F.relu(snap)) * batch.snaps).sum(dim=2)

    def _messages(self, name: str, seen: Tensor, batch: Batch, relations: Tensor) -> Tensor:
        teller, told = self.layers[f"{name}_teller"](seen), self.layers[f"{name}_told"](seen)
        return F.relu(teller[batch.teller] + told[batch.told] + self.layers[f"{name}_relation"](relations))

    def arrays(self) -> dict[str, np.ndarray]:
        """The layers as `load_choice_network` reads them; the inputs' scales are in those that take them."""
        found = {}
        for name, layer in self.layers.items():
            weight, bias = layer.weight.detach().double(), layer.bias
            if name == "first" or name.endswith("_relation"):
                mean, scale = (self.mean, self.scale) if name == "first" else (self.relation_mean, self.relation_scale)
                weight = weight * scale
                bias = bias.detach().double() - weight @ mean.double()
            found[f"{name}_weight"] = weight.T.numpy().astype(np.float16)
            if bias is not None:
                found[f"{name}_bias"] = bias.detach().numpy().astype(np.float32)
        return found


def _means(values: Tensor, owner: Tensor, count: int) -> Tensor:
    """The means (count, H) of the values (M, H) of each owner (M,); 0 for none."""
    number = torch.bincount(owner, minlength=count).clamp(min=1)
    return torch.zeros(count, values.shape[1]).index_add(0, owner, values) / number[:, None]


def errors(net: Net, batch: Batch) -> Tensor:
    """The errors (3,) that WEIGHTS weigh; distances count in SAME, and no more where they are far beyond it."""
    odds, moves = net(batch)
    far = ((moves - batch.answers) ** 2).sum(dim=1) / SAME**2
    right = batch.own & (far.detach() < 1.0)
    places = (1.0 - torch.exp(-0.5 * far) + EXACT * torch.sqrt(far + 0.01))[batch.own]
    idle = moves[~batch.own] / SAME
    off = (idle * batch.directions[~batch.own, 0]).sum(dim=1)
    still = STILL * torch.sqrt((idle**2).sum(dim=1) + 0.01) + FLAT * torch.sqrt(off**2 + 0.01)
    return torch.stack(
        [
            F.binary_cross_entropy_with_logits(odds, right.float()),
            places.sum() / max(len(places), 1),
            still.sum() / max(len(still), 1),
        ]
    )


def fit(answers: Sequence[Answer], steps: int, batch: int, seed: int) -> Net:
    """A network fitted in so many steps of about `batch` candidates; the same arguments give the same network."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(np.concatenate([answer.given.features for answer in answers]))
    relations = torch.from_numpy(np.concatenate([answer.given.relations[::7] for answer in answers]))
    net = Net(*mean_and_scale(features), *mean_and_scale(relations))
    waiting: list[int] = []

    def errors_of_batch() -> Tensor:
        some: list[Answer] = []
        while sum(len(answer.own) for answer in some) < batch:
            waiting[:] = waiting or rng.permutation(len(answers)).tolist()
            some.append(answers[waiting.pop()])
        return errors(net, batch_of(some))

    text = "odds {:.4f}, places {:.4f}, idle moves {:.4f}"
    descend(net, errors_of_batch, WEIGHTS, highest=LEARNING_RATE, steps=steps, every=REPORT, text=text)
    return net


def answers_of(data: Path, readings: Path, max_faces: int) -> list[Answer]:
    """The answers of all readings of the train split that are in the cache."""
    store, found = MeshStore.open(data, "train"), []
    for number, key in keys_of(store, FAMILIES, 1, max_faces):
        artist = Mesh(store.vertices[number].astype(np.float64), store.faces[number])
        reading = load_reading(artist, key, readings) if key.file(readings).is_file() else None
        if reading is not None:
            found.append(answer_of(artist, reading.proxies))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Read what readings there are, fit, and write the file that the engine reads; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", required=True, help="packed .npz, folder with meshes.npz, or folder of mesh files")
    parser.add_argument("--readings", required=True, help="the cache that training.readings made")
    parser.add_argument("--max-faces", type=int, default=1000, help="leave larger meshes out")
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=BATCH, help="candidates of a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=str(CHOICE_FILE))
    args = parser.parse_args(arguments)
    answers = answers_of(Path(args.data), Path(args.readings), args.max_faces)
    if not answers:
        parser.error(f"--readings must hold readings of the meshes in --data, got none in {args.readings}")
    print(f"{sum(len(answer.own) for answer in answers)} candidates of {len(answers)} readings", flush=True)
    packed = io.BytesIO()
    np.savez_compressed(packed, **fit(answers, args.steps, args.batch, args.seed).arrays())  # type: ignore[arg-type]
    write_atomic(Path(args.out), packed.getvalue())
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
