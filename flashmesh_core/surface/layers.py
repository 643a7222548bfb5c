"""Scans of one object laid over each other in one mesh: sheets that run through each other all along.

As a mesh they are several surfaces, each with its borders, and simplification keeps all of them. Their vertices are
samples of the one surface that all of them show.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh, vertex_normals
from flashmesh_core.surface.adjacency import face_areas, face_components, labels_of_vertices, manifold_twins, unit_rows
from flashmesh_core.surface.denoising import FINE, usual_edge

LAYERED = 0.07  # share of places that other sheets lie over, from which on they are layers
PLACES, NEIGHBOURS = 2000, 48  # looked at; vertices around each
REACH = 2.0  # typical edges between a place and the vertices of another sheet over it
LEAST, MOST = 0.01, 1.5  # typical edges that it is off along the normal
ALIKE = 0.7  # cosine of their normals
SECTORS, GAP = 8, 3  # directions in which vertices of the other sheet lie; without one, side by side, at the least
MIXED = 0.15  # share of places at which the one of two sheets is outside that is so at fewer: else one covers the other
STRETCHED = 4.0  # typical edges: longer faces of a depth map hang between what is near and far
SAMPLED = 0.3  # share of the area that others make; of less the vertices are no samples of the surface, it is modelled
MAX_SAMPLES = 500_000


def are_layers(mesh: Mesh) -> bool:
    """Whether much of a clean `mesh` lies in sheets over each other, now this one outside and now that one."""
    faces, edge = mesh.faces.astype(np.int32), usual_edge(mesh)
    twins = manifold_twins(faces, len(mesh.vertices))
    label, count = face_components(faces, twins)
    if count < 2 or edge > FINE:
        return False
    areas, stretched = face_areas(mesh.vertices, mesh.faces), _stretched(mesh, edge)
    if areas[~stretched].sum() < SAMPLED * areas.sum():
        return False
    inner = np.ones(len(mesh.vertices), dtype=bool)
    inner[mesh.faces[(twins.reshape(-1, 3) < 0).any(axis=1)]] = False
    part = labels_of_vertices(faces, label, len(mesh.vertices))
    return _layered_share(mesh, _normals(mesh, stretched), edge, part, np.flatnonzero(inner)) > LAYERED


def samples_of_layers(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) and unit normals (N, 3) of the one surface: the vertices, at most MAX_SAMPLES of them."""
    normals = _normals(mesh, _stretched(mesh, usual_edge(mesh)))
    known = np.flatnonzero(np.einsum("ni,ni->n", normals, normals) > 0.5)
    if len(known) > MAX_SAMPLES:
        known = np.sort(np.random.default_rng(0).choice(known, MAX_SAMPLES, replace=False))
    return mesh.vertices[known], normals[known]


def _normals(mesh: Mesh, stretched: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) of the faces that are not `stretched` (F,); 0 where there are no others."""
    return vertex_normals(Mesh(mesh.vertices, mesh.faces[~stretched]))


def _stretched(mesh: Mesh, edge: float) -> np.ndarray:
    """Which faces (F,) have a side that is much longer than the typical `edge`."""
    a, b, c = mesh.triangles.transpose(1, 0, 2)
    return np.asarray(
        np.max([np.linalg.norm(side, axis=1) for side in (b - a, c - b, a - c)], axis=0) > STRETCHED * edge
    )


def _layered_share(mesh: Mesh, normals: np.ndarray, edge: float, part: np.ndarray, inner: np.ndarray) -> float:
    """The share of places over which another part lies, of pairs that run through each other; `part` (V,).

    Places are vertices amid their own part, `inner` (N,): along a seam, another part is always near.
    """
    from scipy.spatial import cKDTree

    count = len(mesh.vertices)
    places = np.random.default_rng(0).choice(inner, min(len(inner), PLACES), replace=False)
    far, near = cKDTree(mesh.vertices).query(
        mesh.vertices[places], min(NEIGHBOURS, count), distance_upper_bound=REACH * edge
    )
    there = np.isfinite(far)
    near = np.where(there, near, 0)
    way = mesh.vertices[near] - mesh.vertices[places][:, None]
    off = np.einsum("nki,ni->nk", way, normals[places])
    alike = np.einsum("nki,ni->nk", normals[near], normals[places]) > ALIKE
    over = there & alike & (part[near] != part[places][:, None]) & (np.abs(off) <= MOST * edge)
    other, over = _most_frequent(part[near], over)
    mean = (off * over).sum(axis=1) / np.maximum(over.sum(axis=1), 1)
    layered = _surrounded(way, normals[places], over) & (np.abs(mean) > LEAST * edge)
    if not layered.any():
        return 0.0
    own, other = part[places[layered]], other[layered]
    outside = (mean[layered] > 0.0) == (own < other)  # of the two the later one
    _, pair = np.unique(np.minimum(own, other) * count + np.maximum(own, other), return_inverse=True)
    times, later = np.bincount(pair), np.bincount(pair, outside)
    mixed = np.minimum(later, times - later) >= MIXED * times
    return float(times[mixed].sum() / len(places))


def _most_frequent(numbers: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number (N,) that rows of `numbers` (N, K) hold most often where `among` (N, K) is set, and where they do."""
    times = ((numbers[:, :, None] == numbers[:, None, :]) & among[:, None, :]).sum(axis=2) * among
    found = np.take_along_axis(numbers, times.argmax(axis=1)[:, None], axis=1)[:, 0]
    return found, among & (numbers == found[:, None])


def _surrounded(ways: np.ndarray, normals: np.ndarray, over: np.ndarray) -> np.ndarray:
    """Whether the ways (N, K, 3) that count, `over` (N, K), lead in all directions across the unit `normals` (N, 3).

    Of SECTORS directions no GAP are without, one after the other: beside a place, or on a border, half of them are.
    """
    least = np.eye(3)[np.abs(normals).argmin(axis=1)]
    first = unit_rows(np.cross(normals, least))
    second = np.cross(normals, first)
    angle = np.arctan2(np.einsum("nki,ni->nk", ways, second), np.einsum("nki,ni->nk", ways, first))
    sector = ((angle / (2.0 * np.pi) + 0.5) * SECTORS).astype(np.int64) % SECTORS
    taken = np.stack([(over & (sector == number)).any(axis=1) for number in range(SECTORS)], axis=1)
    return np.all([taken[:, np.arange(k, k + GAP) % SECTORS].any(axis=1) for k in range(SECTORS)], axis=0)
