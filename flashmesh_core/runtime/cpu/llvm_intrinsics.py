"""What the compiled parts of the CPU runtime are made of: LLVM code that numba has no words for.

A micro-kernel for products of a few rows by one panel, and single steps on float32 and bfloat16; see matmul.py for the
layout of panels.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from flashmesh_core.runtime.cpu.cpu_features import LANES, PANEL, VECTORS
from flashmesh_core.runtime.cpu.int16 import add_products, fma_of_lanes, splat

AHEAD = 32  # rows of a panel between what is multiplied and what is prefetched: measured, 8 and 128 are slower
# How functions are compiled: REFCOUNTED where they make arrays; else without counting references to those that they are
# given, which takes an atomic instruction for every slice. What is not said is inherited from the caller.
REFCOUNTED: Any = {"nogil": True, "error_model": "numpy", "_nrt": True}
NO_REFCOUNT: Any = REFCOUNTED | {"_nrt": False}

# What a matrix's dtype means: numbers; pairs of bfloat16 multiplied in float32; the same multiplied by pairs of
# bfloat16 activations, whose words stand in an array of float32; pairs of integers multiplied by pairs of
# integers, with a row of scales after the last pairs on both sides.
_KINDS = {types.float32: "floats", types.uint32: "pairs", types.int32: "dots", types.int16: "int16"}


def panel_product(rows: int, following: bool = False) -> Any:
    """An intrinsic that adds `rows` rows of A times LANES * VECTORS columns of B to C; offsets in numbers.

    It asks for the rows of B to come, or with `following` for two lines of each row that stands `far` beyond its own.
    """

    @intrinsic
    def multiply(
        typingctx: Any, a: Any, a0: Any, a_step: Any, b: Any, b0: Any, c: Any, c0: Any, c_step: Any, n: Any, far: Any
    ):  # fmt: skip
        kind = _KINDS[b.dtype]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = [context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 3, 5)]
            offsets = args[1], args[2], args[4], args[6], args[7]
            _Product(builder, rows, kind, data, offsets, args[8]).emit(args[9] if following else None)
            return context.get_dummy_value()

        return types.void(a, a0, a_step, b, b0, c, c0, c_step, n, far), codegen

    return multiply


class _Product:
    """The LLVM code of one micro-kernel. The sums of all rows and vectors stay in registers over the loop over K."""

    def __init__(self, builder: Any, rows: int, kind: str, data: list[Any], offsets: tuple[Any, ...], count: Any):
        self.builder, self.rows, self.kind, self.count = builder, rows, kind, count
        self.is_int16 = kind == "int16"
        self.a, self.b, self.c = data
        if self.is_int16:
            self.b = builder.bitcast(self.b, ir.IntType(32).as_pointer())
        self.a0, self.a_step, self.b0, self.c0, self.c_step = offsets
        self.floats, self.ints = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
        self.sums_of = self.ints if self.is_int16 else self.floats
        self.fma = self.step = fma_of_lanes(builder)
        if kind == "dots":
            kinds = ir.FunctionType(self.floats, [self.ints, self.ints, self.floats])
            self.step = ir.InlineAsm(kinds, "vdpbf16ps $2, $1, $0", "=v,v,v,0")

    def emit(self, far: Any) -> None:
        """The whole kernel; `far` as in `panel_product`, None where B comes panel after panel."""
        builder = self.builder
        places = [self._vectors_at(self.c, self._row_of(self.c0, self.c_step, row), self.floats)
                  for row in range(self.rows)]  # fmt: skip
        begin = [[self._begin(place) for place in row] for row in places]
        a_rows = [self._row_of(self.a0, self.a_step, row) for row in range(self.rows)]
        totals = self._loop(begin, a_rows, far)
        if self.is_int16:
            totals = self._scaled(places, totals, a_rows)
        for place, total in ((p, t) for row in zip(places, totals, strict=True) for p, t in zip(*row, strict=True)):
            builder.store(total, place, align=4)

    def _loop(self, begin: list[list[Any]], a_rows: list[Any], far: Any) -> list[list[Any]]:
        """The loop over K from the sums in `begin`; the sums after it, which may have no round."""
        builder = self.builder
        entry = builder.block
        loop, done = builder.append_basic_block("k"), builder.append_basic_block("k.end")
        builder.cbranch(builder.icmp_signed(">", self.count, _number(0)), loop, done)
        builder.position_at_end(loop)
        k = builder.phi(ir.IntType(64))
        sums = [[builder.phi(self.sums_of) for _ in range(VECTORS)] for _ in range(self.rows)]
        k.add_incoming(_number(0), entry)
        after = self._round(k, sums, a_rows, far)
        following = builder.add(k, _number(1))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, self.count), loop, done)
        builder.position_at_end(done)
        totals = [[builder.phi(self.sums_of) for _ in range(VECTORS)] for _ in range(self.rows)]
        for row in range(self.rows):
            for v in range(VECTORS):
                for phi in (sums[row][v], totals[row][v]):
                    phi.add_incoming(begin[row][v], entry)
                    phi.add_incoming(after[row][v], loop)
        return totals

    def _round(self, k: Any, sums: list[list[Any]], a_rows: list[Any], far: Any) -> list[list[Any]]:
        """The sums after the numbers at `k`, or the pairs there."""
        builder = self.builder
        at_b = builder.add(self.b0, builder.mul(k, _number(PANEL)))
        if far is None:
            _prefetch_row(builder, self.b, builder.add(at_b, _number(AHEAD * PANEL)), VECTORS, 3)
        else:
            _prefetch_row(builder, self.b, builder.add(at_b, far), 2, 2)
        words = self._vectors_at(self.b, at_b, self.floats if self.kind == "floats" else self.ints)
        after = [list(row) for row in sums]
        for weights, half in self._halves([builder.load(place, align=4) for place in words]):
            along = builder.add(builder.shl(k, _number(1)), _number(half)) if self.kind == "pairs" else k
            for row in range(self.rows):
                x = splat(builder, builder.load(builder.gep(self.a, [builder.add(a_rows[row], along)]), align=4))
                if self.kind in ("dots", "int16"):
                    x = builder.bitcast(x, self.ints)
                after[row] = [self._add(x, w, total) for w, total in zip(weights, after[row], strict=True)]
        return after

    def _halves(self, words: list[Any]) -> list[tuple[list[Any], int]]:
        """The weights that each half of words of bfloat16 pairs holds; other words as they are."""
        if self.kind != "pairs":
            return [(words, 0)]
        builder = self.builder
        shift, mask = ir.Constant(self.ints, [16] * LANES), ir.Constant(self.ints, [0xFFFF0000] * LANES)
        low = [builder.bitcast(builder.shl(word, shift), self.floats) for word in words]
        high = [builder.bitcast(builder.and_(word, mask), self.floats) for word in words]
        return [(low, 0), (high, 1)]

    def _scaled(self, places: list[list[Any]], totals: list[list[Any]], a_rows: list[Any]) -> list[list[Any]]:
        """Sums of integers times the scales that stand behind both sides' numbers, added to what C holds."""
        builder = self.builder
        at_scales = builder.add(self.b0, builder.mul(self.count, _number(PANEL)))
        scales = [builder.load(place, align=4) for place in self._vectors_at(self.b, at_scales, self.floats)]
        scaled = []
        for row in range(self.rows):
            at_scale = builder.gep(self.a, [builder.add(a_rows[row], self.count)])
            own = splat(builder, builder.load(at_scale, align=4))
            scaled.append([
                builder.call(self.fma, [builder.sitofp(total, self.floats), builder.fmul(own, scales[v]),
                                        builder.load(places[row][v], align=4)])
                for v, total in enumerate(totals[row])
            ])  # fmt: skip
        return scaled

    def _begin(self, place: Any) -> Any:
        return ir.Constant(self.ints, [0] * LANES) if self.is_int16 else self.builder.load(place, align=4)

    def _add(self, x: Any, weights: Any, total: Any) -> Any:
        if self.is_int16:
            return add_products(self.builder, x, weights, total)
        return self.builder.call(self.step, [x, weights, total])

    def _row_of(self, base: Any, step: Any, row: int) -> Any:
        return self.builder.add(base, self.builder.mul(step, _number(row)))

    def _vectors_at(self, base: Any, index: Any, vector: Any) -> list[Any]:
        at = [self.builder.gep(base, [self.builder.add(index, _number(v * LANES))]) for v in range(VECTORS)]
        return [self.builder.bitcast(pointer, vector.as_pointer()) for pointer in at]


def _number(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


def _prefetch_row(builder: Any, base: Any, index: Any, lines: int, near: int) -> None:
    """Ask for weights that come later: panels follow each other, and the caches are often cold.

    `near` is 3 for the first level of caches, 2 for the second.
    """
    for v in range(lines):
        _prefetch(builder, builder.gep(base, [builder.add(index, ir.Constant(ir.IntType(64), v * LANES))]), near)


def _prefetch(builder: Any, place: Any, locality: int = 3) -> None:
    byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read, near, data = (ir.Constant(i32, value) for value in (0, locality, 1))
    builder.call(function, [builder.bitcast(place, byte), read, near, data])


def _prefetch_code(typingctx: Any, matrix: Any, row: Any, column: Any):
    """Ask for the cache line in which an element of a matrix (N, K) stands."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        at = builder.add(builder.mul(args[1], builder.extract_value(array.shape, 1)), args[2])
        _prefetch(builder, builder.gep(array.data, [at]))
        return context.get_dummy_value()

    return types.void(matrix, row, column), codegen


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


def _noinline_code(typingctx: Any):
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


def _to_bf16_code(typingctx: Any, source: Any, at: Any, target: Any, to: Any):
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


noinline: Any = intrinsic(_noinline_code)
bits: Any = intrinsic(_bits_code)
as_float: Any = intrinsic(_as_float_code)
prefetch: Any = intrinsic(_prefetch_code)
fma: Any = intrinsic(_fma_code)
times_power: Any = intrinsic(_times_power_code)
to_bf16: Any = intrinsic(_to_bf16_code)
