"""Faces that a proxy may still have, spent where the surface is farthest from it.

Leaving out faces that carry nothing makes a mesh of fewer than were wanted. On smooth shapes chance leaves one place
much coarser than the others; a vertex there is worth more than anywhere else.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.placement import Planes

LEAST, NOISES, EDGES = 0.005, 4.0, 0.6  # of the longest side, noises, typical edges: a nearer place is no gap
MOST = 0.03  # of the longest side: what is farther belongs to a part that was left out
TURN = 0.3  # cosine of a new face, and of the surface's, to the face that they come in place of
EVEN = 0.1  # height of a new triangle over its longest side, at the least
SHARE = 0.005  # vertices for each wanted face: of a mesh of few faces each is where an artist's should be
MOST_PLACES = 20_000  # of the surface that are looked at


def with_gaps_filled(
    vertices: np.ndarray, faces: np.ndarray, count: int, planes: Planes, edge: float, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """The mesh (V, 3), (F, 3) int32 with a vertex on each of the farthest places of the surface, at most `count` faces.

    `planes` are of the surface, `edge` and `noise` its typical edge and noise, lengths of the unit box. Each vertex
    cuts the face nearest to it in three. A place is passed over where that would fold the mesh, or leave a sliver.
    """
    more = min((count - len(faces)) // 2, int(SHARE * count))
    if more < 1:
        return vertices, faces
    some = np.linspace(0, len(planes.centers) - 1, min(len(planes.centers), MOST_PLACES)).astype(np.int64)
    places, normals = planes.centers[some], planes.normals[some]
    far, nearest = TriangleTree.of_mesh(vertices, faces).nearest(places)
    least = max(LEAST, NOISES * noise, EDGES * edge)
    open_to = far <= MOST
    while more and open_to.any():
        place = int(np.where(open_to, far, 0.0).argmax())
        if far[place] < least:
            break
        open_to[place] = False
        face = int(nearest[place])
        cut = _cut_in_three(vertices, faces[face], places[place], normals[place])
        if cut is None:
            continue
        vertices = np.concatenate([vertices, places[place : place + 1]])
        numbers = np.array([face, len(faces), len(faces) + 1])
        faces = np.concatenate([faces, cut[1:]])
        faces[face] = cut[0]
        around = np.flatnonzero(nearest == face)
        far[around], row = TriangleTree.of_mesh(vertices, cut).nearest(places[around])
        nearest[around] = numbers[row]
        more -= 1
    return vertices, faces


def _cut_in_three(vertices: np.ndarray, face: np.ndarray, place: np.ndarray, normal: np.ndarray) -> np.ndarray | None:
    """The faces (3, 3) from the sides of a face (3,) to a new last vertex at `place`; None where they would be bad."""
    cut = np.array([[face[k], face[(k + 1) % 3], len(vertices)] for k in range(3)], dtype=np.int32)
    points = np.concatenate([vertices, place[None]])
    before = face_geometry(vertices, face[None])[0][0]
    after, areas, _ = face_geometry(points, cut)
    corners = points[cut]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    folds = float(normal @ before) < TURN or float((after @ before).min()) < TURN
    return None if folds or bool((2.0 * areas < EVEN * longest**2).any()) else cut
