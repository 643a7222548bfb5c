"""Small meshes of known area, volume and topology, made in code; each returns (vertices, faces)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]

_CUBE_QUADS = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])


def split_quads(quads: np.ndarray) -> np.ndarray:
    """Quads (Q, 4) to triangles (2 Q, 3), winding kept."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int64)


def box(size: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Arrays:
    """8 vertices, 12 outward triangles, centered; a unit cube by default."""
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)[:, ::-1]
    return (corners - 0.5) * np.array(size), split_quads(_CUBE_QUADS)


def sheet(columns: int, rows: int) -> Arrays:
    """An open grid of unit side in the plane z = 0, facing up: 2 * columns * rows triangles."""
    x, y = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1), indexing="ij")
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    corner = (np.arange(columns)[:, None] * (rows + 1) + np.arange(rows)).ravel()
    quads = np.stack([corner, corner + rows + 1, corner + rows + 2, corner + 1], axis=1)
    return vertices, split_quads(quads)


def torus(major: float = 0.5, minor: float = 0.2, rings: int = 48, sides: int = 24) -> Arrays:
    """A closed ring about z with outward triangles."""
    u, v = np.meshgrid(np.arange(rings), np.arange(sides), indexing="ij")
    a, b = u.ravel() * 2 * np.pi / rings, v.ravel() * 2 * np.pi / sides
    radius = major + minor * np.cos(b)
    vertices = np.stack([radius * np.cos(a), radius * np.sin(a), minor * np.sin(b)], axis=1)
    u, v = u.ravel(), v.ravel()
    nu, nv = (u + 1) % rings, (v + 1) % sides
    quads = np.stack([u * sides + v, nu * sides + v, nu * sides + nv, u * sides + nv], axis=1)
    return vertices, split_quads(quads)


def moebius(segments: int = 12) -> Arrays:
    """A closed strip with half a turn: no winding of its triangles is consistent."""
    angle = np.arange(segments) * 2 * np.pi / segments
    side = np.array([-0.2, 0.2])
    radius = 1.0 + side * np.cos(angle / 2)[:, None]
    height = side * np.sin(angle / 2)[:, None]
    vertices = np.stack([radius * np.cos(angle)[:, None], radius * np.sin(angle)[:, None], height], axis=-1)
    i = np.arange(segments)
    quads = np.stack([2 * i, 2 * i + 2, 2 * i + 3, 2 * i + 1], axis=1)
    quads[-1, 1:3] = [1, 0]
    return vertices.reshape(-1, 3), split_quads(quads)


def join(*meshes: Arrays) -> Arrays:
    """Several meshes as one, nothing welded."""
    offsets = np.cumsum([0] + [len(vertices) for vertices, _ in meshes])
    faces = [faces + offset for (_, faces), offset in zip(meshes, offsets, strict=False)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def signed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Positive where a closed surface faces outwards."""
    a, b, c = np.asarray(vertices, dtype=np.float64)[faces.T]
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)


def shared_data() -> Path:
    """The folder with the shared artist meshes; it may not exist."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("FLASHMESH_DATA", default))
