"""Real sources made from an artist's mesh: what a voxel remesh, a sculpt, a scan or a plain cloud of it would be.

The artist's mesh is the answer; a source hides it as real ones do. Evaluation uses the defaults, training varies them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix

from flashmesh_core.mesh.canonical import Mesh, check_faces, check_points, vertex_normals
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.mesh.voxels import inside_fraction, narrow_band, winding_numbers

FAMILIES = ("remesh", "sculpt", "scan", "cloud")
MESH_FAMILIES = ("remesh", "sculpt")
VERSION = 2  # of what a source of given settings is; caches hold it
SHELL = 1.2  # cells from an open sheet to the shell around it
FREE_CELLS = 4  # around the mesh
MIN_CELLS, MAX_CELLS = 8, 512
_ON_SURFACE = 1e-6  # cells; a node that near lies on the surface but for rounding
_BAND = 1.8  # cells: corners of a cell that the surface passes are no farther than a diagonal, 1.73
_WAVES = 24
_WAVE_NUMBER = 12.0  # standard deviation, radians in the unit box


@dataclass(frozen=True)
class SourceSettings:
    """How a source is made. Lengths are shares of the unit box's side; the defaults of a family are in DEFAULTS."""

    family: str  # one of FAMILIES
    cells: int = 128  # remesh, sculpt: cells of the unit box an axis
    smoothing: int = 0  # remesh, sculpt: rounds in which each vertex moves half way to its neighbors' mean
    bump_height: float = 0.0  # remesh, sculpt: amplitude of each of 24 waves, whose mean is the bump
    fine_noise: float = 0.0  # remesh, sculpt: standard deviation along the normals
    points: int = 16_384  # scan, cloud: samples before holes are cut
    noise: float = 0.0  # scan, cloud: standard deviation along each axis
    holes: int = 0  # scan, cloud: balls around random samples, cut out
    hole_radius: float = 0.0
    normals: bool = True  # scan, cloud: whether the points have any
    normal_noise: float = 0.0  # scan, cloud: standard deviation along each axis, before normals are made unit again

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {FAMILIES}, got {self.family!r}")
        if not MIN_CELLS <= self.cells <= MAX_CELLS:
            raise ValueError(f"cells must be in [{MIN_CELLS}, {MAX_CELLS}], got {self.cells}")
        if self.points < 1:
            raise ValueError(f"points must be at least 1, got {self.points}")
        for name in ("smoothing", "bump_height", "fine_noise", "noise", "holes", "hole_radius", "normal_noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


DEFAULTS = {
    "remesh": SourceSettings("remesh"),
    "sculpt": SourceSettings("sculpt", smoothing=6, bump_height=0.012, fine_noise=0.0006),
    "scan": SourceSettings("scan", points=60_000, noise=0.003, holes=1, hole_radius=0.06, normals=False),
    "cloud": SourceSettings("cloud", points=16_384, noise=0.0005, normal_noise=0.02),
}


def vary(family: str, rng: np.random.Generator) -> SourceSettings:
    """Settings around the family's defaults for one training source; another draw each time.

    Raises ValueError for an unknown family.
    """
    settings = _defaults(family)
    if family in MESH_FAMILIES:
        settings = replace(settings, cells=int(np.exp(rng.uniform(np.log(64), np.log(144)))))
    if family == "sculpt":
        return replace(
            settings,
            smoothing=int(rng.integers(1, 11)),
            bump_height=float(rng.uniform(0.0, 0.02)),
            fine_noise=float(rng.uniform(0.0, 0.0012)),
        )
    if family == "scan":
        return replace(
            settings,
            points=int(np.exp(rng.uniform(np.log(15_000), np.log(100_000)))),
            noise=float(rng.uniform(0.001, 0.006)),
            holes=int(rng.integers(0, 4)),
            hole_radius=float(rng.uniform(0.02, 0.09)),
            normals=bool(rng.random() < 0.2),
            normal_noise=float(rng.uniform(0.05, 0.3)),
        )
    if family == "cloud":
        return replace(
            settings,
            points=int(np.exp(rng.uniform(np.log(6_000), np.log(40_000)))),
            noise=float(rng.uniform(0.0, 0.0015)),
            normals=bool(rng.random() < 0.7),
            normal_noise=float(rng.uniform(0.0, 0.1)),
        )
    return settings


def make_source(
    mesh: Mesh, settings: SourceSettings | str, *, seed: int, closed: bool | None = None
) -> Mesh | PointCloud:
    """The source of a family (its defaults) or of `settings`; the same arguments give the same source.

    `mesh` lies in the unit box [-0.5, 0.5]^3 with outward winding, as MeshStore holds it. Where it is `closed` (by
    default as its edges tell), `remesh` and `sculpt` are its surface, else a shell around its sheets. Raises ValueError
    for an unknown family, wrong arrays, a mesh without faces or area, or outside the unit box.
    """
    settings = _defaults(settings) if isinstance(settings, str) else settings
    mesh = _checked(mesh)
    rng = np.random.default_rng([seed, sum(map(ord, settings.family))])
    if settings.family not in MESH_FAMILIES:
        return _points(mesh, settings, rng)
    if closed is None:
        closed = is_manifold_and_closed(mesh.vertices, mesh.faces)[1]
    dense = voxel_remesh(mesh, settings.cells, closed)
    if settings.smoothing:
        dense = Mesh(laplacian_smooth(dense, settings.smoothing), dense.faces)
    if settings.bump_height or settings.fine_noise:
        height = bumps(dense.vertices, settings.bump_height, rng)
        height += rng.normal(0.0, settings.fine_noise, len(height))
        dense = Mesh(dense.vertices + vertex_normals(dense) * height[:, None], dense.faces)
    return dense


def voxel_remesh(mesh: Mesh, cells: int, closed: bool) -> Mesh:
    """Marching cubes on `cells` of the unit box an axis: of the signed distance if `closed`, else of a shell.

    Inside is where the winding number is positive, so parts that run through each other become one. The lattice lies at
    whole cells from the box's lowest corner. Raises ValueError for a closed mesh that is inside out or too thin.
    """
    from skimage.measure import marching_cubes

    step = 1.0 / cells
    corner = -0.5 - FREE_CELLS * step
    in_cells = (mesh.vertices - corner) / step
    # Only the part of the lattice that the mesh lies in: few objects fill the box.
    first = np.floor(in_cells.min(axis=0)).astype(np.int64) - FREE_CELLS
    size = np.ceil(in_cells.max(axis=0)).astype(np.int64) + FREE_CELLS + 1 - first
    shape = (int(size[0]), int(size[1]), int(size[2]))
    reach = _BAND if closed else _BAND + SHELL
    field = narrow_band(in_cells - first, mesh.faces, shape, reach)
    if closed:
        winding = winding_numbers(in_cells - first, mesh.faces, shape)
        if winding.max() <= 0 and winding.min() < 0:
            raise ValueError("mesh must be wound outwards, got one that is inside out: flip its faces")
        field[winding > 0] *= -1.0
        _leave_round_off(field, in_cells - first, mesh.faces)
    else:
        field -= SHELL
    if not (field < 0.0).any():
        raise ValueError(f"mesh must be thick enough for a node of {cells} cells to lie inside it, got none inside")
    vertices, faces, _, _ = marching_cubes(field, 0.0)
    return Mesh((vertices + first) * step + corner, faces.astype(np.int64))


def _leave_round_off(field: np.ndarray, in_cells: np.ndarray, faces: np.ndarray) -> None:
    """Nodes on the surface get the distances and signs that rounding leaves there, in place of exact zeros.

    Sides that lie on nodes of the lattice are common, as boxes are. Computed as a combination of a triangle's corners,
    the nearest place is off by the last bits, in stripes and patches, and a winding number of a half falls either
    way. Marching cubes makes folds without thickness of it, which real remeshes have and simplifiers stumble over.
    """
    nodes = np.argwhere(np.abs(field) < _ON_SURFACE)
    if not len(nodes):
        return
    place = nodes * 1.0
    _, face = TriangleTree.of_mesh(in_cells, faces).nearest(place)
    fraction = inside_fraction(in_cells, faces, (field.shape[0], field.shape[1], field.shape[2]), nodes)
    a, b, c = in_cells[faces[face].T]
    u, v, w = b - a, c - a, place - a
    uu, uv, vv, wu, wv = (np.einsum("ij,ij->i", x, y) for x, y in ((u, u), (u, v), (v, v), (w, u), (w, v)))
    area = np.maximum(uu * vv - uv * uv, 1e-300)
    s, t = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    rest = np.abs(place - (a * (1.0 - s - t)[:, None] + b * s[:, None] + c * t[:, None])).max(axis=1)
    # Either way by patches a third of the box wide, as approximations of winding numbers fall.
    falls_in = np.sin(place @ np.array([0.045, 0.061, 0.053])) > 0.0
    inside = np.where(fraction == 0.5, falls_in, fraction > 0.5)
    field[tuple(nodes.T)] = np.where(inside, -rest, rest)


def laplacian_smooth(mesh: Mesh, rounds: int, weight: float = 0.5) -> np.ndarray:
    """The vertices (V, 3) after `rounds` in which each moves by `weight` of the way to its neighbors' mean."""
    count = len(mesh.vertices)
    start, end = mesh.faces[:, [0, 1, 2]].ravel(), mesh.faces[:, [1, 2, 0]].ravel()
    both = np.concatenate([start, end]), np.concatenate([end, start])
    neighbors = coo_matrix((np.ones(len(both[0])), both), shape=(count, count)).tocsr()
    neighbors.data[:] = 1.0  # an edge of two faces is one neighbor
    degree = np.maximum(np.diff(neighbors.indptr), 1)[:, None]
    vertices = np.asarray(mesh.vertices, dtype=np.float64)
    for _ in range(rounds):
        vertices = vertices + weight * (neighbors @ vertices / degree - vertices)
    return vertices


def bumps(points: np.ndarray, height: float, rng: np.random.Generator) -> np.ndarray:
    """Heights (N,) of waves at `points` (N, 3): the mean of 24 sines of amplitude `height` in random directions."""
    waves, phases = rng.normal(size=(_WAVES, 3)) * _WAVE_NUMBER, rng.random(_WAVES) * 2.0 * np.pi
    return np.sin(points @ waves.T + phases).mean(axis=1) * height


def _points(mesh: Mesh, settings: SourceSettings, rng: np.random.Generator) -> PointCloud:
    """Samples of the surface with noise and holes, and their normals."""
    samples = sample_surface(mesh.vertices, mesh.faces, settings.points, rng)
    points = samples.points + rng.normal(0.0, settings.noise, (settings.points, 3))
    kept = np.ones(len(points), dtype=bool)
    for center in points[rng.integers(len(points), size=settings.holes)]:
        kept &= np.linalg.norm(points - center, axis=1) > settings.hole_radius
    if not kept.any():
        raise ValueError(f"hole_radius must leave some of the {settings.points} points, got {settings.hole_radius}")
    if not settings.normals:
        return PointCloud(points[kept], None)
    normals = samples.normals + rng.normal(0.0, settings.normal_noise, points.shape)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return PointCloud(points[kept], normals[kept])


def _defaults(family: str) -> SourceSettings:
    if family not in DEFAULTS:
        raise ValueError(f"family must be one of {FAMILIES}, got {family!r}")
    return DEFAULTS[family]


def _checked(mesh: Mesh) -> Mesh:
    vertices = check_points("mesh.vertices", mesh.vertices)
    faces = check_faces("mesh.faces", mesh.faces, len(vertices))
    if len(faces) == 0:
        raise ValueError("mesh must have at least 1 face, got 0")
    reach = float(np.abs(vertices).max())
    if reach > 0.5 + 1e-3:
        raise ValueError(f"mesh must lie in the unit box [-0.5, 0.5]^3, got a coordinate of size {reach:.3g}")
    return Mesh(vertices, faces)
