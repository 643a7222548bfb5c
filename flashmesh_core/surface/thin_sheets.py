"""Sheets that are walls thinner than twice the noise of a cloud without normals.

No sample of them can be given to a side, and what is made of them is one open sheet; what would close it behind is a
guess. But their samples stray from it further than noise does, and not as one normal distribution: where two surfaces
explain them better than one, over few and over many neighbours, the sheet has two sides.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface import point_normals
from flashmesh_core.surface.guesses import FAR, Guesses
from flashmesh_core.surface.samples import NEIGHBOURS, Progress, Samples, measured
from flashmesh_core.surface.thin_walls import LEAST, NOISES, Walls, counted, two_surfaces

PLACES = 128  # at most, of a patch, that are looked at
SCALES = (128, 256)  # neighbours; parts beside each other look like a wall over few, bent sheets over many
GAIN = 0.6  # nats a place, by which two surfaces must be likelier than one at either scale
SINGLE = 0.25  # winding number half way through a surface below which its samples are one sheet
BEHIND = 8.0  # cells from the samples within which the back of a wall is guessed; further away it is an opening's cover
AROUND = 3.0  # spacings from the samples of a patch within which others are part of the same sheet


class ThinSheets:
    """The walls among the sheets that are made of `points` (N, 3), which are as they were given."""

    def __init__(self, points: np.ndarray, report: Progress) -> None:
        self._points, self._report = points, report

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import cKDTree

        return cKDTree(self._points)

    def find(self, samples: Samples, guesses: Guesses) -> np.ndarray:
        """Which of the patches (G,) that close a surface of `samples` show two sides beside them."""
        found = np.zeros(len(guesses.far), dtype=np.bool_)
        for patch in np.flatnonzero(~guesses.sure & (guesses.far < FAR)):
            near = guesses.samples(patch)
            places = samples.points[near[:: len(near) // PLACES + 1]]
            found[patch] = all(self._are_two(places, count, samples.noise) for count in SCALES)
        return found

    def _are_two(self, places: np.ndarray, count: int, noise: float) -> bool:
        """Whether with some noise two surfaces are likelier than one over `count` neighbours of places (P, 3)."""
        nearest = self._tree.query(places, k=count)[1].astype(np.int32)
        for share in NOISES:
            self._report("sides", 0.0)
            if float(counted(two_surfaces(self._points, nearest, share * noise).gain).mean()) > GAIN:
                return True
        return False


def single_sheets(samples: Samples, middle: np.ndarray, guesses: Guesses, found: np.ndarray) -> np.ndarray:
    """Which samples (N,) show one sheet, beside the patches that are `found` (G,) to close a wall.

    `middle` (N,) is the winding number half way through the surface. Other patches only lack a hole's samples.
    """
    from scipy.spatial import cKDTree

    single = np.zeros(len(samples.points), dtype=np.bool_)
    for patch in np.flatnonzero(found):
        near = guesses.samples(patch)
        if (middle[near] < SINGLE).mean() > 0.5:
            distance, _ = cKDTree(samples.points[near]).query(samples.points)
            single |= (distance < AROUND * samples.gap) & (middle < 0.5)
    return single


def split(samples: Samples, single: np.ndarray, step: float, report: Progress) -> Samples:
    """The samples with those of `single` sheets (N,) on both sides of a wall of LEAST cells, each `step` wide."""
    over = 0.5 * LEAST * step * samples.normals[single]
    points, out = samples.points[single], samples.normals[single]
    normals = np.concatenate([samples.normals[~single], out, -out])
    known = np.concatenate([samples.walls[~single], np.ones(2 * len(over), dtype=np.bool_)])
    sides = np.where(known[:, None], normals, 0.0)
    walls = Walls(np.concatenate([samples.points[~single], points + over, points - over]), sides, samples.noise)
    near = point_normals.nearest_neighbours(walls.lifted(samples.gap), NEIGHBOURS, lambda f: report("sides", f))
    return measured(walls.points, normals, *near, known, samples.noise, samples.gap)


def drawn_in(mesh: Mesh, samples: Samples, guesses: Guesses, found: np.ndarray) -> Mesh:
    """The mesh with the patches that are `found` (G,) as near to the samples as those reach."""
    vertices = mesh.vertices.copy()
    moved = np.unique(guesses.faces[found[guesses.patch]])
    base = samples.points[guesses.owner[moved]]
    share = np.minimum(1.0, guesses.reach[moved] / np.maximum(guesses.distance[moved], 1e-12))
    vertices[moved] = base + share[:, None] * (vertices[moved] - base)
    return Mesh(vertices, mesh.faces)
