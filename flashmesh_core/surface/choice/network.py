"""Which candidates are the artist's vertices and where exactly these are, by a small graph network in numpy.

It was fitted to readings of real sources and the artists' meshes (`training/fit_choice.py`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from flashmesh_core.surface.choice.candidates import INPUTS, RELATION, Candidates
from flashmesh_core.surface.choice.features import BIN

CHOICE_FILE = Path(__file__).with_name("choice.npz")
ROUNDS = 3  # of messages
STEP = 0.1  # units, or ways, of an output of 1 along a direction
MOVES = 3  # directions, see features.directions


class Chosen(NamedTuple):
    """What the network says of N candidates."""

    odds: np.ndarray  # (N,) logarithms of the odds that one is the artist's, once it is moved
    moves: np.ndarray  # (N, 3) unit box


class ChoiceNetwork(NamedTuple):
    """The layers by their names, float32: `x_weight` (inputs, outputs) and, if it has one, `x_bias` (outputs,)."""

    layers: dict[str, np.ndarray]

    def choose(self, given: Candidates) -> Chosen:
        """The odds and the moves of all candidates."""
        count, told, teller = len(given.features), given.told, given.teller
        in_mesh = given.relations[:, -4] > 0
        means = [_mean_of(told[rows], len(told), count, rows) for rows in map(np.flatnonzero, (in_mesh, ~in_mesh))]
        state = self._apply("second", _rectified(self._apply("first", given.features)))
        for number in range(ROUNDS):
            seen = _rectified(state)
            message = self._messages(f"round{number}", seen, teller, told, given.relations)
            whole = np.broadcast_to(seen.mean(axis=0), seen.shape)
            mixed = np.concatenate([seen, *(mean @ message for mean in means), whole], axis=1)
            state = state + self._apply(f"round{number}_out", _rectified(self._apply(f"round{number}_mixed", mixed)))
        seen = _rectified(state)
        share = self._apply("share_out", self._messages("share", seen, teller, told, given.relations))
        moves = csr_matrix((share[:, 0], (told, np.arange(len(told)))), (count, len(told))) @ given.ways
        out = self._apply("out", _rectified(self._apply("hidden", seen)))
        steps = out[:, 1 : 1 + MOVES] * np.array([BIN, STEP * given.unit, STEP], dtype=np.float32)
        moves = moves + np.einsum("nk,nki->ni", steps, given.directions)
        snap = self._apply("snap", seen)[:, None] + given.snap_features @ self.layers["snap_features_weight"]
        moves = moves + (self._apply("snap_out", _rectified(snap)) * given.snaps).sum(axis=2)
        return Chosen(out[:, 0].astype(np.float64), moves.astype(np.float64))

    def _apply(self, name: str, values: np.ndarray) -> np.ndarray:
        return values @ self.layers[f"{name}_weight"] + self.layers[f"{name}_bias"]

    def _messages(
        self, name: str, seen: np.ndarray, teller: np.ndarray, told: np.ndarray, relations: np.ndarray
    ) -> np.ndarray:
        """What each message says (M, H)."""
        values = self._apply(f"{name}_relation", relations)
        values += (seen @ self.layers[f"{name}_teller_weight"])[teller]
        values += (seen @ self.layers[f"{name}_told_weight"])[told]
        return _rectified(values)


def _mean_of(told: np.ndarray, messages: int, count: int, rows: np.ndarray) -> csr_matrix:
    """The matrix (count, messages) that takes the mean of those messages, `rows`, that each candidate is told."""
    weights = 1.0 / np.maximum(np.bincount(told, minlength=count), 1)
    return csr_matrix((weights[told].astype(np.float32), (told, rows)), (count, messages))


def _rectified(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0.0)


@lru_cache(maxsize=1)
def load_choice_network() -> ChoiceNetwork:
    """The network that is shipped with the package.

    Raises ValueError where it was fitted to other features than these.
    """
    with np.load(CHOICE_FILE) as data:
        layers = {name: data[name].astype(np.float32) for name in data.files}
    sizes = len(layers["first_weight"]), len(layers["share_relation_weight"])
    if sizes != (INPUTS, RELATION):
        raise ValueError(
            f"{CHOICE_FILE.name} must take {INPUTS} and {RELATION} inputs, got {sizes[0]} and {sizes[1]}; "
            f"python training/fit_choice.py makes it anew"
        )
    return ChoiceNetwork(layers)
