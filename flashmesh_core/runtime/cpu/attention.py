"""Attention of the CPU runtime over caches of keys and values; see matmul.py for the conventions.

Caches hold float32, or pairs of bfloat16 as int32 words where the CPU multiplies bfloat16.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from flashmesh_core.jit import njit
from flashmesh_core.runtime.cpu.cpu_features import HAS_TILES, LANES, PANEL
from flashmesh_core.runtime.cpu.llvm_intrinsics import NO_REFCOUNT, bits, noinline, to_bf16
from flashmesh_core.runtime.cpu.matmul import clear, exp32, product, sum_of

QUERIES = 30  # rows that attention holds scores of at once; its sums have one row more, for their scales
CHUNK = 128  # keys whose values are read for all rows before the next ones
PAIRED = (types.int32, types.uint32)  # dtypes of caches that hold two bfloat16 in a word
_ZERO, _UNIT, _SMALLEST = np.float32(0.0), np.float32(1.0), np.float32(-3.0e38)


@njit(**NO_REFCOUNT)
def _lower(part):
    for lane in range(part.shape[0]):
        part[lane] = _SMALLEST


@njit(**NO_REFCOUNT)
def _largest(row, begin, end, lanes):
    """The largest of a row's scores begin..end - 1; the others of their tiles become the smallest number.

    `lanes` (PANEL,) is scratch.
    """
    noinline()
    first, last = begin // PANEL, (end + PANEL - 1) // PANEL
    _lower(row[first * PANEL : begin])
    _lower(row[end : last * PANEL])
    _lower(lanes)
    for tile in range(first, last):
        part = row[tile * PANEL : (tile + 1) * PANEL]
        for lane in range(PANEL):
            lanes[lane] = part[lane] if part[lane] > lanes[lane] else lanes[lane]
    half = PANEL // 2
    while half:  # halves, not one by one: that would be a chain of 64 comparisons
        low, high = lanes[:half], lanes[half : 2 * half]
        for lane in range(half):
            low[lane] = high[lane] if high[lane] > low[lane] else low[lane]
        half //= 2
    return lanes[0]


@njit(**NO_REFCOUNT)
def _exponentials(row, begin, end, largest, lanes):
    """Turn a row's scores begin..end - 1 into weights of at most 1, the others of their tiles into zeros; the sum.

    The sum's order follows from the row's own keys. `lanes` (PANEL,) is scratch.
    """
    noinline()
    for lane in range(PANEL):
        lanes[lane] = _ZERO
    for tile in range(begin // PANEL, (end + PANEL - 1) // PANEL):
        first = tile * PANEL
        part = row[first : first + PANEL]
        for lane in range(PANEL):
            part[lane] = exp32(part[lane] - largest)
        if first < begin or first + PANEL > end:
            clear(part[: max(begin - first, 0)])
            clear(part[min(end - first, PANEL) :])
        for lane in range(PANEL):
            lanes[lane] += part[lane]
    return sum_of(lanes)


def numbers_in(matrix):
    """How many numbers stand in one word of a cache, and of what is multiplied with it, 1 or 2 each."""
    raise NotImplementedError("only for compiled code")


@overload(numbers_in)
def _numbers_in(matrix):
    if matrix.dtype == types.int32:
        return lambda matrix: (2, 2)
    if matrix.dtype == types.uint32:
        return lambda matrix: (2, 1)
    return lambda matrix: (1, 1)


def as_left(scores, rows, low, high, values):
    """Make scores low..high - 1 of each row what `product` multiplies with `values`: in place, from low / 2 on."""
    raise NotImplementedError("only for compiled code")


@overload(as_left, jit_options=NO_REFCOUNT)
def _as_left(scores, rows, low, high, values):
    if values.dtype != types.int32:
        return lambda scores, rows, low, high, values: None

    def narrow_all(scores, rows, low, high, values):
        for i in range(rows):
            first = i * scores.shape[1]
            for j in range(low, high, 2 * LANES):
                to_bf16(scores, first + j, scores, first + j // 2)

    return narrow_all


def put_key(tile, lane, k):
    """Write one key (K,) to its lane of a tile (K, PANEL), or of pairs (K / 2, PANEL)."""
    raise NotImplementedError("only for compiled code")


@overload(put_key, jit_options=NO_REFCOUNT)
def _put_key(tile, lane, k):
    if tile.dtype in PAIRED:

        def put_pairs(tile, lane, k):
            for j in range(tile.shape[0]):
                tile[j, lane] = bits(k[2 * j]) | (bits(k[2 * j + 1]) << np.int32(16))

        return put_pairs

    def put(tile, lane, k):
        for j in range(tile.shape[0]):
            tile[j, lane] = k[j]

    return put


def put_value(panel, at, v):
    """Write one value (at most PANEL,) to position `at` of a panel (T, PANEL), or of pairs (T / 2, PANEL)."""
    raise NotImplementedError("only for compiled code")


@overload(put_value, jit_options=NO_REFCOUNT)
def _put_value(panel, at, v):
    if panel.dtype in PAIRED:

        def put_half(panel, at, v):
            words = panel[at // 2]
            if at % 2:
                for j in range(v.shape[0]):
                    words[j] = (words[j] & np.int32(0xFFFF)) | (bits(v[j]) << np.int32(16))
            else:
                for j in range(v.shape[0]):
                    words[j] = (words[j] & np.int32(-65536)) | bits(v[j])

        return put_half

    def put(panel, at, v):
        row = panel[at]
        for j in range(v.shape[0]):
            row[j] = v[j]

    return put


@njit(**NO_REFCOUNT)
def attend(q, row, rows, at, keys, values, low, high, begins, ends, scores, sums, out):
    """Attention of one head for `rows` rows from `row` on; columns at.. of `q` and `out`.

    keys (tiles, K, PANEL), values (V panels of PANEL columns: panel, key, PANEL), or both in pairs along the middle
    axis, with `q` then as `operand` makes it; row i sees the keys begins[i]..ends[i] - 1. low and high are tile bounds,
    multiples of PANEL, around all of them.
    """
    noinline()
    steps, (per, left) = keys.shape[1], numbers_in(keys)
    width = steps * per
    q_at, q_step, step = row * q.shape[1] + at // left, q.shape[1], scores.shape[1]
    tiles = (high - low) // PANEL
    product(q, q_at, q_step, keys, low * steps, scores, low, step, rows, steps, tiles, True)
    scales = sums[QUERIES]
    for i in range(rows):
        largest = _largest(scores[i], begins[i], ends[i], sums[0])
        scales[i] = _UNIT / _exponentials(scores[i], begins[i], ends[i], largest, sums[0])
        clear(scores[i, low : begins[i] // PANEL * PANEL])
        clear(scores[i, (ends[i] + PANEL - 1) // PANEL * PANEL : high])
    as_left(scores, rows, low, high, values)
    chunk, first_key, last_key = CHUNK, begins[0] // per, (ends[rows - 1] + per - 1) // per
    if per == 2 and HAS_TILES:  # tiles take all rows at once, and whole tiles of keys only
        chunk, first_key, last_key = high, low // per, high // per
    for panel in range(values.shape[0]):
        for i in range(rows):
            clear(sums[i])
        top, panel_step = panel * values.shape[1], np.int64(PANEL)
        for key in range(first_key, last_key, chunk):
            count = min(chunk, last_key - key)
            at_b, at_c = (top + key) * PANEL, np.int64(0)
            product(scores, key * per // left, step, values, at_b, sums, at_c, panel_step, rows, count, 1, False)
        first = panel * PANEL
        for i in range(rows):
            part = out[row + i, at + first : at + min(first + PANEL, width)]
            for j in range(part.shape[0]):
                part[j] = sums[i, j] * scales[i]
