"""Vertices that nothing is known of, where the surface bends least: what fills a hole goes on as its border begins.

As a thin plate does (Botsch and Kobbelt 2004): the sum of squares of the uniform Laplacian, over the free vertices and
those beside them, is least.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.borders import open_edges

HOLD = 1e-10  # of the old place, so that what hangs on nothing stays


def faired(mesh: Mesh, free: np.ndarray) -> Mesh:
    """The mesh with its `free` vertices (V,) where it bends least; those of open edges and all others stay."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    if not free.any():
        return mesh
    free = free.copy()
    _, tails, heads = open_edges(mesh.faces.astype(np.int32), len(mesh.vertices))
    free[tails] = free[heads] = False
    bent = _beside(mesh.faces, free)
    faces = mesh.faces[bent[mesh.faces].any(axis=1)]
    used, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3)
    tails, heads = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    beside = sparse.csr_matrix((np.ones(len(tails)), (tails, heads)), shape=(len(used),) * 2)
    beside = ((beside + beside.T) > 0.0).astype(np.float64)
    degree = np.asarray(beside.sum(axis=1)).ravel()
    rows = (sparse.identity(len(used)) - sparse.diags(1.0 / degree) @ beside).tocsr()[bent[used]]
    moved = free[used]
    own, others = rows[:, moved], rows[:, ~moved]
    before = mesh.vertices[used]
    system = (own.T @ own + HOLD * sparse.identity(int(moved.sum()))).tocsc()
    vertices = mesh.vertices.copy()
    vertices[used[moved]] = splu(system).solve(HOLD * before[moved] - own.T @ (others @ before[~moved]))
    return Mesh(vertices, mesh.faces)


def _beside(faces: np.ndarray, some: np.ndarray) -> np.ndarray:
    """`some` vertices (V,) and all that share a face with one of them."""
    result = some.copy()
    result[faces[some[faces].any(axis=1)]] = True
    return result
