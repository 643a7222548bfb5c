"""What the model wrote, held against the proxy mesh: what stays, what is replaced, and that all closes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashmesh_core.completion.repair import Repaired, repair
from flashmesh_core.mesh.canonical import canonicalize_bins, vertex_keys
from flashmesh_core.mesh.topology import is_manifold_and_closed
from tests.mesh.shapes import box

SIZE = 64
_HALVES = (20 + 16 * (box()[0] + 0.5)).astype(np.int32)[box()[1]].reshape(2, 6, 3, 3)
CUBE = _HALVES.swapaxes(0, 1).reshape(12, 3, 3)  # bins; the two faces of a side come one after the other


def flipped_diagonal(faces: np.ndarray) -> np.ndarray:
    """The first side of the cube cut along its other diagonal."""
    (a, b, c), (d, e, f) = faces[0], faces[1]
    quad = np.array([a, b, c, f]) if (a == d).all() and (c == e).all() else None
    assert quad is not None
    return np.concatenate([[[quad[0], quad[1], quad[3]], [quad[1], quad[2], quad[3]]], faces[2:]]).astype(np.int32)


def is_closed(made: Repaired) -> bool:
    canonical = canonicalize_bins(
        made.bins.reshape(-1, 3).astype(np.int64), np.arange(3 * len(made.bins)).reshape(-1, 3), SIZE
    )
    manifold, closed = is_manifold_and_closed(canonical.vertices.astype(float), canonical.faces)
    return manifold and closed


def test_a_mesh_like_the_proxy_stays() -> None:
    made = repair(CUBE, CUBE, {}, SIZE)
    assert made.decoded.all() and made.dropped == 0 and len(made.bins) == 12


def test_another_diagonal_stays_the_models() -> None:
    made = repair(flipped_diagonal(CUBE), CUBE, {}, SIZE)
    assert made.decoded.all() and len(made.bins) == 12 and is_closed(made)


def test_what_is_missing_comes_from_the_proxy() -> None:
    made = repair(CUBE[3:], CUBE, {}, SIZE)
    assert made.decoded.sum() == 9 and len(made.bins) == 12 and is_closed(made)


def test_of_a_missing_part_all_comes_from_the_proxy() -> None:
    """A part of which the model wrote nothing has no border, as nothing has none."""
    proxy = np.concatenate([CUBE // 2, CUBE // 2 + 30])
    made = repair(CUBE // 2, proxy, {}, SIZE)
    assert made.decoded.sum() == 12 and len(made.bins) == 24 and is_closed(made)


def test_faces_over_others_and_off_the_surface_go() -> None:
    fin = np.array([[CUBE[0, 0], CUBE[0, 1], [60, 60, 60]]], dtype=np.int32)
    turned = CUBE[4:5, ::-1]
    made = repair(np.concatenate([CUBE, fin, turned]), CUBE, {}, SIZE)
    assert made.dropped == 2 and len(made.bins) == 12 and made.decoded.all() and is_closed(made)


def test_a_dent_with_the_right_border_goes() -> None:
    """Four faces around a vertex inside the cube in place of a side: closed, but far from the surface."""
    side = CUBE[:2]
    corners = [side[0, 0], side[0, 1], side[0, 2], side[1, 2]]
    middle = np.array([28, 28, 28], dtype=np.int32)
    dent = np.array([[corners[k], corners[(k + 1) % 4], middle] for k in range(4)], dtype=np.int32)
    made = repair(np.concatenate([dent, CUBE[2:]]), CUBE, {}, SIZE)
    assert made.dropped == 4 and len(made.bins) == 12 and is_closed(made)


@pytest.mark.parametrize(("noise", "stays"), [(0.0, False), (0.2, True)])
def test_a_shallow_dent_stays_where_the_surface_is_noisy(noise: float, stays: bool) -> None:
    """Four faces around a vertex 0.6 bins below a side, so that places on them are up to 0.4 below."""
    written, below = tent(-0.6)
    made = repair(written, CUBE, below, SIZE, noise=noise)
    assert made.dropped == (0 if stays else 4) and len(made.bins) == (14 if stays else 12) and is_closed(made)


def tent(height: float) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """A cube, four faces around a vertex so many bins above the middle of its first side, and where that vertex is."""
    side = CUBE[:2]
    corners = np.array([side[0, 0], side[0, 1], side[0, 2], side[1, 2]])
    center = corners.mean(axis=0)
    middle = np.round(center).astype(np.int32)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    above = {int(vertex_keys(middle[None], SIZE)[0]): center + height * normal / np.linalg.norm(normal)}
    faces = np.array([[corners[k], corners[(k + 1) % 4], middle] for k in range(4)], dtype=np.int32)
    return np.concatenate([faces, CUBE[2:]]), above


def test_a_side_may_not_be_more_bent_than_the_proxys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tent two bins high: near enough if the surface were that noisy, its area about the same."""
    monkeypatch.setattr("flashmesh_core.completion.repair.TOLERANCE", 2.0)
    for height, stays in ((0.5, True), (2.0, False)):
        written, above = tent(height)
        made = repair(written, CUBE, above, SIZE)
        assert made.dropped == (0 if stays else 4) and is_closed(made)


def test_the_model_may_not_have_many_more_faces() -> None:
    """Each side of a cube cut in four instead of two; one of them may stay so."""
    written, above = [], {}
    for first in range(0, 12, 2):
        side = CUBE[first : first + 2]
        corners = np.array([side[0, 0], side[0, 1], side[0, 2], side[1, 2]])
        middle = np.round(corners.mean(axis=0)).astype(np.int32)
        above[int(vertex_keys(middle[None], SIZE)[0])] = corners.mean(axis=0)
        written += [[corners[k], corners[(k + 1) % 4], middle] for k in range(4)]
    made = repair(np.array(written, dtype=np.int32), CUBE, above, SIZE)
    assert len(made.bins) == 14 and made.decoded.sum() == 4 and is_closed(made)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 12), st.integers(0, 12))
def test_whatever_was_written_the_result_is_closed(seed: int, kept: int, wrong: int) -> None:
    rng = np.random.default_rng(seed)
    corners = np.unique(CUBE.reshape(-1, 3), axis=0)
    some = rng.permutation(flipped_diagonal(CUBE))[:kept]
    others = corners[rng.integers(len(corners), size=(wrong, 3))].astype(np.int32)
    made = repair(np.concatenate([some, others]), CUBE, {}, SIZE)
    assert is_closed(made) and len(made.bins) == 12
    assert made.dropped == kept + wrong - made.decoded.sum()


def test_an_open_proxy_leaves_its_opening() -> None:
    made = repair(CUBE[4:], CUBE[2:], {}, SIZE)
    assert len(made.bins) == 10 and not is_closed(made)


@pytest.mark.parametrize("written", [CUBE[:0], CUBE])
def test_without_a_proxy_nothing_stands(written: np.ndarray) -> None:
    assert len(repair(written, CUBE[:0], {}, SIZE).bins) == 0
