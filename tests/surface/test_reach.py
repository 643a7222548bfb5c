"""A thin limb stays as long as it is, though each edge along it adds little to the error."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.jit import Reference
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.collapse import Collapse, start_collapse
from flashmesh_core.surface.denoising import denoise
from flashmesh_core.surface.quadrics import WIDTH
from flashmesh_core.surface.reach import FAR, dearer, remember
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.simplification import proxies
from tests.surface.shapes import box_distance, cube, voxels

TURNS = np.arange(8) * np.pi / 2.0
TIPS = np.stack([0.5 * np.cos(TURNS), 0.5 * np.sin(TURNS), 0.1 * np.arange(8) - 0.35], axis=1)


def trunk_with_blades(points: np.ndarray) -> np.ndarray:
    """A trunk with eight thin blades, which end at TIPS."""
    distance = box_distance((0.05, 0.05, 0.45))(points)
    for turn, tip in zip(TURNS, TIPS, strict=True):
        x, y, z = np.moveaxis(points - [0.0, 0.0, tip[2]], -1, 0)
        along = np.stack([x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn), z], axis=-1)
        distance = np.minimum(distance, box_distance((0.26, 0.02, 0.006))(along - [0.24, 0.0, 0.0]))
    return distance


@pytest.mark.parametrize("count", [40, 50, 70])
def test_few_faces_keep_every_limb(count: int) -> None:
    """By the errors alone two to four of the blades are gone by then, 0.2 to 0.4 from their tips."""
    found = proxies(denoise(voxels(trunk_with_blades, 128), wanted=count), [count])[0]
    assert len(found.faces) <= count
    assert TriangleTree.of_mesh(found.vertices, found.faces).distance(TIPS).max() < 0.03


def cube_that_remembers(place: tuple[float, float, float]) -> Collapse:
    """A cube of side 1 whose corner 0 remembers a place; all the others remember themselves."""
    mesh = cube()
    rows = np.concatenate([np.zeros((8, WIDTH)), mesh.vertices], axis=1)
    rows[0, WIDTH:] = place
    return start_collapse(mesh.vertices, mesh.faces.astype(np.int32), rows)


@pytest.mark.parametrize(("far", "times"), [(0.0, 1.0), (FAR, 1.0), (2.0 * FAR, 16.0), (3.0 * FAR, 81.0)])
def test_what_is_left_behind_makes_an_edge_dearer(far: float, times: float) -> None:
    """Corner 1, which remembers the same corner as 0 does here, is joined with 0 where that is."""
    state = cube_that_remembers((-0.5, -0.5, -0.5 - far))
    state.quadrics[1, WIDTH:] = state.positions[0]
    assert dearer(Reference(state), 0, 1, -0.5, -0.5, -0.5) == pytest.approx(times)


def test_the_farthest_place_is_remembered() -> None:
    """Corner 1 lies a side from where both are joined, corner 0 remembers what is half a side off."""
    state = cube_that_remembers((-0.5, -0.5, -1.0))
    remember(Reference(state), 1, 0, -0.5, -0.5, -0.5)
    assert state.quadrics[1, WIDTH:].tolist() == state.positions[1].tolist()
    state = cube_that_remembers((-0.5, -0.5, -2.0))
    remember(Reference(state), 1, 0, -0.5, -0.5, -0.5)
    assert state.quadrics[1, WIDTH:].tolist() == [-0.5, -0.5, -2.0]


def test_a_finger_gets_no_longer() -> None:
    """The planes of its sides meet far beyond its tip, where a vertex would cost nothing."""
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.3)
    angle = np.arccos(np.clip(ball.vertices[:, 2] / 0.3, -1.0, 1.0))
    vertices = ball.vertices * (1.0 + np.exp(-((angle / 0.08) ** 4)))[:, None]
    reading = read_surface(Mesh(vertices, ball.faces.astype(np.int64)), faces=40, keep_vertices=False)
    assert abs(reading.proxies[0].vertices[:, 2].max() - 0.5) < 0.03
