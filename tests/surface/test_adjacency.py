"""Half-edges in the order of their edges, at few faces and at many around one vertex."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.topology import component_labels
from flashmesh_core.surface.adjacency import FEW, edge_order, face_areas, face_geometry, joined
from flashmesh_core.surface.manifold import paired, split_fans


def _fan(count: int) -> np.ndarray:
    """Faces of a fan around vertex 0, in an order and with windings by chance."""
    rng = np.random.default_rng(count)
    ring = 1 + np.arange(count)
    faces = np.stack([np.zeros(count, dtype=np.int64), ring, 1 + ring % count], axis=1)
    turned = rng.random(count) < 0.3
    faces[turned] = faces[turned][:, ::-1]
    return rng.permutation(faces).astype(np.int32)


@pytest.mark.parametrize("count", [3, FEW // 2 - 1, FEW, 10 * FEW])
def test_half_edges_follow_each_other_by_edge_and_then_as_they_came(count: int):
    faces = _fan(count)
    order, first, low, high = edge_order(faces, count + 1)
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    np.testing.assert_array_equal(np.stack([low, high], axis=1), ends)
    np.testing.assert_array_equal(order, np.lexsort((ends[:, 1], ends[:, 0])))
    assert len(first) - 1 == len(np.unique(ends, axis=0)) and first[-1] == 3 * count


def test_faces_that_share_a_vertex_are_joined():
    faces = np.random.default_rng(2).integers(0, 90, (20, 3)).astype(np.int32)
    label, count = joined(faces, 90)
    lowest = component_labels(90, np.concatenate([faces[:, :2], faces[:, 1:]]))[faces[:, 0]]
    assert count == len(np.unique(lowest)) == label.max() + 1 > 3
    assert len(np.unique(np.stack([label, lowest], axis=1), axis=0)) == count, "the same parts"
    assert joined(faces[:0], 0)[1] == 0


def test_areas_are_those_of_the_geometry():
    vertices = np.random.default_rng(0).random((30, 3))
    faces = np.random.default_rng(1).integers(0, 30, (50, 3)).astype(np.int32)
    np.testing.assert_array_equal(face_areas(vertices, faces), face_geometry(vertices, faces)[1])


def test_a_vertex_of_several_fans_becomes_several_in_the_order_of_the_corners():
    # an open fan of two faces whose first corner is in its middle, a lone face, and a closed fan at one vertex
    faces = np.array([[0, 1, 2], [0, 3, 1], [4, 0, 5], [0, 6, 7], [0, 7, 8], [0, 8, 6]], dtype=np.int32)
    vertices = np.random.default_rng(0).random((9, 3))
    positions, split = split_fans(vertices, faces, paired(vertices, faces))
    np.testing.assert_array_equal(positions[split], vertices[faces])
    assert split[0, 0] == split[1, 0] and len({split[0, 0], split[2, 1], split[3, 0]}) == 3
    assert split[3, 0] == split[4, 0] == split[5, 0] and len(positions) == 11
    _, where = np.unique(split, return_index=True)
    assert (np.diff(where) > 0).all(), "numbered as they first come"
