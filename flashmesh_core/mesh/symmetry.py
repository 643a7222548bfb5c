"""Half of a surface, and a whole one from a half (numpy only)."""

from __future__ import annotations

import numpy as np


def clip_triangles(vertices: np.ndarray, faces: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a mesh where `side` (V,) is not negative: `vertices` (V', 3), `faces` (F', 3).

    `side` is linear in space, as a coordinate is.
    Triangles that cross are cut, with one new vertex for each edge that is cut; the mesh is open there. Without faces
    the vertices on that side are left.
    """
    vertices, faces = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    kept = np.asarray(side) >= 0.0
    if not len(faces):
        return vertices[kept], faces
    inside = kept[faces].sum(axis=1)
    places = [vertices]
    new: dict[tuple[int, int], int] = {}

    def cut(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in new:
            new[key] = len(vertices) + len(new)
            fraction = side[key[0]] / (side[key[0]] - side[key[1]])
            places.append((vertices[key[0]] + fraction * (vertices[key[1]] - vertices[key[0]]))[None])
        return new[key]

    found: list[list[int]] = []
    for face in faces[(inside == 1) | (inside == 2)].tolist():
        ring: list[int] = []
        for a, b in zip(face, [*face[1:], face[0]], strict=True):
            ring += [a] if kept[a] else []
            ring += [cut(a, b)] if kept[a] != kept[b] else []
        found += [[ring[0], ring[k], ring[k + 1]] for k in range(1, len(ring) - 1)]
    both = np.concatenate([faces[inside == 3], np.array(found, dtype=np.int64).reshape(-1, 3)])
    used, rows = np.unique(both, return_inverse=True)
    return np.concatenate(places)[used], rows.reshape(-1, 3)


def mirror_half(vertices: np.ndarray, faces: np.ndarray, axis: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """A symmetric mesh from its half at positive coordinates of `axis`: `vertices` (V', 3), `faces` (F', 3).

    Vertices within `tolerance` of the plane, or beyond it, are moved onto it and belong to both halves; faces that come
    to lie in the plane go.
    """
    vertices, faces = np.array(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    on_plane = vertices[:, axis] <= tolerance
    vertices[on_plane, axis] = 0.0
    faces = faces[~on_plane[faces].all(axis=1)]
    other = np.arange(len(vertices))
    other[~on_plane] = len(vertices) + np.arange((~on_plane).sum())
    copies = vertices[~on_plane]
    copies[:, axis] *= -1.0
    return np.concatenate([vertices, copies]), np.concatenate([faces, other[faces][:, ::-1]])
