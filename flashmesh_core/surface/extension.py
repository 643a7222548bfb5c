"""Vertices that nothing is known of, on the planes that the surface around them begins.

Where a few planes are most of what lies around a hole, the surface goes on in these until they meet: edges and corners
that the hole took are there again. The planes are those that most of the area agrees on (Fischler and Bolles 1981).
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import face_geometry, unit_rows
from flashmesh_core.surface.denoising import typical_edge

AROUND = 7.0  # typical edges from a hole's vertices up to which faces tell
OFF, ALIKE = 0.4, 0.9  # typical edges off a plane, and cosine to its normal, up to which a face is of it
MOST, LEAST, LEFT = 6, 0.04, 0.35  # planes; share of the area that each has at least, and that none has at most
FEWEST = 8  # vertices of a hole
CURVED, SAME = 0.94, 0.995  # cosines of two planes' normals between which the surface is curved
SEEDS, ROUNDS = 40, 3  # faces that a plane is tried with; times that it is fitted


def extended(mesh: Mesh, hole: np.ndarray) -> Mesh:
    """The mesh with the vertices of each hole on the nearest of the planes around it, where these are all there is.

    `hole` (V,) numbers the hole that each vertex fills, smoothly so far; -1 where it is of the surface.
    """
    if not (hole >= 0).any():
        return mesh
    normals, areas, centers = face_geometry(mesh.vertices, mesh.faces.astype(np.int32))
    known, edge = (hole[mesh.faces] < 0).all(axis=1), typical_edge(mesh)
    normals, areas, centers = normals[known], areas[known], centers[known]
    vertices, filled = mesh.vertices.copy(), np.flatnonzero(hole >= 0)
    filled = filled[np.argsort(hole[filled], kind="stable")]
    for mine in np.split(filled, np.flatnonzero(np.diff(hole[filled])) + 1):
        if len(mine) < FEWEST:
            continue
        near = _near(centers, vertices[mine], AROUND * edge)
        planes = _planes(centers[near], normals[near], areas[near], OFF * edge)
        if planes is not None:
            ways, points = planes
            height = np.einsum("vpi,pi->vp", vertices[mine, None] - points, ways)
            least = np.abs(height).argmin(axis=1)
            vertices[mine] -= height[np.arange(len(mine)), least, None] * ways[least]
    return Mesh(vertices, mesh.faces)


def _near(points: np.ndarray, places: np.ndarray, reach: float) -> np.ndarray:
    """Which of `points` (N, 3) lie within `reach` of one of the `places` (M, 3)."""
    from scipy.spatial import cKDTree

    low, high = places.min(axis=0) - reach, places.max(axis=0) + reach
    boxed = np.flatnonzero(((points > low) & (points < high)).all(axis=1))
    return boxed[cKDTree(places).query(points[boxed], distance_upper_bound=reach)[0] < reach]


def _planes(
    centers: np.ndarray, normals: np.ndarray, areas: np.ndarray, off: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Unit normals and points (P, 3) of the planes that faces are of; None where they are of none, or of a curve."""
    rng = np.random.default_rng(0)
    left, whole = np.ones(len(centers), dtype=np.bool_), float(areas.sum())
    found: list[tuple[np.ndarray, np.ndarray]] = []
    while left.any() and len(found) < MOST:
        seeds = rng.choice(np.flatnonzero(left), min(SEEDS, int(left.sum())), replace=False)
        heights = centers @ normals[seeds].T - np.einsum("si,si->s", centers[seeds], normals[seeds])
        of = (np.abs(heights) < off) & (normals @ normals[seeds].T > ALIKE) & left[:, None]
        on = of[:, (areas @ of).argmax()]
        for _ in range(ROUNDS):
            point, way = _fitted(centers[on], normals[on], areas[on])
            closer = (np.abs((centers - point) @ way) < off) & (normals @ way > ALIKE) & left
            on = closer if closer.any() else on
        if areas[on].sum() < LEAST * whole:
            break
        left &= ~on
        found.append((way, point))
    if not found or areas[left].sum() > LEFT * whole:
        return None
    ways, points = (np.stack(of) for of in zip(*found, strict=True))
    alike = ways @ ways.T
    return None if ((alike > CURVED) & (alike < SAME)).any() else (ways, points)


def _fitted(centers: np.ndarray, normals: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A point and the unit normal of the plane through faces, by their area; their own normals where it leans away."""
    point = areas @ centers / areas.sum()
    off, mean = centers - point, unit_rows((areas @ normals)[None])[0]
    way = np.linalg.eigh((off * areas[:, None]).T @ off)[1][:, 0]
    way *= np.sign(way @ mean)
    return point, way if way @ mean > ALIKE else mean
