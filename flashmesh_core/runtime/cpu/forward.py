"""The compiled stacks of layers of the CPU runtime, and what lies between them; see matmul.py for the conventions.

`spans` (S, 3) int64 names the rows: sequence, first absolute position, count. A rolling buffer holds, a sequence, the
absolute positions from `starts[sequence]` on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.runtime.cpu.attention import QUERIES, attend, put_key, put_value
from flashmesh_core.runtime.cpu.cpu_features import PANEL
from flashmesh_core.runtime.cpu.llvm_intrinsics import NO_REFCOUNT, REFCOUNTED, as_float, noinline, prefetch
from flashmesh_core.runtime.cpu.matmul import clear_rows, exp32, linear, normalise, operand

# Columns of a stack's plan: where a layer's gains and matrices begin; -1 where a layer has no cross-attention.
GAIN_ATTENTION, GAIN_CROSS, GAIN_FEED_FORWARD, QKV, OUT, CROSS_Q, CROSS_OUT, UP, DOWN = range(9)
PLAN_COLUMNS = 9
LINE, FETCHED = 64, 4  # bytes of a cache line; rows of slices asked for before they are added
_ZERO, _UNIT = np.float32(0.0), np.float32(1.0)


@njit(**NO_REFCOUNT)
def _gate(wide, m, hidden, out):
    """SwiGLU: silu of the first half times the second."""
    noinline()
    for i in range(m):
        value = wide[i, hidden : 2 * hidden]
        for j in range(hidden):
            gate = wide[i, j]
            out[i, j] = gate / (_UNIT + exp32(-gate)) * value[j]


@njit(**NO_REFCOUNT)
def _rotate_and_store(wide, spans, starts, heads, dim, cos, sin, keys, values):
    """Rotate queries (scaled) and keys in place; put keys and values where their positions stand."""
    width = dim // heads
    half = width // 2
    scale = _UNIT / np.sqrt(np.float32(width))
    i = np.int64(0)
    for s in range(spans.shape[0]):
        sequence, first, count = spans[s]
        for position in range(first, first + count):
            at = position - starts[sequence]
            tile, lane = at // PANEL, at % PANEL
            c, w = cos[position], sin[position]
            for h in range(heads):
                q, k = wide[i, h * width : (h + 1) * width], wide[i, dim + h * width : dim + (h + 1) * width]
                v = wide[i, 2 * dim + h * width : 2 * dim + (h + 1) * width]
                q_low, q_high = q[:half], q[half:]
                for j in range(half):
                    a, b = q_low[j], q_high[j]
                    q_low[j] = (a * c[j] - b * w[j]) * scale
                    q_high[j] = (a * w[j] + b * c[j]) * scale
                k_low, k_high = k[:half], k[half:]
                for j in range(half):
                    a, b = k_low[j], k_high[j]
                    k_low[j] = a * c[j] - b * w[j]
                    k_high[j] = a * w[j] + b * c[j]
                put_key(keys[sequence, h, tile], lane, k)
                for panel in range(values.shape[2]):
                    put_value(values[sequence, h, panel], at, v[panel * PANEL : (panel + 1) * PANEL])
            i += 1


@njit(**NO_REFCOUNT)
def _attend_heads(q, i, rows, width, keys, values, low, high, begins, ends, scores, sums, out):
    """`attend` for every head of one sequence; `width` is a head's."""
    for h in range(keys.shape[0]):
        attend(q, i, rows, h * width, keys[h], values[h], low, high, begins, ends, scores, sums, out)


@njit(**REFCOUNTED)
def _self_attention(wide, spans, starts, heads, dim, window, keys, values, scores, sums, out):
    begins, ends = np.empty(QUERIES, np.int64), np.empty(QUERIES, np.int64)
    q = operand(wide, dim, keys, spans[:, 2].sum())
    i = np.int64(0)
    for s in range(spans.shape[0]):
        sequence, first, count = spans[s]
        done = 0
        while done < count:
            rows = min(QUERIES, count - done)
            for r in range(rows):
                position = first + done + r
                begins[r] = max(0, position - window + 1) - starts[sequence]
                ends[r] = position + 1 - starts[sequence]
            low = begins[0] // PANEL * PANEL
            high = (ends[rows - 1] + PANEL - 1) // PANEL * PANEL
            _attend_heads(
                q, i, rows, dim // heads, keys[sequence], values[sequence], low, high, begins, ends, scores, sums, out
            )
            done += rows
            i += rows


@njit(**REFCOUNTED)
def _cross_attention(wide, spans, heads, dim, keys, values, count, scores, sums, out):
    begins, ends = np.zeros(QUERIES, np.int64), np.full(QUERIES, count)
    scale = _UNIT / np.sqrt(np.float32(dim // heads))
    low, high = np.int64(0), (count + PANEL - 1) // PANEL * PANEL
    m = spans[:, 2].sum()
    for r in range(m):
        row = wide[r, :dim]
        for j in range(dim):
            row[j] *= scale
    q = operand(wide, dim, keys, m)
    i = np.int64(0)
    for s in range(spans.shape[0]):
        sequence = spans[s, 0]
        done = 0
        while done < spans[s, 2]:
            rows = min(QUERIES, spans[s, 2] - done)
            _attend_heads(
                q, i, rows, dim // heads, keys[sequence], values[sequence], low, high, begins, ends, scores, sums, out
            )
            done += rows
            i += rows


@njit(**NO_REFCOUNT)
def run_layers(
    model, plan, first, last, cache, spans, starts, window, table, x, scratch, states, state_starts, state_layer
):  # fmt: skip
    """Layers first..last - 1 of a stack over x (M, D), in place.

    model: gains, weights, numbers in a word, dim, heads, hidden width. cache: keys (layers, B, H, tiles, K, PANEL),
    values (layers, B, H, panels, T, PANEL), the same of the condition, and how many condition tokens there are.
    Before layer `state_layer` x is written to the rolling buffer `states`.
    """
    gains, weights, per_word, dim, heads, hidden = model
    keys, values, cross_keys, cross_values, conditions = cache
    normed, wide, mixed, scores, sums = scratch
    m = spans[:, 2].sum()
    for layer in range(first, last):
        if layer == state_layer:
            store(x, spans, state_starts, dim, states)
        at = plan[layer]
        normalise(x, gains, at[GAIN_ATTENTION], dim, normed, m)
        clear_rows(wide, m, (3 * dim + PANEL - 1) // PANEL * PANEL)
        linear(normed, dim, weights, at[QKV], per_word, wide, 3 * dim, m)
        _rotate_and_store(wide, spans, starts, heads, dim, table[0], table[1], keys[layer], values[layer])
        _self_attention(
            wide, spans, starts, heads, dim, window, keys[layer], values[layer], scores, sums, mixed
        )  # fmt: skip
        linear(mixed, dim, weights, at[OUT], per_word, x, dim, m)
        if at[CROSS_Q] >= 0:
            normalise(x, gains, at[GAIN_CROSS], dim, normed, m)
            clear_rows(wide, m, (dim + PANEL - 1) // PANEL * PANEL)
            linear(normed, dim, weights, at[CROSS_Q], per_word, wide, dim, m)
            _cross_attention(
                wide, spans, heads, dim, cross_keys[layer], cross_values[layer], conditions, scores, sums, mixed
            )  # fmt: skip
            linear(mixed, dim, weights, at[CROSS_OUT], per_word, x, dim, m)
        normalise(x, gains, at[GAIN_FEED_FORWARD], dim, normed, m)
        clear_rows(wide, m, (2 * hidden + PANEL - 1) // PANEL * PANEL)
        linear(normed, dim, weights, at[UP], per_word, wide, 2 * hidden, m)
        _gate(wide, m, hidden, mixed)
        linear(mixed, hidden, weights, at[DOWN], per_word, x, dim, m)


@njit(**NO_REFCOUNT)
def store(x, spans, starts, dim, buffer):
    """Write the rows to the rolling buffer (B, T, D)."""
    i = np.int64(0)
    for s in range(spans.shape[0]):
        sequence, first, count = spans[s]
        for at in range(first - starts[sequence], first - starts[sequence] + count):
            for j in range(dim):
                buffer[sequence, at, j] = x[i, j]
            i += 1


@njit(**NO_REFCOUNT)
def add_stored(x, spans, starts, dim, buffer):
    """Add the rolling buffer's rows to x."""
    i = np.int64(0)
    for s in range(spans.shape[0]):
        sequence, first, count = spans[s]
        for at in range(first - starts[sequence], first - starts[sequence] + count):
            for j in range(dim):
                x[i, j] += buffer[sequence, at, j]
            i += 1


@njit(**NO_REFCOUNT)
def shorten(weights, at, per_word, dim, buffer, starts, spans, wide, x):
    """x, one row for every three rows of the buffer: they are concatenated and projected. `spans` is of the groups."""
    i = np.int64(0)
    for s in range(spans.shape[0]):
        sequence, first, count = spans[s]
        for group in range(first, first + count):
            for part in range(3):
                row = 3 * group + part - starts[sequence]
                for j in range(dim):
                    wide[i, part * dim + j] = buffer[sequence, row, j]
            i += 1
    clear_rows(x, i, (dim + PANEL - 1) // PANEL * PANEL)
    linear(wide, 3 * dim, weights, at, per_word, x, dim, i)


@njit(**NO_REFCOUNT)
def upsample(weights, at, per_word, dim, x, spans, wide, starts, buffer):
    """Project each row to three and store those of group g at positions 3g + 2 to 3g + 4."""
    m = spans[:, 2].sum()
    clear_rows(wide, m, (3 * dim + PANEL - 1) // PANEL * PANEL)
    linear(x, dim, weights, at, per_word, wide, 3 * dim, m)
    i = np.int64(0)
    for s in range(spans.shape[0]):
        sequence, first, count = spans[s]
        for group in range(first, first + count):
            for part in range(3):
                row = 3 * group + 2 + part - starts[sequence]
                for j in range(dim):
                    buffer[sequence, row, j] = wide[i, part * dim + j]
            i += 1


@njit(**NO_REFCOUNT)
def embed(tokens, spans, embeddings, slots, x):
    """x = token embedding + slot embedding, padding zero."""
    dim = embeddings.shape[1]
    i = np.int64(0)
    for s in range(spans.shape[0]):
        for position in range(spans[s, 1], spans[s, 1] + spans[s, 2]):
            token, slot = tokens[i], position % slots.shape[0]
            for j in range(dim):
                x[i, j] = embeddings[token, j] + slots[slot, j]
            for j in range(dim, x.shape[1]):
                x[i, j] = _ZERO
            i += 1


@njit(**NO_REFCOUNT)
def _find_bits(bits, found):
    """Write the numbers of the set bits to `found`; how many there are."""
    count, eights = np.int64(0), bits.shape[0] // 8 * 8
    for first in range(0, eights, 8):  # most are zero
        some = bits[first]
        for bit in range(first + 1, first + 8):
            some |= bits[bit]
        if some:
            for bit in range(first, first + 8):
                if bits[bit]:
                    found[count] = bit
                    count += 1
    for bit in range(eights, bits.shape[0]):
        if bits[bit]:
            found[count] = bit
            count += 1
    return count


@njit(**NO_REFCOUNT)
def _fetch_row(matrix, row):
    for column in range(0, matrix.shape[1], LINE // matrix.itemsize):
        prefetch(matrix, row, np.int64(column))


@njit(**REFCOUNTED)
def add_slices(rows, spans, slices, x):
    """Add the rows of the next slot's matrix (slots, R Q, D) where a bit of `rows` (M, R Q) is set.

    The matrices are float32, or bfloat16 as bits in uint16. Their rows lie far apart, so they are prefetched.
    """
    noinline()
    i, found = np.int64(0), np.empty(rows.shape[1], np.int64)
    for s in range(spans.shape[0]):
        for position in range(spans[s, 1], spans[s, 1] + spans[s, 2]):
            matrix, out = slices[(position + 1) % slices.shape[0]], x[i]
            count = _find_bits(rows[i], found)
            for number in range(min(count, FETCHED)):
                _fetch_row(matrix, found[number])
            for number in range(count):
                if number + FETCHED < count:
                    _fetch_row(matrix, found[number + FETCHED])
                row = matrix[found[number]]
                for j in range(row.shape[0]):
                    out[j] += as_float(row[j])
            i += 1


@njit(**NO_REFCOUNT)
def make_logits(x, dim, gain, head, bias, rows, kinds, m, normed, wide, logits):
    """Logits (M, C): the head's, and for each of `kinds` slice rows its gate and the gate of its lowest set bin.

    head: panels of C columns and, where there are rows, 2 R gates, whose bias is in `bias` (padded N,).
    """
    classes = logits.shape[1]
    bins = classes - 1
    normalise(x, gain, np.int64(0), dim, normed, m)
    for i in range(m):
        for j in range(bias.shape[0]):
            wide[i, j] = bias[j]
    linear(normed, dim, head, np.int64(0), np.int64(1), wide, bias.shape[0], m)
    for i in range(m):
        for j in range(classes):
            logits[i, j] = wide[i, j]
        for kind in range(kinds):
            gate = wide[i, classes + kind]
            lowest = True
            for j in range(bins):
                if rows[i, kind * bins + j]:
                    logits[i, j] += gate
                    if lowest:
                        logits[i, j] += wide[i, classes + kinds + kind]
                        lowest = False


@njit(**REFCOUNTED)
def _groups(spans):
    """The spans one level up: whole groups of three that the given spans complete."""
    groups = np.empty((spans.shape[0], 3), np.int64)
    found = 0
    for s in range(spans.shape[0]):
        first, end = spans[s, 1] // 3, (spans[s, 1] + spans[s, 2]) // 3
        if end > first:
            groups[found, 0], groups[found, 1], groups[found, 2] = spans[s, 0], first, end - first
            found += 1
    return groups[:found]


class Arrays(NamedTuple):
    """What a pass works on beside its rows; compiled functions are given a reference to it.

    model: as in `run_layers`. levels: a level's plan and how many of its layers come before the level above. between:
    where vertex_in, face_in, face_out, vertex_out begin. ends: embeddings, slots, slices, gain, head, bias. caches: a
    level's keys, values, those of the condition, its starts, its window, its states and their starts. buffers: rolling
    coordinate and vertex states, and what comes down from faces and vertices, each with its starts. table: rotary
    cosines and sines. xs: a level's rows.
    """

    model: tuple
    levels: tuple
    between: tuple
    ends: tuple
    caches: tuple
    buffers: tuple
    table: tuple
    xs: tuple
    scratch: tuple


@njit(**REFCOUNTED, cache=True)
def run_pass(arrays, tokens, spans, rows, logits):
    """Rows of every sequence through all levels; their logits (M, C). False for a token that has no embedding."""
    model, levels, between, ends, caches = arrays.model, arrays.levels, arrays.between, arrays.ends, arrays.caches
    buffers, table, xs, scratch = arrays.buffers, arrays.table, arrays.xs, arrays.scratch
    _, weights, per_word, dim, _, _ = model
    embeddings, slots, slices, gain, head, bias = ends
    wide, bins = scratch[1], logits.shape[1] - 1
    x, v, f = xs
    m = spans.shape[0]
    for token in tokens:
        if not 0 <= token < embeddings.shape[0]:
            return False
    embed(tokens, spans, embeddings, slots, x)
    _run(model, levels[0], 0, caches[0], spans, table, x, scratch)
    store(x, spans, buffers[0][1], dim, buffers[0][0])
    vertices = _groups(spans)
    if vertices.shape[0]:
        shorten(weights, between[0], per_word, dim, buffers[0][0], buffers[0][1], vertices, wide, v)
        _run(model, levels[1], 0, caches[1], vertices, table, v, scratch)
        store(v, vertices, buffers[1][1], dim, buffers[1][0])
        faces = _groups(vertices)
        if faces.shape[0]:
            shorten(weights, between[1], per_word, dim, buffers[1][0], buffers[1][1], faces, wide, f)
            _run(model, levels[2], 0, caches[2], faces, table, f, scratch)
            upsample(weights, between[2], per_word, dim, f, faces, wide, buffers[2][1], buffers[2][0])
        add_stored(v, vertices, buffers[2][1], dim, buffers[2][0])
        _run(model, levels[1], 1, caches[1], vertices, table, v, scratch)
        upsample(weights, between[3], per_word, dim, v, vertices, wide, buffers[3][1], buffers[3][0])
    add_stored(x, spans, buffers[3][1], dim, buffers[3][0])
    if rows.shape[1]:
        add_slices(rows, spans, slices, x)
    _run(model, levels[0], 1, caches[0], spans, table, x, scratch)
    kinds = rows.shape[1] // bins
    make_logits(x, dim, gain, head, bias, rows, kinds, spans[:m, 2].sum(), scratch[0], wide, logits)
    return True


@njit(**NO_REFCOUNT)
def _run(model, level, half, cache, spans, table, x, scratch):
    """The layers of a level before (half 0) or after the level above."""
    noinline()
    plan, below = level
    keys, values, cross_keys, cross_values, conditions, starts, window, states, state_starts = cache
    first, last = (0, below) if half == 0 else (below, plan.shape[0])
    run_layers(
        model, plan, first, last, (keys, values, cross_keys, cross_values, conditions), spans, starts, window, table, x,
        scratch, states, state_starts, plan.shape[0] - 1,
    )  # fmt: skip
