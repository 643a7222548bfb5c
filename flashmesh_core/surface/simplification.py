"""Proxy meshes: a denoised surface with few faces, by quadric errors of its filtered planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import COMPILED, face_components, manifold_twins
from flashmesh_core.surface.collapse import FACES, Collapse, collapse, start_collapse
from flashmesh_core.surface.denoising import COARSE, Denoised, Progress, typical_edge
from flashmesh_core.surface.handles import cut_handles
from flashmesh_core.surface.placement import place_on, planes_of
from flashmesh_core.surface.quadrics import WIDTH, add_plane

CRUMB_FACES, CRUMB_EDGES = 32, 2.0  # a part of so few faces, no longer than so many typical edges, is noise
FINE = 1 / 90  # a typical edge longer than this: few faces tell a plane, the quadrics' own places are better
HANDLE_EDGES, HANDLE_NOISE = 6.0, 12.0  # loops around handles below so many typical edges, or noises, are cut
HANDLE_FACES = 4_000  # that handles are first looked for at
STEP = 40_000  # entries of the queue looked at between two reports
BORDER = 4.0  # weight of a border's planes, per squared length


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
    denoised = _without_crumbs(denoised)
    planes = planes_of(denoised)
    edge = typical_edge(denoised.mesh)
    fine, longest = edge < FINE, 0.0 if edge > COARSE else max(HANDLE_EDGES * edge, HANDLE_NOISE * denoised.noise)
    state = start_collapse(planes.vertices, planes.faces, _quadrics(*planes[:5]))
    found: dict[int, Mesh] = {}
    for count in sorted(set(counts), reverse=True):
        if len(planes.faces) <= count:
            found[count] = denoised.mesh
            continue
        state = _run_cutting(state, count, min(counts), longest, progress)
        vertices, faces = _snapshot(state)
        found[count] = Mesh(place_on(vertices, faces, planes) if fine else vertices, faces.astype(np.int64))
    return [found[count] for count in counts]


def _without_crumbs(denoised: Denoised) -> Denoised:
    """The surface without parts of a few faces that are smaller than its detail; all of it if nothing else is there."""
    mesh, edge = denoised.mesh, typical_edge(denoised.mesh)
    faces = mesh.faces.astype(np.int32)
    label, count = face_components(faces, manifold_twins(faces, len(mesh.vertices)))
    sizes = np.bincount(label, minlength=count)
    if edge > COARSE or not (sizes <= CRUMB_FACES).any():
        return denoised
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    some = np.flatnonzero(sizes[label] <= CRUMB_FACES)
    for corner in mesh.triangles[some].transpose(1, 0, 2):
        np.minimum.at(low, label[some], corner)
        np.maximum.at(high, label[some], corner)
    crumb = (sizes <= CRUMB_FACES) & ((high - low).max(axis=1) < max(CRUMB_EDGES * edge, 4.0 * denoised.noise))
    kept = ~crumb[label]
    if kept.all() or not kept.any():
        return denoised
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces[kept].ravel()] = True
    smaller = Mesh(mesh.vertices[used], (np.cumsum(used) - 1)[mesh.faces[kept]])
    return Denoised(smaller, denoised.normals[kept], denoised.noise)


def _run(state: Collapse, count: int, least: int, progress: Progress | None) -> None:
    """Collapse down to `count` faces, reporting how far it is to `least`."""
    total = len(state.faces)
    while collapse(state, count, STEP) == 1:
        if progress:
            progress("simplify", (total - int(state.numbers[FACES])) / max(total - least, 1))


def _run_cutting(state: Collapse, count: int, least: int, longest: float, progress: Progress | None) -> Collapse:
    """Collapse down to `count` faces by halves; of what is left after each, loops below `longest` are cut."""
    while longest > 0.0 and state.numbers[FACES] > count:
        stage = max(count, min(int(state.numbers[FACES]) // 2, HANDLE_FACES))
        before = int(state.numbers[FACES])
        _run(state, stage, least, progress)
        state = _without_handles(state, longest)
        if state.numbers[FACES] >= before:
            break
    _run(state, count, least, progress)
    return state


def _without_handles(state: Collapse, longest: float) -> Collapse:
    """The collapse started anew on the mesh as it is now, its small handles cut, what was cut off left out."""
    faces = state.faces[state.alive]
    used = np.zeros(len(state.positions), dtype=bool)
    used[faces.ravel()] = True
    faces = (np.cumsum(used) - 1).astype(np.int32)[faces]
    positions, quadrics, cut = cut_handles(state.positions[used], state.quadrics[used], faces, longest)
    if len(cut) == len(faces):
        return state
    label, count = face_components(cut, manifold_twins(cut, len(positions)))
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    for corner in positions[cut].transpose(1, 0, 2):
        np.minimum.at(low, label, corner)
        np.maximum.at(high, label, corner)
    large = (high - low).max(axis=1) >= 0.5 * longest
    if large.any():
        cut = cut[large[label]]
    used = np.zeros(len(positions), dtype=bool)
    used[cut.ravel()] = True
    renumbered = (np.cumsum(used) - 1).astype(np.int32)[cut]
    return start_collapse(positions[used], renumbered, np.ascontiguousarray(quadrics[used]))


def _snapshot(state: Collapse) -> tuple[np.ndarray, np.ndarray]:
    """The mesh as it is now: vertices (V, 3), faces (F, 3) int32."""
    faces = state.faces[state.alive]
    used = np.zeros(len(state.positions), dtype=bool)
    used[faces.ravel()] = True
    number = (np.cumsum(used) - 1).astype(np.int32)
    return state.positions[used], number[faces]


@njit(**COMPILED)
def _quadrics(vertices, faces, centers, normals, weights):
    """The quadrics (V, 11) of the vertices: a third of each face's plane, and upright planes along borders."""
    result = np.zeros((len(vertices), WIDTH))
    for f in range(len(faces)):
        for k in range(3):
            add_plane(
                result[faces[f, k]], normals[f, 0], normals[f, 1], normals[f, 2],
                centers[f, 0], centers[f, 1], centers[f, 2], weights[f] / 3.0,
            )  # fmt: skip
    twin = manifold_twins(faces, len(vertices))
    for h in range(len(twin)):
        if twin[h] >= 0:
            continue
        f = h // 3
        a, b = faces[f, h % 3], faces[f, (h + 1) % 3]
        x, y, z = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        u, v, w = normals[f, 0], normals[f, 1], normals[f, 2]
        sx, sy, sz = y * w - z * v, z * u - x * w, x * v - y * u
        length = np.sqrt(sx * sx + sy * sy + sz * sz)
        if length > 0.0:
            weight = BORDER * (x * x + y * y + z * z)
            for end in (a, b):
                add_plane(
                    result[end], sx / length, sy / length, sz / length,
                    vertices[a, 0], vertices[a, 1], vertices[a, 2], weight,
                )  # fmt: skip
    return result
