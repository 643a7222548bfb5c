"""The quality of a finished mesh: how far it is from the source both ways, what is open, flipped, doubled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.decode.source import MARGIN, MEASURED_POINTS, Source
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.figures import count_doubled, count_flipped_from
from flashmesh_core.mesh.metrics import has_area
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.sheets import open_edge_count

WORSE = 1.25  # times the proxy's distances, and SLACK: a result beyond says so
SLACK = 0.003  # of the longest side


@dataclass(frozen=True)
class Quality:
    """Distances are exact, from points to triangles, over the source's longest side; infinite for an empty mesh."""

    gap: float  # largest from the source to the result: what is missing
    excess: float  # largest from the result to the source: what is too much
    mean_gap: float
    mean_excess: float
    proxy_gap: float  # the same as `gap` of the proxy mesh
    open_edges: int
    flipped: int  # faces that look the wrong way; see `figures.count_flipped`
    doubled: int  # faces over the vertices of another one
    proxy_flipped: int  # the same of the proxy mesh
    proxy_doubled: int
    source_is_closed: bool

    @property
    def chamfer(self) -> float:
        """The sum of both mean distances."""
        return self.mean_gap + self.mean_excess

    @property
    def hausdorff(self) -> float:
        """The larger of both largest distances."""
        return max(self.gap, self.excess)

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the result, in sentences; empty where nothing is."""
        found = []
        if self.source_is_closed and self.open_edges:
            found.append(f"{self.open_edges} edges are open although the source is closed")
        for count, proxy, said in (
            (self.flipped, self.proxy_flipped, "faces that look the wrong way"),
            (self.doubled, self.proxy_doubled, "faces over the vertices of others"),
        ):
            if count > proxy:
                found.append(f"{said}: {count}" + (f", {proxy} in the proxy mesh" if proxy else ""))
        if self.gap > WORSE * self.proxy_gap + SLACK:
            found.append(f"{100 * self.gap:.1f} % of the longest side are missing somewhere")
        return tuple(found)


def inspect(source: Source, mesh: Mesh) -> Quality:
    """The quality of `mesh`, in the source's space, against the source's surface without noise."""
    unit = Mesh(source.normalization.apply(mesh.vertices), mesh.faces)
    side = 1.0 + 2.0 * MARGIN  # the unit box holds the margin, distances are over the longest side
    open_edges = open_edge_count(mesh.faces) if len(mesh.faces) else 0
    proxy = Mesh(source.normalization.apply(source.proxy.vertices), source.proxy.faces)
    wrong = *_wrong_faces(source, unit), *_wrong_faces(source, proxy)
    if not len(mesh.faces) or not has_area(unit.vertices, unit.faces):
        inf = float("inf")
        return Quality(inf, inf, inf, inf, 0.0, open_edges, *wrong, source.is_closed)
    there = source.surface.samples
    here = sample_surface(unit.vertices, unit.faces, MEASURED_POINTS, np.random.default_rng(1)).points
    gaps = TriangleTree.of_mesh(unit.vertices, unit.faces).distance(there) * side
    excesses = source.surface.tree.distance(here) * side
    proxy_gap = TriangleTree.of_mesh(proxy.vertices, proxy.faces).distance(there).max() * side
    return Quality(
        float(gaps.max()), float(excesses.max()), float(gaps.mean()), float(excesses.mean()), float(proxy_gap),
        open_edges, *wrong, source.is_closed,
    )  # fmt: skip


def _wrong_faces(source: Source, mesh: Mesh) -> tuple[int, int]:
    """How many faces of a mesh in the unit box look the wrong way, and how many lie over others."""
    if not len(mesh.faces):
        return 0, 0
    tree = source.surface.tree if source.is_closed else None
    return count_flipped_from(tree, mesh), count_doubled(mesh.faces)
