"""Meshes as a model might have begun them: other places, diagonals and vertices than the artist's, and kept to.

A model that writes alone puts many vertices a bin or more beside the artist's, where nothing tells it better, and cuts
some quads the other way. What it must learn is to go on from what it has written: to close the faces over the vertices
that are there. So a whole mesh is changed, and the model is shown its own consistent prefix. It is asked for the
artist's place where a vertex is first written, for the changed one ever after, and for nothing in the first face of
a changed cut. (The exposure bias of teacher forcing: Ross et al. 2011, DAgger; Bengio et al. 2015.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.mesh.canonical import CanonicalMesh, vertex_keys
from flashmesh_core.tokenizer import face_tokens, first_occurrence
from training.mistakes import IGNORE

MOVED = (0.0, 0.05, 0.15, 0.4, 0.8)  # shares of vertices that are moved
STEPS, STEP_WEIGHTS = (1, 2, 3, 6), (0.7, 0.15, 0.1, 0.05)  # bins an axis at most
TURNED = (0.0, 0.0, 0.1, 0.3)  # shares of flat edges that are turned
JOINED = (0.0, 0.0, 0.05, 0.15)  # shares of vertices that are joined to a neighbour
SPLIT = (0.0, 0.0, 0.03, 0.1)  # shares of edges that get a vertex of their own
FLAT = 0.97  # cosine of the angle between the faces of a flat edge, at least


@dataclass(frozen=True, eq=False)
class OwnMesh:
    """A changed mesh: `artist` (V, 3) are the places of its vertices before, `change` (F,) the number of the change
    that made each face, -1 for the artist's faces."""

    mesh: CanonicalMesh
    artist: np.ndarray
    change: np.ndarray


def own_mesh(mesh: CanonicalMesh, rng: np.random.Generator) -> OwnMesh:
    """A mesh as a model might write it in the artist's stead."""
    faces = _Faces(mesh.vertices.tolist(), mesh.faces.tolist())
    faces.join_vertices(float(rng.choice(JOINED)), rng)
    faces.turn_edges(float(rng.choice(TURNED)), rng)
    faces.split_edges(float(rng.choice(SPLIT)), rng)
    before = np.array(faces.vertices)
    after = moved_vertices(before, float(rng.choice(MOVED)), mesh.num_bins, rng)
    return _in_order(before, after, np.array(faces.faces), np.array(faces.change), mesh.num_bins)


def moved_vertices(bins: np.ndarray, share: float, num_bins: int, rng: np.random.Generator) -> np.ndarray:
    """A share of vertices (V, 3) moved by a bin or a few, none to where another is or was."""
    reach = rng.choice(STEPS, size=(len(bins), 1), p=STEP_WEIGHTS)
    step = rng.integers(-reach, reach + 1, size=bins.shape) * (rng.random(bins.shape) < 0.6)
    moved = np.where(rng.random((len(bins), 1)) < share, np.clip(bins + step, 0, num_bins - 1), bins)
    keys = vertex_keys(np.concatenate([moved, bins]), num_bins)
    own, counts = np.unique(keys, return_counts=True)
    used = counts[np.searchsorted(own, keys[: len(bins)])]
    still = (moved == bins).all(axis=1)
    return np.where((used > 1 + still)[:, None], bins, moved)


def aims_of(written: CanonicalMesh, wanted: np.ndarray, own: OwnMesh) -> np.ndarray:
    """The targets (F, 9) of a written mesh whose right faces are those of `own`; see the top of the file.

    `wanted` are those of the same with mistakes, IGNORE after each; see mistakes.py.
    """
    bins, wanted = own.mesh.num_bins, wanted.copy()
    tokens = face_tokens(written)
    right = (wanted == tokens).all(axis=1)
    keys = vertex_keys(written.vertices, bins)[written.faces]
    numbers = np.arange(keys.size).reshape(-1, 3)
    first = (first_occurrence(keys.reshape(-1)).reshape(-1, 3) == numbers) & right[:, None]
    before = vertex_keys(own.artist, bins)
    artist = dict(zip(vertex_keys(own.mesh.vertices, bins).tolist(), before.tolist(), strict=True))
    places = np.array([[artist.get(key, key) for key in face] for face in keys.tolist()]).reshape(-1, 3)
    aims = np.stack([places // bins**2, places // bins % bins, places % bins], axis=-1)
    lowest = np.repeat(keys[:, :1], 3, axis=1)  # nothing else may be said by the order
    lowest[:, 0] = np.concatenate([[0], keys[:-1, 0]])
    aims = np.where((places >= lowest)[..., None], aims, IGNORE)
    by_slot = wanted.reshape(-1, 3, 3)
    by_slot[first] = aims[first]
    own_faces = map(tuple, vertex_keys(own.mesh.vertices, bins)[own.mesh.faces].tolist())
    change = dict(zip(own_faces, own.change.tolist(), strict=True))
    begun = {-1}
    for face, key in enumerate(map(tuple, keys.tolist())):
        number = change.get(key, -1)
        if number not in begun:
            begun.add(number)
            wanted[face] = IGNORE
    return wanted


def _in_order(
    before: np.ndarray, after: np.ndarray, faces: np.ndarray, change: np.ndarray, num_bins: int
) -> OwnMesh:  # fmt: skip
    """Vertices and faces in canonical order, those that no face uses left out."""
    used = np.unique(faces)
    order = used[np.argsort(vertex_keys(after[used], num_bins), kind="stable")]
    rank = np.zeros(len(after), dtype=np.int64)
    rank[order] = np.arange(len(order))
    faces = rank[faces]
    lowest = faces.argmin(axis=1)
    faces = np.stack([faces[np.arange(len(faces)), (lowest + k) % 3] for k in range(3)], axis=1)
    by_order = np.lexsort(faces.T[::-1])
    return OwnMesh(CanonicalMesh(after[order], faces[by_order], num_bins), before[order], change[by_order])


class _Faces:
    """Faces that are changed one after the other; an edge that more than two faces share is left alone."""

    def __init__(self, vertices: list[list[int]], faces: list[list[int]]) -> None:
        self.vertices, self.faces = vertices, faces
        self.change = [-1] * len(faces)
        self.changes = 0
        self.places = set(map(tuple, vertices))

    def _edges(self) -> dict[tuple[int, int], int]:
        """The face that each directed edge belongs to; -1 if there are several."""
        found: dict[tuple[int, int], int] = {}
        for number, (a, b, c) in enumerate(self.faces):
            for edge in ((a, b), (b, c), (c, a)):
                found[edge] = -1 if edge in found else number
        return found

    def _normal(self, face: list[int]) -> np.ndarray:
        a, b, c = (np.array(self.vertices[corner], dtype=np.float64) for corner in face)
        return np.cross(b - a, c - a)

    def _set(self, number: int, face: list[int]) -> None:
        self.faces[number], self.change[number] = face, self.changes

    def turn_edges(self, share: float, rng: np.random.Generator) -> None:
        """The other diagonal in a share of the flat quads that two faces make."""
        edges = self._edges() if share else {}
        done: set[int] = set()
        for (a, b), number in list(edges.items()):
            other = edges.get((b, a), -1)
            if a > b or number < 0 or other < 0 or rng.random() >= share or not done.isdisjoint((number, other)):
                continue
            c = _third(self.faces[number], a, b)
            d = _third(self.faces[other], a, b)
            if c == d or (c, d) in edges or (d, c) in edges:
                continue
            old = [self._normal(self.faces[number]), self._normal(self.faces[other])]
            new = [self._normal([a, d, c]), self._normal([d, b, c])]
            if _cosine(*old) < FLAT or min(_cosine(old[0], new[0]), _cosine(old[0], new[1])) < FLAT:
                continue
            self._set(number, [a, d, c])
            self._set(other, [d, b, c])
            self.changes += 1
            done |= {number, other}
            edges[c, d] = edges[d, c] = -1

    def join_vertices(self, share: float, rng: np.random.Generator) -> None:
        """A share of the vertices joined to a neighbour, where that leaves every edge to two faces."""
        if not share:
            return
        around: list[set[int]] = [set() for _ in self.vertices]
        of_vertex: list[set[int]] = [set() for _ in self.vertices]
        for number, face in enumerate(self.faces):
            for corner in face:
                around[corner].update(face)
                of_vertex[corner].add(number)
        blocked: set[int] = set()
        gone: set[int] = set()
        for vertex in np.flatnonzero(rng.random(len(self.vertices)) < share).tolist():
            ring = around[vertex] - {vertex}
            if not ring or vertex in blocked or not ring.isdisjoint(blocked) or len(of_vertex[vertex]) != len(ring):
                continue
            target = int(rng.choice(sorted(ring)))
            lost = of_vertex[vertex] & of_vertex[target]
            if len((around[target] - {target}) & ring) != 2 or len(lost) != 2 or len(ring) <= 3:
                continue
            for number in of_vertex[vertex] - lost:
                self._set(number, [target if corner == vertex else corner for corner in self.faces[number]])
            gone |= lost
            self.changes += 1
            blocked |= ring | {vertex}
            for corner in ring:
                blocked |= around[corner]
        kept = [number for number in range(len(self.faces)) if number not in gone]
        self.faces, self.change = [self.faces[n] for n in kept], [self.change[n] for n in kept]

    def split_edges(self, share: float, rng: np.random.Generator) -> None:
        """A new vertex somewhere on a share of the edges, often hard by one end."""
        edges = self._edges() if share else {}
        done: set[int] = set()
        for (a, b), number in list(edges.items()):
            other = edges.get((b, a), -1)
            if a > b or number < 0 or other < 0 or rng.random() >= share or not done.isdisjoint((number, other)):
                continue
            start, end = np.array(self.vertices[a]), np.array(self.vertices[b])
            far = int(np.abs(end - start).max())
            along = rng.uniform(0.2, 0.8) if rng.random() < 0.5 else rng.integers(1, 3) / max(far, 1)
            place = np.round(start + (end - start) * along).astype(np.int64).tolist()
            if far < 3 or tuple(place) in self.places:
                continue
            self.places.add(tuple(place))
            self.vertices.append(place)
            middle, c, d = len(self.vertices) - 1, _third(self.faces[number], a, b), _third(self.faces[other], a, b)
            self._set(number, [a, middle, c])
            self._set(other, [middle, a, d])
            self.faces += [[middle, b, c], [b, middle, d]]
            self.change += [self.changes] * 2
            self.changes += 1
            done |= {number, other}


def _third(face: list[int], a: int, b: int) -> int:
    return next(corner for corner in face if corner != a and corner != b)


def _cosine(u: np.ndarray, v: np.ndarray) -> float:
    return float(u @ v) / max(float(np.linalg.norm(u) * np.linalg.norm(v)), 1e-9)
