"""The learned heads as drafters of one candidate: their distributions, and their corrected tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flashmesh_core.decode.candidate import NO_HEADS, Candidate
from flashmesh_core.drafters import DRAFT_GIVEN, DRAFT_UNITED
from flashmesh_core.drafting.correction import correct, stream_labels
from flashmesh_core.drafting.heads import HeadDistributions, HeadSequence
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.options import Drafting
from flashmesh_core.runtime.decoder import Decoder
from flashmesh_core.token_choice import choose_token

BOS_VERTICES = 3


class HeadProposer:
    """Drafts of one candidate from the heads; `correction` turns distributions into tokens where it is not "off"."""

    def __init__(self, model: Hourglass, condition_SD: Tensor, drafting: Drafting, dtype: torch.dtype) -> None:
        self.correction = drafting.correction
        self.num_bins = model.config.num_bins
        self.heads = HeadSequence(
            model, condition_SD[None], face_tokens=drafting.face_tokens, vertex_tokens=drafting.vertex_tokens,
            coordinate_tokens=drafting.coordinate_tokens, fusion=drafting.fusion,
            after_face=drafting.after_face, skip_first=drafting.skip_first, dtype=dtype,
        )  # fmt: skip
        self.drafts: HeadDistributions | None = None

    def propose(
        self, candidate: Candidate, decoder: Decoder, number: int, mode: int, drafting: Drafting
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The chunk of the next pass, as `Candidate.propose`, with what the heads say."""
        probabilities = self.look(decoder, number, candidate.length)
        if mode == DRAFT_UNITED or self.correction == "off":
            return candidate.propose(mode, drafting.min_confidence, probabilities)
        given = self.tokens(candidate, probabilities)
        return candidate.propose(DRAFT_GIVEN, 0.0, given=given)

    def look(self, decoder: Decoder, number: int, length: int) -> np.ndarray:
        """The distributions (P, C) of the tokens after the main one; `length` tokens stand in the backbone."""
        if not length:
            return NO_HEADS
        self.heads.update(lambda level, begin, end: decoder.states(level, number, begin, end), length)
        self.drafts = self.heads.draft()
        return self.drafts.probabilities[self.drafts.levels.any(axis=1)]

    def tokens(self, candidate: Candidate, probabilities: np.ndarray) -> np.ndarray:
        """The drafts (P,): each level's likeliest tokens under the temperature and its noise, corrected."""
        count = min(len(probabilities), candidate.width - 1)
        if not count or self.drafts is None:
            return np.zeros(0, dtype=np.int64)
        log_p = np.log(probabilities[:count, : self.num_bins] + drafting_floor(self.num_bins))
        tokens = np.array([self._choose(candidate, row, position) for position, row in enumerate(log_p)])
        if self.correction == "off":
            return tokens
        begun = candidate.begun_with_main()
        stand = len(begun)
        first = BOS_VERTICES + 3 * (candidate.state.n_faces - (1 if stand == 9 else 0))
        labels = stream_labels(self.drafts.labels, first, (stand + count) // 3)
        return correct(
            self.correction, begun, tokens, labels, probabilities[:count], lambda stream: known_vertices(candidate),
            self.num_bins,
        )  # fmt: skip

    def _choose(self, candidate: Candidate, log_p: np.ndarray, position: int) -> int:
        any_bin, no_bias = np.ones(self.num_bins, dtype=np.bool_), np.zeros(self.num_bins, dtype=np.float32)
        temperature: Any = np.float32(candidate.temperature)
        return choose_token(log_p, no_bias, any_bin, temperature, candidate.seed, candidate.first_position + position)


def drafting_floor(num_bins: int) -> float:
    """A probability well below that of any sensible draft."""
    return 1e-3 / num_bins


def known_vertices(candidate: Candidate) -> np.ndarray:
    """The vertices (M, 3), z y x, with an open edge: what a repeated vertex may be."""
    table = candidate.state.table
    vertices = table.open_list[: table.n[0].open]
    return table.bins[vertices][:, ::-1].astype(np.int64)
