"""All figures of a result against the artist's own mesh, in the artist's unit box (docs/definitions.md, "Figures").

The artist's mesh is the answer that a real source (a remesh, a sculpt, a scan, a cloud) hides. Chamfer, Hausdorff and
BBox-IoU are those of metrics.py. The others say what these cannot see: whether edges and corners lie where the artist
put them, whether the mesh is closed, and whether its faces look outwards.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from .canonical import Mesh, Normalization, check_faces, check_points
from .distance import TriangleTree
from .half_edge import build_half_edges, degenerate_faces
from .io import first_at_place
from .layout import MATCH_RADIUS, f1, good_quads, layout_f1, thin_share, vertex_f1
from .metrics import DEFAULT_SAMPLES, bounding_box_iou, has_area
from .sampling import sample_surface
from .topology import flipped_faces, is_manifold_and_closed

FEATURE_ANGLE = 30.0  # degrees; an edge that bends by more is a feature edge
FEATURE_STEP = 1 / 256  # of the unit box; the distance between points along feature edges
FLIP_MARGIN = 1 / 128  # of the unit box; by so much nearer must the surface that faces the other way be
_INNER = np.array([[1 / 3, 1 / 3, 1 / 3], [0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])  # weights of the corners


_NOTHING: dict[str, Any] = {  # figures of a result without area
    **dict.fromkeys(
        ("chamfer", "hausdorff", "edge_chamfer", "gap_mean", "gap_max", "excess_mean", "excess_max"), np.inf
    ),
    **dict.fromkeys(("bbox_iou", "normal_consistency", "edge_f1", "vertex_f1", "all_edges_f1", "faces_f1"), 0.0),
    "flipped": 0,
}


@dataclass(frozen=True)
class SurfaceDistances:
    """Exact distances from 5,000 points of one surface to the triangles of the other, in the artist's unit box."""

    gap_mean: float  # from the artist's surface to the result: what is missing
    gap_max: float
    excess_mean: float  # from the result to the artist's surface: what is too much
    excess_max: float


@dataclass(frozen=True)
class Figures:
    """A result against the artist's mesh. Distances are shares of the artist's longest side."""

    chamfer: float  # CD: sum of both directed means between samples; inf for an empty result
    hausdorff: float  # HD: larger directed maximum between samples; inf for an empty result
    bbox_iou: float  # in [0, 1]
    edge_chamfer: float  # ECD: Chamfer distance of points along feature edges; 0 if neither has any, inf if one has
    normal_consistency: float  # NC: mean absolute cosine of nearest samples' normals, both ways; in [0, 1]
    edge_f1: float  # of points along feature edges within MATCH_RADIUS; in [0, 1]
    vertex_f1: float  # of vertices matched one to one within MATCH_RADIUS; in [0, 1]
    all_edges_f1: float  # of all edges between matched vertices; in [0, 1]
    faces_f1: float  # of faces over three matched vertices; in [0, 1]
    gap_mean: float  # exact, artist to result
    gap_max: float
    excess_mean: float  # exact, result to artist
    excess_max: float
    faces: int
    face_ratio: float  # faces over wanted
    watertight: bool  # every edge has exactly two faces, vertices at one place being one
    open_edges: int  # edges with exactly one face
    flipped: int  # faces that look the wrong way
    doubled: int  # faces over the same three vertices as an earlier face, whichever way they wind
    good_quads: float  # share of faces that are halves of good quads; see layout.py
    thin: float  # share of faces whose smallest angle is under 10 degrees

    def as_dict(self) -> dict[str, int | float | bool]:
        """The fields by name. An empty result has infinities, which strict JSON cannot hold."""
        return asdict(self)


def measure(
    artist: Mesh, result: Mesh, *, wanted: int | None = None, samples: int = DEFAULT_SAMPLES, seed: int = 0
) -> Figures:
    """All figures of `result` against `artist`, both in one space of any unit; always the same for the same arguments.

    `wanted` is the number of faces that was asked for, by default the artist's own. Raises ValueError for an artist's
    mesh without faces or area, wrong arrays, `wanted` below 1, and what `sample_surface` refuses.
    """
    if wanted is not None and wanted < 1:
        raise ValueError(f"wanted must be at least 1, got {wanted}")
    artist, unit = _in_unit_box(artist)
    result = welded(Mesh(unit.apply(check_points("result.vertices", result.vertices, minimum=0)), result.faces))
    counts = _counts(result, wanted or len(artist.faces))
    if not has_area(result.vertices, result.faces):
        return Figures(**_NOTHING, **counts)
    ours, theirs = feature_points(result), feature_points(artist)
    all_edges_f1, faces_f1 = layout_f1(artist, result)
    distances: dict[str, Any] = asdict(surface_distances(artist, result, samples=samples, seed=seed))
    return Figures(
        **_sampled(artist, result, samples, seed),
        **distances,
        edge_chamfer=_edge_chamfer(theirs, ours),
        edge_f1=point_f1(theirs, ours),
        vertex_f1=vertex_f1(artist.vertices, result.vertices),
        all_edges_f1=all_edges_f1,
        faces_f1=faces_f1,
        flipped=count_flipped(artist, result),
        **counts,
    )


def surface_distances(
    reference: Mesh, result: Mesh, *, samples: int = DEFAULT_SAMPLES, seed: int = 0
) -> SurfaceDistances:
    """Exact distances from `samples` points of each surface to the other's triangles, in the unit of the arguments.

    `gap` is from the reference to the result, `excess` the other way. Raises ValueError for a mesh without area.
    """
    rng = np.random.default_rng([int(seed), 2])
    there = sample_surface(reference.vertices, reference.faces, samples, rng).points
    here = sample_surface(result.vertices, result.faces, samples, rng).points
    gap = TriangleTree.of_mesh(result.vertices, result.faces).distance(there)
    excess = TriangleTree.of_mesh(reference.vertices, reference.faces).distance(here)
    return SurfaceDistances(float(gap.mean()), float(gap.max()), float(excess.mean()), float(excess.max()))


def feature_points(mesh: Mesh, angle: float = FEATURE_ANGLE, step: float = FEATURE_STEP) -> np.ndarray:
    """Points (P, 3) at most `step` apart along the feature edges of a welded mesh without degenerate faces.

    A feature edge bends by more than `angle` degrees between its two faces, or has not exactly two. Faces that wind
    against each other are compared as if one were turned. Each edge is cut into equal parts of at most `step`; the
    points are their middles, so that each stands for about the same length.
    """
    if len(mesh.faces) == 0:
        return np.zeros((0, 3))
    half_edges = build_half_edges(mesh.faces, len(mesh.vertices))
    a, b, c = np.asarray(mesh.vertices, dtype=np.float64)[mesh.faces.T]
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    normals /= np.where(length > 0.0, length, 1.0)[:, None]
    pairs, turned = half_edges.face_pairs()
    cosine = np.einsum("ij,ij->i", *normals[pairs.T]) * np.where(turned, -1.0, 1.0)
    # A face without area has no normal: it bends nowhere.
    flat = (length[pairs] == 0.0).any(axis=1)
    is_feature = half_edges.face_count != 2
    is_feature[half_edges.face_count == 2] = ~flat & (cosine < np.cos(np.radians(angle)))
    start, end = mesh.vertices[half_edges.edges[is_feature].T]
    parts = np.maximum(np.ceil(np.linalg.norm(end - start, axis=1) / step - 1e-9), 1).astype(np.int64)
    row = np.repeat(np.arange(len(parts)), parts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
    fraction = ((within + 0.5) / parts[row])[:, None]
    return start[row] * (1.0 - fraction) + end[row] * fraction


def point_f1(truth: np.ndarray, found: np.ndarray, radius: float = MATCH_RADIUS) -> float:
    """F1 of `found` (M, 3) against `truth` (N, 3), every point judged by its nearest in the other.

    Precision is the fraction of `found` within `radius` of `truth`, recall the fraction of `truth` within `radius` of
    `found`. 1 if both are empty, 0 if one is.
    """
    if len(truth) == 0 or len(found) == 0:
        return float(len(truth) == len(found))
    precision = (cKDTree(truth).query(found)[0] <= radius).mean()
    recall = (cKDTree(found).query(truth)[0] <= radius).mean()
    return f1(float(precision), float(recall))


def count_flipped(artist: Mesh, result: Mesh) -> int:
    """How many faces of `result` look the wrong way; both welded, in the artist's unit box.

    Where the artist's mesh is closed: faces of which at least three of four inner points are nearer, by FLIP_MARGIN, to
    a surface that faces the other way than to one that faces theirs. Where it is open, its winding is a guess and a
    shell around a sheet has two sides: then faces that disagree with the rest of their patch (topology.flipped_faces).
    """
    closed = is_manifold_and_closed(artist.vertices, artist.faces)[1]
    return count_flipped_from(TriangleTree.of_mesh(artist.vertices, artist.faces) if closed else None, result)


def count_flipped_from(closed: TriangleTree | None, result: Mesh) -> int:
    """The same, of a closed surface's tree; None for a surface that is open."""
    if closed is None:
        return int(flipped_faces(build_half_edges(result.faces, len(result.vertices)))[0].sum())
    a, b, c = result.vertices[result.faces.T]
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    triangles, normals = result.triangles[length > 0], normals[length > 0] / length[length > 0, None]
    points = np.einsum("pc,fcx->fpx", _INNER, triangles).reshape(-1, 3)
    facing = np.repeat(normals, len(_INNER), axis=0)
    same = closed.distance_facing(points, facing)
    wrong = closed.distance_facing(points, -facing, within=same.max(initial=0.0)) + FLIP_MARGIN < same
    return int((wrong.reshape(-1, len(_INNER)).sum(axis=1) >= 3).sum())


def count_doubled(faces: np.ndarray) -> int:
    """How many of the `faces` (F, 3) of a welded mesh lie over the vertices of another one, whichever way they look."""
    return len(faces) - len(np.unique(np.sort(faces, axis=1), axis=0))


def _counts(result: Mesh, wanted: int) -> dict[str, Any]:
    """The figures that are numbers of faces and edges, of a welded mesh."""
    faces = len(result.faces)
    at_edge = build_half_edges(result.faces, len(result.vertices)).face_count
    return {
        "faces": faces,
        "face_ratio": faces / wanted,
        "watertight": faces > 0 and bool((at_edge == 2).all()),
        "open_edges": int((at_edge == 1).sum()),
        "doubled": count_doubled(result.faces),
        "good_quads": good_quads(result),
        "thin": thin_share(result),
    }


def _sampled(artist: Mesh, result: Mesh, samples: int, seed: int) -> dict[str, Any]:
    """CD, HD, BBox-IoU and NC, from the samples that metrics.compare_meshes draws."""
    # Different streams: with the same one, a result equal to its source would score a deceptive 0.
    rngs = [np.random.default_rng([int(seed), side]) for side in (0, 1)]
    a = sample_surface(artist.vertices, artist.faces, samples, rngs[0])
    b = sample_surface(result.vertices, result.faces, samples, rngs[1])
    there, here = a.points.astype(np.float64), b.points.astype(np.float64)
    forth, forth_at = cKDTree(here).query(there)
    back, back_at = cKDTree(there).query(here)
    cosines = [
        np.abs(np.einsum("ij,ij->i", a.normals, b.normals[forth_at])),
        np.abs(np.einsum("ij,ij->i", b.normals, a.normals[back_at])),
    ]
    return {
        "chamfer": float(forth.mean() + back.mean()),
        "hausdorff": float(max(forth.max(), back.max())),
        "bbox_iou": bounding_box_iou(there, here),
        "normal_consistency": float((cosines[0].mean() + cosines[1].mean()) / 2),
    }


def _edge_chamfer(truth: np.ndarray, found: np.ndarray) -> float:
    if len(truth) == 0 or len(found) == 0:
        return 0.0 if len(truth) == len(found) else float("inf")
    return float(cKDTree(truth).query(found)[0].mean() + cKDTree(found).query(truth)[0].mean())


def _in_unit_box(artist: Mesh) -> tuple[Mesh, Normalization]:
    """The artist's mesh, welded, in its own unit box, and the map that leads there."""
    vertices = check_points("artist.vertices", artist.vertices)
    faces = check_faces("artist.faces", artist.faces, len(vertices))
    if len(faces) == 0:
        raise ValueError("artist must have at least 1 face, got 0")
    unit = Normalization.of_points(vertices[faces].reshape(-1, 3))
    mesh = welded(Mesh(unit.apply(vertices), faces))
    if not has_area(mesh.vertices, mesh.faces):
        raise ValueError(f"artist must have faces with area, got {len(faces)} without")
    return mesh, unit


def welded(mesh: Mesh) -> Mesh:
    """The mesh with vertices at exactly one place joined, and without degenerate faces and unused vertices."""
    faces = check_faces("faces", mesh.faces, len(mesh.vertices))
    if len(faces) == 0:
        return Mesh(np.zeros((0, 3)), faces)
    faces = first_at_place(mesh.vertices)[faces]
    faces = faces[~degenerate_faces(faces)]
    used, faces = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[used], faces.reshape(-1, 3).astype(np.int64))
