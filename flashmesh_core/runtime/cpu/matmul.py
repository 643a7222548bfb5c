"""The compiled parts of the CPU runtime: matrix products, norms and exponentials.

They are made of `llvm_intrinsics.py` and `amx.py`; `attention.py` and `forward.py` are made of them.

Everything is written so that a row's numbers do not depend on the rows beside it: every output element is one chain of
fused multiply-adds in a fixed order, sums over a row have a length that the row's own position determines, and there
is no dependence on threads. Matrices are cut into panels of 64 columns, (N / 64, K, 64), float32, or in pairs along K,
(N / 64, K / 2, 64). Pairs of bfloat16 are multiplied in float32 with float32 activations (dtype uint32), or with
bfloat16 activations by tiles (AMX, dtype int32): up to 16 rows then cost little more than one. Pairs of integers
(dtype int16, offsets in words of a pair) are multiplied by integers, see int16.py; a row of words more,
(N / 64, K / 2 + 1, 64), holds the columns' scales in float32, a word more of a row of activations its own.

Rows of activations are padded to a multiple of 64 numbers. A `span` (sequence, first position, count) names the rows
that one sequence contributes; spans follow each other in the rows' order.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from flashmesh_core.jit import njit
from flashmesh_core.runtime.cpu.amx import LAYOUTS, TILE_ROWS, add_tiles, set_tiles
from flashmesh_core.runtime.cpu.cpu_features import HAS_TILES, LANES, PANEL, VECTORS
from flashmesh_core.runtime.cpu.int16 import ROUND, largest_size, max_integer, round_pairs
from flashmesh_core.runtime.cpu.llvm_intrinsics import (
    NO_REFCOUNT,
    REFCOUNTED,
    fma,
    noinline,
    panel_product,
    times_power,
    to_bf16,
)

_six, _three, _two, _one = (panel_product(rows) for rows in (6, 3, 2, 1))
_six_of_more = panel_product(6, following=True)

_ROUND, _LOG2E = np.float32(ROUND), np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
_LOWEST, _HIGHEST = np.float32(-87.0), np.float32(87.0)
_E = tuple(np.float32(v) for v in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1))
_E5 = np.float32(0.5)
_E0, _E1, _E2, _E3, _E4 = _E
_ZERO, _UNIT = np.float32(0.0), np.float32(1.0)


@njit(**NO_REFCOUNT)
def exp32(x):
    """e to the x within 2 units in the last place for |x| <= 87, beyond that the value at the bound (Cephes)."""
    x = min(max(x, _LOWEST), _HIGHEST)
    shifted = fma(x, _LOG2E, _ROUND)
    whole = shifted - _ROUND
    r = fma(whole, _LN2_LOW, fma(whole, _LN2_HIGH, x))
    p = fma(fma(fma(fma(fma(_E0, r, _E1), r, _E2), r, _E3), r, _E4), r, _E5)
    return times_power(fma(p, r * r, r + _UNIT), shifted)


def product(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels, fresh):
    """C += A B: `rows` rows, `panels` panels of B one after the other, `count` rows of B (bfloat16: pairs of rows).

    `fresh`: C counts as zero.
    """
    raise NotImplementedError("only for compiled code")


@overload(product, jit_options=NO_REFCOUNT)
def _product(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels, fresh):
    scales = 1 if b.dtype == types.int16 else 0  # rows of a panel after its last pairs
    if not HAS_TILES or b.dtype != types.int32:

        def by_vectors(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels, fresh):
            noinline()
            if fresh:
                _clear_panels(c, c0, c_step, rows, panels)
            stride = (count + scales) * PANEL
            for panel in range(panels):
                at_b = b0 + panel * stride
                _by_vectors(a, a0, a_step, b, at_b, c, c0 + panel * PANEL, c_step, rows, count, stride)

        return by_vectors

    def by_tiles(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels, fresh):
        noinline()
        whole, rest = count // TILE_ROWS, count % TILE_ROWS
        if rest:  # what is left of each panel goes by vectors
            if fresh:
                _clear_panels(c, c0, c_step, rows, panels)
            for panel in range(panels):
                at_b, at_c, done = b0 + panel * count * PANEL, c0 + panel * PANEL, count - rest
                for i in range(0, rows if whole else 0, TILE_ROWS):
                    high = min(rows - i, TILE_ROWS)
                    add_tiles(
                        a, a0 + i * a_step, a_step, b, at_b, c, at_c + i * c_step, c_step, whole, 1, LAYOUTS, high
                    )  # fmt: skip
                _by_vectors(a, a0 + done, a_step, b, at_b + done * PANEL, c, at_c, c_step, rows, rest, np.int64(0))
            return
        for i in range(0, rows if panels else 0, TILE_ROWS):
            at_a, at_c, high = a0 + i * a_step, c0 + i * c_step, min(rows - i, TILE_ROWS)
            if fresh:
                set_tiles(a, at_a, a_step, b, b0, c, at_c, c_step, whole, panels, LAYOUTS, high)
            else:
                add_tiles(a, at_a, a_step, b, b0, c, at_c, c_step, whole, panels, LAYOUTS, high)

    return by_tiles


@njit(**NO_REFCOUNT)
def _clear_panels(c, c0, c_step, rows, panels):
    for i in range(rows):
        row, column = divmod(c0 + i * c_step, c.shape[1])
        clear(c[row, column : column + panels * PANEL])


@njit(**NO_REFCOUNT)
def _by_vectors(a, a0, a_step, b, b0, c, c0, c_step, rows, count, stride):
    """One panel; the next one begins `stride` further on, and the first rows ask for it if there are many."""
    for v in range(0, PANEL, LANES * VECTORS):
        i = np.int64(0)
        far = stride if VECTORS == 4 and rows > 6 else np.int64(0)
        while rows - i >= 6:
            if far:
                _six_of_more(a, a0 + i * a_step, a_step, b, b0 + v, c, c0 + i * c_step + v, c_step, count, far)
                far = stride + 2 * LANES if i == 0 else np.int64(0)
            else:
                _six(a, a0 + i * a_step, a_step, b, b0 + v, c, c0 + i * c_step + v, c_step, count, far)
            i += 6
        if rows - i >= 3:
            _three(a, a0 + i * a_step, a_step, b, b0 + v, c, c0 + i * c_step + v, c_step, count, far)
            i += 3
        if rows - i == 2:
            _two(a, a0 + i * a_step, a_step, b, b0 + v, c, c0 + i * c_step + v, c_step, count, far)
        elif rows - i == 1:
            _one(a, a0 + i * a_step, a_step, b, b0 + v, c, c0 + i * c_step + v, c_step, count, far)


@njit(**NO_REFCOUNT)
def _largest_in(x, i, k):
    whole = k // LANES * LANES
    largest = largest_size(x, i * x.shape[1], whole)
    for j in range(whole, k):
        largest = max(largest, abs(x[i, j]))
    return largest


def operand(x, k, weights, m):
    """What `product` multiplies with `weights`: x itself, or its m rows of K numbers as words of two bfloat16 or of two
    integers, these with their scale behind them."""
    raise NotImplementedError("only for compiled code")


@overload(operand, jit_options=REFCOUNTED)
def _operand(x, k, weights, m):
    if weights.dtype == types.int16:

        def rounded(x, k, weights, m):
            words = np.empty((m, (k + PANEL - 1) // PANEL * LANES * 2 + LANES), dtype=np.float32)
            most = np.float32(max_integer(k))
            for i in range(m):
                largest = _largest_in(x, i, k)
                factor = most / largest if largest > _ZERO else _ZERO
                for j in range(0, k, 2 * LANES):
                    round_pairs(x, i * x.shape[1] + j, words, i * words.shape[1] + j // 2, factor)
                words[i, (k + 1) // 2] = largest / most
            return words

        return rounded
    if weights.dtype != types.int32:
        return lambda x, k, weights, m: x

    def as_bf16(x, k, weights, m):
        words = np.empty((m, (k + PANEL - 1) // PANEL * LANES * 2), dtype=np.float32)
        for i in range(m):
            for j in range(0, k, 2 * LANES):
                to_bf16(x, i * x.shape[1] + j, words, i * words.shape[1] + j // 2)
        return words

    return as_bf16


@njit(**REFCOUNTED)
def linear(x, k, weights, at, per_word, y, n, m):
    """y (m, N) += x (m, K) W, whose panels begin at `at`; `per_word` numbers along K stand in one word (1 or 2)."""
    noinline()
    steps = (k + per_word - 1) // per_word
    a = operand(x, k, weights, m)
    panels = (n + PANEL - 1) // PANEL
    product(a, np.int64(0), a.shape[1], weights, at, y, np.int64(0), y.shape[1], m, steps, panels, False)


@njit(**REFCOUNTED, cache=True)
def linear_alone(x, k, weights, at, per_word, y, n, m):
    """`linear` to be called from Python: kept on the disk, so that a new process need not compile it."""
    linear(x, k, weights, at, per_word, y, n, m)


# Loops run from zero over views: where an index might be negative for all the compiler knows, it makes no vectors.


@njit(**NO_REFCOUNT)
def clear(row):
    """Zeros."""
    for j in range(row.shape[0]):
        row[j] = _ZERO


@njit(**NO_REFCOUNT)
def clear_rows(x, m, n):
    """Zeros in the first `n` columns of the first `m` rows."""
    for i in range(m):
        clear(x[i, :n])


@njit(**NO_REFCOUNT, fastmath={"reassoc", "contract", "nsz"})
def _sum_squares(row):
    total = _ZERO
    for j in range(row.shape[0]):
        total += row[j] * row[j]
    return total


@njit(**NO_REFCOUNT, fastmath={"reassoc", "nsz"})
def sum_of(row):
    total = _ZERO
    for j in range(row.shape[0]):
        total += row[j]
    return total


@njit(**NO_REFCOUNT)
def normalise(x, gains, at, dim, out, m):
    """RMS norm of each of m rows, gains from `at` on."""
    noinline()
    gain = gains[at : at + dim]
    for i in range(m):
        scale = _UNIT / np.sqrt(_sum_squares(x[i, :dim]) / np.float32(dim) + np.float32(1e-6))
        for j in range(dim):
            out[i, j] = x[i, j] * scale * gain[j]
