"""The canonical form: error bound, order, winding, idempotence, and what it refuses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flashmesh_core.mesh.canonical import (
    CanonicalMesh,
    Normalization,
    canonicalize,
    canonicalize_bins,
    dequantize,
    quantize,
    vertex_keys,
)

from .shapes import box, join, signed_volume, torus

BINS = st.sampled_from([2, 7, 128, 256, 1024, 4096])
COORDINATES = st.floats(-1e6, 1e6, allow_nan=False, width=64)


@st.composite
def soups(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Random vertices with random, possibly degenerate and repeated faces."""
    n_vertices, n_faces = draw(st.integers(3, 12)), draw(st.integers(0, 20))
    vertices = draw(arrays(np.float64, (n_vertices, 3), elements=COORDINATES))
    faces = draw(arrays(np.int64, (n_faces, 3), elements=st.integers(0, n_vertices - 1)))
    return vertices, faces


def assert_same(a: CanonicalMesh, b: CanonicalMesh) -> None:
    np.testing.assert_array_equal(a.vertices, b.vertices)
    np.testing.assert_array_equal(a.faces, b.faces)


@given(points=arrays(np.float64, (20, 3), elements=st.floats(-0.5, 0.5)), num_bins=BINS)
def test_quantisation_is_off_by_at_most_half_a_bin(points: np.ndarray, num_bins: int) -> None:
    bins = quantize(points, num_bins)
    assert bins.min() >= 0 and bins.max() < num_bins
    assert np.abs(dequantize(bins, num_bins) - points).max() <= 0.5 / num_bins + 1e-12


@given(num_bins=BINS)
def test_bin_centers_quantise_to_themselves(num_bins: int) -> None:
    bins = np.arange(num_bins)
    np.testing.assert_array_equal(quantize(dequantize(bins, num_bins), num_bins), bins)


@given(soup=soups(), num_bins=BINS)
@settings(max_examples=200)
def test_canonical_form_is_ordered_and_clean(soup: tuple[np.ndarray, np.ndarray], num_bins: int) -> None:
    mesh = canonicalize(*soup, num_bins)
    assert (np.diff(vertex_keys(mesh.vertices, num_bins)) > 0).all()
    assert (mesh.faces[:, 0] < mesh.faces[:, 1:].min(axis=1)).all()
    assert (mesh.faces[:, 1] != mesh.faces[:, 2]).all()
    rows = mesh.faces.tolist()
    assert all(a < b for a, b in pairwise(rows))
    np.testing.assert_array_equal(np.unique(mesh.faces), np.arange(len(mesh.vertices)))


@given(soup=soups(), num_bins=BINS)
def test_canonicalize_is_idempotent(soup: tuple[np.ndarray, np.ndarray], num_bins: int) -> None:
    once = canonicalize(*soup, num_bins)
    assert_same(canonicalize_bins(once.vertices, once.faces, num_bins), once)
    if len(once.vertices):
        unit = Normalization(center=np.zeros(3), scale=1.0)
        decoded = once.dequantize()
        assert_same(canonicalize(decoded.vertices, decoded.faces, num_bins, unit), once)


@given(soup=soups(), seed=st.integers(0, 2**32 - 1))
def test_the_form_does_not_depend_on_how_the_mesh_was_listed(soup: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    vertices, faces = soup
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(vertices))
    place = np.argsort(order)
    turned = np.array([np.roll(face, rng.integers(3)) for face in place[faces]], dtype=np.int64)
    shuffled = turned.reshape(-1, 3)[rng.permutation(len(faces))]
    assert_same(canonicalize(vertices[order], shuffled, 64), canonicalize(vertices, faces, 64))


@pytest.mark.parametrize("num_bins", [2, 128, 1024])
def test_winding_survives(num_bins: int) -> None:
    vertices, faces = box()
    outward = canonicalize(vertices, faces, num_bins)
    inward = canonicalize(vertices, faces[:, ::-1], num_bins)
    assert len(outward.vertices) == 8 and len(outward.faces) == 12
    expected = ((num_bins - 1) / num_bins) ** 3
    assert signed_volume(outward.dequantize().vertices, outward.faces) == pytest.approx(expected)
    assert signed_volume(inward.dequantize().vertices, inward.faces) == pytest.approx(-expected)


def test_vertices_sort_by_z_then_y_then_x() -> None:
    bins = np.array([[3, 0, 0], [0, 3, 0], [0, 0, 3]])
    mesh = canonicalize_bins(bins, np.array([[2, 0, 1]]), 4)
    np.testing.assert_array_equal(mesh.vertices, bins)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])


def test_equal_bins_weld_and_faces_that_collapse_go() -> None:
    bins = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 0]])
    faces = np.array([[0, 1, 2], [3, 1, 2], [0, 3, 1], [2, 1, 0]])
    mesh = canonicalize_bins(bins, faces, 4)
    assert len(mesh.vertices) == 3
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 1]])


def test_normalisation_centers_scales_and_inverts() -> None:
    vertices = box((4.0, 2.0, 1.0))[0] + [10.0, -3.0, 7.0]
    unit = Normalization.of_points(vertices)
    mapped = unit.apply(vertices)
    assert unit.scale == pytest.approx(4.0)
    np.testing.assert_allclose(mapped.max(axis=0), [0.5, 0.25, 0.125])
    np.testing.assert_allclose(mapped.min(axis=0), [-0.5, -0.25, -0.125])
    np.testing.assert_allclose(unit.invert(mapped), vertices)


def test_a_closed_curved_mesh_keeps_its_counts_at_fine_bins() -> None:
    vertices, faces = join(torus())
    mesh = canonicalize(vertices, faces, 1024)
    assert len(mesh.vertices) == len(vertices) and len(mesh.faces) == len(faces)
    back = Normalization.of_points(vertices).invert(mesh.dequantize().vertices)
    assert signed_volume(back, mesh.faces) == pytest.approx(signed_volume(vertices, faces), rel=0.01)


@pytest.mark.parametrize(
    ("vertices", "faces", "num_bins", "message"),
    [
        (np.zeros((3, 2)), [[0, 1, 2]], 128, r"vertices must have shape \(N, 3\).*\(3, 2\)"),
        (np.full((3, 3), np.nan), [[0, 1, 2]], 128, "vertices must be finite, got 3 rows"),
        (np.zeros((3, 3)), [[0, 1, 3]], 128, r"faces must hold indices in \[0, 2\], got 0 to 3"),
        (np.zeros((3, 3)), [[0.0, 1.0, 2.0]], 128, "faces must hold integers, got float64"),
        (np.zeros((3, 3)), [[0, 1, 2, 0]], 128, r"faces must have shape \(F, 3\), got \(1, 4\)"),
        (np.zeros((3, 3)), [[0, 1, 2]], 1, r"num_bins must be in \[2, 4096\], got 1"),
        (np.zeros((3, 3)), [[0, 1, 2]], 5000, r"num_bins must be in \[2, 4096\], got 5000"),
    ],
)
def test_wrong_input_is_named(vertices: np.ndarray, faces: list, num_bins: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        canonicalize(vertices, np.array(faces), num_bins)
