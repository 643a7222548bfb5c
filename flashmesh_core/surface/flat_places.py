"""Flat places cut anew: their inner edges are turned until no triangle could be wider (Lawson 1977).

A simplifier leaves long thin triangles where all cuts of a flat place are equally near the surface; an artist does not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import COMPILED, manifold_twins
from flashmesh_core.surface.manifold import turn_edge

FLAT_DISTANCE = 5e-4  # of the longest side, here 1: how far the four corners around an edge may be off one plane
FLAT_COSINE = 0.996  # of the angle between its two faces; 5 degrees
ROUNDS = 64  # each turns edges that do not touch each other
Turning = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, bool]]


def recut_flat_places(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """`faces` (F, 3) int32 over `vertices` (V, 3), unit box, with the edges of flat places turned to be Delaunay there.

    No vertex moves, no border or edge between two planes changes, and no edge gets more faces.
    """
    return turned_in_rounds(_turned, vertices, faces)


def turned_in_rounds(turned_once: Turning, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """`faces` (F, 3) int32 over `vertices` (V, 3) after rounds of `turned_once`, as long as these turn edges.

    A round is given the half-edges' twins, too, which hold until a face is touched; what it tells is whether it changed
    anything. One that turns two edges to the same one is not taken.
    """
    twin = manifold_twins(faces, len(vertices))
    for _ in range(ROUNDS):
        turned, changed = turned_once(vertices, faces, twin)
        new_twin = manifold_twins(turned, len(vertices))
        if not changed or (new_twin < 0).sum() > (twin < 0).sum():  # two edges of a round became the same one
            break
        faces, twin = turned, new_twin
    return faces


@njit(**COMPILED)
def _turned(vertices, faces, twin):
    """The faces after one round, and whether any edge was turned."""
    faces, touched = faces.copy(), np.zeros(len(faces), dtype=np.bool_)
    changed = False
    for h in range(len(twin)):
        if twin[h] < h:
            continue
        f, g = h // 3, twin[h] // 3
        a, b, c = faces[f, h % 3], faces[f, (h + 1) % 3], faces[f, (h + 2) % 3]
        d = faces[g, (twin[h] + 2) % 3]
        if _should_turn(vertices[a], vertices[b], vertices[c], vertices[d]):
            changed = turn_edge(faces, twin, touched, h) or changed
    return faces, changed


@njit(**COMPILED)
def _should_turn(a, b, c, d):
    """Whether the edge from `a` to `b` between triangles (a, b, c) and (b, a, d) is flat and better turned."""
    one, other = area_vector(a, b, c), area_vector(b, a, d)
    size, other_size = np.sqrt((one * one).sum()), np.sqrt((other * other).sum())
    if size == 0.0 or other_size == 0.0 or (one * other).sum() < FLAT_COSINE * size * other_size:
        return False
    if abs(((d - a) * one).sum()) > FLAT_DISTANCE * size or abs(((c - a) * other).sum()) > FLAT_DISTANCE * other_size:
        return False
    # Delaunay: the angles at c and d are more than 180 degrees together; a little more, so that rectangles stay.
    cosine_c, cosine_d = ((a - c) * (b - c)).sum(), ((a - d) * (b - d)).sum()
    lengths = np.sqrt(((a - c) ** 2).sum() * ((b - c) ** 2).sum() * ((a - d) ** 2).sum() * ((b - d) ** 2).sum())
    if cosine_c * other_size + cosine_d * size > -1e-3 * lengths:
        return False
    mean = one + other
    return (area_vector(a, d, c) * mean).sum() > 0.0 and (area_vector(d, b, c) * mean).sum() > 0.0


@njit(**COMPILED)
def area_vector(a, b, c):
    """The normal (3,) of a triangle, as long as twice its area."""
    u, v = b - a, c - a
    return np.array((u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]))
