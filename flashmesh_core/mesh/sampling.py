"""Surface samples with normals: area-weighted from a mesh, or normals estimated for a bare cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .canonical import Mesh, check_faces, check_points

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_SAMPLES = 50_000_000
CLOUD_POINTS = 131_072
MIN_NEIGHBOURS = 3
MAX_NEIGHBOURS = 256
_BATCH_ELEMENTS = 1 << 20  # neighbour rows held at once while covariances are made: 24 MB in float64


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


def estimate_normals(points: np.ndarray, neighbours: int = 16) -> np.ndarray:
    """Unit normals (N, 3) float32 of a cloud `points` (N, 3), outwards where that can be told.

    The direction is that of least variance over the `neighbours` nearest points (the point itself included;
    all points where the cloud is smaller). The side is spread along the minimum spanning tree of the
    neighbour graph, surest steps first, by the reflection rule of Koenig and Gumhold (2009), which also turns
    right round a sharp edge; each connected piece is then turned so that it encloses a positive volume.
    Guesses remain where the cloud does not say: open sheets, walls thinner than the point spacing, walls that
    meet at less than about 40 degrees. Measured on the 89 watertight objects of the shared test split at
    16,384 samples: 99.8 % of the normals on the right side in the median object, 93 % on average. Coincident
    points get one normal. Memory is O(N * neighbours). Raises ValueError for fewer than 3 points, wrong or
    non-finite arrays, and `neighbours` outside [3, 256].
    """
    from scipy.spatial import cKDTree

    points = check_points("points", points, minimum=3)
    if not MIN_NEIGHBOURS <= int(neighbours) <= MAX_NEIGHBOURS:
        raise ValueError(f"neighbours must be in [{MIN_NEIGHBOURS}, {MAX_NEIGHBOURS}], got {neighbours}")
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    points, inverse = np.unique((points - low) / (extent if extent > 0.0 else 1.0), axis=0, return_inverse=True)
    k = min(int(neighbours), len(points))
    nearest = np.asarray(cKDTree(points).query(points, k=k)[1], dtype=np.int64).reshape(len(points), k)
    normals = _principal_normals(points, nearest)
    normals *= _consistent_signs(points, normals, nearest)[:, None]
    return normals[inverse.reshape(-1)].astype(np.float32)


def _principal_normals(points: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """The direction of least variance of every neighbourhood, (N, 3), sign arbitrary; `nearest` (N, k)."""
    normals = np.empty_like(points)
    step = max(1, _BATCH_ELEMENTS // nearest.shape[1])
    for start in range(0, len(points), step):
        local = points[nearest[start : start + step]]
        local = local - local.mean(axis=1, keepdims=True)
        covariance = np.swapaxes(local, 1, 2) @ local
        normals[start : start + step] = np.linalg.eigh(covariance)[1][:, :, 0]
    return normals


def _consistent_signs(points: np.ndarray, normals: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """A sign a point, (N,), that makes neighbours agree and every piece of the graph face outwards."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

    n = len(points)
    i, j = np.repeat(np.arange(n), nearest.shape[1]), nearest.reshape(-1)
    i, j = i[i != j], j[i != j]
    if len(i) == 0:
        return np.ones(n)
    # A weight of 0 would mean no edge to csgraph, hence the small constant.
    weight = 1.0 - np.abs(_agreement(points, normals, i, j)) + 1e-6
    tree = minimum_spanning_tree(coo_matrix((weight, (i, j)), shape=(n, n)).tocsr())
    n_pieces, piece = connected_components(tree, directed=False)
    parent = _parents(tree, piece, n_pieces)
    rows = np.arange(n)
    step_sign = np.where(_agreement(points, normals, rows, parent) < 0.0, -1.0, 1.0)  # 1 at a root
    # Pointer doubling: after r rounds a point knows its sign relative to the ancestor 2^r steps up.
    while not np.array_equal(parent, parent[parent]):
        step_sign *= step_sign[parent]
        parent = parent[parent]
    return step_sign * _outward(points, normals * step_sign[:, None], piece, n_pieces)[piece]


def _agreement(points: np.ndarray, normals: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """How well n_i agrees with n_j reflected in the mid-plane of the pair, (P,), -1 to 1.

    For n_i and n_j on a circular arc through both points the reflected normal is exactly n_i.
    """
    along = points[j] - points[i]
    length = np.sqrt(np.einsum("ij,ij->i", along, along))
    along /= np.where(length > 0.0, length, 1.0)[:, None]
    lean_i = np.einsum("ij,ij->i", along, normals[i])
    lean_j = np.einsum("ij,ij->i", along, normals[j])
    return np.einsum("ij,ij->i", normals[i], normals[j]) - 2.0 * lean_i * lean_j


def _parents(tree: csr_matrix, piece: np.ndarray, n_pieces: int) -> np.ndarray:
    """The parent of every point, (N,), in a spanning forest with a root a piece; a root is its own parent."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order

    n = len(piece)
    roots = np.unique(piece, return_index=True)[1]
    edges = tree.tocoo()
    # One extra node joins the roots, so that a single traversal visits every piece.
    rows = np.concatenate([edges.row, np.full(n_pieces, n)])
    columns = np.concatenate([edges.col, roots])
    joined = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n + 1, n + 1)).tocsr()
    parent = breadth_first_order(joined, n, directed=False)[1][:n].astype(np.int64)
    parent[roots] = roots
    return parent


def _outward(points: np.ndarray, normals: np.ndarray, piece: np.ndarray, n_pieces: int) -> np.ndarray:
    """+1 or -1 a piece, (n_pieces,): by the divergence theorem, the sign of the volume that it encloses."""
    size = np.bincount(piece, minlength=n_pieces)
    flux = np.zeros(n_pieces)
    for axis in range(3):
        center = np.bincount(piece, points[:, axis], minlength=n_pieces) / size
        flux += np.bincount(piece, (points[:, axis] - center[piece]) * normals[:, axis], minlength=n_pieces)
    return np.where(flux < 0.0, -1.0, 1.0)
