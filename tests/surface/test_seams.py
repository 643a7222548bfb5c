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
from tests.surface.shapes import cube, grid, joined, volume


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


def cut(corners: np.ndarray, count: int) -> Mesh:
    """A triangle (3, 3) cut into count * count ones."""
    nodes = [(i, j) for i in range(count + 1) for j in range(count + 1 - i)]
    number = {node: at for at, node in enumerate(nodes)}
    faces = [(number[i, j], number[i + 1, j], number[i, j + 1]) for i, j in nodes if i + j < count]
    faces += [(number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]) for i, j in nodes if i + j < count - 1]
    return Mesh(corners[0] + np.array(nodes) / count @ (corners[1:] - corners[0]), np.array(faces))


def again(mesh: Mesh) -> Mesh:
    return clean(mesh.vertices, mesh.faces)


@pytest.mark.parametrize(
    "mesh", [sides(20, 33, 7, 12, 5, 26), sides(1, 2, 3, 50, 1, 4), halves(60, 43), halves(24, 17)]
)
def test_unlike_borders_are_joined(mesh: Mesh) -> None:
    before = again(mesh)
    assert open_edge_count(before.faces) > 40
    after = join_seams(before)
    assert is_manifold_and_closed(after.vertices, after.faces) == (True, True)
    area = triangle_areas(before.triangles).sum()
    assert triangle_areas(after.triangles).sum() == pytest.approx(area, rel=2e-2)
    assert np.isin(after.vertices, before.vertices).all()  # none is made, none is moved


def test_the_cube_comes_out_closed() -> None:
    reading = read_surface(sides(20, 33, 7, 12, 5, 26), faces=12)
    proxy = reading.proxies[0]
    assert reading.is_closed and len(proxy.faces) == 12 and open_edge_count(proxy.faces) == 0
    assert np.ptp(proxy.vertices, axis=0) == pytest.approx(np.ones(3), abs=1e-3)


def beside(mesh: Mesh, gap: float) -> Mesh:
    """The cube of `sides` with its last side lifted off by so many edges of this side."""
    vertices = mesh.vertices.copy()
    count = 21 * 21
    vertices[-count:, 2] += gap / 20
    return Mesh(vertices, mesh.faces)


def test_a_gap_stays_open() -> None:
    """A lid a tenth of an edge off its box; at a fiftieth it lies on it."""
    box = sides(20, 20, 20, 20, 20, 20)
    for gap, open_edges in ((0.1, 160), (0.02, 0)):
        assert open_edge_count(join_seams(again(beside(box, gap))).faces) == open_edges


def test_borders_that_meet_by_chance_stay() -> None:
    """Two sheets side by side, each open on its other three sides; a border alone."""
    two = again(Mesh(*joined(grid(20), Mesh(grid(21).vertices + np.array([1.0, 0.0, 0.0]), grid(21).faces))))
    for mesh in (two, again(grid(20)), again(grid(20, hole=True))):
        assert join_seams(mesh) is mesh


def test_a_face_is_cut_on_several_sides() -> None:
    """A triangle between finer ones: a tetrahedron with three sides of 16 faces and one of a single one."""
    corners = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    parts = [Mesh(corners[[0, 2, 1]], np.array([[0, 1, 2]]))]
    parts += [cut(corners[list(side)], 4) for side in ((0, 1, 3), (1, 2, 3), (2, 0, 3))]
    mesh = join_seams(again(Mesh(*joined(*parts))))
    assert is_manifold_and_closed(mesh.vertices, mesh.faces) == (True, True)
    assert len(mesh.faces) == 48 + 10 and volume(mesh) == pytest.approx(1.0 / 6.0)


def test_what_is_kept_and_what_is_not_cleaned_up_keeps_its_seams() -> None:
    mesh = sides(2, 3, 2, 1, 1, 2)
    assert len(read_surface(mesh, faces=100).proxies[0].faces) == len(mesh.faces)
    assert not read_surface(sides(20, 33, 7, 12, 5, 26), faces=100, clean_up=False).is_closed


def bow_tie(turn: float) -> Mesh:
    """Two long triangles that share an edge of next to nothing, in the middle of a square."""
    ends = np.array([[0.0, 1e-4, 0.0], [0.0, -1e-4, 0.0], [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    along = np.array([[np.cos(turn), np.sin(turn), 0.0], [-np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    return Mesh(ends @ along, np.array([[0, 2, 1], [1, 3, 0]]))


def test_faces_that_lose_a_corner() -> None:
    """Ends that become one may take a face with them, and all of a mesh; no cut is made in such a face."""
    crossed = again(Mesh(*joined(bow_tie(0.0), bow_tie(0.5 * np.pi))))
    assert join_seams(crossed) is crossed
    corner = Mesh(np.array([[0.0, 0.0, 0.0], [0.3, -1.0, 0.0], [0.6, -1.0, 0.0]]), np.array([[0, 1, 2]]))
    beside = Mesh(np.array([[0.5, 5e-5, 0.0], [0.5, 1.0, 0.0], [0.4, 1.0, 0.0]]), np.array([[0, 1, 2]]))
    mesh = again(Mesh(*joined(bow_tie(0.0), corner, beside)))
    assert join_seams(mesh) is mesh


def test_every_triangle_of_its_own() -> None:
    """Each vertex cuts the edges that it lies on, and not those that pass near to it."""
    counts = (3, 7, 20, 5, 11, 16, 4, 9, 30, 6, 13, 25)
    parts = [cut(corners, count) for count, corners in zip(counts, cube().triangles, strict=True)]
    mesh = join_seams(again(Mesh(*joined(*parts))))
    assert is_manifold_and_closed(mesh.vertices, mesh.faces) == (True, True)
    assert volume(mesh) == pytest.approx(1.0, rel=1e-3)
