"""Products of 16-bit integers against exact ones, with every way of multiplying that this CPU has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from flashmesh_core.runtime.cpu import int16, llvm_intrinsics
from flashmesh_core.runtime.cpu.cpu_features import FEATURES, VECTORS
from flashmesh_core.runtime.cpu.int16 import max_integer
from flashmesh_core.runtime.cpu.matmul import linear
from flashmesh_core.runtime.cpu.weights import pack


def multiply(x: NDArray, matrix: NDArray) -> NDArray:
    """x (M, K) times the matrix (N, K), whose padding must stay zero, by `linear`; (M, N)."""
    rows, depth = x.shape
    columns = len(matrix)
    padded = np.full((rows, -(-depth // 64) * 64), 7.5e8, np.float32)  # what stands beyond K is of no account
    padded[:, :depth] = x
    y = np.zeros((rows, -(-columns // 64) * 64), np.float32)
    linear(padded, depth, pack(matrix, "int16"), 0, 2, y, columns, rows)
    assert not y[:, columns:].any()
    return y[:, :columns]


def rounded(numbers: NDArray) -> tuple[NDArray, NDArray]:
    """Rows (M, K) as integers and the scale of each, (M, 1)."""
    most, largest = np.float32(max_integer(numbers.shape[1])), np.abs(numbers).max(axis=1, keepdims=True)
    return np.rint(numbers * (most / largest).astype(np.float64)).astype(np.int64), largest / most


def packed_numbers(matrix: NDArray) -> tuple[NDArray, NDArray]:
    """The integers (N, K) and scales (N,) that stand in the panels of a matrix (N, K), K even."""
    columns, depth = matrix.shape
    panels = pack(matrix, "int16").reshape(-1, depth // 2 + 1, 64, 2)
    whole = panels[:, :-1].transpose(0, 2, 1, 3).reshape(-1, depth)[:columns].astype(np.int64)
    return whole, np.ascontiguousarray(panels[:, -1]).view(np.float32).reshape(-1)[:columns]


@pytest.mark.parametrize("depth", [2, 5, 64, 80, 256, 768])
@pytest.mark.parametrize("rows", [1, 2, 3, 6, 7, 20])
def test_sums_of_whole_numbers_are_exact(rows: int, depth: int) -> None:
    rng = np.random.default_rng(rows * depth)
    x = rng.standard_normal((rows, depth)).astype(np.float32)
    matrix = rng.standard_normal((70, depth)).astype(np.float32)
    y = multiply(x, matrix)
    true = x.astype(np.float64) @ matrix.T.astype(np.float64)
    size = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(matrix, axis=1)
    assert (np.abs(y - true) < 3e-3 * size).all()
    for row in range(rows):
        assert np.array_equal(multiply(x[row : row + 1], matrix)[0], y[row])
    if depth % 2 == 0:
        (a, a_scale), (b, b_scale) = rounded(x), packed_numbers(matrix)
        np.testing.assert_allclose(y, (a @ b.T) * (a_scale * b_scale), rtol=1e-6, atol=1e-12)
        assert np.abs(b).max() == max_integer(depth)
        np.testing.assert_allclose(b * b_scale[:, None], matrix, atol=0.51 * b_scale.max())


@pytest.mark.parametrize("depth", [2, 256, 512, 4096])
def test_the_largest_sum_does_not_overflow(depth: int) -> None:
    assert max_integer(depth) <= 32767 and max_integer(depth) ** 2 * depth < 2**31
    signs = np.where(np.arange(depth) % 3 == 0, -1.0, 1.0).astype(np.float32)
    y = multiply(np.stack([signs, -signs]) * np.float32(0.125), np.stack([signs] * 3))
    np.testing.assert_allclose(y, np.outer([1, -1], np.full(3, 0.125 * depth)), rtol=1e-6)


def test_rows_and_columns_of_zeros_give_zeros() -> None:
    x, matrix = np.ones((3, 8), np.float32), np.ones((4, 8), np.float32)
    x[1], matrix[2] = 0.0, 0.0
    expected = np.full((3, 4), 8.0)
    expected[1], expected[:, 2] = 0.0, 0.0
    np.testing.assert_allclose(multiply(x, matrix), expected, rtol=1e-6)


@pytest.mark.parametrize(("needed", "vectors", "pairs", "adds"), [
    ("avx512vnni", 4, True, "avx512vnni"), ("avx512bw", 4, True, "none"), ("avxvnni", 1, True, "avxvnni"),
    ("avx2", 1, True, "none"), ("", VECTORS, False, "none"),
], ids=["AVX-512 VNNI", "AVX-512", "AVX2 VNNI", "AVX2", "no pairs"])  # fmt: skip
def test_every_instruction_gives_the_same_bits(
    needed: str, vectors: int, pairs: bool, adds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPUs differ in their instructions: the code for each that this one has beside its best."""
    if needed and not FEATURES.get(needed):
        pytest.skip(f"this CPU has no {needed}")
    changes: dict[str, Any] = {
        "_WIDE": vectors == 4, "_PART": 16 if vectors == 4 else 8, "HAS_PAIRS": pairs, "_ADDS": adds,
    }  # fmt: skip
    for name, value in changes.items():
        monkeypatch.setattr(int16, name, value)
    monkeypatch.setattr(llvm_intrinsics, "VECTORS", vectors)
    rows, depth = 3, 96
    three = llvm_intrinsics.panel_product(rows)

    @njit
    def product(a, a_step, b, c, first, count):
        three(a, 0, a_step, b, first, c, first, c.shape[1], count, 0)

    rng = np.random.default_rng(5)
    whole = rng.integers(-4000, 4000, (rows, depth)).astype(np.int16)
    words = np.zeros((rows, depth // 2 + 1), np.float32)
    words[:, :-1] = whole.view(np.float32)
    words[:, -1] = [0.5, 2.0, 0.001]
    matrix = rng.standard_normal((64, depth)).astype(np.float32)
    packed, out = pack(matrix, "int16"), np.ones((rows, 64), np.float32)
    for first in range(0, 64, 16 * vectors):
        product(words, words.shape[1], packed, out, first, depth // 2)
    b, scale = packed_numbers(matrix)
    sums = (whole.astype(np.int64) @ b.T).astype(np.float32)
    expected = sums.astype(np.float64) * (words[:, -1:] * scale) + 1.0
    np.testing.assert_allclose(out, expected, rtol=2e-7, atol=1e-6)
