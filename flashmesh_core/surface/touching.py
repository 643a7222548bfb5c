"""What a proxy touches itself with is taken apart: welded, as every file is, its edges would have four faces."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh, vertex_normals
from flashmesh_core.mesh.half_edge import degenerate_faces
from flashmesh_core.mesh.io import first_at_place
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.adjacency import compact, face_components, manifold_twins

SLIT = 1e-3  # of the longest side, here 1


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
    """The vertices (V, 3) of a mesh with the ends of edges drawn in that lie where another of the same part does.

    Each by SLIT against its normal. Edges of two parts stay, as those of boxes set side by side.
    """
    place = first_at_place(positions)
    if (place == np.arange(len(positions))).all():
        return positions
    part = face_components(faces, manifold_twins(faces, len(positions)))[0].repeat(3)
    ends = np.stack([faces.ravel(), np.roll(faces, -1, axis=1).ravel()])
    there = np.sort(place[ends], axis=0)
    _, which, count = np.unique(np.stack([*there, part]), axis=1, return_inverse=True, return_counts=True)
    drawn = np.unique(ends[:, count[which] > 2])
    moved = positions.copy()
    moved[drawn] -= SLIT * vertex_normals(Mesh(positions, faces))[drawn]
    return moved
