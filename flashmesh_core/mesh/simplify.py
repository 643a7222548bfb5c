"""Fewer triangles for a dense surface, by quadric error (Garland and Heckbert 1997).

A sculpt or a scan has no corners that samples could tell; the vertices of its simplified surface are where a low-poly
mesh of about as many faces would have its own. The library `fast-simplification` does it.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import weld
from flashmesh_core.mesh.metrics import has_area

SAME_PLACE = 1e-6  # of the longest side: vertices nearer than about this are one


def simplify(mesh: Mesh, faces: int, box_of: np.ndarray | None = None) -> Mesh:
    """A mesh of about `faces` triangles near `mesh`; `mesh` itself, welded, where it has no more or nothing is left.

    It fills the bounding box of `mesh`, or of the points `box_of` (N, 3).
    Raises ValueError for fewer than 4 faces wanted.
    """
    if faces < 4:
        raise ValueError(f"faces must be at least 4, got {faces}")
    low, extent = _box(mesh)
    welded = weld(mesh.vertices, mesh.faces, SAME_PLACE * extent)
    if len(welded.faces) <= faces:
        return welded
    import fast_simplification

    unit = ((welded.vertices - low) / extent).astype(np.float32)  # the library calculates in float32
    vertices, triangles = fast_simplification.simplify(unit, welded.faces.astype(np.int32), target_count=faces)
    if not has_area(vertices, triangles):
        return welded
    simple = weld(vertices.astype(np.float64) * extent + low, triangles, SAME_PLACE * extent)
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
