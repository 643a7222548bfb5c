"""Stand-ins for readings: what a reading might have made of a mesh, without a source.

A reading takes seconds, a stand-in milliseconds, so that a run sees every mesh and endlessly many procedural shapes
while readings are still being made. Vertices are lost, added along edges and moved; flat places are cut as a reading
cuts them, whatever triangles the artist chose.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.flat_places import recut_flat_places
from training.readings import TrainingReading

WIDTHS = (0.0005, 0.001, 0.002, 0.004)  # of what moves vertices, in longest sides
LOST = (0.0, 0.1, 0.25, 0.45)  # of the 1x proxy's vertices
ADDED = (0.0, 0.1, 0.3)  # of its edges


def damaged_reading(mesh: Mesh, rng: np.random.Generator) -> TrainingReading:
    """Three proxies of `mesh`: of about its faces, about twice and four times as many."""
    size = float(np.ptp(mesh.vertices, axis=0).max()) or 1.0
    width = float(rng.choice(WIDTHS))
    mesh = Mesh(np.asarray(mesh.vertices, dtype=np.float64) / size, np.asarray(mesh.faces, dtype=np.int64))
    moved = Mesh(mesh.vertices + rng.normal(0.0, width, mesh.vertices.shape), mesh.faces)
    lost, added = float(rng.choice(LOST)), float(rng.choice(ADDED))
    plain = with_split_edges(with_lost_vertices(moved, lost, rng), added, rng)
    richer = with_split_edges(with_lost_vertices(moved, lost / 3.0, rng), 0.5, rng)
    dense = with_split_edges(richer, 0.7, rng)
    meshes = [_recut(plain), _recut(richer), dense]
    return TrainingReading(tuple(Mesh(m.vertices * size, m.faces) for m in meshes), width * size / 2.0)


def with_lost_vertices(mesh: Mesh, probability: float, rng: np.random.Generator) -> Mesh:
    """Each vertex is joined to the other end of its shortest edge with this probability, if that one stays."""
    edges, _ = _edges(mesh.faces)
    length = np.linalg.norm(mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]], axis=1)
    target = np.arange(len(mesh.vertices))
    for edge in np.argsort(-length, kind="stable"):  # the shortest are written last
        a, b = edges[edge]
        target[a], target[b] = b, a
    goes = (rng.random(len(target)) < probability) & (target != np.arange(len(target)))
    goes &= ~goes[target] | (target > np.arange(len(target)))
    goes &= ~goes[target]
    number = np.where(goes, target, np.arange(len(target)))
    faces = number[mesh.faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return Mesh(mesh.vertices, faces[whole]) if whole.sum() >= 4 else mesh


def with_split_edges(mesh: Mesh, probability: float, rng: np.random.Generator) -> Mesh:
    """Faces cut in two by a new vertex on one of their edges, which both faces of the edge share."""
    edges, of_face = _edges(mesh.faces)
    asked = rng.permutation(len(edges))[: int(probability * len(edges))]
    rank = np.full(len(edges), len(edges))
    rank[asked] = np.arange(len(asked))
    best = rank[of_face].min(axis=1)  # of a face only the edge that was asked first is split
    split = np.zeros(len(edges), dtype=bool)
    split[asked] = True
    loses = rank[of_face] > best[:, None]
    split[of_face[loses & split[of_face]]] = False
    new = np.cumsum(split) - 1 + len(mesh.vertices)
    along = rng.uniform(0.25, 0.75, int(split.sum()))[:, None]
    ends = mesh.vertices[edges[split]]
    vertices = np.concatenate([mesh.vertices, ends[:, 0] * (1.0 - along) + ends[:, 1] * along])
    whole = ~split[of_face].any(axis=1)
    parts = [mesh.faces[whole]]
    for k in range(3):
        cut = split[of_face[:, k]]
        a, b, c = (mesh.faces[cut, (k + turn) % 3] for turn in range(3))
        middle = new[of_face[cut, k]]
        parts += [np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)]
    return Mesh(vertices, np.concatenate(parts))


def _edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges (E, 2), each once, and which of them leaves each corner of each face (F, 3)."""
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2)
    edges, of_corner = np.unique(np.sort(ends, axis=1), axis=0, return_inverse=True)
    return edges, of_corner.reshape(-1, 3)


def _recut(mesh: Mesh) -> Mesh:
    faces = recut_flat_places(np.ascontiguousarray(mesh.vertices), mesh.faces.astype(np.int32))
    used, numbers = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[used], numbers.reshape(-1, 3).astype(np.int64))
