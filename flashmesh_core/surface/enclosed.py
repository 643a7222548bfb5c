"""Parts of a mesh inside of others left out: nobody sees them, and each costs as many faces as if one did.

Generated meshes and parts stuck into each other have them. Hollows stay, since somebody may have modelled them, and so
does what lies in them.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import boxes_of, face_components, face_geometry, manifold_twins, only
from flashmesh_core.surface.manifold import volumes_of
from flashmesh_core.surface.solid_angles import Windings

PLACES = 4096  # of a part looked at, corners and middles of its faces: a lens may touch its tube with all corners
DOUBTFUL = 0.9  # share of them before the nearest face, where all may be inside still: at a sharp edge it misleads
RECOUNTED = 256  # of these and of the others for which the winding number is asked
MOST_AROUND = 32  # parts that others are looked for in, the largest


def without_enclosed_parts(mesh: Mesh) -> tuple[Mesh, int]:
    """The mesh without closed parts inside of another one, and how many these are.

    `mesh` is clean: closed parts are wound outwards, hollows inwards.
    """
    faces = mesh.faces.astype(np.int32)
    twins = manifold_twins(faces, len(mesh.vertices))
    label, count = face_components(faces, twins)
    closed, volume = volumes_of(mesh.vertices, faces, twins, label, count)
    solid, hollow = closed & (volume > 0.0), closed & (volume < 0.0)
    if count < 2 or not solid.any():
        return mesh, 0
    low, high = boxes_of(mesh.vertices, faces, label, count)
    gone = np.zeros(count, dtype=bool)
    faces_of = np.split(np.argsort(label, kind="stable"), np.cumsum(np.bincount(label))[:-1])
    for part in np.argsort(-np.where(solid, volume, 0.0))[: min(int(solid.sum()), MOST_AROUND)]:
        within = solid & ~gone & (low > low[part]).all(axis=1) & (high < high[part]).all(axis=1)
        if within.any() and not gone[part]:
            gone |= _inside(mesh, faces, hollow[label] | (label == part), faces_of, within)
    if not gone.any():
        return mesh, 0
    return only(mesh, ~gone[label]), int(gone.sum())


def _inside(
    mesh: Mesh, faces: np.ndarray, wall: np.ndarray, faces_of: list[np.ndarray], within: np.ndarray
) -> np.ndarray:
    """Which parts (P,), of those `within` the box of a part, are inside; `wall` (F,): its faces and all hollows."""
    rng, result = np.random.default_rng(0), np.zeros(len(within), dtype=bool)
    tree = TriangleTree.of_mesh(mesh.vertices, faces[wall])
    windings, normals = Windings.of_tree(tree), face_geometry(mesh.vertices, faces[wall])[0]
    for part in np.flatnonzero(within):
        own = faces[faces_of[part]]
        places = np.concatenate([mesh.vertices[np.unique(own)], mesh.vertices[own].mean(axis=1)])
        places = places[rng.choice(len(places), min(len(places), PLACES), replace=False)]
        _, face, nearest = tree.nearest_points(places)
        doubtful = np.flatnonzero(np.einsum("ni,ni->n", places - nearest, normals[face]) >= 0.0)
        if len(doubtful) > DOUBTFUL * len(places):
            continue
        some = rng.choice(doubtful, min(len(doubtful), RECOUNTED), replace=False)
        some = np.append(some, rng.choice(len(places), min(len(places), RECOUNTED)))
        result[part] = (windings.around(places[some]) > 0.5).all()
    return result
