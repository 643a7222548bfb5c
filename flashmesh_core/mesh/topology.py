"""What is right and wrong with the connectivity of a triangle mesh, in numbers (numpy only)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from .canonical import check_faces, check_points
from .half_edge import HalfEdges, build_half_edges, degenerate_faces
from .io import first_at_place


@dataclass(frozen=True)
class TopologyReport:
    """The connectivity of one mesh. Vertices are told apart by index: weld first where positions repeat.

    Faces that name a vertex twice are counted in `n_degenerate_faces` and otherwise ignored. Ratios are over
    all edges in use (0 for a mesh without faces).
    """

    n_vertices: int  # as given, whether used or not
    n_faces: int  # as given, degenerate ones included
    n_degenerate_faces: int  # faces that name a vertex twice
    n_edges: int  # vertex pairs that lie on a face
    n_components: int  # groups of faces joined by shared vertices (Blender's "loose parts")
    is_watertight: bool  # at least one face, and every edge has exactly two
    is_orientable: bool  # windings can be made to agree across every edge with exactly two faces
    boundary_edge_ratio: float  # edges with exactly one face
    nonmanifold_edge_ratio: float  # edges with more than two faces
    flipped_edge_ratio: float  # edges with exactly two faces that run along it the same way
    n_flipped_faces: int  # fewest faces to reverse so that no flipped edge is left; see flipped_faces

    def as_dict(self) -> dict[str, int | bool | float]:
        """The fields by name, ready for JSON."""
        return asdict(self)


def topology_report(vertices: np.ndarray, faces: np.ndarray) -> TopologyReport:
    """The topology of a mesh with `vertices` (V, 3) and `faces` (F, 3); V and F may be 0.

    Raises ValueError for wrong shapes, non-finite positions or indices out of range.
    """
    vertices = check_points("vertices", vertices, minimum=0)
    faces = check_faces("faces", faces, len(vertices))
    degenerate = degenerate_faces(faces)
    proper = faces[~degenerate]
    half_edges = build_half_edges(proper, len(vertices))
    flipped, orientable = flipped_faces(half_edges)
    n_edges = len(half_edges.edges)
    return TopologyReport(
        n_vertices=len(vertices),
        n_faces=len(faces),
        n_degenerate_faces=int(degenerate.sum()),
        n_edges=n_edges,
        n_components=count_components(proper, len(vertices)),
        is_watertight=n_edges > 0 and bool((half_edges.face_count == 2).all()),
        is_orientable=bool(orientable.all()),
        boundary_edge_ratio=_ratio(half_edges.edge_is_boundary),
        nonmanifold_edge_ratio=_ratio(half_edges.edge_is_branching),
        flipped_edge_ratio=_ratio(half_edges.edge_is_flipped),
        n_flipped_faces=int(flipped.sum()),
    )


def is_manifold_and_closed(vertices: np.ndarray, faces: np.ndarray) -> tuple[bool, bool]:
    """Whether at most two faces meet at an edge, and opposite ways; whether as many run along it one way as the other.

    `vertices` (V, 3), `faces` (F, 3). Vertices at exactly one place are one vertex: files and importers split them
    where normals or texture coordinates differ. Faces that then name a vertex twice do not count; with none left,
    nothing is closed.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    faces = first_at_place(vertices)[faces]
    faces = faces[~degenerate_faces(faces)]
    ends = np.roll(faces, -1, axis=1)
    # A directed edge used once is all there is to it: three faces at an edge use one direction twice.
    used = np.sort((faces * len(vertices) + ends).ravel())
    against = np.sort((ends * len(vertices) + faces).ravel())
    return not (used[1:] == used[:-1]).any(), len(used) > 0 and np.array_equal(used, against)


def _ratio(mask: np.ndarray) -> float:
    return float(mask.mean()) if mask.size else 0.0


def count_components(faces: np.ndarray, n_vertices: int) -> int:
    """How many groups of faces there are, faces that share a vertex being in one group; `faces` (F, 3)."""
    pairs = np.concatenate([faces[:, :2], faces[:, 1:]])
    labels = component_labels(n_vertices, pairs)
    return len(np.unique(labels[faces[:, 0]]))


def flipped_faces(half_edges: HalfEdges) -> tuple[np.ndarray, np.ndarray]:
    """Which faces disagree with the rest of their patch: flipped (F,) bool, orientable (F,) bool.

    A patch is a group of faces joined over edges with exactly two faces. Its faces fall into two sides that
    agree among themselves; the smaller side is the flipped one (on a tie, the side without the patch's
    first face). A patch that is turned inside out as a whole is consistent and has no flipped face. In a
    patch that no reversal can make consistent (a Moebius strip) `orientable` is False and nothing is called
    flipped.
    """
    n = len(half_edges.origin) // 3
    pairs, turned = half_edges.face_pairs()
    # Every face appears twice, as it is (f) and reversed (f + n); agreeing copies are joined.
    other = pairs[:, 1] + np.where(turned, n, 0)
    mirrored = pairs[:, 1] + np.where(turned, 0, n)
    joins = np.concatenate([np.stack([pairs[:, 0], other], axis=1), np.stack([pairs[:, 0] + n, mirrored], axis=1)])
    labels = component_labels(2 * n, joins)
    straight, reverse = labels[:n], labels[n:]
    orientable = straight != reverse
    patch = np.minimum(straight, reverse)  # the index of the patch's first face
    minor = orientable & (straight != patch)
    n_minor = np.bincount(patch[minor], minlength=n)
    n_all = np.bincount(patch, minlength=n)
    swap = (2 * n_minor > n_all)[patch] & orientable
    return minor ^ swap, orientable


def component_labels(n_nodes: int, pairs: np.ndarray) -> np.ndarray:
    """The connected components of a graph: (n_nodes,) int64, the lowest index a node can reach.

    `pairs` (P, 2) are undirected. Roots hook onto lower roots and paths are halved, so rounds stay
    logarithmic in practice.
    """
    labels = np.arange(n_nodes, dtype=np.int64)
    while True:
        ends = labels[pairs]
        low, high = ends.min(axis=1), ends.max(axis=1)
        apart = low < high
        if not apart.any():
            return labels
        np.minimum.at(labels, high[apart], low[apart])
        while not np.array_equal(labels, labels[labels]):
            labels = labels[labels]
