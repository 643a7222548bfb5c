"""Noise off a surface, edges kept: bilateral filtering of face normals, then vertices moved to the filtered planes.

Normals as in Zheng et al. 2011 (the local scheme), vertices as in Sun et al. 2007. The width of the filter follows the
noise that is measured on the surface itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import COMPILED, face_areas, face_geometry, faces_at_vertices
from flashmesh_core.surface.borders import open_edges, straightened
from flashmesh_core.surface.stairs import stair_noise
from flashmesh_core.surface.threads import begun, in_threads

Progress = Callable[[str, float], None]  # a stage and how much of it is done, 0 to 1; may raise to cancel

ROUNDS, VERTEX_ROUNDS = 3, 15  # of normals, of vertices
CLEAN_WIDTH, NOISY_WIDTH = 0.25, 0.35  # of normal differences, without noise and at NOISY
NOISY = 0.075  # noise over the typical edge of a sculpt
COARSE = 1 / 24  # a typical edge longer than this: a low-poly mesh, whose edges are all meant
EVEN = 0.74  # usual over typical edge: it is less where small faces lie beside large ones, as no remesh leaves them
FINE = 1 / 58  # a typical edge longer than this: few faces tell a plane, the quadrics' own places are better
REACH = 1.0  # typical edges over which faces count as neighbors, times that
MAX_REACH = 1 / 64  # faces that much apart are hardly neighbors, however large
CROWD = 32  # faces at a vertex from which on only those across an edge are neighbors
LARGER = 4.0  # a neighbor counts as at most this many times one's own area
HELD_NOISE, HELD_EDGE = 3.0, 0.02  # a vertex moves at most that many times the noise and wanted edges, together
SHARP = 0.5  # cosine: vertices with a normal that far off their own are on an edge, and say nothing about noise
LOOSE = 0.5  # share of the vertices on borders above which the others alone tell the noise
CHUNK = 1_000_000  # faces times rounds between two reports


@dataclass(frozen=True, eq=False)
class Denoised:
    """A surface without its noise: `mesh` in the unit box, unit `normals` (F, 3) of its filtered planes."""

    mesh: Mesh
    normals: np.ndarray
    before: np.ndarray  # (V, 3) the vertices with their noise
    noise: float  # standard deviation of what was noise, along the normal, in unit-box lengths
    filtered: bool = True  # False: planes and borders are those of its own faces


def estimate_noise(mesh: Mesh) -> float:
    """The standard deviation of the surface's noise along its normals, in the mesh's lengths; 0 without faces.

    It is the median of what remains of a vertex after two subtractions of its neighbors' mean, which takes away planes
    and even curvature, and at least that of stairs. Vertices on sharp edges do not count, nor do those on borders where
    most are: of a strip that bends, as blades of grass do, these remain.
    """
    if not len(mesh.faces):
        return 0.0
    faces = mesh.faces.astype(np.int32)
    normals, areas, _ = face_geometry(mesh.vertices, faces)
    remains = _roughness(mesh.vertices, faces, normals, areas)
    at_border = np.zeros(len(remains), dtype=np.bool_)
    at_border[np.concatenate(open_edges(faces, len(remains))[1:])] = True
    counted = np.isfinite(remains)
    if at_border[counted].sum() > LOOSE * counted.sum():
        counted &= ~at_border
    remains = remains[counted]
    measured = float(np.median(remains) / 0.6745) if len(remains) > 32 else 0.0
    return max(measured, stair_noise(mesh.vertices, typical_edge(mesh)))


def typical_edge(mesh: Mesh) -> float:
    """The edge of an even triangle as large as the face that a random point of the surface lies on."""
    areas = face_areas(mesh.vertices, mesh.faces)
    total = areas.sum()
    return even_edge((areas**2).sum() / total) if total > 0.0 else 0.0


def usual_edge(mesh: Mesh) -> float:
    """The edge of an even triangle as large as the median face: a few large ones do not count; 0 without faces."""
    return even_edge(float(np.median(face_areas(mesh.vertices, mesh.faces)))) if len(mesh.faces) else 0.0


def is_modelled(mesh: Mesh, edge: float) -> bool:
    """Whether the edges of a mesh, of this typical `edge`, are all meant: long, or not short and of many lengths."""
    return edge > COARSE or (edge > FINE and usual_edge(mesh) < EVEN * edge)


def even_edge(area: float) -> float:
    """The edge of the triangle of three equal sides that has this area."""
    return float(np.sqrt(area * 4.0 / np.sqrt(3.0)))


def noisiness(noise: float, edge: float) -> float:
    """How noisy a surface of typical `edge` is: 0 without noise, 1 as a sculpt, at most 1.5."""
    return min(noise / edge / NOISY, 1.5)


def denoise(
    mesh: Mesh, *, noise: float | None = None, wanted: int | None = None, progress: Progress | None = None
) -> Denoised:
    """The surface without noise: normals filtered, vertices moved, borders straightened; connectivity stays.

    `mesh` is clean (see cleaning.clean) and fills the unit box; `noise` is measured where None. With many `wanted`
    faces no vertex moves far enough for them to show it, unless the noise is that large. A mesh that is modelled
    comes back as it is. Raises ValueError for a noise below 0.
    """
    if progress:
        progress("denoise", 0.0)  # measuring the noise and finding neighbors takes longer than a round
    if noise is not None and not noise >= 0.0:
        raise ValueError(f"noise must be at least 0, got {noise}")
    faces = mesh.faces.astype(np.int32)
    normals, areas, centers = face_geometry(mesh.vertices, faces)
    edge = typical_edge(mesh)
    if not len(faces) or is_modelled(mesh, edge):
        return Denoised(mesh, normals, mesh.vertices, 0.0, filtered=False)
    start, around = faces_at_vertices(faces, len(mesh.vertices))
    measured = begun(lambda: estimate_noise(mesh) if noise is None else noise)
    beside = _neighbors(faces, areas, centers, start, around, min(REACH * edge, MAX_REACH))
    noise = measured()
    noisy = noisiness(noise, edge)
    width = CLEAN_WIDTH + (NOISY_WIDTH - CLEAN_WIDTH) * noisy
    normals = _filtered(normals, areas, beside, width, progress)
    vertices, moved = mesh.vertices.copy(), np.empty_like(mesh.vertices)
    for i in range(VERTEX_ROUNDS):
        if progress and i * len(faces) % CHUNK < len(faces):
            progress("flatten", i / VERTEX_ROUNDS)
        in_threads(_to_planes, len(vertices), vertices, faces, normals, areas, start, around, moved)
        vertices, moved = moved, vertices
    told = partial(progress, "flatten", 1.0) if progress else None
    vertices = straightened(vertices, faces, normals, edge, told)
    if wanted is not None:
        bound = HELD_NOISE * noise + HELD_EDGE * even_edge(float(areas.sum()) / wanted)
        vertices, normals = _held_back(mesh, vertices, normals, bound)
    return Denoised(Mesh(vertices, mesh.faces), normals, mesh.vertices, noise)


def as_it_came(mesh: Mesh, noise: float) -> Denoised:
    """The surface with the planes of its own faces and every vertex where it is; `noise` is what was measured."""
    normals, _, _ = face_geometry(mesh.vertices, mesh.faces.astype(np.int32))
    return Denoised(mesh, normals, mesh.vertices, noise, filtered=False)


def _held_back(mesh: Mesh, moved: np.ndarray, normals: np.ndarray, bound: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and normals; none is further than `bound` from where it was; the faces of those held have their own."""
    way = moved - mesh.vertices
    length = np.linalg.norm(way, axis=1)
    vertices = mesh.vertices + way * (bound / np.maximum(length, bound))[:, None]
    held = (length > bound)[mesh.faces].any(axis=1)
    own, _, _ = face_geometry(vertices, mesh.faces.astype(np.int32))
    return vertices, np.where(held[:, None], own, normals)


def _filtered(normals, areas, beside, width, progress: Progress | None) -> np.ndarray:
    """The normals (F, 3) after ROUNDS; `beside` is what `_neighbors` returns."""
    own = np.where(areas > 0.0, areas, 1e-30)
    result, before, sharpness = np.empty_like(normals), normals.copy(), 1.0 / (8.0 * width * width)
    for i in range(ROUNDS):
        if progress and i * len(areas) % CHUNK < len(areas):
            progress("denoise", i / ROUNDS)
        in_threads(_filter_normals, len(areas), before, own, *beside, sharpness, result)
        before, result = result, before
    return before


@njit(**COMPILED)
def _roughness(vertices, faces, normals, areas):
    """For each vertex (V,) the normal part of its second difference, by the noise it would show; NaN on edges."""
    n = len(vertices)
    mean, degree, normal = np.zeros((n, 3)), np.zeros(n), np.zeros((n, 3))
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            degree[a] += 1.0
            degree[b] += 1.0
            for axis in range(3):
                mean[a, axis] += vertices[b, axis]
                mean[b, axis] += vertices[a, axis]
                normal[a, axis] += areas[f] * normals[f, axis]
    for v in range(n):
        length = np.sqrt((normal[v] * normal[v]).sum())
        for axis in range(3):
            mean[v, axis] = vertices[v, axis] - mean[v, axis] / max(degree[v], 1.0)
            normal[v, axis] /= max(length, 1e-300)
    second, sharp = np.zeros((n, 3)), np.zeros(n, dtype=np.bool_)
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            dot = 0.0
            for axis in range(3):
                second[a, axis] += mean[b, axis]
                second[b, axis] += mean[a, axis]
                dot += normals[f, axis] * normal[a, axis]
            if areas[f] > 0.0 and dot < SHARP:
                sharp[a] = True
    result = np.full(n, np.nan)
    for v in range(n):
        if degree[v] > 0.0 and not sharp[v]:
            d = max(0.5 * degree[v], 1.0)
            unit = np.sqrt((1.0 + 1.0 / d) ** 2 + d * (2.0 / d - 2.0 / (d * d)) ** 2)
            total = 0.0
            for axis in range(3):
                total += normal[v, axis] * (mean[v, axis] - second[v, axis] / degree[v])
            result[v] = abs(total) / unit
    return result


@njit(**COMPILED)
def _neighbors(faces, areas, centers, start, around, reach):
    """The faces that share a vertex with each face and their weights by area and distance.

    Those of face f are at [first[f], first[f + 1]) of the other two arrays; they may be fewer than share a vertex.
    """
    n = len(faces)
    bound = 0
    for f in range(n):
        for k in range(3):
            degree = start[faces[f, k] + 1] - start[faces[f, k]]
            bound += min(degree, CROWD) if degree <= CROWD else 2
    first = np.zeros(n + 1, dtype=np.int64)
    neighbors, weights = np.empty(bound + 1, dtype=np.int32), np.empty(bound + 1, dtype=np.float32)
    seen = np.full(n, -1, dtype=np.int32)
    count = 0
    scale = -0.5 / (reach * reach)
    for f in range(n):
        seen[f] = f
        for k in range(3):
            v = faces[f, k]
            if start[v + 1] - start[v] > CROWD:
                continue
            for i in range(start[v], start[v + 1]):
                g = around[i]
                if seen[g] == f:
                    continue
                seen[g] = f
                d = 0.0
                for axis in range(3):
                    d += (centers[f, axis] - centers[g, axis]) ** 2
                weight = min(areas[g], LARGER * max(areas[f], 1e-30)) * np.exp(scale * d)
                if weight > 0.0:
                    neighbors[count], weights[count] = g, weight
                    count += 1
        first[f + 1] = count
    return first, neighbors[:count], weights[:count]


@njit(**COMPILED)
def _filter_normals(begin, end, normals, own, first, neighbors, weights, sharpness, result):
    """One round for faces begin to end: each normal becomes the mean of its own and its neighbors'.

    They count the less the more they differ.
    The weight of a difference d is (1 - sharpness d^2)^4, nearly a Gaussian, and 0 beyond.
    """
    for f in range(begin, end):
        x, y, z = normals[f, 0], normals[f, 1], normals[f, 2]
        none = x == 0.0 and y == 0.0 and z == 0.0
        sx, sy, sz = own[f] * x, own[f] * y, own[f] * z
        for i in range(first[f], first[f + 1]):
            g = neighbors[i]
            u, v, w = normals[g, 0], normals[g, 1], normals[g, 2]
            like = 1.0 - sharpness * (2.0 - 2.0 * (x * u + y * v + z * w))
            if none:
                like = 1.0
            if like > 0.0:
                like *= like
                weight = weights[i] * like * like
                sx += weight * u
                sy += weight * v
                sz += weight * w
        length = np.sqrt(sx * sx + sy * sy + sz * sz)
        if length > 0.0:
            result[f, 0], result[f, 1], result[f, 2] = sx / length, sy / length, sz / length
        else:
            result[f, 0], result[f, 1], result[f, 2] = x, y, z


@njit(**COMPILED)
def _to_planes(first, last, vertices, faces, normals, areas, start, around, moved):
    """One round for vertices first to last: each moves to its mean foot on the planes of its faces, in `moved`."""
    for v in range(first, last):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        sx, sy, sz, total = 0.0, 0.0, 0.0, 0.0
        for i in range(start[v], start[v + 1]):
            f = around[i]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            cx = (vertices[a, 0] + vertices[b, 0] + vertices[c, 0]) / 3.0 - x
            cy = (vertices[a, 1] + vertices[b, 1] + vertices[c, 1]) / 3.0 - y
            cz = (vertices[a, 2] + vertices[b, 2] + vertices[c, 2]) / 3.0 - z
            height = areas[f] * (normals[f, 0] * cx + normals[f, 1] * cy + normals[f, 2] * cz)
            sx += height * normals[f, 0]
            sy += height * normals[f, 1]
            sz += height * normals[f, 2]
            total += areas[f]
        if total > 0.0:
            x, y, z = x + sx / total, y + sy / total, z + sz / total
        moved[v, 0], moved[v, 1], moved[v, 2] = x, y, z
