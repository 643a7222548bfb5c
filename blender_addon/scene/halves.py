# SPDX-License-Identifier: GPL-3.0-or-later
"""Symmetry: the engine is given one half of a source, cut at the object's own axis, and its mesh is mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.mesh.symmetry import clip_triangles, mirror_half

from .mesh_bridge import Surface, transform_triangles, usable_inverse

AXES = ("X", "Y", "Z")
_BINS = 128.0  # of the engine's grid along the longest side
_TOLERANCE = 1.5  # bins within which a vertex is meant to lie on the plane
_LEAST = 0.1  # of the one side's reach that the other must have


@dataclass(frozen=True, eq=False)
class Half:
    """The half of a source where the object's own `axis` is positive."""

    vertices: np.ndarray  # (V, 3) float64, world space
    faces: np.ndarray  # (F, 3) int64; none for a point cloud
    axis: int
    matrix: np.ndarray  # (4, 4) local to world
    inverse: np.ndarray
    tolerance: float  # in local units

    def whole(self, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The symmetric mesh of which `vertices` (V, 3), world space, and `faces` (F, 3) are the half."""
        local, turned = transform_triangles(vertices, faces, self.inverse)
        return transform_triangles(*mirror_half(local, turned, self.axis, self.tolerance), self.matrix)


def half_of(surface: Surface, axis: str) -> Half:
    """The half of a source along "X", "Y" or "Z" of its object.

    Raises ValueError where the object's transform flattens space, or the source lies on one side of its origin.
    """
    inverse = usable_inverse(surface.matrix)
    if inverse is None:
        raise ValueError(f"object {surface.name!r} must have a scale other than 0 for symmetry along {axis}")
    number = AXES.index(axis)
    local, _ = transform_triangles(surface.vertices, surface.faces, inverse)
    side = local[:, number]
    low, high = float(-side.min()), float(side.max())
    if min(low, high) < _LEAST * max(low, high):
        raise ValueError(
            f"object {surface.name!r} must reach to both sides of its origin for symmetry along {axis}, "
            f"got {-low:.3g} to {high:.3g}"
        )
    vertices, faces = clip_triangles(surface.vertices, surface.faces, side)
    tolerance = _TOLERANCE * float(np.ptp(local, axis=0).max()) / _BINS
    return Half(vertices, faces, number, np.asarray(surface.matrix), inverse, tolerance)
