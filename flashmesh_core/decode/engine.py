"""The only door into the core: load a checkpoint, stream or generate meshes (DESIGN section 10)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch

from flashmesh_core.checkpoint import load_model
from flashmesh_core.config import ModelConfig, preset
from flashmesh_core.decode.grammar import Grammar, allowed_tokens
from flashmesh_core.decode.guidance import Guidance
from flashmesh_core.decode.sampling import choose, gumbel_noise
from flashmesh_core.decode.source import MARGIN, Source, prepare_source
from flashmesh_core.mesh.canonical import Mesh, canonicalize_bins, dequantize
from flashmesh_core.mesh.metrics import chamfer_distance, has_area, hausdorff_distance
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.model.cache import CachedDecoder
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.prefix import Prefix
from flashmesh_core.protocol import DEFAULT_GUIDANCE, MAX_FACES, MAX_SEED, OPTIONS
from flashmesh_core.slices import SliceCursor
from flashmesh_core.tokenizer import bos_prefix

DEFAULT_FACE_LIMIT = 2_000
MEASURED_SAMPLES = 5_000


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a generation can be asked for. Checked once, here, by protocol.OPTIONS; scalars of numpy are taken too.

    A ValueError names field, range and value.
    """

    faces: int | None = None  # wanted number of faces; None leaves it to the model
    seed: int = 0
    temperature: float = 0.5  # 0 is greedy
    surface: bool = True  # keep vertices near the input surface
    manifold: bool | None = None  # use a directed edge once; None: where the source does
    watertight: bool = False  # close every open edge before the end, where possible
    guidance: float = DEFAULT_GUIDANCE  # nats against faces off the surface that is still bare; 0 is off
    max_faces: int | None = None  # decoding ends here; None: 1.5 times the wanted number, else 2,000
    surface_tolerance: int | None = None  # bins; None: 1 around a mesh, more around sparse points

    def __post_init__(self) -> None:
        for option in fields(self):
            value = OPTIONS[option.name].check(option.name, getattr(self, option.name))
            object.__setattr__(self, option.name, value)

    @property
    def face_limit(self) -> int:
        """The number of faces at which decoding ends."""
        if self.max_faces is not None:
            return self.max_faces
        return DEFAULT_FACE_LIMIT if self.faces is None else min(MAX_FACES, self.faces * 3 // 2 + 32)


@dataclass(frozen=True, eq=False)
class GenerationEvent:
    """News of a generation: new faces, or its end."""

    kind: str  # "faces" or "end"
    faces: np.ndarray  # (k, 3, 3) float32: corners of the new faces in source scale and place
    n_faces: int  # of this candidate so far
    n_tokens: int
    seconds: float
    candidate: int = 0
    end_reason: str | None = None  # "eos", "face_limit" or "cancelled" at the end


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """A finished mesh in source scale and place, and how it came about.

    `chamfer` and `hausdorff` are distances to the source samples with the source's longest side as 1 (metrics.py).
    """

    mesh: Mesh
    end_reason: str
    n_tokens: int
    n_passes: int
    seconds: float
    seed: int
    candidate: int
    chamfer: float
    hausdorff: float

    @property
    def tokens_per_second(self) -> float:
        """Tokens of this candidate over the seconds its decoding took."""
        return self.n_tokens / self.seconds if self.seconds > 0 else 0.0

    @property
    def tokens_per_pass(self) -> float:
        """Tokens over forward passes; 1 for plain decoding."""
        return self.n_tokens / self.n_passes if self.n_passes else 0.0


@dataclass(eq=False)
class _Candidate:
    """One sequence of a lock-step batch."""

    number: int
    prefix: Prefix
    cursor: SliceCursor | None
    guidance: Guidance | None
    seed: int
    n_tokens: int = 0
    seconds: float = 0.0
    end_reason: str | None = None
    noise: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    noise_from: int = 0

    def noise_at(self, position: int, num_classes: int) -> np.ndarray:
        """The Gumbel noise of a position, made 256 positions at a time."""
        if not self.noise_from <= position < self.noise_from + len(self.noise):
            self.noise_from = position
            self.noise = gumbel_noise(self.seed, np.arange(position, position + 256), num_classes)
        return self.noise[position - self.noise_from]


class Engine:
    """A loaded model. Not for use from several threads at once; cancel from any thread through the event."""

    def __init__(self, model: Hourglass, name: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.config: ModelConfig = model.config

    @property
    def device(self) -> str:
        """Where the weights are, for example "cpu" or "cuda:0"."""
        return str(next(self.model.parameters()).device)

    @staticmethod
    def load(name_or_path: str | os.PathLike[str] = "nano", *, device: str = "auto") -> Engine:
        """A bundled name, a checkpoint folder or its safetensors file; device "auto" takes CUDA where there is one."""
        model = load_model(name_or_path, resolve_device(device))
        return Engine(model, model.config.name)

    @staticmethod
    def random(name: str = "debug", *, seed: int = 0) -> Engine:
        """A preset with random weights: for tests and measurements of speed."""
        torch.manual_seed(seed)
        return Engine(Hourglass(preset(name)), name)

    def stream(
        self,
        source: Mesh | np.ndarray,
        normals: np.ndarray | None = None,
        *,
        cancel: threading.Event | None = None,
        **options: object,
    ) -> Iterator[GenerationEvent]:
        """Generate one mesh and yield its faces as they are written, and last an event of kind "end".

        `source`: surface samples (N, 3) with `normals` (N, 3) or None (estimated), or a Mesh. `options` are the fields
        of `Options`. Raises ValueError for bad input before the first event. Setting `cancel` ends it within a pass.
        """
        checked = Options(**options)  # type: ignore[arg-type]
        prepared = self.prepare(source, normals, checked)
        candidates = self._candidates(prepared, checked, 1)
        yield from self._decode(prepared, checked, candidates, cancel)

    def generate(
        self,
        source: Mesh | np.ndarray,
        normals: np.ndarray | None = None,
        *,
        candidates: int = 1,
        on_event: Callable[[GenerationEvent], None] | None = None,
        cancel: threading.Event | None = None,
        **options: object,
    ) -> GenerationResult:
        """The best of `candidates` meshes by Chamfer distance to the source; candidate i has the seed `seed` + i.

        Options and errors as in `stream`. Candidates advance in lock-step; `on_event` gets the events of all of them.
        """
        return self.generate_all(source, normals, candidates=candidates, on_event=on_event, cancel=cancel, **options)[0]

    def generate_all(
        self,
        source: Mesh | np.ndarray,
        normals: np.ndarray | None = None,
        *,
        candidates: int = 1,
        on_event: Callable[[GenerationEvent], None] | None = None,
        cancel: threading.Event | None = None,
        **options: object,
    ) -> list[GenerationResult]:
        """As `generate`, but every candidate's result, the best first."""
        checked = Options(**options)  # type: ignore[arg-type]
        count = OPTIONS["candidates"].check("candidates", candidates)
        prepared = self.prepare(source, normals, checked)
        running = self._candidates(prepared, checked, count)
        for event in self._decode(prepared, checked, running, cancel):
            if on_event is not None:
                on_event(event)
        results = [self._result(prepared, candidate) for candidate in running]
        return sorted(results, key=lambda result: result.chamfer)

    def prepare(self, source: Mesh | np.ndarray, normals: np.ndarray | None, options: Options) -> Source:
        """Sample and normalise the source; see `prepare_source`."""
        return prepare_source(source, normals, self.config, seed=0, tolerance=options.surface_tolerance)

    def _candidates(self, source: Source, options: Options, count: int) -> list[_Candidate]:
        made = []
        for number in range(count):
            prefix = Prefix(self.config.num_bins)
            cursor = SliceCursor(source.context, prefix) if source.context is not None else None
            guidance = None
            if options.guidance > 0 and source.context is not None:
                guidance = Guidance(source.context, source.points, source.normals, prefix)
            seed = (options.seed + number) % (MAX_SEED + 1)
            made.append(_Candidate(number, prefix, cursor, guidance, seed))
        return made

    @torch.inference_mode()
    def _decode(
        self,
        source: Source,
        options: Options,
        candidates: Sequence[_Candidate],
        cancel: threading.Event | None,
    ) -> Iterator[GenerationEvent]:
        """Plain autoregressive decoding of a lock-step batch: one token a pass. The reference of every faster way."""
        config, device = self.config, self.device
        began = time.perf_counter()
        grammar = Grammar(
            num_bins=config.num_bins,
            surface=source.mask_grid if options.surface else None,
            manifold=source.is_manifold if options.manifold is None else options.manifold,
            closure=options.watertight,
        )
        points = torch.from_numpy(source.channels).to(device)[None]
        count = torch.tensor([float(options.faces or 0)], device=device)
        condition = self.model.encode(points, count).expand(len(candidates), -1, -1)
        decoder = CachedDecoder(self.model, condition)
        tokens = torch.from_numpy(bos_prefix(config.num_bins)).expand(len(candidates), -1).to(device)
        live = list(candidates)
        while live:
            position = decoder.length + tokens.shape[1]
            logits = decoder.extend(tokens, self._rows(candidates, tokens.shape[1]))[:, -1].float().cpu().numpy()
            chosen = np.zeros((len(candidates), 1), dtype=np.int64)
            for candidate in live:
                token = self._choose(candidate, logits[candidate.number], grammar, options, position)
                if token is None:
                    candidate.end_reason = "eos"
                else:
                    chosen[candidate.number] = token
                    candidate.n_tokens += 1
                    done = candidate.prefix.push(token)
                    if done:
                        yield self._event("faces", source, candidate, began)
                    if done and candidate.prefix.n_faces >= options.face_limit:
                        candidate.end_reason = "face_limit"
                if candidate.end_reason is None and cancel is not None and cancel.is_set():
                    candidate.end_reason = "cancelled"
                if candidate.end_reason is not None:
                    candidate.seconds = time.perf_counter() - began
                    yield self._event("end", source, candidate, began)
            live = [candidate for candidate in live if candidate.end_reason is None]
            tokens = torch.from_numpy(chosen).to(device)

    def _rows(self, candidates: Sequence[_Candidate], length: int) -> torch.Tensor | None:
        """Slice rows of the next token; positions before the last of a chunk are BOS and have none."""
        if candidates[0].cursor is None:
            return None
        names, bins = len(self.config.slice_rows), self.config.num_bins
        rows = np.zeros((len(candidates), length, names, bins), dtype=np.float32)
        for candidate in candidates:
            if candidate.end_reason is None and candidate.cursor is not None:
                rows[candidate.number, -1] = candidate.cursor.rows()
        return torch.from_numpy(rows).to(self.device)

    def _choose(
        self, candidate: _Candidate, logits: np.ndarray, grammar: Grammar, options: Options, position: int
    ) -> int | None:
        """The next token, or None at the end of the sequence."""
        allowed = allowed_tokens(grammar, candidate.prefix)
        if not allowed.any():
            return None
        if candidate.guidance is not None:
            logits = logits + candidate.guidance.bias(options.guidance)
        noise = candidate.noise_at(position, len(logits)) if options.temperature > 0 else None
        token = choose(logits, allowed, options.temperature, noise)
        return None if token == self.config.eos else token

    def _event(self, kind: str, source: Source, candidate: _Candidate, began: float) -> GenerationEvent:
        faces = np.zeros((0, 3, 3), dtype=np.float32)
        if kind == "faces":
            faces = self._corners(source, candidate, [candidate.prefix.last_face])
        return GenerationEvent(
            kind=kind, faces=faces, n_faces=candidate.prefix.n_faces, n_tokens=candidate.n_tokens,
            seconds=time.perf_counter() - began, candidate=candidate.number, end_reason=candidate.end_reason,
        )  # fmt: skip

    def _corners(self, source: Source, candidate: _Candidate, faces: list[tuple[int, int, int]]) -> np.ndarray:
        bins = np.array([[candidate.prefix.coordinates(key)[::-1] for key in face] for face in faces])
        corners = dequantize(bins.reshape(-1, 3), self.config.num_bins)
        return source.normalization.invert(corners).reshape(-1, 3, 3).astype(np.float32)

    def _result(self, source: Source, candidate: _Candidate) -> GenerationResult:
        keys = np.array(candidate.prefix.table.faces, dtype=np.int64).reshape(-1)
        size = self.config.num_bins
        bins = np.stack([keys % size, keys // size % size, keys // size**2], axis=1)
        canonical = canonicalize_bins(bins, np.arange(len(bins)).reshape(-1, 3), size)
        unit = canonical.dequantize()
        chamfer = hausdorff = float("inf")
        if has_area(unit.vertices, unit.faces):  # a mesh of slivers may have none once it is on the grid
            rng = np.random.default_rng(0)
            made = sample_surface(unit.vertices, unit.faces, MEASURED_SAMPLES, rng).points
            pick = rng.choice(len(source.points), min(MEASURED_SAMPLES, len(source.points)), replace=False)
            side = 1.0 + 2.0 * MARGIN  # the unit box holds the margin, the distances are over the longest side
            chamfer = chamfer_distance(source.points[pick], made) * side
            hausdorff = hausdorff_distance(source.points[pick], made) * side
        vertices = source.normalization.invert(unit.vertices).astype(np.float32)
        return GenerationResult(
            mesh=Mesh(vertices, canonical.faces), end_reason=candidate.end_reason or "cancelled",
            n_tokens=candidate.n_tokens, n_passes=candidate.n_tokens, seconds=candidate.seconds,
            seed=candidate.seed, candidate=candidate.number, chamfer=chamfer, hausdorff=hausdorff,
        )  # fmt: skip


def load(name_or_path: str | os.PathLike[str] = "nano", *, device: str = "auto") -> Engine:
    """See `Engine.load`."""
    return Engine.load(name_or_path, device=device)


def resolve_device(device: str) -> torch.device:
    """The torch device of a name; "auto" is CUDA where available, else the CPU. A ValueError says what can be had."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        available = ["auto", "cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
        raise ValueError(f"device must be one of {available}, got {device!r}") from error
    return resolved


__all__ = ["Engine", "GenerationEvent", "GenerationResult", "Options", "load", "resolve_device"]
