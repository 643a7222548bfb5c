"""Where the topology takes more faces than there are, handles go before limbs do."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.bridges import knots
from flashmesh_core.surface.denoising import COARSE, denoise, typical_edge
from flashmesh_core.surface.pinholes import border_loops
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.simplification import proxies
from tests.surface.shapes import box, box_distance, joined, perforated, sieve, sphere, voxels

LENGTH = 0.33  # of a rod to either side of its middle


def test_a_heap_of_rods_keeps_their_ends() -> None:
    """Twenty rods through each other, of twelve faces each; with eight their handles are cut, or rods shrink whole."""
    random = np.random.default_rng(0)
    rods = []
    for _ in range(20):
        axes, _ = np.linalg.qr(random.normal(size=(3, 3)))
        rods.append((axes, random.uniform(-0.12, 0.12, 3)))
    rod = box_distance((LENGTH, 0.015, 0.015))
    heap = voxels(lambda points: np.min([rod((points - middle) @ axes.T) for axes, middle in rods], axis=0), 128)
    found = proxies(denoise(heap, wanted=160), [160])[0]
    ends = np.concatenate([[middle + LENGTH * axes[0], middle - LENGTH * axes[0]] for axes, middle in rods])
    off = TriangleTree.of_mesh(found.vertices, found.faces).distance(ends)
    assert len(found.faces) <= 160
    assert (off > 0.05).sum() <= 8 and off.max() < 0.2  # 14 of 40 and 0.27 where handles are looked for just four times


def test_holes_of_a_low_poly_mesh_go_where_their_faces_are_more_than_wanted() -> None:
    """A plate keeps all 64 while there are faces for them; their topology alone takes 658."""
    plate = sieve(8)
    assert typical_edge(plate) > COARSE
    many, few = (read_surface(plate, faces=faces).proxies[0] for faces in (800, 60))
    assert knots(many.faces) == 2 * 64 - 2
    assert 54 <= len(few.faces) <= 60 and knots(few.faces) < 0
    corners = np.array([[x, y, 0.0] for x in (-0.5, 0.5) for y in (-0.5, 0.5)])
    assert TriangleTree.of_mesh(few.vertices, few.faces).distance(corners).max() < 0.06


def test_a_scaffold_of_thick_bars_is_cut_where_its_topology_takes_more_faces_than_wanted() -> None:
    """Bars along the edges of eight cubes, no loop around one below 0.4: 28 handles, of ten faces each or more."""

    def bars(points: np.ndarray) -> np.ndarray:
        off = np.sort(np.abs((points + 0.2) % 0.4 - 0.2), axis=-1)[..., 1]  # from the nearest middle of a bar
        return np.maximum(off - 0.09, np.abs(points).max(axis=-1) - 0.49)

    scaffold = voxels(bars, 48)
    assert knots(scaffold.faces) == 2 * 28 - 2
    found = proxies(denoise(scaffold, wanted=60), [60])[0]
    assert 54 <= len(found.faces) <= 60  # 258 where longer loops stay
    many = proxies(denoise(scaffold, wanted=500), [500])[0]
    assert knots(many.faces) == 2 * 28 - 2


def test_many_small_parts_go_before_a_low_poly_body_loses_its_corners() -> None:
    """Forty pins on a box; each keeps four faces, however few are left."""
    places = [(x, y, 0.08) for x in np.linspace(-0.45, 0.45, 10) for y in np.linspace(-0.15, 0.15, 4)]
    pins = [box(0.02, 0.02, 0.1, at=place) for place in places]
    body = box(1.0, 0.4, 0.1)
    reading = read_surface(Mesh(*joined(body, *pins)), faces=100)
    found = reading.proxies[0]
    assert 90 <= len(found.faces) <= 100
    off = TriangleTree.of_mesh(found.vertices, found.faces).distance(reading.box.apply(body.vertices))
    assert off.max() < 0.01  # 0.14 where the pins stay


def test_holes_of_a_modelled_sheet_are_closed_where_they_cost_too_much() -> None:
    """A sheet with 64 holes needs 200 faces for them; with 40 it is whole, and its border is where it was."""
    plate = sieve(8)
    sheet = Mesh(plate.vertices, plate.faces[face_geometry(plate.vertices, plate.faces)[0][:, 2] > 0.5])
    many, few = (read_surface(sheet, faces=faces).proxies[0] for faces in (500, 40))
    assert knots(many.faces) == 64 - 1
    assert 36 <= len(few.faces) <= 40 and knots(few.faces) < 8
    corners = np.array([[x, y, 0.0] for x in (-0.5, 0.5) for y in (-0.5, 0.5)])
    assert TriangleTree.of_mesh(few.vertices, few.faces).distance(corners).max() < 0.02


def test_a_perforated_sheet_is_not_cut_open_from_hole_to_hole() -> None:
    """What lies between two holes is no bridge, though an edge goes from border to border: 64 holes and one border."""
    sheet = perforated(8)
    proxy = read_surface(sheet, faces=800).proxies[0]
    assert len(border_loops(proxy.faces, len(proxy.vertices))) == 65  # one where all are cut open to each other


def test_holes_go_before_a_body_does() -> None:
    """A sheet with 400 small holes, and a ball on it; the holes alone would cost more than the 300 faces wanted."""
    sheet = perforated(20)
    ball = sphere(32, 16)
    ball = Mesh(6.0 * ball.vertices + (10.0, 10.0, 12.0), ball.faces)
    reading = read_surface(Mesh(*joined(sheet, ball)), faces=300)
    proxy, seen = reading.proxies[0], reading.box.apply(np.concatenate([sheet.vertices, ball.vertices]))
    off = TriangleTree.of_mesh(proxy.vertices, proxy.faces).distance(seen)
    assert 270 <= len(proxy.faces) <= 300
    assert off.max() < 0.03
    assert 20 <= len(border_loops(proxy.faces, len(proxy.vertices))) <= 31


def test_a_body_that_stays_too_large_does_not_go_for_a_longer_part() -> None:
    """A ball swept around an axis, with walls between its stages, can't be had with few faces; a bar beside it can."""
    ball, steps = sphere(12, 7), 8
    edges = np.unique(np.sort(ball.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    vertices, faces = [], []
    for step in range(steps):
        (start, end), (onward, last) = (edges.T + number % steps * len(ball.vertices) for number in (step, step + 1))
        turn = 2.0 * np.pi * step / steps
        x, y, z = ball.vertices.T + np.array([[0.0], [0.3], [0.0]])
        vertices.append(np.c_[x, np.cos(turn) * y - np.sin(turn) * z, np.sin(turn) * y + np.cos(turn) * z])
        faces += [ball.faces + step * len(ball.vertices), np.c_[start, end, last], np.c_[start, last, onward]]
    body = Mesh(np.concatenate(vertices), np.concatenate(faces))
    reading = read_surface(Mesh(*joined(body, box(4.0, 0.1, 0.1, at=(0.0, 2.0, 0.0)))), faces=100)
    ends = reading.box.apply(body.vertices)
    proxy = reading.proxies[0]
    assert TriangleTree.of_mesh(proxy.vertices, proxy.faces).distance(ends).max() < 0.1
