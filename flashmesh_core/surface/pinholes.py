"""Holes of a dense mesh that are there by accident, closed: those of a few edges, as remeshes leave, and gashes.

A gash is where a scanner saw nothing. Its border runs in a zigzag along whatever triangles were there, where the border
of an opening that somebody made is smooth.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.sampling import triangle_areas
from flashmesh_core.surface.adjacency import compact, face_components, labels_of_vertices, manifold_twins, unit_rows
from flashmesh_core.surface.borders import open_edges
from flashmesh_core.surface.denoising import is_modelled, typical_edge
from flashmesh_core.surface.fairing import faired

MAX_EDGES, MOST_EDGES = 8.0, 12  # perimeter of a hole that is an accident, in typical edges; edges around it
GASH, RAGGED = 0.15, 20.0  # longest sides that a gash is long at most; degrees that its border turns at each edge
BACK = 0.25  # share of a part's area from which on its caps are the back of a sheet
SCRAPS = 0.02  # share of the mesh's area up to which such sheets are scraps, which close and then go


def close_pinholes(mesh: Mesh, gashes: bool = False) -> tuple[Mesh, int]:
    """The mesh with holes closed, by fans, of at most MOST_EDGES edges and a perimeter below MAX_EDGES typical ones.

    `mesh` is clean: edge-manifold, oriented, every vertex with one fan. Modelled meshes come back as they are, since
    their holes are meant. So do small loose sheets, a tree's leaves, unless all of them together are next
    to nothing: closed, a sheet is two sides without a volume. `gashes` of a mesh in the unit box are closed, too; how
    many is what comes second.
    """
    edge = typical_edge(mesh)
    if not len(mesh.faces) or is_modelled(mesh, edge):
        return mesh, 0
    loops = border_loops(mesh.faces.astype(np.int32), len(mesh.vertices))
    if not loops:
        return mesh, 0
    lengths = np.array([len(loop) for loop in loops])
    ends = np.cumsum(lengths)
    ring, loop, starts = np.concatenate(loops), np.repeat(np.arange(len(loops)), lengths), ends - lengths
    onward = np.arange(1, len(ring) + 1)
    onward[ends - 1] = starts
    places = mesh.vertices[ring]
    sides = places[onward] - places
    perimeter = np.add.reduceat(np.linalg.norm(sides, axis=1), starts)
    middles = np.add.reduceat(places, starts, axis=0) / lengths[:, None]
    vertices = np.concatenate([mesh.vertices, middles])
    closed = (perimeter < MAX_EDGES * edge) & (lengths <= MOST_EDGES)
    length = np.maximum.reduceat(places, starts) - np.minimum.reduceat(places, starts)
    is_gash = ~closed & (length.max(axis=1) < GASH) & gashes
    if is_gash.any():
        turns = np.add.reduceat(_turns(sides, sides[onward]), starts) - 360.0  # a smooth round border's are 360
        is_gash &= turns > RAGGED * lengths
    fans = np.stack([ring, ring[onward], len(mesh.vertices) + loop], axis=1)[(closed | is_gash)[loop]]
    if len(fans):
        fans = fans[_fills(vertices, mesh.faces.astype(np.int32), fans)]
    if not len(fans):
        return mesh, 0
    filled = np.unique(fans[:, 2]) - len(mesh.vertices)
    closed_gashes = {len(mesh.vertices) + hole: loops[hole] for hole in filled[is_gash[filled]]}
    return _with_fills(mesh, vertices, fans, closed_gashes, edge), len(closed_gashes)


def _with_fills(mesh: Mesh, vertices: np.ndarray, fans: np.ndarray, gashes: dict[int, np.ndarray], edge: float) -> Mesh:
    """The mesh and `fans` (K, 3) over `vertices` (V, 3), but with rings of triangles of about `edge` in `gashes`.

    Those are the loops around them, by the vertex that is their middle.
    """
    middles = np.array(list(gashes), dtype=np.int64)
    faces, places, count = [mesh.faces, fans[~np.isin(fans[:, 2], middles)]], [vertices], len(vertices)
    for middle, loop in gashes.items():
        inner, made = rings_of_faces(vertices[loop], vertices[middle], edge)
        faces.append(np.concatenate([loop, [middle], np.arange(count, count + len(inner))])[made])
        places.append(inner)
        count += len(inner)
    free = np.arange(count) >= len(vertices)
    free[middles] = True
    used, numbered = compact(np.concatenate(faces), count)
    return faired(Mesh(np.concatenate(places)[used], numbered.astype(np.int64)), free[used])


def rings_of_faces(border: np.ndarray, middle: np.ndarray, edge: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (M, 3) between a `border` (N, 3) and the `middle` of its hole, and the faces (K, 3) that fill it.

    The faces count the border's vertices, then the middle, then the others.
    """
    count = len(border)
    rings = max(round(float(np.linalg.norm(border - middle, axis=1).mean()) / edge), 1)
    outer, inner, faces, first = np.arange(count), [np.empty((0, 3))], [], count + 1
    for share in np.arange(1, rings) / rings:
        along = np.arange(max(round(count * (1.0 - share)), 3))
        at, rest = np.divmod(along * (count / len(along)), 1.0)
        at = at.astype(np.int64)
        places = border[at] + rest[:, None] * (border[(at + 1) % count] - border[at])
        inner.append(places + share * (middle - places))
        faces.append(_between(outer, first + along))
        outer, first = first + along, first + len(along)
    faces.append(np.stack([outer, np.roll(outer, -1), np.full(len(outer), count)], axis=1))
    return np.concatenate(inner), np.concatenate(faces)


def _between(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The faces (N + M, 3) between two rings of N and M vertices that begin beside each other."""
    after = np.concatenate([np.arange(1, len(outer) + 1) / len(outer), np.arange(1, len(inner) + 1) / len(inner)])
    inwards = np.repeat([False, True], [len(outer), len(inner)])[np.argsort(after, kind="stable")]
    i, j = np.cumsum(~inwards) - ~inwards, np.cumsum(inwards) - inwards
    a, b = outer[i % len(outer)], inner[j % len(inner)]
    onward = np.where(inwards, inner[(j + 1) % len(inner)], outer[(i + 1) % len(outer)])
    return np.stack([a, onward, b], axis=1)


def _turns(sides: np.ndarray, following: np.ndarray) -> np.ndarray:
    """The angles (N,) between vectors (N, 3), in degrees."""
    along = np.einsum("ni,ni->n", unit_rows(sides), unit_rows(following))
    return np.degrees(np.arccos(np.clip(along, -1.0, 1.0)))


def border_loops(faces: np.ndarray, count: int) -> list[np.ndarray]:
    """Vertices (N,) of each loop of open edges, in the direction in which faces may fill it."""
    _, tails, heads = open_edges(faces, count)
    onward = dict(zip(heads.tolist(), tails.tolist(), strict=True))
    loops = []
    while onward:
        first, at = onward.popitem()
        loop = [first]
        while at != first and at in onward:
            loop.append(at)
            at = onward.pop(at)
        if at == first and len(loop) >= 3:
            loops.append(np.array(loop, dtype=np.int64))
    return loops


def _fills(vertices: np.ndarray, faces: np.ndarray, fans: np.ndarray) -> np.ndarray:
    """Which faces (K, 3) fill holes: all but those that would be the back of a loose sheet, if not only scraps are."""
    label, count = face_components(faces, manifold_twins(faces, len(vertices)))
    parts = labels_of_vertices(faces, label, len(vertices))[fans[:, 0]]
    areas = np.bincount(label, triangle_areas(vertices[faces]), minlength=count)
    is_sheet = np.bincount(parts, triangle_areas(vertices[fans]), minlength=count) > BACK * areas
    if areas[is_sheet].sum() <= SCRAPS * areas.sum():
        return np.ones(len(fans), dtype=bool)
    return ~is_sheet[parts]
