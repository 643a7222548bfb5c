"""Small holes of dense meshes are closed, larger ones and those of coarse meshes stay."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.sheets import open_edge_count
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.adjacency import face_areas
from flashmesh_core.surface.pinholes import close_pinholes
from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import cards, cube, joined, sphere, voxels


def punched(mesh: Mesh, radius: float) -> Mesh:
    """The mesh without the faces near the vertex that is highest."""
    top = mesh.vertices[mesh.vertices[:, 2].argmax()]
    near = np.linalg.norm(mesh.triangles.mean(axis=1) - top, axis=1) < radius
    assert near.any()
    return Mesh(mesh.vertices, mesh.faces[~near])


def test_a_hole_of_few_edges_is_closed_and_wound_as_its_surroundings() -> None:
    dense = sphere(100, 61)
    twin = dense.faces[3_000]
    beside = np.flatnonzero(np.isin(dense.faces, twin).sum(axis=1) == 2)[0]  # two faces at an edge: a hole of four
    holed = Mesh(dense.vertices, np.delete(dense.faces, [3_000, beside, 6_000], axis=0))
    assert open_edge_count(holed.faces) == 7
    closed, _ = close_pinholes(holed)
    assert is_manifold_and_closed(closed.vertices, closed.faces) == (True, True)


def test_a_larger_hole_stays() -> None:
    holed = punched(sphere(100, 61), 0.2)
    assert close_pinholes(holed)[0] is holed


def test_a_small_hole_of_many_edges_is_meant() -> None:
    """The eyes of a mask: as long around as a pinhole, but with a hundred edges."""
    holed = punched(sphere(100, 61), 0.03)
    assert open_edge_count(holed.faces) == 100
    assert close_pinholes(holed)[0] is holed


def test_a_hole_of_a_coarse_mesh_is_meant() -> None:
    holed = Mesh(cube().vertices, cube().faces[1:])
    assert close_pinholes(holed)[0] is holed


def test_a_remesh_with_pinholes_is_read_as_closed() -> None:
    dense = sphere(100, 61)
    reading = read_surface(Mesh(dense.vertices, np.delete(dense.faces, [2_000, 5_000], axis=0)), faces=200)
    assert reading.is_closed and open_edge_count(reading.proxies[0].faces) == 0


def test_leaves_are_no_holes() -> None:
    """Each has a border of four edges, and closed would be two sides without a volume."""
    leaves = cards(500)
    assert close_pinholes(leaves)[0] is leaves
    dense = sphere(100, 61)
    holed = Mesh(dense.vertices, dense.faces[1:])
    tree, _ = close_pinholes(Mesh(*joined(holed, leaves)))
    assert open_edge_count(tree.faces) == 4 * 500  # the ball's hole is closed


def test_a_scrap_closes_and_leaves_its_source_closed() -> None:
    dense = sphere(100, 61)
    scrap = Mesh(dense.vertices * 1.2, dense.faces[3_000:3_002])
    reading = read_surface(Mesh(*joined(dense, scrap)), faces=200)
    assert reading.is_closed and open_edge_count(reading.proxies[0].faces) == 0
    assert np.linalg.norm(reading.box.invert(reading.proxies[0].vertices), axis=1).max() < 0.55  # the scrap is at 0.6


def gashed(radius: float, places: int = 5) -> Mesh:
    """A remeshed ball without the faces whose middles are near some places."""
    ball = voxels(lambda points: np.linalg.norm(points, axis=-1) - 0.5, 64)
    middles = ball.triangles.mean(axis=1)
    near = np.zeros(len(middles), dtype=bool)
    for k in range(places):
        near |= np.linalg.norm(middles - middles[k * len(middles) // places + 50], axis=1) < radius
    return Mesh(ball.vertices, ball.faces[~near])


def test_gashes_are_closed_and_counted() -> None:
    holed = gashed(0.06)
    closed, count = close_pinholes(holed, gashes=True)
    assert count == 5 and is_manifold_and_closed(closed.vertices, closed.faces) == (True, True)
    assert close_pinholes(holed) == (holed, 0)


def test_what_fills_a_gash_is_round_and_as_fine_as_what_is_around_it() -> None:
    """A fan over each would be flat: 0.004 deep, of triangles ten times as large."""
    holed = gashed(0.06)
    closed, _ = close_pinholes(holed, gashes=True)
    old = {tuple(vertex) for vertex in holed.vertices}
    new = np.array([tuple(vertex) not in old for vertex in closed.vertices])
    assert new.sum() > 5 * 10 and np.abs(np.linalg.norm(closed.vertices[new], axis=1) - 0.5).max() < 0.0015
    assert face_areas(closed.vertices, closed.faces).max() < 1.5 * face_areas(holed.vertices, holed.faces).max()


def test_a_large_hole_is_no_gash() -> None:
    holed = gashed(0.12)
    assert close_pinholes(holed, gashes=True) == (holed, 0)


def test_a_smooth_border_is_meant() -> None:
    """Openings as large as gashes: a round one, and a square one among squares."""
    sides = np.linspace(0.0, 1.0, 61)[:, None] * np.array([[0.0, 0.0, 1.0]])
    ring = [[0.05 * np.cos(a), 0.05 * np.sin(a), 0.0] for a in np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)]
    tube = np.concatenate([np.array(ring) + side for side in sides])
    here = (np.arange(60)[:, None] * 40 + np.arange(40)).ravel()
    there = (np.arange(60)[:, None] * 40 + (np.arange(40) + 1) % 40).ravel()
    squares = np.stack([here, there, there + 40, here + 40], axis=1)
    faces = np.concatenate([squares[:, :3], squares[:, [0, 2, 3]]])
    wall = squares.reshape(60, 40, 4)
    window = np.concatenate([np.delete(wall, range(20, 30), axis=0).reshape(-1, 4), wall[20:30, 8:].reshape(-1, 4)])
    for mesh in (Mesh(tube, faces), Mesh(tube, np.concatenate([window[:, :3], window[:, [0, 2, 3]]]))):
        assert close_pinholes(mesh, gashes=True) == (mesh, 0)


def test_a_gashed_mesh_is_read_as_closed_unless_its_borders_are_meant() -> None:
    for close, count in ((True, 5), (False, 0)):
        reading = read_surface(gashed(0.06), faces=300, clean_up=close)
        assert reading.gashes == count and reading.is_closed == close
        assert (open_edge_count(reading.proxies[0].faces) == 0) == close
