"""Hidden insides of thin walls left out: a voxel remesh gives an open mesh a second skin inside, which nobody sees.

Where the walls are no thicker than the source's own resolution can tell, that skin would cost half of the faces. The
outer one then stands for the whole wall and moves to its middle. Walls that somebody modelled differ in thickness.
Where two sheets are so near each other that nothing is hollow between them, or one stands alone, there is no skin
inside, but a remesh has put the outer one as far from them: it moves as well, or there would be steps. A skin that no
remesh made with the outer one - an offset of its faces, or one of another fineness, as prints are hollowed - tells
nothing of where the outer one belongs, which stays where it is. Nor does a void or two in a body that is thick.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh, vertex_normals
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import (
    COMPILED,
    boxes_of,
    compact,
    face_areas,
    face_components,
    face_geometry,
    labels_of_vertices,
    manifold_twins,
    only,
)
from flashmesh_core.surface.denoising import estimate_noise, even_edge, is_modelled, noisiness, typical_edge
from flashmesh_core.surface.manifold import volumes_of
from flashmesh_core.surface.point_normals import tree_of
from flashmesh_core.surface.solid_angles import Windings

WALL = 4.0  # typical edges: a cavity is left out if half of it is no farther from the outer surface
UNEVEN = 1.4, 2.0  # a half of the wall over its thinnest tenth, four fifths over that half: above both it is modelled
BUMPS = 0.4  # more, at a sculpt's noise, for the first
NEAR = 1.8  # wall thicknesses from the cavity up to which the outer surface is that of its wall
FACING = 0.5  # cosine between the way to the cavity and the surface's inner side
CELLS = 1.8, 3.2  # typical edges that the walls of a remesh around an open mesh are thick, thicker where sculpted
ALIKE = 0.6, 1.35  # edges of a skin that a remesh made, over those of the outer surface
COPIED = 200  # faces: a skin of so many has as many as the part around it only if it was made of that
REACH = 2.5  # walls to the other side of what is not hollow
SHEET = 0.9  # of a wall: what a single sheet, as thick as that, keeps of it; of less a collapse takes thin limbs
SHEETS, PARALLEL = 0.35, 0.8  # share of the outside that has another side, at most so far from parallel (a cosine)
PLACES = 1_000  # vertices of hollows that are looked at
CROSSED = 0.01  # share of them outside, above which a hollow stands out
UNKNOWN, EVENED = 4, 2  # rounds over neighbors that fill in how far vertices move, and even it out


def without_thin_cavities(mesh: Mesh, *, clean_up: bool = True) -> tuple[Mesh, int]:
    """The mesh without closed parts that are wound inwards and lie a thin wall behind the others.

    `mesh` is clean. A thicker wall keeps its inside; modelled meshes come back as they are. With `clean_up` hollows
    that no remesh made go as well, and the number is theirs.
    """
    edge = typical_edge(mesh)
    if not len(mesh.faces) or is_modelled(mesh, edge):
        return mesh, 0
    faces, label, inwards = _inward_parts(mesh)
    if not inwards.any():
        return mesh, 0
    thickness = _thicknesses(mesh, edge, label, inwards)
    thin = thickness <= WALL * edge
    skins = thin & _made_with_the_outside(mesh, label, inwards)
    vertices = mesh.vertices
    if skins.any():
        used, outside = compact(faces[~thin[label]], len(vertices))
        part = labels_of_vertices(faces, label, len(vertices))
        inner = skins[part]
        moved = _on_middle(Mesh(vertices[used], outside), vertices[inner], thickness[part[inner]], edge)
        if moved is None:
            skins[:] = False
        else:
            vertices = vertices.copy()
            vertices[used] = moved
    hollows = thin & ~skins & clean_up
    if hollows.any():
        hollows &= ~_stand_out(mesh, label, hollows, Mesh(mesh.vertices, faces[~inwards[label]]))
    if not (skins | hollows).any():
        return mesh, 0
    return only(Mesh(vertices, mesh.faces), ~(skins | hollows)[label]), int(hollows.sum())


def without_crossed_cavities(mesh: Mesh, proxy: Mesh) -> tuple[Mesh, int]:
    """The mesh without hidden parts wound inwards that stand out of a proxy, and how many these are.

    Its faces are too few for walls as thin as theirs: the hollow would be seen in patches.
    """
    faces, label, inwards = _inward_parts(mesh)
    if not inwards.any():
        return mesh, 0
    numbered, proxy_label, proxy_inwards = _inward_parts(proxy)
    outside = Mesh(proxy.vertices, numbered[~proxy_inwards[proxy_label]])
    gone = _stand_out(mesh, label, inwards, outside)
    if gone.any():
        gone &= ~_stand_out(mesh, label, gone, Mesh(mesh.vertices, faces[~inwards[label]]))
    return (only(mesh, ~gone[label]), int(gone.sum())) if gone.any() else (mesh, 0)


def _stand_out(mesh: Mesh, label: np.ndarray, parts: np.ndarray, outside: Mesh) -> np.ndarray:
    """Which of the `parts` (P,) of a mesh have some vertices out of `outside`, a closed mesh."""
    part = labels_of_vertices(mesh.faces, label, len(mesh.vertices))
    rows = np.flatnonzero(parts[part])
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), PLACES)).astype(np.int64)]
    out = Windings.of_tree(TriangleTree.of_mesh(outside.vertices, outside.faces)).around(mesh.vertices[rows]) < 0.5
    looked_at = np.bincount(part[rows], minlength=len(parts))
    return np.bincount(part[rows], out, minlength=len(parts)) > CROSSED * np.maximum(looked_at, 1)


def _inward_parts(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The faces (F, 3) int32, their parts (F,), and which parts (P,) are closed and wound inwards; not if all are."""
    faces = mesh.faces.astype(np.int32)
    twins = manifold_twins(faces, len(mesh.vertices))
    label, count = face_components(faces, twins)
    closed, volume = volumes_of(mesh.vertices, faces, twins, label, count)
    inwards = closed & (volume < 0.0)
    return faces, label, inwards & ~inwards.all()


def _made_with_the_outside(mesh: Mesh, label: np.ndarray, inwards: np.ndarray) -> np.ndarray:
    """Which parts (P,) that are wound inwards one remesh made with the others: as fine, but no copies of them."""
    areas, count = face_areas(mesh.vertices, mesh.faces), np.bincount(label)
    squares, sums = np.bincount(label, areas**2), np.bincount(label, areas)
    low, high = boxes_of(mesh.vertices, mesh.faces, label, len(count))
    outside = even_edge(squares[~inwards].sum() / sums[~inwards].sum())
    found = np.zeros(len(count), dtype=bool)
    for part in np.flatnonzero(inwards):
        alike = ALIKE[0] * outside < even_edge(squares[part] / sums[part]) < ALIKE[1] * outside
        around = ~inwards & (low < low[part]).all(axis=1) & (high > high[part]).all(axis=1)
        copied = count[part] >= COPIED and bool((count[around] == count[part]).any())
        found[part] = alike and not copied
    return found


def _thicknesses(mesh: Mesh, edge: float, label: np.ndarray, inwards: np.ndarray) -> np.ndarray:
    """The wall between each part (P,) that is wound inwards and the nearest that is not: a median.

    Infinity for other parts, and for walls that are thin here and thick there.
    """
    tree = tree_of(mesh.vertices[np.unique(mesh.faces[~inwards[label]])])
    uneven = UNEVEN[0] + BUMPS * noisiness(estimate_noise(mesh), edge)
    result = np.full(len(inwards), np.inf)
    inner = inwards[label]
    corners = np.repeat(label[inner], 3).astype(np.int64) * len(mesh.vertices) + mesh.faces[inner].ravel()
    part, vertex = np.divmod(np.unique(corners), len(mesh.vertices))
    parts, first = np.unique(part, return_index=True)
    distances = np.split(tree.query(mesh.vertices[vertex], workers=-1)[0], first[1:])
    for number, distance in zip(parts, distances, strict=True):
        thinnest, half, most = np.quantile(distance, (0.1, 0.5, 0.8))
        if half <= uneven * thinnest or most <= UNEVEN[1] * half:
            result[number] = half
    return result


def _on_middle(outer: Mesh, inner: np.ndarray, thickness: np.ndarray, edge: float) -> np.ndarray | None:
    """The outer vertices (V, 3), half a wall inwards where `inner` (N, 3), `thickness` (N,) away, is behind them.

    Of a remesh's walls, by their typical `edge`, also where the other side of the surface itself is behind them. None
    where too little has another side: that is a body with a few voids in it.
    """
    from scipy.spatial import cKDTree

    normals = vertex_normals(outer)
    distance, nearest = cKDTree(inner).query(outer.vertices, workers=-1)
    way = np.einsum("ij,ij->i", outer.vertices - inner[nearest], normals)
    walls = (distance < NEAR * thickness[nearest]) & (way > FACING * distance)
    depth = np.where(walls, 0.5 * thickness[nearest], 0.0)
    wall = float(np.median(thickness))
    if not walls.all():
        others, parallel = _depths_of_sheets(outer, normals, np.flatnonzero(~walls), wall)
        if walls.sum() + parallel < SHEETS * len(walls):
            return None
        if CELLS[0] * edge < wall < CELLS[1] * edge:
            depth[~walls] = others
            faces = outer.faces.astype(np.int32)
            for number in range(UNKNOWN + EVENED):
                depth = _spread(faces, depth, number >= UNKNOWN)
            depth = np.nan_to_num(depth, nan=0.0)
    return outer.vertices - depth[:, None] * normals


def _depths_of_sheets(outer: Mesh, normals: np.ndarray, rows: np.ndarray, wall: float) -> tuple[np.ndarray, int]:
    """How far the outer vertices `rows` (N,) move, behind which nothing is hollow; NaN where no other side is near.

    Of a single sheet both sides are a `wall` apart, and SHEET of it stays; of two they are farther. With it, how many
    have another side that is parallel to them.
    """
    tree = TriangleTree.of_mesh(outer.vertices, outer.faces)
    places, inwards = outer.vertices[rows], -normals[rows]
    distance, face = tree.nearest_facing(places + wall * inwards, inwards, FACING, (REACH - 1.0) * wall)
    near, result = np.isfinite(distance), np.full(len(rows), np.nan)
    some = outer.faces[face[near]].astype(np.int32)
    sides, _, centers = face_geometry(outer.vertices, some)
    turn = np.einsum("ij,ij->i", inwards[near], sides)
    across = np.einsum("ij,ij->i", centers - places[near], sides) / turn
    depth = np.clip(0.5 * (across - SHEET * wall), 0.0, 0.5 * wall)
    result[near] = np.where((across > 0.0) & (across < REACH * wall), depth, np.nan)
    return result, int((turn > PARALLEL).sum())


@njit(**COMPILED)
def _spread(faces, depth, even):
    """Depths (V,), NaN where unknown: those become the mean of their known neighbors; to `even`, others half of it."""
    total, count, result = np.zeros(len(depth)), np.zeros(len(depth)), depth.copy()
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, k + 1 if k < 2 else 0]
            for one, other in ((a, b), (b, a)):
                if not np.isnan(depth[other]):
                    total[one] += depth[other]
                    count[one] += 1.0
    for v in range(len(depth)):
        if count[v] > 0.0:
            mean = total[v] / count[v]
            if np.isnan(depth[v]):
                result[v] = mean
            elif even:
                result[v] = 0.5 * (depth[v] + mean)
    return result
