"""Fewer triangles for a dense surface, by quadric error (Garland and Heckbert 1997).

A sculpt or a scan has no corners that samples could tell; the vertices of its simplified surface are where a low-poly
mesh of about as many faces would have its own. The library `fast-simplification` does it.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.metrics import has_area

SAME_PLACE = 1e-6  # of the longest side: vertices nearer than about this are one


def weld(mesh: Mesh) -> Mesh:
    """The mesh with vertices at one place made one, without faces that thereby lose a corner or unused vertices."""
    low, extent = _box(mesh)
    x, y, z = np.round((mesh.vertices - low) / (extent * SAME_PLACE)).astype(np.int64).T
    _, first, number = np.unique((x << 42) | (y << 21) | z, return_index=True, return_inverse=True)
    faces = number.reshape(-1)[mesh.faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    used, faces = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[first[used]], faces.reshape(-1, 3))


def simplify(mesh: Mesh, faces: int, box_of: np.ndarray | None = None) -> Mesh:
    """A mesh of about `faces` triangles near `mesh`; `mesh` itself, welded, where it has no more or nothing is left.

    It fills the bounding box of `mesh`, or of the points `box_of` (N, 3).
    Raises ValueError for fewer than 4 faces wanted.
    """
    if faces < 4:
        raise ValueError(f"faces must be at least 4, got {faces}")
    welded = weld(mesh)
    if len(welded.faces) <= faces:
        return welded
    import fast_simplification

    low, extent = _box(welded)
    unit = ((welded.vertices - low) / extent).astype(np.float32)  # the library calculates in float32
    vertices, triangles = fast_simplification.simplify(unit, welded.faces.astype(np.int32), target_count=faces)
    if not has_area(vertices, triangles):
        return welded
    simple = weld(Mesh(vertices.astype(np.float64) * extent + low, triangles.astype(np.int64)))
    _keep_box(simple.vertices, welded.vertices if box_of is None else box_of)
    return simple


def _box(mesh: Mesh) -> tuple[np.ndarray, float]:
    """The lowest corner (3,) of the bounding box and its longest side, 1 where it has none."""
    low = mesh.vertices.min(axis=0)
    extent = float((mesh.vertices - low).max())
    return low, extent if extent > 0.0 else 1.0


def _keep_box(vertices: np.ndarray, like: np.ndarray) -> None:
    """Move the outermost vertex of each side onto that side of the bounding box of `like`."""
    for axis in range(3):
        vertices[vertices[:, axis].argmin(), axis] = like[:, axis].min()
        vertices[vertices[:, axis].argmax(), axis] = like[:, axis].max()
