"""Single vertices that stick out are put back, tips that somebody made stay."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.spikes import FACES, without_spikes
from tests.surface.shapes import box_distance, joined, voxels

BODY = voxels(box_distance((0.4, 0.3, 0.2)), 96)
EDGE = 1.2 / 95
SIDE = np.flatnonzero((BODY.vertices[:, 2] > 0.199) & (np.abs(BODY.vertices[:, :2]) < 0.15).all(axis=1))[::40]


def pulled(by: float) -> Mesh:
    """The body with vertices of a flat side pulled out."""
    vertices = BODY.vertices.copy()
    vertices[SIDE, 2] += by
    return Mesh(vertices, BODY.faces)


@pytest.mark.parametrize("by", [-0.3, -5.0 * EDGE, 5.0 * EDGE, 0.3])
def test_what_sticks_out_is_put_back(by: float) -> None:
    found, count = without_spikes(pulled(by))
    assert count == len(SIDE) > 10
    assert np.abs(found.vertices - BODY.vertices).max() < EDGE
    np.testing.assert_array_equal(found.faces, BODY.faces)


def test_bumps_stay() -> None:
    mesh = pulled(2.0 * EDGE)
    assert without_spikes(mesh) == (mesh, 0)


def cone(sides: int, rounds: int) -> Mesh:
    """Sixteen times as high as it is wide, its tip one vertex."""
    made = trimesh.creation.cone(0.02, 0.64, sections=sides)
    for _ in range(rounds):
        made = made.subdivide()
    return Mesh(np.asarray(made.vertices), np.asarray(made.faces, dtype=np.int64))


def tower() -> Mesh:
    """Fine walls and a roof of one fan, whose ring is wide."""
    around = np.linspace(0.0, 2.0 * np.pi, 160, endpoint=False)
    rings = [[0.3 * np.cos(a), 0.3 * np.sin(a), z] for z in np.linspace(-0.5, 0.0, 40) for a in around]
    here, there = np.arange(39 * 160), np.arange(39 * 160) // 160 * 160 + (np.arange(39 * 160) + 1) % 160
    walls = np.concatenate([np.stack([here, there, there + 160], 1), np.stack([here, there + 160, here + 160], 1)])
    rim = 39 * 160 + np.arange(160)
    roof = np.stack([rim, np.roll(rim, -1), np.full(160, 40 * 160)], axis=1)
    return Mesh(np.array([*rings, [0.0, 0.0, 0.5]]), np.concatenate([walls, roof]))


@pytest.mark.parametrize(
    "mesh",
    [
        tower(),
        cone(32, 0),  # coarse as a whole
        cone(16, 4),  # fine, with vertices along its sides
        Mesh(*joined(BODY, Mesh(cone(8, 0).vertices * 0.3 + (0.0, 0.0, 0.21), cone(8, 0).faces))),  # of few faces
    ],
    ids=["wide", "coarse", "fine", "of few faces"],
)
def test_tips_stay(mesh: Mesh) -> None:
    assert without_spikes(mesh)[1] == 0
    assert len(cone(8, 0).faces) < FACES < len(cone(16, 4).faces)


def test_a_mesh_is_read_as_without_them() -> None:
    reading, alone = read_surface(pulled(0.3), faces=40), read_surface(BODY, faces=40)
    assert (reading.strays, alone.strays) == (len(SIDE), 0)
    reach = [np.abs(it.box.invert(it.proxies[0].vertices)).max(axis=0) for it in (reading, alone)]
    assert np.abs(reach[0] - reach[1]).max() < 0.5 * EDGE
