"""A static half-edge structure of triangle faces: who is opposite, what is open, what is not manifold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canonical import check_faces

NO_TWIN = -1


@dataclass(frozen=True, eq=False)
class HalfEdges:
    """Half-edge h = 3 * face + corner runs from that corner of the face to the next one, so H = 3 F.

    An edge is an unordered vertex pair; E of them are in use. All arrays are int64 unless said otherwise.
    """

    origin: np.ndarray  # (H,) vertex where the half-edge starts
    target: np.ndarray  # (H,) vertex where it ends
    twin: np.ndarray  # (H,) the half-edge the other way, NO_TWIN where there is none or more than one choice
    edge: np.ndarray  # (H,) row of `edges`
    edges: np.ndarray  # (E, 2) vertex pairs, lower index first, sorted
    face_count: np.ndarray  # (E,) number of faces at the edge
    forward_count: np.ndarray  # (E,) how many of them run from the lower to the higher vertex

    @property
    def face(self) -> np.ndarray:
        """(H,) the face a half-edge belongs to."""
        return np.arange(len(self.origin)) // 3

    @property
    def next(self) -> np.ndarray:
        """(H,) the half-edge that follows in the same face."""
        h = np.arange(len(self.origin))
        return h - h % 3 + (h + 1) % 3

    @property
    def previous(self) -> np.ndarray:
        """(H,) the half-edge that goes before in the same face."""
        h = np.arange(len(self.origin))
        return h - h % 3 + (h + 2) % 3

    @property
    def edge_is_boundary(self) -> np.ndarray:
        """(E,) bool: exactly one face lies at the edge."""
        return self.face_count == 1

    @property
    def edge_is_flipped(self) -> np.ndarray:
        """(E,) bool: exactly two faces meet and run along it the same way, so their windings disagree."""
        return (self.face_count == 2) & (self.forward_count != 1)

    @property
    def edge_is_branching(self) -> np.ndarray:
        """(E,) bool: more than two faces meet, so the surface branches."""
        return self.face_count > 2

    def face_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The faces that meet at each edge with exactly two of them: pairs (P, 2), flipped (P,) bool."""
        paired = np.flatnonzero(self.face_count[self.edge] == 2)
        pairs = paired[np.argsort(self.edge[paired], kind="stable")].reshape(-1, 2)
        return pairs // 3, self.edge_is_flipped[self.edge[pairs[:, 0]]]


def build_half_edges(faces: np.ndarray, n_vertices: int | None = None) -> HalfEdges:
    """The half-edge structure of `faces` (F, 3), in O(F log F) without Python loops.

    `n_vertices` bounds the indices where it is given. Raises ValueError for wrong shapes or types, indices
    out of range, and faces that name a vertex twice (remove them first; `degenerate_faces` finds them).
    """
    if n_vertices is None:
        n_vertices = int(np.max(faces)) + 1 if np.size(faces) else 0
    faces = check_faces("faces", faces, n_vertices)
    bad = int(degenerate_faces(faces).sum())
    if bad:
        raise ValueError(f"faces must name three different vertices each, got {bad} that name one twice")
    origin: np.ndarray = faces.ravel()
    target: np.ndarray = np.roll(faces, -1, axis=1).ravel()
    low, high = np.minimum(origin, target), np.maximum(origin, target)
    span = max(n_vertices, 1)
    keys, edge, face_count = np.unique(low * span + high, return_inverse=True, return_counts=True)
    edge = edge.reshape(-1).astype(np.int64)
    forward_count = np.bincount(edge, weights=origin < target, minlength=len(keys)).astype(np.int64)
    edges = np.stack([keys // span, keys % span], axis=1)

    twin = np.full(len(origin), NO_TWIN, dtype=np.int64)
    simple = (face_count == 2) & (forward_count == 1)
    members = np.flatnonzero(simple[edge])
    pairs = members[np.argsort(edge[members], kind="stable")].reshape(-1, 2)
    twin[pairs[:, 0]], twin[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    return HalfEdges(origin, target, twin, edge, edges, face_count.astype(np.int64), forward_count)


def degenerate_faces(faces: np.ndarray) -> np.ndarray:
    """(F,) bool: the face names a vertex twice. `faces` (F, 3)."""
    a, b, c = np.asarray(faces).T
    return (a == b) | (b == c) | (c == a)
