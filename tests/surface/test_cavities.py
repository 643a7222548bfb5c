"""The inner skin of a thin wall goes, and the outer one stands in the wall's middle; other insides stay."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh, vertex_normals
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.cavities import without_thin_cavities
from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import box_distance, cube, joined, sphere, volume, voxels

HALF = np.array([0.5, 0.4, 0.3])
WALL = 0.05  # longest sides: two and a half of the cells that shells are made on


def turned(mesh: Mesh) -> Mesh:
    """The same inside out."""
    return Mesh(mesh.vertices, mesh.faces[:, ::-1].copy())


def shell(thickness: float) -> Mesh:
    """A box hollow but for walls of `thickness` around its sides, as a voxel remesh of cells of 0.019 gives it."""
    distance = box_distance(HALF)
    return voxels(lambda points: np.abs(distance(points)) - 0.5 * thickness, cells=64)


def test_the_inner_skin_of_a_thin_wall_goes_and_the_outer_one_moves_to_its_middle():
    found, left_out = without_thin_cavities(shell(0.05))
    assert left_out == 0
    assert is_manifold_and_closed(found.vertices, found.faces) == (True, True)
    assert volume(found) == pytest.approx(8.0 * HALF.prod(), rel=0.03)
    assert np.abs(box_distance(HALF)(found.vertices)).max() < 0.012


@pytest.mark.parametrize(("gap", "left"), [(0.0, 0.9), (0.8, 0.9), (0.95, 0.95)])
def test_what_stands_out_of_a_shell_moves_as_well(gap, left):
    """A fin keeps nine tenths of a single sheet's thickness; of two sheets near each other it has their distance."""
    box, sheet = box_distance(np.array([0.3, 0.3, 0.2])), box_distance(np.array([0.1, 0.2, 0.0]))

    def field(points):
        sheets = [np.abs(sheet(points - [0.4, 0.0, z])) for z in (-0.5 * gap * WALL, 0.5 * gap * WALL)]
        return np.minimum(np.abs(box(points)), np.minimum(*sheets)) - 0.5 * WALL

    found = without_thin_cavities(voxels(field, cells=64))[0].vertices
    fin = (found[:, 0] > 0.37) & (found[:, 0] < 0.46) & (np.abs(found[:, 1]) < 0.15)
    assert np.abs(found[fin, 2]) == pytest.approx(0.5 * left * WALL, abs=0.02 * WALL)
    beside = found[found[:, 0] < 0.25]
    assert np.abs(box(beside)).max() < 0.25 * WALL


def test_a_thick_wall_keeps_its_inside():
    mesh = shell(0.15)
    assert without_thin_cavities(mesh)[0] is mesh


def test_a_wall_that_is_thin_here_and_thick_there_keeps_its_inside():
    """A cabinet: its back is five times as thick as its sides, which alone look like the walls of a shell."""
    inside = HALF - [0.04, 0.04, 0.1]

    def field(points):
        return np.maximum(box_distance(HALF)(points), -box_distance(inside)(points - [0.0, 0.0, 0.08]))

    mesh = voxels(field, cells=64)
    assert without_thin_cavities(mesh)[0] is mesh


def test_a_part_beside_others_and_a_low_poly_inside_stay():
    mesh = shell(0.05)
    outer, _ = without_thin_cavities(mesh)
    assert without_thin_cavities(outer)[0] is outer
    both = Mesh(
        np.concatenate([cube().vertices, 0.97 * cube().vertices]),
        np.concatenate([cube().faces, cube().faces[:, ::-1] + 8]),
    )
    assert without_thin_cavities(both)[0] is both


def offset(mesh: Mesh) -> Mesh:
    """With a copy of its faces a thin wall inside, as solidifying makes it."""
    inner = mesh.vertices - 0.05 * vertex_normals(mesh)
    return Mesh(np.concatenate([mesh.vertices, inner]), np.concatenate([mesh.faces, mesh.faces[:, ::-1] + len(inner)]))


def hollowed(mesh: Mesh) -> Mesh:
    """With a coarser hollow a thin wall inside, as prints are hollowed."""
    return Mesh(*joined(mesh, turned(voxels(box_distance(HALF - 0.05), cells=40))))


@pytest.mark.parametrize("made", [offset, hollowed])
def test_a_hollow_that_no_remesh_made_goes_and_the_outside_stays_where_it_is(made):
    solid = voxels(box_distance(HALF), cells=64)
    mesh = made(solid)
    found, left_out = without_thin_cavities(mesh)
    assert left_out == 1
    np.testing.assert_array_equal(found.triangles, solid.triangles)
    assert without_thin_cavities(mesh, clean_up=False)[0] is mesh
    reading = read_surface(mesh, faces=12)
    assert reading.strays == 1 and len(reading.proxies[0].faces) == 12
    assert len(read_surface(mesh, faces=200, clean_up=False).surface.faces) == len(mesh.faces)


def test_voids_in_a_thick_body_go_and_its_outside_stays_where_it_is():
    """Two flat ones, a thin wall behind its top: a remesh made them with the outside, which is no thin wall."""
    at = [np.array([x, 0.0, HALF[2] - WALL - 0.015]) for x in (-0.25, 0.2)]
    void, solid = box_distance((0.1, 0.08, 0.015)), voxels(box_distance(HALF), cells=64)
    mesh = voxels(
        lambda points: np.max([box_distance(HALF)(points), *(-void(points - x) for x in at)], axis=0), cells=64
    )
    assert len(mesh.faces) > len(solid.faces)
    found, left_out = without_thin_cavities(mesh)
    assert left_out == 2
    np.testing.assert_array_equal(found.triangles, solid.triangles)
    assert without_thin_cavities(mesh, clean_up=False)[0] is mesh


def test_an_inside_out_mesh_is_no_cavity():
    solid = voxels(box_distance(HALF), cells=48)
    wrong = turned(solid)
    assert without_thin_cavities(wrong)[0] is wrong


def test_no_face_is_spent_on_the_inner_skin():
    reading = read_surface(shell(0.05), faces=12)
    proxy = reading.proxies[0]
    assert len(proxy.faces) == 12 and reading.is_closed
    assert np.abs(reading.box.invert(proxy.vertices)) == pytest.approx(np.tile(HALF, (8, 1)), abs=0.012)


def test_kept_vertices_keep_their_inside():
    mesh = shell(0.05)
    assert len(read_surface(mesh, faces=12, keep_vertices=True).surface.faces) >= 0.9 * len(mesh.faces)


def test_a_hollow_goes_where_few_faces_leave_no_wall_around_it():
    """A lumpy body of long edges, which are all meant, and the same within it."""
    ball = sphere(32, 17)
    x, y, z = ball.vertices.T
    lumps = ball.vertices * (1.0 + 0.2 * np.cos(5.0 * np.arctan2(y, x)) * (1.0 - z**2 / np.abs(z).max() ** 2))[:, None]
    outer = Mesh(lumps / np.ptp(lumps, axis=0).max(), ball.faces)
    mesh = Mesh(*joined(outer, turned(Mesh(0.93 * outer.vertices, outer.faces))))
    few, many = (read_surface(mesh, faces=faces) for faces in (80, 1200))
    assert few.strays == 1 and len(few.surface.faces) == len(outer.faces)
    assert many.strays == 0 and len(many.surface.faces) == len(mesh.faces)
    assert read_surface(mesh, faces=80, clean_up=False).strays == 0


def test_a_hollow_that_stands_out_of_the_outside_stays():
    """As displacing a solidified ball makes it: what is inside at most places is seen at others."""
    ball = sphere(120, 61)
    half = 0.5 / np.abs(ball.vertices).max()
    inner = half * ball.vertices * (0.95 + 0.08 * (ball.vertices[:, :1] > 0.9 * np.abs(ball.vertices).max()))
    mesh = Mesh(*joined(Mesh(half * ball.vertices, ball.faces), turned(Mesh(inner, ball.faces))))
    for faces in (60, 800):
        reading = read_surface(mesh, faces=faces)
        assert reading.strays == 0 and len(reading.surface.faces) == len(mesh.faces)
    assert without_thin_cavities(Mesh(*joined(ball, turned(Mesh(0.95 * ball.vertices, ball.faces)))))[1] == 1
