"""Surface samples with normals, area-weighted from a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canonical import Mesh, check_faces, check_points

MAX_SAMPLES = 50_000_000
CLOUD_POINTS = 131_072


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """`points` (N, 3) float32 in source units, unit `normals` (N, 3) float32, `face_index` (N,) int64."""

    points: np.ndarray
    normals: np.ndarray
    face_index: np.ndarray


def sample_surface(vertices: np.ndarray, faces: np.ndarray, count: int, rng: np.random.Generator) -> SurfaceSamples:
    """`count` independent points, uniform over the area of a triangle mesh, each with its face's normal.

    `vertices` (V, 3) finite, any unit; `faces` (F, 3) indices. Faces without area are never chosen. The same
    generator state gives the same samples. Points are float32: a mesh that lies far from the origin for its
    size should be normalised first. Raises ValueError for wrong arrays, for a mesh without faces or without
    area, and for `count` outside [1, 50,000,000].
    """
    vertices = check_points("vertices", vertices, minimum=3)
    faces = check_faces("faces", faces, len(vertices))
    if len(faces) == 0:
        raise ValueError("faces must hold at least 1 triangle to sample from, got 0")
    if not 1 <= int(count) <= MAX_SAMPLES:
        raise ValueError(f"count must be in [1, {MAX_SAMPLES}], got {count}")
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    reach = max(abs(float(low.min())), abs(float(high.max())))
    if reach > float(np.finfo(np.float32).max):
        raise ValueError(f"vertices must be within the range of float32, got a coordinate of size {reach:.3g}")
    extent = float((high - low).max())
    # Areas are taken in the unit box: squares of very small or very large edges would under- or overflow.
    a, b, c = ((vertices - low) / (extent if extent > 0.0 else 1.0))[faces.T]
    cross = _cross(b - a, c - a)
    double_area = np.sqrt(np.einsum("ij,ij->i", cross, cross))
    cumulative = np.cumsum(double_area)
    if not cumulative[-1] > 0.0:
        raise ValueError(f"faces must have a total area above 0, got {len(faces)} faces without area")

    pick, u, v = rng.random((3, int(count)))
    # A draw is at most 1 - 2^-53, so the product stays below the total and a face is always found.
    chosen = np.searchsorted(cumulative, pick * cumulative[-1], side="right")
    fold = u + v > 1.0  # the far half of the parallelogram, turned back into the triangle
    u, v = np.where(fold, 1.0 - u, u)[:, None], np.where(fold, 1.0 - v, v)[:, None]
    a, b, c = vertices[faces[chosen].T]
    points = a * (1.0 - u - v) + b * u + c * v
    normals = cross[chosen] / double_area[chosen, None]
    return SurfaceSamples(points.astype(np.float32), normals.astype(np.float32), chosen.astype(np.int64))


def sample_cloud(mesh: Mesh, count: int = CLOUD_POINTS) -> SurfaceSamples:
    """The samples that measurements give in place of a mesh; always the same ones."""
    return sample_surface(mesh.vertices, mesh.faces, count, np.random.default_rng(0))


def triangle_areas(corners: np.ndarray) -> np.ndarray:
    """The areas (F,) of triangles by their corners (F, 3, 3), in the square of their unit."""
    a, b, c = np.moveaxis(corners.astype(np.float64), 1, 0)
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cross product of rows, (N, 3): several times quicker than np.cross."""
    ax, ay, az = a.T
    bx, by, bz = b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
