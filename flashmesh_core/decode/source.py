"""From what the user gives (a mesh, or points with or without normals) to what decoding needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.config import ModelConfig
from flashmesh_core.mesh.canonical import Mesh, Normalization, check_faces, check_points, quantize, vertex_keys
from flashmesh_core.mesh.reconstruct import reconstruct
from flashmesh_core.mesh.sampling import estimate_normals, sample_surface, triangle_areas
from flashmesh_core.mesh.simplify import simplify
from flashmesh_core.mesh.surface import SurfaceGrid, default_tolerance, detect_corners
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.slices import SurfaceContext

SURFACE_POINTS = 16_384  # samples that corners, creases and slices are made from, as in training; at least
MOST_SURFACE_POINTS = 131_072
SAMPLES_A_BIN = 0.8  # samples a square bin: fewer do not tell what is bare on a large surface (docs/log.md)
MIN_POINTS, MAX_POINTS = 16, 2_000_000
DENSE = 1.5  # times the wanted faces: a mesh of more is simplified before it is read
UNASKED_FACES = 1_000  # to which a dense mesh is simplified if no number of faces is wanted
MIN_SIMPLE = 4  # faces; a closed surface has no fewer
MAX_REACH = 1e38  # source units
MARGIN = 0.01  # of the longest side, left free on either side of the samples, as in training


@dataclass(frozen=True, eq=False)
class Source:
    """An input surface in the unit box.

    `channels` (P, 7) float32 are what the condition encoder reads; `points` (N, 3) are samples of what is followed
    (of a dense mesh the simplified one), with unit `normals` (N, 3); `measured` (N, 3) are samples of what was given.
    `followed` (F, 3, 3) are the bins, columns x, y, z, of the faces of the mesh that is followed, none for a cloud that
    is followed as it is.
    """

    normalization: Normalization
    points: np.ndarray
    normals: np.ndarray
    measured: np.ndarray
    channels: np.ndarray
    context: SurfaceContext | None
    mask_grid: SurfaceGrid
    is_manifold: bool  # of a Mesh, with vertices at one place as one; True for samples, which cannot tell
    is_closed: bool  # no open edges: of a Mesh, the same, or of the one made of a cloud; else False
    followed: np.ndarray


def prepare_source(
    source: Mesh | np.ndarray,
    normals: np.ndarray | None,
    config: ModelConfig,
    *,
    seed: int = 0,
    tolerance: int | None = None,
    faces: int | None = None,
) -> Source:
    """Normalise, simplify what is dense, sample, detect corners and build the grids.

    `source` is a Mesh or surface samples (N, 3) with unit `normals` (N, 3) or None (then they are estimated). What is
    of more than DENSE times the wanted `faces` (of a cloud: facets), and a smooth cloud, is simplified to about these.
    The vertices of the mesh that is followed are the corners; those of a cloud of few facets are detected. All samples
    of a cloud go into the surface mask, SAMPLES_A_BIN of them, within SURFACE_POINTS to MOST_SURFACE_POINTS, into the
    rest.
    `tolerance` of the mask is in bins; by default 1 around a mesh, more around sparse points: 2.4 on average for 16,384
    samples of a mesh, 1.1 for 131,072.
    Raises ValueError for wrong shapes, non-finite values, and N outside [16, 2,000,000].
    """
    rng = np.random.default_rng(seed)
    about = UNASKED_FACES if faces is None else max(faces, MIN_SIMPLE)
    if isinstance(source, Mesh):
        given = _follow_mesh(_checked(source), config, about, rng)
    else:
        given = _follow_cloud(source, normals, config, about, rng)
    mesh = given.mesh
    normalization = _with_margin(Normalization.of_points(given.held if mesh is None else mesh.vertices))
    unit, corners = normalization.apply(given.points), normalization.apply(given.corners)
    if mesh is None:
        held, bins = normalization.apply(given.held), np.zeros((0, 3, 3), dtype=np.int64)
        grid = SurfaceGrid(
            held, config.num_bins, default_tolerance(held, config.num_bins) if tolerance is None else tolerance
        )
    else:
        bins = quantize(corners, config.num_bins)[mesh.faces]
        grid = SurfaceGrid.of_mesh(corners, mesh.faces, config.num_bins, 1 if tolerance is None else tolerance)
    context = None
    if config.slice_rows:
        feature_tolerance = 1 if len(unit) >= SURFACE_POINTS * 3 // 4 else 2
        context = SurfaceContext.of_samples(unit, given.normals, corners, config.num_bins, feature_tolerance)
    read = rng.choice(len(unit), config.num_points, replace=len(unit) < config.num_points)
    channels = np.concatenate([unit[read], given.normals[read], np.ones((len(read), 1))], axis=1)
    return Source(
        normalization=normalization, points=unit, normals=given.normals,
        measured=normalization.apply(given.measured), channels=channels.astype(np.float32), context=context,
        mask_grid=grid, is_manifold=given.is_manifold, is_closed=given.is_closed, followed=bins,
    )  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class _Followed:
    """What a source is read from, in its own units; see `Source`. Without a `mesh`, `held` is the cloud."""

    points: np.ndarray
    normals: np.ndarray
    measured: np.ndarray
    held: np.ndarray
    mesh: Mesh | None
    corners: np.ndarray
    is_manifold: bool = True
    is_closed: bool = False


def _follow_mesh(given: Mesh, config: ModelConfig, about: int, rng: np.random.Generator) -> _Followed:
    points, normals = _sample(given, config.num_bins, rng)
    measured, mesh = points, given
    if config.slice_rows and len(given.faces) > DENSE * about:
        mesh = simplify(given, about)
        points, normals = _sample(mesh, config.num_bins, rng)
    manifold, closed = is_manifold_and_closed(given.vertices, given.faces)
    return _Followed(
        points=points, normals=normals, measured=measured, held=given.vertices, mesh=mesh, corners=mesh.vertices,
        is_manifold=manifold, is_closed=closed,
    )  # fmt: skip


def _follow_cloud(
    cloud: np.ndarray, normals: np.ndarray | None, config: ModelConfig, about: int, rng: np.random.Generator
) -> _Followed:
    held = check_points("points", cloud, minimum=MIN_POINTS)
    if len(held) > MAX_POINTS:
        raise ValueError(f"points must hold {MIN_POINTS} to {MAX_POINTS} rows, got {len(held)}")
    _check_reach("points", held)
    points, facing = _thin(held, normals, config.num_bins, rng)
    measured, corners = points, np.zeros((0, 3))
    mesh: Mesh | None = None
    if config.slice_rows:
        box = _with_margin(Normalization.of_points(held))
        found = detect_corners(box.apply(points), facing)
        corners = box.invert(found.positions)
        if found.smooth or found.facets > DENSE * about:
            mesh = _surface_of(points, facing, box, about)
    closed = False
    if mesh is not None:
        points, facing = _sample(mesh, config.num_bins, rng)
        corners = mesh.vertices
        closed = is_manifold_and_closed(mesh.vertices, mesh.faces)[1]
    return _Followed(
        points=points, normals=facing, measured=measured, held=held, mesh=mesh, corners=corners, is_closed=closed
    )  # fmt: skip


def _checked(mesh: Mesh) -> Mesh:
    """The mesh without vertices that no face uses."""
    vertices = check_points("source vertices", mesh.vertices, minimum=3)
    faces = check_faces("source faces", mesh.faces, len(vertices))
    _check_reach("source vertices", vertices)
    if not len(faces):
        raise ValueError("source must have at least 1 face, got 0")
    used, faces = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], faces.reshape(-1, 3))


def _with_margin(normalization: Normalization) -> Normalization:
    return Normalization(normalization.center, normalization.scale * (1.0 + 2.0 * MARGIN))


def _surface_of(points: np.ndarray, normals: np.ndarray, box: Normalization, about: int) -> Mesh | None:
    """A mesh of about so many faces for a cloud (N, 3), which it follows; None where it shows no surface."""
    unit = box.apply(points)
    made = reconstruct(unit, normals)
    if made is None:
        return None
    made = simplify(made, about, box_of=unit)
    return Mesh(box.invert(made.vertices), made.faces)


def _sample(mesh: Mesh, num_bins: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a mesh (N, 3) in its own units, and their normals."""
    box = Normalization.of_points(mesh.vertices)  # samples are float32: far from the origin they would be coarse
    vertices = box.apply(mesh.vertices)
    area = float(triangle_areas(vertices[mesh.faces]).sum())
    surface = sample_surface(vertices, mesh.faces, _enough_samples(area * num_bins**2), rng)
    return box.invert(surface.points), surface.normals


def _enough_samples(area: float) -> int:
    """How many samples tell what is bare of a surface of so many square bins."""
    return int(min(max(SAMPLES_A_BIN * area, SURFACE_POINTS), MOST_SURFACE_POINTS))


def _check_reach(name: str, points: np.ndarray) -> None:
    """A ValueError where a coordinate is so large that the result, which is float32, could not hold it."""
    reach = float(np.abs(points).max())
    if reach > MAX_REACH:
        raise ValueError(f"{name} must be within {MAX_REACH:g} of the origin, got a coordinate of size {reach:.3g}")


def _thin(
    points: np.ndarray, normals: np.ndarray | None, num_bins: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """As many of the points as tell what is bare, with unit normals, given or estimated."""
    if normals is not None:
        normals = np.asarray(normals, dtype=np.float64)
        if normals.shape != points.shape:
            raise ValueError(f"normals must have the shape of points, {points.shape}, got {normals.shape}")
        if not np.isfinite(normals).all():
            raise ValueError("normals must be finite, got NaN or infinity")
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        if (length < 1e-9).any():
            raise ValueError(f"normals must not be zero, got {int((length < 1e-9).sum())} zero rows")
        normals = normals / length
    bins = quantize(Normalization.of_points(points).apply(points), num_bins)
    enough = _enough_samples(len(np.unique(vertex_keys(bins, num_bins))))  # a square bin of surface passes about one
    if len(points) > enough:
        keep = np.sort(rng.choice(len(points), enough, replace=False))
        points = points[keep]
        normals = None if normals is None else normals[keep]
    return points, estimate_normals(points) if normals is None else normals
