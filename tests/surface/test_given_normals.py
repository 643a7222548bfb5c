"""Which of a cloud's given normals are believed."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.surface.given_normals import believed
from flashmesh_core.surface.point_normals import nearest_neighbours
from flashmesh_core.surface.reconstruction import reconstruct
from tests.surface.shapes import box, cloud_of

SIZE = np.array([0.8, 0.8, 0.6])


def blocks(counts: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals of so many equal blocks side by side, which fill a box of SIZE."""
    side = SIZE / counts
    parts = [box(*side, at=tuple((np.array(at) + 0.5) * side - 0.5 * SIZE)) for at in np.ndindex(*counts)]
    return cloud_of(
        trimesh.util.concatenate([trimesh.Trimesh(part.vertices, part.faces) for part in parts]), 20_000, 0.0005
    )


def asked(points: np.ndarray, normals: np.ndarray) -> np.ndarray | None:
    distance, nearest = nearest_neighbours(points, 32, lambda share: None)
    return believed(points, normals, nearest, float(distance[:, 5].mean()))


@pytest.mark.parametrize("counts", [(2, 2, 2), (8, 2, 1), (4, 4, 4)])
def test_normals_of_parts_that_touch_are_believed(counts: tuple[int, int, int]) -> None:
    points, normals = blocks(counts)
    found = asked(points, normals)
    assert found is not None and (found == normals).all(axis=1).mean() > 0.999


@pytest.mark.parametrize("share", [0.4, 0.5])
def test_sides_that_were_guessed_are_not(share: float) -> None:
    points, normals = blocks((1, 1, 1))
    assert asked(points, normals) is not None
    guessed = np.random.default_rng(2).random(len(points)) < share
    assert asked(points, np.where(guessed[:, None], -normals, normals)) is None


def test_both_sides_of_a_sheet_are_not() -> None:
    flat = np.random.default_rng(3).uniform(-0.4, 0.4, (10_000, 3)) * (1.0, 1.0, 0.0)
    up = np.where(np.arange(len(flat))[:, None] % 2, 1.0, -1.0) * (0.0, 0.0, 1.0)
    rest = np.random.default_rng(4).uniform(-0.4, 0.4, (10_000, 3)) * (1.0, 0.0, 1.0) + (0.0, 0.5, 0.0)
    normals = np.concatenate([up, np.tile((0.0, 1.0, 0.0), (len(rest), 1))])
    assert asked(np.concatenate([flat, rest]), normals) is None


@pytest.mark.parametrize("counts", [(2, 2, 2), (6, 1, 1)])
def test_parts_that_touch_come_out_as_one_body(counts: tuple[int, int, int]) -> None:
    made = reconstruct(*blocks(counts))
    assert made is not None and made.is_closed
    body = trimesh.Trimesh(made.mesh.vertices, made.mesh.faces, process=False)
    assert body.volume == pytest.approx(SIZE.prod(), rel=0.01) and body.euler_number > -20
