"""One growing mesh: what it proposes to the backbone in a pass, and what it accepts of the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from flashmesh_core.completion.holes import count_open_vertices, finish
from flashmesh_core.completion.mending import mend
from flashmesh_core.completion.repair import Repaired, repair
from flashmesh_core.decode.source import Source
from flashmesh_core.decode.verification import FACE_LIMIT, verify
from flashmesh_core.drafters import DRAFT_NOTHING
from flashmesh_core.drafting.buffers import Rules, make_buffers
from flashmesh_core.drafting.draft import draft
from flashmesh_core.drafting.scorer import Scorer
from flashmesh_core.jit import refer
from flashmesh_core.state.mesh_state import MeshState
from flashmesh_core.tokenizer import bos_prefix

CLOSING_REACH = 2.0  # bins from the surface within which gaps are closed before the proxy's faces are taken
NO_HEADS = np.zeros((0, 0), dtype=np.float32)
NOTHING_GIVEN = np.zeros(0, dtype=np.int64)


@dataclass(eq=False)
class Tally:
    """Counts of a candidate; `accepted_at[i]` passes accepted their draft i, `drafted_at[i]` made one."""

    tokens: int = 0
    passes: int = 0
    gave_up_closure: int = 0  # vertices for which closure left no place, or that watertight left on an open edge
    drafted_at: np.ndarray = field(default_factory=lambda: np.zeros(64, dtype=np.int64))
    accepted_at: np.ndarray = field(default_factory=lambda: np.zeros(64, dtype=np.int64))


class Candidate:
    """The state of one candidate between passes. `pending` is the main token, which the backbone has not seen yet."""

    def __init__(
        self, state: MeshState, scorer: Scorer, *, seed: int, temperature: float, width: int, num_rows: int,
        proxy_bins: np.ndarray,
    ) -> None:  # fmt: skip
        self.state, self.seed, self.temperature = state, seed, temperature
        rules = Rules(state.masks, state.coverage_guidance, state.max_faces, float(temperature), int(seed))
        self._rules = refer(rules)  # a named tuple itself takes longer to pass than a pass's own Python
        self.num_bins = state.surface.size
        self.num_rows = num_rows
        self.proxy_bins = proxy_bins  # see `Source`
        self.width = width
        self.buffers = make_buffers(width, self.num_bins, num_rows)
        self._scorer, self._buffers = refer(scorer), refer(self.buffers)
        self.tally = Tally()
        self.pending = -1
        self.filled = 0  # positions of the last proposal
        self._bos = len(bos_prefix(self.num_bins))
        self.length = 0  # tokens that the backbone has seen and that stand
        self.end_reason: str | None = None
        self.seconds = 0.0
        self.closing = np.zeros((0, 3, 3), dtype=np.int32)  # bins of the faces that covered and closed after the end
        self.repaired: Repaired | None = None

    @property
    def n_faces(self) -> int:
        """Complete faces, those that closed holes included."""
        return self.state.n_faces + len(self.closing)

    def faces(self, begin: int = 0) -> np.ndarray:
        """Bins (k, 3, 3) of all faces from number `begin` on, columns x, y, z; those that closed holes come last."""
        written = self.state.n_faces
        return np.concatenate([self.state.faces(min(begin, written)), self.closing[max(0, begin - written) :]])

    def close(self, limit: int) -> None:
        """Close all that is open, up to `limit` faces, if the mesh came to its own end."""
        if self.end_reason == "eos":
            self.closing = finish(self.state, self.proxy_bins, math.inf, limit)

    def repair(self, source: Source, limit: int | None, gate: bool = True) -> None:
        """Hold what was written against the proxy mesh and repair it from there; see `completion.repair`.

        Without the `gate` only what is broken is mended, and faces that fit the source stay; see `completion.mending`.
        A mesh without faces stays as it is, and so does one that was cancelled, that the user's `limit` of faces cut
        off, or whose repair would have more faces than that.
        """
        cut = self.end_reason == "cancelled" or (self.end_reason == "face_limit" and limit is not None)
        if cut or not self.state.n_faces:
            return
        repaired = self._gated(source) if gate else self._mended(source)
        if limit is None or len(repaired.bins) <= limit:
            self.repaired = repaired
            self.closing = repaired.bins[~repaired.decoded]

    def _gated(self, source: Source) -> Repaired:
        closing = finish(self.state, self.proxy_bins, CLOSING_REACH)
        proxy, size = self.proxy_bins.astype(np.int32), self.num_bins
        positions, noise = source.places.by_key(size), source.noise * size
        return repair(self.state.faces(), proxy, positions, size, closing, noise)

    def _mended(self, source: Source) -> Repaired:
        corners = source.places.positions_of(self.state.faces(), self.num_bins)
        return mend(
            self.state, self.proxy_bins, corners, source.surface.tree, noise=source.noise, closed=source.is_closed
        )

    def count_open(self) -> None:
        """Count the vertices on open edges of the finished mesh as given up."""
        faces = self.final_faces()[0]
        if len(faces):
            self.tally.gave_up_closure += count_open_vertices(faces)

    def final_faces(self) -> tuple[np.ndarray, np.ndarray]:
        """Bins (F, 3, 3) of the finished mesh and which of its faces the model wrote, (F,) bool."""
        if self.repaired is not None:
            return self.repaired.bins, self.repaired.decoded
        faces = self.faces()
        return faces, np.arange(len(faces)) < self.state.n_faces

    @property
    def first_position(self) -> int:
        """The absolute position of the token after the main one."""
        return self.length + 1 if self.length else self._bos

    def begun_with_main(self) -> np.ndarray:
        """The coordinates of the face begun, the main token included; all nine where it completes a face."""
        begun = self.state.table.begun
        count = int(self.state.table.n[0].begun)
        if count == 0 and self.state.n_faces:
            face = self.state.faces(self.state.n_faces - 1)
            return face[0, :, ::-1].reshape(-1).astype(np.int64)
        return begun[:count].copy()

    def propose(
        self, mode: int, min_confidence: float, heads: np.ndarray = NO_HEADS, given: np.ndarray = NOTHING_GIVEN
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The chunk of the next pass: the main token and drafts (N,), and their slice rows (N, R, Q) or None.

        Both are views, good until the next call. The first chunk begins with BOS. `heads` (P, C) are the distributions
        that the heads give the tokens after the main one.
        """
        width = 1 if mode == DRAFT_NOTHING else self.width
        self.buffers.plan[0] = mode, width, min_confidence, self.pending, self.first_position
        self.filled = draft(*self.state.references, self._scorer, self._buffers, self._rules, heads, given)
        tokens = self.buffers.tokens[: self.filled]
        rows = self.buffers.rows[: self.filled] if self.num_rows else None
        if self.length == 0:
            begin = bos_prefix(self.num_bins)
            tokens = np.concatenate([begin, tokens[1:]])
            if rows is not None:
                rows = np.concatenate([np.zeros((len(begin) - 1, *rows.shape[1:]), dtype=np.uint8), rows])
        return tokens, rows

    def verify(self, logits: np.ndarray) -> int:
        """Take the backbone's answer (N, C) to the last chunk, and return how many drafts stand.

        The backbone must then roll back to `length`.
        """
        tally = self.tally
        accepted, token, dropped = verify(
            *self.state.references, self._buffers, self._rules, logits[-self.filled :], self.first_position,
            tally.drafted_at, tally.accepted_at,
        )  # fmt: skip
        tally.passes += 1
        tally.tokens += accepted
        tally.gave_up_closure += dropped
        self.length = self.length + 1 + accepted if self.length else self._bos + accepted
        if token == FACE_LIMIT:
            self.end_reason = "face_limit"
        elif token < 0 or token == self.num_bins:
            self.end_reason = "eos"
        else:
            self.pending = token
            tally.tokens += 1
            if self.state.n_faces >= self.state.max_faces:
                self.end_reason = "face_limit"
        return accepted
