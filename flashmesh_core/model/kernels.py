"""The compiled parts of the CPU runtime: a micro-kernel for matrix products, attention, and whole stacks of layers.

Everything is written so that a row's numbers do not depend on the rows beside it: every output element is one chain of
fused multiply-adds in a fixed order, sums over a row have a length that the row's own position determines, and there
is no dependence on threads. Matrices are cut into panels of 64 columns, (N / 64, K, 64), float32, or bfloat16 in pairs
along K, (N / 64, K / 2, 64): uint32 is multiplied in float32 with float32 activations, int32 with bfloat16 activations,
by dot products (AVX-512) or by tiles (AMX): up to 16 rows then cost little more than one.

Rows of activations are padded to a multiple of 64 numbers. A `span` (sequence, first position, count) names the rows
that one sequence contributes; spans follow each other in the rows' order.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

PANEL = 64  # columns of a panel, and keys of a tile
LANES = 16
QUERIES = 30  # rows that attention holds scores of at once
CHUNK = 128  # keys whose values are read for all rows before the next ones
AHEAD = 32  # rows of a panel between what is multiplied and what is fetched: measured, 8 and 128 are slower
# With 512-bit registers a row takes all four vectors of a panel at once; else one, for want of registers.
_FEATURES = binding.get_host_cpu_features()
VECTORS = 4 if _FEATURES.get("avx512f") else 1
if _FEATURES.get("avx512bf16"):
    binding.initialize_native_asmparser()
HAS_DOTS = bool(_FEATURES.get("avx512f") and _FEATURES.get("avx512bf16"))


def _may_use_tiles() -> bool:
    """Whether the CPU has matrix tiles (AMX) for bfloat16 and the system lets this process use them."""
    if not (HAS_DOTS and _FEATURES.get("amx-bf16") and sys.platform == "linux"):
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0


HAS_TILES = _may_use_tiles()
TILE_ROWS = 16  # rows of a tile, and words along K


# What a matrix's dtype means: numbers; pairs of bfloat16 multiplied in float32; the same multiplied by pairs of
# bfloat16 activations, whose words stand in an array of float32.
_KINDS = {types.float32: "floats", types.uint32: "pairs", types.int32: "dots"}


def _panel_product(rows: int) -> Any:
    """An intrinsic that adds `rows` rows of A times LANES * VECTORS columns of B to C; offsets in numbers."""

    @intrinsic
    def multiply(typingctx: Any, a: Any, a0: Any, a_step: Any, b: Any, b0: Any, c: Any, c0: Any, c_step: Any, n: Any):
        kind = _KINDS[b.dtype]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = [context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 3, 5)]
            _emit(builder, rows, kind, data, (args[1], args[2], args[4], args[6], args[7]), args[8])
            return context.get_dummy_value()

        return types.void(a, a0, a_step, b, b0, c, c0, c_step, n), codegen

    return multiply


def _emit(builder: Any, rows: int, kind: str, data: list[Any], offsets: tuple[Any, ...], count: Any) -> None:
    """LLVM code of the loop over K: the sums of all rows and vectors stay in registers."""
    a, b, c = data
    a0, a_step, b0, c0, c_step = offsets
    f32, i32, i64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
    floats, ints = ir.VectorType(f32, LANES), ir.VectorType(i32, LANES)
    name = f"llvm.fma.v{LANES}f32"
    step = cgutils.get_or_insert_function(builder.module, ir.FunctionType(floats, [floats] * 3), name)
    if kind == "dots":
        step = ir.InlineAsm(ir.FunctionType(floats, [ints, ints, floats]), "vdpbf16ps $2, $1, $0", "=v,v,v,0")

    def number(value: int) -> Any:
        return ir.Constant(i64, value)

    def splat(value: Any) -> Any:
        vector = builder.insert_element(ir.Constant(floats, ir.Undefined), value, ir.Constant(i32, 0))
        return builder.shuffle_vector(vector, ir.Constant(floats, ir.Undefined), ir.Constant(ints, [0] * LANES))

    def row_of(base: Any, step: Any, row: int) -> Any:
        return builder.add(base, builder.mul(step, number(row)))

    def vectors_at(base: Any, index: Any, vector: Any) -> list[Any]:
        at = [builder.gep(base, [builder.add(index, number(v * LANES))]) for v in range(VECTORS)]
        return [builder.bitcast(pointer, vector.as_pointer()) for pointer in at]

    places = [vectors_at(c, row_of(c0, c_step, row), floats) for row in range(rows)]
    begin = [[builder.load(place, align=4) for place in row] for row in places]
    a_rows = [row_of(a0, a_step, row) for row in range(rows)]
    entry = builder.block
    loop, done = builder.append_basic_block("k"), builder.append_basic_block("k.end")
    builder.cbranch(builder.icmp_signed(">", count, number(0)), loop, done)
    builder.position_at_end(loop)
    k = builder.phi(i64)
    sums = [[builder.phi(floats) for _ in range(VECTORS)] for _ in range(rows)]
    k.add_incoming(number(0), entry)
    at_b = builder.add(b0, builder.mul(k, number(PANEL)))
    _prefetch(builder, b, builder.add(at_b, number(AHEAD * PANEL)))
    loaded = [builder.load(place, align=4) for place in vectors_at(b, at_b, floats if kind == "floats" else ints)]
    halves = [(loaded, 0)]
    if kind == "pairs":
        shift, mask = ir.Constant(ints, [16] * LANES), ir.Constant(ints, [0xFFFF0000] * LANES)
        low = [builder.bitcast(builder.shl(word, shift), floats) for word in loaded]
        high = [builder.bitcast(builder.and_(word, mask), floats) for word in loaded]
        halves = [(low, 0), (high, 1)]
    after = [list(row) for row in sums]
    for weights, half in halves:
        along = builder.add(builder.shl(k, number(1)), number(half)) if kind == "pairs" else k
        for row in range(rows):
            x = splat(builder.load(builder.gep(a, [builder.add(a_rows[row], along)]), align=4))
            if kind == "dots":
                x = builder.bitcast(x, ints)
            after[row] = [builder.call(step, [x, w, s]) for w, s in zip(weights, after[row], strict=True)]
    following = builder.add(k, number(1))
    k.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    builder.position_at_end(done)
    for row in range(rows):
        for v in range(VECTORS):
            sums[row][v].add_incoming(begin[row][v], entry)
            sums[row][v].add_incoming(after[row][v], loop)
            out = builder.phi(floats)
            out.add_incoming(begin[row][v], entry)
            out.add_incoming(after[row][v], loop)
            places[row][v] = (places[row][v], out)
    for place, out in (pair for row in places for pair in row):
        builder.store(out, place, align=4)


def _prefetch(builder: Any, base: Any, index: Any) -> None:
    """Ask for the weights that come `AHEAD` steps later: panels follow each other, and the caches are often cold."""
    byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read, near, data = (ir.Constant(i32, value) for value in (0, 3, 1))
    for v in range(VECTORS):
        place = builder.gep(base, [builder.add(index, ir.Constant(ir.IntType(64), v * LANES))])
        builder.call(function, [builder.bitcast(place, byte), read, near, data])


_six, _three, _two, _one = (_panel_product(rows) for rows in (6, 3, 2, 1))


def _fma_code(typingctx: Any, a: Any, b: Any, c: Any):
    """a * b + c in float32, rounded once."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        f32 = ir.FloatType()
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(f32, [f32] * 3), "llvm.fma.f32")
        return builder.call(function, args)

    return types.float32(types.float32, types.float32, types.float32), codegen


def _times_power_code(typingctx: Any, value: Any, shifted: Any):
    """`value` times two to the integer that stands in the low bits of `shifted`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        f32, i32 = ir.FloatType(), ir.IntType(32)
        exponent = builder.shl(builder.bitcast(args[1], i32), ir.Constant(i32, 23))
        return builder.bitcast(builder.add(builder.bitcast(args[0], i32), exponent), f32)

    return types.float32(types.float32, types.float32), codegen


def _as_float_code(typingctx: Any, value: Any):
    """A float32, or a bfloat16 given as its bits, as a float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0] == types.float32:
            return args[0]
        i32 = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.zext(args[0], i32), ir.Constant(i32, 16)), ir.FloatType())

    return types.float32(value), codegen


def _apart_code(typingctx: Any):
    """Keep the calling function out of line: compiled once, not at each call."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


def _bits_code(typingctx: Any, value: Any):
    """A float32 rounded to bfloat16, as the low bits of an int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.bitcast(args[0], i32)
        sixteen, one = ir.Constant(i32, 16), ir.Constant(i32, 1)
        tie = builder.and_(builder.lshr(bits, sixteen), one)
        return builder.lshr(builder.add(bits, builder.add(tie, ir.Constant(i32, 0x7FFF))), sixteen)

    return types.int32(types.float32), codegen


apart: Any = intrinsic(_apart_code)
_bits: Any = intrinsic(_bits_code)
as_float: Any = intrinsic(_as_float_code)
fma: Any = intrinsic(_fma_code)
_times_power: Any = intrinsic(_times_power_code)

_ROUND, _LOG2E = np.float32(12582912.0), np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
_LOWEST, _HIGHEST = np.float32(-87.0), np.float32(87.0)
_E = tuple(np.float32(v) for v in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1))
_E5 = np.float32(0.5)
_E0, _E1, _E2, _E3, _E4 = _E
_ZERO, _UNIT, _SMALLEST = np.float32(0.0), np.float32(1.0), np.float32(-3.0e38)


@njit(nogil=True, error_model="numpy")
def exp32(x):
    """e to the x within 2 units in the last place for |x| <= 87, beyond that the value at the bound (Cephes)."""
    x = min(max(x, _LOWEST), _HIGHEST)
    shifted = fma(x, _LOG2E, _ROUND)
    whole = shifted - _ROUND
    r = fma(whole, _LN2_LOW, fma(whole, _LN2_HIGH, x))
    p = fma(fma(fma(fma(fma(_E0, r, _E1), r, _E2), r, _E3), r, _E4), r, _E5)
    return _times_power(fma(p, r * r, r + _UNIT), shifted)


def _tile_layouts() -> np.ndarray:
    """What `ldtilecfg` reads for 1 to 16 rows: tiles 0 to 4 (sums and activations) are so high, the others full."""
    layouts = np.zeros((TILE_ROWS, 64), np.uint8)
    layouts[:, 0] = 1
    for rows in range(1, TILE_ROWS + 1):
        layouts[rows - 1, 16:32:2] = 64  # bytes a row
        layouts[rows - 1, 48:53] = rows
        layouts[rows - 1, 53:56] = TILE_ROWS
    return layouts


_LAYOUTS = _tile_layouts()


def _tile_code(fresh: bool) -> str:
    """The loops over panels and K: C in tiles 0 to 3, A in 4, the four of B in turn in 5 to 7.

    What of B comes AHEAD is asked for. `fresh`: C begins at zero.
    """
    steps = [
        line
        for v in range(4)
        for line in (
            f"tileloadd {64 * v}($0,$5,1), %tmm{5 + v % 3}",
            *(f"prefetcht0 {4 * PANEL * AHEAD + 64 * (TILE_ROWS * v + row)}($0)" for row in range(TILE_ROWS)),
            f"tdpbf16ps %tmm{5 + v % 3}, %tmm4, %tmm{v}",
        )
    ]
    return "\n".join([
        "ldtilecfg ($8)",
        "2:",
        "movq $9, $3",
        "movq $10, $4",
        *(f"tilezero %tmm{v}" if fresh else f"tileloadd {64 * v}($1,$6,1), %tmm{v}" for v in range(4)),
        "1:",
        "tileloadd ($3,$7,1), %tmm4",
        *steps,
        "addq $$64, $3",
        "addq $$4096, $0",
        "decq $4",
        "jnz 1b",
        *(f"tilestored %tmm{v}, {64 * v}($1,$6,1)" for v in range(4)),
        "addq $$256, $1",
        "decq $2",
        "jnz 2b",
    ])  # fmt: skip


def _tiles(fresh: bool) -> Any:
    """An intrinsic: C += A B (or C = A B) of at most 16 rows; n times 16 words along K, n and panels at least 1."""

    @intrinsic
    def multiply(typingctx: Any, a: Any, a0: Any, a_step: Any, b: Any, b0: Any, c: Any, c0: Any, c_step: Any, n: Any,
                 panels: Any, layouts: Any, rows: Any):  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            i64, kinds = ir.IntType(64), signature.args

            def at(array: int, offset: Any, size: int) -> Any:
                data = context.make_array(kinds[array])(context, builder, args[array]).data
                return builder.add(builder.ptrtoint(data, i64), builder.mul(offset, i64(size)))

            code = ir.InlineAsm(
                ir.FunctionType(ir.LiteralStructType([i64] * 5), [i64] * 9), _tile_code(fresh),
                "=r,=r,=r,=&r,=&r,r,r,r,r,r,r,0,1,2,~{memory},~{dirflag},~{fpsr},~{flags}", side_effect=True,
            )  # fmt: skip
            builder.call(code, [
                i64(4 * PANEL), builder.mul(args[7], i64(4)), builder.mul(args[2], i64(4)),
                at(10, builder.sub(args[11], i64(1)), 64), at(0, args[1], 4), args[8],
                at(3, args[4], 4), at(5, args[6], 4), args[9],
            ])  # fmt: skip
            return context.get_dummy_value()

        return types.void(a, a0, a_step, b, b0, c, c0, c_step, n, panels, layouts, rows), codegen

    return multiply


_add_tiles, _set_tiles = _tiles(False), _tiles(True)


def product(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels):
    """C += A B: `rows` rows, `panels` panels of B one after the other, `count` rows of B (bfloat16: pairs of rows)."""
    raise NotImplementedError("only for compiled code")


@overload(product, jit_options={"nogil": True, "error_model": "numpy"})
def _product(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels):
    if not HAS_TILES or b.dtype != types.int32:

        def by_vectors(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels):
            apart()
            for panel in range(panels):
                _by_vectors(
                    a, a0, a_step, b, b0 + panel * count * PANEL, c, c0 + panel * PANEL, c_step, rows, count
                )  # fmt: skip

        return by_vectors

    def by_tiles(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels):
        apart()
        whole, rest = count // TILE_ROWS, count % TILE_ROWS
        if rest:
            for panel in range(panels):
                at_b, at_c = b0 + panel * count * PANEL, c0 + panel * PANEL
                for i in range(0, rows if whole else 0, TILE_ROWS):
                    high = min(rows - i, TILE_ROWS)
                    _add_tiles(
                        a, a0 + i * a_step, a_step, b, at_b, c, at_c + i * c_step, c_step, whole, 1, _LAYOUTS, high
                    )  # fmt: skip
                done = count - rest
                _by_vectors(a, a0 + done, a_step, b, at_b + done * PANEL, c, at_c, c_step, rows, rest)
            return
        for i in range(0, rows if panels else 0, TILE_ROWS):
            high = min(rows - i, TILE_ROWS)
            _add_tiles(
                a, a0 + i * a_step, a_step, b, b0, c, c0 + i * c_step, c_step, whole, panels, _LAYOUTS, high
            )  # fmt: skip

    return by_tiles


@njit(nogil=True, error_model="numpy")
def _clear_panels(c, c0, c_step, rows, panels):
    flat = c.ravel()
    for i in range(rows):
        clear(flat[c0 + i * c_step : c0 + i * c_step + panels * PANEL])


def fresh_product(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels):
    """`product` over a C that counts as zero."""
    raise NotImplementedError("only for compiled code")


@overload(fresh_product, jit_options={"nogil": True, "error_model": "numpy"})
def _fresh_product(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels):
    if not HAS_TILES or b.dtype != types.int32:

        def by_vectors(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels):
            _clear_panels(c, c0, c_step, rows, panels)
            product(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels)

        return by_vectors

    def by_tiles(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels):
        if count % TILE_ROWS or not panels:
            _clear_panels(c, c0, c_step, rows, panels)
            product(a, a0, a_step, b, b0, c, c0, c_step, rows, count, panels)
            return
        for i in range(0, rows, TILE_ROWS):
            high = min(rows - i, TILE_ROWS)
            _set_tiles(
                a, a0 + i * a_step, a_step, b, b0, c, c0 + i * c_step, c_step, count // TILE_ROWS, panels, _LAYOUTS,
                high,
            )  # fmt: skip

    return by_tiles


@njit(nogil=True, error_model="numpy")
def _by_vectors(a, a0, a_step, b, b0, c, c0, c_step, rows, count):
    for v in range(0, PANEL, LANES * VECTORS):
        i = np.int64(0)
        while rows - i >= 6:
            _six(a, a0 + i * a_step, a_step, b, b0 + v, c, c0 + i * c_step + v, c_step, count)
            i += 6
        if rows - i >= 3:
            _three(a, a0 + i * a_step, a_step, b, b0 + v, c, c0 + i * c_step + v, c_step, count)
            i += 3
        if rows - i == 2:
            _two(a, a0 + i * a_step, a_step, b, b0 + v, c, c0 + i * c_step + v, c_step, count)
        elif rows - i == 1:
            _one(a, a0 + i * a_step, a_step, b, b0 + v, c, c0 + i * c_step + v, c_step, count)


def _narrow_code(typingctx: Any, source: Any, at: Any, target: Any, to: Any):
    """Round 32 float32 to bfloat16 and store them as 16 words."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        floats, i64 = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)
        array = [context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 2)]
        pointer = floats.as_pointer()
        low, high = (
            builder.load(builder.bitcast(builder.gep(array[0], [builder.add(args[1], i64(n))]), pointer), align=4)
            for n in (0, LANES)
        )
        code = ir.InlineAsm(ir.FunctionType(floats, [floats, floats]), "vcvtne2ps2bf16 $2, $1, $0", "=v,v,v")
        words = builder.call(code, [high, low])
        builder.store(words, builder.bitcast(builder.gep(array[1], [args[3]]), pointer), align=4)
        return context.get_dummy_value()

    return types.void(source, at, target, to), codegen


_narrow: Any = intrinsic(_narrow_code)


def operand(x, k, weights, m):
    """What `product` multiplies with `weights`: x itself, or its m rows of K numbers as words of two bfloat16."""
    raise NotImplementedError("only for compiled code")


@overload(operand, jit_options={"nogil": True, "error_model": "numpy"})
def _operand(x, k, weights, m):
    if weights.dtype != types.int32:
        return lambda x, k, weights, m: x

    def narrowed(x, k, weights, m):
        words = np.empty((m, (k + PANEL - 1) // PANEL * LANES * 2), dtype=np.float32)
        for i in range(m):
            for j in range(0, k, 2 * LANES):
                _narrow(x, i * x.shape[1] + j, words, i * words.shape[1] + j // 2)
        return words

    return narrowed


@njit(nogil=True, error_model="numpy")
def linear(x, k, weights, at, per_word, y, n, m):
    """y (m, N) += x (m, K) W, whose panels begin at `at`; `per_word` numbers along K stand in one word (1 or 2)."""
    apart()
    steps = (k + per_word - 1) // per_word
    a = operand(x, k, weights, m)
    panels = (n + PANEL - 1) // PANEL
    product(a, np.int64(0), a.shape[1], weights, at, y, np.int64(0), y.shape[1], m, steps, panels)


# Loops run from zero over views: where an index might be negative for all the compiler knows, it makes no vectors.


@njit(nogil=True, error_model="numpy")
def clear(row):
    """Zeros."""
    for j in range(row.shape[0]):
        row[j] = _ZERO


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _sum_squares(row):
    total = _ZERO
    for j in range(row.shape[0]):
        total += row[j] * row[j]
    return total


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _sum(row):
    total = _ZERO
    for j in range(row.shape[0]):
        total += row[j]
    return total


@njit(nogil=True, error_model="numpy")
def normalise(x, gains, at, dim, out, m):
    """RMS norm of each of m rows, gains from `at` on."""
    apart()
    gain = gains[at : at + dim]
    for i in range(m):
        scale = _UNIT / np.sqrt(_sum_squares(x[i, :dim]) / np.float32(dim) + np.float32(1e-6))
        for j in range(dim):
            out[i, j] = x[i, j] * scale * gain[j]


@njit(nogil=True, error_model="numpy")
def _largest(row, lanes):
    """The largest number of a row; `lanes` (PANEL,) is scratch."""
    apart()
    for lane in range(PANEL):
        lanes[lane] = _SMALLEST
    whole = row.shape[0] // PANEL
    for block in range(whole):
        part = row[block * PANEL : (block + 1) * PANEL]
        for lane in range(PANEL):
            lanes[lane] = part[lane] if part[lane] > lanes[lane] else lanes[lane]
    largest = _SMALLEST
    for j in range(whole * PANEL, row.shape[0]):
        largest = row[j] if row[j] > largest else largest
    for lane in range(PANEL):
        largest = lanes[lane] if lanes[lane] > largest else largest
    return largest


@njit(nogil=True, error_model="numpy")
def _exponentials(row, begin, end, largest, lanes):
    """Turn a row's scores begin..end - 1 into weights of at most 1, the others of their tiles into zeros; the sum.

    The sum's order follows from the row's own keys. `lanes` (PANEL,) is scratch.
    """
    apart()
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
    return _sum(lanes)


def numbers_in(matrix):
    """How many numbers along K stand in one word of a cache, 1 or 2."""
    raise NotImplementedError("only for compiled code")


@overload(numbers_in)
def _numbers_in(matrix):
    if matrix.dtype == types.int32:
        return lambda matrix: 2
    return lambda matrix: 1


def as_left(scores, rows, low, high, values):
    """Make scores low..high - 1 of each row what `product` multiplies with `values`: in place, from low / 2 on."""
    raise NotImplementedError("only for compiled code")


@overload(as_left, jit_options={"nogil": True, "error_model": "numpy"})
def _as_left(scores, rows, low, high, values):
    if values.dtype != types.int32:
        return lambda scores, rows, low, high, values: None

    def narrow(scores, rows, low, high, values):
        for i in range(rows):
            first = i * scores.shape[1]
            for j in range(low, high, 2 * LANES):
                _narrow(scores, first + j, scores, first + j // 2)

    return narrow


def put_key(tile, lane, k):
    """Write one key (K,) to its lane of a tile (K, PANEL), or of pairs (K / 2, PANEL)."""
    raise NotImplementedError("only for compiled code")


@overload(put_key, jit_options={"nogil": True, "error_model": "numpy"})
def _put_key(tile, lane, k):
    if tile.dtype == types.int32:

        def put_pairs(tile, lane, k):
            for j in range(tile.shape[0]):
                tile[j, lane] = _bits(k[2 * j]) | (_bits(k[2 * j + 1]) << np.int32(16))

        return put_pairs

    def put(tile, lane, k):
        for j in range(tile.shape[0]):
            tile[j, lane] = k[j]

    return put


def put_value(panel, at, v):
    """Write one value (at most PANEL,) to position `at` of a panel (T, PANEL), or of pairs (T / 2, PANEL)."""
    raise NotImplementedError("only for compiled code")


@overload(put_value, jit_options={"nogil": True, "error_model": "numpy"})
def _put_value(panel, at, v):
    if panel.dtype == types.int32:

        def put_half(panel, at, v):
            words = panel[at // 2]
            if at % 2:
                for j in range(v.shape[0]):
                    words[j] = (words[j] & np.int32(0xFFFF)) | (_bits(v[j]) << np.int32(16))
            else:
                for j in range(v.shape[0]):
                    words[j] = (words[j] & np.int32(-65536)) | _bits(v[j])

        return put_half

    def put(panel, at, v):
        row = panel[at]
        for j in range(v.shape[0]):
            row[j] = v[j]

    return put


@njit(nogil=True, error_model="numpy")
def attend(q, row, rows, at, keys, values, low, high, begins, ends, scores, sums, out):
    """Attention of one head for `rows` rows from `row` on; columns at.. of `q` and `out`.

    keys (tiles, K, PANEL), values (V panels of PANEL columns: panel, key, PANEL), or both in pairs along the middle
    axis, with `q` then as `operand` makes it; row i sees the keys begins[i]..ends[i] - 1. low and high are tile bounds,
    multiples of PANEL, around all of them.
    """
    apart()
    steps, per = keys.shape[1], numbers_in(keys)
    width = steps * per
    q_at, q_step, step = row * q.shape[1] + at // per, q.shape[1], scores.shape[1]
    tiles = (high - low) // PANEL
    fresh_product(q, q_at, q_step, keys, low * steps, scores, low, step, rows, steps, tiles)
    scales = np.empty(QUERIES, np.float32)
    for i in range(rows):
        largest = _largest(scores[i, begins[i] : ends[i]], sums[0])
        scales[i] = _UNIT / _exponentials(scores[i], begins[i], ends[i], largest, sums[0])
        clear(scores[i, low : begins[i] // PANEL * PANEL])
        clear(scores[i, (ends[i] + PANEL - 1) // PANEL * PANEL : high])
    as_left(scores, rows, low, high, values)
    chunk = CHUNK if per == 1 or not HAS_TILES else high  # tiles take all rows at once
    for panel in range(values.shape[0]):
        for i in range(rows):
            clear(sums[i])
        top, panel_step = panel * values.shape[1], np.int64(PANEL)
        for key in range(low // per, high // per, chunk):
            count = min(chunk, high // per - key)
            product(scores, key, step, values, (top + key) * PANEL, sums, np.int64(0), panel_step, rows, count, 1)
        first = panel * PANEL
        for i in range(rows):
            part = out[row + i, at + first : at + min(first + PANEL, width)]
            for j in range(part.shape[0]):
                part[j] = sums[i, j] * scales[i]
