"""Repair without the gate: the model's faces stay wherever they fit the source; only what is broken is mended.

Faces go that lie off the dense surface, cross others, or use a directed edge that another one uses. Then holes are
closed as in `holes.py`, those of a closed source whatever that takes.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.completion.holes import count_open_vertices, finish
from flashmesh_core.completion.insertion import PLACES
from flashmesh_core.completion.repair import Repaired
from flashmesh_core.mesh.canonical import vertex_keys
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.state.mesh_state import MeshState

FITS = 4.0  # bins from the dense surface within which a face fits, where there is no noise; as in training
REACH = 2.0  # bins from the surface within which holes are closed first
_INSIDE = 1e-6  # share of an edge, or of a triangle, that a crossing is away from its ends


def mend(
    state: MeshState,
    proxy_bins: np.ndarray,
    corners: np.ndarray,
    tree: TriangleTree,
    *,
    noise: float = 0.0,
    closed: bool = True,
) -> Repaired:
    """The faces of a finished mesh that stand, then those that close it. The state stays as it is.

    `corners` (F, 3, 3) are where the faces of `state` are, `tree` is the dense surface, `noise` the deviation of its
    samples, all in the unit box. `proxy_bins` (P, 3, 3) are the bins of the proxy's faces: those are added that lie on
    uncovered surface. The holes of a `closed` source are all closed, those of an open one within REACH of the surface.
    """
    written, size = state.faces(), state.surface.size
    off = deviations(corners, tree)
    keys = vertex_keys(written, size).reshape(-1, 3)
    stand = off <= FITS / size + noise
    stand &= _use_no_edge_twice(keys, np.where(stand, off, np.inf))
    stand &= ~_worse_of_crossing(corners, keys, np.where(stand, off, np.inf))
    kept = _state_of(state, written[stand]) if not stand.all() else state
    closing = finish(kept, proxy_bins, REACH)
    made = np.concatenate([written[stand], closing]).astype(written.dtype)
    if closed and len(made) and count_open_vertices(made):
        closing = finish(kept, proxy_bins, np.inf)
        made = np.concatenate([written[stand], closing]).astype(written.dtype)
    return Repaired(made, np.arange(len(made)) < stand.sum(), len(written) - int(stand.sum()))


def deviations(corners: np.ndarray, tree: TriangleTree) -> np.ndarray:
    """The largest distance (F,) of seven places on each triangle (F, 3, 3) from a surface."""
    places = np.einsum("pc,fcx->fpx", PLACES, corners)
    return tree.distance(places.reshape(-1, 3)).reshape(len(corners), len(PLACES)).max(axis=1, initial=0.0)


def _use_no_edge_twice(keys: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Which faces, keys (F, 3), stand so that no directed edge has two, (F,) bool: nearer ones go first."""
    stand = np.zeros(len(keys), dtype=bool)
    used: set[tuple[int, int]] = set()
    for face in np.argsort(off, kind="stable").tolist():
        a, b, c = keys[face].tolist()
        edges = {(a, b), (b, c), (c, a)}
        if np.isfinite(off[face]) and len({a, b, c}) == 3 and not edges & used:
            used |= edges
            stand[face] = True
    return stand


def _worse_of_crossing(corners: np.ndarray, keys: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Which faces go, (F,) bool, so that no two of the others cross: of two that do the one farther off."""
    gone = ~np.isfinite(off)
    for one, other in crossings(corners, keys):
        if not gone[one] and not gone[other]:
            gone[one if off[one] > off[other] else other] = True
    return gone


def crossings(corners: np.ndarray, keys: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of triangles (F, 3, 3) that share no vertex, by `keys` (F, 3), and of which one pierces the other.

    Triangles that lie over each other in one plane are none.
    """
    low, high = corners.min(axis=1), corners.max(axis=1)
    found: list[tuple[int, int]] = []
    for face in range(len(corners) - 1):
        later = slice(face + 1, None)
        near = ((low[later] <= high[face]) & (high[later] >= low[face])).all(axis=1)
        others = face + 1 + np.flatnonzero(near)
        others = others[~(keys[others][:, :, None] == keys[face]).any(axis=(1, 2))]
        if len(others):
            here = np.broadcast_to(corners[face], (len(others), 3, 3))
            hit = _pierces(here, corners[others]) | _pierces(corners[others], here)
            found += [(face, other) for other in others[hit].tolist()]
    return found


def _pierces(edges_of: np.ndarray, through: np.ndarray) -> np.ndarray:
    """Whether an edge of each triangle (N, 3, 3) runs through the inside of the other's (N, 3, 3), (N,) bool."""
    a, u, v = through[:, 0], through[:, 1] - through[:, 0], through[:, 2] - through[:, 0]
    hit = np.zeros(len(through), dtype=bool)
    for corner in range(3):
        start, along = edges_of[:, corner], edges_of[:, (corner + 1) % 3] - edges_of[:, corner]
        p = np.cross(along, v)
        volume = (u * p).sum(axis=1)
        flat = np.abs(volume) < 1e-15
        inverse = 1.0 / np.where(flat, 1.0, volume)
        away = start - a
        first = (away * p).sum(axis=1) * inverse
        q = np.cross(away, u)
        second, share = (along * q).sum(axis=1) * inverse, (v * q).sum(axis=1) * inverse
        inside = (first > _INSIDE) & (second > _INSIDE) & (first + second < 1.0 - _INSIDE)
        hit |= ~flat & inside & (share > _INSIDE) & (share < 1.0 - _INSIDE)
    return hit


def _state_of(state: MeshState, faces: np.ndarray) -> MeshState:
    """An unfinished mesh over the same surface with the faces, bins (F, 3, 3) in order."""
    made = MeshState(
        state.surface, state.max_faces, on_surface=False, manifold=False, closure=False,
        coverage_guidance=state.coverage_guidance,
    )  # fmt: skip
    for token in faces[:, :, ::-1].reshape(-1).tolist():
        made.push(token)
    return made
