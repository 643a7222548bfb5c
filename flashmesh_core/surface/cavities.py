"""Hidden insides of thin walls left out: a voxel remesh gives an open mesh a second skin inside, which nobody sees.

Where the walls are no thicker than the source's own resolution can tell, that skin would cost half of the faces. The
outer one then stands for the whole wall and moves to its middle. Walls that somebody modelled differ in thickness.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh, vertex_normals
from flashmesh_core.surface.adjacency import compact, face_components, labels_of_vertices, manifold_twins
from flashmesh_core.surface.denoising import COARSE, estimate_noise, noisiness, typical_edge
from flashmesh_core.surface.manifold import volumes_of

WALL = 4.0  # typical edges: a cavity is left out if half of it is no farther from the outer surface
UNEVEN = 1.4, 2.0  # a half of the wall over its thinnest tenth, four fifths over that half: above both it is modelled
BUMPS = 0.4  # more, at a sculpt's noise, for the first
NEAR = 1.8  # wall thicknesses from the cavity up to which the outer surface is that of its wall
FACING = 0.5  # cosine between the way to the cavity and the surface's inner side


def without_thin_cavities(mesh: Mesh) -> Mesh:
    """The mesh without closed parts that are wound inwards and lie a thin wall behind the others.

    `mesh` is clean. A thicker wall keeps its inside; meshes of few large faces come back as they are.
    """
    edge = typical_edge(mesh)
    if not len(mesh.faces) or edge > COARSE:
        return mesh
    faces = mesh.faces.astype(np.int32)
    twins = manifold_twins(faces, len(mesh.vertices))
    label, count = face_components(faces, twins)
    if count < 2:
        return mesh
    closed, volume = volumes_of(mesh.vertices, faces, twins, label, count)
    inwards = closed & (volume < 0.0)
    if not inwards.any() or inwards.all():
        return mesh
    thickness = _thicknesses(mesh, edge, label, inwards)
    thin = thickness <= WALL * edge
    if not thin.any():
        return mesh
    used, kept = compact(mesh.faces[~thin[label]], len(mesh.vertices))
    outer = Mesh(mesh.vertices[used], kept.astype(np.int64))
    part = labels_of_vertices(faces, label, len(mesh.vertices))
    inner = thin[part]
    return Mesh(_on_middle(outer, mesh.vertices[inner], thickness[part[inner]]), outer.faces)


def _thicknesses(mesh: Mesh, edge: float, label: np.ndarray, inwards: np.ndarray) -> np.ndarray:
    """The wall between each part (P,) that is wound inwards and the nearest that is not: a median.

    Infinity for other parts, and for walls that are thin here and thick there.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(mesh.vertices[np.unique(mesh.faces[~inwards[label]])])
    uneven = UNEVEN[0] + BUMPS * noisiness(estimate_noise(mesh), edge)
    result = np.full(len(inwards), np.inf)
    inner = inwards[label]
    corners = np.stack([np.repeat(label[inner], 3), mesh.faces[inner].ravel()], axis=1)
    part, vertex = np.unique(corners, axis=0).T
    parts, first = np.unique(part, return_index=True)
    distances = np.split(tree.query(mesh.vertices[vertex])[0], first[1:])
    for number, distance in zip(parts, distances, strict=True):
        thinnest, half, most = np.quantile(distance, (0.1, 0.5, 0.8))
        if half <= uneven * thinnest or most <= UNEVEN[1] * half:
            result[number] = half
    return result


def _on_middle(outer: Mesh, inner: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """The outer vertices (V, 3), half a wall inwards where `inner` (N, 3), `thickness` (N,) away, is behind them."""
    from scipy.spatial import cKDTree

    normals = vertex_normals(outer)
    distance, nearest = cKDTree(inner).query(outer.vertices)
    way = np.einsum("ij,ij->i", outer.vertices - inner[nearest], normals)
    walls = (distance < NEAR * thickness[nearest]) & (way > FACING * distance)
    return outer.vertices - (0.5 * thickness[nearest] * walls)[:, None] * normals
