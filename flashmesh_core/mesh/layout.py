"""How a mesh is laid out: its vertices, edges and faces against an artist's, its quads, its thin triangles.

All in the artist's unit box, of welded meshes without degenerate faces and unused vertices (`figures.welded`);
docs/definitions.md, "Figures against the artist's mesh".
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .canonical import Mesh
from .half_edge import build_half_edges

MATCH_RADIUS = 1.5 / 128  # of the unit box; within it an edge point or a vertex counts as found
THIN_ANGLE = 10.0  # degrees; a triangle whose smallest angle is below is thin
QUAD_BEND = 10.0  # degrees; the two faces of a good quad bend by less
QUAD_CORNERS = (55.0, 125.0)  # degrees; the four angles of a good quad lie between


def f1(precision: float, recall: float) -> float:
    """Their harmonic mean; 0 if both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def match_vertices(truth: np.ndarray, found: np.ndarray, radius: float = MATCH_RADIUS) -> np.ndarray:
    """The vertex of `truth` (N, 3) that each of `found` (M, 3) is matched with, (M,) int64; -1 for none.

    Each is matched at most once, within `radius`, nearest pairs first.
    """
    matched = np.full(len(found), -1, dtype=np.int64)
    if len(truth) == 0 or len(found) == 0:
        return matched
    pairs = cKDTree(truth).sparse_distance_matrix(cKDTree(found), radius, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs["j"], pairs["i"], pairs["v"]))]
    free_truth, free_found = np.ones(len(truth), dtype=bool), np.ones(len(found), dtype=bool)
    for there, here in zip(pairs["i"].tolist(), pairs["j"].tolist(), strict=True):
        if free_truth[there] and free_found[here]:
            free_truth[there] = free_found[here] = False
            matched[here] = there
    return matched


def vertex_f1(truth: np.ndarray, found: np.ndarray, radius: float = MATCH_RADIUS) -> float:
    """F1 of vertices `found` (M, 3) against `truth` (N, 3), each matched at most once, nearest pairs first.

    So a cluster of vertices around one of the artist's counts as one found and the rest as wrong. 1 if both are empty,
    0 if one is.
    """
    if len(truth) == 0 or len(found) == 0:
        return float(len(truth) == len(found))
    matched = int((match_vertices(truth, found, radius) >= 0).sum())
    return f1(matched / len(found), matched / len(truth))


def layout_f1(truth: Mesh, found: Mesh, radius: float = MATCH_RADIUS) -> tuple[float, float]:
    """F1 of all edges, and of all faces, of `found` against `truth`.

    An edge is right if both meshes have it between matched vertices, a face if both have one over its three matched
    corners, whichever way it winds. Edges and faces over the same vertices count once.
    """
    matched = match_vertices(truth.vertices, found.vertices, radius)
    edges = [build_half_edges(mesh.faces, len(mesh.vertices)).edges for mesh in (truth, found)]
    return _sets_f1(edges[0], matched[edges[1]]), _sets_f1(truth.faces, matched[found.faces])


def _sets_f1(truth: np.ndarray, found: np.ndarray) -> float:
    """F1 of rows (M, K) of vertices against rows (N, K), as sets; a row with -1 is wrong. 1 if both are empty."""
    truth = np.unique(np.sort(truth, axis=1), axis=0)
    known = np.unique(np.sort(found[(found >= 0).all(axis=1)], axis=1), axis=0)
    unknown = int((found < 0).any(axis=1).sum())
    if not len(truth) or not len(found):
        return float(len(truth) == len(found))
    right = len(truth) + len(known) - len(np.unique(np.concatenate([truth, known]), axis=0))
    return f1(right / (len(known) + unknown), right / len(truth))


def corner_angles(triangles: np.ndarray) -> np.ndarray:
    """The angles (F, 3) in degrees at the corners of triangles (F, 3, 3); 0 at a corner on another one."""
    out, back = np.roll(triangles, -1, axis=1) - triangles, np.roll(triangles, 1, axis=1) - triangles
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(out, back), axis=2), (out * back).sum(axis=2)))


def thin_share(mesh: Mesh) -> float:
    """The share of faces whose smallest angle is below THIN_ANGLE; 0 for a mesh without faces."""
    if not len(mesh.faces):
        return 0.0
    return float((corner_angles(mesh.triangles).min(axis=1) < THIN_ANGLE).mean())


def good_quads(mesh: Mesh) -> float:
    """The share of faces that are one half of a good quad; 0 for a mesh without faces.

    A good quad is two faces across an edge of exactly two faces that bend by less than QUAD_BEND and make four angles
    within QUAD_CORNERS. A face is part of one at most; those go first whose worst angle is nearest 90 degrees.
    """
    if not len(mesh.faces):
        return 0.0
    pairs, worst = _possible_quads(mesh)
    free = np.ones(len(mesh.faces), dtype=bool)
    count = 0
    for one, other in pairs[np.argsort(worst, kind="stable")].tolist():
        if free[one] and free[other]:
            free[one] = free[other] = False
            count += 2
    return count / len(mesh.faces)


def _possible_quads(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Faces (P, 2) that make a good quad, and how many degrees its worst angle is off 90, (P,), rounded to 1e-6."""
    half_edges = build_half_edges(mesh.faces, len(mesh.vertices))
    shared = np.flatnonzero(half_edges.face_count[half_edges.edge] == 2)
    halves = shared[np.argsort(half_edges.edge[shared], kind="stable")].reshape(-1, 2)
    pairs, turned = half_edges.face_pairs()
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    normals /= np.where(length > 0.0, length, 1.0)[:, None]
    cosine = np.einsum("ij,ij->i", *normals[pairs.T]) * np.where(turned, -1.0, 1.0)
    angles = corner_angles(mesh.triangles).ravel()  # by half-edge: at its origin
    first, second = halves.T
    starts, ends = angles[halves], angles[half_edges.next[halves]]
    # At either end of the shared edge both faces' angles add up; the second face may run along it the other way.
    same = half_edges.origin[first] == half_edges.origin[second]
    corners = np.stack([
        starts[:, 0] + np.where(same, starts[:, 1], ends[:, 1]),
        ends[:, 0] + np.where(same, ends[:, 1], starts[:, 1]),
        angles[half_edges.previous[first]],
        angles[half_edges.previous[second]],
    ], axis=1)  # fmt: skip
    fits = ((corners > QUAD_CORNERS[0]) & (corners < QUAD_CORNERS[1])).all(axis=1)
    fits &= (cosine > np.cos(np.radians(QUAD_BEND))) & (length[pairs] > 0.0).all(axis=1)
    return pairs[fits], np.abs(corners[fits] - 90.0).max(axis=1).round(6)
