"""Vertices that were led away from the surface come back; those that were led to a corner stay."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.sources import laplacian_smooth
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.denoising import denoise, typical_edge
from flashmesh_core.surface.fidelity import taken_back, watched
from flashmesh_core.surface.placement import planes_of
from flashmesh_core.surface.simplification import proxies
from tests.surface.shapes import box_distance, sphere, voxels

HALF = np.array([0.4, 0.3, 0.2])


def test_what_dents_a_ball_is_taken_back_and_what_does_not_stays():
    denoised = denoise(sphere(200, 120))
    edge, planes = typical_edge(denoised.mesh), planes_of(denoised)
    proxy = proxies(denoised, [300], refine=False)[0]
    faces = proxy.faces.astype(np.int32)
    sides, _, _ = face_geometry(proxy.vertices, faces)
    looked_at = range(0, len(proxy.vertices), 5)

    def comes_back(vertex: int, times: float) -> bool:
        moved = proxy.vertices.copy()
        moved[vertex] *= times
        held = taken_back(moved, faces, watched(proxy.vertices, faces, planes), edge, sides)
        others = np.arange(len(held)) != vertex
        np.testing.assert_array_equal(held[others], proxy.vertices[others])
        return bool((held[vertex] == proxy.vertices[vertex]).all())

    assert np.mean([comes_back(vertex, 0.97) for vertex in looked_at]) >= 0.9
    assert not any(comes_back(vertex, 1.0 + 0.05 * edge) for vertex in looked_at)


def test_a_sharp_corner_stays_though_the_source_is_rounded_there():
    sharp = voxels(box_distance(HALF), 128)
    rounded = Mesh(laplacian_smooth(sharp, 8), sharp.faces)
    denoised = denoise(rounded, wanted=12)
    proxy = proxies(denoised, [12], refine=False)[0]
    faces = proxy.faces.astype(np.int32)
    corners = np.sign(proxy.vertices) * HALF
    assert np.linalg.norm(corners - proxy.vertices, axis=1).min() > 0.001
    sides, _, _ = face_geometry(proxy.vertices, faces)
    held = taken_back(corners, faces, watched(proxy.vertices, faces, planes_of(denoised)), typical_edge(rounded), sides)
    np.testing.assert_array_equal(held, corners)


def test_a_smooth_shape_is_met_as_well_as_without_the_networks():
    """A ripple: nothing on it is flat, and no edge is sharp."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 160), np.linspace(-0.5, 0.5, 160), indexing="ij")
    vertices = np.stack([x, y, 0.05 * np.sin(9.0 * x) * np.cos(7.0 * y)], axis=-1).reshape(-1, 3)
    corner = np.arange(160 * 160).reshape(160, 160)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]))
    mesh = Mesh(vertices, np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]))
    denoised = denoise(mesh, wanted=500)
    off = [
        TriangleTree.of_mesh(found.vertices, found.faces).distance(mesh.vertices).mean()
        for found in (proxies(denoised, [500], refine=refine)[0] for refine in (False, True))
    ]
    assert off[1] < 1.5 * off[0]
