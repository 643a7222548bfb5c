"""A dense triangle mesh through any cloud of samples, with or without normals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flashmesh_core.mesh.canonical import Mesh, check_points
from flashmesh_core.surface import implicit, point_normals
from flashmesh_core.surface.adjacency import joined, only
from flashmesh_core.surface.borders import open_edges
from flashmesh_core.surface.extension import extended
from flashmesh_core.surface.fairing import faired
from flashmesh_core.surface.gathering import gathered
from flashmesh_core.surface.guesses import Guesses, find_guesses, without_guesses
from flashmesh_core.surface.insides import without_hidden
from flashmesh_core.surface.rims import trim_rims
from flashmesh_core.surface.samples import Progress, Samples, read_samples
from flashmesh_core.surface.thin_sheets import BEHIND, ThinSheets, drawn_in, single_sheets, split
from flashmesh_core.surface.thin_walls import can_hide_walls
from flashmesh_core.surface.tunnels import without_tunnels
from flashmesh_core.surface.viewpoint import hidden
from flashmesh_core.surface.winding import Grid, at_sides

MIN_POINTS = 16
MAX_WIDTH = 4.0  # mean spacings, of a sample that lies alone
SUPPORT = 1.0  # spacings from the nearest sample beyond which a triangle is a guess
BLUR = 0.6  # of the winding number, in spacings
REGION = 0.05  # side of the cells, three of which tell whether samples are part of a closed surface
CLOSED = 0.38  # mean winding number half way through a surface above which it is
DOUBT = (0.25, 0.45)  # share of the expected winding number at which a distance is not believed, and is
THIN_DOUBT = (0.1, 0.25)  # the same at thin walls
THINNEST = 1.3  # cells; thinner walls, which would fall into strips, are made that thick
ROUGH = 0.2  # noise in cells above which distances are smoothed
MOSTLY = 0.5  # share of samples on thin walls above which the surface is closed
FRAGMENT = 0.02  # triangles, by those of the largest piece, below which another is dropped
HELD = 8  # samples nearest to a piece below which it only surrounds strays
APART, ALONE = 4.0, 32  # mean spacings off what stays; so many samples as far show that a small piece is a part


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The surface of a cloud; lengths in the unit box."""

    mesh: Mesh  # dense, outward winding where closed
    noise: float  # standard deviation of the samples across the surface
    gap: float  # mean spacing: distance to the sixth neighbour
    is_closed: bool  # no open edge


def reconstruct(
    points: np.ndarray,
    normals: np.ndarray | None,
    *,
    viewpoint: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Reconstruction | None:
    """The surface through `points` (N, 3) in the unit box, with unit `normals` (N, 3) or None; None where none shows.

    Points that lie closer together than their noise is wide are gathered first (gathering.py), millions of others
    averaged in small cells; normals that contradict each other count without their sides. Where there are none, all of
    the surface faces `viewpoint` (3,), if one is given. `progress(stage, share done)` may raise to cancel. Raises
    ValueError for wrong shapes and values that are not finite.
    """
    report = progress or (lambda stage, fraction: None)
    points = check_points("points", points, minimum=0)
    if normals is not None:
        normals = check_points("normals", normals, minimum=0)
        if len(normals) != len(points):
            raise ValueError(f"normals must be as many as points ({len(points)}), got {len(normals)}")
    report("reading", 0.0)
    points, normals = point_normals.with_unit_normals(points, normals)
    found = gathered(points, normals, lambda share: report("reading", share))
    points, normals = point_normals.thin(points, normals) if found is None else found
    if len(points) < MIN_POINTS or float(np.ptp(points, axis=0).max()) <= 0.0:
        return None
    order = point_normals.morton_order(points)
    points, normals = np.ascontiguousarray(points[order]), None if normals is None else normals[order]
    samples = read_samples(points, normals, report, viewpoint)
    step = point_normals.grid_step(samples.gap, samples.noise)
    grid = Grid.around(
        samples.points, step, 4.0 * step + implicit.REACH * float(np.quantile(_width(samples, step), 0.9))
    )
    samples, field = without_hidden(samples, grid, _blur(samples, step), report)
    dense = _dense(samples, field, grid, report)
    if dense is None:
        return None
    if normals is None and can_hide_walls(points, samples.noise, samples.gap):
        dense = _with_thin_sheets(dense, points, grid, report)
    if viewpoint is not None:
        seen = dense.samples
        dense = dense.without(hidden(dense.mesh, dense.guesses, seen.points, seen.normals, viewpoint))
    report("triangles", 1.0)
    mesh = _finished(dense, step)
    if not len(mesh.faces):
        return None
    starts, _, _ = open_edges(mesh.faces.astype(np.int32), len(mesh.vertices))
    return Reconstruction(mesh, samples.noise, samples.gap, not len(starts))


class _Dense(NamedTuple):
    """What `_dense` makes of N samples."""

    samples: Samples
    middle: np.ndarray  # (N,) winding number half way through the surface
    mesh: Mesh
    guesses: Guesses
    stays: np.ndarray  # (G,) which of the patches that are guesses belong to the surface

    def without(self, patches: np.ndarray) -> _Dense:
        """The same with some of the `patches` (G,) not of the surface."""
        guesses = self.guesses._replace(sure=self.guesses.sure & ~patches)
        return self._replace(guesses=guesses, stays=self.stays & ~patches)


def _dense(samples: Samples, field: np.ndarray, grid: Grid, report: Progress) -> _Dense | None:
    """The surface and what closes it; `field` is the winding number on the grid. None where nothing is inside."""
    values, middle = _distances(samples, field, grid, report)
    report("triangles", 0.0)
    if samples.noise > ROUGH * grid.step:
        values = _smoothed(values, grid.step)
    mesh = _triangles(values, grid)
    if mesh is None:
        return None
    if samples.walls.mean() > MOSTLY:
        middle = np.full(len(middle), 0.5)
    reach = np.maximum(samples.spacing, grid.step) * SUPPORT + 0.5 * grid.step
    guesses = find_guesses(mesh, samples.points, middle, reach)
    return _Dense(samples, middle, mesh, guesses, guesses.sure)


def _with_thin_sheets(dense: _Dense, points: np.ndarray, grid: Grid, report: Progress) -> _Dense:
    """The same with sheets closed whose `points` (N, 3), as they are given, show that they are walls."""
    thin = ThinSheets(points, report)
    found = thin.find(dense.samples, dense.guesses)
    single = single_sheets(dense.samples, dense.middle, dense.guesses, found)
    if single.any():
        samples = split(dense.samples, single, grid.step, report)
        closer = _dense(*without_hidden(samples, grid, _blur(samples, grid.step), report), grid, report)
        if closer is not None:
            dense, found = closer, thin.find(closer.samples, closer.guesses)
    found &= dense.guesses.far < BEHIND * grid.step
    mesh = drawn_in(dense.mesh, dense.samples, dense.guesses, found)
    return dense._replace(mesh=mesh, stays=dense.stays | found)


def _finished(dense: _Dense, step: float) -> Mesh:
    """The surface alone, its holes filled as what is around them goes on, and its rims trimmed."""
    unseen = dense.guesses.unseen
    mesh = extended(faired(dense.mesh, unseen >= 0), unseen)
    mesh, left = without_guesses(mesh, dense.guesses, dense.stays)
    mesh = _without_fragments(without_tunnels(mesh, unseen[left]), dense.samples)
    return _without_fragments(trim_rims(mesh, dense.samples, step), dense.samples) if len(mesh.faces) else mesh


def _width(samples: Samples, step: float) -> np.ndarray:
    """How far each sample counts, (N,)."""
    return np.minimum(np.maximum(samples.spacing, 1.2 * step), MAX_WIDTH * max(samples.gap, step))


def _blur(samples: Samples, step: float) -> float:
    return max(step, BLUR * samples.gap)


def _distances(samples: Samples, field: np.ndarray, grid: Grid, report: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances on a grid: moving least squares near the samples, by the winding number `field` elsewhere.

    And the winding number half way through the surface at every sample (N,), 0.5 where it is closed.
    """
    points, normals = samples.points, samples.normals
    width, blur = _width(samples, grid.step), _blur(samples, grid.step)
    middle = _middle(field, grid, samples, blur)
    found = implicit.signed_distances(
        grid, points, normals, width, samples.beside_edges, blur, lambda f: report("distances", f)
    )
    inside, expected = found.slots >= 0, found.winding
    near = found.distance - 0.5 * np.maximum(THINNEST * grid.step - found.thickness, 0.0)
    share = field[inside] + (0.5 - middle[found.owner])
    far = (0.5 - share) * (2.5 * blur)
    values = (0.5 - field) * np.float32(2.5 * blur)
    ratio = np.where(near < 0.0, share / np.maximum(expected, 1e-6), (1.0 - share) / np.maximum(1.0 - expected, 1e-6))
    # Between the sides of a thin wall the winding number rises and falls with the samples' density.
    doubted, believed = (np.where(np.isfinite(found.thickness), *ends) for ends in zip(THIN_DOUBT, DOUBT, strict=True))
    trust = np.clip(found.known, 0.0, 1.0) * np.clip((ratio - doubted) / (believed - doubted), 0.0, 1.0)
    values[inside] = trust * near + (1.0 - trust) * far
    return values, middle


def _middle(field: np.ndarray, grid: Grid, samples: Samples, blur: float) -> np.ndarray:
    """The winding number half way through the surface at every sample, (N,): 0.5 if closed, 0 on a flat sheet."""
    from scipy import ndimage

    outer, inner = at_sides(field, grid, samples.points, samples.normals, blur)
    middle = 0.5 * (outer + inner)
    cells = tuple(np.clip(np.floor((samples.points + 0.5) / REGION).astype(int) + 1, 0, int(1 / REGION) + 2).T)
    total, count = (np.zeros((int(1 / REGION) + 3,) * 3) for _ in range(2))
    np.add.at(total, cells, middle)
    np.add.at(count, cells, 1.0)
    total, count = ndimage.uniform_filter(total, 3), ndimage.uniform_filter(count, 3)
    middle = (total / np.maximum(count, 1e-12))[cells]
    return np.where(samples.walls | (middle > CLOSED), 0.5, middle)


def _smoothed(values: np.ndarray, step: float) -> np.ndarray:
    """The distances, averaged over less than a cell: single nodes on the wrong side would become handles and pits."""
    from scipy import ndimage

    return ndimage.gaussian_filter(np.clip(values, -step, step), 0.7, truncate=2.5)


def _triangles(values: np.ndarray, grid: Grid) -> Mesh | None:
    from skimage.measure import marching_cubes

    if not values.min() < 0.0 < values.max():
        return None
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent", allow_degenerate=False)
    return Mesh(vertices * grid.step + grid.corner, faces[:, ::-1].astype(np.int64)) if len(faces) else None


def _without_fragments(mesh: Mesh, samples: Samples) -> Mesh:
    """The mesh without pieces that hold hardly a sample, and small ones but where their samples are far from others."""
    from scipy.spatial import cKDTree

    if not len(mesh.faces):
        return mesh
    piece, count = joined(mesh.faces.astype(np.int32), len(mesh.vertices))
    if count == 1:
        return mesh
    triangles = np.bincount(piece)
    of = np.full(len(mesh.vertices), -1)
    of[mesh.faces] = piece[:, None]
    vertices, of = mesh.vertices[of >= 0], of[of >= 0]
    holder = of[cKDTree(vertices).query(samples.points)[1]]
    stays = (triangles >= FRAGMENT * triangles.max()) & (np.bincount(holder, minlength=count) >= HELD)
    stays[triangles.argmax()] = True
    doubted = np.flatnonzero(~stays[holder])
    far, _ = cKDTree(vertices[stays[of]]).query(samples.points[doubted])
    stays |= np.bincount(holder[doubted[far > APART * samples.gap]], minlength=count) >= ALONE
    return only(mesh, stays[piece])
