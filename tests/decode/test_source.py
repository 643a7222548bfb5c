"""From a mesh or samples to what decoding needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from flashmesh_core.config import SLICE_ROWS, ModelConfig, preset
from flashmesh_core.decode.places import assign_bins
from flashmesh_core.decode.source import prepare_source
from flashmesh_core.mesh.canonical import Mesh, dequantize, quantize, vertex_keys
from flashmesh_core.mesh.sampling import sample_surface
from tests.mesh.shapes import box

SLICED = ModelConfig(name="with slices", num_bins=128, slice_rows=SLICE_ROWS)


def split(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Every corner its own vertex, as in a GLB with a normal a face."""
    return Mesh(vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3))


@pytest.mark.parametrize("form", [Mesh, split])
def test_whether_a_mesh_is_manifold_and_closed_does_not_depend_on_split_vertices(form: Callable[..., Mesh]) -> None:
    vertices, faces = box()
    fin = np.concatenate([faces, [[0, 1, 8]]])  # a third face at an edge
    source = prepare_source(form(vertices, faces), None, preset("debug"))
    assert source.is_manifold and source.is_closed
    assert not prepare_source(form(vertices, faces[1:]), None, preset("debug")).is_closed
    assert not prepare_source(form(np.concatenate([vertices, [[0, 0, 2]]]), fin), None, preset("debug")).is_manifold


def test_a_face_that_names_a_vertex_twice_is_passed_over() -> None:
    vertices, faces = box()
    source = prepare_source(Mesh(vertices, np.concatenate([faces, [[0, 1, 1]]])), None, preset("debug"))
    assert source.is_manifold
    assert len(source.points) == len(prepare_source(Mesh(vertices, faces), None, preset("debug")).points)


def test_the_larger_the_surface_the_more_samples() -> None:
    """0.8 a square bin: of a needle the fewest, of a cube more, of many sheets the most."""
    vertices, faces = box()
    counts = []
    for shape in ((1.0, 0.01, 0.01), (1.0, 1.0, 1.0)):
        counts.append(len(prepare_source(Mesh(vertices * shape, faces), None, preset("debug")).points))
    assert counts[0] == 16_384
    area = 6 * (128 / 1.02) ** 2
    assert counts[1] == pytest.approx(0.8 * area, rel=0.05)
    sheets = np.concatenate([vertices * (1.0, 1.0, 0.001) + (0.0, 0.0, z) for z in np.linspace(-0.5, 0.5, 9)])
    many = np.concatenate([faces + 8 * number for number in range(9)])
    assert len(prepare_source(Mesh(sheets, many), None, preset("debug")).points) == 131_072


def test_the_vertices_of_a_mesh_of_few_faces_are_kept() -> None:
    """Even those within a flat side, which a surface does not show; those that no face uses are left out."""
    shape = trimesh.creation.box().subdivide()
    vertices = np.concatenate([np.asarray(shape.vertices), [[5.0, 5.0, 5.0]]])
    source = prepare_source(Mesh(vertices, np.asarray(shape.faces)), None, SLICED, faces=100)
    assert source.context is not None and source.kept and source.noise == 0.0
    bins = quantize(source.normalization.apply(np.asarray(shape.vertices)), 128)
    np.testing.assert_array_equal(source.context.corner_keys, np.unique(vertex_keys(bins, 128)))
    assert {tuple(sorted(map(tuple, face))) for face in source.proxy_bins.tolist()} == {
        tuple(sorted(map(tuple, face))) for face in bins[np.asarray(shape.faces)].tolist()
    }


def test_kept_or_read_as_the_option_says() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=3)  # 1,280 faces
    mesh = Mesh(np.asarray(sphere.vertices), np.asarray(sphere.faces))
    assert prepare_source(mesh, None, SLICED, faces=2_000).kept
    fewer = prepare_source(mesh, None, SLICED, faces=200, keep_vertices=True)
    assert fewer.kept and fewer.proxy.faces.shape == (200, 3)
    assert cKDTree(mesh.vertices).query(fewer.proxy.vertices)[0].max() < 1e-6
    assert not prepare_source(mesh, None, SLICED, faces=2_000, keep_vertices=False).kept


def test_a_dense_mesh_is_simplified_to_the_wanted_faces() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=4)  # 5,120 faces
    mesh = Mesh(np.asarray(sphere.vertices), np.asarray(sphere.faces))
    source = prepare_source(mesh, None, SLICED, faces=200)
    assert source.context is not None and not source.kept and source.is_closed
    assert len(source.proxy.faces) == len(source.proxy_bins) == 200
    assert len(source.context.corner_keys) == 102  # V = F / 2 + 2: every vertex has a bin of its own
    np.testing.assert_allclose(np.linalg.norm(source.surface.mesh.vertices, axis=1), 0.5 / 1.02, atol=0.002)
    positions = source.places.positions_of(source.places.bins, 128)
    np.testing.assert_allclose(source.normalization.invert(positions), source.proxy.vertices, atol=1e-9)


def test_each_candidate_has_a_proxy_of_its_own() -> None:
    """That of its seed, whatever other candidates there are; what is kept is the same for all."""
    sphere = trimesh.creation.icosphere(subdivisions=4)
    mesh = Mesh(np.asarray(sphere.vertices), np.asarray(sphere.faces))
    source = prepare_source(mesh, None, SLICED, faces=100, seeds=(7, 8))
    other = source.of_candidate(1)
    assert source.of_candidate(0) is source and other.surface is source.surface
    assert not np.array_equal(source.proxy.vertices, other.proxy.vertices)
    alone = prepare_source(mesh, None, SLICED, faces=100, seeds=(8,))
    np.testing.assert_array_equal(other.proxy.vertices, alone.proxy.vertices)
    np.testing.assert_array_equal(other.channels, alone.channels)
    kept = prepare_source(mesh, None, SLICED, faces=100, keep_vertices=True, seeds=(7, 8))
    assert not np.array_equal(kept.proxy.vertices, kept.of_candidate(1).proxy.vertices)
    kept = prepare_source(mesh, None, SLICED, faces=5_120, seeds=(7, 8))
    assert kept.kept and kept.of_candidate(1) is kept


def test_vertices_nearer_than_a_bin_keep_bins_of_their_own() -> None:
    near = np.array([[0.1, 0.1, 0.1], [0.1005, 0.1, 0.1], [0.1, 0.1005, 0.1], [-0.3, 0.0, 0.0]])
    places = assign_bins(near, 128)
    assert len(np.unique(places.bins, axis=0)) == 4 and len(places.keys) == 4
    assert np.abs(dequantize(places.bins, 128) - near).max() < 2.0 / 128
    np.testing.assert_array_equal(places.positions_of(places.bins, 128), near)
    free = np.array([[5, 6, 7]])
    np.testing.assert_array_equal(places.positions_of(free, 128), dequantize(free, 128))


def test_a_cloud_is_made_a_mesh_of_the_wanted_faces() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=5)
    samples = sample_surface(np.asarray(sphere.vertices), np.asarray(sphere.faces), 20_000, np.random.default_rng(0))
    for normals in (samples.normals, None):
        source = prepare_source(samples.points, normals, SLICED, faces=200)
        assert source.context is not None and source.is_closed
        assert 190 <= len(source.proxy.faces) <= 200
        np.testing.assert_allclose(np.linalg.norm(source.surface.mesh.vertices, axis=1), 0.5 / 1.02, atol=0.01)


def test_far_from_the_origin_the_surface_is_the_same() -> None:
    vertices, faces = box()
    near, far = (prepare_source(Mesh(vertices + shift, faces), None, SLICED) for shift in (0.0, 5_000_000.0))
    np.testing.assert_allclose(near.proxy.vertices, far.proxy.vertices - 5_000_000.0, atol=1e-8)
    np.testing.assert_array_equal(near.proxy_bins, far.proxy_bins)
