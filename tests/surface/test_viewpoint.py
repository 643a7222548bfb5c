"""What one camera saw from the origin is told from what was scanned from all around, and faces the camera."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import trimesh

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import face_geometry
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.reconstruction import reconstruct
from flashmesh_core.surface.viewpoint import LOOKED_AT, sight
from tests.surface.shapes import cloud_of, seen_by_camera, volume

BOX = trimesh.creation.box((1.0, 0.6, 0.4))
SLAB = trimesh.creation.box((1.0, 0.6, 0.06))


def noisy(points: np.ndarray, noise: float = 0.001) -> np.ndarray:
    return points + np.random.default_rng(1).normal(size=points.shape) * noise


def share_facing(mesh: Mesh, viewpoint: np.ndarray) -> float:
    """The share of a mesh's area that faces the viewpoint."""
    normals, areas, centers = face_geometry(mesh.vertices, mesh.faces.astype(np.int32))
    facing = np.einsum("ij,ij->i", normals, viewpoint - centers) > 0.0
    return float(areas[facing].sum() / areas.sum())


def test_all_that_a_camera_saw_is_seen_from_its_place_and_from_no_other():
    points = noisy(seen_by_camera()[0])
    assert sight(points) == (True, True)
    nothing = np.zeros((5_000, 3))  # as cameras write where they see nothing
    assert sight(np.concatenate([points, nothing])) == (True, True)
    assert sight(points * 1000.0) == (True, True), "in any unit"
    assert sight(points - (0.0, 0.0, 8.0)) == (False, False), "from behind"
    assert sight(points - (-3.0, 0.0, -2.0)) == (False, False), "from aside"
    assert sight(points[::100]) == (False, False), "too few to tell"
    many = noisy(np.repeat(points, 4, axis=0)[: LOOKED_AT + 50_000])
    assert sight(many) == (True, True)


@pytest.mark.parametrize("at", [(0.0, 0.0, 0.0), (0.0, 0.0, 0.2), (0.0, 0.0, 0.7), (0.0, 0.0, 3.0), (2.0, 1.0, 3.0)])
def test_a_body_scanned_from_all_around_is_not_seen_whole(at):
    points = cloud_of(BOX, 20_000, 0.001)[0]
    assert sight(points + at) == (False, False)


def test_one_sheet_is_seen_whole_but_tells_no_side():
    wall = np.random.default_rng(0).uniform(-1.0, 1.0, (10_000, 3)) * (1.0, 1.0, 0.0) + (0.0, 0.0, 3.0)
    assert sight(noisy(wall)) == (True, False)


def test_no_cloud_from_a_camera_is_one_point_or_a_line():
    assert sight(np.full((3_000, 3), 2.0)) == (False, False)
    assert sight(np.linspace(1.0, 2.0, 3_000)[:, None] * np.ones(3)) == (False, False)


def test_clumps_far_apart_need_no_image_of_all_that_is_between():
    clumps = np.random.default_rng(0).normal(0.0, 1e-5, (50_000, 3)) - (0.0, 0.0, 1.0)
    clumps[::2] += (0.5, 0.5, 0.0)
    tracemalloc.start()
    assert not sight(clumps).sees_several
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 500e6


def test_sheets_that_do_not_touch_face_the_camera():
    """The table top is seen from above, the board from its front, the wall from inside of the room."""
    points = noisy(seen_by_camera()[0])
    reading = read_surface(points, faces=60)
    origin = reading.box.apply(np.zeros(3))
    for mesh in (reading.surface, reading.proxies[0]):
        assert share_facing(mesh, origin) > 0.97


def test_nothing_hangs_behind_what_was_seen():
    """A ball before a wall is half a ball."""
    rays = seen_by_camera()[0]
    rays /= rays[:, 2:]
    along = rays @ (0.1, 0.0, 1.5)
    square = (rays**2).sum(axis=1)
    hit = along**2 - square * (0.1**2 + 1.5**2 - 0.2**2)
    depth = np.where(hit > 0.0, (along - np.sqrt(np.maximum(hit, 0.0))) / square, 2.5)
    points = noisy(rays * depth[:, None])
    reading = read_surface(points, faces=100)
    surface = Mesh(reading.box.invert(reading.surface.vertices), reading.surface.faces)
    assert share_facing(surface, np.zeros(3)) > 0.985
    assert not (np.abs(surface.triangles.mean(axis=1)[:, 2] - 2.1) < 0.2).any(), "nor between near and far"


def test_many_things_before_a_wall_hide_nothing():
    """Where each begins, a bin shows both."""
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (40_000, 3))
    points[:, 2] = np.where(points[:, 0] % 0.05 < 0.02, 1.0, 2.0)
    points[:, :2] *= points[:, 2:]
    assert sight(noisy(points)) == (True, True)


def test_steps_of_depth_count_where_no_bin_shows_both_sides():
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (20_000, 3)) * (0.3, 0.2, 0.0)
    side = np.sqrt(4.0 * 0.24 / 20_000)
    points = points[np.abs(points[:, 0]) > 0.49 * side]
    points[:, 2] = np.where(points[:, 0] < 0.0, 2.0, 3.0)
    points[:, :2] *= points[:, 2:]
    assert sight(noisy(points)) == (True, True)


def test_one_sheet_has_the_same_side_wherever_its_origin_is():
    """A landscape above the origin of its space is not seen from below."""
    x, y = np.random.default_rng(0).uniform(-1.0, 1.0, (2, 15_000))
    land = noisy(np.stack([x, y, 0.3 * np.cos(2.0 * x) * np.cos(2.0 * y)], axis=1))
    up = [
        face_geometry(made.vertices, made.faces.astype(np.int32))[0][:, 2].mean()
        for made in (read_surface(land - np.array([0.0, 0.0, height]), faces=40).surface for height in (3.0, -3.0))
    ]
    assert up[0] * up[1] > 0.0


@pytest.mark.parametrize("viewpoint", [(0.3, 0.2, 4.0), (0.3, 0.2, -4.0)])
def test_a_slab_keeps_its_two_sides_wherever_it_is_seen_from(viewpoint):
    made = reconstruct(cloud_of(SLAB, 30_000, 0.0005)[0], None, viewpoint=np.array(viewpoint))
    assert made is not None and made.is_closed
    assert volume(made.mesh) > 0.0
