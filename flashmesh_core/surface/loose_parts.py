"""Small parts are given up where they cost more faces than they show: a closed one keeps four, however small it is.

Remeshes of thin ends, and handles that were cut, leave crumbs; a few dozen faces would go to them while the large parts
lose their shape.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import compact, face_areas, parts_of
from flashmesh_core.surface.borders import open_edges
from flashmesh_core.surface.denoising import Denoised, is_modelled, typical_edge
from flashmesh_core.surface.pinholes import SCRAPS
from flashmesh_core.surface.reach import dearness

CRUMB_FACES, CRUMB_EDGES = 32, 2.0  # a part of so few faces, no longer than so many typical edges, is noise
MOST_FACES = 16  # of a part that may be given up as a whole
ALIKE = 2.0  # steps of size an octave, within which parts are alike
ROUNDS = 10  # that those which stay are evened out in
OFFERED = 4  # times the faces wanted: parts of one size that are chosen from
CORNER, MIDDLE = 1 / 12, 3 / 4  # weights of a triangle's corners and its middle, exact for squared distances of planes


def costs_of_parts(
    positions: np.ndarray,
    faces: np.ndarray,
    weights: np.ndarray,
    labels: np.ndarray,
    sizes: np.ndarray,
    *,
    power: float,
    reach: float,
) -> np.ndarray:
    """What leaving out each part (P,) of `faces` (F, 3) costs for every two faces of it; inf for one that must stay.

    `weights` (V,) are those of the vertices' quadrics, `labels` (F,) the faces' parts, `sizes` (P,) their longest
    sides. The cost is the mean squared distance of a part from the parts that must stay, times its weight to the power
    1 - `power`: that of an edge, with which two faces go; as an edge it is dearer by what is left behind farther than
    `reach` (reach.py). A part is missed no farther than it is long: however far away it floats, nobody sees more of it.
    Parts of more than MOST_FACES faces and the heaviest must stay.
    """
    count = np.bincount(labels)
    part = np.full(len(positions), -1)
    part[faces] = labels[:, None]
    used = part >= 0
    weight = np.bincount(part[used], weights[used], minlength=len(count))
    small = count <= MOST_FACES
    small[weight.argmax()] = False
    if not small.any():
        return np.full(len(count), np.inf)
    tree = TriangleTree.of_mesh(positions, faces[~small[labels]])
    ours = faces[small[labels]]
    of, corner = labels[small[labels]], np.unique(ours)
    square = np.zeros(len(positions))
    square[corner] = np.minimum(tree.distance(positions[corner]), sizes[part[corner]]) ** 2
    middle = np.minimum(tree.distance(positions[ours].mean(axis=1)), sizes[of]) ** 2
    areas = np.maximum(face_areas(positions, ours), 1e-30)
    means = np.bincount(of, areas * (CORNER * square[ours].sum(axis=1) + MIDDLE * middle), minlength=len(count))
    error = weight * means / np.maximum(np.bincount(of, areas, minlength=len(count)), 1e-30)
    cost = 2.0 * error / np.maximum(weight, 1e-30) ** power / np.maximum(count, 1)
    far = np.zeros(len(count))
    np.maximum.at(far, of, np.maximum(square[ours].max(axis=1), middle))
    return np.where(small, cost * [dearness(square / reach**2) for square in far], np.inf)


def large_and_apart(sizes: np.ndarray, middles: np.ndarray, room: np.ndarray, count: int) -> np.ndarray:
    """Which parts (P,) stay where not all fit, one at the least: the `room` (P,) they need is in `count`.

    Large ones go first, by their longest sides `sizes` (P,), and of those alike each is as far as can be from what
    stays already, by its middle in `middles` (P, 3): a tree keeps leaves on all of its branches.
    """
    rng, stays = np.random.default_rng(0), np.zeros(len(sizes), dtype=bool)
    octave = np.round(ALIKE * np.log2(np.maximum(sizes, 1e-30)))
    for size in np.unique(octave)[::-1]:
        rows = np.flatnonzero(octave == size)
        rows = rng.choice(rows, min(len(rows), OFFERED * count), replace=False)
        rows = rows[np.argsort(-sizes[rows], kind="stable")]
        chosen = _apart(middles[rows], middles[stays], room[rows], count - room[stays].sum())
        if len(chosen) < len(rows):
            even = _evened(middles[rows], chosen, middles[stays])
            stays[rows[even if room[rows[even]].sum() <= room[rows[chosen]].sum() else chosen]] = True
            break
        stays[rows] = True
    return stays


def _apart(places: np.ndarray, taken: np.ndarray, room: np.ndarray, left: float) -> np.ndarray:
    """Rows of `places` (N, 3), each as far as can be from those before and from `taken` (M, 3); what fits in `left`.

    The first one does if nothing is taken.
    """
    away = cKDTree(taken).query(places)[0] ** 2 if len(taken) else np.full(len(places), np.inf)
    chosen: list[int] = []
    for _ in range(len(places)):
        row = int(away.argmax())
        left -= room[row]
        if left < 0.0 and (chosen or len(taken)):
            break
        chosen.append(row)
        way = places - places[row]
        away = np.minimum(away, np.einsum("ni,ni->n", way, way))
        away[row] = -1.0
    return np.array(chosen, dtype=np.int64)


def _evened(places: np.ndarray, chosen: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """As many rows of `places` (N, 3) as `chosen`, each in the middle of those it is nearest to (Lloyd's algorithm)."""
    middles = places[chosen]
    for _ in range(ROUNDS):
        away, nearest = cKDTree(np.concatenate([middles, taken])).query(places)
        own = nearest < len(middles)
        count = np.bincount(nearest[own], minlength=len(middles))
        sums = np.stack([np.bincount(nearest[own], places[own, axis], len(middles)) for axis in range(3)], axis=1)
        middles = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], middles)
    order = np.lexsort((away[own], nearest[own]))
    return np.flatnonzero(own)[order][np.unique(nearest[own][order], return_index=True)[1]]


def without_crumbs(denoised: Denoised) -> Denoised:
    """The surface without parts of a few faces that are smaller than its detail; all of it if nothing else is there.

    Sheets that are more than scraps of the surface, all such together, are none: a tree's leaves.
    """
    mesh, edge = denoised.mesh, typical_edge(denoised.mesh)
    if is_modelled(mesh, edge):
        return denoised
    faces = mesh.faces.astype(np.int32)
    label, size = parts_of(mesh.vertices, faces)
    small = size < max(CRUMB_EDGES * edge, 4.0 * denoised.noise)
    crumb = small & (np.bincount(label) <= CRUMB_FACES)
    if crumb.any():
        areas = face_areas(mesh.vertices, faces)
        sheet = np.zeros(len(size), dtype=bool)
        sheet[label[open_edges(faces, len(mesh.vertices))[0] // 3]] = True
        if areas[(crumb & sheet)[label]].sum() > SCRAPS * areas.sum():
            crumb &= ~sheet
    kept = ~crumb[label]
    if kept.all() or not kept.any():
        return denoised
    used, numbered = compact(mesh.faces[kept], len(mesh.vertices))
    without = Mesh(mesh.vertices[used], numbered.astype(np.int64))
    return replace(denoised, mesh=without, normals=denoised.normals[kept], before=denoised.before[used])
