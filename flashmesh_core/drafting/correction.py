"""Correction of drafted tokens before the backbone verifies them (paper Sec. 3.2).

Every function looks at a stream of coordinates that begins at a face: first `begun`, the coordinates that stand (those
accepted of the face begun, and the main token), then the drafted `tokens`. Vertex k of the stream is its coordinates
3k to 3k + 2 in the order z, y, x, and face j its vertices 3j to 3j + 2. How many coordinates stand is the phase; they
are never changed. A correction only changes what is guessed, so decoding stays exact whatever it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flashmesh_core.model.draft_heads import LABEL_HISTORICAL, LABEL_INTRA_BATCH, LABEL_NEW, NUM_LABELS
from flashmesh_core.tokenizer import TOKENS_PER_FACE, TOKENS_PER_VERTEX

MODES = ("off", "paper", "joint")
NO_LABEL = -1
MIN_PROBABILITY = 1e-12  # below it choices are alike

# Gives the vertices (M, 3) that the next vertex may legally be, after the stream's coordinates so far (3k,).
Choices = Callable[[np.ndarray], np.ndarray]


def stream_labels(probabilities: Mapping[int, np.ndarray], first_vertex: int, count: int) -> np.ndarray:
    """The likeliest label of `count` vertices from the absolute vertex `first_vertex` on, (count,) int64.

    `probabilities` holds (3,) by absolute vertex, as in `HeadDistributions.labels`; a vertex without is NO_LABEL.
    """
    labels = np.full(count, NO_LABEL, dtype=np.int64)
    for vertex, label in probabilities.items():
        if first_vertex <= vertex < first_vertex + count:
            labels[vertex - first_vertex] = int(np.argmax(label))
    return labels


def correct(
    mode: str,
    begun: Sequence[int] | np.ndarray,
    tokens: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    choices: Choices,
    num_bins: int,
) -> np.ndarray:
    """The corrected tokens (P,) by a mode out of MODES; "off" returns them as they are."""
    if mode not in MODES:
        raise ValueError(f"correction must be one of {MODES}, got {mode!r}")
    if mode == "off":
        return np.array(tokens, dtype=np.int64)
    if mode == "paper":
        return correct_paper(begun, tokens, labels, num_bins)
    return correct_joint(begun, tokens, labels, probabilities, choices)


def correct_paper(
    begun: Sequence[int] | np.ndarray, tokens: np.ndarray, labels: np.ndarray, num_bins: int
) -> np.ndarray:
    """The paper's correction: `snap_intra_batch`, then `order_faces`; returns tokens (P,).

    `begun` 0 to 9 coordinates, `tokens` (P,), `labels` (V,) of the V vertices that the stream completes (NO_LABEL where
    none is known). A ValueError names what has another length or value.
    """
    stream, fixed = _stream(begun, tokens)
    _check_labels(labels, len(stream))
    stream = snap_intra_batch(stream, fixed, labels, num_bins)
    return order_faces(stream, fixed, num_bins)[0][fixed:]


def snap_intra_batch(stream: np.ndarray, fixed: int, labels: np.ndarray, num_bins: int) -> np.ndarray:
    """Move drafted intra-batch vertices that have no twin onto the nearest new vertex before them, (N,).

    A twin is an equal vertex of the stream in another triangle; the new vertex is one in another triangle, too. Of
    new vertices equally near the earliest is taken. `fixed` coordinates of `stream` (N,) stand.
    """
    stream = stream.copy()
    vertices = _vertices(stream)
    face = np.arange(len(vertices)) // 3
    real = np.all(vertices < num_bins, axis=1)
    for k in np.flatnonzero(labels[: len(vertices)] == LABEL_INTRA_BATCH):
        if TOKENS_PER_VERTEX * k < fixed or not real[k]:
            continue
        others = real & (face != face[k])
        distance = ((vertices - vertices[k]) ** 2).sum(axis=1)
        if (distance[others] == 0).any():
            continue
        sources = np.flatnonzero(others[:k] & (labels[:k] == LABEL_NEW))
        if len(sources):
            vertices[k] = vertices[sources[np.argmin(distance[sources])]]
    return stream


def order_faces(stream: np.ndarray, fixed: int, num_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Bring the drafted complete faces to z-y-x order: rotate each to its lowest vertex, then sort them.

    Returns the stream (N,) and where each of its complete vertices was before, (V,). A face of which a coordinate
    stands keeps its place and its rotation, as do an unfinished face and whatever follows an end token.
    """
    stream = stream.copy()
    vertices = _vertices(stream)
    order = np.arange(len(vertices))
    first = -(-fixed // TOKENS_PER_FACE)
    ends = np.flatnonzero(stream >= num_bins)
    last = (int(ends[0]) if len(ends) else len(stream)) // TOKENS_PER_FACE
    if last <= first:
        return stream, order
    rows = [tuple(row) for row in vertices.tolist()]
    faces = []
    for face in range(first, last):
        corners = [3 * face, 3 * face + 1, 3 * face + 2]
        rotations = [corners[turn:] + corners[:turn] for turn in range(3)]
        faces.append(min(rotations, key=lambda corner: [rows[k] for k in corner]))
    faces.sort(key=lambda corner: [rows[k] for k in corner])
    order[3 * first : 3 * last] = np.concatenate(faces)
    vertices[:] = vertices[order]
    return stream, order


def correct_joint(
    begun: Sequence[int] | np.ndarray,
    tokens: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    choices: Choices,
) -> np.ndarray:
    """Make each drafted vertex that is labelled historical or intra-batch the likeliest one it may be; tokens (P,).

    `begun`, `tokens` and `labels` as in `correct_paper`; `probabilities` (P, C) are the tokens' draft distributions.
    `choices` is asked for every such vertex in turn, with the corrected stream before it. See `likeliest`. A vertex
    of which coordinates stand takes a choice that has them too; without a choice it stays.
    """
    stream, fixed = _stream(begun, tokens)
    _check_labels(labels, len(stream))
    if probabilities.ndim != 2 or len(probabilities) != len(tokens):
        raise ValueError(f"probabilities must have the shape ({len(tokens)}, C), got {probabilities.shape}")
    vertices = _vertices(stream)
    for k in range(fixed // TOKENS_PER_VERTEX, len(vertices)):
        if labels[k] not in (LABEL_HISTORICAL, LABEL_INTRA_BATCH):
            continue
        at = TOKENS_PER_VERTEX * k
        known = max(0, fixed - at)
        found = choices(stream[:at].copy())
        rows = probabilities[at + known - fixed : at + TOKENS_PER_VERTEX - fixed]
        chosen = likeliest(rows, found, vertices[k, :known])
        if chosen is not None:
            vertices[k] = found[chosen]
    return stream[fixed:]


def likeliest(probabilities: np.ndarray, choices: np.ndarray, known: Sequence[int] | np.ndarray = ()) -> int | None:
    """Which of `choices` (M, 3) maximises log p(z) + log p(y) + log p(x), or None where none agrees with `known`.

    `known` are the vertex's leading coordinates that stand; `probabilities` (3 - len(known), C) are of the others, an
    all-zero row counting nothing. The first of equals wins. A ValueError names a coordinate outside [0, C - 1].
    """
    choices = np.asarray(choices, dtype=np.int64).reshape(-1, TOKENS_PER_VERTEX)
    count = len(known)
    if len(probabilities) != TOKENS_PER_VERTEX - count:
        raise ValueError(f"probabilities must have {TOKENS_PER_VERTEX - count} rows, got {len(probabilities)}")
    if not len(choices):
        return None
    if choices.min() < 0 or choices.max() >= probabilities.shape[1]:
        raise ValueError(
            f"choices must be in [0, {probabilities.shape[1] - 1}], got {choices.min()} to {choices.max()}"
        )
    agree = (choices[:, :count] == np.asarray(known, dtype=np.int64)).all(axis=1)
    if not agree.any():
        return None
    score = np.where(agree, 0.0, -np.inf)
    for row, column in zip(probabilities, choices.T[count:], strict=True):
        score += np.log(np.maximum(row[column], MIN_PROBABILITY))
    return int(score.argmax())


def _vertices(stream: np.ndarray) -> np.ndarray:
    """The complete vertices of a stream, a view (V, 3)."""
    return stream[: len(stream) // TOKENS_PER_VERTEX * TOKENS_PER_VERTEX].reshape(-1, TOKENS_PER_VERTEX)


def _stream(begun: Sequence[int] | np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, int]:
    """The stream and how many of its coordinates stand."""
    if len(begun) > TOKENS_PER_FACE:
        raise ValueError(f"begun must hold 0 to {TOKENS_PER_FACE} coordinates, got {len(begun)}")
    parts = [np.asarray(part, dtype=np.int64).reshape(-1) for part in (begun, tokens)]
    return np.concatenate(parts), len(begun)


def _check_labels(labels: np.ndarray, length: int) -> None:
    count = length // TOKENS_PER_VERTEX
    if np.shape(labels) != (count,):
        raise ValueError(f"labels must have the shape ({count},), got {np.shape(labels)}")
    if count and (labels.min() < NO_LABEL or labels.max() >= NUM_LABELS):
        raise ValueError(f"labels must be in [{NO_LABEL}, {NUM_LABELS - 1}], got {labels.min()} to {labels.max()}")
