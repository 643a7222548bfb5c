"""Small pieces in the air are left out, what somebody may have meant stays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import component_labels
from flashmesh_core.surface.isolated import SMALL, without_isolated_pieces
from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import box, box_corners, box_distance, cards, joined, sphere, voxels

BODY = sphere(80, 41)  # of a longest side of 1


def ball(size: float, *place: float) -> Mesh:
    return Mesh(sphere(8, 5).vertices * size + place, sphere(8, 5).faces)


def left_out(*pieces: Mesh) -> int:
    """How many of `pieces` beside the body; what stays is unchanged."""
    mesh = Mesh(*joined(BODY, *pieces))
    rest, count = without_isolated_pieces(mesh)
    assert len(rest.faces) == len(mesh.faces) - sum(len(piece.faces) for piece in pieces[len(pieces) - count :])
    np.testing.assert_array_equal(rest.vertices[rest.faces], mesh.vertices[mesh.faces][: len(rest.faces)])
    return count


@pytest.mark.parametrize(
    ("pieces", "count"),
    [
        ([ball(0.01, 0.0, 0.0, 0.7)], 1),
        ([ball(0.01, 0.0, 0.0, 0.0)], 1),  # a bubble inside
        ([ball(0.01, 0.0, 0.0, 0.7 + k) for k in range(30)], 30),
        ([ball(0.01, 0.0, 0.0, 0.7), ball(0.01, 0.0, 0.0, 0.715)], 2),
        ([ball(1.1 * SMALL, 0.0, 0.0, 0.7)], 0),  # large enough to be seen
        ([ball(0.02, 0.0, 0.0, 0.525)], 0),  # 0.015 from the body
        ([ball(0.02, 0.0, 0.0, 0.545)], 1),  # 0.035
        ([ball(0.02, 0.0, 0.0, 0.52 + 0.03 * k) for k in range(8)], 0),  # a row that starts there
        ([ball(0.02, 0.0, 0.0, 0.52 + 0.03 * k) for k in range(8)] + [ball(0.02, 0.0, 0.0, 0.85)], 1),
    ],
)
def test_what_is_short_and_far_goes(pieces: list[Mesh], count: int) -> None:
    assert left_out(*pieces) == count


def test_many_leaves_are_no_accident() -> None:
    """Each of them is short and far from all others, and together they are most of the tree."""
    trunk = box(0.02, 0.02, 1.0)
    leaves = [
        box(0.015, 0.015, 0.0005, at=(0.1 * i, 0.1 * j, 0.1 * k)) for i in (2, 3, 4) for j in (2, 3) for k in range(8)
    ]
    assert without_isolated_pieces(Mesh(*joined(trunk, *leaves)))[1] == 0
    assert without_isolated_pieces(Mesh(*joined(trunk, *leaves[:5])))[1] == 5
    assert without_isolated_pieces(cards(300))[1] == 0


def test_a_mesh_is_read_as_without_them() -> None:
    """In its own box, however far a piece is; with `keep_vertices` everything stays."""
    half = np.array([0.4, 0.3, 0.2])
    body, corners = voxels(box_distance(half), 96), box_corners(half)
    near, far = ball(0.01, 0.3, 0.0, 0.4), ball(0.01, 0.0, 40.0, 0.0)
    for pieces in ([], [near], [near, far]):
        strewn = Mesh(*joined(body, *pieces))
        reading = read_surface(strewn, faces=20)
        assert reading.strays == len(pieces) and reading.is_closed and reading.box.scale == pytest.approx(0.8, rel=0.02)
        assert cKDTree(reading.box.invert(reading.proxies[0].vertices)).query(corners)[0].max() < 0.012
        kept = read_surface(strewn, faces=20, keep_vertices=True)
        assert kept.strays == 0 and len(kept.surface.faces) == len(strewn.faces)
    as_it_is = read_surface(strewn, faces=40, clean_up=False)
    assert as_it_is.strays == 0 and as_it_is.box.scale == pytest.approx(np.ptp(strewn.vertices, axis=0).max())


def test_crumbs_beside_a_body_do_not_take_its_faces() -> None:
    """Forty that are too large to be left out, each of which would keep four faces; the body needs 60."""
    places = np.random.default_rng(2).normal(size=(40, 3))
    places *= 0.75 / np.linalg.norm(places, axis=1)[:, None]
    found = read_surface(Mesh(*joined(BODY, *(ball(0.04, *place) for place in places))), faces=60).proxies[0]
    labels = component_labels(len(found.vertices), np.concatenate([found.faces[:, :2], found.faces[:, 1:]]))
    largest = np.bincount(labels[found.faces[:, 0]]).max()
    assert len(found.faces) <= 60 and largest >= 48
