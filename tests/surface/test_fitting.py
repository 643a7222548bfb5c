"""Meshes of smooth shapes lie on both sides of them; corners, flat places and what was left out move nothing."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import compact
from flashmesh_core.surface.borders import open_edges
from flashmesh_core.surface.denoising import denoise, typical_edge
from flashmesh_core.surface.fitting import Fit, bends_alike, fit_of
from flashmesh_core.surface.placement import planes_of
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.simplification import proxies
from tests.surface.shapes import box_distance, cube, sphere, voxels


def blob(points: np.ndarray) -> np.ndarray:
    """A body that is round everywhere: two balls, grown together."""
    x, y, z = np.moveaxis(points, -1, 0)
    balls = ((x + 0.15) ** 2 + y**2 + z**2, (x - 0.22) ** 2 + (y - 0.1) ** 2 + z**2)
    return 1.0 - sum(np.exp(4.0 - square / 0.012) for square in balls)


def fit_to(mesh: Mesh, count: int) -> tuple[Mesh, Fit]:
    """What a collapse leaves of a surface at a count, and what it is fitted to."""
    denoised = denoise(mesh, wanted=count)
    few, many = proxies(denoised, [count, 2 * count], refine=False)
    return few, fit_of(planes_of(denoised), typical_edge(denoised.mesh), denoised.noise, many, count)


def mean_distance(source: Mesh, vertices: np.ndarray, faces: np.ndarray) -> float:
    return float(TriangleTree.of_mesh(vertices, faces).distance(source.vertices).mean())


@pytest.mark.parametrize("source", [sphere(200, 120), voxels(blob, 96)], ids=["ball", "blob"])
def test_smooth_shapes_are_met_better_than_by_the_collapse(source: Mesh) -> None:
    few, fit = fit_to(source, 300)
    faces = few.faces.astype(np.int32)
    assert fit.smooth(few.vertices, faces).mean() > 0.9
    before, after = (
        mean_distance(source, vertices, faces) for vertices in (few.vertices, fit.fitted(few.vertices, faces))
    )
    assert after < 0.75 * before


def test_the_reading_of_a_smooth_shape_is_fitted() -> None:
    source = voxels(blob, 96)
    reading = read_surface(source, None, faces=300, keep_vertices=False)
    few, _ = fit_to(source, 300)
    proxy = reading.proxies[0]
    off = mean_distance(source, reading.box.invert(proxy.vertices), proxy.faces)
    assert off < 0.8 * mean_distance(source, few.vertices, few.faces)


@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_corners_stay_where_the_planes_cross(noise: float) -> None:
    """A box of twelve faces, remeshed: its rounded edges are no smooth shape, nor is what noise leaves."""
    sharp = voxels(box_distance((0.4, 0.3, 0.2)), 128)
    few, fit = fit_to(
        Mesh(sharp.vertices + np.random.default_rng(0).normal(0, noise, sharp.vertices.shape), sharp.faces), 12
    )
    faces = few.faces.astype(np.int32)
    assert not fit.smooth(few.vertices, faces).any()
    assert fit.fitted(few.vertices, faces) is few.vertices


def test_a_step_with_too_few_faces_is_no_smooth_shape() -> None:
    """Boxes in each other, of 108 faces: with 60 it is off everywhere, but not with more faces."""
    steps = voxels(
        lambda points: np.min([box_distance((0.45 - 0.1 * k, 0.3, 0.1 + 0.05 * k))(points) for k in range(4)], axis=0),
        128,
    )
    few, fit = fit_to(steps, 60)
    own = few.vertices, few.faces.astype(np.int32)
    assert not fit.smooth(*own).any()
    assert fit._replace(left=None).smooth(*own).any()


def test_parts_that_were_left_out_pull_nothing() -> None:
    """Of two balls the mesh has one; places on the other, and none nearer, would pull it there."""
    ball = sphere(100, 60)
    few, fit = fit_to(ball, 200)
    other = ball.vertices[::10] * 0.2 + [0.0, 0.0, 0.7]
    places = np.concatenate([fit.places, other])
    more = Fit(places, np.append(fit.weights, np.full(len(other), fit.weights.mean())), None, fit.bend)
    faces = few.faces.astype(np.int32)
    alone = fit._replace(left=None).fitted(few.vertices, faces)
    np.testing.assert_allclose(more.fitted(few.vertices, faces), alone, atol=1e-12)
    assert np.abs(alone - few.vertices).max() > 1e-3


def test_borders_stay() -> None:
    """Half a ball: its rim is a border, the rest of it moves."""
    ball = sphere(200, 120)
    lower = ball.vertices[ball.faces][:, :, 2].max(axis=1) < 0.01
    used, numbered = compact(ball.faces[lower], len(ball.vertices))
    half = Mesh(ball.vertices[used], numbered)
    few, fit = fit_to(half, 200)
    faces = few.faces.astype(np.int32)
    fitted = fit.fitted(few.vertices, faces)
    _, rim, _ = open_edges(faces, len(few.vertices))
    assert len(rim) > 8
    np.testing.assert_array_equal(fitted[rim], few.vertices[rim])
    assert (fitted != few.vertices).any(axis=1).mean() > 0.5


def bumpy(points: np.ndarray) -> np.ndarray:
    """A body with a bump every few hundredths, as an animal's fur and muscles are; hardly a place is flat."""
    x, y, z = np.moveaxis(points, -1, 0)
    bumps = np.sin(38.0 * x) * np.sin(34.0 * y) + np.sin(36.0 * z + 9.0 * x)
    return np.sqrt(x**2 + (1.3 * y) ** 2 + (1.15 * z) ** 2) - 0.4 - 0.006 * bumps


def house(points: np.ndarray) -> np.ndarray:
    """A block with a tower on it, the edges of both rounded by the voxels alone."""
    tower = box_distance((0.1, 0.1, 0.25))(points - np.array([0.1, 0.0, 0.2]))
    return np.minimum(box_distance((0.4, 0.25, 0.1))(points), tower)


def test_meshes_of_what_has_edges_do_not_bend_alike_at_all_of_them() -> None:
    def bends(source: Mesh, count: int) -> bool:
        few = fit_to(source, count)[0]
        return bends_alike(few.vertices, few.faces.astype(np.int32))

    for count in (500, 1000):
        assert bends(voxels(bumpy, 96), count)
        assert not bends(voxels(house, 96), count)
    box, gem = cube(), trimesh.creation.icosahedron()
    assert not bends_alike(box.vertices, box.faces.astype(np.int32))
    assert not bends_alike(box.vertices, box.faces[:1].astype(np.int32))  # no edge to bend at
    assert not bends_alike(np.asarray(gem.vertices), gem.faces.astype(np.int32))  # 42 degrees at every edge


@pytest.mark.parametrize(
    ("gentle", "steep", "alike"),
    [(4.0, 20.0, True), (3.0, 20.0, False), (25.0, 90.0, True), (20.0, 90.0, False), (35.0, 90.0, False)],
)
def test_angles_are_alike_up_to_six_times_the_gentle_ones_and_steep_ones_up_to_four(
    gentle: float, steep: float, alike: bool
) -> None:
    """A ribbon of triangles, bent steeply at every second edge."""
    points = np.array([[0.5 * k, k % 2, 0.0] for k in range(20)])
    for k in range(1, len(points) - 2):  # about the edge between this triangle and the next one
        axis = points[k + 1] - points[k]
        turn = trimesh.transformations.rotation_matrix(np.radians(steep if k % 2 else gentle), axis, points[k])
        points[k + 2 :] = trimesh.transform_points(points[k + 2 :], turn)
    faces = np.array([[k, k + 1, k + 2] if k % 2 else [k + 1, k, k + 2] for k in range(18)], dtype=np.int32)
    assert bends_alike(points, faces) is alike
    assert bends_alike(points, faces, folds=False) is (alike and steep < 4.0 * gentle)


def test_every_bend_of_a_rough_body_keeps_its_faces_and_its_vertices_follow_it() -> None:
    """With a thousand faces it is off hardly more than noise would be; no network sees corners there."""
    source = voxels(bumpy, 96)
    few, fit = fit_to(source, 1000)
    faces = few.faces.astype(np.int32)
    assert not fit.smooth(few.vertices, faces).any()
    assert fit._replace(every=True).smooth(few.vertices, faces).all()
    reading = read_surface(source, None, faces=1000, keep_vertices=False)
    proxy = reading.proxies[0]
    assert len(proxy.faces) >= 998
    off = mean_distance(source, reading.box.invert(proxy.vertices), proxy.faces)
    assert off < 0.85 * mean_distance(source, few.vertices, few.faces)


def test_where_hardly_a_dense_face_is_left_for_each_vertices_stay_where_the_collapse_left_them() -> None:
    source = voxels(house, 96)
    count = len(source.faces) // 15
    denoised = denoise(source, wanted=count)
    refined, left = (proxies(denoised, [count], refine=refine)[0] for refine in (True, False))
    off = mean_distance(source, refined.vertices, refined.faces)
    assert len(refined.faces) == len(left.faces) and off <= 1.001 * mean_distance(source, left.vertices, left.faces)


def test_noise_does_not_count_as_bends() -> None:
    """A ball bends alike everywhere; where it is noisy the networks know its planes better than its vertices do."""
    ball = sphere(200, 120)
    radius = np.linalg.norm(ball.vertices, axis=1).max()
    noise = 1.0 + 0.003 * np.random.default_rng(0).standard_normal((len(ball.vertices), 1))
    reading = read_surface(Mesh(ball.vertices * noise, ball.faces), None, faces=300, keep_vertices=False)
    vertices, faces = reading.proxies[0].vertices, reading.proxies[0].faces.astype(np.int32)
    assert bends_alike(vertices, faces)
    off = np.linalg.norm(reading.box.invert(vertices), axis=1) / radius - 1.0
    assert np.sqrt((off**2).mean()) < 0.01  # 0.013 where they stay
