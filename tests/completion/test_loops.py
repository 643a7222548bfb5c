"""Loops of open edges, and how they are closed whatever it looks like."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashmesh_core.completion.loops import Within, excess_loops, open_loops, seal
from flashmesh_core.mesh.canonical import canonicalize_bins, vertex_keys
from flashmesh_core.mesh.topology import topology_report
from tests.mesh.shapes import box, join, sheet, torus

SIZE = 128
ANYWHERE = Within(np.zeros((0, 3)), np.zeros((0, 3)), np.inf)


def bins_of(mesh: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The bins (F, 3, 3) of a mesh's faces, in the middle of the grid."""
    vertices, faces = mesh
    return np.rint(64 + 50 * vertices / np.ptp(vertices, axis=0).max()).astype(np.int64)[faces]


def directed(faces: np.ndarray) -> Counter[tuple[int, int]]:
    """How many faces (F, 3, 3) use each directed edge."""
    keys = vertex_keys(faces, SIZE)
    return Counter((a, b) for f in keys.tolist() for a, b in zip(f, f[1:] + f[:1], strict=True))


def is_watertight(faces: np.ndarray) -> bool:
    mesh = canonicalize_bins(faces.reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3), SIZE)
    assert len(mesh.faces) == len(faces)
    return topology_report(mesh.vertices.astype(float), mesh.faces).is_watertight


def is_top(faces: np.ndarray) -> np.ndarray:
    """Which faces lie at the top, (F,) bool."""
    return faces[:, :, 2].min(axis=1) == faces[:, :, 2].max()


SHAPES = {
    "box": bins_of(box()),
    "ring": bins_of(torus(rings=6, sides=5)),
    "sheet": bins_of(sheet(3, 3)),
    "two": bins_of(join(box(), (box()[0] + 2.0, box()[1]))),
}


@pytest.mark.parametrize("name", SHAPES)
@given(data=st.data())
def test_whatever_is_left_out_the_rest_is_closed(name: str, data: st.DataObject) -> None:
    faces = SHAPES[name]
    kept = faces[sorted(data.draw(st.sets(st.integers(0, len(faces) - 1), min_size=1)))]
    closed = np.concatenate([kept, seal(kept, SIZE, 1000, ANYWHERE)])
    assert max(directed(closed).values()) == 1
    assert is_watertight(closed)
    assert closed.min() >= 0 and closed.max() < SIZE


def test_a_fan_takes_no_place_that_holds_a_vertex() -> None:
    """The middle of the open lid of a box is a vertex already, of a face that lies in the opening."""
    faces = SHAPES["box"]
    lid = is_top(faces)
    middle = faces[lid].reshape(-1, 3).min(axis=0) // 2 + faces[lid].reshape(-1, 3).max(axis=0) // 2
    inside = (middle + np.array([(0, 0, 0), (5, 0, 0), (0, 5, 0)]))[None]
    kept = np.concatenate([faces[~lid], inside])
    closed = np.concatenate([kept, seal(kept, SIZE, 1000, ANYWHERE)])
    assert is_watertight(closed)
    assert len(closed) == len(kept) + 4 + 1


def test_at_a_corner_of_the_grid_a_fan_stays_on_it() -> None:
    corners = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)])
    faces = np.concatenate([corners[[[0, 1, 2], [0, 2, 3]]]])
    made = seal(faces, 2, 1000, ANYWHERE)
    assert len(made) == 4 and made.min() == 0 and made.max() == 1


def test_room_is_kept_and_never_half_a_loop_is_closed() -> None:
    """Two boxes: one lacks a face, the other both of a side, so a loop of three edges and one of four."""
    first, second = SHAPES["two"][:12], SHAPES["two"][12:]
    kept = np.concatenate([first[1:], second[~is_top(second)]])
    assert [len(seal(kept, SIZE, room, ANYWHERE)) for room in (0, 1, 4, 5, 6)] == [0, 1, 1, 5, 5]


def test_only_what_keeps_within_reach_is_closed() -> None:
    """The lid of a box, of which the samples show a dent of ten bins in the middle."""
    faces = SHAPES["box"]
    lid = is_top(faces)
    x, y = (part.ravel() for part in np.meshgrid(np.arange(39, 90), np.arange(39, 90)))
    top = faces[:, :, 2].max()
    samples = np.stack([x, y, np.where(np.hypot(x - 64, y - 64) < 15, top - 10, top)], axis=1)
    normals = np.broadcast_to([0.0, 0.0, 1.0], samples.shape)
    for reach, count in ((3.0, 0), (11.0, 4)):
        assert len(seal(faces[~lid], SIZE, 1000, Within(samples, normals, reach))) == count


@pytest.mark.parametrize(("up", "closed"), [(1.0, 4), (-1.0, 0)])
def test_what_would_face_against_the_surface_is_left_open(up: float, closed: int) -> None:
    """A sheet that covers the surface twice would be made of a loose face and its back."""
    faces = SHAPES["box"]
    x, y = (part.ravel() for part in np.meshgrid(np.arange(39, 90), np.arange(39, 90)))
    samples = np.stack([x, y, np.full(len(x), faces[:, :, 2].max())], axis=1)
    within = Within(samples, np.broadcast_to([0.0, 0.0, up], samples.shape), 6.0)
    assert len(seal(faces[~is_top(faces)], SIZE, 1000, within)) == closed


def test_edges_that_several_faces_use_are_closed_as_often_as_they_lack_a_face() -> None:
    """Three faces at an edge, two of them the same way: no `open_loops` runs through it."""
    fin = np.array([(0, 1, 2), (1, 0, 3), (0, 1, 4)])
    assert not any({0, 1} <= set(loop) for loop in open_loops(fin) if len(loop) == 3)
    loops = excess_loops(fin)
    edges = Counter((a, b) for loop in loops for a, b in zip(loop, loop[1:] + loop[:1], strict=True))
    used = Counter((a, b) for f in fin.tolist() for a, b in zip(f, f[1:] + f[:1], strict=True))
    assert all(used[a, b] + edges[a, b] == used[b, a] + edges[b, a] for a, b in used)
    assert excess_loops(np.array([(0, 1, 2), (0, 2, 1)])) == []
