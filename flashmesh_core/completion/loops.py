"""Loops of open edges, and faces that close them whatever they look like (numpy; scipy where loops are left)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from flashmesh_core.mesh.canonical import key_bins, vertex_keys

ON_SURFACE = 1.5  # bins from a sample
NEAREST = 6  # samples that are looked at around a place
MAX_WRONG = 1 / 3  # of a triangle's places on the surface may face the other way
_ON_TRIANGLE = np.array([(a, b, 12 - a - b) for a in range(13) for b in range(13 - a)]) / 12.0  # places, barycentric


def _uses(faces: np.ndarray) -> Counter[tuple[int, int]]:
    """How many of the faces (F, 3) use each directed edge."""
    return Counter((f[k], f[(k + 1) % 3]) for f in faces.tolist() for k in range(3))


def open_loops(faces: np.ndarray) -> list[list[int]]:
    """The loops of vertices around the holes of `faces` (F, 3), each in the direction in which faces may fill it.

    At a vertex where several holes meet, a loop goes on along the fan of faces it came from; a loop that comes back
    to a vertex of its own is parted there. Edges that more than one face uses are no part of any.
    """
    turns = [(f[k], f[(k + 1) % 3], f[(k + 2) % 3]) for f in faces.tolist() for k in range(3)]
    after = {(start, end): third for start, end, third in turns}
    used = _uses(faces)
    left = {(b, a) for (a, b), count in used.items() if count == 1 and (b, a) not in used}
    loops = []
    while left:
        came, at = left.pop()
        path = [came]
        while True:
            if at in path:
                loop = path[path.index(at) :]
                if len(loop) >= 3:
                    loops.append(loop)
                del path[path.index(at) :]
            path.append(at)
            x = after[at, came]  # the face beside the edge at -> came, and on through the fan around `at`
            for _ in range(len(used)):
                if (at, x) not in after:
                    break
                x = after[at, x]
            if (at, x) not in left:
                break
            left.discard((at, x))
            came, at = at, x
    return loops


def excess_loops(faces: np.ndarray) -> list[list[int]]:
    """Loops of vertices through all edges that fewer faces use in their direction than against it, each as often as it
    lacks a face. Edges that several faces use are parts too; otherwise `open_loops` parts holes better."""
    used = _uses(faces)
    after: dict[int, list[int]] = {}
    for (a, b), count in used.items():
        after.setdefault(b, []).extend([a] * (count - used.get((b, a), 0)))
    loops = []
    for first in list(after):
        path = [first]
        while path:
            if not after.get(path[-1]):
                path.pop()
                continue
            at = after[path[-1]].pop()
            if at in path:
                loops.append(path[path.index(at) :])
                del path[path.index(at) :]
            path.append(at)
    return loops


class Within:
    """Whether triangles keep within `reach` bins of samples (N, 3) and, where they lie on them, face their way.

    `normals` (N, 3) are unit. An infinite reach takes every triangle.
    """

    def __init__(self, samples: np.ndarray, normals: np.ndarray, reach: float) -> None:
        self.samples, self.normals, self.reach = samples, normals, reach

    def holds(self, triangles: np.ndarray) -> bool:
        """Of all triangles (K, 3, 3), at a grid of places on each."""
        if np.isinf(self.reach) or not len(triangles):
            return True
        far = max(self.reach, ON_SURFACE)  # a sample beyond it counts as none
        near = self._near(triangles, far)
        if not len(near):
            return False
        from scipy.spatial import cKDTree

        places = np.einsum("pc,kcx->kpx", _ON_TRIANGLE, triangles)
        tree: Any = cKDTree(self.samples[near], balanced_tree=False, compact_nodes=False)
        bound = np.nextafter(far, np.inf)
        distance, nearest = tree.query(places, k=NEAREST, distance_upper_bound=bound)  # infinity and len(near): none
        if (distance[..., 0] > self.reach).any():
            return False
        a, b, c = np.moveaxis(triangles.astype(np.float64), 1, 0)
        normals = np.append(self.normals[near], np.zeros((1, 3)), axis=0)[nearest]
        facing = np.einsum("kpnx,kx->kpn", normals, np.cross(b - a, c - a))
        on_it = distance <= ON_SURFACE  # behind a thin wall lies another, which faces the other way
        wrong = on_it.any(axis=2) & ((facing < 0.0) | ~on_it).all(axis=2)
        return not (wrong.mean(axis=1) > MAX_WRONG).any()

    def _near(self, triangles: np.ndarray, far: float) -> np.ndarray:
        """The numbers of the samples in the triangles' box and so many bins around it."""
        low, high = triangles.min(axis=(0, 1)) - far, triangles.max(axis=(0, 1)) + far
        near = np.arange(len(self.samples))
        for axis in (2, 1, 0):
            along = self.samples[near, axis]
            near = near[(along >= low[axis]) & (along <= high[axis])]
        return near


def seal(
    faces: np.ndarray,
    size: int,
    room: int,
    within: Within,
    find_loops: Callable[[np.ndarray], list[list[int]]] = open_loops,
) -> np.ndarray:
    """At most `room` faces that close what loops are left in `faces`, (F, 3, 3) bins of `size` an axis.

    A loop of three edges is closed by a triangle, be it without area, a longer one by a fan around a new vertex.
    """
    used, numbers = np.unique(vertex_keys(faces, size), return_inverse=True)
    bins = key_bins(used, size)
    taken = set(used.tolist())
    made: list[np.ndarray] = []
    for loop in sorted(find_loops(numbers.reshape(-1, 3)), key=len):
        corners = bins[loop]
        fan = corners[None]
        if len(loop) > 3:
            middle = _free_place(corners.mean(axis=0), taken, size)
            fan = np.stack([corners, np.roll(corners, -1, axis=0), np.broadcast_to(middle, corners.shape)], axis=1)
        if len(fan) > room:
            break
        if within.holds(fan):
            room -= len(fan)
            taken.update(vertex_keys(fan, size).reshape(-1).tolist())
            made.append(fan)
    return np.concatenate([faces[:0], *made]).astype(faces.dtype)


def _free_place(center: np.ndarray, taken: set[int], size: int) -> np.ndarray:
    """The place (3,) nearest to `center` at which no vertex stands yet."""
    for reach in range(1, size):
        low, high = np.clip([center - reach, center + reach], 0, size - 1).astype(np.int64)
        places = np.stack(np.meshgrid(*map(np.arange, low, high + 1), indexing="ij"), axis=-1).reshape(-1, 3)
        for place in places[np.argsort(((places - center) ** 2).sum(axis=1), kind="stable")]:
            if int(vertex_keys(place, size)) not in taken:
                return place
    raise RuntimeError("every place of the grid holds a vertex")
