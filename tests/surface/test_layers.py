"""Scans of one thing over each other in one mesh are read as samples of it; sheets that cover others are not."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface import layers
from flashmesh_core.surface.cleaning import clean
from flashmesh_core.surface.layers import are_layers, samples_of_layers
from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import box, box_distance, grid, joined, sphere, voxels

HALF = (0.5, 0.35, 0.2)


def part(mesh: Mesh, kept: np.ndarray) -> Mesh:
    """The faces that are kept, over all vertices."""
    return Mesh(mesh.vertices, mesh.faces[kept])


def scans(shift: float, noise: float = 0.0008) -> Mesh:
    """A box seen from two sides, each scan with noise and the second one shifted; both show the middle."""
    rng = np.random.default_rng(0)
    whole = voxels(box_distance(HALF), 110)
    middle = whole.triangles.mean(axis=1)[:, 0]
    left, right = part(whole, middle < 0.15), part(whole, middle > -0.15)
    way = shift * np.array([0.6, 0.6, 0.53])
    moved = [Mesh(one.vertices + rng.normal(0.0, noise, one.vertices.shape) + way * n, one.faces)
             for n, one in enumerate((left, right))]  # fmt: skip
    return Mesh(*joined(*moved))


def cleaned(mesh: Mesh) -> Mesh:
    return clean(mesh.vertices, mesh.faces)


def test_scans_over_each_other_become_one_surface() -> None:
    mesh = scans(0.004)
    assert are_layers(cleaned(mesh))
    reading = read_surface(mesh, faces=12)
    proxy = Mesh(reading.box.invert(reading.proxies[0].vertices), reading.proxies[0].faces)
    assert reading.is_closed and is_manifold_and_closed(proxy.vertices, proxy.faces) == (True, True)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * HALF
    assert len(proxy.faces) <= 13
    assert TriangleTree.of_mesh(proxy.vertices, proxy.faces).distance(corners).max() < 0.012
    assert read_surface(mesh, faces=300, clean_up=False).is_closed is False  # as it is, if that is wanted


def test_the_samples_are_the_vertices_with_their_normals() -> None:
    mesh = cleaned(scans(0.004, noise=0.0))
    points, normals = samples_of_layers(mesh)
    assert len(points) == len(mesh.vertices)
    flat = np.abs(points[:, 2] - HALF[2]) < 1e-4
    flat &= (np.abs(points[:, :2]) < np.array(HALF[:2]) - 0.03).all(axis=1)
    assert flat.sum() > 500 and (normals[flat, 2] > 0.99).all()


def test_no_more_samples_than_a_reading_needs(monkeypatch) -> None:
    monkeypatch.setattr(layers, "MAX_SAMPLES", 3_000)
    points, normals = samples_of_layers(cleaned(scans(0.004)))
    assert len(points) == len(normals) == 3_000 == len(np.unique(points, axis=0))


def test_faces_between_near_and_far_turn_no_normals() -> None:
    """Two levels of a depth map, with faces hung between them."""
    flat = grid(80)
    step = np.where(flat.vertices[:, :1] > 0.0, 0.4, 0.0) * np.array([0.0, 0.0, 1.0])
    points, normals = samples_of_layers(Mesh(flat.vertices + step, flat.faces))
    assert len(points) == len(flat.vertices)
    np.testing.assert_allclose(np.abs(normals), np.array([[0.0, 0.0, 1.0]] * len(points)), atol=1e-9)


def test_a_sheet_that_covers_another_is_no_layer() -> None:
    """A coat over a body: near it everywhere, and outside everywhere; the same body cut apart; one alone."""
    body = sphere(200, 121)
    coat = part(Mesh(body.vertices * 1.006, body.faces), body.triangles.mean(axis=1)[:, 2] < 0.2)
    assert not are_layers(cleaned(Mesh(*joined(body, coat))))
    below = body.triangles.mean(axis=1)[:, 2] < 0.1
    assert not are_layers(cleaned(Mesh(*joined(part(body, below), part(body, ~below)))))
    assert not are_layers(cleaned(body))
    mixed = Mesh(body.vertices + np.array([0.003, 0.0, 0.0]), body.faces)
    assert are_layers(cleaned(Mesh(*joined(body, mixed))))


def test_what_lies_beside_or_in_one_plane_or_back_to_back_is_no_layer() -> None:
    """Narrow bands of a rough ball, each a bit larger than the next; tiles in one plane; a sheet with two sides."""
    rng, body = np.random.default_rng(0), sphere(200, 121)
    body = Mesh(body.vertices * (1.0 + rng.normal(0.0, 0.004, (len(body.vertices), 1))), body.faces)
    band = (np.arccos(np.clip(sphere(200, 121).triangles.mean(axis=1)[:, 2] / 0.5, -1.0, 1.0)) * 40.0 / np.pi).astype(
        int
    )
    bands = [part(Mesh(body.vertices * (1.0 + 1e-5 * (n % 2)), body.faces), band == n) for n in range(40)]
    assert not are_layers(cleaned(Mesh(*joined(*bands))))
    flat = grid(80)
    assert not are_layers(cleaned(Mesh(*joined(flat, Mesh(flat.vertices + np.array([4e-3, 3e-3, 0.0]), flat.faces)))))
    rough = [Mesh(flat.vertices + rng.normal(0.0, 2e-3, flat.vertices.shape), faces)
             for faces in (flat.faces, flat.faces[:, ::-1])]  # fmt: skip
    assert not are_layers(cleaned(Mesh(*joined(*rough))))
    assert are_layers(cleaned(Mesh(*joined(rough[0], Mesh(rough[1].vertices, flat.faces)))))


def test_coarse_meshes_are_no_scans() -> None:
    low = sphere(24, 15)
    moved = Mesh(low.vertices + np.array([0.003, 0.0, 0.0]), low.faces)
    assert not are_layers(cleaned(Mesh(*joined(low, moved))))


def test_a_modelled_body_with_small_parts_in_each_other_is_no_scan() -> None:
    """Most of the vertices are those of layers, as of a refrigerator's feet, but they show little of the surface."""
    layered, body = scans(0.005), box(3.0, 3.0, 3.0, at=(5.0, 0.0, 0.0))
    assert are_layers(cleaned(layered))
    assert not are_layers(cleaned(Mesh(*joined(layered, body))))
