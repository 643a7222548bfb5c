"""From a mesh or samples to what decoding needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import trimesh

from flashmesh_core.config import ModelConfig, preset
from flashmesh_core.decode.source import prepare_source
from flashmesh_core.mesh.canonical import Mesh, quantize, vertex_keys
from flashmesh_core.mesh.sampling import sample_surface
from tests.mesh.shapes import box


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


def test_the_vertices_of_a_mesh_are_its_corners() -> None:
    """Even those within a flat side, which samples do not show; those that no face uses are left out."""
    shape = trimesh.creation.box().subdivide()
    vertices = np.concatenate([np.asarray(shape.vertices), [[5.0, 5.0, 5.0]]])
    config = ModelConfig(name="with slices", num_bins=128, slice_rows=("surface",))
    source = prepare_source(Mesh(vertices, np.asarray(shape.faces)), None, config, faces=100)
    assert source.context is not None
    bins = quantize(source.normalization.apply(np.asarray(shape.vertices)), 128)
    np.testing.assert_array_equal(source.context.corner_keys, np.unique(vertex_keys(bins, 128)))
    np.testing.assert_array_equal(source.followed, bins[np.asarray(shape.faces)])
    cloud = prepare_source(source.points, source.normals, config, faces=100)
    assert cloud.context is not None
    assert not len(cloud.followed) and len(cloud.context.corner_keys) == 8


def test_the_more_samples_the_nearer_the_mask_is_to_the_meshs_own() -> None:
    """All of them hold the box's vertices; few samples allow much beside its surface, many less."""
    vertices, faces = box()
    wanted = prepare_source(Mesh(vertices, faces), None, preset("debug")).mask_grid.occupied.sum()
    shares = []
    for count in (4_096, 131_072):
        samples = sample_surface(vertices, faces, count, np.random.default_rng(0))
        source = prepare_source(samples.points, samples.normals, preset("debug"))
        x, y, z = quantize(source.normalization.apply(vertices), source.mask_grid.num_bins).T
        assert source.mask_grid.occupied[z, y, x].all()
        assert len(source.points) == 4_096 if count == 4_096 else 16_384 < len(source.points) < count
        shares.append(source.mask_grid.occupied.sum() / wanted)
    assert shares[0] > 2.0 and shares[1] < 1.5


def test_a_dense_mesh_is_simplified_to_the_wanted_faces() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=4)  # 5,120 faces
    mesh = Mesh(np.asarray(sphere.vertices), np.asarray(sphere.faces))
    config = ModelConfig(name="with slices", num_bins=128, slice_rows=("surface",))
    source = prepare_source(mesh, None, config, faces=200)
    assert source.context is not None
    assert 90 <= len(source.context.corner_keys) <= 110  # V = F / 2 + 2
    radius = np.linalg.norm(source.measured, axis=1)  # of what was given
    assert np.ptp(radius) < 0.002
    assert np.linalg.norm(source.points, axis=1).min() < radius.min() - 0.005  # facets lie within the sphere
    as_it_is = prepare_source(mesh, None, config, faces=5_000)
    assert as_it_is.points is not source.points
    np.testing.assert_array_equal(as_it_is.points, as_it_is.measured)


def test_a_smooth_cloud_is_made_a_mesh_of_the_wanted_faces() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=5)
    samples = sample_surface(np.asarray(sphere.vertices), np.asarray(sphere.faces), 20_000, np.random.default_rng(0))
    config = ModelConfig(name="with slices", num_bins=128, slice_rows=("surface",))
    for normals in (samples.normals, None):
        source = prepare_source(samples.points, normals, config, faces=200)
        assert source.context is not None
        assert 90 <= len(source.context.corner_keys) <= 110
        np.testing.assert_allclose(np.ptp(source.points, axis=0), np.ptp(source.measured, axis=0), atol=0.03)
