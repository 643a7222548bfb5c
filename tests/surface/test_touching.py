"""A part of a proxy does not touch itself; what that costs is little."""

from __future__ import annotations

import numpy as np
import pytest
from pytest import approx

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.handles import cut_handles
from flashmesh_core.surface.touching import SLIT, without_touching_caps, without_touching_edges
from tests.mesh.shapes import box
from tests.surface.shapes import volume
from tests.surface.test_handles import three_sided_ring


def pinched_ring(depth: float) -> tuple[np.ndarray, np.ndarray]:
    """A ring cut open, wound outwards, its two caps at the same place along one edge, third corners so far apart."""
    vertices, faces = three_sided_ring(0.4, 0.1)
    positions, _, cut = cut_handles(vertices, np.zeros((len(vertices), 1)), faces, 1.0)
    doubled = np.arange(len(vertices), len(positions))
    positions = positions.copy()
    positions[doubled[0]] += (0.0, depth, 0.0)
    return positions, cut[:, ::-1]


def test_caps_that_lie_on_each_other_are_joined_again() -> None:
    """What a cut leaves is closed, but welded its caps would be two faces with the same corners."""
    vertices, faces = three_sided_ring(0.4, 0.01)
    positions, _, cut = cut_handles(vertices, np.zeros((len(vertices), 1)), faces, 0.1)
    assert len(np.unique(positions, axis=0)) < len(positions)
    found, joined = without_touching_caps(positions, cut)
    assert is_manifold_and_closed(found, joined) == (True, True)
    assert len(found) == len(np.unique(found, axis=0)) == len(vertices) and len(joined) == len(faces)
    assert sorted(map(tuple, np.sort(found[joined].reshape(-1, 9), axis=1))) == sorted(
        map(tuple, np.sort(vertices[faces].reshape(-1, 9), axis=1))
    )
    apart = positions + 1e-3 * np.arange(len(positions))[:, None]
    assert without_touching_caps(apart, cut)[1] is cut


@pytest.mark.parametrize("turned", [False, True])
def test_the_ends_of_an_edge_that_touches_another_of_its_part_are_drawn_in(turned: bool) -> None:
    positions, cut = pinched_ring(0.05)
    if turned:  # the copies of the edge's ends in the other order
        last = len(positions) - 1
        order = np.arange(len(positions))
        order[[last, last - 1]] = last - 1, last
        positions, cut = positions[order], order.astype(cut.dtype)[cut]
    assert is_manifold_and_closed(positions, cut) == (False, True)
    found = without_touching_edges(positions, cut)
    assert is_manifold_and_closed(found, cut) == (True, True)
    moved = np.linalg.norm(found - positions, axis=1)
    assert (moved > 0.0).sum() == 4 and moved.max() == approx(SLIT)  # two ends of two edges
    smaller = volume(Mesh(found, cut.astype(np.int64))) / volume(Mesh(positions, cut.astype(np.int64)))
    assert 0.98 < smaller < 1.0  # inwards, and hardly


def test_parts_side_by_side_keep_the_edge_they_share() -> None:
    corners, sides = box()
    vertices = np.concatenate([corners, np.add(corners, (1.0, 1.0, 0.0))])
    faces = np.concatenate([sides, sides + len(corners)]).astype(np.int32)
    assert is_manifold_and_closed(vertices, faces) == (False, True)
    assert (without_touching_edges(vertices, faces) == vertices).all()


def test_what_does_not_touch_itself_stays_as_it_is() -> None:
    vertices, faces = three_sided_ring(0.4, 0.1)
    assert without_touching_edges(vertices, faces) is vertices
    assert without_touching_caps(vertices, faces)[1] is faces
