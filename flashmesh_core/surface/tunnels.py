"""Tunnels through thin walls where no sample tells of one: both sides of the wall go on over the gap instead.

Where a scan has a gap on both sides of a plate, the surface that is nearest to both lines it like a tunnel. A hole that
is there has walls, which were sampled, or the surface turns into it.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import compact, face_geometry, unit_rows
from flashmesh_core.surface.borders import open_edges
from flashmesh_core.surface.denoising import typical_edge
from flashmesh_core.surface.extension import extended
from flashmesh_core.surface.fairing import faired
from flashmesh_core.surface.guesses import HOLE
from flashmesh_core.surface.pinholes import border_loops, rings_of_faces

LEVEL = 0.8  # mean cosine between what fills a loop and the faces around it, above which the surface goes on there


def without_tunnels(mesh: Mesh, unseen: np.ndarray) -> Mesh:
    """The mesh, in the unit box, with the tunnels through its walls that no sample tells of closed at both ends.

    `unseen` (V,) numbers the patch that each vertex is of where no sample tells; -1 where one does. A patch between two
    or more loops is a tunnel if the surface around each goes on over it, and none is wider than a hole that is closed.
    """
    patch = unseen[mesh.faces].max(axis=1, initial=-1)
    if patch.max(initial=-1) < 0:
        return mesh
    order = np.argsort(patch, kind="stable")[np.count_nonzero(patch < 0) :]
    _, tails, heads = open_edges(mesh.faces.astype(np.int32), len(mesh.vertices))
    at_border = np.zeros(len(mesh.vertices), dtype=np.bool_)
    at_border[tails] = at_border[heads] = True
    goes, found = np.zeros(len(mesh.faces), dtype=np.bool_), list[np.ndarray]()
    for mine in np.split(order, np.flatnonzero(np.diff(patch[order])) + 1):
        loops = [] if at_border[mesh.faces[mine]].any() else _ends(mesh.faces[mine], len(mesh.vertices))
        if len(loops) >= 2 and all(_goes_on(mesh, mine, loop) for loop in loops):
            goes[mine] = True
            found += loops
    return _capped(mesh, goes, found) if found else mesh


def _ends(faces: np.ndarray, count: int) -> list[np.ndarray]:
    """The loops (L,) around some of the faces, (F, 3), in the direction in which others may fill them.

    None where the border touches itself.
    """
    turned = np.ascontiguousarray(faces[:, ::-1], dtype=np.int32)
    loops, (_, tails, _) = border_loops(turned, count), open_edges(turned, count)
    return loops if len(np.unique(tails)) == len(tails) == sum(map(len, loops)) else []


def _goes_on(mesh: Mesh, mine: np.ndarray, loop: np.ndarray) -> bool:
    """Whether the surface around a loop of the faces `mine` is level with what would fill it, no wider than a hole."""
    ring = mesh.vertices[loop]
    if (np.ptp(ring, axis=0) >= HOLE).any():
        return False
    beside = np.asarray(np.isin(mesh.faces, loop).any(axis=1))
    beside[mine] = False
    around = mesh.faces[beside].astype(np.int32)
    normals, areas, _ = face_geometry(mesh.vertices, around)
    off = ring - ring.mean(axis=0)
    across = unit_rows(np.cross(off, np.roll(off, -1, axis=0)).sum(axis=0)[None])[0]
    return bool(areas @ (normals @ across) > LEVEL * areas.sum())


def _capped(mesh: Mesh, goes: np.ndarray, loops: list[np.ndarray]) -> Mesh:
    """The mesh without the faces that go, and each of the loops filled as the surface around it goes on."""
    edge, count = typical_edge(mesh), len(mesh.vertices)
    faces, places, hole = [mesh.faces[~goes]], [mesh.vertices], [np.full(count, -1)]
    for number, loop in enumerate(loops):
        ring = mesh.vertices[loop]
        middle = ring.mean(axis=0)
        inner, made = rings_of_faces(ring, middle, edge)
        new = np.concatenate([middle[None], inner])
        faces.append(np.concatenate([loop, np.arange(count, count + len(new))])[made])
        places.append(new)
        hole.append(np.full(len(new), number))
        count += len(new)
    used, numbered = compact(np.concatenate(faces), count)
    of = np.concatenate(hole)[used]
    return extended(faired(Mesh(np.concatenate(places)[used], numbered.astype(np.int64)), of >= 0), of)
