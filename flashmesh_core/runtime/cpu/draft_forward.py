"""The draft heads' blocks at one node, compiled; conventions in matmul.py, the caller in draft_blocks.py.

Matrices stand one after another in one flat array of panels, those of one kind in equal strides, so that a head's
matrix is found by its number. Norms have no gains here: they are folded into the matrices that follow them.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.runtime.cpu.attention import QUERIES, attend
from flashmesh_core.runtime.cpu.cpu_features import PANEL
from flashmesh_core.runtime.cpu.matmul import clear_rows, exp32, linear, normalise, product

_ZERO, _UNIT = np.float32(0.0), np.float32(1.0)


@njit(nogil=True, cache=True, error_model="numpy")
def _each(x, x_step, k, weights, at, stride, per_word, y, n, m):
    """y (m, N) += each row of x (m, K) by its own matrix; matrix i begins at `at` + i * stride. x_step 0: one row."""
    steps = (k + per_word - 1) // per_word
    for i in range(m):
        product(
            x, i * x_step, x_step, weights, at + i * stride, y, i * y.shape[1], y.shape[1], 1, steps,
            (n + PANEL - 1) // PANEL, False,
        )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _rotate(q, i, heads, width, cos, sin, position):
    """Rotate and scale one row of queries, in place."""
    half = width // 2
    scale = _UNIT / np.sqrt(np.float32(width))
    for h in range(heads):
        for j in range(half):
            c, w = cos[position, j] * scale, sin[position, j] * scale
            a, b = q[i, h * width + j], q[i, h * width + half + j]
            q[i, h * width + j] = a * c - b * w
            q[i, h * width + half + j] = a * w + b * c


@njit(nogil=True, cache=True, error_model="numpy")
def take(x, m, first, weights, per_word, ones, width, start, table, keys, values, normed, wide):
    """Project m states and put their keys and values (heads, tiles, K, PANEL), (heads, panels, T, PANEL) in place."""
    heads, half = keys.shape[0], width // 2
    dim = len(ones)
    cos, sin = table
    normalise(x, ones, 0, dim, normed, m)
    clear_rows(wide, m, wide.shape[1])
    linear(normed, dim, weights, 0, per_word, wide, 2 * heads * width, m)
    for i in range(m):
        position = first + i
        at = position - start
        tile, lane = at // PANEL, at % PANEL
        for h in range(heads):
            k, v = h * width, (heads + h) * width
            for j in range(half):
                c, w = cos[position, j], sin[position, j]
                a, b = wide[i, k + j], wide[i, k + half + j]
                keys[h, tile, j, lane] = a * c - b * w
                keys[h, tile, half + j, lane] = a * w + b * c
            for j in range(width):
                values[h, j // PANEL, at, j % PANEL] = wide[i, v + j]


@njit(nogil=True, cache=True, error_model="numpy")
def speculate(h, skip, block, dims, self_kv, seen, position, cross_kv, conditions, table, scratch, out):
    """An SP-Block at one node: h (1, D) to out (drafts - skip, D).

    block: matrices, where the five kinds begin, stride of a draft's. dims: numbers in a word, heads, a one for every
    column, drafts. self_kv: the level's keys and values and the block's first head there. seen: first and last key + 1.
    """
    weights, at, stride = block
    per_word, heads, ones, drafts = dims
    keys, values, owned = self_kv
    cross_keys, cross_values = cross_kv
    normed, q, mixed, x, _, _, scores, sums = scratch
    dim = len(ones)
    width, m = dim // heads, drafts - skip
    begins, ends = np.full(1, seen[0]), np.full(1, seen[1])
    low, high = seen[0] // PANEL * PANEL, (seen[1] + PANEL - 1) // PANEL * PANEL
    first = skip * stride

    normalise(h, ones, 0, dim, normed, 1)
    clear_rows(q, m, q.shape[1])
    _each(normed, 0, dim, weights, at[0] + first, stride, per_word, q, dim, m)
    for i in range(m):
        _rotate(q, i, heads, width, table[0], table[1], position)
        for head in range(heads):
            of = owned + (skip + i) * heads + head
            attend(q, i, 1, head * width, keys[of], values[of], low, high, begins, ends, scores, sums, mixed)
        x[i, :dim] = h[0, :dim]
    _each(mixed, mixed.shape[1], dim, weights, at[1] + first, stride, per_word, x, dim, m)

    normalise(x, ones, 0, dim, normed, m)
    clear_rows(q, m, q.shape[1])
    _each(normed, normed.shape[1], dim, weights, at[2] + first, stride, per_word, q, dim, m)
    begins[0], ends[0] = 0, conditions
    high = (conditions + PANEL - 1) // PANEL * PANEL
    scale = _UNIT / np.sqrt(np.float32(width))
    for i in range(m):
        for j in range(dim):
            q[i, j] *= scale
        for head in range(heads):
            of = (skip + i) * heads + head
            attend(q, i, 1, head * width, cross_keys[of], cross_values[of], 0, high, begins, ends, scores, sums, mixed)
    _each(mixed, mixed.shape[1], dim, weights, at[3] + first, stride, per_word, x, dim, m)

    normalise(x, ones, 0, dim, normed, m)
    for i in range(m):
        out[i, :dim] = h[0, :dim]
    _each(normed, normed.shape[1], dim, weights, at[4] + first, stride, per_word, out, dim, m)


@njit(nogil=True, cache=True, error_model="numpy")
def refine(h, n, skip, block, dims, lower_kv, seen, position, table, scratch, out):
    """An HF-Block below one node: drafted states h (n, D), the last n, to out (positions - skip, D).

    block: matrices, where upsampling, query, FFN in and out begin, their strides. dims: numbers in a word, heads, a one
    for every column, hidden width (0: only upsample), positions. `position` is that of the block's position 0.
    """
    weights, at, stride = block
    per_word, heads, ones, hidden, positions = dims
    keys, values, owned = lower_kv
    normed, q, mixed, _, wide, narrow, scores, sums = scratch
    dim = len(ones)
    width, m = dim // heads, positions - skip
    clear_rows(wide, n, wide.shape[1])
    linear(h, dim, weights, at[0], per_word, wide, 3 * dim, n)
    drop = 3 * n - m
    for i in range(m):
        row, third = (i + drop) // 3, (i + drop) % 3
        out[i, :dim] = wide[row, third * dim : (third + 1) * dim]
    if not hidden:
        return
    normalise(out, ones, 0, dim, normed, m)
    clear_rows(q, m, q.shape[1])
    _each(normed, normed.shape[1], dim, weights, at[1] + skip * stride[1], stride[1], per_word, q, dim, m)
    for i in range(m):
        _rotate(q, i, heads, width, table[0], table[1], position + skip + i)
    begins, ends = np.full(QUERIES, seen[0]), np.full(QUERIES, seen[1])
    low, high = seen[0] // PANEL * PANEL, (seen[1] + PANEL - 1) // PANEL * PANEL
    for i in range(0, m, QUERIES):
        for head in range(heads):
            attend(
                q, i, min(QUERIES, m - i), head * width, keys[owned + head], values[owned + head], low, high, begins,
                ends, scores, sums, mixed,
            )  # fmt: skip
    normalise(mixed, ones, 0, dim, normed, m)
    clear_rows(narrow, m, narrow.shape[1])
    _each(normed, normed.shape[1], dim, weights, at[2] + skip * stride[2], stride[2], per_word, narrow, hidden, m)
    for i in range(m):
        for j in range(hidden):
            narrow[i, j] = narrow[i, j] / (_UNIT + exp32(-narrow[i, j]))
    _each(narrow, narrow.shape[1], hidden, weights, at[3] + skip * stride[3], stride[3], per_word, out, dim, m)


@njit(nogil=True, cache=True, error_model="numpy")
def distribute(x, m, ones, head, per_word, classes, normed, wide, out):
    """Softmax of the output head over m states, out (m, C)."""
    dim = len(ones)
    normalise(x, ones, 0, dim, normed, m)
    clear_rows(wide, m, wide.shape[1])
    linear(normed, dim, head, 0, per_word, wide, classes, m)
    for i in range(m):
        largest = wide[i, 0]
        for j in range(1, classes):
            largest = max(largest, wide[i, j])
        total = _ZERO
        for j in range(classes):
            out[i, j] = exp32(wide[i, j] - largest)
            total += out[i, j]
        for j in range(classes):
            out[i, j] /= total
