"""What lies inside of solid parts goes; what can be seen, or might be, stays."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.cleaning import clean
from flashmesh_core.surface.enclosed import without_enclosed_parts
from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import box, box_distance, cube, joined, sieve, sphere, torus_distance, volume, voxels


def together(*parts: Mesh) -> Mesh:
    vertices, faces = joined(*parts)
    return clean(vertices, faces)


def turned(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces[:, ::-1].copy())


def ball(size: float, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    round_one = sphere(40, 21)
    return Mesh(round_one.vertices * size + np.array(at), round_one.faces)


def count_left(mesh: Mesh) -> tuple[int, int]:
    rest, gone = without_enclosed_parts(mesh)
    return len(rest.faces), gone


BALL = len(sphere(40, 21).faces)


def test_parts_inside_of_a_solid_one_go() -> None:
    """A cube with a ball in it, which holds another; a third one pokes out by a little, a fourth is outside."""
    inside, poking = ball(0.5), ball(0.3, at=(0.36, 0.3, 0.3))
    mesh = together(cube(), inside, ball(0.1), poking, ball(0.2, at=(2.0, 0.0, 0.0)))
    assert count_left(mesh) == (12 + 2 * BALL, 2)
    assert volume(without_enclosed_parts(mesh)[0]) == pytest.approx(1.0 + volume(poking) + volume(ball(0.2)), rel=1e-6)


def test_what_a_ring_goes_around_is_not_inside() -> None:
    ring = voxels(torus_distance(0.4, 0.15), cells=48)
    assert count_left(together(ring, ball(0.2)))[1] == 0
    assert count_left(together(ring, ball(0.1, at=(0.4, 0.0, 0.0))))[1] == 1


def test_a_pane_stays_that_only_its_rim_is_inside() -> None:
    """All of its corners are in the frame, which is a third of a side wide."""
    frame = sieve(1)
    pane = box(0.5, 0.5, 0.02, at=tuple(frame.vertices.mean(axis=0)))
    assert count_left(together(frame, pane)) == (len(frame.faces) + 12, 0)
    covered = box(0.2, 0.2, 0.02, at=(0.35, 0.35, float(frame.vertices[:, 2].mean())))
    assert count_left(together(frame, covered)) == (len(frame.faces), 1)


def test_a_hollow_stays_and_so_does_what_it_holds() -> None:
    shell = (box(1.0, 1.0, 1.0), turned(box(0.6, 0.6, 0.6)))
    assert count_left(together(*shell)) == (24, 0)
    assert count_left(together(*shell, ball(0.3))) == (24 + BALL, 0)
    assert count_left(together(*shell, ball(0.3), ball(0.1, at=(0.4, 0.4, 0.4)))) == (24 + BALL, 1)  # in the wall


def test_open_parts_and_single_ones_stay() -> None:
    half = ball(0.5)
    half = Mesh(half.vertices, half.faces[half.triangles.mean(axis=1)[:, 2] > 0.0])
    for mesh in (together(cube(), half), together(cube()), together(half, ball(0.1))):
        assert without_enclosed_parts(mesh) == (mesh, 0)


def prism(outline: list[tuple[float, float]], faces: list[tuple[int, int, int]]) -> Mesh:
    """A prism of height 1 over an outline, counterclockwise; `faces` of it from above."""
    count = len(outline)
    flat = np.array(outline)
    vertices = np.concatenate([np.pad(flat, ((0, 0), (0, 1)), constant_values=end) for end in (0.0, 1.0)])
    around = [(k, (k + 1) % count) for k in range(count)]
    made = [(a, b, b + count) for a, b in around] + [(a, b + count, a + count) for a, b in around]
    lids = [(a, c, b) for a, b, c in faces] + [(a + count, b + count, c + count) for a, b, c in faces]
    return Mesh(vertices, np.array(made + lids))


def test_beside_sharp_edges_the_winding_number_decides() -> None:
    """Before a blade's edge one of its faces looks away though all is outside; below a slit's end one looks there."""
    blade = prism([(-2.0, -2.0), (2.5, -2.0), (2.5, 2.0), (-2.0, 2.0), (-2.0, 1.5), (2.0, 1.5), (2.0, 0.1), (0.0, 0.0),
                   (2.0, -0.1), (2.0, -1.5), (-2.0, -1.5)], [(0, 1, 9), (0, 9, 10), (1, 2, 5), (1, 5, 6), (1, 6, 8),
                   (1, 8, 9), (6, 7, 8), (2, 3, 4), (2, 4, 5)])  # fmt: skip
    assert volume(blade) == pytest.approx(6.2)
    slit = prism([(-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (0.05, 2.0), (0.0, 0.0), (-0.05, 2.0), (-2.0, 2.0)],
                 [(0, 1, 4), (1, 2, 4), (2, 3, 4), (0, 4, 6), (4, 5, 6)])  # fmt: skip
    assert volume(slit) == pytest.approx(15.9)
    for way in (-1.0, 1.0):
        assert count_left(together(blade, box(0.02, 0.02, 0.3, at=(-0.2, 0.1 * way, 0.5))))[1] == 0
        assert count_left(together(slit, ball(0.05, at=(0.012 * way, -0.1, 0.5))))[1] == 1
        assert count_left(together(slit, ball(0.05, at=(0.0, 0.9 + 0.5 * way, 0.5))))[1] == 0  # in the slit


def test_a_reading_tells_what_it_left_out() -> None:
    print_ = together(*(voxels(box_distance(size), 64) for size in ((0.5, 0.4, 0.3), (0.1, 0.1, 0.1))))
    reading = read_surface(print_, faces=12)
    assert reading.strays == 1 and len(reading.proxies[0].faces) == 12
    kept = read_surface(print_, faces=60, clean_up=False)
    assert kept.strays == 0
    nearest = [np.linalg.norm(one.proxies[0].vertices, axis=1).min() for one in (reading, kept)]
    assert nearest[0] > 0.5 > 0.2 > nearest[1]
