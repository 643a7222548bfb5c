"""Proxy meshes: a denoised surface with few faces, by quadric errors of its filtered planes (Garland and Heckbert 1997)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import COMPILED, manifold_twins
from flashmesh_core.surface.collapse import FACES, Collapse, collapse, start_collapse
from flashmesh_core.surface.denoising import Denoised, Progress
from flashmesh_core.surface.placement import place_on, planes_of
from flashmesh_core.surface.quadrics import WIDTH, add_plane

STEP = 40_000  # entries of the queue looked at between two reports
BORDER = 4.0  # weight of a border's planes, per squared length
POWER = 0.5  # errors are divided by the weight to this power: between the summed and the mean squared distance


def proxies(denoised: Denoised, counts: Sequence[int], *, progress: Progress | None = None) -> list[Mesh]:
    """The surface with about each of `counts` faces, in their order; one sequence of collapses for all.

    A mesh has at most the wanted faces, or as few as its topology allows (a closed part keeps four). A surface that has
    no more than wanted comes back as it is. Closed stays closed, edges stay manifold.
    Raises ValueError for a count below 4.
    """
    if any(count < 4 for count in counts):
        raise ValueError(f"counts must be at least 4, got {min(counts)}")
    if not len(denoised.mesh.faces) or not counts:
        return [denoised.mesh for _ in counts]
    planes = planes_of(denoised)
    state = start_collapse(planes.vertices, planes.faces, _quadrics(planes), POWER)
    found: dict[int, Mesh] = {}
    for count in sorted(set(counts), reverse=True):
        if len(planes.faces) <= count:
            found[count] = denoised.mesh
            continue
        _run(state, count, min(counts), progress)
        vertices, faces = _snapshot(state)
        found[count] = Mesh(place_on(vertices, faces, planes), faces.astype(np.int64))
    return [found[count] for count in counts]


def _run(state: Collapse, count: int, least: int, progress: Progress | None) -> None:
    """Collapse down to `count` faces, reporting how far it is to `least`."""
    total = len(state.faces)
    while collapse(state, count, STEP) == 1:
        if progress:
            progress("simplify", (total - int(state.count[FACES])) / max(total - least, 1))


def _snapshot(state: Collapse) -> tuple[np.ndarray, np.ndarray]:
    """The mesh as it is now: vertices (V, 3), faces (F, 3) int32."""
    faces = state.faces[state.alive]
    used = np.zeros(len(state.positions), dtype=bool)
    used[faces.ravel()] = True
    number = (np.cumsum(used) - 1).astype(np.int32)
    return state.positions[used], number[faces]


@njit(**COMPILED)
def _quadrics(p):
    """The quadrics (V, 11) of the vertices: a third of each face's plane, and upright planes along borders."""
    result = np.zeros((len(p.vertices), WIDTH))
    for f in range(len(p.faces)):
        for k in range(3):
            add_plane(
                result[p.faces[f, k]], p.normals[f, 0], p.normals[f, 1], p.normals[f, 2],
                p.centers[f, 0], p.centers[f, 1], p.centers[f, 2], p.weights[f] / 3.0,
            )  # fmt: skip
    twin = manifold_twins(p.faces, len(p.vertices))
    for h in range(len(twin)):
        if twin[h] >= 0:
            continue
        f = h // 3
        a, b = p.faces[f, h % 3], p.faces[f, (h + 1) % 3]
        x, y, z = (
            p.vertices[b, 0] - p.vertices[a, 0],
            p.vertices[b, 1] - p.vertices[a, 1],
            p.vertices[b, 2] - p.vertices[a, 2],
        )
        u, v, w = p.normals[f, 0], p.normals[f, 1], p.normals[f, 2]
        sx, sy, sz = y * w - z * v, z * u - x * w, x * v - y * u
        length = np.sqrt(sx * sx + sy * sy + sz * sz)
        if length > 0.0:
            weight = BORDER * (x * x + y * y + z * z)
            for end in (a, b):
                add_plane(
                    result[end], sx / length, sy / length, sz / length,
                    p.vertices[a, 0], p.vertices[a, 1], p.vertices[a, 2], weight,
                )  # fmt: skip
    return result
