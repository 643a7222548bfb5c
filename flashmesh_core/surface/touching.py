"""What a proxy touches itself with is taken apart: welded, as every file is, its edges would have four faces."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.half_edge import degenerate_faces
from flashmesh_core.mesh.io import first_at_place
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.adjacency import compact, face_components, manifold_twins
from flashmesh_core.surface.flat_places import area_vector
from flashmesh_core.surface.manifold import turn_edge


def without_touching_caps(positions: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mesh (V, 3), (F, 3) with handles joined again whose two caps were left lying on each other, back to back."""
    place = first_at_place(positions)
    if (place == np.arange(len(positions))).all():
        return positions, faces
    apart = np.arange(3 * len(positions)).reshape(-1, 3)  # every vertex at a place of its own
    corners = np.sort(place[faces], axis=1)
    order = np.lexsort(corners.T)
    same = np.flatnonzero((corners[order[1:]] == corners[order[:-1]]).all(axis=1))
    for cap, other in zip(order[same], order[same + 1], strict=True):
        if faces[cap, 0] == faces[cap, 1]:
            continue
        joined = np.arange(len(positions))
        vertex_at = dict(zip(place[faces[cap]].tolist(), faces[cap].tolist(), strict=True))
        joined[faces[other]] = [vertex_at[at] for at in place[faces[other]].tolist()]
        found = joined[faces].astype(faces.dtype)
        found[[cap, other]] = 0  # degenerate: left out below, so that the others keep their numbers
        if is_manifold_and_closed(apart, found)[0]:
            faces = found
    used, faces = compact(faces[~degenerate_faces(faces)], len(positions))
    return positions[used], faces


def without_touching_edges(positions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """`faces` (F, 3) over `positions` (V, 3) with one of two edges of a part turned that lie at the same place.

    The one that moves the surface least, among those whose turned edge lies where no other does; if there is none, both
    stay. So do those of two parts, as of boxes set side by side.
    """
    place = first_at_place(positions)
    if (place == np.arange(len(positions))).all():
        return faces
    while True:
        twin = manifold_twins(faces, len(positions))
        part, edges = face_components(faces, twin)[0].repeat(3), _edges_at(place[faces])
        known = set(edges.tolist())
        _, which, count = np.unique(np.stack([edges, part]), axis=1, return_inverse=True, return_counts=True)
        touching = np.flatnonzero(count[which] > 2)
        turns = []
        for h in touching[twin[touching] > touching].tolist():
            a, b, c, d = _quad(faces, twin, h)
            if place[c] != place[d] and _edges_at(place[[[c, d]]])[0] not in known:
                turns.append((_moved(*positions[[a, b, c, d]]), h))
        faces, before = faces.copy(), faces
        if not any(turn_edge(faces, twin, np.zeros(len(faces), dtype=bool), h) for _, h in sorted(turns)):
            return before


def _edges_at(rings: np.ndarray) -> np.ndarray:
    """A number for the edge from each of `rings` (N, K) to the next around, the same one both ways: (N * K,)."""
    ends = np.stack([rings, np.roll(rings, -1, axis=1)])
    return ((ends.min(axis=0).astype(np.int64) << 32) + ends.max(axis=0)).ravel()


def _quad(faces: np.ndarray, twin: np.ndarray, h: int) -> tuple[int, int, int, int]:
    """The vertices of half-edge h, start and end, and the third ones of its face and of the one beyond."""
    face, k = divmod(h, 3)
    a, b, c = np.roll(faces[face], -k).tolist()
    return a, b, c, int(faces[twin[h] // 3, (twin[h] + 2) % 3])


def _moved(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> tuple[bool, float]:
    """Whether a face of the quad turns its back if a-b is turned to c-d, and the volume that comes in or goes."""
    side = area_vector(a, b, c) + area_vector(b, a, d)
    folds = min((area_vector(a, d, c) * side).sum(), (area_vector(d, b, c) * side).sum()) <= 0.0
    return bool(folds), float(abs((area_vector(a, b, c) * (d - a)).sum()))
