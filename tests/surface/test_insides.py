"""Samples on the hidden sides of parts that touch or run through each other."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from flashmesh_core.surface.insides import without_hidden
from flashmesh_core.surface.reconstruction import reconstruct
from flashmesh_core.surface.samples import read_samples
from flashmesh_core.surface.winding import Grid
from tests.surface.shapes import cloud_of


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> trimesh.Trimesh:
    return trimesh.creation.box(bounds=(low, high))


def joined(parts: list[trimesh.Trimesh]) -> tuple[np.ndarray, np.ndarray]:
    return cloud_of(trimesh.util.concatenate(parts), 16_384, 0.0005)


def seen_of(parts: list[trimesh.Trimesh]) -> tuple[int, np.ndarray]:
    """How many samples there are, and the places (N, 3) of those that are seen."""
    samples = read_samples(*joined(parts), lambda stage, share: None)
    grid = Grid.around(samples.points, 1 / 160, 0.05)
    seen, field = without_hidden(samples, grid, 1 / 160, lambda stage, share: None)
    assert field.shape == grid.shape
    return len(samples.points), seen.points


POST = [box((-0.45, -0.45, -0.3), (0.45, 0.45, 0.0)), box((-0.1, -0.1, -0.15), (0.1, 0.1, 0.4))]  # stuck into a base
PLANKS = [box((-0.45, -0.3, -0.1), (0.0, 0.3, 0.1)), box((0.0, -0.3, -0.1), (0.45, 0.3, 0.1))]  # side by side


def test_samples_of_a_post_in_its_base_go() -> None:
    count, seen = seen_of(POST)
    hidden = (np.abs(seen[:, :2]).max(axis=1) < 0.105) & (seen[:, 2] < -0.02) & (seen[:, 2] > -0.28)
    assert hidden.sum() == 0
    total = sum(part.area for part in POST)
    assert len(seen) / count == pytest.approx(1.0 - (0.04 + 0.04 + 4 * 0.2 * 0.15) / total, abs=0.01)


def test_nothing_goes_where_nothing_is_hidden() -> None:
    count, seen = seen_of([box((-0.45, -0.3, -0.1), (0.45, 0.3, 0.1))])
    assert len(seen) == count
    count, seen = seen_of([box((-0.45, -0.3, -0.1), (-0.05, 0.3, 0.1)), box((0.05, -0.3, -0.1), (0.45, 0.3, 0.1))])
    assert len(seen) == count


def test_the_few_of_a_small_contact_stay() -> None:
    """Less than 1.5 % cannot be told from samples that lie deep in creases."""
    count, seen = seen_of([POST[0], box((-0.03, -0.03, 0.0), (0.03, 0.03, 0.45))])
    assert len(seen) == count


@pytest.mark.parametrize("given", [True, False], ids=["normals", "bare"])
@pytest.mark.parametrize("parts", [POST, PLANKS], ids=["post", "planks"])
def test_parts_that_touch_become_one_surface(parts: list[trimesh.Trimesh], given: bool) -> None:
    points, normals = joined(parts)
    result = reconstruct(points, normals if given else None)
    assert result is not None
    made = trimesh.Trimesh(result.mesh.vertices, result.mesh.faces)
    assert made.is_watertight and made.body_count == 1
    assert not given or made.euler_number == 2  # without normals a handle or two is left where parts meet
    inside = parts[0].volume + parts[1].volume - (0.2 * 0.2 * 0.15 if parts is POST else 0.0)
    assert made.volume == pytest.approx(inside, rel=0.02)
