"""The canonical form of a mesh: normalised, quantised, welded, ordered z-y-x (paper Sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.errors import InputError

MIN_BINS = 2
MAX_BINS = 4096


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh: `vertices` (V, 3) float, columns x, y, z with z up; `faces` (F, 3) int64."""

    vertices: np.ndarray
    faces: np.ndarray

    @property
    def triangles(self) -> np.ndarray:
        """The corner positions of every face, (F, 3, 3)."""
        return self.vertices[self.faces]


@dataclass(frozen=True, eq=False)
class Normalization:
    """The map from source space into the unit box: `unit = (source - center) / scale`."""

    center: np.ndarray  # (3,) source units
    scale: float  # source units per unit box; the longest side of the bounding box

    @staticmethod
    def of_points(points: np.ndarray) -> Normalization:
        """The map that centers the bounding box of `points` (N, 3) and scales its longest side to 1."""
        points = check_points("points", points)
        low, high = points.min(axis=0), points.max(axis=0)
        scale = float((high - low).max())
        return Normalization(center=(low + high) / 2.0, scale=scale if scale > 0.0 else 1.0)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Source space to the unit box [-0.5, 0.5]^3, in float64."""
        return (np.asarray(points, dtype=np.float64) - self.center) / self.scale

    def invert(self, points: np.ndarray) -> np.ndarray:
        """The unit box back to source space, in float64."""
        return np.asarray(points, dtype=np.float64) * self.scale + self.center


@dataclass(frozen=True, eq=False)
class CanonicalMesh:
    """Quantised vertices sorted by (z, y, x) and faces in canonical order.

    `vertices` (V, 3) int64 bins with columns x, y, z, unique and sorted by (z, y, x); `faces` (F, 3) int64,
    each rotated (never reflected, so winding survives) to start at its lowest vertex, sorted by (v0, v1, v2).
    """

    vertices: np.ndarray
    faces: np.ndarray
    num_bins: int

    def dequantize(self) -> Mesh:
        """The mesh with vertices at bin centers of the unit box."""
        return Mesh(dequantize(self.vertices, self.num_bins), self.faces)


def check_points(name: str, points: np.ndarray, minimum: int = 1) -> np.ndarray:
    """`points` as float64 (N, 3), or an InputError that names the array, what is allowed and what was given."""
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or array.shape[0] < minimum:
        raise InputError(f"{name} must have shape (N, 3) with N >= {minimum}, got {array.shape}", field=name)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).any(axis=1).sum())
        raise InputError(f"{name} must be finite, got {bad} rows with NaN or infinity", field=name)
    return array


def check_faces(name: str, faces: np.ndarray, n_vertices: int) -> np.ndarray:
    """`faces` as int64 (F, 3) with indices in [0, n_vertices), or an InputError that says what is wrong."""
    array = np.asarray(faces)
    if array.ndim != 2 or array.shape[1] != 3:
        raise InputError(f"{name} must have shape (F, 3), got {array.shape}", field=name)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name} must hold integers, got {array.dtype}", field=name)
    array = array.astype(np.int64)
    if array.size and (array.min() < 0 or array.max() >= n_vertices):
        raise InputError(
            f"{name} must hold indices in [0, {n_vertices - 1}], got {array.min()} to {array.max()}", field=name
        )
    return array


def check_num_bins(num_bins: int) -> int:
    """`num_bins` if it is an integer in the supported range, else an InputError."""
    if not MIN_BINS <= int(num_bins) <= MAX_BINS:
        raise InputError(f"num_bins must be in [{MIN_BINS}, {MAX_BINS}], got {num_bins}", field="num_bins")
    return int(num_bins)


def quantize(points: np.ndarray, num_bins: int) -> np.ndarray:
    """Unit-box positions to bins: floor((p + 0.5) * num_bins), clipped to [0, num_bins - 1]."""
    bins = np.floor((np.asarray(points, dtype=np.float64) + 0.5) * num_bins)
    return np.clip(bins, 0, num_bins - 1).astype(np.int64)


def dequantize(bins: np.ndarray, num_bins: int) -> np.ndarray:
    """Bins to the positions of their centers in the unit box, float64; off by at most half a bin."""
    return (np.asarray(bins, dtype=np.float64) + 0.5) / num_bins - 0.5


def vertex_keys(bins: np.ndarray, num_bins: int) -> np.ndarray:
    """One int64 a vertex that sorts as (z, y, x); `bins` (..., 3) with columns x, y, z."""
    bins = np.asarray(bins, dtype=np.int64)
    return (bins[..., 2] * num_bins + bins[..., 1]) * num_bins + bins[..., 0]


def key_bins(keys: np.ndarray, num_bins: int) -> np.ndarray:
    """The bins (..., 3), columns x, y, z, of the keys (...) that `vertex_keys` made."""
    return np.stack([keys % num_bins, keys // num_bins % num_bins, keys // num_bins**2], axis=-1)


def canonicalize_bins(bins: np.ndarray, faces: np.ndarray, num_bins: int) -> CanonicalMesh:
    """Weld equal bins, drop degenerate and duplicate faces and unused vertices, order z-y-x.

    `bins` (V, 3) integers in [0, num_bins); `faces` (F, 3). Two faces over the same vertices with opposite
    winding are different faces and both stay.
    """
    num_bins = check_num_bins(num_bins)
    bins = np.asarray(bins, dtype=np.int64).reshape(-1, 3)
    faces = check_faces("faces", faces, len(bins))
    keys, inverse = np.unique(vertex_keys(bins, num_bins), return_inverse=True)
    faces = inverse.reshape(-1)[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    first = faces.argmin(axis=1) if len(faces) else np.zeros(0, dtype=np.int64)
    rows = np.arange(len(faces))
    faces = np.stack([faces[rows, (first + k) % 3] for k in range(3)], axis=1)
    faces = np.unique(faces, axis=0)
    used, faces = np.unique(faces, return_inverse=True)
    return CanonicalMesh(key_bins(keys[used], num_bins), faces.reshape(-1, 3).astype(np.int64), num_bins)


def canonicalize(
    vertices: np.ndarray, faces: np.ndarray, num_bins: int, normalization: Normalization | None = None
) -> CanonicalMesh:
    """A mesh in source space to its canonical form at `num_bins` bins an axis.

    `normalization` defaults to that of the mesh's own bounding box. Raises ValueError for wrong shapes,
    indices out of range, non-finite positions or a bin count outside [2, 4096].
    """
    vertices = check_points("vertices", vertices)
    normalization = normalization or Normalization.of_points(vertices)
    return canonicalize_bins(quantize(normalization.apply(vertices), num_bins), faces, num_bins)


def vertex_normals(mesh: Mesh) -> np.ndarray:
    """Unit normals (V, 3), the mean of the faces' by area; zero at a vertex of no face."""
    a, b, c = mesh.vertices[mesh.faces.T]
    cross = np.cross(b - a, c - a)
    normals = np.empty_like(mesh.vertices)
    for axis in range(3):
        weights = np.repeat(cross[:, axis], 3)
        normals[:, axis] = np.bincount(mesh.faces.ravel(), weights, minlength=len(normals))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
