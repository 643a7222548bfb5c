"""The rims of what is made of an open cloud, trimmed to where its samples end.

Reconstruction cuts a surface off where no sample is near: further out than the samples reach, and in steps as wide as
its cells. Here each piece of a rim is moved to a line beside the outermost samples, and what lies beyond is cut away.
Lengths are in spacings of the samples, the distance to the sixth neighbour, where nothing else is said.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import compact, face_geometry, joined, longest_sides, unit_rows
from flashmesh_core.surface.borders import ALIKE, NEIGHBOURS, Pieces, directed, dots, nearest_few, open_edges, pieces_of
from flashmesh_core.surface.samples import Samples

LONG = 8.0  # longest side of the box around a rim; shorter ones are holes that nobody made
SAMPLES, HALF, DEPTH, FEWEST = 48, 1.25, 2.0, 6  # looked at beside a piece; a window's half width, depth and samples
BESIDE, ABOVE = 1.5, 1.0  # off the sheet: samples that tell that it goes on as another one; its own
FARTHEST = 0.25  # that a rim may move outwards
OVERHANG = 0.3  # that one side of a corner may jut out beyond the other
SIDE_NEIGHBOURS, SIDE_REACH, SIDE_WIDTH, NEAR = 16, 0.6, 0.45, 2.0  # pieces that tell on which side a vertex lies
SNAP = 0.1  # cells within which a vertex moves onto the line instead of an edge being cut
WITHIN = 1e3  # the depth of what is nowhere near a rim


def trim_rims(mesh: Mesh, samples: Samples, cell: float) -> Mesh:
    """The mesh cut off where `samples` end; `cell` is the side of those it was made on. Closed ones stay as they are.

    A rim counts where it is long, has a direction, and no other sheet goes on from it.
    """
    from scipy.spatial import cKDTree

    faces = mesh.faces.astype(np.int32)
    starts, tails, heads = open_edges(faces, len(mesh.vertices))
    long = _sizes(mesh.vertices, np.stack([tails, heads], axis=1)) > LONG * samples.gap
    if not long.any():
        return mesh
    normals, _, _ = face_geometry(mesh.vertices, faces)
    pieces = pieces_of(mesh.vertices, (tails[long], heads[long]), normals[starts[long] // 3])
    tree = cKDTree(samples.points)
    spacing = samples.spacing[tree.query(pieces.points)[1]]
    rim, clear = directed(pieces._replace(spacing=spacing))
    _, near = tree.query(rim.points, min(SAMPLES, len(samples.points)))
    ends, free = _ends(rim, samples, near)
    rim = rim._replace(points=rim.points + (ends * spacing)[:, None] * rim.outward)
    return _cut(mesh, normals, rim.only(clear & free & ~_jutting(rim)), cell)


def _sizes(vertices: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The longest side (H,) of the box around the rim that each open edge, with these ends (H, 2), is part of."""
    corners = np.concatenate([ends, ends[:, :1]], axis=1).astype(np.int32)
    loop, count = joined(corners, len(vertices))
    return longest_sides(vertices, corners, loop, count)[loop]


def _ends(rim: Pieces, samples: Samples, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far out of each piece, (H,) spacings, its samples end, `near` (H, K) being those looked at; and where nothing
    else goes on from there, (H,).

    That is the outermost sample in a window beside the piece, and the mean gap between samples further. Of three
    windows the least counts: one that looks around a corner into another part of the sheet sees too much.
    """
    way = (samples.points[near] - rim.points[:, None]) / rim.spacing[:, None, None]
    out, aside = dots(way, rim.outward), dots(way, np.cross(rim.sides, rim.outward))
    above = np.abs(dots(way, rim.sides))
    ours = (above < ABOVE) & (dots(samples.normals[near], rim.sides) > ALIKE)
    ends, free = np.full(len(near), np.inf), np.zeros(len(near), dtype=bool)
    for middle in (-HALF, 0.0, HALF):
        window = np.abs(aside - middle) < HALF
        seen = np.where(ours & window, out, -np.inf)
        last = seen.max(axis=1)
        count = (seen > (last - DEPTH)[:, None]).sum(axis=1)
        enough = count >= FEWEST
        ends = np.where(enough, np.minimum(ends, last + DEPTH / np.maximum(count, 1)), ends)
        if middle == 0.0:
            free = enough & ~(window & (above < BESIDE) & (out > (last + 0.1)[:, None])).any(axis=1)
    return np.where(free, np.minimum(ends, FARTHEST), 0.0), free


def _jutting(rim: Pieces) -> np.ndarray:
    """Which pieces, (H,), lie beyond the other side of a corner, whose pieces do not lie beyond theirs."""
    _, near = nearest_few(rim.points, rim.points, NEIGHBOURS)
    way = (rim.points[:, None] - rim.points[near]) / rim.spacing[:, None, None]
    beyond = np.einsum("hki,hki->hk", way, rim.outward[near]) > OVERHANG
    within = -dots(way, rim.outward) < 0.1
    turned = dots(rim.outward[near], rim.outward) < 0.8
    return (beyond & within & turned & (dots(rim.sides[near], rim.sides) > ALIKE)).any(axis=1)


def _cut(mesh: Mesh, normals: np.ndarray, rim: Pieces, cell: float) -> Mesh:
    """The part of the mesh, with `normals` (F, 3) of its faces, within the lines of its rim."""
    if not len(rim.points):
        return mesh
    inside, outward = _depths(mesh, normals, rim)
    snapped = np.abs(inside) < SNAP * cell
    vertices = mesh.vertices + np.where(snapped, inside, 0.0)[:, None] * outward
    inside = np.where(snapped, 0.0, inside)
    depth = inside[mesh.faces]
    whole = (depth >= 0.0).all(axis=1)
    crossed = ~whole & (depth > 0.0).any(axis=1)
    parts, depth = mesh.faces[crossed], depth[crossed]
    onward = np.roll(parts, -1, axis=1)
    through = depth * np.roll(depth, -1, axis=1) < 0.0
    low, high = np.minimum(parts, onward)[through], np.maximum(parts, onward)[through]
    edges, numbers = np.unique(low * len(vertices) + high, return_inverse=True)
    low, high = edges // len(vertices), edges % len(vertices)
    share = (inside[low] / (inside[low] - inside[high]))[:, None]
    corners = np.full((len(parts), 6), -1, dtype=np.int64)  # each corner that stays, each place where an edge is cut
    corners[:, ::2] = np.where(depth >= 0.0, parts, -1)
    corners[:, 1::2][through] = len(vertices) + numbers.reshape(-1)
    corners = np.take_along_axis(corners, np.argsort(corners < 0, axis=1, kind="stable"), axis=1)
    made = np.concatenate([corners[:, :3], corners[corners[:, 3] >= 0][:, [0, 2, 3]]])
    vertices = np.concatenate([vertices, vertices[low] + share * (vertices[high] - vertices[low])])
    used, faces = compact(np.concatenate([mesh.faces[whole], made]), len(vertices))
    return Mesh(vertices[used], faces.astype(np.int64))


def _depths(mesh: Mesh, normals: np.ndarray, rim: Pieces) -> tuple[np.ndarray, np.ndarray]:
    """How far within the rim each vertex lies, (V,), WITHIN where none is near; and the way out there, (V, 3)."""
    from scipy.spatial import cKDTree

    count = len(mesh.vertices)
    depths, ways = np.full(count, WITHIN), np.zeros_like(mesh.vertices)
    nearest, first = cKDTree(rim.points).query(mesh.vertices, distance_upper_bound=NEAR * rim.spacing.max())
    close = np.flatnonzero(nearest < NEAR * np.append(rim.spacing, 0.0)[first])
    at = mesh.vertices[close]
    distance, near = nearest_few(rim.points, at, SIDE_NEIGHBOURS)
    corners = mesh.faces.ravel()
    own = np.stack([np.bincount(corners, np.repeat(normals[:, axis], 3), count)[close] for axis in range(3)], axis=1)
    alike = dots(rim.sides[near], unit_rows(own)) > ALIKE
    found = alike.any(axis=1)
    close, distance, near, at, alike = close[found], distance[found], near[found], at[found], alike[found]
    first = near[np.arange(len(near)), alike.argmax(axis=1)]
    least = np.where(alike, distance, np.inf).min(axis=1)
    excess = np.where(alike, distance**2 - least[:, None] ** 2, 0.0)
    cosine = dots(rim.outward[near], rim.outward[first])
    reach = SIDE_REACH * rim.spacing[first][:, None]
    weight = alike * np.exp(-0.5 * excess / reach**2 + (cosine - 1.0) / (0.5 * SIDE_WIDTH**2))
    depth = -np.einsum("vki,vki->vk", at[:, None] - rim.points[near], rim.outward[near])
    depths[close] = (weight * depth).sum(axis=1) / weight.sum(axis=1)
    ways[close] = unit_rows(np.einsum("vk,vki->vi", weight, rim.outward[near]))
    return depths, ways
