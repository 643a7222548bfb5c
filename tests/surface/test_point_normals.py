"""Neighbours of points, once more where some have gone."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.surface.point_normals import nearest_neighbours, neighbours_left


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.985])
def test_who_is_left_has_the_neighbours_that_it_would_have(share):
    """Down to fewer points than neighbours were asked for."""
    rng = np.random.default_rng(0)
    points, gone = rng.random((800, 3)), rng.random(800) < share
    told = nearest_neighbours(points, 16, lambda done: None)
    distance, nearest = neighbours_left(points, *told, gone, lambda done: None)
    expected = nearest_neighbours(points[~gone], 16, lambda done: None)
    np.testing.assert_array_equal(distance, expected[0])
    np.testing.assert_array_equal(nearest, expected[1])


def test_only_those_are_asked_again_that_lost_a_neighbour():
    rng = np.random.default_rng(0)
    points = rng.random((5_000, 3))
    told = nearest_neighbours(points, 16, lambda done: None)
    gone = np.zeros(5_000, dtype=np.bool_)
    none: list[float] = []
    neighbours_left(points, *told, gone, none.append)
    assert none == []
    gone[7], one = True, []
    neighbours_left(points, *told, gone, one.append)
    assert one == [0.0]
