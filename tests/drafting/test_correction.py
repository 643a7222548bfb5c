"""The corrections by hand (the paper's Figure 4), and what holds for any stream."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashmesh_core.drafting.correction import (
    MODES,
    NO_LABEL,
    correct,
    correct_joint,
    correct_paper,
    likeliest,
    order_faces,
    snap_intra_batch,
    stream_labels,
)
from flashmesh_core.model.draft_heads import LABEL_HISTORICAL, LABEL_INTRA_BATCH, LABEL_NEW

H, N, I = LABEL_HISTORICAL, LABEL_NEW, LABEL_INTRA_BATCH  # noqa: E741
BINS = 64
EOS = BINS


def flat(*vertices: tuple[int, int, int]) -> np.ndarray:
    return np.array(vertices, dtype=np.int64).reshape(-1)


# Figure 4: three drafted triangles, their vertices numbered 1 to 9 as they are written. 1 and 2 lie on the blue
# triangles; 3 and 6 are new; 5 repeats 3 and hits it; 8 should be 6 and 9 should be 3, but both are displaced.
FIGURE_4 = {
    1: (10, 10, 10), 2: (10, 40, 10), 3: (40, 30, 12),
    4: (10, 40, 10), 5: (40, 30, 12), 6: (30, 50, 20),
    7: (10, 10, 30), 8: (31, 51, 19), 9: (41, 28, 13),
}  # fmt: skip
FIGURE_4_LABELS = np.array([H, H, N, H, I, N, H, I, I])


def test_figure_4_displaced_vertices_become_the_new_ones_they_repeat() -> None:
    stream = flat(*FIGURE_4.values())
    got = snap_intra_batch(stream, 0, FIGURE_4_LABELS, BINS)
    want = FIGURE_4 | {8: FIGURE_4[6], 9: FIGURE_4[3]}
    assert got.tolist() == flat(*want.values()).tolist()


def test_figure_4_and_then_the_faces_are_brought_to_order() -> None:
    """Behind a face that stands: (1, 2, 3), (7, 8, 9), (4, 5, 6) is the z-y-x order, since 1 < 7 < 4."""
    begun = flat((9, 1, 1), (9, 2, 2), (9, 3, 3))
    tokens = flat(*FIGURE_4.values())
    got = correct_paper(begun, tokens, np.concatenate([[NO_LABEL] * 3, FIGURE_4_LABELS]), BINS)
    corrected = FIGURE_4 | {8: FIGURE_4[6], 9: FIGURE_4[3]}
    assert got.tolist() == flat(*(corrected[k] for k in (1, 2, 3, 7, 8, 9, 4, 5, 6))).tolist()


def test_a_correction_may_change_which_vertex_is_the_lowest() -> None:
    """Rotated, not sorted: the winding survives."""
    a, b, c = (5, 5, 5), (6, 6, 6), (20, 20, 20)
    new, displaced = (2, 2, 2), (4, 4, 4)
    tokens = flat(a, b, new, b, c, displaced)  # the last one repeats `new`, at first in the last place
    got = correct_paper([], tokens, np.array([H, H, N, H, N, I]), BINS)
    assert got.tolist() == flat(new, a, b, new, b, c).tolist()


def test_a_vertex_with_a_twin_stays() -> None:
    twin, near = (10, 10, 10), (9, 10, 10)
    tokens = flat((1, 1, 1), near, twin, (2, 2, 2), (3, 3, 3), twin)
    labels = np.array([H, N, H, H, H, I])
    assert snap_intra_batch(tokens, 0, labels, BINS).tolist() == tokens.tolist()


def test_the_nearest_new_vertex_of_another_triangle_is_taken() -> None:
    """Not the nearest of all: that one is in its own triangle, or not new, or comes later."""
    far, near, own, later = (20, 20, 20), (12, 10, 10), (10, 10, 11), (10, 11, 10)
    tokens = flat((10, 10, 9), far, near, own, (10, 10, 10), (40, 40, 40), later, (50, 50, 50), (51, 51, 51))
    labels = np.array([H, N, N, N, I, H, N, H, H])
    got = snap_intra_batch(tokens, 0, labels, BINS).reshape(-1, 3)
    assert tuple(got[4]) == near
    assert np.flatnonzero((got != tokens.reshape(-1, 3)).any(axis=1)).tolist() == [4]


def test_without_a_new_vertex_nothing_is_moved() -> None:
    tokens = flat(*FIGURE_4.values())
    labels = np.where(FIGURE_4_LABELS == N, H, FIGURE_4_LABELS)
    assert snap_intra_batch(tokens, 0, labels, BINS).tolist() == tokens.tolist()


def test_faces_from_an_end_token_on_keep_their_place() -> None:
    low, high = flat((1, 1, 1), (2, 2, 2), (3, 3, 3)), flat((5, 1, 1), (6, 2, 2), (7, 3, 3))
    stream = np.concatenate([high, low, np.full(9, EOS), low])
    got, order = order_faces(stream, 0, BINS)
    assert got.tolist() == np.concatenate([low, high, np.full(9, EOS), low]).tolist()
    assert order.tolist() == [3, 4, 5, 0, 1, 2, 6, 7, 8, 9, 10, 11]


@st.composite
def streams(draw: st.DrawFn) -> dict[str, Any]:
    """A phase, drafts over few bins so that vertices repeat, and labels; in a part of them an end."""
    fixed = draw(st.integers(0, 9))
    count = draw(st.integers(0, 30))
    coordinate = st.integers(0, draw(st.integers(1, 8)))
    begun = draw(st.lists(coordinate, min_size=fixed, max_size=fixed))
    tokens = np.array(draw(st.lists(coordinate, min_size=count, max_size=count)), dtype=np.int64)
    if count and draw(st.booleans()):
        tokens[draw(st.integers(0, count - 1)) :] = EOS
    vertices = (fixed + count) // 3
    labels = draw(st.lists(st.integers(NO_LABEL, 2), min_size=vertices, max_size=vertices))
    return {"begun": begun, "tokens": tokens, "labels": np.array(labels, dtype=np.int64)}


def faces_of(begun: list[int], tokens: np.ndarray) -> list[list[tuple[int, ...]]]:
    """The complete faces that are drafted from their first coordinate on, up to an end token."""
    stream = np.concatenate([np.array(begun, dtype=np.int64), tokens])
    ends = np.flatnonzero(stream == EOS)
    stop = (int(ends[0]) if len(ends) else len(stream)) // 9 * 9
    start = -(-len(begun) // 9) * 9
    return [[tuple(vertex) for vertex in face.reshape(3, 3).tolist()] for face in stream[start:stop].reshape(-1, 9)]


@given(case=streams())
def test_paper_leaves_drafted_faces_in_order_and_the_face_begun_unmoved(case: dict[str, Any]) -> None:
    before = {name: np.array(value) for name, value in case.items()}
    got = correct_paper(**case, num_bins=BINS)
    assert all((before[name] == case[name]).all() for name in case), "the arguments were changed"
    faces = faces_of(case["begun"], got)
    assert all(face[0] == min(face) for face in faces)
    assert faces == sorted(faces)
    rest_of_the_face_begun = -len(case["begun"]) % 9
    assert got[:rest_of_the_face_begun].tolist() == case["tokens"][:rest_of_the_face_begun].tolist()
    assert ((got == EOS) == (case["tokens"] == EOS)).all()
    assert len(got) == len(case["tokens"])


@given(case=streams())
def test_ordering_keeps_faces_and_winding_and_says_where_each_vertex_was(case: dict[str, Any]) -> None:
    fixed = len(case["begun"])
    stream = np.concatenate([np.array(case["begun"], dtype=np.int64), case["tokens"]])
    got, order = order_faces(stream, fixed, BINS)
    count = len(order)
    assert got[: 3 * count].tolist() == stream[: 3 * count].reshape(-1, 3)[order].reshape(-1).tolist()
    assert got[3 * count :].tolist() == stream[3 * count :].tolist()
    turns = (order[: count // 3 * 3].reshape(-1, 3) % 3).tolist()
    assert all(turn in ([0, 1, 2], [1, 2, 0], [2, 0, 1]) for turn in turns)
    assert got[:fixed].tolist() == case["begun"]
    again, same = order_faces(got, fixed, BINS)
    assert again.tolist() == got.tolist() and same.tolist() == list(range(count))


@given(case=streams())
def test_snapping_twice_is_snapping_once_and_changes_intra_batch_vertices_alone(case: dict[str, Any]) -> None:
    fixed = len(case["begun"])
    stream = np.concatenate([np.array(case["begun"], dtype=np.int64), case["tokens"]])
    once = snap_intra_batch(stream, fixed, case["labels"], BINS)
    assert snap_intra_batch(once, fixed, case["labels"], BINS).tolist() == once.tolist()
    changed = np.flatnonzero(once != stream)
    assert (changed >= fixed).all()
    new = {tuple(v) for v, label in zip(stream.reshape(-1)[: len(case["labels"]) * 3].reshape(-1, 3).tolist(),
                                        case["labels"], strict=True) if label == N}  # fmt: skip
    for k in {int(n) // 3 for n in changed}:
        assert case["labels"][k] == I
        assert tuple(once[3 * k : 3 * k + 3].tolist()) in new


@given(case=streams())
def test_the_papers_correction_twice_is_once(case: dict[str, Any]) -> None:
    """With the labels moved along with their vertices, and no vertex left that has found no twin."""
    fixed = len(case["begun"])
    stream = np.concatenate([np.array(case["begun"], dtype=np.int64), case["tokens"]])
    snapped = snap_intra_batch(stream, fixed, case["labels"], BINS)
    vertices = [tuple(v) for v in snapped[: 3 * len(case["labels"])].reshape(-1, 3).tolist()]
    elsewhere = [vertices[: k // 3 * 3] + vertices[k // 3 * 3 + 3 :] for k in range(len(vertices))]
    alone = [v not in others for v, others in zip(vertices, elsewhere, strict=True)]
    labels = np.where(np.array(alone, dtype=bool) & (case["labels"] == I), H, case["labels"])
    once = correct_paper(case["begun"], case["tokens"], case["labels"], BINS)
    order = order_faces(snapped, fixed, BINS)[1]
    assert correct_paper(case["begun"], once, labels[order], BINS).tolist() == once.tolist()


def likely(*vertices: tuple[int, int, int], spread: float = 0.5) -> np.ndarray:
    """Distributions (3, BINS + 1) a vertex, peaked at its coordinates."""
    center = flat(*vertices)[:, None]
    density = np.exp(-spread * np.abs(np.arange(BINS + 1) - center))
    return (density / density.sum(axis=1, keepdims=True)).astype(np.float32)


def test_joint_takes_the_choice_that_is_likeliest_as_a_whole() -> None:
    """Coordinate by coordinate (10, 10, 10) wins; of the vertices that exist, (11, 11, 10) does."""
    choices = np.array([(10, 40, 40), (11, 11, 10), (10, 10, 30)])
    tokens = flat((10, 10, 10), (10, 10, 10), (50, 50, 50))
    got = correct_joint([], tokens, np.array([H, N, I]), likely(*tokens.reshape(-1, 3)), lambda before: choices)
    assert got.tolist() == flat((11, 11, 10), (10, 10, 10), (10, 40, 40)).tolist()


def test_joint_keeps_the_coordinates_that_stand() -> None:
    """The main token wrote z = 12: choices with another z are none, however likely their rest."""
    choices = np.array([(10, 20, 20), (12, 30, 30), (12, 22, 21)])
    tokens = np.array([20, 20, 33, 33, 33])
    probabilities = likely((0, 20, 20), (33, 33, 33))[1:]
    labels = np.array([H, N])
    got = correct_joint([12], tokens, labels, probabilities, lambda before: choices)
    assert got.tolist() == [22, 21, 33, 33, 33]
    got = correct_joint([13], tokens, labels, probabilities, lambda before: choices)
    assert got.tolist() == tokens.tolist()


def test_joint_asks_for_choices_after_what_it_has_corrected() -> None:
    asked = []

    def choices(before: np.ndarray) -> np.ndarray:
        asked.append(before.tolist())
        return np.array([(1 + len(before), 0, 0)])

    tokens = np.array([8, 9, 9, 9, 5, 5, 5])
    got = correct_joint([2, 3], tokens, np.array([I, H, NO_LABEL]), np.zeros((7, BINS + 1)), choices)
    assert got.tolist() == [8, 4, 0, 0, 5, 5, 5]  # (1, 0, 0) does not have the y that stands, so the first one stays
    assert asked == [[], [2, 3, 8]]


@given(case=streams(), seed=st.integers(0, 1000))
def test_joint_gives_choices_to_labelled_vertices_and_changes_nothing_else(case: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.random((len(case["tokens"]), BINS + 1)).astype(np.float32)

    def choices(before: np.ndarray) -> np.ndarray:
        return np.random.default_rng([seed, *before.tolist()]).integers(0, 5, (seed % 4, 3))

    got = correct_joint(**case, probabilities=probabilities, choices=choices)
    assert correct_joint(
        case["begun"], got, case["labels"], probabilities, choices
    ).tolist() == got.tolist()  # fmt: skip
    fixed = len(case["begun"])
    stream = np.concatenate([np.array(case["begun"], dtype=np.int64), got])
    changed = {fixed + int(n) for n in np.flatnonzero(got != case["tokens"])}
    for k in {n // 3 for n in changed}:
        assert case["labels"][k] in (H, I)
        assert stream[3 * k : 3 * k + 3].tolist() in choices(stream[: 3 * k]).tolist()


def test_a_row_without_a_prediction_counts_nothing() -> None:
    rows = np.zeros((3, 8))
    assert likeliest(rows, np.array([(1, 1, 1), (0, 0, 0)])) == 0
    rows[1, 2] = 1.0
    assert likeliest(rows, np.array([(1, 1, 1), (0, 2, 0), (7, 2, 7)])) == 1
    assert likeliest(rows, np.zeros((0, 3))) is None


def test_labels_of_the_heads_are_laid_along_the_stream() -> None:
    labels = {6: np.array([0.1, 0.7, 0.2]), 8: np.array([0.0, 0.4, 0.6]), 11: np.array([1.0, 0.0, 0.0])}
    assert stream_labels(labels, 6, 4).tolist() == [N, NO_LABEL, I, NO_LABEL]
    assert stream_labels(labels, 7, 5).tolist() == [NO_LABEL, I, NO_LABEL, NO_LABEL, H]


@given(case=streams())
def test_each_mode_by_name(case: dict[str, Any]) -> None:
    rest = {"probabilities": np.ones((len(case["tokens"]), BINS + 1)), "choices": lambda before: np.zeros((1, 3))}
    made = {mode: correct(mode, **case, **rest, num_bins=BINS).tolist() for mode in MODES}
    assert made["off"] == case["tokens"].tolist()
    assert made["paper"] == correct_paper(**case, num_bins=BINS).tolist()
    assert made["joint"] == correct_joint(**case, **rest).tolist()


def test_bad_input_is_named() -> None:
    tokens, labels = np.zeros(6, dtype=np.int64), np.zeros(2, dtype=np.int64)
    rows = np.ones((6, 4))

    def none(before: np.ndarray) -> np.ndarray:
        return np.zeros((0, 3))

    def refuses(message: str, call: Any) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()

    refuses("correction must be one of ('off', 'paper', 'joint'), got 'on'",
            lambda: correct("on", [], tokens, labels, rows, none, BINS))  # fmt: skip
    refuses("begun must hold 0 to 9 coordinates, got 10", lambda: correct_paper([0] * 10, tokens, labels, BINS))
    refuses("labels must have the shape (2,), got (3,)", lambda: correct_paper([], tokens, np.zeros(3), BINS))
    refuses("labels must be in [-1, 2], got 0 to 3", lambda: correct_paper([], tokens, np.array([0, 3]), BINS))
    refuses("probabilities must have the shape (6, C), got (5, 4)",
            lambda: correct_joint([], tokens, labels, rows[:5], none))  # fmt: skip
    refuses("choices must be in [0, 3], got 0 to 4", lambda: likeliest(rows[:3], np.array([(0, 4, 0)])))
    refuses("probabilities must have 2 rows, got 3", lambda: likeliest(rows[:3], np.array([(0, 0, 0)]), [1]))
