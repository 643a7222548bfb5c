"""Parts cut into triangles one by one: their borders are joined where they lie on each other, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.sampling import triangle_areas
from flashmesh_core.mesh.sheets import open_edge_count
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.cleaning import clean
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.seams import join_seams
from tests.surface.shapes import grid, joined


def sides(*cells: int) -> Mesh:
    """The six sides of a cube, each cut into other cells, wound outwards and joined at no vertex by intention."""
    made = []
    for number, count in enumerate(cells):
        axis, end = divmod(number, 2)
        flat = grid(count)
        u, v = (flat.vertices[:, :2] - flat.vertices[:, :2].min(axis=0)).T / np.ptp(flat.vertices[:, 0])
        places = np.empty((len(u), 3))
        places[:, axis] = end
        places[:, (axis + 1) % 3], places[:, (axis + 2) % 3] = (u, v) if end else (v, u)
        made.append(Mesh(places, flat.faces))
    return Mesh(*joined(*made))


def halves(above: int, below: int) -> Mesh:
    """Two halves of a ball of unlike segments: along the seam each one's chords are off the other's."""
    made = []
    for count, side in ((above, 1.0), (below, -1.0)):
        flat = grid(count)
        u, v = (flat.vertices[:, :2] - flat.vertices[:, :2].min(axis=0)).T / np.ptp(flat.vertices[:, 0])
        around, up = 2.0 * np.pi * u, 0.5 * np.pi * v
        ring = np.stack([np.cos(around), side * np.sin(around)], axis=1) * np.cos(up)[:, None]
        made.append(Mesh(np.concatenate([ring, side * np.sin(up)[:, None]], axis=1), flat.faces))
    return Mesh(*joined(*made))


def again(mesh: Mesh) -> Mesh:
    return clean(mesh.vertices, mesh.faces)


@pytest.mark.parametrize(
    "mesh", [sides(20, 33, 7, 12, 5, 26), sides(1, 2, 3, 50, 1, 4), halves(60, 43), halves(24, 17)]
)
def test_unlike_borders_are_joined(mesh: Mesh) -> None:
    before = again(mesh)
    assert open_edge_count(before.faces) > 40
    found, count = join_seams(before)
    after = again(found)
    assert count > 10 and is_manifold_and_closed(after.vertices, after.faces) == (True, True)
    area = triangle_areas(before.triangles).sum()
    assert triangle_areas(after.triangles).sum() == pytest.approx(area, rel=2e-2)
    assert np.isin(after.vertices, before.vertices).all()  # none is made, none is moved


def test_the_cube_comes_out_closed() -> None:
    reading = read_surface(sides(20, 33, 7, 12, 5, 26), faces=12)
    proxy = reading.proxies[0]
    assert reading.is_closed and len(proxy.faces) == 12 and open_edge_count(proxy.faces) == 0
    assert np.ptp(proxy.vertices, axis=0) == pytest.approx(np.ones(3), abs=1e-3)


def test_a_gap_stays_open() -> None:
    """Two sheets side by side, apart by a tenth of an edge; at a fiftieth they are one."""
    left, shift = grid(20), np.array([1.0, 0.0, 0.0])
    edge = np.ptp(left.vertices[:, 0]) / 20
    for gap, open_edges in ((0.1, 160), (0.02, 120)):
        right = Mesh(left.vertices + (20.0 + gap) * edge * shift, left.faces)
        found, count = join_seams(again(Mesh(*joined(left, right))))
        assert open_edge_count(again(found).faces) == open_edges
        assert (count > 0) == (open_edges == 120)


def test_a_border_alone_stays_as_it_is() -> None:
    for mesh in (grid(20), grid(20, hole=True)):
        before = again(mesh)
        assert join_seams(before) == (before, 0)


def test_a_vertex_amid_two_edges_cuts_a_face_twice() -> None:
    """A triangle between two finer ones: cut on two of its sides, each at three places."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    fine = [np.linspace(corners[k], corners[(k + 1) % 3], 5) for k in (0, 1)]
    outside = [np.array([0.5, -1.0]), np.array([1.5, 1.5])]
    vertices, faces = [corners], [[0, 1, 2]]
    for line, tip in zip(fine, outside, strict=True):
        first = sum(map(len, vertices))
        vertices += [line, tip[None]]
        faces += [[first + k + 1, first + k, first + 5] for k in range(4)]
    mesh = again(Mesh(np.pad(np.concatenate(vertices), ((0, 0), (0, 1))), np.array(faces)))
    found, count = join_seams(mesh)
    assert count == 6 and len(found.faces) == 15
    assert open_edge_count(again(found).faces) == 5
    assert triangle_areas(found.triangles).sum() == pytest.approx(triangle_areas(mesh.triangles).sum())


def test_what_is_kept_and_what_is_not_cleaned_up_keeps_its_seams() -> None:
    mesh = sides(2, 3, 2, 1, 1, 2)
    assert len(read_surface(mesh, faces=100).proxies[0].faces) == len(mesh.faces)
    assert not read_surface(sides(20, 33, 7, 12, 5, 26), faces=100, clean_up=False).is_closed
