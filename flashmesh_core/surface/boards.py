"""Boards with four faces left made whole: an edge collapse leaves half of one, a corner of it gone.

Planks, doors and shelves are boxes. The best that four faces show of one is a tetrahedron between every other corner,
which covers it from both sides. The collapse does not find it where the diagonals of both sides run the same way: the
last edge that could go is one of them, and a corner goes instead.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import boxes_of, face_areas, face_components, longest_sides, manifold_twins, only
from flashmesh_core.surface.manifold import volumes_of
from flashmesh_core.surface.nearness import distance_from
from flashmesh_core.surface.placement import Planes

SMALLEST = 0.6  # longest side of what is left of a board over that of the board; what is smaller is of another
REACH, SLACK = 0.6, 0.05  # of the sides of its box, and of the longest side of all, that it reaches from the middle
SAMPLES = 400
NO_AREA = 1e-12  # of the longest side squared: of a part on one line, to rounding
MOST = 100  # parts that are looked at, the largest: half a second
EVERY_OTHER = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])  # corners of a box


def with_whole_boards(vertices: np.ndarray, faces: np.ndarray, planes: Planes) -> np.ndarray:
    """The vertices (V, 3) of a mesh, parts of four faces between every other corner of what they were, if nearer.

    `faces` (F, 3) int32; `planes` are of the surface that it was collapsed from. Nearer is the mean distance from the
    part that they were, and back. What is not told among the parts of that surface stays as it is.
    """
    twin = manifold_twins(faces, len(vertices))
    label, count = face_components(faces, twin)
    few = np.bincount(label, minlength=count) == 4
    few[label[np.flatnonzero(twin < 0) // 3]] = False
    if not few.any():
        return vertices
    parts = np.flatnonzero(few)
    parts = parts[np.argsort(-longest_sides(vertices, faces, label, count)[parts], kind="stable")][:MOST]
    dense, of = face_components(planes.faces, manifold_twins(planes.faces, len(planes.vertices)))
    rows = np.split(np.argsort(dense, kind="stable"), np.cumsum(np.bincount(dense))[:-1])
    surface = Mesh(planes.vertices, planes.faces)
    low, high = boxes_of(planes.vertices, planes.faces, dense, of)
    vertices, free = vertices.copy(), np.bincount(dense, face_areas(planes.vertices, planes.faces)) > NO_AREA
    for part in parts:
        corners, left = np.unique(faces[label == part]), only(Mesh(vertices, faces), label == part)
        off = np.abs(left.vertices[:, None] - (low + high) / 2.0).max(axis=0)
        near = free & (off < REACH * (high - low) + SLACK).all(axis=1)
        near &= np.ptp(left.vertices, axis=0).max() > SMALLEST * (high - low).max(axis=1)
        boards = [only(surface, rows[was]) for was in np.flatnonzero(near)]
        if len(corners) != 4 or not boards or face_areas(left.vertices, left.faces).sum() < NO_AREA:
            continue
        distances = [distance_from(board, SAMPLES) for board in boards]
        nearest = int(np.argmin([distance(left) for distance in distances]))
        free[np.flatnonzero(near)[nearest]] = False
        volume = _volume(boards[nearest])
        whole = [_wound_as(volume, found, left.faces) for found in _every_other_corner(boards[nearest])]
        vertices[corners] = min([left, *whole], key=distances[nearest]).vertices
    return vertices


def _every_other_corner(board: Mesh) -> list[np.ndarray]:
    """The corners (4, 3) of two tetrahedra in the box around a board; none where it has no box.

    The box stands on the plane along which the board is widest, and is the smallest there.
    """
    corners = board.triangles
    centers, areas = corners.mean(axis=1), face_areas(board.vertices, board.faces)
    middle = np.average(centers, axis=0, weights=areas)
    off = np.concatenate([corners, 3.0 * centers[:, None] - 2.0 * middle], axis=1) - middle
    _, axes = np.linalg.eigh(np.einsum("f,fki,fkj->ij", areas, off, off))  # second moments of triangles, twelve times
    along = (board.vertices - middle) @ axes[:, 1:]
    try:
        hull = along[ConvexHull(along).vertices]
    except QhullError:
        return []
    sides = np.roll(hull, -1, axis=0) - hull
    sides /= np.linalg.norm(sides, axis=1, keepdims=True)
    turns = np.stack([sides, np.stack([-sides[:, 1], sides[:, 0]], axis=1)], axis=1)  # (H, 2, 2)
    turn = turns[np.ptp(turns @ hull.T, axis=2).prod(axis=1).argmin()]
    frame = np.column_stack([axes[:, 1:] @ turn.T, axes[:, 0]])
    inside = (board.vertices - middle) @ frame
    low, high = inside.min(axis=0), inside.max(axis=0)
    return [middle + ((low + high) / 2.0 + (high - low) / 2.0 * sign * EVERY_OTHER) @ frame.T for sign in (1, -1)]


def _wound_as(volume: float, corners: np.ndarray, faces: np.ndarray) -> Mesh:
    """The tetrahedron of `faces` (4, 3) over `corners` (4, 3), which looks in if the volume of its board is below 0."""
    found = Mesh(corners, faces)
    return found if _volume(found) * volume >= 0.0 else Mesh(corners[[1, 0, 2, 3]], faces)


def _volume(mesh: Mesh) -> float:
    """Six times the volume of a mesh of one part, below 0 if it is wound inwards."""
    faces, one = mesh.faces.astype(np.int32), np.zeros(len(mesh.faces), dtype=np.int32)
    off = mesh.vertices - mesh.vertices[0]
    return float(volumes_of(off, faces, manifold_twins(faces, len(off)), one, 1)[1][0])
