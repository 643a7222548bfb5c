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
    both_ways,
    local_features,
    mesh_edge_features,
    mirrored,
    shape_of,
)

LEVELS = 3  # meshes of a reading: about 1, 2 and 4 times the wanted faces
NEAREST = 2  # vertices of each other mesh that tell a vertex
KINDS = 4  # of messages: in a mesh, from one with fewer faces, from one with more, from a mirrored place
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
    shapes = tuple(shape_of((mesh.vertices - (low + high) / 2.0) / scale, mesh.faces) for mesh in proxies)
    unit = float(np.sqrt(2.0 * max(shapes[-1].areas.sum(), 1e-6) / max(wanted, 1)))
    trees = [cKDTree(shape.vertices) for shape in shapes]
    box = (high - low) / (2.0 * scale)
    features, messages = [], []
    first = np.cumsum([0, *(len(shape.vertices) for shape in shapes)])
    for level, shape in enumerate(shapes):
        start, end, _ = both_ways(shape.edges)
        kind = np.tile(np.eye(KINDS)[0], (len(start), 1))
        relations = np.concatenate([mesh_edge_features(shape, unit)[:, :-1], kind], axis=1)
        messages.append((end + first[level], start + first[level], relations))
        far, mirror = mirrored(shape.vertices, -box, box)
        for axis in range(3):
            rows = np.flatnonzero(far[:, axis] < FAR)
            off = far[rows, axis] * BIN
            messages.append(_across(mirror[rows, axis] + first[level], rows + first[level], off, None, unit, 3))
        features.append(_with_whole(shape, shapes, trees, level, np.sort(far, axis=1), unit, wanted, box))
        for other, tree in enumerate(trees):
            if other != level:
                messages.append(_tellers(shape, tree, first[level], first[other], unit, 1 if other < level else 2))
    teller, told, relations = (np.concatenate(parts) for parts in zip(*messages, strict=True))
    order = np.argsort(told, kind="stable")
    return Candidates(
        shapes, np.concatenate(features).astype(np.float32), teller[order], told[order],
        relations[order].astype(np.float32),
    )  # fmt: skip


def _with_whole(shape, shapes, trees, level, mirror, unit, wanted, box) -> np.ndarray:
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


def _tellers(shape, tree, first, other_first, unit, kind):
    """Messages from the vertices of another mesh that are nearest to each of this one."""
    width = min(NEAREST, tree.n)
    far, nearest = tree.query(shape.vertices, k=list(range(1, width + 1)))
    told = np.repeat(np.arange(len(far)), width)
    way = tree.data[nearest.ravel()] - shape.vertices[told]
    return _across(nearest.ravel() + other_first, told + first, far.ravel(), way, unit, kind)


def _across(teller, told, far, way, unit, kind):
    """A message (teller, told, relations) that does not follow an edge."""
    relations = np.zeros((len(far), RELATION))
    relations[:, 0], relations[:, 1] = far / unit, np.log(far / BIN + 1e-1)
    if way is not None:
        along = np.sort(np.abs(way) / np.maximum(far, 1e-9)[:, None], axis=1)
        relations[:, 4], relations[:, 5] = along[:, 2], along[:, 0]
    relations[:, EDGE_FEATURES - 1 + kind] = 1.0
    return teller, told, relations
