"""From what the user gives (a mesh, or points with or without normals) to what decoding needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from flashmesh_core.candidates import make_candidates
from flashmesh_core.config import ModelConfig
from flashmesh_core.decode.places import Places, assign_bins
from flashmesh_core.errors import InputError
from flashmesh_core.mesh.canonical import Mesh, Normalization, dequantize
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.sampling import sample_surface, triangle_areas
from flashmesh_core.mesh.surface import SurfaceGrid
from flashmesh_core.slices import SUGGESTED_ROWS, SurfaceContext
from flashmesh_core.surface.denoising import Progress
from flashmesh_core.surface.reading import MIN_FACES, RICHER, WITH_DENSE, Reading, read_varied

SURFACE_POINTS = 16_384  # samples that creases and slices are made from, as in training; at least
MAX_SURFACE_POINTS = 131_072
SAMPLES_A_BIN = 0.8  # samples a square bin: fewer do not tell what is uncovered on a large surface (docs/log.md)
MEASURED_POINTS = 5_000  # samples of a surface that distances are taken from
UNASKED_FACES = 1_000  # of the proxy if no number of faces is wanted
MARGIN = 0.01  # of the longest side, left free on either side of the source, as in training


@dataclass(frozen=True, eq=False)
class MeasuredSurface:
    """The dense surface without noise, in the unit box, that results are measured against."""

    mesh: Mesh

    @cached_property
    def tree(self) -> TriangleTree:
        """For distances to the surface."""
        return TriangleTree.of_mesh(self.mesh.vertices, self.mesh.faces)

    @cached_property
    def samples(self) -> np.ndarray:
        """Points (5,000, 3) of the surface, from which results are measured."""
        return sample_surface(self.mesh.vertices, self.mesh.faces, MEASURED_POINTS, np.random.default_rng(0)).points


@dataclass(frozen=True, eq=False)
class Source:
    """An input surface in the unit box.

    `channels` (P, 7) float32 are what the condition encoder reads; `points` (N, 3) are samples of the proxy mesh, with
    unit `normals` (N, 3). `places` are the proxy's vertices, `proxy_bins` (F, 3, 3) the bins, columns x, y, z, of its
    faces. `others` are the same surface simplified by the seeds of further candidates, where there are any.
    """

    normalization: Normalization
    points: np.ndarray
    normals: np.ndarray
    channels: np.ndarray
    context: SurfaceContext | None
    mask_grid: SurfaceGrid
    places: Places
    proxy_bins: np.ndarray
    proxy: Mesh  # in the source's space
    surface: MeasuredSurface
    noise: float  # standard deviation of what was noise, in the unit box
    is_manifold: bool  # of a Mesh, with vertices at one place as one; True for samples, which cannot tell
    is_closed: bool  # no open edges: of a Mesh, the same, or of the one made of a cloud
    kept: bool  # the vertices are the source's own
    gashes: int  # holes of a mesh that were closed, where a scanner saw nothing
    strays: int  # points of a cloud, or pieces and spikes of a mesh, that were left out
    others: tuple[Source, ...] = ()

    def of_candidate(self, number: int) -> Source:
        """What candidate `number` is made from; the one surface there is where no others were read."""
        return self.others[number - 1] if 0 < number <= len(self.others) else self


def prepare_source(
    source: Mesh | np.ndarray,
    normals: np.ndarray | None,
    config: ModelConfig,
    *,
    seeds: Sequence[int] = (0,),
    tolerance: int | None = None,
    faces: int | None = None,
    keep_vertices: bool | None = None,
    clean_up: bool = True,
    progress: Progress | None = None,
) -> Source:
    """Read the surface, sample its proxy and build the grids.

    `source` is a Mesh or surface samples (N, 3) with unit `normals` (N, 3) or None (then they are estimated).
    Candidate i has the proxy of `seeds[i]`, see `varied_proxies`, unless the mesh is one of so few faces itself.
    `keep_vertices`, `clean_up` and `progress` as in `read_varied`. `tolerance` of the mask is in bins; by default
    1, and one more for each bin of noise. Raises ValueError for what `read_varied` refuses.
    """
    wanted = UNASKED_FACES if faces is None else max(faces, MIN_FACES)
    first, *more = read_varied(
        source, normals, faces=wanted, seeds=seeds, keep_vertices=keep_vertices, clean_up=clean_up,
        richer=WITH_DENSE if shows_candidates(config) else RICHER, progress=progress,
    )  # fmt: skip
    made = source_of_reading(first, config, np.random.default_rng(0), tolerance)
    if all(reading is first for reading in more):
        return made
    others = (source_of_reading(reading, config, np.random.default_rng(0), tolerance) for reading in more)
    return replace(made, others=tuple(replace(other, surface=made.surface) for other in others))


def source_of_reading(
    reading: Reading, config: ModelConfig, rng: np.random.Generator, tolerance: int | None = None
) -> Source:
    """What decoding needs of a reading; see `prepare_source`."""
    box = Normalization(reading.box.center, reading.box.scale * (1.0 + 2.0 * MARGIN))
    proxy, surface = (_shrunk(mesh) for mesh in (reading.proxies[0], reading.surface))
    size = config.num_bins
    places = assign_bins(proxy.vertices, size)
    area = float(triangle_areas(proxy.triangles).sum())
    if not area > 0.0:
        raise InputError(f"source must have a total area above 0, got {len(proxy.faces)} faces without", field="source")
    dense = shows_candidates(config)
    shown = _shrunk(reading.proxies[-1]) if dense else proxy
    samples = sample_surface(shown.vertices, shown.faces, enough_samples(area * size**2), rng)
    points, normals = samples.points.astype(np.float64), samples.normals.astype(np.float64)
    if tolerance is None:
        tolerance = 1 + dense + int(reading.noise * size)
    corners, proxy_bins = dequantize(places.bins, size), places.bins[proxy.faces]
    context = None
    if config.slice_rows:
        context = SurfaceContext.of_samples(points, normals, corners, size, proxy_bins=proxy_bins)
        if dense:
            richer = _shrunk(reading.proxies[1])
            candidates = make_candidates(proxy.vertices, proxy.faces, richer.vertices, size)
            context = replace(context, candidates=candidates)
    read = rng.choice(len(points), config.num_points, replace=len(points) < config.num_points)
    channels = np.concatenate([points[read], normals[read], np.ones((len(read), 1))], axis=1)
    return Source(
        normalization=box, points=points, normals=normals, channels=channels.astype(np.float32),
        context=context,
        mask_grid=SurfaceGrid.of_mesh(shown.vertices if dense else corners, shown.faces, size, tolerance),
        places=places, proxy_bins=proxy_bins,
        proxy=Mesh(box.invert(proxy.vertices), proxy.faces), surface=MeasuredSurface(surface),
        noise=reading.noise / (1.0 + 2.0 * MARGIN),
        is_manifold=reading.is_manifold, is_closed=reading.is_closed, kept=reading.kept,
        gashes=reading.gashes, strays=reading.strays,
    )  # fmt: skip


def shows_candidates(config: ModelConfig) -> bool:
    """Whether the model is shown what `candidate_rows.py` makes, and reads the dense surface."""
    return len(config.slice_rows) > SUGGESTED_ROWS


def without_proxy(source: Source, config: ModelConfig) -> Source:
    """The same surface for a model that is shown no vertex and no face of the proxy mesh, only samples of it."""
    context = source.context
    if context is not None:
        context = SurfaceContext.of_samples(source.points, source.normals, np.zeros((0, 3)), config.num_bins)
    others = tuple(without_proxy(other, config) for other in source.others)
    return replace(source, context=context, places=Places.none(), others=others)


def _shrunk(mesh: Mesh) -> Mesh:
    """From the box without a margin into the one with it."""
    return Mesh(mesh.vertices / (1.0 + 2.0 * MARGIN), mesh.faces)


def enough_samples(area: float) -> int:
    """How many samples tell what is uncovered of a surface of so many square bins."""
    return int(min(max(SAMPLES_A_BIN * area, SURFACE_POINTS), MAX_SURFACE_POINTS))
