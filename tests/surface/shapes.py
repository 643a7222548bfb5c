"""Shapes that tests read: dense ones of few formulas, and what is wrong with meshes."""

from __future__ import annotations

import numpy as np
import trimesh

from flashmesh_core.mesh.canonical import Mesh, Normalization
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.sampling import sample_surface
from tests.mesh.shapes import join

CUBE_FACES = np.array(
    [[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4], [1, 2, 6], [1, 6, 5],
     [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7]]
)  # fmt: skip


def cube() -> Mesh:
    """12 triangles of side 1, wound outwards."""
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    return Mesh(np.array(corners, dtype=float) - 0.5, CUBE_FACES)


def box(*size: float, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    """12 triangles with these three sides around `at`, wound outwards."""
    return Mesh(cube().vertices * size + at, CUBE_FACES)


def stone(seed: int) -> Mesh:
    """The hull of twenty places on a ball, in the unit box."""
    corners = np.random.default_rng(seed).normal(size=(20, 3))
    hull = trimesh.convex.convex_hull(corners / np.linalg.norm(corners, axis=1, keepdims=True))
    return Mesh(Normalization.of_points(hull.vertices).apply(hull.vertices), np.array(hull.faces))


def voxels(field, cells: int = 32) -> Mesh:
    """Marching cubes of a signed distance `field` of points (N, 3) in [-0.6, 0.6]^3: below 0 inside; wound outwards."""
    from skimage.measure import marching_cubes

    axis = np.linspace(-0.6, 0.6, cells)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    vertices, faces, _, _ = marching_cubes(field(points), 0.0)
    return Mesh(vertices * 1.2 / (cells - 1) - 0.6, faces.astype(np.int64))


def box_distance(half):
    """The signed distance of a box with half sides `half`, for `voxels`."""

    def field(points):
        beyond = np.abs(points) - np.asarray(half)
        return np.linalg.norm(np.maximum(beyond, 0.0), axis=-1) + np.minimum(beyond.max(axis=-1), 0.0)

    return field


def box_corners(half) -> np.ndarray:
    """The corners (8, 3) of a box with half sides `half`."""
    return np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half


def torus_distance(ring: float, tube: float):
    """The signed distance of a torus around the third axis with these two radii, for `voxels`."""

    def field(points):
        return np.hypot(np.linalg.norm(points[..., :2], axis=-1) - ring, points[..., 2]) - tube

    return field


def cylinder(sides: int) -> Mesh:
    """Closed, radius 0.5, height 1; the caps are fans."""
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 0.5
    low, high = np.column_stack([ring, np.full(sides, -0.5)]), np.column_stack([ring, np.full(sides, 0.5)])
    vertices = np.concatenate([low, high, [[0, 0, -0.5], [0, 0, 0.5]]])
    i = np.arange(sides)
    j = (i + 1) % sides
    parts = [(i, j, j + sides), (i, j + sides, i + sides), (j, i, 0 * i + 2 * sides),
             (i + sides, j + sides, 0 * i + 2 * sides + 1)]  # fmt: skip
    return Mesh(vertices, np.concatenate([np.stack(part, axis=1) for part in parts]))


def sphere(segments: int, rings: int) -> Mesh:
    """A UV sphere of radius 0.5 with poles."""
    angle, height = np.arange(segments) * 2 * np.pi / segments, np.arange(1, rings) * np.pi / rings
    x, y = np.cos(angle)[None] * np.sin(height)[:, None], np.sin(angle)[None] * np.sin(height)[:, None]
    middle = np.stack([x, y, np.repeat(np.cos(height)[:, None], segments, axis=1)], axis=-1).reshape(-1, 3)
    vertices = np.concatenate([middle, [[0, 0, 1], [0, 0, -1]]]) * 0.5
    i = np.arange(segments)
    j, n = (i + 1) % segments, len(middle)
    parts = [np.stack([0 * i + n, i, j], 1), np.stack([0 * i + n + 1, n - segments + j, n - segments + i], 1)]
    for r in range(rings - 2):
        a, b = r * segments, (r + 1) * segments
        parts += [np.stack([a + i, b + i, b + j], 1), np.stack([a + i, b + j, a + j], 1)]
    return Mesh(vertices, np.concatenate(parts))


def grid(cells: int, hole: bool = False) -> Mesh:
    """A flat open sheet of cells x cells quads in two triangles each; a square hole in its middle if asked."""
    axis = np.linspace(-0.5, 0.5, cells + 1)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    i, j = (v.ravel() for v in np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij"))
    if hole:
        kept = (np.abs(i - cells / 2 + 0.5) > cells / 5) | (np.abs(j - cells / 2 + 0.5) > cells / 5)
        i, j = i[kept], j[kept]
    a = i * (cells + 1) + j
    b, c, d = a + cells + 1, a + cells + 2, a + 1
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return Mesh(np.stack([x.ravel(), y.ravel(), 0.0 * x.ravel()], axis=1), faces)


def sieve(holes: int) -> Mesh:
    """A flat plate of sides 1 with holes x holes square holes; each face of a cell has two triangles."""
    solid = np.ones((2 * holes + 1,) * 2, dtype=bool)
    solid[1::2, 1::2] = False
    cells = np.argwhere(solid)
    kept = {tuple(cell) for cell in cells}
    quads = [[(x, y, 1), (x + 1, y, 1), (x + 1, y + 1, 1), (x, y + 1, 1)] for x, y in cells]
    quads += [[(x, y, 0), (x, y + 1, 0), (x + 1, y + 1, 0), (x + 1, y, 0)] for x, y in cells]
    for x, y in cells:
        around = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]
        beside = [(x, y - 1), (x + 1, y), (x, y + 1), (x - 1, y)]
        for k in range(4):
            if beside[k] not in kept:
                (a, b), (c, d) = around[k], around[(k + 1) % 4]
                quads.append([(a, b, 0), (c, d, 0), (c, d, 1), (a, b, 1)])
    vertices, corner = np.unique(np.array(quads).reshape(-1, 3), axis=0, return_inverse=True)
    corner = corner.reshape(-1, 4)
    return Mesh(vertices * [1, 1, 0.5] / len(solid) - 0.5, np.concatenate([corner[:, :3], corner[:, [0, 2, 3]]]))


def perforated(rows: int, sides: int = 16, radius: float = 0.12) -> Mesh:
    """A curved sheet of `rows` x `rows` squares of side 1, a round hole of `sides` edges in each, all edges uneven."""
    turns = 2.0 * np.pi * np.arange(sides) / sides
    round_ = np.c_[np.cos(turns), np.sin(turns)]
    square = 0.5 * round_ / np.abs(round_).max(axis=1, keepdims=True)
    tile, ahead = np.concatenate([radius * round_, square]), np.roll(np.arange(sides), -1)
    faces = np.concatenate(
        [
            np.c_[np.arange(sides), sides + np.arange(sides), sides + ahead],
            np.c_[np.arange(sides), sides + ahead, ahead],
        ]
    )
    middles = np.stack(np.meshgrid(np.arange(rows), np.arange(rows)), axis=-1).reshape(-1, 1, 2) + 0.5
    flat = np.round((middles + tile).reshape(-1, 2), 9)
    all_faces = np.concatenate([faces + number * len(tile) for number in range(len(middles))])
    used, inverse = np.unique(flat, axis=0, return_inverse=True)
    return Mesh(np.c_[used, 0.15 * rows * np.sin(3.0 / rows * used[:, 0])], inverse.ravel()[all_faces])


def cards(count: int, size: float = 0.02, seed: int = 0) -> Mesh:
    """Loose squares of two faces in a unit ball, turned by chance, as leaves are made."""
    rng = np.random.default_rng(seed)
    middles, across = rng.normal(size=(count, 3)), rng.normal(size=(count, 3))
    middles *= rng.random((count, 1)) ** (1 / 3) / np.linalg.norm(middles, axis=1, keepdims=True)
    across *= size / np.linalg.norm(across, axis=1, keepdims=True)
    along = np.cross(across, rng.normal(size=(count, 3)))
    along *= size / np.linalg.norm(along, axis=1, keepdims=True)
    corners = [middles - across - along, middles + across - along, middles + across + along, middles - across + along]
    faces = np.array([[0, 1, 2], [0, 2, 3]]) + 4 * np.arange(count)[:, None, None]
    return Mesh(np.stack(corners, axis=1).reshape(-1, 3), faces.reshape(-1, 3))


def volume(mesh: Mesh) -> float:
    """The signed volume, above 0 if wound outwards."""
    a, b, c = mesh.triangles.transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)


def euler_number(mesh: Mesh) -> int:
    """Vertices less edges and plus faces: 2 for each closed part, less 2 for each handle."""
    ends = np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], axis=2).reshape(-1, 2)
    edges = np.unique(np.sort(ends, axis=1), axis=0)
    return len(np.unique(mesh.faces)) - len(edges) + len(mesh.faces)


def cloud_of(mesh: trimesh.Trimesh, count: int, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Samples (N, 3) of a mesh with noise along each axis, and their unit normals (N, 3)."""
    rng = np.random.default_rng(seed)
    samples = sample_surface(np.asarray(mesh.vertices), np.asarray(mesh.faces), count, rng)
    return samples.points + rng.normal(0.0, noise, (count, 3)), samples.normals.astype(np.float64)


def distances(shape: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    """How far points (N, 3) are from a mesh, (N,)."""
    return TriangleTree.of_mesh(np.asarray(shape.vertices), np.asarray(shape.faces, dtype=np.int32)).distance(points)


def joined(*parts: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """The vertices and faces of several meshes as one, nothing welded."""
    return join(*((part.vertices, part.faces) for part in parts))


def seen_by_camera(width: int = 320, step: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """What a camera at the origin sees of a table top, a board that floats before it and a wall behind, 1 to 4 m off.

    Points (N, 3) and the number (N,) of the surface of each, in this order. Inverse depths are multiples of `step`.
    """
    focal = 0.9 * width
    x, y = np.meshgrid(np.arange(width) - width / 2 + 0.5, np.arange(width * 3 // 4) - width * 3 / 8 + 0.5)
    rays = np.stack([x.ravel() / focal, y.ravel() / focal, np.ones(x.size)], axis=1)
    with np.errstate(divide="ignore"):
        table = 0.3 / rays[:, 1]
    board = 1.2 / (1.0 + 0.4 * rays[:, 0])
    wall = 3.5 / (1.0 - 0.2 * rays[:, 0])
    table[(table < 0.0) | (table > 2.5) | (np.abs(table * rays[:, 0]) > 0.8)] = np.inf
    board[(np.abs(board * rays[:, 0]) > 0.2) | (np.abs(board * rays[:, 1] + 0.1) > 0.15)] = np.inf
    depths = np.stack([table, board, wall])
    surface, depth = depths.argmin(axis=0), depths.min(axis=0)
    if step:
        depth = 1.0 / (np.round(1.0 / depth / step) * step)
    return rays * depth[:, None], surface
