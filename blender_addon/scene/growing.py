# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh that faces are added to while they arrive: welded as it grows. Touches no bpy."""

from __future__ import annotations

import numpy as np


class GrowingMesh:
    """Triangles from corners; corners at exactly one place are one vertex, as the engine's grid puts them.

    Of faces over the same three vertices the first stays: Blender takes them for one, whichever side they show.
    """

    def __init__(self) -> None:
        self._index: dict[bytes, int] = {}
        self._known: set[tuple[int, ...]] = set()  # the vertices of each face, in order
        self._vertices = np.empty((256, 3), dtype=np.float32)
        self._faces = np.empty((256, 3), dtype=np.int32)
        self._n_faces = 0

    @property
    def vertices(self) -> np.ndarray:
        """(V, 3) float32, in the space of the corners given."""
        return self._vertices[: len(self._index)]

    @property
    def faces(self) -> np.ndarray:
        """(F, 3) int32."""
        return self._faces[: self._n_faces]

    def append(self, corners: np.ndarray) -> None:
        """Adds the faces `corners` (k, 3, 3); those that come to a point or a line, and twins, are left out."""
        corners = np.ascontiguousarray(corners, dtype=np.float32).reshape(-1, 3) + np.float32(0.0)  # no -0.0
        numbers = [self._number(corner) for corner in corners]
        for face in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
            key = tuple(sorted(face))
            if len(set(face)) == 3 and key not in self._known:
                self._known.add(key)
                self._faces = _with_room(self._faces, self._n_faces)
                self._faces[self._n_faces] = face
                self._n_faces += 1

    def _number(self, corner: np.ndarray) -> int:
        """The vertex at a corner (3,), made if there is none yet."""
        key = corner.tobytes()
        number = self._index.get(key)
        if number is None:
            number = self._index[key] = len(self._index)
            self._vertices = _with_room(self._vertices, number)
            self._vertices[number] = corner
        return number

    def clear(self) -> None:
        """Back to no faces."""
        self._index.clear()
        self._known.clear()
        self._n_faces = 0


def _with_room(array: np.ndarray, index: int) -> np.ndarray:
    """`array`, or a larger copy of it that has a row `index`."""
    if index < len(array):
        return array
    larger = np.empty((2 * (index + 1), 3), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
