"""Shells that remeshing puts around open sheets: what tells them, and how they are simplified with few faces.

With many faces each of the two walls has its own. With few, walls that are simplified apart stand out through each
other, and rims take vertices that corners want. Then planes and vertices are moved to the middle of the wall, where
both sides are one sheet and a rim is one line, and what is left is moved apart again. In the end walls that a remesh
made move nearer to the sheet that they stand for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh, vertex_normals
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import COMPILED, dot, face_geometry, faces_at_vertices, manifold_twins
from flashmesh_core.surface.placement import Planes, move
from flashmesh_core.surface.quadrics import WIDTH, add_plane, lowest
from flashmesh_core.surface.visibility import shares_seen

OPPOSITE, THIN, SHEET = 0.8, 4.0, 0.6  # cosine; typical edges; share of the area that makes a sheet
SHELL = 2.0  # typical edges: a shell around a sheet that is thinner has holes; a rough wall that is, is no shell
ASIDE, LEVEL, FLAT = 0.75, 0.8, 0.3  # thicknesses; cosine; share of the area: less of a rod is level that far aside
MOST_LOOKED_AT = 1_000  # faces that tell whether there is one
SOLID = 3.0  # times THIN that a mean thickness, twice the volume over the area, need not be looked at
EVEN, ALL_THIN = (0.9, 1.35), 0.85  # tenths of the thickness over its half; share of the area: nothing but a shell
CELLS = 1.8, 2.8  # typical edges that the thickness of a remesh's shell has
BESIDE = 3.0  # times the half thickness: what is farther from the other side is no wall
SHARP = 0.5  # cosine of two faces below which the edge between them may be a rim's
RIM = -0.7  # cosine of two faces at a vertex below which it is on a rim
THINNER = 0.7  # of its thickness, what is left of a shell that remeshing made
FACING, NEAR = 0.5, 0.8  # cosine between the way into a wall and its other side; half thicknesses that it is astray
SEEN, HIDDEN = 0.3, 0.05  # share of directions in which one gets out past a shell, above which a place of it counts
# in full; what the least seen ones count
APART, PULL = 1.3, 1e-2  # times the half thickness that a vertex may be moved apart; weight of where it was


class Shell(NamedTuple):
    """A surface most of which lies near a side that looks the other way."""

    tree: TriangleTree
    half: float  # half of its thickness, in the middle
    remeshed: bool  # as thick as a remesh makes it around an open sheet
    even: bool  # and that everywhere

    def settled(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """The vertices (V, 3) of a mesh at their nearest places on it, or on the way where a face would turn over.

        Of those that share such a place one goes there: two at one place would be one, and edges have four faces.
        """
        nearest, targets = self.tree.closest(vertices), vertices.copy()
        _, some = np.unique(nearest, axis=0, return_index=True)
        targets[some] = nearest[some]
        return _moved(vertices, faces, targets)

    def thinned(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """The vertices (V, 3) of a mesh on it, nearer to the sheet within if remeshing made it, where there is a wall.

        Remeshing puts walls on both sides of a sheet. Simplified when these are nearer to it leaves would be lost.
        """
        if not self.remeshed:
            return vertices
        inwards = -vertex_normals(Mesh(vertices, faces))
        behind = self.tree.distance_facing(vertices + 2.0 * self.half * inwards, inwards, FACING, NEAR * self.half)
        way = np.where(np.isfinite(behind), (1.0 - THINNER) * self.half, 0.0)
        return _moved(vertices, faces, vertices + way[:, None] * inwards)


def _moved(vertices: np.ndarray, faces: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The vertices (V, 3) of a mesh at their `targets`, or on the way where a face would turn over."""
    sides, _, _ = face_geometry(vertices, faces)
    moved = np.array(vertices)
    start, around = faces_at_vertices(faces, len(vertices))
    move(moved, faces, start, around, targets, sides)
    return moved


class Middle(NamedTuple):
    """A shell's vertices and planes moved to the middle of its wall."""

    vertices: np.ndarray  # (V, 3)
    centers: np.ndarray  # (F, 3)
    half: float


def sheet_of(vertices: np.ndarray, faces: np.ndarray, edge: float, thinnest: float = 0.0) -> Shell | None:
    """A surface, (V, 3) and (F, 3), most of which lies within a few typical edges of a side that looks the other way.

    None for any other, for rods and tubes, which bend within their thickness, and where half of it is thinner than
    `thinnest` edges. The rim of such a shell or leaf is what remeshing made of a border, there is nothing to sharpen.
    """
    normals, areas, centers = face_geometry(vertices, faces)
    heights = np.einsum("fi,fi->f", normals, centers - vertices.mean(axis=0))
    if 2.0 / 3.0 * abs(float((areas * heights).sum())) > SOLID * THIN * edge * float(areas.sum()):
        return None
    tree = TriangleTree.of_mesh(vertices, faces)
    some = np.linspace(0, len(faces) - 1, min(len(faces), MOST_LOOKED_AT)).astype(np.int64)
    across = tree.distance_facing(centers[some], -normals[some], OPPOSITE, max(THIN, thinnest) * edge)
    thin = across < THIN * edge
    share = float(areas[some][thin].sum()) / max(float(areas[some].sum()), 1e-300)
    if share <= SHEET or np.median(across) < thinnest * edge:
        return None
    level = _level(tree, centers[some][thin], normals[some][thin], across[thin], normals)
    if areas[some][thin][level].sum() < FLAT * areas[some][thin].sum():
        return None
    least, half, most = np.quantile(across[thin], (0.1, 0.5, 0.9))
    remeshed = bool(CELLS[0] * edge < half < CELLS[1] * edge)
    even = bool(EVEN[0] * half < least and most < EVEN[1] * half)
    return Shell(tree, 0.5 * float(half), remeshed, remeshed and even and share > ALL_THIN)


def _level(
    tree: TriangleTree, places: np.ndarray, normals: np.ndarray, across: np.ndarray, sides: np.ndarray
) -> np.ndarray:
    """Which of the places (N, 3), where the wall is `across` (N,), have level surroundings on all eight sides.

    `normals` (N, 3) are theirs, `sides` (F, 3) those of the tree's faces.
    """
    axis = np.eye(3)[np.abs(normals).argmin(axis=1)]
    one = np.cross(normals, axis)
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other, level = np.cross(normals, one), np.ones(len(places), dtype=bool)
    for turn in np.arange(8) * np.pi / 4.0:
        aside = places + ASIDE * across[:, None] * (np.cos(turn) * one + np.sin(turn) * other)
        level &= np.einsum("ni,ni->n", sides[tree.nearest(aside)[1]], normals) > LEVEL
    return level


def shell_of(planes: Planes, edge: float, *, rough: bool) -> Shell | None:
    """A dense surface that may be a shell around an open sheet, as `sheet_of` tells; None for another.

    One with a sculpt's noise, `rough`, is none where half of it is thinner than SHELL typical edges.
    """
    return sheet_of(planes.vertices, planes.faces, edge, SHELL if rough else 0.0)


def with_rims(planes: Planes, shell: Shell) -> Planes:
    """The planes of a shell, those of its rim as heavy as their edges are long.

    A sheet that was given a thickness has a rim of one face, which is small, and counts for less between two walls.
    """
    normals, _, centers = face_geometry(planes.vertices, planes.faces)
    twins = manifold_twins(planes.faces, len(planes.vertices)).reshape(-1, 3)
    beside = normals[np.where(twins < 0, np.arange(3 * len(twins)).reshape(-1, 3), twins) // 3]
    some = np.flatnonzero((np.einsum("fi,fki->fk", normals, beside) < SHARP).any(axis=1))
    across = shell.tree.distance_facing(centers[some], -normals[some], OPPOSITE, BESIDE * shell.half)
    rim = some[~np.isfinite(across)]
    corners = planes.vertices[planes.faces[rim]]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1, initial=0.0)
    weights = planes.weights.copy()
    weights[rim] = np.maximum(weights[rim], longest**2)
    return planes._replace(weights=weights)


def as_seen(planes: Planes, edge: float) -> Planes:
    """The planes of a shell, as heavy as they are seen: hardly anything of the inside of a vessel with a narrow neck.

    With few faces both walls share them: so most go to what shows.
    """
    normals, _, centers = face_geometry(planes.vertices, planes.faces)
    (share,) = shares_seen(centers, edge, (centers, normals))
    return planes._replace(weights=planes.weights * np.clip(share / SEEN, HIDDEN, 1.0))


def middle_of(planes: Planes, shell: Shell) -> Middle:
    """The vertices and planes of a shell moved inwards, each by half of the wall's thickness there; rims to a line."""
    normals, areas, centers = face_geometry(planes.vertices, planes.faces)
    across = shell.tree.distance_facing(centers, -normals, OPPOSITE, BESIDE * shell.half)
    ways = planes.normals * np.where(np.isfinite(across), 0.5 * across, shell.half)[:, None]
    sums = np.zeros_like(planes.vertices)
    for corner in range(3):
        np.add.at(sums, planes.faces[:, corner], ways * areas[:, None])
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return Middle(planes.vertices - shell.half * sums / np.maximum(length, 1e-300), planes.centers - ways, shell.half)


def moved_apart(vertices: np.ndarray, faces: np.ndarray, half: float) -> np.ndarray:
    """The vertices (V, 3) of a mesh in the middle of a wall, each on its own side; those on rims stay."""
    start, around = faces_at_vertices(faces, len(vertices))
    return _moved_apart(vertices, *face_geometry(vertices, faces), start, around, half)


@njit(**COMPILED)
def _moved_apart(vertices, normals, areas, centers, start, around, half):
    moved, row = vertices.copy(), np.empty(WIDTH)
    for v in range(len(vertices)):
        row[:] = 0.0
        on_rim = False
        for i in range(start[v], start[v + 1]):
            f = around[i]
            for j in range(start[v], i):
                on_rim = on_rim or dot(normals, f, normals, around[j]) < RIM
            add_plane(
                row, normals[f, 0], normals[f, 1], normals[f, 2], centers[f, 0] + half * normals[f, 0],
                centers[f, 1] + half * normals[f, 1], centers[f, 2] + half * normals[f, 2], areas[f],
            )  # fmt: skip
        if on_rim or row[WIDTH - 1] <= 0.0:
            continue
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        ax, ay, az = lowest(row, x, y, z, PULL)
        far = np.sqrt((ax - x) ** 2 + (ay - y) ** 2 + (az - z) ** 2)
        share = min(1.0, APART * half / max(far, 1e-300))
        moved[v, 0], moved[v, 1], moved[v, 2] = x + share * (ax - x), y + share * (ay - y), z + share * (az - z)
    return moved
