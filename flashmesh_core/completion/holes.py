"""What is left at the end: uncovered parts of the proxy mesh, and loops of open edges around uncovered surface.

Faces come in order, so what lies at a vertex that is passed by stays uncovered; here the order no longer binds. Parts
are covered with the faces of the mesh itself, loops are closed by triangles over their vertices. What is an opening of
the source stays one, since no surface lies in it, unless the source has none or all is to be closed.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.completion.growing import add_if_uncovered, grow_faces, push_corner
from flashmesh_core.completion.loops import Within, excess_loops, open_loops, seal
from flashmesh_core.jit import njit, njit_no_refcount
from flashmesh_core.mesh.canonical import vertex_keys
from flashmesh_core.mesh.half_edge import build_half_edges
from flashmesh_core.mesh.sampling import triangle_areas
from flashmesh_core.mesh.support import THIN
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.coverage import (
    backing_of,
    edge_on_surface,
    faces_like_surface,
    inner_on_surface,
    triangle_is_uncovered,
)  # fmt: skip
from flashmesh_core.state.half_edges import find_edge, find_vertex, pop, uses_edge
from flashmesh_core.state.mesh_state import MeshState

MAX_LOOP = 24  # edges around a hole
MAX_ANY_LOOP = 128  # the same where every hole is to be closed
MAX_LEFT = 1 / 3  # of a hole's triangles that may stay open for the others to be made
MIN_UNCOVERED = (
    0.6  # of a face's samples that are uncovered where it is added: others would lie over faces that are there
)
_LEFT_OPEN = 1e9  # weighs more than any area


@njit(cache=True)
def _weight(surface: Surface, table: Table, a: int, b: int, c: int, anywhere: bool) -> float:
    """Twice the area in bins of a triangle that may fill a hole; _LEFT_OPEN for one that may not."""
    bins = table.bins
    u, v = (bins[b] - bins[a]).astype(np.float64), (bins[c] - bins[a]).astype(np.float64)
    x, y, z = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
    area = np.sqrt(x * x + y * y + z * z)
    w = v - u
    longest = np.sqrt(max((u * u).sum(), (v * v).sum(), (w * w).sum()))
    if anywhere or area == 0.0:
        return area if area > 0.0 else _LEFT_OPEN
    a3, b3, c3 = bins[a], bins[b], bins[c]
    if not inner_on_surface(surface, a3, b3, c3):
        return _LEFT_OPEN
    if area < THIN * longest:  # a crack
        return area
    return area if faces_like_surface(surface, a3, b3, c3, backing_of(surface, a3, b3, c3)) else _LEFT_OPEN


@njit(cache=True)
def _may_join(surface: Surface, table: Table, a: int, b: int, anywhere: bool) -> bool:
    """Whether an edge may run between two vertices: no face uses it, and it lies on the surface if not `anywhere`."""
    if find_edge(table, a, b) >= 0 or find_edge(table, b, a) >= 0:
        return False
    return anywhere or edge_on_surface(surface, table.bins[a], table.bins[b])


@njit(cache=True)
def _fill(surface: Surface, table: Table, loop: np.ndarray, anywhere: bool, out: np.ndarray) -> int:
    """The triangulation of a loop (N,) that leaves least open, then of least area, into `out` (N - 2, 3); how many."""
    n = len(loop)
    best = np.full((n, n), np.inf)
    split = np.zeros((n, n), dtype=np.int64)
    for first in range(n - 1):
        best[first, first + 1] = 0.0
    for span in range(2, n):
        for first in range(n - span):
            last = first + span
            toll = 0.0 if span == n - 1 or _may_join(surface, table, loop[first], loop[last], anywhere) else _LEFT_OPEN
            for middle in range(first + 1, last):
                under = best[first, middle] + best[middle, last] + toll
                if under >= best[first, last]:
                    continue
                total = under + _weight(surface, table, loop[first], loop[middle], loop[last], anywhere)
                if total < best[first, last]:
                    best[first, last], split[first, last] = total, middle
    if best[0, n - 1] >= (np.floor((n - 2) * MAX_LEFT) + 1) * _LEFT_OPEN:
        return 0
    count, waiting = 0, [(0, n - 1)]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        middle = split[first, last]
        own = best[first, last] - best[first, middle] - best[middle, last]
        a, b, c = loop[first], loop[middle], loop[last]
        if own < 0.5 * _LEFT_OPEN and not uses_edge(table, a, b, c):
            out[count, 0], out[count, 1], out[count, 2] = a, b, c
            count += 1
        waiting.append((first, middle))
        waiting.append((middle, last))
    return count


def finish(state: MeshState, proxy_bins: np.ndarray, reach: float = 0.0, limit: int | None = None) -> np.ndarray:
    """The faces, bins (K, 3, 3) with columns x, y, z, that cover and close a finished mesh. It stays as it is.

    `proxy_bins` (F, 3, 3) are the bins of the faces of the proxy mesh. Holes in the surface are closed; with a `reach`
    all others as well, by faces of any look, where these keep within so many bins of the surface. There are at most
    `limit` faces in the end. A mesh without faces gets none, nor does one over a surface of which no samples are known,
    unless the reach is infinite.
    """
    written, tokens, samples = state.n_faces, state.n_tokens, state.surface.places
    if not written or not (len(samples) or np.isinf(reach)):
        return np.zeros((0, 3, 3), dtype=state.table.bins.dtype)
    within = Within(samples, state.surface.normals, reach)
    if len(samples):
        cover_uncovered(state, proxy_bins)
        _push(state, fill_holes(state))
    if reach:
        _push(state, fill_holes(state, within))
    added = state.faces(written)
    _pop(*state.references, state.n_tokens - tokens)
    if reach:
        limit = state.max_faces if limit is None else limit
        for find_loops in (open_loops, excess_loops):
            faces = np.concatenate([state.faces(), added])
            sealed = seal(faces, state.surface.size, limit - len(faces), within, find_loops)
            added = np.concatenate([added, sealed])
    return added


def _push(state: MeshState, faces: np.ndarray) -> None:
    """Push faces, bins (K, 3, 3), as far as there is room."""
    _push_faces(*state.references, faces[: max(0, state.max_faces - state.n_faces)])


@njit_no_refcount
def _push_faces(surface: Surface, table: Table, faces: np.ndarray) -> None:
    for number in range(faces.shape[0]):
        for corner in range(3):
            push_corner(surface, table, faces[number, corner])


@njit_no_refcount
def _pop(surface: Surface, table: Table, count: int) -> None:
    for _ in range(count):
        pop(surface, table)


def cover_uncovered(state: MeshState, proxy_bins: np.ndarray) -> None:
    """Push those of the faces that lie on uncovered surface for the most part and use no edge that a face uses.

    Then other faces over known vertices, since the model may have cut a panel otherwise.
    """
    areas = triangle_areas(proxy_bins)
    needed = MIN_UNCOVERED * len(state.surface.places) / max(areas.sum(), 1.0)  # uncovered samples a square bin
    bins, keys = proxy_bins.astype(np.int32), vertex_keys(proxy_bins, state.surface.size)
    _cover_uncovered(*state.references, bins, keys, needed * areas, state.max_faces)
    if len(state.surface.facets):
        grow_faces(*state.references, needed, state.max_faces)


@njit_no_refcount
def _cover_uncovered(
    surface: Surface, table: Table, proxy_bins: np.ndarray, keys: np.ndarray, least: np.ndarray, max_faces: int
) -> None:  # fmt: skip
    """Faces (F, 3, 3), their vertices' keys (F, 3), and how many uncovered samples each must cover to stay (F,)."""
    for number in range(proxy_bins.shape[0]):
        if table.n[0].faces >= max_faces:
            return
        a, b, c = proxy_bins[number, 0], proxy_bins[number, 1], proxy_bins[number, 2]
        if not _is_triangle(keys[number]) or not triangle_is_uncovered(surface, table, a, b, c):
            continue
        if not _uses_edges(table, keys[number]):
            add_if_uncovered(surface, table, a, b, c, least[number])


@njit_no_refcount
def _is_triangle(keys: np.ndarray) -> bool:
    return keys[0] != keys[1] and keys[1] != keys[2] and keys[2] != keys[0]


@njit_no_refcount
def _uses_edges(table: Table, keys: np.ndarray) -> bool:
    """Whether a face with these vertices would use an edge that another face uses."""
    for corner in range(3):
        start, end = find_vertex(table, keys[corner]), find_vertex(table, keys[(corner + 1) % 3])
        if start >= 0 and end >= 0 and find_edge(table, start, end) >= 0:
            return True
    return False


def fill_holes(state: MeshState, within: Within | None = None) -> np.ndarray:
    """The faces, bins (K, 3, 3) with columns x, y, z, that close the holes of a finished mesh. It stays as it is.

    Only holes in the surface are closed, or all those whose faces are `within` reach.
    """
    anywhere = within is not None
    table = state.table
    faces = table.faces[: table.n[0].faces]
    longest = MAX_ANY_LOOP if anywhere else MAX_LOOP
    out = np.zeros((longest, 3), dtype=np.int64)
    filled: list[np.ndarray] = []
    taken: set[tuple[int, int]] = set()
    for loop in sorted(open_loops(faces)):
        if len(loop) > longest:
            continue
        made = out[: _fill(*state.references, np.array(loop, dtype=np.int64), anywhere, out)].copy()
        if within is not None and not within.holds(table.bins[made]):
            continue
        edges = {(int(f[k]), int(f[(k + 1) % 3])) for f in made for k in range(3)}
        if len(made) and not edges & taken:
            taken |= edges
            filled.append(made)
    if not filled:
        return np.zeros((0, 3, 3), dtype=table.bins.dtype)
    return table.bins[np.concatenate(filled)]


def count_open_vertices(faces: np.ndarray) -> int:
    """How many vertices lie on an edge of only one face; `faces` (F, 3, 3) are bins."""
    _, number = np.unique(faces.reshape(-1, 3), axis=0, return_inverse=True)
    half_edges = build_half_edges(number.reshape(-1, 3))
    return len(np.unique(half_edges.edges[half_edges.edge_is_boundary]))
