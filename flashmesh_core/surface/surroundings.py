"""The dense faces around a vertex of a proxy, as the vertex predictor sees them: in a frame of the vertex's own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import COMPILED
from flashmesh_core.surface.patches import frames_of
from flashmesh_core.surface.placement import NEAR, Planes, is_nearest, near_square, region
from flashmesh_core.surface.plane_predictor import PredictedPlanes

MOST = 64  # dense faces that a vertex sees
RADIUS = 10.0  # typical edges
TOWARD = 1.5  # faces are taken at ranks that grow with this power: close together where they are near
CHANNELS = 15  # of a face: see `surroundings_of`
WHOLE = 8  # of all faces together
NOT_OWN = 0.01  # weight in the frame of a face that is nearer to another vertex


class Around(NamedTuple):
    """The dense faces that each of V vertices sees."""

    rows: np.ndarray  # (V, MOST) int64, -1 where there are no more
    own: np.ndarray  # (V, MOST) bool, nearer to this vertex than to its neighbors
    counts: np.ndarray  # (V,) int64, all faces that they were taken from
    shortest: np.ndarray  # (V,) the vertex's shortest edge, infinity without one


class Surroundings(NamedTuple):
    """What the network is told of V vertices; lengths in typical edges, from the vertex, in its frame."""

    samples: np.ndarray  # (V, MOST, CHANNELS) float32, 0 where there are no more faces
    valid: np.ndarray  # (V, MOST) bool
    whole: np.ndarray  # (V, WHOLE) float32
    frames: np.ndarray  # (V, 3, 3) rows across and along the nearest edge and outward


def faces_around(
    vertices: np.ndarray, faces: np.ndarray, start: np.ndarray, around: np.ndarray, planes: Planes, edge: float
) -> Around:
    """The dense faces of `planes` that each of `vertices` (V, 3) of a proxy sees; `edge` is their typical edge.

    They are connected and within RADIUS; of more than MOST those nearer are taken more often. `start` and `around`
    are those of `adjacency.faces_at_vertices(faces, V)`.
    """
    count = len(vertices)
    rows, own = np.full((count, MOST), -1, dtype=np.int64), np.zeros((count, MOST), dtype=np.bool_)
    counts, shortest = np.zeros(count, dtype=np.int64), np.empty(count)
    _gather(vertices, faces, start, around, planes, (RADIUS * edge) ** 2, rows, own, counts, shortest)
    return Around(rows, own, counts, shortest)


def surroundings_of(
    vertices: np.ndarray,
    seen: Around,
    degrees: np.ndarray,
    planes: Planes,
    found: PredictedPlanes,
    place: np.ndarray,
    edge: float,
    scalars: np.ndarray,
) -> Surroundings:
    """What the network is told of `vertices` (V, 3) with so many faces each, `degrees` (V,).

    Row seen.rows[v, i] of the dense faces is row place[v, i] of `found`. `scalars` (3,) are those of the plane
    predictor. A sample holds the face's center (3), its predicted normal (3), how far that plane is, its doubt, the
    filtered normal (3), how far that plane is, the logarithm of the area, the agreement, and whether it is own.
    """
    valid = seen.rows >= 0
    rows = np.where(valid, seen.rows, 0)
    centers, normals, doubt = planes.centers[rows], found.normals[place], found.doubt[place]
    areas = np.linalg.norm(np.cross(*_sides(planes, rows)), axis=2) / 2.0
    weights = np.where(valid, areas * np.where(seen.own, 1.0, NOT_OWN), 0.0)
    frames, sharpness = _frames(normals, weights, planes.normals[rows[:, 0]])

    def local(vectors: np.ndarray) -> np.ndarray:
        return np.einsum("vij,vej->vei", frames, vectors)

    def far(on: np.ndarray, normals: np.ndarray) -> np.ndarray:
        return ((on - vertices[:, None]) * normals).sum(axis=2) / edge

    samples = np.zeros((*rows.shape, CHANNELS), dtype=np.float32)
    samples[..., 0:3] = local(centers - vertices[:, None]) / edge
    samples[..., 3:6] = local(normals)
    samples[..., 6] = far(found.points[place], normals)
    samples[..., 7] = doubt
    samples[..., 8:11] = local(planes.normals[rows])
    samples[..., 11] = far(centers, planes.normals[rows])
    samples[..., 12] = np.log2(areas / edge**2 + 1e-3)
    samples[..., 13] = planes.weights[rows] / np.maximum(areas, 1e-300)
    samples[..., 14] = seen.own
    samples[~valid] = 0.0
    whole = np.empty((len(vertices), WHOLE), dtype=np.float32)
    whole[:, 0:3] = scalars
    whole[:, 3] = np.log2(np.clip(seen.shortest / edge, 0.1, 1e3))
    whole[:, 4] = np.log2(np.maximum(degrees, 1))
    whole[:, 5] = seen.own.sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
    whole[:, 6] = np.log2(seen.counts + 1.0)
    whole[:, 7] = sharpness
    return Surroundings(samples, valid, whole, frames)


def _sides(planes: Planes, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corners = planes.vertices[planes.faces[rows]]
    return corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]


def _frames(normals: np.ndarray, weights: np.ndarray, otherwise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames (V, 3, 3) of weighed normals (V, E, 3), and the length of their mean (V,): 1 where all are the same."""
    total = np.maximum(weights.sum(axis=1), 1e-300)
    mean = np.einsum("ve,vei->vi", weights, normals) / total[:, None]
    tensor = np.einsum("ve,vei,vej->vij", weights, normals, normals) / total[:, None, None]
    upper = tensor[:, (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)]
    return frames_of(np.concatenate([upper, mean], axis=1), otherwise), np.linalg.norm(mean, axis=1)


@njit(**COMPILED)
def _gather(vertices, faces, start, around, p, reach, rows, own, counts, shortest):
    """Write what `Around` holds; `reach` is the square of the radius."""
    seen = np.full(len(p.faces), -1, dtype=np.int32)
    queue, found = np.empty(len(p.faces), dtype=np.int32), np.empty(len(p.faces), dtype=np.int32)
    most = rows.shape[1]
    for v in range(len(vertices)):
        shortest[v] = np.sqrt(near_square(vertices, faces, start, around, v)) / NEAR
        if start[v + 1] == start[v]:
            continue
        count = region(vertices, faces, start, around, v, reach, p, seen, queue, found, False)
        counts[v] = count
        taken = min(count, most)
        for i in range(taken):
            at = i if count <= most else np.int64(i + (count - most) * (i / (most - 1.0)) ** TOWARD)
            f = found[at]
            x, y, z = p.centers[f, 0], p.centers[f, 1], p.centers[f, 2]
            here = (x - vertices[v, 0]) ** 2 + (y - vertices[v, 1]) ** 2 + (z - vertices[v, 2]) ** 2
            rows[v, i] = f
            own[v, i] = is_nearest(vertices, faces, start, around, v, x, y, z, here)
