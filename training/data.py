"""Training data: packed meshes, folders of mesh files, or procedural shapes; augmentation, crops, batches.

Every micro-batch is a function of (seed, its number) alone, so a resumed run continues with the very next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.utils.data import Dataset

from flashmesh_core.config import ModelConfig
from flashmesh_core.mesh.canonical import (
    CanonicalMesh,
    Mesh,
    canonicalize_bins,
    quantize,
    vertex_keys,
)
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.store import MAX_FACES, MeshStore
from flashmesh_core.slices import SurfaceContext, mesh_rows
from flashmesh_core.tokenizer import TOKENS_PER_FACE, face_tokens, first_occurrence

IGNORE = -100
MISTAKE_RATE = 0.05  # of the faces of a sample that has mistakes
LOOKAHEAD = 36  # targets past the crop that the draft heads may ask for
NO_VERTEX = -(1 << 30)  # "first occurrence" of a vertex that is no vertex


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How samples are drawn. Checked once, here."""

    seed: int = 0
    surface_points: int = 16_384  # samples that the surface grid and the corners are made from
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

    def __init__(self, config: ModelConfig, data: DataConfig, store: MeshStore | None, corners: list | None) -> None:
        self.config, self.data, self.store = config, data, store
        self.corners = corners
        self.groups: list[np.ndarray] = []
        if store is not None:
            counts = np.array([len(faces) for faces in store.faces])
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
            corners = plain_corners(mesh)
        else:
            index = int(rng.choice(self.groups[bucket]))
            mesh = Mesh(self.store.vertices[index], self.store.faces[index])
            corners = self.corners[index] if self.corners is not None else plain_corners(mesh)
        return sample_of_mesh(mesh, corners, self.config, self.data, rng, length)


PLACEMENT_MARGIN = 0.01  # of the longest side, on either side; what the engine leaves around its samples


def plain_corners(mesh: Mesh) -> np.ndarray:
    """Vertices where faces of at least three different directions meet, (C, 3): corners without detection."""
    triangles = mesh.triangles.astype(np.float64)
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    tensor = np.zeros((len(mesh.vertices), 3, 3))
    np.add.at(tensor, mesh.faces.reshape(-1), np.repeat(normal[:, :, None] * normal[:, None, :], 3, axis=0))
    count = np.bincount(mesh.faces.reshape(-1), minlength=len(mesh.vertices))
    smallest = np.linalg.eigvalsh(tensor / np.maximum(count, 1)[:, None, None])[:, 0]
    return mesh.vertices[smallest > 1e-3]


def sample_of_mesh(
    mesh: Mesh,
    corners: np.ndarray,
    config: ModelConfig,
    data: DataConfig,
    rng: np.random.Generator,
    length: int,
) -> Sample | None:
    """Augment, place, quantise and crop one mesh to at most `length` tokens; None if nothing is left of it.

    The encoder's points, the surface grid and the corners all come from the same augmented surface.
    """
    augment = data.augment
    linear = augmentation(rng) if augment else np.eye(3)
    vertices, faces = mesh.vertices @ linear.T, mesh.faces
    if np.linalg.det(linear) < 0:
        faces = faces[:, ::-1]
    center, scale, shift = place(vertices, rng, augment)
    vertices = (vertices - center) * scale + shift
    canonical = canonicalize_bins(quantize(vertices, config.num_bins), faces, config.num_bins)
    if not len(canonical.faces):
        return None
    surface = sample_surface(vertices, faces, data.surface_points, rng)
    noise = rng.uniform(0.0, 0.006) if augment and rng.random() < 0.15 else 0.0
    points = surface.points + rng.normal(0.0, noise, surface.points.shape) if noise else surface.points
    read = rng.choice(len(points), config.num_points, replace=False)
    known = not (augment and rng.random() < 0.1)
    channels = [points[read], surface.normals[read] * known, np.full((len(read), 1), float(known))]

    written, wanted = canonical, face_tokens(canonical)
    if augment and rng.random() < data.mistakes:
        written, wanted = make_mistakes(canonical, rng)
    groups = length // TOKENS_PER_FACE
    total = len(written.faces)
    start = 0 if total + 1 <= groups or rng.random() < 0.25 else int(rng.integers(1, max(1, total - groups) + 1))
    sample = crop(written, wanted, config, start, groups)
    if config.slice_rows:
        placed = (corners @ linear.T - center) * scale + shift
        if augment and (rng.random() < data.corner_dropout):
            placed = placed[:0]
        elif augment:
            placed = placed[rng.random(len(placed)) < rng.choice([1.0, 0.95, 0.8])]
            placed = placed + rng.normal(0.0, noise / 2, placed.shape)
        context = SurfaceContext.of_samples(points, surface.normals, placed, config.num_bins, 2 if noise else 1)
        sample.rows = crop_rows(context, written, start, groups)
    sample.points = np.concatenate(channels, axis=1).astype(np.float32)
    sample.face_count = 0.0 if augment and rng.random() < 0.15 else float(len(canonical.faces))
    return sample


def make_mistakes(mesh: CanonicalMesh, rng: np.random.Generator) -> tuple[CanonicalMesh, np.ndarray]:
    """A mesh as a model might have written it, with wrong faces here and there, and what it should have written.

    Returns the written faces in the order of writing and, for each, the right tokens (F, 9), IGNORE after the first
    wrong one. A wrong face has v1 or v2 moved by a few bins or to a vertex nearby; if it sorts before the right one,
    that mostly follows, and right faces that the order then forbids are left out. So the model learns to go on after
    a mistake, which teacher forcing never shows it.
    """
    bins = mesh.num_bins
    vertices = mesh.vertices.tolist()
    truth = mesh.vertices[mesh.faces][:, :, ::-1].reshape(-1, 9)
    faces, wanted = [], []
    last = (-1, -1, -1)
    all_keys = vertex_keys(mesh.vertices, bins)
    wrong = rng.random(len(mesh.faces)) < MISTAKE_RATE
    for number, face in enumerate(mesh.faces.tolist()):
        right = tuple(all_keys[face].tolist())
        if right <= last:
            continue
        if wrong[number]:
            slot = 1 if rng.random() < 0.25 else 2
            place = _wrong_place(mesh, face[slot], rng)
            written = list(face)
            written[slot] = len(vertices)
            corners = np.array([*(mesh.vertices[v] for v in face)])
            corners[slot] = place
            keys = tuple(vertex_keys(corners, bins).tolist())
            if keys[1] > keys[0] < keys[2] and keys[1] != keys[2] and keys > last:
                vertices.append(place.tolist())
                faces.append(written)
                tokens = corners[:, ::-1].reshape(-1)
                different = int((tokens != truth[number]).argmax())
                wanted.append(np.where(np.arange(9) <= different, truth[number], IGNORE))
                last = keys
                if keys > right or rng.random() < 0.3:
                    continue
        last = right
        faces.append(face)
        wanted.append(truth[number])
    written_mesh = CanonicalMesh(np.array(vertices), np.array(faces), bins)
    return written_mesh, np.array(wanted)


def _wrong_place(mesh: CanonicalMesh, vertex: int, rng: np.random.Generator) -> np.ndarray:
    """A place (x, y, z) in bins that is not the vertex: another vertex nearby, or a few bins off."""
    right = mesh.vertices[vertex]
    if rng.random() < 0.5 and len(mesh.vertices) > 1:
        distance = np.abs(mesh.vertices - right).max(axis=1)
        near = np.argsort(distance, kind="stable")[1:9]
        return mesh.vertices[rng.choice(near)]
    step = rng.integers(1, 4) * rng.choice([-1, 1], 3) * (rng.random(3) < 0.5)
    moved = np.clip(right + step, 0, mesh.num_bins - 1)
    return moved if (moved != right).any() else np.clip(right - np.array([1, 0, 0]), 0, mesh.num_bins - 1)


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
