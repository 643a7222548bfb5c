"""The only door into the core: load a checkpoint, stream or generate meshes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from flashmesh_core.checkpoint import load_model
from flashmesh_core.completion.holes import finish
from flashmesh_core.config import PRECISIONS, ModelConfig, preset
from flashmesh_core.decode.cancelling import UnreadError, unread_event, unread_results, until
from flashmesh_core.decode.candidate import Candidate
from flashmesh_core.decode.decoding import Chunk, Decoding, Pass
from flashmesh_core.decode.example import FACES, spindle
from flashmesh_core.decode.head_proposer import HeadProposer
from flashmesh_core.decode.results import GenerationEvent, GenerationResult
from flashmesh_core.decode.source import Source, prepare_source
from flashmesh_core.drafters import AUTO_DRAFTER, resolve_drafter
from flashmesh_core.drafting.scorer import load_scorer
from flashmesh_core.errors import InputError
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.options import OPTIONS, Drafting, Options
from flashmesh_core.runtime.cpu.decoder import FastDecoder, FastModel, pick_dtype
from flashmesh_core.runtime.cuda.decoder import StaticDecoder, StaticModel
from flashmesh_core.runtime.decoder import Decoder
from flashmesh_core.runtime.reference import TorchDecoder
from flashmesh_core.state.arrays import Surface, make_surface
from flashmesh_core.state.grammar import Grammar
from flashmesh_core.state.mesh_state import MeshState
from flashmesh_core.surface.denoising import Progress


class Engine:
    """A loaded model. Not for use from several threads at once; cancel from any thread through the event."""

    def __init__(self, model: Hourglass, name: str, precision: str = "auto") -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision must be one of {PRECISIONS}, got {precision!r}", field="precision")
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.config: ModelConfig = model.config
        self.precision = precision
        if precision == "int16" and self.device != "cpu":
            raise InputError(f"precision must not be 'int16' but on a CPU, got it on {self.device}", field="precision")
        self.scorer = load_scorer()

    @cached_property
    def fast(self) -> FastModel | None:
        """The weights as the CPU's kernels read them; None where torch runs the backbone."""
        if self.precision == "torch" or self.device != "cpu":
            return None
        return FastModel(self.model, pick_dtype() if self.precision == "auto" else self.precision)

    @cached_property
    def static(self) -> StaticModel | None:
        """The weights and graphs for a CUDA device; None elsewhere, and where torch runs the backbone."""
        if self.precision == "torch" or not self.device.startswith("cuda"):
            return None
        return StaticModel(self.model, self.precision)

    @property
    def arithmetic(self) -> str:
        """What the backbone's products are made of: "bf16", "int16" or "float32"."""
        if self.fast is not None:
            return self.fast.dtype
        return "float32" if self.static is None else self.static.precision

    @property
    def device(self) -> str:
        """Where the weights are, for example "cpu" or "cuda:0"."""
        return str(next(self.model.parameters()).device)

    def warm_up(
        self, using: Callable[..., Source] = prepare_source, drafters: Sequence[str] = (AUTO_DRAFTER, "none")
    ) -> None:
        """Compile what a generation runs: a minute or two the first time on a machine, then a second from the disk.

        `using` reads the source, as in `prepare`; where it does so in another process, that one compiles what reads.
        `drafters` are those of the generation that is to come.
        """
        source = self.warm_up_reading(using)
        for drafter in drafters:
            decoding = self.run([source], Options(max_faces=4, drafter=drafter)).run()
        decoding.results()  # measured
        finish(decoding.candidates[0].state, source.proxy_bins)  # a mesh cut off has holes, but they are left

    def warm_up_reading(self, using: Callable[..., Source] = prepare_source) -> Source:
        """Compile what reads a dense mesh, as in `warm_up`, and nothing else."""
        return self.prepare(spindle(), None, Options(faces=FACES), using=using)

    @staticmethod
    def load(name_or_path: str | os.PathLike[str] = "nano", *, device: str = "auto", precision: str = "auto") -> Engine:
        """A bundled name, a checkpoint folder or its safetensors file; device "auto" takes CUDA where there is one.

        `precision` on a CPU: "bf16", "int16" or "float32" weights, "auto" the fastest, or "torch", the reference.
        """
        model = load_model(name_or_path, resolve_device(device))
        return Engine(model, model.config.name, precision)

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
        drafting: Drafting | None = None,
        progress: Progress | None = None,
        **options: object,
    ) -> Iterator[GenerationEvent]:
        """Generate one mesh and yield its faces as they are written, and last an event of kind "end".

        `source`: surface samples (N, 3) with `normals` (N, 3) or None (estimated), or a Mesh. `options` are the fields
        of `Options`. Raises ValueError for bad input before the first event. Setting `cancel` ends it within a pass, or
        within a fraction of a second while the source is read: then the last event is the only one, without faces.
        Meanwhile `progress(stage, share)` is called several times a second; it may raise to cancel, too.
        """
        checked = Options.of(options)
        try:
            prepared = self.prepare(source, normals, checked, until(cancel, progress))
        except UnreadError:
            yield unread_event()
            return
        yield from self.run([prepared], checked, drafting=drafting, cancel=cancel)

    def generate(
        self,
        source: Mesh | np.ndarray,
        normals: np.ndarray | None = None,
        *,
        candidates: int = 1,
        on_event: Callable[[GenerationEvent], None] | None = None,
        cancel: threading.Event | None = None,
        drafting: Drafting | None = None,
        progress: Progress | None = None,
        **options: object,
    ) -> GenerationResult:
        """The best of `candidates` meshes by Chamfer distance to the source; candidate i has the seed `seed` + i.

        Options and errors as in `stream`. Candidates share each pass; `on_event` gets the events of all of them.
        """
        more: dict[str, Any] = {"candidates": candidates, "on_event": on_event, "cancel": cancel, **options}
        return self.generate_all(source, normals, progress=progress, drafting=drafting, **more)[0]

    def generate_all(
        self,
        source: Mesh | np.ndarray,
        normals: np.ndarray | None = None,
        *,
        candidates: int = 1,
        on_event: Callable[[GenerationEvent], None] | None = None,
        cancel: threading.Event | None = None,
        drafting: Drafting | None = None,
        progress: Progress | None = None,
        **options: object,
    ) -> list[GenerationResult]:
        """As `generate`, but every candidate's result, the best first."""
        checked = Options.of(options)
        count = OPTIONS["candidates"].check("candidates", candidates)
        try:
            prepared = self.prepare(source, normals, checked, until(cancel, progress), candidates=count)
        except UnreadError:
            for number in range(count):
                if on_event is not None:
                    on_event(unread_event(number))
            return unread_results(checked, count)
        decoding = self.run([prepared], checked, candidates=count, drafting=drafting, cancel=cancel)
        for event in decoding:
            if on_event is not None:
                on_event(event)
        return sorted(decoding.results(), key=lambda result: result.distance)

    def generate_batch(
        self,
        sources: Sequence[Mesh | np.ndarray],
        *,
        cancel: threading.Event | None = None,
        drafting: Drafting | None = None,
        **options: object,
    ) -> list[GenerationResult]:
        """One mesh for each of several sources, all in the same passes; each equals what `generate` makes of it.

        Setting `cancel` ends all of them as in `stream`; none has a face before every source is read.
        """
        if not len(sources):
            return []
        checked = Options.of(options)
        try:
            prepared = [self.prepare(source, None, checked, until(cancel, None)) for source in sources]
        except UnreadError:
            return unread_results(checked, 1) * len(sources)
        results = self.run(prepared, checked, drafting=drafting, cancel=cancel).run().results()
        return [replace(result, candidate=0) for result in results]

    def run(
        self,
        sources: Sequence[Source],
        options: Options,
        *,
        candidates: int = 1,
        drafting: Drafting | None = None,
        cancel: threading.Event | None = None,
        on_pass: Callable[[Pass], None] | None = None,
        gate: bool = True,
    ) -> Decoding:
        """A decoding of prepared sources, `candidates` of each, all in the same passes; it begins once iterated.

        Candidate i of a source has the seed `seed` + i. `on_pass` is told of every pass of every candidate.
        Without the `gate` a repair keeps what the model wrote wherever that fits; see `Candidate.repair`.
        """
        switches = drafting or Drafting()
        of = [source.of_candidate(number) for source in sources for number in range(candidates)]
        running = [candidate for source in sources for candidate in self._candidates(source, options, candidates)]
        return Decoding(of, options, running, lambda: self._begin(of, options, switches), cancel, on_pass, gate)

    def empty_state(self, source: Source, options: Options) -> MeshState:
        """The unfinished mesh of a prepared source before its first token."""
        return self._candidates(source, options, 1)[0].state

    def prepare(
        self, source: Mesh | np.ndarray, normals: np.ndarray | None, options: Options,
        progress: Progress | None = None, using: Callable[..., Source] = prepare_source, *, candidates: int = 1,
    ) -> Source:  # fmt: skip
        """Read, sample and normalise the source for so many candidates; see `prepare_source`, which `using` stands for.

        Touches no weights: unlike the rest of the engine it may run in another thread.
        """
        return using(
            source, normals, self.config, seeds=options.seeds(candidates), tolerance=options.surface_tolerance,
            faces=options.faces, keep_vertices=options.keep_vertices, clean_up=options.clean_up,
            progress=progress,
        )  # fmt: skip

    def _candidates(self, source: Source, options: Options, count: int) -> list[Candidate]:
        made: list[Candidate] = []
        rules: dict[int, tuple[Grammar, Surface]] = {}  # by the surface: candidates may share one
        for number, seed in enumerate(options.seeds(count)):
            of = source.of_candidate(number)
            if id(of) not in rules:
                rules[id(of)] = self._rules(of, options)
            grammar, surface = rules[id(of)]
            state = MeshState(
                surface, options.face_limit, on_surface=options.surface, manifold=grammar.manifold,
                closure=grammar.closure,
                coverage_guidance=options.coverage_guidance if of.context is not None else 0.0,
            )  # fmt: skip
            candidate = Candidate(
                state, self.scorer, seed=seed, width=options.width, temperature=options.temperature,
                num_rows=len(self.config.slice_rows), proxy_bins=of.proxy_bins,
            )  # fmt: skip
            made.append(candidate)
        return made

    def _rules(self, source: Source, options: Options) -> tuple[Grammar, Surface]:
        """What may follow in a mesh of a surface, and the arrays that this is looked up in."""
        grammar = Grammar(
            num_bins=self.config.num_bins,
            surface=source.mask_grid if options.surface else None,
            manifold=(options.watertight or source.is_manifold) if options.manifold is None else options.manifold,
            closure=options.watertight and not options.coverage_guidance,
        )
        arrays = make_surface(
            self.config.num_bins, grammar.surface, grammar.top_keys, source.context, source.points, source.normals,
            source.proxy_bins,
        )  # fmt: skip
        return grammar, arrays

    def _condition(self, sources: Sequence[Source], faces: int | None) -> torch.Tensor:
        """The condition tokens of every candidate, (B, S, D); candidates of one source share one encoding."""
        made: dict[int, torch.Tensor] = {}
        for source in sources:
            if id(source) not in made:
                points = torch.from_numpy(source.channels).to(self.device)[None]
                count = torch.tensor([float(faces or 0)], device=self.device)
                made[id(source)] = self.model.encode(points, count)[0]
        return torch.stack([made[id(source)] for source in sources])

    def _begin(
        self, sources: Sequence[Source], options: Options, drafting: Drafting
    ) -> tuple[Decoder, Callable[[int, Candidate], Chunk]]:
        """The backbone's decoder over the encoded sources, and what proposes the next chunk of a candidate."""
        with torch.inference_mode():  # not around what yields: entering it takes longer than a pass's own Python
            conditions = self._condition(sources, options.faces)
            decoder = self.make_decoder(conditions, options.width)
        drafter = resolve_drafter(options.drafter)
        if not drafter.uses_heads:
            return decoder, lambda index, candidate: candidate.propose(drafter.mode, drafting.min_confidence)
        dtype = torch.float32 if self.arithmetic == "float32" else torch.bfloat16
        heads = [HeadProposer(self.model, condition, drafting, dtype) for condition in conditions]
        return decoder, lambda index, candidate: heads[index].propose(candidate, decoder, index, drafter.mode, drafting)

    def make_decoder(self, conditions_BSD: torch.Tensor, width: int) -> Decoder:
        """The decoder of this engine's runtime over B sequences, for passes of at most `width` tokens."""
        if self.fast is not None:
            return FastDecoder(self.fast, conditions_BSD)
        if self.static is not None:
            return StaticDecoder(self.static, conditions_BSD, width)
        return TorchDecoder(self.model, conditions_BSD)


def load(name_or_path: str | os.PathLike[str] = "nano", *, device: str = "auto", precision: str = "auto") -> Engine:
    """See `Engine.load`."""
    return Engine.load(name_or_path, device=device, precision=precision)


def resolve_device(device: str) -> torch.device:
    """The torch device of a name; "auto" is CUDA where available, else the CPU. A ValueError says what can be had."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        available = ["auto", "cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
        raise InputError(f"device must be one of {available}, got {device!r}", field="device") from error
    return resolved


__all__ = ["Drafting", "Engine", "GenerationEvent", "GenerationResult", "Options", "load", "resolve_device"]
