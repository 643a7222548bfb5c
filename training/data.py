"""Training data: packed meshes, folders of mesh files, or procedural shapes; augmentation, crops, batches.

What the model is shown of a mesh is a reading of a real source of it (training/readings.py), never the mesh itself.

Every micro-batch is a function of (seed, its number) alone, so a resumed run continues with the very next one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from flashmesh_core.candidates import make_candidates
from flashmesh_core.config import ModelConfig
from flashmesh_core.decode.places import assign_bins
from flashmesh_core.mesh.canonical import (
    CanonicalMesh,
    Mesh,
    canonicalize,
    dequantize,
    vertex_keys,
)
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.sampling import SurfaceSamples, sample_surface
from flashmesh_core.mesh.store import MAX_FACES, MeshStore
from flashmesh_core.slices import SurfaceContext, mesh_rows
from flashmesh_core.tokenizer import TOKENS_PER_FACE, face_tokens, first_occurrence
from training.damaged import damaged_reading
from training.ledger import Ledger
from training.mistakes import IGNORE, make_mistakes
from training.own_meshes import aims_of, own_mesh
from training.readings import ReadingKey, TrainingReading, load_reading

LOOKAHEAD = 36  # targets past the crop that the draft heads may ask for
NO_VERTEX = -(1 << 30)  # "first occurrence" of a vertex that is no vertex


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How samples are drawn. Checked once, here."""

    seed: int = 0
    surface_points: int = 16_384  # samples of the proxy mesh that the slices and the encoder read
    readings: Path | None = None  # the cache; without it, each reading is made as it is needed
    procedural: float = 0.15  # share of procedural shapes beside a data set
    damaged: float = 0.0  # share of meshes that a stand-in for a reading is made of; see damaged.py
    packed: bool = False  # several crops in one sequence; see model/packing.py
    crops: int = 6  # of a packed sequence, at most
    augment: bool = True
    batch_tokens: int = 4608  # tokens of a micro-batch
    lengths: tuple[int, ...] = (576, 1152, 2304, 2304)  # padded, by mesh size; the last takes all larger
    length_weights: tuple[float, ...] = (0.2, 0.35, 0.25, 0.2)  # share of the micro-batches of each group
    own: float = 0.75  # chance that a sample's prefix is not quite the artist's; see own_meshes.py
    mistakes: float = 0.25  # chance that it holds wrong faces; see mistakes.py
    corner_dropout: float = 0.1  # chance that a sample shows no corners at all

    def __post_init__(self) -> None:
        if any(length % TOKENS_PER_FACE or length > self.batch_tokens for length in self.lengths) and not self.packed:
            raise ValueError(f"lengths must be multiples of 9 up to {self.batch_tokens}, got {self.lengths}")
        for field in ("procedural", "damaged", "corner_dropout", "own", "mistakes"):
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


def placed(mesh: Mesh, reading: TrainingReading, rng: np.random.Generator, augment: bool) -> tuple[Mesh, list[Mesh]]:
    """The artist's mesh and the proxies in the unit box, augmented alike."""
    linear = augmentation(rng) if augment else np.eye(3)
    turned = slice(None, None, -1 if np.linalg.det(linear) < 0 else 1)
    read_at = [proxy.vertices @ linear.T for proxy in reading.proxies]
    center, scale, shift = place(read_at[0], rng, augment)
    vertices = (mesh.vertices @ linear.T - center) * scale + shift
    proxies = [
        Mesh((at - center) * scale + shift, proxy.faces[:, turned])
        for at, proxy in zip(read_at, reading.proxies, strict=True)
    ]
    return Mesh(vertices, mesh.faces[:, turned]), proxies


@dataclass
class Sample:
    """One crop, as arrays; see `sample_of_mesh`."""

    tokens: np.ndarray  # (N,)
    targets: np.ndarray  # (N + LOOKAHEAD,)
    first: np.ndarray  # (N / 3 + 12,) first occurrence of each vertex in the mesh, in crop positions
    rows: np.ndarray | None  # (N, R, Q) uint8
    points: np.ndarray  # (P, 7) float32
    face_count: float

    def groups(self, config: ModelConfig) -> int:
        """Face groups that are used."""
        return -(-int((self.tokens != config.pad).sum()) // TOKENS_PER_FACE)


class MeshBatches(Dataset):
    """Micro-batch `number` of a run, as a dict of tensors. With no store, every shape is procedural."""

    def __init__(
        self, config: ModelConfig, data: DataConfig, store: MeshStore | None, keys: list[tuple[int, ReadingKey]],
        ledger: Ledger | None = None,
    ) -> None:  # fmt: skip
        """`keys` are the readings to draw from, the number of the mesh in `store` before each; a `ledger` tells which
        of them are there at each micro-batch, else each is made as it is needed."""
        self.config, self.data, self.store, self.keys, self.ledger = config, data, store, keys, ledger

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.data.seed, number))
        if self.ledger is not None:
            self._take(self.ledger.keys_at(number))
        return self._packed(rng) if self.data.packed else self._single(rng)

    def _take(self, keys: list[tuple[int, ReadingKey]]) -> None:
        """Draw from other readings; what is known of those before is forgotten where there are more now, or fewer."""
        if len(keys) != len(self.keys):
            self.__dict__.pop("groups", None)
            self.__dict__.pop("families", None)
        self.keys = keys

    def _packed(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Sequences of one length, each full of crops."""
        length = min(LANE, self.data.batch_tokens) // LANE_UNIT * LANE_UNIT
        lanes = []
        for _ in range(max(1, self.data.batch_tokens // length)):
            crops: list[Sample] = []
            room = length // TOKENS_PER_FACE
            while room >= SMALLEST_CROP and len(crops) < self.data.crops:
                sample = self._draw(rng, room * TOKENS_PER_FACE)
                if sample is not None:
                    crops.append(sample)
                    room -= sample.groups(self.config)
            lanes.append(crops)
        return collate_packed(lanes, length, self.data.crops, self.config)

    def _single(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """One crop a sequence, of meshes of about one size."""
        weights = np.array(self.data.length_weights)
        if self.store is not None and self.keys:
            weights = weights * np.array([len(group) > 0 for group in self.groups])
        bucket = int(rng.choice(len(weights), p=weights / weights.sum()))
        length = self.data.lengths[bucket]
        samples: list[Sample] = []
        while len(samples) < self.data.batch_tokens // length:
            sample = self._draw(rng, length, bucket)
            if sample is not None:
                samples.append(sample)
        return collate(samples)

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """The readings of each group of sizes."""
        counts = np.array([len(self.store.faces[number]) for number, _ in self.keys]) if self.store else np.zeros(0)
        edges = [0, *(length // TOKENS_PER_FACE - 1 for length in self.data.lengths)]
        edges[-1] = MAX_FACES
        return [np.flatnonzero((counts > low) & (counts <= high)) for low, high in pairwise(edges)]

    def _draw(self, rng: np.random.Generator, length: int, bucket: int | None = None) -> Sample | None:
        chance = rng.random()
        if self.store is None or chance < self.data.procedural:
            from training.shapes import random_shape

            mesh = random_shape(rng, max_faces=max(MIN_SHAPE, min(4 * length // TOKENS_PER_FACE, 800)))
            reading: TrainingReading | None = damaged_reading(mesh, rng)
        elif chance < self.data.procedural + self.data.damaged or not self.keys:
            number = int(rng.choice(self.plain))
            mesh = Mesh(self.store.vertices[number], self.store.faces[number])
            reading = damaged_reading(mesh, rng)
        else:
            number, key = self._key(rng, bucket)
            mesh = Mesh(self.store.vertices[number], self.store.faces[number])
            reading = load_reading(mesh, key, self.data.readings)
        return None if reading is None else sample_of_mesh(mesh, reading, self.config, self.data, rng, length)

    @cached_property
    def families(self) -> dict[str, list[tuple[int, ReadingKey]]]:
        """The readings of each kind of source."""
        found: dict[str, list[tuple[int, ReadingKey]]] = {}
        for number, key in self.keys:
            found.setdefault(key.family, []).append((number, key))
        return found

    @cached_property
    def plain(self) -> np.ndarray:
        """The meshes of which stand-ins are made: as large as those of readings may be."""
        assert self.store is not None
        counts = np.array([len(faces) for faces in self.store.faces])
        return np.flatnonzero(counts <= MAX_PLAIN)

    def _key(self, rng: np.random.Generator, bucket: int | None) -> tuple[int, ReadingKey]:
        """A reading: of a group of sizes, or of each kind of source as often as of the others."""
        if bucket is not None:
            return self.keys[int(rng.choice(self.groups[bucket]))]
        names = sorted(self.families)
        of_family = self.families[names[int(rng.integers(len(names)))]]
        return of_family[int(rng.integers(len(of_family)))]


LANE, LANE_UNIT = 2304, 144  # tokens of a packed sequence at most, and what they are a multiple of
SMALLEST_CROP = 16  # face groups; less room is left unused
MIN_SHAPE, MAX_PLAIN = 64, 800  # faces: of procedural shapes the least limit, of meshes without a reading the most
SHOWN = 4.0 / 128  # unit box: a face farther than this from the reading is inside the object
PLACEMENT_MARGIN = 0.01  # of the longest side, on either side; what the engine leaves around its samples
MOVED = 0.3  # chance that the candidates of a sample are moved once more, by up to half a bin


def wanted_mesh(mesh: Mesh, dense: Mesh, num_bins: int) -> CanonicalMesh:
    """What the model should write: the artist's mesh, rounded to bins, in the unit box.

    Faces that nothing in the source shows, such as walls inside, are left out. An open mesh faces as the reading does.
    """
    tree = TriangleTree.of_mesh(dense.vertices, dense.faces)
    triangles = mesh.vertices[mesh.faces]
    far, nearest = tree.nearest(triangles.mean(axis=1))
    shown = far < SHOWN
    a, b, c = np.moveaxis(dense.vertices[dense.faces[nearest]], 1, 0)
    read = np.cross(b - a, c - a)
    read /= np.maximum(np.linalg.norm(read, axis=1, keepdims=True), 1e-12)
    own = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    against = float(((own * read).sum(axis=1) * shown).sum()) < 0.0
    faces = mesh.faces[shown]
    return canonicalize(mesh.vertices, faces[:, ::-1] if against else faces, num_bins)


def moved_candidates(proxies: list[Mesh], num_bins: int, rng: np.random.Generator) -> list[Mesh]:
    """The proxies with all vertices moved by up to half a bin, sometimes."""
    if rng.random() >= MOVED:
        return proxies
    width = float(rng.uniform(0.0, 0.5)) / num_bins
    return [Mesh(proxy.vertices + rng.normal(0.0, width, proxy.vertices.shape), proxy.faces) for proxy in proxies]


def sample_of_mesh(
    mesh: Mesh, reading: TrainingReading, config: ModelConfig, data: DataConfig, rng: np.random.Generator, length: int
) -> Sample | None:
    """Augment, place, quantise and crop one mesh to at most `length` tokens; None if nothing is left of it.

    All that the model is shown comes from the `reading`, under the same augmentation.
    """
    augment = data.augment
    mesh, proxies = placed(mesh, reading, rng, augment)
    canonical = wanted_mesh(mesh, proxies[-1], config.num_bins)
    if not len(canonical.faces):
        return None
    surface = sample_surface(proxies[-1].vertices, proxies[-1].faces, data.surface_points, rng)
    read = rng.choice(len(surface.points), config.num_points, replace=False)
    channels = [surface.points[read], surface.normals[read], np.ones((len(read), 1))]
    written, wanted = written_mesh(canonical, data, rng) if augment else (canonical, face_tokens(canonical))
    groups = length // TOKENS_PER_FACE
    total = len(written.faces)
    start = 0 if total + 1 <= groups or rng.random() < 0.25 else int(rng.integers(1, max(1, total - groups) + 1))
    sample = crop(written, wanted, config, start, groups)
    if config.slice_rows:
        shown = moved_candidates(proxies, config.num_bins, rng) if augment else proxies
        sample.rows = rows_of_crop(shown, surface, written, config, data, rng, start, groups)
    sample.points = np.concatenate(channels, axis=1).astype(np.float32)
    sample.face_count = 0.0 if augment and rng.random() < 0.15 else float(len(canonical.faces))
    return sample


def written_mesh(mesh: CanonicalMesh, data: DataConfig, rng: np.random.Generator) -> tuple[CanonicalMesh, np.ndarray]:
    """What a model might write in the stead of `mesh`, and what is asked for after each prefix of it, (F, 9)."""
    own = own_mesh(mesh, rng) if rng.random() < data.own else None
    written = mesh if own is None else own.mesh
    wanted = face_tokens(written)
    if rng.random() < data.mistakes:
        written, wanted = make_mistakes(written, rng)
    return written, wanted if own is None else aims_of(written, wanted, own)


def rows_of_crop(
    proxies: list[Mesh], surface: SurfaceSamples, written: CanonicalMesh, config: ModelConfig, data: DataConfig,
    rng: np.random.Generator, start: int, groups: int,
) -> np.ndarray:  # fmt: skip
    """The slice rows of a crop, (9 * groups, R, Q) uint8; in training some candidates are not shown."""
    proxy, richer = proxies[0], proxies[1]
    places = assign_bins(proxy.vertices, config.num_bins)
    corners, shown = dequantize(places.bins, config.num_bins), 1.0
    if data.augment:
        shown = 0.0 if rng.random() < data.corner_dropout else float(rng.choice([1.0, 0.95, 0.8]))
        corners = corners[rng.random(len(corners)) < shown]
    context = SurfaceContext.of_samples(
        surface.points, surface.normals, corners, config.num_bins, proxy_bins=places.bins[proxy.faces]
    )
    if shown > 0.0:
        kept = rng.random(len(proxy.vertices) + len(richer.vertices)) < shown
        candidates = make_candidates(proxy.vertices, proxy.faces, richer.vertices, config.num_bins, kept)
        context = replace(context, candidates=candidates)
    rows = crop_rows(context, written, start, groups)
    return rows[:, : len(config.slice_rows)]


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


def collate_packed(lanes: list[list[Sample]], length: int, crops: int, config: ModelConfig) -> dict[str, torch.Tensor]:
    """Crops one after the other in sequences of `length` tokens; the conditions (B * crops, ...) are padded."""
    count, groups = len(lanes), length // TOKENS_PER_FACE
    tokens, targets = np.full((count, length), config.pad), np.full((count, length + LOOKAHEAD), IGNORE)
    rows = np.zeros((count, length, len(config.slice_rows), config.num_bins), dtype=np.uint8)
    points = np.zeros((count, crops, config.num_points, 7), dtype=np.float32)
    face_count = np.zeros((count, crops), dtype=np.float32)
    owner = np.full((count, groups), -1)
    for lane, samples in enumerate(lanes):
        at = 0
        for number, sample in enumerate(samples):
            used = sample.groups(config)
            part, own = slice(9 * at, 9 * (at + used)), slice(0, 9 * used)
            tokens[lane, part], targets[lane, part] = sample.tokens[own], sample.targets[own]
            if sample.rows is not None:
                rows[lane, part] = sample.rows[own]
            points[lane, number], face_count[lane, number] = sample.points, sample.face_count
            owner[lane, at : at + used] = number
            at += used
    batch = {
        "tokens": torch.from_numpy(tokens.astype(np.int64)), "targets": torch.from_numpy(targets.astype(np.int64)),
        "points": torch.from_numpy(points.reshape(-1, *points.shape[2:])),
        "face_count": torch.from_numpy(face_count.reshape(-1)), "crops": torch.from_numpy(owner.astype(np.int64)),
    }  # fmt: skip
    return batch | ({"rows": torch.from_numpy(rows)} if config.slice_rows else {})
