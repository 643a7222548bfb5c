"""How near a mesh lies to a surface."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.sampling import sample_cloud

SAMPLES = 8_000  # of each surface, which distances are measured from


def distance_from(surface: Mesh, samples: int = SAMPLES) -> Callable[[Mesh], float]:
    """A function of a mesh: the mean distance from the surface to it, and from it to the surface, together."""
    there, tree = _samples(surface, samples), TriangleTree.of_mesh(surface.vertices, surface.faces)

    def distance(mesh: Mesh) -> float:
        here = _samples(mesh, samples)
        gap = TriangleTree.of_mesh(mesh.vertices, mesh.faces).distance(there)
        return float(np.mean(gap) + np.mean(tree.distance(here)))

    return distance


def _samples(mesh: Mesh, count: int) -> np.ndarray:
    """Points (count, 3) of a mesh, face by face: a query begins with what was nearest to the last one."""
    samples = sample_cloud(mesh, count)
    return samples.points[np.argsort(samples.face_index, kind="stable")]
