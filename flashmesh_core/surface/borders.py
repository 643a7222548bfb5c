"""Where an open surface ends: the pieces of its borders, which way is out there, and their planes at vertices."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import COMPILED, dot, manifold_twins, unit_rows
from flashmesh_core.surface.quadrics import WIDTH, add_plane

ALIKE = 0.3  # cosine of normals of one sheet
NEIGHBOURS, ROUNDS, FIRST_ROUNDS = 24, 10, 2  # pieces that a direction is filtered with, and how often
FIRST_REACH, REACH, WIDEST = 0.7, 1.2, 0.35  # over which they count, in the first rounds and then; of what differs
WEIGHT = 4.0  # of a border's planes, per squared length
CLEAR = 0.95  # length of their mean below which there is no direction
SPACING = 2.0  # typical edges that the pieces of a mesh are filtered over
BESIDE = (1.0, 2.0), 0.7  # typical edges out of a piece; of those, that other faces are nearer: it ends at another part
NEAR = 0.6  # of a vertex's shortest open edge: pieces within count
UNCLEAR = 0.05  # share of the weight of pieces around which directions differ
CHUNK = 20_000  # places looked at between two reports
STRAIGHTENED = 15  # rounds of moving vertices to their pieces' lines

Told = Callable[[], None]


class Pieces(NamedTuple):
    """H pieces of border, each an open edge of a mesh."""

    points: np.ndarray  # (H, 3) in their middles
    outward: np.ndarray  # (H, 3) out of the surface and along it, as long as the edge until they are directed
    sides: np.ndarray  # (H, 3) normals of their faces
    spacing: np.ndarray  # (H,) lengths that they are filtered over

    def only(self, chosen: np.ndarray) -> Pieces:
        """Those that are chosen, by a mask or by numbers."""
        return Pieces(*(field[chosen] for field in self))


class Border(NamedTuple):
    """The H pieces of a dense surface's borders, as planes that stand upright on them."""

    points: np.ndarray  # (H, 3)
    outward: np.ndarray  # (H, 3) unit
    weights: np.ndarray  # (H,) WEIGHT for each squared length
    free: np.ndarray  # (H,) bool: no other part of the surface goes on beyond


def open_edges(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The half-edges (H,) of `faces` (F, 3) int32, over `count` vertices, without a twin, and their two ends (H,)."""
    starts = np.flatnonzero(manifold_twins(faces, count) < 0)
    flat = faces.ravel()
    return starts, flat[starts], flat[np.where(starts % 3 < 2, starts + 1, starts - 2)]


def pieces_of(vertices: np.ndarray, ends: tuple[np.ndarray, np.ndarray], sides: np.ndarray) -> Pieces:
    """The pieces between two `ends` (H,) each, beside faces with normals `sides` (H, 3); spaced by their lengths."""
    tails, along = vertices[ends[0]], vertices[ends[1]] - vertices[ends[0]]
    return Pieces(tails + 0.5 * along, np.cross(along, sides), sides, np.linalg.norm(along, axis=1))


def nearest_few(
    points: np.ndarray, places: np.ndarray, count: int, told: Told | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and numbers (N, K) of the `count` points nearest to each of N places; `told()` may raise to cancel."""
    from scipy.spatial import cKDTree

    tree, count = cKDTree(points), min(count, len(points))
    distance, near = np.empty((len(places), count)), np.empty((len(places), count), dtype=np.int64)
    for start in range(0, len(places), CHUNK):
        part = slice(start, start + CHUNK)
        distance[part], near[part] = (found.reshape(-1, count) for found in tree.query(places[part], count))
        if told:
            told()
    return distance, near


def dots(several: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Products (H, K) of several vectors (H, K, 3) each with one (H, 3)."""
    return np.einsum("hki,hi->hk", several, one)


def directed(pieces: Pieces, told: Told | None = None) -> tuple[Pieces, np.ndarray]:
    """The pieces, their directions filtered, corners kept, as face normals are; and where they agree on one, (H,).

    `told()` is called several times a second and may raise to cancel.
    """
    distance, near = nearest_few(pieces.points, pieces.points, NEIGHBOURS, told)
    length, outward = np.linalg.norm(pieces.outward, axis=1), unit_rows(pieces.outward)
    for number in range(ROUNDS):
        first = number < FIRST_ROUNDS
        reach = (FIRST_REACH if first else REACH) * pieces.spacing
        outward, agreement = _filtered(outward, pieces.sides, length, reach, near, distance, first)
        if told:
            told()
    return pieces._replace(outward=outward), agreement > CLEAR


@njit(**COMPILED)
def _filtered(outward, sides, length, reach, near, distance, first):
    """Unit directions (H, 3), each the mean of its `near` ones (H, K) of the same sheet; how far these agree, (H,)."""
    made, agreement, mean = np.empty_like(outward), np.zeros(len(outward)), np.zeros((1, 3))
    for i in range(len(outward)):
        mean[:], total = 0.0, 0.0
        for k in range(near.shape[1]):
            j = near[i, k]
            if dot(sides, j, sides, i) <= ALIKE:
                continue
            cosine, far = dot(outward, j, outward, i), distance[i, k] / reach[i]
            like = (1.0 if cosine > -0.2 else 0.0) if first else np.exp((cosine - 1.0) / WIDEST**2)
            weight = length[j] * like * np.exp(-0.5 * far * far)
            total += weight
            for axis in range(3):
                mean[0, axis] += weight * outward[j, axis]
        up = dot(mean, 0, sides, i)
        for axis in range(3):
            mean[0, axis] -= up * sides[i, axis]
        long = np.sqrt(dot(mean, 0, mean, 0))
        agreement[i] = long / max(total, 1e-300)
        for axis in range(3):
            made[i, axis] = mean[0, axis] / max(long, 1e-12)
    return made, agreement


def straightened(
    vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, edge: float, told: Told | None = None
) -> np.ndarray:
    """The vertices (V, 3) of a dense surface, those on its borders moved to the filtered lines of their pieces.

    That takes the noise off a border as `denoise` takes it off a surface, whose `normals` (F, 3) are filtered; corners
    stay. `faces` (F, 3) are int32, `edge` is the typical one; `told()` may raise to cancel.
    """
    starts, tails, heads = open_edges(faces, len(vertices))
    if not len(starts):
        return vertices
    pieces = _filtered_over(pieces_of(vertices, (tails, heads), normals[starts // 3]), SPACING * edge)
    pieces, _ = directed(pieces, told)
    moved = vertices.copy()
    for _ in range(STRAIGHTENED):
        _to_lines(moved, tails, heads, pieces.outward)
    return moved


def _filtered_over(pieces: Pieces, length: float) -> Pieces:
    return pieces._replace(spacing=np.full(len(pieces.points), length))


@njit(**COMPILED)
def _to_lines(vertices, tails, heads, outward):
    """Move each border vertex, in place, by the mean of its ways to its pieces' lines through their middles."""
    way, count = np.zeros((len(vertices), 3)), np.zeros(len(vertices))
    for i in range(len(tails)):
        a, b = tails[i], heads[i]
        half = 0.0
        for k in range(3):
            half += 0.5 * (vertices[b, k] - vertices[a, k]) * outward[i, k]
        for k in range(3):
            way[a, k] += half * outward[i, k]
            way[b, k] -= half * outward[i, k]
        count[a] += 1.0
        count[b] += 1.0
    for i in range(len(tails)):
        for v in (tails[i], heads[i]):
            if count[v] > 0.0:
                for k in range(3):
                    vertices[v, k] += way[v, k] / count[v]
                count[v] = 0.0


def border_of(
    vertices: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    edge: float,
    *,
    filtered: bool,
) -> Border | None:
    """The borders of a dense surface, (V, 3) and (F, 3) int32, with `normals` (F, 3) and this typical edge.

    None where it has none. `filtered`: by the directions around each piece, else by its own. Slits, and rims that run
    into another part of the surface, are not free: what they look like is chance.
    """
    starts, tails, heads = open_edges(faces, len(vertices))
    if not len(starts):
        return None
    own = pieces_of(vertices, (tails, heads), normals[starts // 3])
    weights = WEIGHT * own.spacing**2
    pieces, clear = directed(_filtered_over(own, SPACING * edge))
    tree, (steps, least) = TriangleTree.of_mesh(vertices, faces), BESIDE
    free = np.ones(len(starts), dtype=bool)
    for away in steps:
        beyond = pieces.points + away * edge * pieces.outward
        free &= np.isinf(tree.distance(beyond, within=least * away * edge))
    if not filtered:
        return Border(own.points, unit_rows(own.outward), weights, free)
    return Border(pieces.points, pieces.outward, np.where(clear, 1.0, UNCLEAR) * weights, free)


def border_rows(vertices: np.ndarray, faces: np.ndarray, border: Border | None) -> np.ndarray:
    """Rows (V, 11) of quadrics: the border's planes at each vertex of a simplified mesh, zero where it is on none.

    A vertex takes the pieces nearer to it than to other open vertices, within 0.6 of its shortest open edge; none
    where the surface goes on beyond most of them.
    """
    rows = np.zeros((len(vertices), WIDTH))
    if border is None:
        return rows
    _, tails, heads = open_edges(faces, len(vertices))
    if not len(tails):
        return rows
    shortest = np.full(len(vertices), np.inf)
    length = np.linalg.norm(vertices[heads] - vertices[tails], axis=1)
    np.minimum.at(shortest, tails, length)
    np.minimum.at(shortest, heads, length)
    ends = np.flatnonzero(shortest < np.inf)
    distance, nearest = nearest_few(vertices[ends], border.points, 1)
    owner = ends[nearest[:, 0]]
    mine = distance[:, 0] < NEAR * shortest[owner]
    ends_here = np.bincount(owner[mine], np.where(border.free[mine], 0.5, -0.5), minlength=len(vertices)) > 0.0
    mine &= ends_here[owner]
    _add_to_rows(rows, owner[mine], border.points[mine], border.outward[mine], border.weights[mine])
    return rows


@njit(**COMPILED)
def _add_to_rows(rows, owner, points, normals, weights):
    for i in range(len(owner)):
        add_plane(
            rows[owner[i]], normals[i, 0], normals[i, 1], normals[i, 2],
            points[i, 0], points[i, 1], points[i, 2], weights[i],
        )  # fmt: skip
