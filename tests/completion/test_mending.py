"""Repair without the gate: what the model wrote stays where it fits, holes and crossings are mended."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.completion.holes import count_open_vertices
from flashmesh_core.completion.mending import crossings, deviations, mend
from flashmesh_core.completion.repair import Repaired
from flashmesh_core.decode.source import Source
from flashmesh_core.mesh.canonical import Mesh
from tests.completion.test_holes import CUBE, push_faces
from tests.state.builders import empty, prepare

SOURCE, CANONICAL, SURFACE = prepare(CUBE)
FACES = CANONICAL.vertices[CANONICAL.faces]


def mended(written: np.ndarray, closed: bool = True) -> Repaired:
    state = empty(SURFACE)
    push_faces(state, written)
    before = state.faces().copy()
    source: Source = SOURCE
    made = mend(state, source.proxy_bins, source.places.positions_of(before, 128), source.surface.tree, closed=closed)
    np.testing.assert_array_equal(state.faces(), before)
    return made


def test_a_whole_mesh_stays() -> None:
    made = mended(FACES)
    assert made.decoded.all() and made.dropped == 0 and len(made.bins) == 12


@pytest.mark.parametrize("missing", [(3,), (2, 3, 7), (0, 4, 8, 11)])
def test_holes_are_closed(missing: tuple[int, ...]) -> None:
    made = mended(np.delete(FACES, missing, axis=0))
    assert made.decoded.sum() == 12 - len(missing) and made.dropped == 0
    assert len(made.bins) == 12 and not count_open_vertices(made.bins)


def test_what_the_gate_would_replace_stays_where_it_fits() -> None:
    """A shallow tent of four faces, a bin high, in place of a side of two."""
    side = [number for number, face in enumerate(FACES) if (face[:, 2] == FACES[:, :, 2].min()).all()]
    assert len(side) == 2
    loop = np.unique(FACES[side].reshape(-1, 3), axis=0)[[0, 1, 3, 2]]  # either way around: both are tried
    middle = loop.mean(axis=0).round().astype(loop.dtype) - [0, 0, 1]
    fan = np.array([[loop[k], loop[(k + 1) % 4], middle] for k in range(4)])
    others = np.delete(FACES, side, axis=0)
    for tent in (fan, fan[:, ::-1]):
        low = [np.lexsort((face[:, 0], face[:, 1], face[:, 2]))[0] for face in tent]
        turned = np.array([np.roll(face, -first, axis=0) for face, first in zip(tent, low, strict=True)])
        made = mended(np.concatenate([turned, others]))
        if not count_open_vertices(np.concatenate([tent, others])) and made.dropped == 0:
            break
    assert made.dropped == 0 and len(made.bins) == 14 and made.decoded.all()


def test_faces_off_the_surface_and_over_used_edges_go() -> None:
    center = FACES.reshape(-1, 3).mean(axis=0).round().astype(FACES.dtype)
    inside = np.stack([FACES[0, 0], FACES[0, 1], center])[None]
    made = mended(np.concatenate([FACES, inside]))
    assert made.dropped == 1 and len(made.bins) == 12 and made.decoded.all()


def test_an_open_source_keeps_its_opening() -> None:
    """Both faces of a side are missing, and of an open source nothing says that they should be there."""
    square = Mesh(CUBE.vertices, CUBE.faces[2:])
    source, canonical, surface = prepare(square)
    state = empty(surface)
    written = canonical.vertices[canonical.faces]
    push_faces(state, written)
    corners = source.places.positions_of(written, 128)
    made = mend(state, source.proxy_bins, corners, source.surface.tree, closed=source.is_closed)
    assert not source.is_closed and len(made.bins) == 10 and made.decoded.all()


def test_triangles_that_pierce_each_other_cross() -> None:
    flat = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    through = np.array([[0.2, 0.2, -1.0], [0.2, 0.2, 1.0], [0.3, 5.0, 0.0]])
    beside = through + np.array([3.0, 0.0, 0.0])
    keys = np.arange(9).reshape(3, 3)
    assert crossings(np.stack([flat, through, beside]), keys) == [(0, 1)]
    assert crossings(np.stack([through, flat, flat + np.array([0, 0, 0.1])]), keys) == [(0, 1), (0, 2)]
    assert crossings(np.stack([flat, through]), np.array([[0, 1, 2], [0, 3, 4]])) == []  # they share a vertex
    assert crossings(np.stack([flat, flat + np.array([0.1, 0.1, 0.0])]), keys[:2]) == []  # in one plane


def test_the_deviation_is_the_largest_of_a_face() -> None:
    corners = SOURCE.places.positions_of(FACES, 128)
    assert deviations(corners, SOURCE.surface.tree).max() < 0.01
    moved = corners[:1] + np.array([0.0, 0.0, -0.3])
    assert deviations(np.concatenate([corners, moved]), SOURCE.surface.tree)[-1] > 0.25
    assert deviations(corners[:0], SOURCE.surface.tree).shape == (0,)
