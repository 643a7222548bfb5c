"""Whether triangles that replace others stay near the surface that was there at first (numpy only)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ORDER = 4  # a triangle is looked at where lines that cut its sides in so many parts cross
_SAME_SIDE = 0.5  # cosine between a new triangle's normal and that of the surface there
_ROUNDING = 1e-9  # of the longest side


Nearest = Callable[[np.ndarray], np.ndarray]  # the places (N, 3) of a surface that are nearest to points (N, 3)


class Held(NamedTuple):
    """What a triangle is held against."""

    points: np.ndarray  # (P,) of the surface at first that it is nearest to
    faces: np.ndarray  # (F,) triangles at first that are within the limit


class Following:
    """Points of a surface, each of them held against the triangle that is nearest to it.

    `corners` (F, 3, 3) are the triangles at first; `nearest` finds places (N, 3) on the surface that they follow
    themselves, if there is one, for points (N, 3). All points of new triangles are within `limit` of the triangles at
    first or of that surface, and all points of the triangles at first, or their places on it, of the new ones.
    """

    def __init__(self, corners: np.ndarray, limit: float, nearest: Nearest | None = None) -> None:
        self.corners, self.limit, self._nearest = corners, limit, nearest
        self._rounding = _ROUNDING * float(np.ptp(corners, axis=(0, 1)).max()) if len(corners) else 0.0
        cuts = [(i, j, ORDER - i - j) for i in range(ORDER + 1) for j in range(ORDER + 1 - i)]
        self._weights = np.array(cuts) / float(ORDER)
        self._points = np.einsum("pk,fkd->fpd", self._weights, corners).reshape(-1, 3)
        self._places = np.full((len(self._points), 3), np.nan)  # on the surface; looked for when they are needed
        self._normals = unit_normals(corners)

    def first(self, face: int) -> Held:
        """What a triangle at first is held against: itself."""
        count = len(self._weights)
        return Held(np.arange(face * count, (face + 1) * count), np.array([face]))

    def moved(self, old: list[Held], triangles: np.ndarray) -> list[Held] | None:
        """What new `triangles` (T, 3, 3) are held against in the place of `old` ones; None where they may not be.

        What is new must face the way that the surface faces.
        """
        normals = unit_normals(triangles)
        if not len(triangles) or not normals.any(axis=1).all():
            return None
        points = np.concatenate([held.points for held in old])
        there = np.unique(np.concatenate([held.faces for held in old]))
        distance = _distances(self._points[points], triangles)
        far = distance.min(axis=1) > self.limit
        if far.any() and not self._near(self._places_of(points[far]), triangles):
            return None
        middle = _distances(triangles.mean(axis=1), self.corners[there])
        near = middle <= middle.min(axis=1, keepdims=True) + self._rounding
        if (np.where(near, normals @ self._normals[there].T, -1.0).max(axis=1) < _SAME_SIDE).any():
            return None
        made = np.einsum("pk,tkd->tpd", self._weights, triangles)
        back = _distances(made.reshape(-1, 3), self.corners[there])
        far = back.min(axis=1) > self.limit
        if far.any() and not self._on_surface(made.reshape(-1, 3)[far]):
            return None
        nearest, back = distance.argmin(axis=1), back.reshape(*made.shape[:2], len(there)).min(axis=1)
        beside = back <= back.min(axis=1, keepdims=True) + self.limit
        own = [points[nearest == k] for k in range(len(triangles))]
        return [
            Held(mine, np.union1d(there[near], mine // len(self._weights)))
            for mine, near in zip(own, beside, strict=True)
        ]

    def _near(self, places: np.ndarray | None, triangles: np.ndarray) -> bool:
        return places is not None and bool(_distances(places, triangles).min(axis=1).max() <= self.limit)

    def _on_surface(self, points: np.ndarray) -> bool:
        if self._nearest is None:
            return False
        return bool((np.linalg.norm(points - self._nearest(points), axis=1) <= self.limit).all())

    def _places_of(self, points: np.ndarray) -> np.ndarray | None:
        """The places on the surface of numbered points at first; None where there is no surface."""
        if self._nearest is None:
            return None
        new = points[np.isnan(self._places[points, 0])]
        if len(new):
            self._places[new] = self._nearest(self._points[new])
        return self._places[points]


def unit_normals(triangles: np.ndarray) -> np.ndarray:
    """The unit normals (T, 3) of `triangles` (T, 3, 3); zero where one has no area."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(lengths > 0.0, normals / np.where(lengths > 0.0, lengths, 1.0), 0.0)


def _distances(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The distance (P, T) of each of `points` (P, 3) from each of `triangles` (T, 3, 3)."""
    starts, sides = triangles, np.roll(triangles, -1, axis=1) - triangles
    from_start = points[:, None, None] - starts  # (P, T, 3 sides, 3)
    along = (from_start * sides).sum(axis=3) / np.maximum((sides**2).sum(axis=2), 1e-300)
    rest = from_start - np.clip(along, 0.0, 1.0)[..., None] * sides
    distance = np.sqrt((rest**2).sum(axis=3)).min(axis=2)
    normals = unit_normals(triangles)
    inside = ((np.cross(sides, from_start) * normals[:, None]).sum(axis=3) >= 0.0).all(axis=2)
    inside &= normals.any(axis=1)
    height = np.abs((from_start[:, :, 0] * normals).sum(axis=2))
    return np.where(inside, np.minimum(distance, height), distance)
