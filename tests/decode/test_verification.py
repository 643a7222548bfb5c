"""Verification by hand: what stands of the drafts, which token comes after them, and what is rolled back."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.decode.verification import FACE_LIMIT, verify
from flashmesh_core.drafting.buffers import Rules, make_buffers
from flashmesh_core.state.arrays import make_surface
from flashmesh_core.state.masks import MASK_CLOSURE
from flashmesh_core.state.mesh_state import MeshState
from flashmesh_core.token_choice import choose_token, gumbel_noise
from tests.oracles.sampling import choose

BINS = 8
NO_BIAS = np.zeros(BINS + 1, dtype=np.float32)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
def test_a_token_is_the_plain_choice(temperature: float) -> None:
    rng = np.random.default_rng(3)
    for position in range(50):
        logits, bias = (8.0 * rng.standard_normal((2, BINS + 1))).astype(np.float32)
        allowed = rng.random(BINS + 1) < 0.6
        allowed[rng.integers(BINS + 1)] = True
        noise = gumbel_noise(5, np.array([position]), BINS + 1)[0]
        assert choose_token(logits, bias, allowed, np.float32(temperature), 5, position) == choose(
            logits + bias, allowed, temperature, noise
        )


def test_nothing_allowed_is_minus_one_and_a_tie_is_the_first() -> None:
    logits = np.zeros(BINS + 1, dtype=np.float32)
    assert choose_token(logits, NO_BIAS, np.zeros(BINS + 1, dtype=np.bool_), 1.0, 0, 0) == -1
    allowed = np.ones(BINS + 1, dtype=np.bool_)
    allowed[0] = False
    assert choose_token(logits, NO_BIAS, allowed, 0.0, 0, 0) == 1


def drafted(drafts: list[int], main: int = 1, max_faces: int = 5) -> tuple[MeshState, object]:
    """A state that holds a main token and drafts, and the buffers of that pass."""
    nothing = np.zeros((0, 3))
    surface = make_surface(BINS, None, (511, 510, 509), None, nothing, nothing)
    state = MeshState(surface, max_faces, on_surface=False, manifold=False, closure=False, coverage_guidance=0.0)
    buffers = make_buffers(18, BINS, 0)
    buffers.allowed[:] = True
    for place, token in enumerate([main, *drafts]):
        state.push(token)
        buffers.tokens[place] = token
    return state, buffers


def answer(state: MeshState, buffers: object, picks: list[int]) -> tuple[int, int, int]:
    """Verify with logits whose arg max are `picks`."""
    logits = np.zeros((len(picks), BINS + 1), dtype=np.float32)
    logits[np.arange(len(picks)), picks] = 1.0
    counts = np.zeros((2, 64), dtype=np.int64)
    rules = Rules(0, 0.0, state.max_faces, 0.0, 0)
    return verify(*state.references, buffers, rules, logits, 9, *counts)


@pytest.mark.parametrize(
    ("drafts", "picks", "accepted", "token"),
    [
        ([], [4], 0, 4),
        ([2, 3], [2, 3, 5], 2, 5),
        ([2, 3], [2, 4, 5], 1, 4),
        ([2, 3], [0, 3, 5], 0, 0),
        ([2, 3, 3, 2, 2, 4, 4, 4], [2, 3, 3, 2, 2, 4, 4, 4, 7], 8, 7),
    ],
)
def test_drafts_stand_up_to_the_first_wrong_one(drafts: list[int], picks: list[int], accepted: int, token: int) -> None:
    state, buffers = drafted(drafts)
    assert answer(state, buffers, picks) == (accepted, token, 0)
    standing = [1, *drafts[:accepted], token]
    assert state.n_tokens == len(standing)
    begun = state.table.begun[: len(standing) % 9].tolist()
    assert begun == standing[len(standing) // 9 * 9 :]


def test_the_end_and_the_face_limit_push_nothing() -> None:
    state, buffers = drafted([2, 3, 1, 2, 4, 1, 2, 5])
    assert answer(state, buffers, [2, 3, 1, 2, 4, 1, 2, 5, BINS]) == (8, BINS, 0)
    assert (state.n_tokens, state.n_faces) == (9, 1)
    state, buffers = drafted([2, 3, 1, 2, 4, 1, 2, 5], max_faces=1)
    assert answer(state, buffers, [2, 3, 1, 2, 4, 1, 2, 5, 3]) == (8, FACE_LIMIT, 0)
    assert (state.n_tokens, state.n_faces) == (9, 1)


def test_dropped_closure_counts_where_it_decided() -> None:
    state, buffers = drafted([2, 3])
    buffers.dropped[:] = MASK_CLOSURE  # the last two positions decide nothing: the first draft is wrong
    assert answer(state, buffers, [0, 3, 5])[2] == 1
