# SPDX-License-Identifier: GPL-3.0-or-later
"""Sharp edges and seams of a source, and the same edges of a result."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils.kdtree import KDTree

from .mesh_bridge import evaluated_mesh, mesh_arrays, transform_triangles

CREASE = np.radians(40.0)  # between two faces of a source, from where on their edge is hard
RESULT_CREASE = np.radians(25.0)  # the same of a result: a hard edge that is no corner any more stays smooth
NEAR = 1.5 / 128.0  # of the source's size: how far an edge may lie from the one that it keeps
ALONG = np.cos(np.radians(30.0))  # how much their directions may differ
_PLACES = (0.2, 0.5, 0.8)  # of an edge that must lie on hard ones


@dataclass(frozen=True, eq=False)
class HardEdges:
    """Edges of a source in world space, (N, 2, 3) float64 each."""

    sharp: np.ndarray  # marked sharp, or with two faces that meet at CREASE or more
    seams: np.ndarray


def read_hard_edges(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> HardEdges:
    """Those of a mesh as the scene shows it; of anything else there are none."""
    none = np.zeros((0, 2, 3))
    if obj.type != "MESH":
        return HardEdges(none, none)
    with evaluated_mesh(obj, depsgraph) as (mesh, matrix):
        if mesh is None or not len(mesh.polygons):
            return HardEdges(none, none)
        local, _ = mesh_arrays(mesh)
        vertices, _ = transform_triangles(local, np.zeros((0, 3), dtype=np.int64), matrix)
        ends = _edges(mesh)
        sharp = _marked(mesh, "use_edge_sharp") | (edge_angles(mesh, matrix) >= CREASE)
        return HardEdges(vertices[ends[sharp]], vertices[ends[_marked(mesh, "use_seam")]])


def mark_hard_edges(mesh: bpy.types.Mesh, world: np.ndarray, hard: HardEdges, size: float) -> tuple[int, int]:
    """Marks the edges of a result, seen through `world` (4, 4), that lie on hard ones of its source.

    `size` is the source's longest side. How many are sharp now, and how many are seams.
    """
    if not len(mesh.edges):
        return 0, 0
    local, _ = mesh_arrays(mesh)
    vertices, _ = transform_triangles(local, np.zeros((0, 3), dtype=np.int64), world)
    segments = vertices[_edges(mesh)]
    angles = edge_angles(mesh, world)
    sharp = _on(segments, angles >= RESULT_CREASE, hard.sharp, NEAR * size)
    seams = _on(segments, np.ones(len(segments), dtype=bool), hard.seams, NEAR * size)
    for number in np.flatnonzero(sharp).tolist():
        mesh.edges[number].use_edge_sharp = True
    for number in np.flatnonzero(seams).tolist():
        mesh.edges[number].use_seam = True
    return int(sharp.sum()), int(seams.sum())


def edge_angles(mesh: bpy.types.Mesh, world: np.ndarray) -> np.ndarray:
    """The angle (E,) in radians by which two faces bend at each edge, as seen through `world`; 0 at all others."""
    normals = np.empty(3 * len(mesh.polygons), dtype=np.float32)
    mesh.polygons.foreach_get("normal", normals)
    normals = normals.reshape(-1, 3).astype(np.float64) @ np.linalg.pinv(world[:3, :3])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    edge = np.empty(len(mesh.loops), dtype=np.int32)
    mesh.attributes[".corner_edge"].data.foreach_get("value", edge)
    sizes = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("loop_total", sizes)
    face = np.repeat(np.arange(len(sizes)), sizes)
    uses = np.bincount(edge, minlength=len(mesh.edges))
    order = np.argsort(edge, kind="stable")
    starts = (np.cumsum(uses) - uses)[uses == 2]
    bend = (normals[face[order[starts]]] * normals[face[order[starts + 1]]]).sum(axis=1)
    angles = np.zeros(len(mesh.edges))
    angles[uses == 2] = np.arccos(np.clip(bend, -1.0, 1.0))
    return angles


def _edges(mesh: bpy.types.Mesh) -> np.ndarray:
    """(E, 2) rows of vertices."""
    ends = np.empty(2 * len(mesh.edges), dtype=np.int32)
    mesh.edges.foreach_get("vertices", ends)
    return ends.reshape(-1, 2)


def _marked(mesh: bpy.types.Mesh, name: str) -> np.ndarray:
    """(E,) of which edges a property is set."""
    marked = np.zeros(len(mesh.edges), dtype=bool)
    mesh.edges.foreach_get(name, marked)
    return marked


def _on(segments: np.ndarray, may: np.ndarray, hard: np.ndarray, near: float) -> np.ndarray:
    """(E,) which of the `segments` (E, 2, 3) that `may` do so lie within `near` along `hard` ones (N, 2, 3)."""
    found = np.zeros(len(segments), dtype=bool)
    if not len(hard):
        return found
    places, directions = _spread(hard, near)
    center = places.mean(axis=0)
    tree = KDTree(len(places))
    for number, place in enumerate((places - center).tolist()):
        tree.insert(place, number)
    tree.balance()
    for row in np.flatnonzero(may).tolist():
        start, way = segments[row, 0] - center, segments[row, 1] - segments[row, 0]
        length = float(np.linalg.norm(way))
        found[row] = length > 0.0 and all(
            any(abs(directions[number] @ way) >= ALONG * length for _, number, _ in tree.find_range(place, near))
            for place in (start + part * way for part in _PLACES)
        )
    return found


def _spread(segments: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Places (P, 3) on segments (N, 2, 3), not farther apart than `step`, and the directions (P, 3) there."""
    way = segments[:, 1] - segments[:, 0]
    length = np.linalg.norm(way, axis=1)
    counts = 1 + np.minimum(length / max(step, 1e-12), 10_000.0).astype(np.int64)
    owner = np.repeat(np.arange(len(segments)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (within + 0.5) / counts[owner]
    places = segments[owner, 0] + share[:, None] * way[owner]
    return places, way[owner] / np.maximum(length[owner], 1e-300)[:, None]
