"""Depths that a camera tells in steps: a Kinect, which knows disparities to an eighth of a pixel, is 7 cm off at 5 m.

A wall is then a stack of flat slices with nothing between them. The true depth lies within about half a step; of all
depths that do, those are taken that are most even. Inverse depths are evened out, in which planes stay planes and
steps are as high near as far.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.point_normals import COMPILED, planes_through, tree_of

PLACES, AROUND = 4_000, 5  # points looked at, each with so many
ALIKE, TRIED = 1e-6, 200  # cosine less than 1 of normals that are one; how many are tried
EQUAL = 2e-6  # of the largest
FEWEST = 50  # depths; fewer may be flat things before each other
FINER = 10  # times as many different values the other coordinates have where depths are steps; fewer in lattices
SLACK = 0.75  # steps by which a depth may be wrong: half of one by rounding, and noise
SAME = 1.6  # steps, up to which neighbours in the image are of one surface
NEIGHBOURS = 8  # in the image
ASKEW = 0.3  # of a neighbour's distance, up to which another one lies on the other side
LEVELS = 8  # on either side of a depth, whose steps tell its own
ROUNDS = 30  # of relaxation


def without_steps(points: np.ndarray, normals: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """`points` (N, 3), all of which are seen from the origin, with their depths evened out where these are steps.

    With them come their `normals` (N, 3), or None: those that were made of steps face the camera wherever the surface
    does.
    """
    seen = np.flatnonzero(points.any(axis=1))
    placed = points[seen] @ _frame(_axis(points[seen])).T
    others, depth = placed[:, :2], placed[:, 2]
    levels, of = _levels(depth)
    if len(levels) < FEWEST or depth.min() * depth.max() <= 0.0:
        return points, normals
    if min(len(_levels(along)[0]) for along in others.T) < FINER * len(levels):
        return points, normals
    inverse = (1.0 / levels)[of]
    step = _steps(1.0 / levels)[of]
    even = _even(inverse.copy(), inverse - SLACK * step, inverse + SLACK * step, _pairs(others, depth, inverse, step))
    result = points.copy()
    result[seen] /= (even * depth)[:, None]
    return result, None


def _axis(points: np.ndarray) -> np.ndarray:
    """The unit axis (3,) that depths are told along where they are steps: many points lie in planes across it."""
    rng = np.random.default_rng(0)
    places = rng.permutation(len(points))[:PLACES]
    near = points[tree_of(points).query(points[places], k=AROUND, workers=-1)[1]]
    normals = planes_through(near)[1]
    tried = normals[:TRIED]
    axis = tried[(np.abs(normals @ tried.T) > 1.0 - ALIKE).sum(axis=0).argmax()]
    alike = normals[np.abs(normals @ axis) > 1.0 - ALIKE]
    return np.linalg.eigh(alike.T @ alike)[1][:, -1]


def _frame(axis: np.ndarray) -> np.ndarray:
    """Two directions across a unit `axis` (3,) and that itself, (3, 3)."""
    return np.concatenate([np.linalg.svd(axis[None])[2][1:], axis[None]])


def _pairs(others: np.ndarray, depth: np.ndarray, inverse: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Neighbours on either side of each point in the image, (N, k, 2), of the same surface; -1 for none.

    A point at a surface's border has some along it alone: it would be drawn towards the others.
    """
    places = others / depth[:, None]
    near = tree_of(places).query(places, k=NEIGHBOURS + 1, workers=-1)[1]
    apart = np.abs(inverse[near] - inverse[:, None]) > SAME * np.maximum(step[near], step[:, None])
    return _opposite(places, np.ascontiguousarray(np.where(apart, -1, near)[:, 1:]))


def _levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values (L,) among `values` (N,), sorted, and which one each is, (N,).

    Those are the same that rounding and turning the points leave no farther apart than EQUAL, one by one.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    number = np.concatenate([[0], np.cumsum(np.diff(ordered) > EQUAL * np.abs(values).max())])
    of = np.empty(len(values), dtype=np.int64)
    of[order] = number
    return np.bincount(number, ordered) / np.bincount(number), of


def _steps(levels: np.ndarray) -> np.ndarray:
    """How high the steps are at each of the sorted `levels` (L,): the median of those around it, some are missing."""
    from scipy import ndimage

    steps = np.abs(np.diff(levels))
    if not len(steps):
        return np.zeros(len(levels))
    return ndimage.median_filter(np.append(steps, steps[-1]), 2 * LEVELS, mode="nearest")


@njit(**COMPILED)
def _opposite(places, near):
    count, of = near.shape
    pairs = np.full((count, of, 2), -1, dtype=np.int64)
    for i in range(count):
        for j in range(of):
            if near[i, j] < 0:
                continue
            across = 2.0 * places[i] - places[near[i, j]]
            best = ASKEW**2 * ((places[near[i, j]] - places[i]) ** 2).sum()
            for k in range(j + 1, of):
                if near[i, k] >= 0:
                    off = ((places[near[i, k]] - across) ** 2).sum()
                    if off < best:
                        best = off
                        pairs[i, j, 0], pairs[i, j, 1] = near[i, j], near[i, k]
    return pairs


@njit(**COMPILED)
def _even(values, low, high, pairs):
    """`values` (N,) relaxed towards the means of `pairs` (N, k, 2) of neighbours, within `low` and `high`."""
    count = len(values)
    for turn in range(ROUNDS):
        for number in range(count):
            i = number if turn % 2 == 0 else count - 1 - number
            total, of = 0.0, 0
            for j in range(pairs.shape[1]):
                if pairs[i, j, 0] >= 0:
                    total += values[pairs[i, j, 0]] + values[pairs[i, j, 1]]
                    of += 2
            if of:
                values[i] = min(max(total / of, low[i]), high[i])
    return values
