"""Clouds that one camera took from the origin of their space: depth maps and single scans.

They are sheets that do not touch and enclose nothing, so that only the place from which they were taken tells their
sides. From there no point hides behind another, which is hardly so of what was scanned from all around.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import face_geometry, unit_rows
from flashmesh_core.surface.guesses import Guesses
from flashmesh_core.surface.point_normals import random_part
from flashmesh_core.surface.visibility import openness

WIDEST = 75.0  # degrees off the middle of what is seen; from inside of a body all of it is seen, in every direction
FEWEST, LOOKED_AT = 2_000, 200_000  # points
POINTS, BINS = 4.0, 2e6  # of a bin of the image, on average; bins of an image at most, where points are in clumps
SHARPEST = 1e-6  # radians, the side of a bin; what lies on one ray fills none
STEP = 8.0  # sides of a bin, between two depths that are not of one surface
HIDDEN = 0.01  # share of the bins amid others that show two surfaces, up to which none hides behind another
SEVERAL = 0.002  # steps from a bin to the next, a bin, below which all may be one sheet, whose sides nothing tells
MOST = 0.6  # share of the bins around one that show two surfaces, too, where one hides behind the other
STRAY = 0.001  # share of the directions at either end of the image that do not count
CLEAR, SLAB = 0.5, 0.18  # openness that shows a side; share that shows each, above which there are two, a wall apart


class Sight(NamedTuple):
    """What is seen from the origin."""

    sees_all: bool  # nothing of it hides behind something else
    sees_several: bool  # and it is not all one sheet


def sight(points: np.ndarray) -> Sight:
    """What of `points` (N, 3) is seen from the origin of their space, in any unit; of many a part is looked at."""
    part = random_part(len(points), LOOKED_AT) if len(points) > LOOKED_AT else np.arange(len(points))
    image = _image(points[part[(points[part] != 0.0).any(axis=1)]])
    if image is None:
        return Sight(False, False)
    near, far, inside = image
    taken, two = np.isfinite(near), inside > STEP
    behind = two & (_around(two) >= MOST * _around(taken))
    sees_all = behind.sum() <= HIDDEN * taken.sum()
    steps = (two & ~behind).sum() + _steps(near, far)
    return Sight(bool(sees_all), bool(sees_all and steps >= SEVERAL * taken.sum()))


def facing(points: np.ndarray, normals: np.ndarray, viewpoint: np.ndarray, gap: float) -> np.ndarray | None:
    """Unit `normals` (N, 3) of `points` turned to `viewpoint` (3,); None where walls have two sides.

    The far side of a slab that is thinner than a step of depth is seen from outside as well as the near one.
    """
    cosine = _cosines(points, normals, viewpoint)
    turned = np.where(cosine < 0.0, -1.0, 1.0)[:, None] * normals
    seen = openness(points, turned, gap)
    return None if min((seen > CLEAR).mean(), (seen < -CLEAR).mean()) > SLAB else turned


def hidden(mesh: Mesh, guesses: Guesses, points: np.ndarray, normals: np.ndarray, viewpoint: np.ndarray) -> np.ndarray:
    """Which patches of `guesses` (G,) face away from the `viewpoint` (3,): they hang behind what it sees.

    Those of walls, whose samples (`points` and `normals`, (N, 3)) face away themselves, are none of them.
    """
    sides, areas, centers = face_geometry(mesh.vertices, guesses.faces.astype(np.int32))
    owner, count = guesses.owner[guesses.faces[:, 0]], len(guesses.sure)
    of, around = (
        np.bincount(guesses.patch, areas * weight, minlength=count)
        for weight in (_cosines(centers, sides, viewpoint), _cosines(points[owner], normals[owner], viewpoint))
    )
    return (of < 0.0) & (around > 0.0)


def _cosines(points: np.ndarray, normals: np.ndarray, viewpoint: np.ndarray) -> np.ndarray:
    """The cosine (N,) between each of unit `normals` (N, 3) and the way from its point to `viewpoint` (3,)."""
    return np.einsum("ij,ij->i", unit_rows(viewpoint - points), normals)


def _image(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The image (W, H) of points (N, 3), none at the origin: nearest and farthest depth, and the widest gap between.

    Depths are logarithms in sides of a bin, infinite where nothing is seen. None for too few points and a wide view.
    """
    places = _directions(points) if len(points) >= FEWEST else None
    if places is None:
        return None
    low, high = np.quantile(places, (STRAY, 1.0 - STRAY), axis=0)
    side = float(np.sqrt(np.prod(high - low) * POINTS / len(points)))
    least = float(np.sqrt(np.prod(high - low) / BINS))
    if side < SHARPEST:
        return None
    for _ in range(2):  # what is seen fills a part of its frame
        taken = len(np.unique(np.floor((places - low) / side), axis=0))
        side = max(side * float(np.sqrt(POINTS * taken / len(points))), least)
    bins, shape = np.floor((places - low) / side).astype(np.int64), tuple(np.ceil((high - low) / side).astype(np.int64))
    framed = ((bins >= 0) & (bins < shape)).all(axis=1)
    number = np.ravel_multi_index(tuple(bins[framed].T), shape)
    depth = np.log(np.linalg.norm(points[framed], axis=1)) / side
    order = np.lexsort((depth, number))
    number, depth = number[order], depth[order]
    near, far, inside = np.full(shape, np.inf), np.full(shape, -np.inf), np.zeros(shape)
    np.minimum.at(near.reshape(-1), number, depth)
    np.maximum.at(far.reshape(-1), number, depth)
    same = number[1:] == number[:-1]
    np.maximum.at(inside.reshape(-1), number[1:][same], np.diff(depth)[same])
    return near, far, inside


def _directions(points: np.ndarray) -> np.ndarray | None:
    """The directions of points (N, 3) in a plane, (N, 2), areas kept (Lambert's projection); None of a wide view."""
    rays = points / np.linalg.norm(points, axis=1, keepdims=True)
    middle = rays.mean(axis=0)
    middle /= max(float(np.linalg.norm(middle)), 1e-300)
    cosine = rays @ middle
    if np.quantile(cosine, STRAY) < np.cos(np.radians(WIDEST)):
        return None
    across = np.linalg.svd(middle[None])[2][1:]
    return np.sqrt(2.0 / np.maximum(1.0 + cosine, 1e-9))[:, None] * (rays @ across.T)


def _around(flags: np.ndarray) -> np.ndarray:
    """How many of the nine bins at and around each of (W, H) are set."""
    from scipy import ndimage

    return ndimage.convolve(flags.astype(np.int64), np.ones((3, 3), dtype=np.int64), mode="constant")


def _steps(near: np.ndarray, far: np.ndarray) -> int:
    """How many bins and their next in a row or column are a step of depth apart."""
    count = 0
    for first, last in ((near, far), (near.T, far.T)):
        apart = np.maximum(first[1:] - last[:-1], first[:-1] - last[1:])
        count += int((np.isfinite(apart) & (apart > STEP)).sum())
    return count
