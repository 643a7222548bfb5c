"""All vertices of a source's proxies as one graph: what each looks like, and who tells whom.

Neighbors in a mesh tell each other, the nearest vertices of the other meshes tell a vertex, and so do those that are at
its mirrored places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.choice.features import (
    BIN,
    EDGE_FEATURES,
    FAR,
    LOCAL_FEATURES,
    Shape,
    aligned,
    both_ways,
    directions,
    local_features,
    mesh_edge_features,
    mirrored,
    shape_of,
)

LEVELS = 3  # meshes of a reading: about 1, 2 and 4 times the wanted faces
NEAREST = 2  # vertices of each other mesh that tell a vertex
KINDS = 4  # of messages: in a mesh, from one with fewer faces, from one with more, from a mirrored place
FEWER, MORE, MIRRORED = 1, 2, 3
Messages = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # teller, told, relations, ways
RELATION = EDGE_FEATURES - 1 + KINDS
WHOLE = 15
INPUTS = LOCAL_FEATURES + WHOLE


class Candidates(NamedTuple):
    """N vertices of all meshes, one mesh after the other, and M messages between them, sorted by who is told."""

    shapes: tuple[Shape, ...]  # in the unit box
    features: np.ndarray  # (N, INPUTS) float32
    teller: np.ndarray  # (M,) int64
    told: np.ndarray  # (M,) int64, rising
    relations: np.ndarray  # (M, RELATION) float32
    ways: np.ndarray  # (M, 3) from who is told to the teller, mirrored where it is at a mirrored place
    directions: np.ndarray  # (N, 3, 3) ways a vertex may move
    snaps: np.ndarray  # (N, 3, SNAPS) to the mean of those nearly at its height
    snap_features: np.ndarray  # (N, 3, SNAP_FEATURES)
    unit: float  # about the length of an edge of the wanted mesh
    center: np.ndarray  # (3,) of the box, in the space of the proxies
    scale: float  # of the box

    @property
    def first(self) -> np.ndarray:
        """Where each mesh's vertices begin, and where the last one's end (LEVELS + 1,)."""
        return np.cumsum([0, *(len(shape.vertices) for shape in self.shapes)])


def candidates_of(proxies: Sequence[Mesh], wanted: int) -> Candidates:
    """The graph of `proxies`, with rising numbers of faces, the first of which has about the `wanted` faces.

    Vertices are moved and scaled to the box of the last.
    """
    points = proxies[-1].vertices
    low, high = points.min(axis=0), points.max(axis=0)
    scale = max(float((high - low).max()), 1e-12)
    center = (low + high) / 2.0
    shapes = tuple(shape_of((mesh.vertices - center) / scale, mesh.faces) for mesh in proxies)
    unit = float(np.sqrt(2.0 * max(shapes[-1].areas.sum(), 1e-6) / max(wanted, 1)))
    trees = [cKDTree(shape.vertices) for shape in shapes]
    box = (high - low) / (2.0 * scale)
    features, messages = [], []
    first = np.cumsum([0, *(len(shape.vertices) for shape in shapes)])
    for level, shape in enumerate(shapes):
        far, mirror = mirrored(shape.vertices, -box, box)
        messages += _of_level(shape, far, mirror, int(first[level]), unit)
        features.append(_with_whole(shape, shapes, trees, level, np.sort(far, axis=1), unit, wanted, box))
        for other, tree in enumerate(trees):
            if other != level:
                kind = FEWER if other < level else MORE
                messages.append(_tellers(shape, tree, int(first[level]), int(first[other]), unit, kind))
    teller, told, relations, ways = (np.concatenate(parts) for parts in zip(*messages, strict=True))
    order = np.argsort(told, kind="stable")
    moves = np.concatenate([directions(shape) for shape in shapes])
    snaps, snap_features = aligned(np.concatenate([shape.vertices for shape in shapes]), moves[:, 0])
    return Candidates(
        shapes, np.concatenate(features).astype(np.float32), teller[order], told[order],
        relations[order].astype(np.float32), ways[order].astype(np.float32), moves.astype(np.float32),
        snaps.astype(np.float32), snap_features.astype(np.float32), unit, center, scale,
    )  # fmt: skip


def _of_level(shape: Shape, far: np.ndarray, mirror: np.ndarray, first: int, unit: float) -> list[Messages]:
    """The messages between the vertices of a mesh: along its edges, and from each one's mirrored places."""
    start, end, _ = both_ways(shape.edges)
    kind = np.tile(np.eye(KINDS)[0], (len(start), 1))
    relations = np.concatenate([mesh_edge_features(shape, unit)[:, :-1], kind], axis=1)
    found = [(end + first, start + first, relations, shape.vertices[end] - shape.vertices[start])]
    for axis in range(3):
        rows = np.flatnonzero(far[:, axis] < FAR)
        teller = mirror[rows, axis]
        way = shape.vertices[teller].copy()
        way[:, axis] *= -1.0
        way -= shape.vertices[rows]
        relations = _across(far[rows, axis] * BIN, None, unit, MIRRORED)
        found.append((teller + first, rows + first, relations, way))
    return found


def _with_whole(
    shape: Shape, shapes: Sequence[Shape], trees: list[cKDTree], level: int, mirror: np.ndarray, unit: float,
    wanted: int, box: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The features (V, INPUTS) of a level's vertices: their own, where other meshes have one, and the whole's size."""
    count = len(shape.vertices)
    far, mutual = np.zeros((count, LEVELS)), np.zeros((count, LEVELS))
    for other, tree in enumerate(trees):
        if other != level:
            far[:, other], nearest = tree.query(shape.vertices)
            mutual[:, other] = trees[level].query(shapes[other].vertices)[1][nearest] == np.arange(count)
    far = np.log(np.minimum(far / BIN, FAR) + 0.1)
    edge = np.sort((box - np.abs(shape.vertices)) / BIN, axis=1)
    whole = np.array([np.log(max(wanted, 1)), np.log(unit / BIN), len(shape.faces) / max(wanted, 1)])
    return np.concatenate(
        [
            local_features(shape, unit), np.tile(np.eye(LEVELS)[level], (count, 1)), far, mutual,
            np.log(mirror[:, :2] + 0.1), np.log(np.clip(edge[:, :1], 0.0, FAR) + 0.1), np.tile(whole, (count, 1)),
        ],
        axis=1,
    )  # fmt: skip


def _tellers(shape: Shape, tree: cKDTree, first: int, other_first: int, unit: float, kind: int) -> Messages:
    """Messages from the vertices of another mesh that are nearest to each of this one."""
    width = min(NEAREST, tree.n)
    far, nearest = tree.query(shape.vertices, k=list(range(1, width + 1)))
    told = np.repeat(np.arange(len(far)), width)
    way = tree.data[nearest.ravel()] - shape.vertices[told]
    return nearest.ravel() + other_first, told + first, _across(far.ravel(), way, unit, kind), way


def _across(far: np.ndarray, way: np.ndarray | None, unit: float, kind: int) -> np.ndarray:
    """The relations (M, RELATION) of messages that follow no edge, over distances `far` (M,)."""
    relations = np.zeros((len(far), RELATION))
    relations[:, 0], relations[:, 1] = far / unit, np.log(far / BIN + 1e-1)
    if way is not None:
        along = np.sort(np.abs(way) / np.maximum(far, 1e-9)[:, None], axis=1)
        relations[:, 4], relations[:, 5] = along[:, 2], along[:, 0]
    relations[:, EDGE_FEATURES - 1 + kind] = 1.0
    return relations
