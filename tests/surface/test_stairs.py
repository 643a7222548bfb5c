"""Surfaces of voxels are read as what they stand for, others have no stairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.sources import laplacian_smooth
from flashmesh_core.surface.denoising import estimate_noise, typical_edge
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.stairs import STAIRS, stair_noise
from tests.surface.shapes import box_distance, sphere, voxels

HALF = np.array([0.45, 0.3, 0.25])
TURNED = Rotation.from_euler("xyz", [0.2, 0.3, 0.5]).as_matrix()
CELL = 1.2 / 95


def turned_box(points: np.ndarray) -> np.ndarray:
    return box_distance(HALF)(points @ TURNED)


def occupied(points: np.ndarray) -> np.ndarray:
    """In or out: halves lie half way between two nodes."""
    return np.sign(turned_box(points))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_a_lattice_is_noise_of_a_fifth_of_a_voxel(scale: float) -> None:
    mesh = voxels(occupied, 96)
    edge = typical_edge(mesh)
    assert stair_noise(mesh.vertices * scale, edge * scale) == pytest.approx(STAIRS * edge * scale)
    assert 0.1 * CELL < STAIRS * edge < 0.3 * CELL
    assert estimate_noise(mesh) >= STAIRS * edge


def grid() -> Mesh:
    """Flat squares in the x-y plane."""
    x, y = (it.ravel() for it in np.meshgrid(np.arange(40.0), np.arange(40.0)))
    corner = (np.arange(39)[:, None] * 40 + np.arange(39)).ravel()
    faces = np.concatenate([corner[:, None] + [0, 1, 41], corner[:, None] + [0, 41, 40]])
    return Mesh(np.stack([x, y, 0.0 * x], axis=1) / 40.0, faces)


def smoothed() -> Mesh:
    mesh = voxels(occupied, 96)
    return Mesh(laplacian_smooth(mesh, 1), mesh.faces)


def stretched() -> Mesh:
    """On lines that are not evenly apart."""
    mesh = voxels(occupied, 96)
    return Mesh(mesh.vertices + 0.2 * mesh.vertices**2, mesh.faces)


@pytest.mark.parametrize(
    "mesh",
    [voxels(turned_box, 96), voxels(box_distance(HALF), 96), smoothed(), stretched(), grid(), sphere(400, 251)],
    ids=["turned", "upright", "smoothed", "stretched", "flat", "sphere"],
)
def test_others_have_none(mesh: Mesh) -> None:
    assert stair_noise(mesh.vertices, typical_edge(mesh)) == 0.0


@pytest.mark.parametrize(("sides", "turn"), [(5, 0.3), (6, 0.0)])
def test_a_prism_of_voxels_has_its_corners(sides: int, turn: float) -> None:
    """Half of it runs along the lattice, the steps of the other half look like edges."""
    angles = turn + 2.0 * np.pi * np.arange(sides) / sides
    outwards = np.stack([np.cos(angles), np.sin(angles), np.zeros(sides)], axis=1)

    def field(points: np.ndarray) -> np.ndarray:
        return np.sign(np.maximum((points @ outwards.T).max(axis=-1) - 0.4, np.abs(points[..., 2]) - 0.25))

    between = angles + np.pi / sides
    corner = 0.4 / np.cos(np.pi / sides) * np.stack([np.cos(between), np.sin(between)], axis=1)
    corners = np.concatenate([np.insert(corner, 2, height, axis=1) for height in (-0.25, 0.25)])
    reading = read_surface(voxels(field, 96), faces=4 * sides - 4)
    assert cKDTree(reading.box.invert(reading.proxies[0].vertices)).query(corners)[0].max() < CELL
