"""One decoding, watched from outside: what each pass was asked and what it took, and the scores of a chosen token."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from flashmesh_core.bench.settings import Setting
from flashmesh_core.decode.candidate import Sequence
from flashmesh_core.decode.engine import Engine, GenerationResult
from flashmesh_core.decode.source import Source
from flashmesh_core.options import Options
from flashmesh_core.token_choice import gumbel_noise
from flashmesh_core.tokenizer import bos_prefix


class Pass(NamedTuple):
    """A sequence's share in one forward pass."""

    number: int  # of the forward pass; candidates share them
    length: int  # tokens that the backbone had seen, BOS included
    given: int  # tokens of its chunk
    accepted: int  # drafts that stand
    ended: float  # perf_counter


class TopTwo(NamedTuple):
    """The two best tokens of a position, their scores in logits, noise included."""

    tokens: tuple[int, int]
    scores: tuple[float, float]


@dataclass(eq=False)
class Run:
    """A finished decoding of one source. Token arrays are what was written after BOS, z y x a vertex, without EOS."""

    tokens: list[np.ndarray]  # of each candidate
    end_reasons: list[str | None]
    result: GenerationResult  # of the best candidate
    passes: list[Pass]
    n_passes: int  # sequences' passes; more than forward passes where candidates share these
    seconds: float  # from the encoding to the last token
    first_face: float | None  # seconds from before the candidates were made
    seen: TopTwo | None = None

    @property
    def n_tokens(self) -> int:
        return sum(len(tokens) for tokens in self.tokens)

    @property
    def n_faces(self) -> int:
        return sum(len(tokens) // 9 for tokens in self.tokens)

    @property
    def loop_seconds(self) -> float:
        """From the end of the first forward pass to the end of the last one: no encoding, no prefill."""
        first = max(p.ended for p in self.passes if p.number == 0)
        return self.passes[-1].ended - first

    def loop_rows(self) -> list[tuple[int, int, int]]:
        """Rows of the coordinate, vertex and face level in each forward pass but the first."""
        rows: dict[int, list[int]] = {}
        for p in self.passes:
            if p.number:
                sums = rows.setdefault(p.number, [0, 0, 0])
                for level in range(3):
                    sums[level] += (p.length + p.given) // 3**level - p.length // 3**level
        return [(sums[0], sums[1], sums[2]) for sums in rows.values()]


@dataclass(eq=False)
class _Recorder:
    """Stands between the engine and its sequences' `settle`."""

    candidates: list[Sequence]
    watch: tuple[int, int] | None  # candidate and token to look at
    found: threading.Event = field(default_factory=threading.Event)
    passes: list[Pass] = field(default_factory=list)
    seen: TopTwo | None = None
    number: int = 0
    latest: int = -1

    def __post_init__(self) -> None:
        for index, candidate in enumerate(self.candidates):
            self._wrap(index, candidate)

    def _wrap(self, index: int, candidate: Sequence) -> None:
        original = candidate.settle

        def settle(logits: np.ndarray) -> int:
            length, count, asked = candidate.length, len(logits), candidate.first_asked
            kept = original(logits)
            if index <= self.latest:
                self.number += 1
            self.latest = index
            accepted = kept - length - (1 if length else count - candidate.filled + 1)
            self.passes.append(Pass(self.number, length, count, accepted, time.perf_counter()))
            if self.watch is not None and self.watch[0] == index:
                row = self.watch[1] + len(bos_prefix(candidate.num_bins)) - asked
                if 0 <= row <= accepted:
                    self.seen = top_two(candidate, logits[count - candidate.filled + row], row, asked + row)
                    self.found.set()
            return kept

        candidate.settle = settle  # type: ignore[method-assign]


def top_two(candidate: Sequence, logits: np.ndarray, row: int, position: int) -> TopTwo:
    """The best two of row `row` of the last pass, at an absolute position; (C,) logits, as verification saw them."""
    score = logits.astype(np.float64)
    if candidate.state.guidance > 0:
        score = score + candidate.buffers.bias[row]
    if candidate.temperature > 0:
        score = score + candidate.temperature * gumbel_noise(candidate.seed, np.array([position]), len(logits))[0]
    score = np.where(candidate.buffers.allowed[row], score, -np.inf)
    best, second = (int(token) for token in np.argsort(score)[:-3:-1])
    return TopTwo((best, second), (float(score[best]), float(score[second])))


def decode(
    engine: Engine,
    source: Source,
    options: Options,
    setting: Setting,
    *,
    candidates: int = 1,
    watch: tuple[int, int] | None = None,
) -> Run:
    """Decode `source`; with `watch` (candidate, token) only until that token is chosen; then its scores are `seen`."""
    began = time.perf_counter()
    running = engine._candidates(source, options, candidates)
    recorder = _Recorder(running, watch)
    first_face = None
    asked = [source] * candidates, [options] * candidates
    for event in engine._decode(*asked, running, setting.drafting, recorder.found if watch else None):
        if first_face is None and event.kind == "faces":
            first_face = time.perf_counter() - began
    results = [engine._result(source, number, candidate) for number, candidate in enumerate(running)]
    return Run(
        tokens=[written(candidate) for candidate in running],
        end_reasons=[candidate.end_reason for candidate in running],
        result=min(results, key=lambda result: result.chamfer),
        passes=recorder.passes,
        n_passes=sum(candidate.tally.passes for candidate in running),
        seconds=max(candidate.seconds for candidate in running),
        first_face=first_face,
        seen=recorder.seen,
    )


def written(candidate: Sequence) -> np.ndarray:
    """All coordinates that a sequence has written, (N,) int64."""
    faces = candidate.state.faces()[:, :, ::-1].reshape(-1).astype(np.int64)
    begun = candidate.state.table.begun[: candidate.state.n_tokens % 9].astype(np.int64)
    return np.concatenate([faces, begun])
