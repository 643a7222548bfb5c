"""The vertices of a smooth surface's proxy, fitted to it by least squares.

Planes of what is round cross outside of it, so quadric errors leave a mesh around it; fitted, its faces lie on both
sides (after Hoppe, DeRose, Duchamp, McDonald and Stuetzle, "Mesh optimization", 1993). What low-poly artists make is
flat between its edges: there the crossings of planes are the better places, and the networks know them. A surface is
smooth where twice the wanted faces, too, would leave it off the mesh, and all of it is where a mesh bends alike at all
its edges: that is an animal with thousands of faces, not what has edges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import face_geometry, faces_at_vertices, manifold_twins
from flashmesh_core.surface.borders import open_edges
from flashmesh_core.surface.denoising import noisiness
from flashmesh_core.surface.placement import Planes, move

BEND, NOISY_BEND = 0.03, 0.2  # typical edges that a smooth surface is off at least; that much more at a sculpt's noise
LEFT, SLOW = 0.5, 0.25  # of that, and by the median of what it is off: what it is off with more faces, at least
MOSTLY = 0.7  # share of the surface that is smooth, at least: else its vertices are where planes cross
PLACES, FACE_PLACES, MOST_PLACES = 10_000, 20, 40_000  # that distances are measured from: in all, for a face, at most
ROUNDS, STEP = 4, 1.5  # how often vertices move; times the way to where they would be if only they moved
STAY = 0.05  # weight of a vertex's place, of that of the planes around it
CAP = 2.0  # root mean square distances of the surface around a vertex that it moves in all
ALIKE, STEEP = 4.0, 30.0  # third over first quartile of the angles at edges that are alike; of the first, at most
FOLDS, CREASE = 6.0, 75.0  # third over first of cloth, which bends little along its folds; of the third, at most
STRAY, FAR = 12.0, 0.03  # of those distances, and longest sides: farther places are of a part that was left out


class Fit(NamedTuple):
    """A dense surface that meshes are fitted to, as N places on it."""

    places: np.ndarray  # (N, 3)
    weights: np.ndarray  # (N,) as those of Planes
    left: np.ndarray | None  # (N,) how far they are off a mesh with more faces, if there is one
    bend: float  # how far a smooth surface is off at least
    every: bool = False  # vertex is of a smooth surface, if not most are by what they are off

    def smooth(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Which of a mesh's vertices (V, 3), `faces` (F, 3) int32, are of a smooth surface; none if little of it is."""
        return self._smooth(self._near(vertices, faces), len(vertices))[0]

    def fitted(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """The vertices (V, 3) with those of a smooth surface fitted to it; those on borders stay."""
        near = self._near(vertices, faces)
        smooth, off = self._smooth(near, len(vertices))
        _, tails, heads = open_edges(faces, len(vertices))
        smooth[tails] = smooth[heads] = False
        if not smooth.any():
            return vertices
        start, around = faces_at_vertices(faces, len(vertices))
        sides, _, _ = face_geometry(vertices, faces)
        moved = vertices.copy()
        for number in range(ROUNDS):
            if number:
                near = self._near(moved, faces)
            stray = near.far > STRAY * off[near.corners].max(axis=1)
            near.weights[stray] = 0.0
            way = np.where(smooth[:, None], moved + STEP * near.steps(len(vertices)) - vertices, 0.0)
            length = np.linalg.norm(way, axis=1)
            way *= np.minimum(1.0, CAP * off / np.maximum(length, 1e-30))[:, None]
            move(moved, faces, start, around, vertices + way, sides)
        return moved

    def _near(self, vertices: np.ndarray, faces: np.ndarray) -> _Near:
        """The faces of a mesh that are nearest to the places."""
        far, face, points = TriangleTree.of_mesh(vertices, faces).nearest_points(self.places)
        normals = face_geometry(vertices, faces)[0][face]
        height = np.einsum("ni,ni->n", self.places - points, normals)
        weights = np.where(far < FAR, self.weights, 0.0)
        return _Near(far, weights, faces[face], _shares(points, vertices[faces[face]]), normals, height)

    def _smooth(self, near: _Near, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Which of so many vertices are smooth, and how far the surface is off around each (V,), by root mean square.

        Smooth ones are told by the mean: where it is large, more than the rounded edges of flat places are off.
        """
        total = near.summed(near.weights, count)
        around = np.maximum(total, 1e-30)
        off = near.summed(near.weights * near.far, count) / around
        found = off > self.bend
        if self.left is not None:
            left = near.summed(near.weights * self.left, count) / around
            found &= (left > LEFT * self.bend) & bool(np.median(left / np.maximum(off, 1e-30)) > SLOW)
        if self.every or total[found].sum() < MOSTLY * self.weights.sum():
            found[:] = self.every
        return found, np.sqrt(near.summed(near.weights * near.far**2, count) / around)


class _Near(NamedTuple):
    """What of a mesh is nearest to each of N places."""

    far: np.ndarray  # (N,) how far it is
    weights: np.ndarray  # (N,) of the places, 0 where they are of no face
    corners: np.ndarray  # (N, 3) the vertices of its face
    share: np.ndarray  # (N, 3) of each of them in the point that is nearest
    normals: np.ndarray  # (N, 3) of the face
    height: np.ndarray  # (N,) of the place above the point, along the normal

    def summed(self, values: np.ndarray, count: int) -> np.ndarray:
        """The sum (V,) for each of so many vertices of its shares in `values` (N,)."""
        return np.bincount(self.corners.ravel(), (self.share * values[:, None]).ravel(), minlength=count)

    def steps(self, count: int) -> np.ndarray:
        """The way (V, 3) of each of so many vertices that brings the places nearest to the planes of their faces.

        Each place asks every corner of its face for its whole height, as much as its share: all can go at once.
        """
        axes = self.normals.T * self.weights, self.normals.T
        left = np.array([[self.summed(a * b, count) for a in axes[0]] for b in axes[1]]).transpose(2, 0, 1)
        right = np.stack([self.summed(a * self.height, count) for a in axes[0]], axis=1)
        stay = STAY * np.einsum("vii->v", left) + 1e-300
        return np.linalg.solve(left + stay[:, None, None] * np.eye(3), right[..., None])[..., 0]


def bends_alike(vertices: np.ndarray, faces: np.ndarray, *, folds: bool = True) -> bool:
    """Whether a mesh, (V, 3) and (F, 3) int32, bends alike at all edges; artists' meshes have flat places and edges.

    Cloth counts as such, too, but not without `folds`: what is left of a sculpt's bumps would look like them.
    """
    normals, _, _ = face_geometry(vertices, faces)
    twin = manifold_twins(faces, len(vertices))
    one = np.flatnonzero(twin > np.arange(len(twin)))
    if not len(one):
        return False
    cosines = np.einsum("ni,ni->n", normals[one // 3], normals[twin[one] // 3])
    first, third = np.percentile(np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0))), (25, 75))
    return bool(third < (FOLDS if folds and third < CREASE else ALIKE) * first and first < STEEP)


def fit_of(planes: Planes, edge: float, noise: float, finest: Mesh | None, wanted: int) -> Fit:
    """The surface of `planes`, with its typical edge and noise, for meshes of so many faces; `finest` has the most."""
    count = int(np.clip(FACE_PLACES * wanted, PLACES, MOST_PLACES))
    some = np.linspace(0, len(planes.centers) - 1, min(len(planes.centers), count)).astype(np.int64)
    places = planes.centers[some]
    left = None
    if finest is not None:
        left = TriangleTree.of_mesh(finest.vertices, finest.faces).distance(places)
    bend = (BEND + NOISY_BEND * min(noisiness(noise, edge), 1.0)) * edge
    return Fit(places, planes.weights[some], left, bend)


def _shares(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The barycentric coordinates (N, 3) of points on their triangles `corners` (N, 3, 3)."""
    u, v, w = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    uu, uv, vv, uw, vw = (np.einsum("ni,ni->n", a, b) for a, b in ((u, u), (u, v), (v, v), (u, w), (v, w)))
    area = np.maximum(uu * vv - uv * uv, 1e-300)
    second, third = (vv * uw - uv * vw) / area, (uu * vw - uv * uw) / area
    share = np.clip(np.stack([1.0 - second - third, second, third], axis=1), 0.0, 1.0)
    return share / share.sum(axis=1, keepdims=True)
