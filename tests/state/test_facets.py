"""Distances from the triangles of the proxy mesh."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.state.arrays import make_surface
from flashmesh_core.state.facets import FACET_CELLS, OFF, REACH, distance_to_facets, index_facets
from flashmesh_core.state.fit import MAX_DEVIATION, deviation
from flashmesh_core.state.half_edges import find_vertex
from flashmesh_core.state.mesh_state import MeshState
from tests.state.builders import empty, prepare

ANY = (0.0, 0.0, 0.0)
SIZES = st.sampled_from([20, 64, 128, 300])


def far(index: tuple[np.ndarray, ...], size: int, place: np.ndarray, facing=ANY, least: float = -1.0) -> float:
    return distance_to_facets(*index, FACET_CELLS / size, tuple(place), facing, least)


@given(size=SIZES, seed=st.integers(0, 10_000))
def test_distances_are_those_to_the_nearest_triangle(size: int, seed: int) -> None:
    """Within reach; beyond it there is none. Triangles of all sizes, places on them, near them and anywhere."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, size, (6, 1, 3)) + rng.integers(-size, size, (6, 3, 3)) // rng.integers(1, 20, (6, 1, 1))
    facets = np.clip(corners, 0, size - 1)
    index = index_facets(facets, size)
    weights = rng.dirichlet(np.ones(3), (6, 5))
    on_them = np.einsum("fpc,fcx->fpx", weights, facets).reshape(-1, 3)
    places = np.concatenate([on_them, on_them + rng.normal(0, 1, on_them.shape), rng.uniform(0, size - 1, (20, 3))])
    places = np.clip(places, 0, size - 1)
    expected = np.full(len(places), np.inf)
    for facet in index[0]:
        nearest = trimesh.triangles.closest_point(np.broadcast_to(facet, (len(places), 3, 3)), places)
        expected = np.minimum(expected, np.linalg.norm(nearest - places, axis=1))
    found = np.array([far(index, size, place) for place in places])
    sure = np.abs(expected - REACH) > 1e-6
    np.testing.assert_allclose(found[sure], np.where(expected < REACH, expected, OFF)[sure], atol=1e-6)


def test_only_what_faces_the_same_way_counts() -> None:
    facets = np.array([[(10, 10, 10), (50, 10, 10), (10, 50, 10)]])
    index = index_facets(facets, 128)
    np.testing.assert_allclose(index[1], [(0.0, 0.0, 1.0)])
    place = np.array([20.0, 20.0, 11.0])
    assert far(index, 128, place, (0.0, 0.0, 1.0), 0.5) == pytest.approx(1.0)
    assert far(index, 128, place, (0.0, 0.0, -1.0), 0.5) == OFF
    assert far(index, 128, place, (1.0, 0.0, 0.0), 0.5) == OFF


def test_a_triangle_without_area_is_no_facet() -> None:
    line = np.array([[(10, 10, 10), (20, 20, 20), (30, 30, 30)], [(1, 2, 3), (1, 2, 3), (9, 9, 9)]])
    facets, normals, start, listed = index_facets(line, 128)
    assert facets.shape == (0, 3, 3) and normals.shape == (0, 3)
    assert not len(listed) and start[-1] == 0
    assert far((facets, normals, start, listed), 128, np.array([10.0, 10.0, 10.0])) == OFF


def notched() -> Mesh:
    """A bar along x whose cross-section is a square with a notch, 3 of its 122 bins wide and deep, in one side."""
    side, notch = 1.0, 3.0 / 122
    section = np.array([
        (0.0, 0.0), (side, 0.0), (side, 0.5), (side - notch, 0.5), (side - notch, 0.5 + notch), (side, 0.5 + notch),
        (side, side), (0.0, side),
    ])  # fmt: skip
    mesh = trimesh.creation.extrude_triangulation(section, _ears(len(section)), height=1.0)
    return Mesh(np.asarray(mesh.vertices), np.asarray(mesh.faces))


def _ears(count: int) -> np.ndarray:
    """A triangulation of the section above."""
    assert count == 8
    return np.array([(0, 1, 2), (0, 2, 3), (0, 3, 7), (7, 3, 4), (7, 4, 6), (4, 5, 6)])


@pytest.mark.parametrize(("known", "fits"), [(False, True), (True, False)])
def test_an_edge_across_a_notch_does_not_fit_where_the_triangles_are_known(known: bool, fits: bool) -> None:
    """Samples show the end of the bar, but not to three bins how far it goes."""
    source, canonical, surface = prepare(notched())
    if not known:
        surface = make_surface(128, source.mask_grid, (3, 2, 1), source.context, source.points, source.normals)
    state = empty(surface)
    end = canonical.vertices[canonical.vertices[:, 2] == canonical.vertices[:, 2].max()]  # the end of the bar
    y = np.unique(end[:, 1])
    x = np.unique(end[:, 0])
    assert len(end) == 8 and len(y) == 4 and len(x) == 3
    top = int(end[0, 2])

    def fit(*corners: tuple[int, int]) -> float:
        numbers = [find_vertex(state.references[1], (top * 128 + b) * 128 + a) for a, b in corners]
        return deviation(*state.references, *numbers)

    across = (x[0], y[0]), (x[2], y[1]), (x[2], y[2])  # its third side bridges the notch
    assert (fit(*across) <= MAX_DEVIATION) is fits
    assert fit((x[0], y[0]), (x[2], y[0]), (x[2], y[1])) <= MAX_DEVIATION


def test_misfit_does_not_change_while_a_mesh_grows_and_shrinks() -> None:
    _, canonical, surface = prepare(notched())
    faces = canonical.vertices[canonical.faces]
    state: MeshState = empty(surface)
    keys = (faces[:, :, 2] * 128 + faces[:, :, 1]) * 128 + faces[:, :, 0]

    def fits() -> list[float]:
        return [
            deviation(*state.references, *(find_vertex(state.references[1], key) for key in face))
            for face in keys.tolist()
        ]

    before = fits()
    assert max(before) < 0.1
    for token in faces[:10, :, ::-1].reshape(-1):
        state.push(int(token))
    assert fits() == before
