"""A triangle mesh through a cloud of samples with normals: marching cubes over signed distances near the samples."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

CELLS = 96  # an axis, at most
SAMPLES_A_CELL = 3.0  # of those that the surface passes; fewer cells where a cloud is sparse
NEAREST = 6  # samples whose planes tell the distance at a grid point
REACH = 2.0  # cells from the samples beyond which nothing is known


def reconstruct(points: np.ndarray, normals: np.ndarray) -> Mesh | None:
    """The surface through `points` (N, 3) in the unit box with unit `normals` (N, 3), outward winding; None where none.

    The distance at a grid point is that from the planes of its nearest samples. What is thinner than a cell, and
    detail below it, is lost; borders lie within a cell of the outermost samples.
    """
    from scipy.spatial import cKDTree
    from skimage.measure import marching_cubes

    cells = _cells_for(points)
    step = 1.0 / cells
    axis = (np.arange(cells + 5) - 2) * step - 0.5
    near = np.zeros((len(axis),) * 3, dtype=bool)
    at = np.floor((points + 0.5) / step).astype(np.int64) + 2
    reach = int(np.ceil(REACH))
    for x in range(-reach, reach + 2):
        for y in range(-reach, reach + 2):
            for z in range(-reach, reach + 2):
                index = np.clip(at + np.array((x, y, z)), 0, len(axis) - 1)
                near[index[:, 0], index[:, 1], index[:, 2]] = True
    grid = np.stack([axis[index] for index in np.nonzero(near)], axis=1)
    gap, nearest = cKDTree(points).query(grid, k=min(NEAREST, len(points)), distance_upper_bound=(REACH + 2.0) * step)
    found = np.isfinite(gap)
    nearest = np.where(found, nearest, 0)
    weight = np.where(found, 1.0 / (gap**2 + (0.5 * step) ** 2), 0.0)
    height = np.einsum("nkd,nkd->nk", grid[:, None] - points[nearest], normals[nearest])
    total = weight.sum(axis=1)
    distance = np.full(near.shape, np.inf)
    distance[near] = np.where(total > 0.0, (weight * height).sum(axis=1) / np.maximum(total, 1e-30), np.inf)
    known = near & np.isfinite(distance)
    known[near] &= gap[:, 0] <= REACH * step
    if not (distance[known] > 0).any() or not (distance[known] <= 0).any():
        return None
    whole = known.copy()  # cubes, by their highest corner, with all corners known
    for axis_number in range(3):
        whole &= np.roll(whole, 1, axis=axis_number)
    vertices, faces, _, _ = marching_cubes(
        np.where(known, distance, step), 0.0, mask=whole, gradient_direction="descent", allow_degenerate=False
    )
    return Mesh(vertices * step + axis[0], faces.astype(np.int64)) if len(faces) else None


def _cells_for(points: np.ndarray) -> int:
    """The finest of some grids whose cells hold SAMPLES_A_CELL samples on average where they hold any."""
    for cells in (CELLS, 64, 48, 32, 24, 16, 12):
        used = np.unique(np.floor((points + 0.5) * cells).astype(np.int64), axis=0)
        if len(points) >= SAMPLES_A_CELL * len(used):
            return cells
    return 8
