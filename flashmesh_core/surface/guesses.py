"""What closes a surface where no sample is: small holes are closed, and open sheets are not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import compact, joined, longest_sides

HOLE = 0.2  # largest side of the box around a hole that is closed
FAR = HOLE / 2  # from the nearest sample, up to which a closed surface goes on
UNSEEN = 0.8  # of a sample's reach, beyond which its word on the surface is a guess
OPEN = 0.1  # share of a patch by an open surface up to which it is part of a closed one


class Guesses(NamedTuple):
    """The G patches of triangles of a mesh, V vertices and F faces, that are out of the samples' reach; unit box."""

    guessed: np.ndarray  # (F,) which triangles
    faces: np.ndarray  # (K, 3) these
    patch: np.ndarray  # (K,) which patch each belongs to
    owner: np.ndarray  # (V,) the sample nearest to each vertex
    distance: np.ndarray  # (V,) to it
    reach: np.ndarray  # (V,) up to which that sample vouches for a surface
    far: np.ndarray  # (G,) the distance of the farthest corner
    sure: np.ndarray  # (G,) whether it belongs to the surface

    @property
    def unseen(self) -> np.ndarray:
        """Which sure patch each vertex (V,) is of where no sample tells; -1 where one does."""
        result = np.full(len(self.distance), -1)
        sure = self.sure[self.patch]
        result[self.faces[sure]] = self.patch[sure, None]
        return np.where(self.distance > UNSEEN * self.reach, result, -1)

    def samples(self, patch: np.intp) -> np.ndarray:
        """The samples nearest to a patch, each once."""
        return np.unique(self.owner[self.faces[self.patch == patch]])


def find_guesses(mesh: Mesh, points: np.ndarray, middle: np.ndarray, reach: np.ndarray) -> Guesses:
    """Where a mesh lies further than `reach` (N,) from its nearest sample, of `points` (N, 3).

    Part of a closed surface (`middle` (N,) of 0.5) is sure if it is nowhere far from samples, of an open one if it is
    small: the rest of what closes an open surface lies close to its border.
    """
    from scipy.spatial import cKDTree

    distance, owner = cKDTree(points).query(mesh.vertices)
    guessed = (distance > reach[owner])[mesh.faces].any(axis=1)
    faces = mesh.faces[guessed]
    narrow = faces.astype(np.int32)
    patch, count = joined(narrow, len(mesh.vertices))
    size = longest_sides(mesh.vertices, narrow, patch, count)
    far, open_share = np.zeros(count), np.zeros(count)
    np.maximum.at(far, patch, distance[faces[:, 0]])
    np.add.at(open_share, patch, middle[owner[faces[:, 0]]] < 0.5)
    open_share /= np.maximum(np.bincount(patch, minlength=count), 1)
    sure = (size < HOLE) | ((far < FAR) & (open_share < OPEN))
    return Guesses(guessed, faces, patch, owner, distance, reach[owner], far, sure)


def without_guesses(mesh: Mesh, guesses: Guesses, stays: np.ndarray) -> tuple[Mesh, np.ndarray]:
    """The mesh without the patches that do not stay, and which of its vertices are left; `stays` (G,)."""
    keep = np.ones(len(mesh.faces), dtype=bool)
    keep[guesses.guessed] = stays[guesses.patch]
    used, faces = compact(mesh.faces[keep], len(mesh.vertices))
    return Mesh(mesh.vertices[used], faces.astype(np.int64)), used
