"""Training data: packed meshes, folders of mesh files, or procedural shapes; augmentation, crops, batches.

What the model is shown of a mesh is a reading of a real source of it (training/readings.py), never the mesh itself.

Every micro-batch is a function of (seed, its number) alone, so a resumed run continues with the very next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.utils.data import Dataset

from flashmesh_core.completion.repair import repair
from flashmesh_core.config import ModelConfig
from flashmesh_core.decode.places import Places, assign_bins
from flashmesh_core.mesh.canonical import (
    CanonicalMesh,
    Mesh,
    canonicalize_bins,
    dequantize,
    quantize,
    vertex_keys,
)
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.store import MAX_FACES, MeshStore
from flashmesh_core.slices import SurfaceContext, mesh_rows
from flashmesh_core.surface.flat_places import recut_flat_places
from flashmesh_core.tokenizer import TOKENS_PER_FACE, face_tokens, first_occurrence
from training.mistakes import IGNORE, make_mistakes
from training.readings import ReadingKey, load_reading

LOOKAHEAD = 36  # targets past the crop that the draft heads may ask for
NO_VERTEX = -(1 << 30)  # "first occurrence" of a vertex that is no vertex


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How samples are drawn. Checked once, here."""

    seed: int = 0
    surface_points: int = 16_384  # samples of the proxy mesh that the slices and the encoder read
    readings: Path | None = None  # the cache; without it, each reading is made as it is needed
    procedural: float = 0.15  # share of procedural shapes beside a data set
    augment: bool = True
    batch_tokens: int = 4608  # tokens of a micro-batch
    lengths: tuple[int, ...] = (576, 1152, 2304, 2304)  # padded, by mesh size; the last takes all larger
    length_weights: tuple[float, ...] = (0.2, 0.35, 0.25, 0.2)  # share of the micro-batches of each group
    mistakes: float = 0.5  # chance that a sample's prefix holds wrong faces
    corner_dropout: float = 0.1  # chance that a sample shows no corners at all

    def __post_init__(self) -> None:
        if any(length % TOKENS_PER_FACE or length > self.batch_tokens for length in self.lengths):
            raise ValueError(f"lengths must be multiples of 9 up to {self.batch_tokens}, got {self.lengths}")
        for field in ("procedural", "corner_dropout", "mistakes"):
            if not 0.0 <= getattr(self, field) <= 1.0:
                raise ValueError(f"{field} must be in [0, 1], got {getattr(self, field)}")


def augmentation(rng: np.random.Generator) -> np.ndarray:
    """A random 3x3: scale per axis, a turn about z (mostly by quarter turns), mirroring."""
    scale = np.exp(rng.uniform(-0.25, 0.25, 3))
    if rng.random() < 0.2:
        angle = rng.uniform(0, 2 * np.pi)
    else:
        angle = rng.integers(4) * np.pi / 2
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    mirror = np.diag([-1.0 if rng.random() < 0.5 else 1.0, 1.0, 1.0])
    return np.diag(scale) @ turn @ mirror


def place(vertices: np.ndarray, rng: np.random.Generator, augment: bool) -> tuple[np.ndarray, float, np.ndarray]:
    """The scale and shift that put a mesh into the unit box as the engine would, varied in training."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    side = float((high - low).max()) or 1.0
    size = rng.uniform(0.92, 1.0) if augment else 1.0 / (1.0 + 2.0 * PLACEMENT_MARGIN)
    slack = (1.0 - size) / 2.0
    shift = rng.uniform(-slack, slack, 3) if augment else np.zeros(3)
    return (low + high) / 2.0, size / side, shift


def placed(mesh: Mesh, proxy: Mesh, rng: np.random.Generator, augment: bool) -> tuple[Mesh, Mesh, float]:
    """The artist's mesh and the proxy in the unit box, augmented alike, and how much larger they became."""
    linear = augmentation(rng) if augment else np.eye(3)
    turned = slice(None, None, -1 if np.linalg.det(linear) < 0 else 1)
    read_at = proxy.vertices @ linear.T
    center, scale, shift = place(read_at, rng, augment)
    vertices = (mesh.vertices @ linear.T - center) * scale + shift
    proxy = Mesh((read_at - center) * scale + shift, proxy.faces[:, turned])
    return Mesh(vertices, mesh.faces[:, turned]), proxy, scale


@dataclass
class Sample:
    """One crop, as arrays; see `sample_of_mesh`."""

    tokens: np.ndarray  # (N,)
    targets: np.ndarray  # (N + LOOKAHEAD,)
    first: np.ndarray  # (N / 3 + 12,) first occurrence of each vertex in the mesh, in crop positions
    rows: np.ndarray | None  # (N, R, Q) uint8
    points: np.ndarray  # (P, 7) float32
    face_count: float


class MeshBatches(Dataset):
    """Micro-batch `number` of a run, as a dict of tensors. With no store, every shape is procedural."""

    def __init__(
        self, config: ModelConfig, data: DataConfig, store: MeshStore | None, keys: list[tuple[int, ReadingKey]]
    ) -> None:
        """`keys` are the readings to draw from, the number of the mesh in `store` before each."""
        self.config, self.data, self.store, self.keys = config, data, store, keys
        self.groups: list[np.ndarray] = []
        if store is not None:
            counts = np.array([len(store.faces[number]) for number, _ in keys])
            edges = [0, *(length // TOKENS_PER_FACE - 1 for length in data.lengths)]
            edges[-1] = MAX_FACES
            self.groups = [np.flatnonzero((counts > low) & (counts <= high)) for low, high in pairwise(edges)]

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.data.seed, number))
        weights = np.array(self.data.length_weights)
        if self.store is not None:
            weights = weights * np.array([len(group) > 0 for group in self.groups])
        bucket = int(rng.choice(len(weights), p=weights / weights.sum()))
        length = self.data.lengths[bucket]
        samples = []
        while len(samples) < self.data.batch_tokens // length:
            sample = self._draw(rng, bucket, length)
            if sample is not None:
                samples.append(sample)
        return collate(samples)

    def _draw(self, rng: np.random.Generator, bucket: int, length: int) -> Sample | None:
        if self.store is None or rng.random() < self.data.procedural:
            from training.shapes import random_shape

            mesh = random_shape(rng, max_faces=4 * length // TOKENS_PER_FACE)
            proxy: Mesh | None = blurred(mesh, rng)
            noise = 0.0
        else:
            number, key = self.keys[int(rng.choice(self.groups[bucket]))]
            mesh = Mesh(self.store.vertices[number], self.store.faces[number])
            reading = load_reading(mesh, key, self.data.readings)
            proxy = None if reading is None else reading.proxies[0]
            noise = 0.0 if reading is None else reading.noise
        return None if proxy is None else sample_of_mesh(mesh, proxy, noise, self.config, self.data, rng, length)


SNAP = 3.0 / 128  # unit box: so far may the reading have moved a vertex
SHOWN = 4.0 / 128  # unit box: a face farther than this from the reading is inside the object
PLACEMENT_MARGIN = 0.01  # of the longest side, on either side; what the engine leaves around its samples


def blurred(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """A stand-in for the reading of a procedural shape: flat places are cut as a reading cuts them, whatever triangles
    the shape has, and vertices moved as far as readings are off."""
    size = float(np.ptp(mesh.vertices, axis=0).max())
    faces = recut_flat_places(np.asarray(mesh.vertices / size, dtype=np.float64), mesh.faces.astype(np.int32))
    width = rng.choice([0.0005, 0.002, 0.004]) * size
    return Mesh(mesh.vertices + rng.normal(0.0, width, mesh.vertices.shape), faces.astype(np.int64))


def snapped(vertices: np.ndarray, faces: np.ndarray, proxy: Mesh, places: Places, num_bins: int) -> CanonicalMesh:
    """What the model should write: the artist's faces over the vertices that the reading shows.

    An artist's vertex within SNAP of a vertex of the proxy, each the other's nearest, is where the proxy has it; others
    stay where they are. Faces that the reading does not show at all are left out. All in the unit box.
    """
    far, nearest = cKDTree(proxy.vertices).query(vertices)
    back = cKDTree(vertices).query(proxy.vertices)[1]
    bins = quantize(vertices, num_bins).astype(np.int64)
    mutual = (back[nearest] == np.arange(len(vertices))) & (far < SNAP)
    bins[mutual] = places.bins[nearest[mutual]]
    triangles = vertices[faces]
    shown = TriangleTree.of_mesh(proxy.vertices, proxy.faces).distance(triangles.mean(axis=1)) < SHOWN
    return canonicalize_bins(bins, faces[shown], num_bins)


def standing(
    artist: CanonicalMesh, proxy_bins: np.ndarray, places: Places, num_bins: int, noise: float
) -> CanonicalMesh:
    """What the engine's gate lets stand of the artist's mesh: its faces where these can be built on the reading, and
    the faces of the proxy, bins (P, 3, 3), where they can't.

    An artist's mesh as it is asks for vertices that nothing in the source tells of; a model that learns to guess them
    writes what the gate throws away. `noise` is the surface's, in bins.
    """
    written = artist.vertices[artist.faces]
    stand = repair(written, proxy_bins, places.by_key(num_bins), num_bins, noise=noise).bins
    return canonicalize_bins(stand.reshape(-1, 3), np.arange(3 * len(stand)).reshape(-1, 3), num_bins)


def sample_of_mesh(
    mesh: Mesh,
    proxy: Mesh,
    noise: float,
    config: ModelConfig,
    data: DataConfig,
    rng: np.random.Generator,
    length: int,
) -> Sample | None:
    """Augment, place, quantise and crop one mesh to at most `length` tokens; None if nothing is left of it.

    All that the model is shown comes from `proxy`, the proxy mesh of a reading, under the same augmentation; `noise` is
    the surface's, in the mesh's units. A model that is shown the proxy's faces is taught what the gate lets stand.
    """
    augment = data.augment
    mesh, proxy, scale = placed(mesh, proxy, rng, augment)
    places = assign_bins(proxy.vertices, config.num_bins)
    canonical = snapped(mesh.vertices, mesh.faces, proxy, places, config.num_bins)
    proxy_bins = places.bins[proxy.faces]
    if "proxy" in config.slice_rows:
        canonical = standing(canonical, proxy_bins, places, config.num_bins, noise * scale * config.num_bins)
    if not len(canonical.faces):
        return None
    surface = sample_surface(proxy.vertices, proxy.faces, data.surface_points, rng)
    points = surface.points
    read = rng.choice(len(points), config.num_points, replace=False)
    channels = [points[read], surface.normals[read], np.ones((len(read), 1))]

    written, wanted = canonical, face_tokens(canonical)
    if augment and rng.random() < data.mistakes:
        written, wanted = make_mistakes(canonical, rng)
    groups = length // TOKENS_PER_FACE
    total = len(written.faces)
    start = 0 if total + 1 <= groups or rng.random() < 0.25 else int(rng.integers(1, max(1, total - groups) + 1))
    sample = crop(written, wanted, config, start, groups)
    if config.slice_rows:
        corners = dequantize(places.bins, config.num_bins)
        if augment and rng.random() < data.corner_dropout:
            corners = corners[:0]
        elif augment:
            corners = corners[rng.random(len(corners)) < rng.choice([1.0, 0.95, 0.8])]
        context = SurfaceContext.of_samples(points, surface.normals, corners, config.num_bins, proxy_bins=proxy_bins)
        sample.rows = crop_rows(context, written, start, groups)[:, : len(config.slice_rows)]
    sample.points = np.concatenate(channels, axis=1).astype(np.float32)
    sample.face_count = 0.0 if augment and rng.random() < 0.15 else float(len(canonical.faces))
    return sample


def crop(mesh: CanonicalMesh, wanted: np.ndarray, config: ModelConfig, start: int, groups: int) -> Sample:
    """Tokens, targets and first occurrences of `groups` groups: the BOS group and faces, or faces from `start` on.

    `wanted` (F, 9) are the targets of the mesh's own tokens; the same tokens, but for mistakes.
    """
    bins = config.num_bins
    body = face_tokens(mesh).reshape(-1)
    aims = np.concatenate([np.full(9, IGNORE), wanted.reshape(-1), [config.eos]])[(9 + 9 * start if start else 0) :]
    if start == 0:
        whole = np.concatenate([np.full(9, config.bos), body, [config.eos]])
    else:
        whole = np.concatenate([body[start * 9 :], [config.eos]])
    length = groups * TOKENS_PER_FACE
    tokens = np.full(length, config.pad)
    tokens[: min(length, len(whole) - 1)] = whole[: min(length, len(whole) - 1)]
    targets = np.full(length + LOOKAHEAD, IGNORE)
    ahead = aims[1 : length + LOOKAHEAD + 1]
    targets[: len(ahead)] = ahead
    keys = vertex_keys(mesh.vertices, bins)[mesh.faces].reshape(-1)
    occurrence = first_occurrence(keys) + (3 if start == 0 else -3 * start)
    occurrence = occurrence[3 * start :] if start else np.concatenate([np.full(3, NO_VERTEX), occurrence])
    first = np.full(length // 3 + LOOKAHEAD // 3, NO_VERTEX)
    first[: min(len(first), len(occurrence))] = occurrence[: len(first)]
    return Sample(tokens, targets, first, None, np.zeros((0, 7)), 0.0)


def crop_rows(context: SurfaceContext, mesh: CanonicalMesh, start: int, groups: int) -> np.ndarray:
    """Slice rows of the token after each of the crop's positions, (9 * groups, R, Q) uint8."""
    begin = 9 if start == 0 else 0
    stop = min(len(mesh.faces), start + groups - begin // 9)
    made = mesh_rows(context, mesh, start, stop)
    rows = np.zeros((groups * TOKENS_PER_FACE, *made.shape[1:]), dtype=np.uint8)
    made = made if begin else made[1:]
    at = begin - 1 if begin else 0
    rows[at : at + len(made)] = made[: len(rows) - at]
    return rows


def collate(samples: list[Sample]) -> dict[str, torch.Tensor]:
    """Stack crops of one length."""
    batch = {
        "tokens": torch.from_numpy(np.stack([s.tokens for s in samples]).astype(np.int64)),
        "targets": torch.from_numpy(np.stack([s.targets for s in samples]).astype(np.int64)),
        "first": torch.from_numpy(np.stack([s.first for s in samples]).astype(np.int64)),
        "points": torch.from_numpy(np.stack([s.points for s in samples])),
        "face_count": torch.tensor([s.face_count for s in samples], dtype=torch.float32),
    }
    if samples[0].rows is not None:
        batch["rows"] = torch.from_numpy(np.stack([s.rows for s in samples if s.rows is not None]))
    return batch
