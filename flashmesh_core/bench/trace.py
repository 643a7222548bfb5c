"""One decoding, watched from outside: what each pass was asked and what it took, and the scores of a chosen token."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from flashmesh_core.bench.settings import Setting
from flashmesh_core.decode import decoding
from flashmesh_core.decode.candidate import Candidate
from flashmesh_core.decode.engine import Engine, GenerationResult
from flashmesh_core.decode.source import Source
from flashmesh_core.options import Options
from flashmesh_core.token_choice import noisy_scores
from flashmesh_core.tokenizer import bos_prefix


class Pass(NamedTuple):
    """A candidate's part of one forward pass."""

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
    n_passes: int  # candidates' passes; more than forward passes where candidates share these
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
    """Notes every pass, and the scores of the watched token once it is chosen."""

    watch: tuple[int, int] | None  # candidate and token to look at
    found: threading.Event = field(default_factory=threading.Event)
    passes: list[Pass] = field(default_factory=list)
    seen: TopTwo | None = None

    def __call__(self, told: decoding.Pass) -> None:
        candidate, count = told.candidate, len(told.logits)
        self.passes.append(Pass(told.number, told.length, count, told.accepted, time.perf_counter()))
        if self.watch is None or self.watch[0] != told.index:
            return
        row = self.watch[1] + len(bos_prefix(candidate.num_bins)) - told.position
        if 0 <= row <= told.accepted:
            logits = told.logits[count - candidate.filled + row]
            self.seen = top_two(candidate, logits, row, told.position + row)
            self.found.set()


def top_two(candidate: Candidate, logits: np.ndarray, row: int, position: int) -> TopTwo:
    """The best two of row `row` of the last pass, at an absolute position; (C,) logits, as verification saw them."""
    buffers = candidate.buffers
    score = noisy_scores(
        logits, buffers.bias[row], buffers.allowed[row], candidate.temperature, candidate.seed, position
    )  # fmt: skip
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
    recorder = _Recorder(watch)
    running = engine.run(
        [source], options, candidates=candidates, drafting=setting.drafting,
        cancel=recorder.found if watch else None, on_pass=recorder,
    )  # fmt: skip
    first_face = None
    for event in running:
        if first_face is None and event.kind == "faces":
            first_face = time.perf_counter() - began
    return Run(
        tokens=[written(candidate) for candidate in running.candidates],
        end_reasons=[candidate.end_reason for candidate in running.candidates],
        result=min(running.results(), key=lambda result: result.distance),
        passes=recorder.passes,
        n_passes=sum(candidate.tally.passes for candidate in running.candidates),
        seconds=max(candidate.seconds for candidate in running.candidates),
        first_face=first_face,
        seen=recorder.seen,
    )


def written(candidate: Candidate) -> np.ndarray:
    """All coordinates that a candidate has written, (N,) int64."""
    faces = candidate.state.faces()[:, :, ::-1].reshape(-1).astype(np.int64)
    begun = candidate.state.table.begun[: candidate.state.n_tokens % 9].astype(np.int64)
    return np.concatenate([faces, begun])
