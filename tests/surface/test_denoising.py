"""Noise is measured and taken off; edges, smooth shapes and coarse meshes stay."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.denoising import COARSE, FINE, denoise, estimate_noise, is_modelled, typical_edge
from flashmesh_core.surface.simplification import proxies
from tests.surface.shapes import box, box_distance, cube, cylinder, grid, joined, sphere, torus_distance, voxels

BOX = voxels(box_distance((0.4, 0.3, 0.2)), 64)


def shaken(mesh: Mesh, noise: float, seed: int = 0) -> Mesh:
    return Mesh(mesh.vertices + np.random.default_rng(seed).normal(0, noise, mesh.vertices.shape), mesh.faces)


def modelled(mesh: Mesh) -> bool:
    return is_modelled(mesh, typical_edge(mesh))


def off_box(vertices: np.ndarray) -> np.ndarray:
    return np.abs(box_distance((0.4, 0.3, 0.2))(vertices))


@pytest.mark.parametrize("shape", [BOX, sphere(100, 60)], ids=["box", "sphere"])
def test_noise_is_measured(shape):
    assert estimate_noise(shape) < 1e-4
    for noise in (0.0005, 0.002):
        assert estimate_noise(shaken(shape, noise)) == pytest.approx(noise, rel=0.25)


def blades(count: int) -> Mesh:
    """Bent strips of six faces, a quarter as wide as long, turned by chance: all of their vertices are on borders."""
    rng, t = np.random.default_rng(0), np.linspace(0.0, 1.0, 4)
    strips = []
    for _ in range(count):
        bent = np.stack([np.zeros(4), 0.4 * t**2, t], axis=1) * 0.1
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        middle = bent @ turn + rng.uniform(-0.5, 0.5, 3)
        faces = [[[k, k + 4, k + 5], [k, k + 5, k + 1]] for k in range(3)]
        aside = 0.0125 * turn[0]
        strips.append(Mesh(np.concatenate([middle - aside, middle + aside]), np.array(faces).reshape(-1, 3)))
    return Mesh(*joined(*strips))


def test_the_bend_of_narrow_strips_is_no_noise() -> None:
    """Their borders bend to one side of where their neighbors are; what lies below them tells the noise."""
    ground, grass = grid(40), blades(500)
    assert estimate_noise(grass) == 0.0
    rough = np.random.default_rng(0).normal(scale=0.002, size=len(ground.vertices))
    for noise in (0.0, 1.0):
        below = Mesh(ground.vertices + noise * rough[:, None] * (0.0, 0.0, 1.0), ground.faces)
        assert estimate_noise(Mesh(*joined(below, grass))) == pytest.approx(0.002 * noise, rel=0.15, abs=1e-9)


def test_noise_goes_and_the_walls_are_flat():
    noisy = shaken(BOX, 0.0015)
    result = denoise(noisy)
    assert off_box(result.mesh.vertices).mean() < 0.5 * off_box(noisy.vertices).mean()
    aligned = np.abs(result.normals).max(axis=1)
    before = np.abs(face_geometry(noisy.vertices, noisy.faces.astype(np.int32))[0]).max(axis=1)
    assert (aligned > 0.99).mean() > 0.85 > (before > 0.99).mean()
    np.testing.assert_allclose(np.linalg.norm(result.normals, axis=1), 1.0)


@pytest.mark.parametrize(
    "shape", [cube(), cylinder(32), grid(20), sphere(12, 6)], ids=["cube", "cylinder", "grid", "sphere"]
)
def test_coarse_meshes_stay(shape):
    result = denoise(shape)
    np.testing.assert_allclose(result.mesh.vertices, shape.vertices, atol=1e-9)


def test_edges_are_meant_that_are_long_or_of_many_lengths():
    """A field with 160 pebbles; its edges are as long as those of a remesh of few cells."""
    field = grid(30)
    places = np.stack(np.meshgrid(np.linspace(-0.4, 0.4, 16), np.linspace(-0.4, 0.4, 10)), axis=-1).reshape(-1, 2)
    pebbles = [box(0.012, 0.012, 0.012, at=(x, y, 0.004)) for x, y in places]
    strewn = Mesh(*joined(field, *pebbles))
    assert FINE < typical_edge(strewn) < COARSE
    assert not modelled(field) and not modelled(voxels(torus_distance(0.3, 0.1), 40))
    assert modelled(strewn) and modelled(grid(8))
    dense = Mesh(strewn.vertices * 0.2, strewn.faces)  # short edges, as of scans that were thinned where they are flat
    assert not modelled(dense)
    as_is = denoise(strewn)
    assert not as_is.filtered and np.array_equal(as_is.mesh.vertices, strewn.vertices)
    assert len(proxies(as_is, [2_200])[0].faces) > 2_100, "pebbles are no crumbs that noise made"


def test_a_smooth_sphere_stays_a_sphere():
    result = denoise(sphere(200, 120))
    radius = np.linalg.norm(result.mesh.vertices, axis=1)
    assert radius.min() > 0.495 and radius.max() < 0.505 and np.abs(radius - 0.5).mean() < 0.001


@pytest.mark.parametrize("sides", [512, 2048])
def test_fans_and_poles_stay_finite(sides):
    for shape in (cylinder(sides), sphere(sides, 40)):
        result = denoise(shape, noise=0.001)
        assert np.isfinite(result.mesh.vertices).all() and np.isfinite(result.normals).all()


def test_faces_without_area_do_no_harm():
    faces = np.concatenate([BOX.faces, [[0, 1, 1]]])
    result = denoise(Mesh(BOX.vertices, faces))
    assert np.isfinite(result.mesh.vertices).all() and np.isfinite(result.normals).all()


def test_progress_is_reported_and_may_cancel():
    stages = []
    denoise(BOX, progress=lambda stage, fraction: stages.append((stage, fraction)))
    assert {stage for stage, _ in stages} == {"denoise", "flatten"} and all(0 <= share <= 1 for _, share in stages)

    def cancel(stage, fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise(BOX, progress=cancel)
    with pytest.raises(ValueError, match="noise must be at least 0"):
        denoise(BOX, noise=-1.0)


def test_many_wanted_faces_hold_vertices_back():
    def most(result, start):
        return np.linalg.norm(result.mesh.vertices - start.vertices, axis=1).max()

    free, few, many = denoise(BOX), denoise(BOX, wanted=12), denoise(BOX, wanted=20_000)
    np.testing.assert_array_equal(few.mesh.vertices, free.mesh.vertices)
    edge = np.sqrt(face_geometry(BOX.vertices, BOX.faces.astype(np.int32))[1].sum() / 20_000 * 4 / np.sqrt(3))
    assert most(many, BOX) <= 0.021 * edge + 3 * many.noise < 0.5 * most(free, BOX)
    np.testing.assert_allclose(np.linalg.norm(many.normals, axis=1), 1.0, atol=1e-6)


def test_noise_goes_however_many_faces_are_wanted():
    noisy = shaken(BOX, 0.0015)
    left = [off_box(denoise(noisy, wanted=wanted).mesh.vertices).mean() for wanted in (12, 20_000)]
    assert left[1] < 1.1 * left[0]
