"""Patches: walks go straight over edges, stop at borders, and a mirrored surface has the mirrored patch."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.patches import CHANNELS, DIRECTIONS, RADII, Patches, patches_of, sample
from tests.surface.shapes import grid, sphere

EDGE = 0.05
FLAT = grid(30)  # in the plane z = 0
MIDDLE = int(np.linalg.norm(FLAT.triangles.mean(axis=1) - FLAT.vertices.mean(axis=0), axis=1).argmin())


def bent(points: np.ndarray, angle: float, at: float) -> np.ndarray:
    """What lies beyond x = `at` turned upwards by `angle` about that line."""
    beyond = np.maximum(points[:, 0] - at, 0.0)
    up = np.stack([beyond * (np.cos(angle) - 1.0), 0.0 * beyond, beyond * np.sin(angle)], axis=1)
    return points + up


def samples_at(patches: Patches, face: int) -> np.ndarray:
    """(DIRECTIONS, distances, CHANNELS)"""
    return sample(patches, np.array([face]), EDGE).reshape(DIRECTIONS, len(RADII), CHANNELS).astype(np.float64)


def places(patches: Patches, face: int) -> np.ndarray:
    """The samples' places (N, 3) in the space of the mesh."""
    local = samples_at(patches, face)[..., :3].reshape(-1, 3) * EDGE
    return patches.centers[face] + local @ patches.frames[face]


def test_a_plane_is_sampled_at_all_distances():
    found = samples_at(patches_of(FLAT.vertices, FLAT.faces), MIDDLE)
    np.testing.assert_allclose(found[..., 2:], np.broadcast_to([0.0, 0.0, 0.0, 1.0], found[..., 2:].shape), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found[..., :2], axis=-1), np.tile(RADII, (DIRECTIONS, 1)), rtol=1e-5)


@pytest.mark.parametrize("angle", [-1.2, 0.7, 1.57])
def test_walks_go_straight_over_a_bend(angle):
    """Unbent again, the places are those on a plane: as far as the walk was long, in directions 45 degrees apart."""
    at = float(FLAT.vertices[:, 0].mean()) + 0.1
    column = FLAT.vertices[np.abs(FLAT.vertices[:, 0] - at).argmin(), 0]  # the bend runs along edges
    found = places(patches_of(bent(FLAT.vertices, angle, column), FLAT.faces), MIDDLE)
    up = found[:, 2] / np.sin(angle)  # how far beyond the bend
    flat = np.where((up > 1e-6)[:, None], np.stack([column + up, found[:, 1], 0.0 * up], axis=1), found)
    away = (flat - FLAT.triangles[MIDDLE].mean(axis=0)).reshape(DIRECTIONS, len(RADII), 3)
    assert (up > 0.02).any()
    np.testing.assert_allclose(np.linalg.norm(away, axis=-1), np.tile(RADII, (DIRECTIONS, 1)) * EDGE, rtol=1e-4)
    turn = np.arctan2(away[..., 1], away[..., 0])
    steps = np.diff(np.unwrap(turn[:, -1]))
    np.testing.assert_allclose(np.abs(steps), 2 * np.pi / DIRECTIONS, rtol=1e-2)
    np.testing.assert_allclose(np.cos(turn - turn[:, -1:]), 1.0, atol=1e-5)


def test_a_walk_ends_at_an_open_edge():
    low, high = FLAT.vertices[:, 0].min(), FLAT.vertices[:, 0].max()
    corner = int(FLAT.triangles.mean(axis=1)[:, 0].argmin())
    patches = patches_of(FLAT.vertices, FLAT.faces)
    found, where = samples_at(patches, corner).reshape(-1, CHANNELS), places(patches, corner)
    cut = (found[:, 3:] == 0.0).all(axis=1)
    assert cut.any() and not cut.all()
    assert (where[:, 0] >= low - 1e-6).all() and (where[:, 0] <= high + 1e-6).all()
    on_border = np.isclose(where, FLAT.vertices.min(axis=0), atol=1e-5) | np.isclose(
        where, FLAT.vertices.max(axis=0), atol=1e-5
    )
    assert on_border[cut][:, :2].any(axis=1).all()


def test_a_turned_surface_has_the_same_patches():
    """But for the signs of the two axes in the surface."""
    mesh = sphere(40, 24)
    squeezed = mesh.vertices * [1.0, 0.7, 0.4]
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    first, second = patches_of(squeezed, mesh.faces), patches_of(squeezed @ turn.T, mesh.faces)
    for face in (101, 500, 900):
        found = np.sort(np.abs(samples_at(first, face)).reshape(-1, CHANNELS), axis=0)
        again = np.sort(np.abs(samples_at(second, face)).reshape(-1, CHANNELS), axis=0)
        np.testing.assert_allclose(found, again, atol=2e-3)


def test_mirrored_samples_are_those_of_the_mirrored_surface():
    torch = pytest.importorskip("torch")
    from training.fit_planes import mirrored

    mesh = sphere(40, 24)
    squeezed = mesh.vertices * [1.0, 0.7, 0.4]
    other = Mesh(squeezed * [-1.0, 1.0, 1.0], mesh.faces[:, [0, 2, 1]])
    first, second = patches_of(squeezed, mesh.faces), patches_of(other.vertices, other.faces)
    for face in (101, 500, 900):
        one, two = (torch.from_numpy(sample(patches, np.array([face]), EDGE)) for patches in (first, second))
        off = {}
        for flip in product((False, True), repeat=2):
            found, _ = mirrored(one, torch.zeros(1, 3), (torch.tensor([flip[0]]), torch.tensor([flip[1]])))
            off[flip] = float((found - two).abs().max())
        best = min(off, key=off.__getitem__)
        assert off[best] < 2e-3 and best[0] != best[1], off
