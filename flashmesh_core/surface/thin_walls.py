"""Both sides of walls that are hardly thicker than the noise of a cloud without normals.

A filter that evens out the noise makes one sheet of both sides. Over a few hundred neighbours their heights still show
two surfaces of one shape, one behind the other: a mixture of two normal distributions around a quadratic surface,
fitted by expectation and maximization (Dempster et al. 1977). Whose side a sample is on cannot be told for sure; so
each stands for the places on both sides that are nearest to it, and only places on one side are neighbours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.point_normals import COMPILED, Progress, grid_step, least_direction
from flashmesh_core.surface.threads import between, bounds_of_parts
from flashmesh_core.surface.visibility import shares_seen

NEIGHBOURS = 256
FEWEST_SAMPLES = 16 * NEIGHBOURS  # in fewer, so many neighbours reach too far
FIRST_PLACES = 128  # that are looked at for the noise
EVERY = 16  # samples for each place that is looked at for walls
NOISES = (0.42, 0.47, 0.53, 0.6, 0.68, 0.76, 0.85, 0.95, 1.05)  # that are tried, in those of single sheets
DOUBLE = 0.9  # of the noise of single sheets: with more, most of the surface is no double wall
CLEAN = 0.2  # noise of single sheets, in spacings, below which no wall is hardly thicker than it
MOST, CLEAR = 0.5, 2.0  # share of possible walls among the first places, and nats there, above which there are any
VOTE = 3.0  # nats that a place can lose by the noise that others vote for
WIDER, THICKEST = 1.2, 8.0  # noises of the deviation from one surface, and of the thickness, of a thin wall
EVEN = 0.3  # largest difference from a half of the share of samples on one side
BROAD = 1.5  # half thicknesses of deviation along the surface; with less it is a rod
SEEN = 0.1  # share of directions without other samples on one side of a wall: there is none between parts that touch
BEHIND = 0.05  # the same on the other sides of all walls: nothing is seen inside of a body that was scanned twice
GAIN, WORST, BEST, ROUGHEST = 0.5, 3.0, 12.0, -6.0  # nats by which two surfaces are likelier: mean over places, the
# least and the most that each counts there, and what a place must have itself
AROUND = 9  # places over which that is averaged
MANY, FEW = 0.6, 0.3  # share of walls among them with which a place is one, and is none
FEWEST = 0.03  # share of walls below which there are none
NEAR = 1.3  # radii of a place's neighbourhood, from it, up to which it tells the sides
OFF = 3.0  # noises from either surface beyond which a sample belongs to neither
LEAST = 2.0  # cells of the reconstruction's grid; thinner walls are made that thick
ACROSS = 2.5  # spacings that a unit of difference between the sides counts as a distance
CHUNK, ROWS = 512, 32  # places between two calls of progress, and that a thread has at the least
_ROUNDS = 20
_CHOICE = 12  # nearest places of which a sample takes the one whose middle is nearest along the surface


class Walls(NamedTuple):
    """Samples as `find_walls` leaves them, N with the places on both sides of walls; lengths in the unit box."""

    points: np.ndarray  # (N, 3)
    sides: np.ndarray  # (N, 3) unit normals out of the wall; zero where there is none
    noise: float  # standard deviation of the given samples across the surface

    @property
    def known(self) -> np.ndarray:
        """Which samples (N,) belong to a thin wall."""
        return np.asarray(self.sides.any(axis=1))

    def lifted(self, gap: float) -> np.ndarray:
        """The points with three more coordinates (N, 6), which part the two sides of a wall; `gap` is the spacing."""
        return np.concatenate([self.points, ACROSS * gap * self.sides], axis=1)

    def turned(self, normals: np.ndarray) -> np.ndarray:
        """Unit `normals` (N, 3) of either sign, those of walls out of the wall."""
        return np.where(np.einsum("ij,ij->i", normals, self.sides)[:, None] < 0.0, -normals, normals)


class _Places(NamedTuple):
    """Two surfaces at each of P places."""

    center: np.ndarray  # (P, 3)
    frame: np.ndarray  # (P, 3, 3) rows: two directions along the surface, its normal
    radius: np.ndarray  # (P,)
    shape: np.ndarray  # (P, 6) of the height half way between them: 1, a, b, a a, a b, b b, in radii
    half: np.ndarray  # (P,) distance of each from there
    share: np.ndarray  # (P,) of the samples on the upper one
    gain: np.ndarray  # (P,) nats by which two are likelier than one
    spread: np.ndarray  # (P,) standard deviation from one surface
    breadth: np.ndarray  # (P,) standard deviation along the surface, where it is least


def can_hide_walls(points: np.ndarray, noise: float, gap: float) -> bool:
    """Whether walls of `points` (N, 3), of mean spacing `gap`, can be hardly thicker than the noise, and show."""
    return len(points) >= FEWEST_SAMPLES and noise >= CLEAN * gap


def find_walls(points: np.ndarray, noise: float, gap: float, progress: Progress) -> Walls | None:
    """Both sides of the thin walls of `points` (N, 3) in the unit box, of mean spacing `gap`.

    `noise` is what the standard deviation across the surface would be without walls. None where few are walls.
    """
    from scipy.spatial import cKDTree

    if not can_hide_walls(points, noise, gap):
        return None
    tree = cKDTree(points)
    nearest = _nearest(tree, points[:: len(points) // FIRST_PLACES])
    tried = [two_surfaces(points, nearest, share * noise) for share in NOISES]
    gains = np.array([found.gain for found in tried])
    best = int(np.maximum(gains - gains.max(axis=0), -VOTE).mean(axis=1).argmax())
    progress(0.3)
    if NOISES[best] > DOUBLE:
        return None
    noise = NOISES[best] * noise
    possible = _possible(tried[best], noise)
    if possible.mean() < MOST or counted(tried[best].gain[possible]).mean() < CLEAR:
        return None
    found = _everywhere(points, tree, noise, progress)
    wall = _are_walls(points, found, noise, gap)
    if wall.mean() < FEWEST:
        return None
    found = _Places(*(array[wall] for array in found))
    choice = cKDTree(found.center).query(points, k=min(_CHOICE, len(found.center)))[1].reshape(len(points), -1)
    middle, over, sides = points.copy(), np.zeros_like(points), np.zeros_like(points)
    _find_middles(points, choice, *found[:5], noise, LEAST * grid_step(gap, noise), middle, over, sides)
    known = sides.any(axis=1)
    points = np.concatenate([middle + over, (middle - over)[known]])
    sides = np.concatenate([sides, -sides[known]])
    return Walls(points, sides, noise)


def _everywhere(points: np.ndarray, tree: Any, noise: float, progress: Progress) -> _Places:
    """Two surfaces at each one in EVERY of the points."""
    places, found = points[::EVERY], []
    for start in range(0, len(places), CHUNK):
        progress(0.3 + 0.6 * start / len(places))
        found.append(two_surfaces(points, _nearest(tree, places[start : start + CHUNK]), noise))
    return _Places(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _nearest(tree: Any, places: np.ndarray) -> np.ndarray:
    """The samples (P, k) around each of `places` (P, 3)."""
    return tree.query(places, k=NEIGHBOURS, workers=-1)[1].astype(np.int32)


def two_surfaces(points: np.ndarray, nearest: np.ndarray, noise: float) -> _Places:
    """Two surfaces through each of the groups `nearest` (P, k) of points that stray from them by `noise`."""
    count = len(nearest)
    found = _Places(
        np.empty((count, 3)), np.empty((count, 3, 3)), np.empty(count), np.empty((count, 6)), *np.empty((5, count))
    )
    between(_fit, bounds_of_parts(0, count, ROWS), points, nearest, noise, *found)
    return found


def counted(gain: np.ndarray) -> np.ndarray:
    """What nats (P,) count where they are averaged."""
    return np.clip(gain, -WORST, BEST)


def _possible(found: _Places, noise: float) -> np.ndarray:
    """Which places (P,) have the looks of a thin wall."""
    thin = (found.spread > WIDER * noise) & (2.0 * found.half < THICKEST * noise)
    return thin & (np.abs(found.share - 0.5) < EVEN) & (found.breadth > BROAD * found.half)


def _are_walls(points: np.ndarray, found: _Places, noise: float, gap: float) -> np.ndarray:
    """Which places (P,) are thin walls, by themselves and by those around them."""
    from scipy.spatial import cKDTree

    count = len(found.center)
    around = cKDTree(found.center).query(found.center, k=min(AROUND, count))[1].reshape(count, -1)
    up = found.frame[:, 2]
    over = found.half[:, None] * up
    behind, seen = np.sort(shares_seen(points, gap, (found.center + over, up), (found.center - over, -up)), axis=0)
    possible = _possible(found, noise) & (seen[around].mean(axis=1) > SEEN)
    wall = possible & (counted(found.gain)[around].mean(axis=1) > GAIN) & (found.gain > ROUGHEST)
    for _ in range(2):
        share = wall[around].mean(axis=1)
        wall = np.where(share > MANY, possible, wall & (share > FEW))
    return wall & (behind[wall].mean() > BEHIND) if wall.any() else wall


@njit(**COMPILED)
def _fit(first, last, points, nearest, noise, center, frame, radius, shape, half, share, gain, spread, breadth):
    k = nearest.shape[1]
    basis, height, off = np.empty((k, 6)), np.empty(k), np.empty(k)
    for i in range(first, last):
        radius[i] = _stand(points, nearest[i], center[i], frame[i], basis, height)
        aa, bb, ab = basis[:, 3].mean(), basis[:, 5].mean(), basis[:, 4].mean()
        least = 0.5 * (aa + bb) - np.sqrt(0.25 * (aa - bb) ** 2 + ab * ab)
        breadth[i] = radius[i] * np.sqrt(max(least, 0.0))
        normal = basis.T @ basis + 1e-9 * np.eye(6)
        least_squares = np.linalg.solve(normal, np.ascontiguousarray(basis.T))
        shape[i] = least_squares @ height
        off[:] = height - basis @ shape[i]
        spread[i] = np.sqrt((off * off).mean())
        half[i], share[i] = _part(least_squares, basis, height, noise, spread[i], shape[i], off)
        gain[i] = k * (0.5 + np.log(spread[i] / noise))
        for j in range(k):
            upper = share[i] * np.exp(-0.5 * ((off[j] - half[i]) / noise) ** 2)
            lower = (1.0 - share[i]) * np.exp(-0.5 * ((off[j] + half[i]) / noise) ** 2)
            gain[i] += np.log(max(upper + lower, 1e-300))


@njit(**COMPILED)
def _part(least_squares, basis, height, noise, spread, shape, off):
    """The mixture of two surfaces: how far each is from half way, and the share of the upper one.

    `shape` (6,) and the heights over it, `off` (k,), become those of half way.
    """
    side = np.empty(len(height))  # 1 on the upper, -1 on the lower surface
    half = np.sqrt(max(spread**2 - noise**2, 0.01 * spread**2))
    share = 0.5
    for _ in range(_ROUNDS):
        for j in range(len(height)):
            side[j] = np.tanh(0.5 * min(max(_odds(off[j], half, noise, share), -60.0), 60.0))
        share = min(max(0.5 + 0.5 * side.mean(), 0.02), 0.98)
        shape[:] = least_squares @ (height - half * side)
        off[:] = height - basis @ shape
        half = abs((off * side).mean())
    return half, share


@njit(**COMPILED)
def _stand(points, near, center, frame, basis, height):
    """The plane of the points `near`, their places on it as a quadratic `basis`, their `height`; the radius."""
    k = len(near)
    center[:] = 0.0
    for q in near:
        center += points[q]
    center /= k
    xx = yy = zz = xy = xz = yz = radius = 0.0
    for q in near:
        x, y, z = points[q, 0] - center[0], points[q, 1] - center[1], points[q, 2] - center[2]
        xx, yy, zz, xy, xz, yz = xx + x * x, yy + y * y, zz + z * z, xy + x * y, xz + x * z, yz + y * z
        radius = max(radius, x * x + y * y + z * z)
    radius = np.sqrt(max(radius, 1e-300))
    nx, ny, nz, _ = least_direction(xx, yy, zz, xy, xz, yz)
    frame[2, 0], frame[2, 1], frame[2, 2] = nx, ny, nz
    axis = 0 if abs(nx) <= min(abs(ny), abs(nz)) else (1 if abs(ny) <= abs(nz) else 2)
    frame[0] = -frame[2, axis] * frame[2]
    frame[0, axis] += 1.0
    frame[0] /= np.sqrt((frame[0] ** 2).sum())
    frame[1] = np.cross(frame[2], frame[0])
    for j in range(k):
        a, b, height[j] = _placed(points[near[j]], center, frame, radius)
        basis[j, 0], basis[j, 1], basis[j, 2] = 1.0, a, b
        basis[j, 3], basis[j, 4], basis[j, 5] = a * a, a * b, b * b
    return radius


@njit(**COMPILED)
def _placed(point, center, frame, radius):
    """Where a point lies along a plane, in radii, and how high over it."""
    a = b = height = 0.0
    for axis in range(3):
        along = point[axis] - center[axis]
        a += along * frame[0, axis]
        b += along * frame[1, axis]
        height += along * frame[2, axis]
    return a / radius, b / radius, height


@njit(**COMPILED)
def _odds(off, half, noise, share):
    """The logarithm of the odds that a point is on the upper surface."""
    return 2.0 * off * half / noise**2 + np.log(share / (1.0 - share))


@njit(**COMPILED)
def _find_middles(points, choice, center, frame, radius, shape, half, noise, least, middle, over, sides):
    """For every point its place half way through the wall at the nearest place, the way `over` from there to the upper
    side, and the unit normal there; `least` thickness of a wall."""
    for i in range(len(points)):
        best = NEAR * NEAR
        for c in choice[i]:
            a, b, height = _placed(points[i], center[c], frame[c], radius[c])
            form = shape[c]
            off = height - form[0] - form[1] * a - form[2] * b - form[3] * a * a - form[4] * a * b - form[5] * b * b
            if a * a + b * b >= best or abs(abs(off) - half[c]) > OFF * noise:
                continue
            best = a * a + b * b
            lean_a = (form[1] + 2.0 * form[3] * a + form[4] * b) / radius[c]
            lean_b = (form[2] + form[4] * a + 2.0 * form[5] * b) / radius[c]
            scale = 1.0 / np.sqrt(1.0 + lean_a**2 + lean_b**2)
            for axis in range(3):
                lean = lean_a * frame[c, 0, axis] + lean_b * frame[c, 1, axis]
                sides[i, axis] = scale * (frame[c, 2, axis] - lean)
                over[i, axis] = max(half[c], 0.5 * least) * frame[c, 2, axis]
                middle[i, axis] = points[i, axis] - off * frame[c, 2, axis]
