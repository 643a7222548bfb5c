"""Shells that remeshing puts around open sheets are told, and with few faces simplified in the middle of a wall."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh, vertex_normals
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.topology import topology_report
from flashmesh_core.sources import SHELL, voxel_remesh
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.collapse import ALWAYS, STAYING, collapse, start_collapse
from flashmesh_core.surface.denoising import denoise, typical_edge
from flashmesh_core.surface.placement import planes_of
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.shells import CELLS as CELLS_THICK
from flashmesh_core.surface.shells import HIDDEN, Shell, as_seen, middle_of, moved_apart, shell_of
from flashmesh_core.surface.simplification import proxies, rows_of
from tests.surface.shapes import cylinder, grid, sphere

SHEET = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.4, 0.4) for z in (-0.25, 0.25)])
SIDES = np.array([[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5], [2, 3, 7], [2, 7, 6], [0, 2, 6],
                  [0, 6, 4]])  # fmt: skip
CELLS = 72
WALL = SHELL / CELLS  # half of its thickness


@pytest.fixture(scope="module")
def tray() -> Mesh:
    """What remeshing makes of a box without a lid."""
    return voxel_remesh(Mesh(SHEET, SIDES), CELLS, closed=False)


def off_sheet(points: np.ndarray) -> np.ndarray:
    """Distances (N,) of points from the sheet."""
    return TriangleTree.of_mesh(SHEET, SIDES).distance(points)


def thicker(tray: Mesh) -> Mesh:
    """The same with walls half again as thick, which no remesh makes."""
    return Mesh(tray.vertices + 0.5 * WALL * vertex_normals(tray), tray.faces)


def test_a_shell_is_as_thick_everywhere(tray: Mesh) -> None:
    edge = typical_edge(tray)
    shell = shell_of(planes_of(denoise(tray)), edge, rough=False)
    assert shell is not None and shell.even and abs(shell.half - WALL) < 0.05 * WALL
    out = np.where(tray.vertices[:, :1] > 0.0, 0.4 * WALL, 0.0) * vertex_normals(tray)
    uneven = shell_of(planes_of(denoise(Mesh(tray.vertices + out, tray.faces))), edge, rough=False)
    assert uneven is not None and not uneven.even
    ball = sphere(200, 121)
    assert shell_of(planes_of(denoise(ball)), typical_edge(ball), rough=False) is None


def test_a_rod_is_no_shell_and_stays_as_thick() -> None:
    """A ring of a tube that is as thick as a remesh's walls; taken for one it lost three tenths of its thickness."""
    tube = 0.03
    made = trimesh.creation.torus(0.4, tube, 96, 8)
    ring = Mesh(made.vertices, made.faces)
    edge = typical_edge(ring)
    assert CELLS_THICK[0] * edge < 2.0 * tube < CELLS_THICK[1] * edge
    assert shell_of(planes_of(denoise(ring)), edge, rough=False) is None
    found = proxies(denoise(ring), [384])[0]
    off = TriangleTree.of_mesh(found.vertices, found.faces).distance(ring.vertices)
    assert off.mean() < 0.1 * tube and off.max() < 0.3 * tube


def test_in_the_middle_both_sides_are_the_sheet(tray: Mesh) -> None:
    planes = planes_of(denoise(tray))
    middle = middle_of(planes, shell_of(planes, typical_edge(tray), rough=False))
    assert np.quantile(off_sheet(middle.vertices), 0.95) < 0.25 * WALL
    assert np.quantile(off_sheet(tray.vertices), 0.05) > 0.9 * WALL


def test_moved_apart_the_sides_are_where_they_were_and_rims_stay() -> None:
    """Two sheets of eight faces that share their border, one above the other at the same place."""
    axis = np.linspace(-0.5, 0.5, 3)
    grid = np.stack([*np.meshgrid(axis, axis, indexing="ij"), np.zeros((3, 3))], axis=-1).reshape(-1, 3)
    quads = np.array([[k, k + 3, k + 4, k + 1] for k in (0, 1, 3, 4)])
    below = np.arange(9)
    below[4] = 9
    upper = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    moved = moved_apart(np.append(grid, grid[4:5], axis=0), np.concatenate([upper, below[upper[:, ::-1]]]), 0.01)
    assert np.allclose(np.delete(moved[:9], 4, axis=0), np.delete(grid, 4, axis=0))
    assert np.allclose(moved[[4, 9]], [[0, 0, 0.01], [0, 0, -0.01]], atol=2e-4)


def test_walls_of_a_remesh_end_nearer_to_the_sheet(tray: Mesh) -> None:
    """Seven tenths as far, but for the rims, which are no walls; walls that no remesh makes so thick stay."""
    shell = shell_of(planes_of(denoise(tray)), typical_edge(tray), rough=False)
    assert shell is not None and shell.remeshed
    far = off_sheet(shell.thinned(tray.vertices, tray.faces)) / WALL
    low = tray.vertices[:, 2] < 0.25 - 2.0 * WALL
    assert np.quantile(far[low], 0.1) > 0.55 and np.quantile(far[low], 0.75) < 0.8
    assert np.quantile(far[tray.vertices[:, 2] > 0.25 + 0.95 * WALL], 0.1) > 0.9
    other = thicker(tray)
    shell = shell_of(planes_of(denoise(other)), typical_edge(other), rough=False)
    assert shell is not None and not shell.remeshed
    assert (shell.thinned(other.vertices, other.faces) == other.vertices).all()


def cloth(cells: int, thickness: float) -> Mesh:
    """A wavy sheet with a back and a rim of one face, as a garment with a thickness has them."""
    flat = grid(cells)
    x, y, _ = flat.vertices.T
    sheet = Mesh(np.stack([x, y, 0.04 * np.sin(14.0 * x + 3.0 * y) + 0.05 * np.sin(6.0 * y)], axis=1), flat.faces)
    half, back = 0.5 * thickness * vertex_normals(sheet), len(sheet.vertices)
    k = np.arange(back).reshape(cells + 1, cells + 1)
    rim = np.concatenate([k[:-1, 0], k[-1, :-1], k[:0:-1, -1], k[0, :0:-1]])
    after = np.roll(rim, -1)
    side = np.concatenate([np.stack([rim, rim + back, after + back], 1), np.stack([rim, after + back, after], 1)])
    faces = np.concatenate([sheet.faces, sheet.faces[:, ::-1] + back, side])
    return Mesh(np.concatenate([sheet.vertices + half, sheet.vertices - half]), faces)


def test_cloth_with_a_thickness_keeps_its_rim() -> None:
    """Its rim, of small faces between two walls, was cut into."""
    thickness = 0.004
    source = cloth(89, thickness)
    shell = shell_of(planes_of(denoise(source)), typical_edge(source), rough=False)
    assert shell is not None and not shell.remeshed
    found = proxies(denoise(source), [200])[0]
    assert topology_report(found.vertices, found.faces).is_watertight
    far = TriangleTree.of_mesh(found.vertices, found.faces).distance(source.vertices)
    assert far.max() < 4.0 * thickness and far.mean() < 0.45 * thickness


def test_walls_that_no_remesh_makes_stay_where_the_collapse_left_them(tray: Mesh) -> None:
    """Put on the surface, its vertices left faces that span bends on one side of it: eight times as far off."""
    source = thicker(tray)
    found = proxies(denoise(source), [40])[0]
    far = TriangleTree.of_mesh(found.vertices, found.faces).distance(source.vertices)
    assert far.mean() < 0.1 * WALL


@pytest.fixture(scope="module")
def vessel() -> Mesh:
    """What remeshing makes of a ball with a hole that a fifth of its width goes through."""
    ball = sphere(24, 15)
    return voxel_remesh(
        Mesh(ball.vertices, ball.faces[ball.vertices[ball.faces][..., 2].max(axis=1) < 0.46]), 72, False
    )


def inner(places: np.ndarray) -> np.ndarray:
    """Which places (N, 3) are on the inner wall of the vessel: nearer to the middle than the ball's faces."""
    return np.linalg.norm(places, axis=1) < 0.488


def test_walls_weigh_as_they_are_seen(tray: Mesh, vessel: Mesh) -> None:
    """Most of an open tray; of a vessel with a narrow neck the outside."""
    planes = planes_of(denoise(tray))
    weights = as_seen(planes, typical_edge(tray)).weights / planes.weights
    assert weights.max() == 1.0 and (weights == 1.0).mean() > 0.75 and np.quantile(weights, 0.1) > 0.5
    planes = planes_of(denoise(vessel))
    weights = as_seen(planes, typical_edge(vessel)).weights / planes.weights
    within = inner(vessel.vertices[vessel.faces].mean(axis=1))
    assert 0.4 < within.mean() < 0.55
    assert weights[~within].mean() > 0.95 and np.median(weights[within]) == HIDDEN


def test_few_faces_go_to_the_outside_of_a_vessel(vessel: Mesh) -> None:
    found = read_surface(vessel, faces=100, keep_vertices=False)
    mesh = Mesh(found.box.invert(found.proxies[0].vertices), found.proxies[0].faces)
    assert topology_report(mesh.vertices, mesh.faces).is_watertight
    assert inner(mesh.vertices).mean() < 0.25


def test_no_two_vertices_settle_at_one_place() -> None:
    """Their edges would have four faces. Two triangles near one corner, which is nearest to a vertex of each."""
    corners = np.array([[1.0, 0.0, 0.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, -1.0], [-1.0, 0.0, 1.0]])
    tree = TriangleTree.of_mesh(corners, np.array([[0, 1, 3], [0, 2, 1], [0, 3, 2], [1, 2, 3]]))
    vertices = np.array([[1.3, 0.1, 0.0], [-0.5, 1.0, -1.0], [-0.5, 1.0, 1.0],
                         [1.3, -0.1, 0.0], [-0.5, -1.0, 1.0], [-0.5, -1.0, -1.0]])  # fmt: skip
    assert (tree.closest(vertices[[0, 3]]) == corners[0]).all()
    settled = Shell(tree, 0.1, True, True).settled(vertices, np.array([[0, 1, 2], [3, 4, 5]], dtype=np.int32))
    assert (settled == corners[0]).all(axis=1).sum() == 1 and len(np.unique(settled, axis=0)) == 6


@pytest.mark.parametrize("count", [16, 20])
def test_few_faces_go_to_the_corners_of_the_sheet(tray: Mesh, count: int) -> None:
    """Five sides have ten faces, so that both walls would have 20 with all of the eight corners and their rims none."""
    walls = proxies(denoise(tray, wanted=count), [count])[0]  # each for itself
    shares = []
    found = read_surface(
        tray,
        faces=count,
        keep_vertices=False,
        progress=lambda stage, share: shares.append(share) if stage == "simplify" else None,
    )
    assert shares == sorted(shares)
    sheet = Mesh(found.box.invert(found.proxies[0].vertices), found.proxies[0].faces)
    report = topology_report(sheet.vertices, sheet.faces)
    assert report.is_watertight and len(sheet.faces) <= count
    off, off_apart = (cKDTree(mesh.vertices).query(SHEET)[0] for mesh in (sheet, walls))
    assert off.max() < 1.5 * WALL and off.mean() < min(0.8 * WALL, 0.85 * off_apart.mean())


def test_of_two_vertices_that_stay_one_is_kept() -> None:
    """A cylinder of 24 sides to 12: the best place for two corners is between them."""
    round_ = cylinder(24)
    faces = round_.faces.astype(np.int32)
    normals, areas, centers = face_geometry(round_.vertices, faces)
    kept = {}
    for staying in (0.0, STAYING, ALWAYS):
        rows = rows_of(round_.vertices, faces, centers, normals, areas)
        state = start_collapse(round_.vertices, faces, rows, staying=staying)
        collapse(state, 48, 10**9)
        left = state.positions[np.unique(state.faces[state.alive])]
        kept[staying] = (cKDTree(round_.vertices).query(left)[0] < 1e-9).mean()
    assert kept[STAYING] > 2.0 * kept[0.0] and kept[ALWAYS] == 1.0
