"""What a vertex of a proxy looks like: how sharp, how long its edges, what it costs, what is at its height.

All numbers are the same for a mesh that is moved, scaled, mirrored or turned by quarters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from flashmesh_core.surface.adjacency import face_geometry, unit_rows

BIN = 1.0 / 128  # of the longest side: distances between vertices that may be the same one are in these
FAR = 8.0  # BIN: beyond it a distance is far, whatever it is
SHARPEST = 4  # edges of a vertex whose bends are told one by one
BENT, CREASED = np.radians(12.0), np.radians(30.0)
HEIGHTS = (0.25, 1.0)  # BIN: how near the coordinates of vertices at the same height are
EDGE_FEATURES = 9
LOCAL_FEATURES = 33  # of a vertex, of its own mesh
SNAP_REACH = (0.75, 2.0)  # BIN: how near the coordinates of vertices are that may be meant to be one
SNAPS, SNAP_FEATURES = len(SNAP_REACH), 5
TINY = 1e-12


class Shape(NamedTuple):
    """A mesh of V vertices, F faces and E edges, its longest side about 1."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3) int64
    normals: np.ndarray  # (F, 3)
    areas: np.ndarray  # (F,)
    edges: np.ndarray  # (E, 2) int64, the lower end first
    beside: np.ndarray  # (E, 2) int64, the faces of an edge; -1 for none
    bends: np.ndarray  # (E,) radians, above 0 where the surface is convex; pi/2 at borders
    lengths: np.ndarray  # (E,)


def shape_of(vertices: np.ndarray, faces: np.ndarray) -> Shape:
    """The edges of a mesh (V, 3), (F, 3) and how they bend; of an edge with more faces two count."""
    normals, areas, _ = face_geometry(vertices, faces)
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    keys, owner = np.unique(np.sort(half, axis=1) @ np.array([len(vertices), 1]), return_inverse=True)
    order = np.argsort(owner.ravel(), kind="stable")
    first = np.searchsorted(owner.ravel()[order], np.arange(len(keys) + 1))
    count = np.diff(first)
    one = order[first[:-1]]
    other = np.where(count > 1, order[np.minimum(first[:-1] + 1, len(order) - 1)], -1)
    beside = np.stack([one % len(faces), np.where(other >= 0, other % len(faces), -1)], axis=1)
    edges = np.stack([keys // len(vertices), keys % len(vertices)], axis=1)
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    return Shape(
        vertices, faces.astype(np.int64), normals, areas, edges, beside,
        _bends(vertices, faces, normals, edges, beside), lengths,
    )  # fmt: skip


def _bends(
    vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, edges: np.ndarray, beside: np.ndarray
) -> np.ndarray:
    one, other = beside[:, 0], beside[:, 1]
    cosine = np.clip((normals[one] * normals[other]).sum(axis=1), -1.0, 1.0)
    opposite = faces[other].sum(axis=1) - edges.sum(axis=1)  # the third corner of the other face
    opposite = np.clip(opposite, 0, len(vertices) - 1)
    below = ((vertices[opposite] - vertices[edges[:, 0]]) * normals[one]).sum(axis=1) <= 0.0
    return np.where(other < 0, np.pi / 2, np.arccos(cosine) * np.where(below, 1.0, -1.0))


def both_ways(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts (2E,), ends (2E,) and the number of the edge (2E,) of all edges (E, 2), either way."""
    number = np.arange(len(edges))
    return (
        np.concatenate([edges[:, 0], edges[:, 1]]),
        np.concatenate([edges[:, 1], edges[:, 0]]),
        np.concatenate([number, number]),
    )


def largest_of(owner: np.ndarray, values: np.ndarray, count: int, width: int, rest: float = 0.0) -> np.ndarray:
    """The `width` largest of the values (N,) that belong to each of `count` owners (N,), falling; `rest` where none."""
    order = np.lexsort((-values, owner))
    sorted_owner = owner[order]
    place = np.arange(len(order)) - np.searchsorted(sorted_owner, sorted_owner)
    found = np.full((count, width), rest)
    taken = place < width
    found[sorted_owner[taken], place[taken]] = values[order][taken]
    return found


def sums(owner: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Sums (count, ...) of values (N, ...) by their owners (N,)."""
    flat = values.reshape(len(owner), -1)
    found = np.stack([np.bincount(owner, weights=column, minlength=count) for column in flat.T], axis=1)
    return found.reshape(count, *values.shape[1:])


def local_features(shape: Shape, unit: float) -> np.ndarray:
    """Features (V, LOCAL_FEATURES) of the vertices of a mesh whose edges have about the length `unit`."""
    count = len(shape.vertices)
    start, _, number = both_ways(shape.edges)
    bend, length = shape.bends[number], shape.lengths[number]
    degree = np.maximum(np.bincount(start, minlength=count), 1)
    least = -largest_of(start, -length, count, 1, rest=-unit)[:, 0]
    most = largest_of(start, length, count, 1, rest=unit)[:, 0]
    around, normal_tensor, deficit = _fans(shape)
    border = np.bincount(shape.edges[shape.beside[:, 1] < 0].ravel(), minlength=count) > 0
    mean = sums(start, length, count) / degree
    columns = [
        degree / 6.0, border, deficit,
        np.bincount(start, weights=np.abs(bend) > BENT, minlength=count),
        np.bincount(start, weights=np.abs(bend) > CREASED, minlength=count),
        least / unit, mean / unit, most / unit, np.log(around / unit**2 + 1e-6),
        np.log(least / BIN + 1e-3), np.log(mean / BIN + 1e-3),
        sums(start, bend, count) / degree,
    ]  # fmt: skip
    return np.concatenate(
        [
            np.stack(columns, axis=1).astype(np.float64),
            largest_of(start, np.abs(bend), count, SHARPEST),
            -largest_of(start, -bend, count, 1),
            normal_tensor,
            _creases(shape, unit),
            _costs(shape, around, unit),
            _heights(shape.vertices),
        ],
        axis=1,
    )


def _fans(shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The area around each vertex (V,), the sizes of its normals' tensor (V, 3), and its angle deficit (V,)."""
    count, corner = len(shape.vertices), shape.faces.ravel()
    around = np.bincount(corner, weights=np.repeat(shape.areas, 3), minlength=count)
    tensor = shape.areas[:, None, None] * shape.normals[:, :, None] * shape.normals[:, None, :]
    tensor = sums(corner, np.repeat(tensor, 3, axis=0), count) / np.maximum(around, TINY)[:, None, None]
    places = shape.vertices[shape.faces]
    one = unit_rows((np.roll(places, -1, axis=1) - places).reshape(-1, 3))
    other = unit_rows((np.roll(places, 1, axis=1) - places).reshape(-1, 3))
    angles = np.arccos(np.clip((one * other).sum(axis=1), -1.0, 1.0))
    return around, np.linalg.eigvalsh(tensor), 2 * np.pi - np.bincount(corner, weights=angles, minlength=count)


def _creases(shape: Shape, unit: float) -> np.ndarray:
    """How the bent edges at each vertex lie (V, 5): their tensor's sizes, how far they pull, on how much they bend."""
    start, end, number = both_ways(shape.edges)
    count = len(shape.vertices)
    way = unit_rows(shape.vertices[end] - shape.vertices[start])
    weight = np.abs(shape.bends[number])
    total = np.maximum(np.bincount(start, weights=weight, minlength=count), 1e-3)
    tensor = sums(start, weight[:, None, None] * way[:, :, None] * way[:, None, :], count) / total[:, None, None]
    pull = np.linalg.norm(sums(start, weight[:, None] * way, count), axis=1)
    return np.concatenate([np.linalg.eigvalsh(tensor), (pull / total)[:, None], pull[:, None]], axis=1)


def edge_quadric_costs(shape: Shape) -> np.ndarray:
    """What it costs to move the start of each edge to its end (2E,), in the order of `both_ways`: weighed squares."""
    count, corner = len(shape.vertices), shape.faces.ravel()
    offsets = (shape.normals * shape.vertices[shape.faces[:, 0]]).sum(axis=1)
    planes = np.concatenate([shape.normals, -offsets[:, None]], axis=1)
    quadric = shape.areas[:, None, None] * planes[:, :, None] * planes[:, None, :]
    quadric = sums(corner, np.repeat(quadric, 3, axis=0), count)
    start, end, _ = both_ways(shape.edges)
    place = np.concatenate([shape.vertices[end], np.ones((len(end), 1))], axis=1)
    return np.maximum(np.einsum("ni,nij,nj->n", place, quadric[start], place), 0.0)


def _costs(shape: Shape, around: np.ndarray, unit: float) -> np.ndarray:
    """The root mean squares that the three cheapest edges of each vertex cost (V, 3), and the first in BIN (V, 1)."""
    start, _, _ = both_ways(shape.edges)
    cost = np.sqrt(edge_quadric_costs(shape) / np.maximum(around[start], TINY))
    found = -largest_of(start, -cost, len(shape.vertices), 3, rest=-unit)
    return np.concatenate([np.log(found / unit + 1e-3), np.log(found[:, :1] / BIN + 1e-2)], axis=1)


def _heights(vertices: np.ndarray) -> np.ndarray:
    """How alone each vertex is (V, 4): the logarithm of how many share its height, most and least of the axes."""
    found = []
    for near in HEIGHTS:
        shares = np.stack([_same(vertices[:, k], near * BIN) for k in range(3)], axis=1)
        found += [np.log(shares.max(axis=1)), np.log(shares.min(axis=1))]
    return np.stack(found, axis=1)


def _same(values: np.ndarray, near: float) -> np.ndarray:
    """How many of the values (N,) are `near` each, itself included (N,)."""
    ordered = np.sort(values)
    return np.searchsorted(ordered, values + near, side="right") - np.searchsorted(ordered, values - near)


def mirrored(vertices: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances in BIN, at most FAR, (V, 3) from each vertex's mirrored places to the nearest vertices (V, 3)."""
    tree = cKDTree(vertices)
    far, nearest = np.empty((len(vertices), 3)), np.empty((len(vertices), 3), dtype=np.int64)
    for axis in range(3):
        places = vertices.copy()
        places[:, axis] = low[axis] + high[axis] - places[:, axis]
        far[:, axis], nearest[:, axis] = tree.query(places)
    return np.minimum(far / BIN, FAR), nearest


def mesh_edge_features(shape: Shape, unit: float) -> np.ndarray:
    """Features (2E, EDGE_FEATURES) of the edges of a mesh in the order of `both_ways`, as their starts see them."""
    start, end, number = both_ways(shape.edges)
    way = shape.vertices[end] - shape.vertices[start]
    length = np.maximum(shape.lengths[number], TINY)
    along = np.sort(np.abs(way) / length[:, None], axis=1)
    around = np.bincount(shape.faces.ravel(), weights=np.repeat(shape.areas, 3), minlength=len(shape.vertices))
    cost = np.sqrt(edge_quadric_costs(shape) / np.maximum(around[start], TINY))
    return np.stack(
        [
            length / unit, np.log(length / BIN + 1e-3), shape.bends[number], np.abs(shape.bends[number]),
            along[:, 2], along[:, 0], np.log(cost / unit + 1e-3), shape.beside[number, 1] < 0, np.ones(len(start)),
        ],
        axis=1,
    )  # fmt: skip


def directions(shape: Shape) -> np.ndarray:
    """Ways (V, 3, 3) that a vertex may move: its unit normal, where its bent edges pull, its neighbors' middle."""
    count = len(shape.vertices)
    start, end, number = both_ways(shape.edges)
    way = shape.vertices[end] - shape.vertices[start]
    normal = sums(shape.faces.ravel(), np.repeat(shape.normals * shape.areas[:, None], 3, axis=0), count)
    weight = np.abs(shape.bends[number])
    pull = sums(start, weight[:, None] * unit_rows(way), count)
    pull /= np.maximum(np.bincount(start, weights=weight, minlength=count), 1e-3)[:, None]
    middle = sums(start, way, count) / np.maximum(np.bincount(start, minlength=count), 1)[:, None]
    return np.stack([unit_rows(normal), pull, middle], axis=1)


def aligned(vertices: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Along each axis, the way (V, 3, SNAPS) from each vertex to the mean of those nearly at its height.

    And what tells whether to go there (V, 3, SNAP_FEATURES); `normals` (V, 3) are the vertices' own.
    """
    ways, told = [], []
    for axis in range(3):
        values = vertices[:, axis]
        ordered = np.sort(values)
        total = np.concatenate([[0.0], np.cumsum(ordered)])
        off, share = [], []
        for near in SNAP_REACH:
            last = np.searchsorted(ordered, values + near * BIN, side="right")
            first = np.searchsorted(ordered, values - near * BIN)
            off.append((total[last] - total[first]) / (last - first) - values)
            share.append(np.log(last - first))
        ways.append(np.stack(off, axis=1))
        told.append(np.stack([*share, np.abs(off[0]) / BIN, np.abs(off[1]) / BIN, np.abs(normals[:, axis])], axis=1))
    return np.stack(ways, axis=1), np.stack(told, axis=1)
