"""Prefixes as a model might write them: wrong faces here and there, and what should be written after each.

Teacher forcing never shows a model its own mistakes. Here a right face that a wrong one has made impossible (its edges
are used, or the wrong face lies over it) is left out of prefix and targets, as it could not be written in decoding
either: what follows a mistake is the next right face that still fits, and at last the end.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import CanonicalMesh, vertex_keys
from flashmesh_core.surface.overlap import first_over

IGNORE = -100  # no target
RATES = (0.02, 0.05, 0.1)  # of the faces of a sample: how many are wrong
NEAR = 8  # vertices from which a wrong one is taken


def make_mistakes(mesh: CanonicalMesh, rng: np.random.Generator) -> tuple[CanonicalMesh, np.ndarray]:
    """A mesh as a model might have written it, and what it should have written.

    Returns the written faces in the order of writing and, for each, the right tokens (F, 9), IGNORE after the first
    wrong one.
    """
    writer = _Writer(mesh)
    wrong = rng.random(len(mesh.faces)) < rng.choice(RATES)
    for number in range(len(mesh.faces)):
        if not writer.fits(number):
            continue
        if wrong[number]:
            writer.write_wrong(number, wrong_corners(mesh, number, writer.faces, rng))
            if not writer.fits(number):
                continue
        writer.write_right(number)
    written = CanonicalMesh(np.array(writer.vertices), np.array(writer.faces), mesh.num_bins)
    return written, np.array(writer.wanted)


class _Writer:
    """The faces written so far, what should have been, and which right faces can't follow any more."""

    def __init__(self, mesh: CanonicalMesh) -> None:
        self.mesh = mesh
        self.bins = mesh.vertices[mesh.faces].astype(np.int64)
        self.truth = self.bins[:, :, ::-1].reshape(-1, 9)
        self.keys = vertex_keys(mesh.vertices, mesh.num_bins)[mesh.faces].tolist()
        self.vertices = mesh.vertices.tolist()
        self.faces: list[list[int]] = []
        self.wanted: list[np.ndarray] = []
        self.written = [[-1, -1, -1]]  # the keys of the faces, after those of none
        self.edges: set[tuple[int, int]] = set()  # of wrong faces alone: right ones share none
        self.under = np.zeros(len(mesh.faces), dtype=bool)

    def fits(self, number: int) -> bool:
        """Whether a right face can still be written."""
        keys = self.keys[number]
        return keys > self.written[-1] and not self.under[number] and self.edges.isdisjoint(_edges(keys))

    def write_right(self, number: int) -> None:
        """Write it."""
        self._write(self.mesh.faces[number].tolist(), self.keys[number], self.truth[number])

    def write_wrong(self, number: int, corners: np.ndarray) -> None:
        """Write a face of `corners` (3, 3) where a right one should be, if the order and the edges in use allow it."""
        keys = vertex_keys(corners, self.mesh.num_bins).tolist()
        in_order = keys[1] > keys[0] < keys[2] and keys[1] != keys[2] and keys > self.written[-1]
        used = self.edges.union(*(_edges(face) for face in self.written[-NEAR * NEAR :]))
        if not in_order or keys == self.keys[number] or not used.isdisjoint(_edges(keys)):
            return
        tokens = corners[:, ::-1].reshape(-1)
        different = int((tokens != self.truth[number]).argmax())
        first = len(self.vertices)
        self.vertices += corners.tolist()
        aims = np.where(np.arange(9) <= different, self.truth[number], IGNORE)
        self._write([first, first + 1, first + 2], keys, aims)
        self.edges.update(_edges(keys))
        self.under |= first_over(corners[None].astype(np.int64), self.bins) == 0

    def _write(self, face: list[int], keys: list[int], aims: np.ndarray) -> None:
        self.faces.append(face)
        self.wanted.append(aims)
        self.written.append(keys)


def _edges(keys: list[int]) -> list[tuple[int, int]]:
    a, b, c = keys
    return [(a, b), (b, c), (c, a)]


def wrong_corners(
    mesh: CanonicalMesh, number: int, written: list[list[int]], rng: np.random.Generator
) -> np.ndarray:  # fmt: skip
    """The corners (3, 3) of a face that might be written by mistake in the place of face `number`.

    Mostly v2 is wrong, or v1 and with it v2; one in five stays at the v0 of the face before, where nothing is left.
    """
    corners = mesh.vertices[mesh.faces[number]].copy()
    kind = rng.random()
    if kind < 0.2 and written and written[-1][0] < len(mesh.vertices):
        corners[0] = mesh.vertices[written[-1][0]]
        corners[1], corners[2] = (_nearby(mesh, corners[0], rng) for _ in range(2))
    elif kind < 0.45:
        corners[1] = _wrong_place(mesh, corners[1], rng)
        if rng.random() < 0.5:
            corners[2] = _nearby(mesh, corners[1], rng)
    else:
        corners[2] = _wrong_place(mesh, corners[2], rng)
    return corners


def _nearby(mesh: CanonicalMesh, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the vertices next to a place, not the one that is there."""
    distance = np.abs(mesh.vertices - place).max(axis=1)
    near = np.argsort(distance, kind="stable")[1 : NEAR + 1]
    return mesh.vertices[rng.choice(near)]


def _wrong_place(mesh: CanonicalMesh, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A place (x, y, z) in bins that is not that of the vertex: another vertex nearby, or a few bins off."""
    if rng.random() < 0.7 and len(mesh.vertices) > 1:
        return _nearby(mesh, right, rng)
    step = rng.integers(1, 4) * rng.choice([-1, 1], 3) * (rng.random(3) < 0.5)
    moved = np.clip(right + step, 0, mesh.num_bins - 1)
    return moved if (moved != right).any() else np.clip(right - np.array([1, 0, 0]), 0, mesh.num_bins - 1)
