"""Candidates that are decoded together: propose, verify, report, pass after pass."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from flashmesh_core.decode.candidate import Candidate
from flashmesh_core.decode.results import GenerationEvent, GenerationResult, corners_of, make_result, mesh_of
from flashmesh_core.decode.source import Source
from flashmesh_core.options import Options
from flashmesh_core.runtime.decoder import Decoder

Chunk = tuple[np.ndarray, np.ndarray | None]  # tokens (N,), and their slice rows (N, R, Q) if the model reads any


@dataclass(frozen=True, eq=False)
class Pass:
    """One candidate's part of a forward pass, told right after it was verified; arrays are good until then."""

    number: int  # of the forward pass; candidates share them
    index: int  # of the candidate
    candidate: Candidate
    length: int  # tokens that the backbone had seen before, BOS included
    position: int  # the absolute position of the token after the main one
    logits: np.ndarray  # (N, C): the backbone's answer to the chunk of N tokens
    accepted: int  # drafts that stand


class Decoding:
    """Iterate once for the events; then `candidates` hold what was written, and `results` makes meshes of it.

    `begin` encodes the sources and returns the backbone's decoder and what proposes a candidate's next chunk; its time
    is part of every candidate's. Setting `cancel` ends all candidates within a pass. `gate`: see `Candidate.repair`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        options: Options,
        candidates: Sequence[Candidate],
        begin: Callable[[], tuple[Decoder, Callable[[int, Candidate], Chunk]]],
        cancel: threading.Event | None = None,
        on_pass: Callable[[Pass], None] | None = None,
        gate: bool = True,
    ) -> None:
        self.sources, self.options, self.candidates = sources, options, candidates
        self._begin, self._cancel, self._on_pass = begin, cancel, on_pass
        self._gate = gate
        self._reported = [0] * len(candidates)

    def __iter__(self) -> Iterator[GenerationEvent]:
        """Events of kind "faces" as faces are written, "end" once a candidate is."""
        for events in self.passes():
            yield from events

    def passes(self) -> Iterator[list[GenerationEvent]]:
        """Draft and verify pass after pass; the events of each. Between two, other work may use the engine."""
        began = time.perf_counter()
        decoder, propose = self._begin()
        for number in itertools.count():
            running = [index for index, candidate in enumerate(self.candidates) if candidate.end_reason is None]
            if not running:
                return
            events: list[GenerationEvent] = []
            if self._cancel is not None and self._cancel.is_set():
                for index in running:
                    self.candidates[index].end_reason = "cancelled"
                    events.append(self._event("end", index))
                yield events
                return
            chunks: list[Chunk | None] = [None] * len(self.candidates)
            for index in running:
                chunks[index] = propose(index, self.candidates[index])
            answers = decoder.extend(*_separate(chunks))
            for index in running:
                self._verify(number, index, answers[index])
                candidate = self.candidates[index]
                decoder.truncate(index, candidate.length)
                candidate.seconds = time.perf_counter() - began
                if candidate.n_faces > self._reported[index]:
                    events.append(self._event("faces", index))
                    self._reported[index] = candidate.n_faces
                if candidate.end_reason is not None:
                    events.append(self._event("end", index))
            yield events

    def run(self) -> Decoding:
        """Decode to the end, without looking at events."""
        for _ in self:
            pass
        return self

    def results(self) -> list[GenerationResult]:
        """The meshes of all candidates in their order, measured against their sources."""
        return [self.result(index) for index in range(len(self.candidates))]

    def result(self, index: int) -> GenerationResult:
        """The mesh of candidate number `index`, measured against its source."""
        return make_result(self.sources[index], index, self.candidates[index], self.options.faces)

    def _verify(self, number: int, index: int, logits: np.ndarray) -> None:
        """Take the backbone's answer, tell `on_pass`, and complete a mesh that ends."""
        candidate = self.candidates[index]
        length, position = candidate.length, candidate.first_position
        accepted = candidate.verify(logits)
        if self._on_pass is not None:
            self._on_pass(Pass(number, index, candidate, length, position, logits, accepted))
        if candidate.end_reason is not None:
            self._complete(self.sources[index], candidate)

    def _complete(self, source: Source, candidate: Candidate) -> None:
        """What happens after the last token: repair from the proxy, or closing where the source itself is open."""
        if self.options.watertight and not source.is_closed:
            candidate.close(self.options.closing_limit)
        elif self.options.fill_holes or self.options.watertight:
            candidate.repair(source, self.options.max_faces, self._gate)
        if self.options.watertight:
            candidate.count_open()

    def _event(self, kind: str, index: int) -> GenerationEvent:
        source, candidate = self.sources[index], self.candidates[index]
        ended = kind == "end"
        return GenerationEvent(
            kind=kind, faces=corners_of(source, candidate, self._reported[index]),
            n_faces=len(candidate.final_faces()[0]) if ended else candidate.n_faces,
            n_tokens=candidate.tally.tokens, seconds=candidate.seconds, candidate=index,
            end_reason=candidate.end_reason if ended else None, mesh=mesh_of(source, candidate) if ended else None,
        )  # fmt: skip


def _separate(
    chunks: Sequence[Chunk | None],
) -> tuple[list[np.ndarray | None], list[np.ndarray | None] | None]:
    """Tokens and slice rows of the candidates apart; None instead of rows where there are none."""
    tokens = [None if chunk is None else chunk[0] for chunk in chunks]
    rows = [None if chunk is None else chunk[1] for chunk in chunks]
    return tokens, None if all(row is None for row in rows) else rows
