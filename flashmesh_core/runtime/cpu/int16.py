"""Products of 16-bit integers for the CPU runtime, for CPUs without matrix tiles.

A row of activations and a column of weights are integers times a scale each, so small that no sum over K leaves
32 bits. The instructions that add products of pairs do twice the work of a multiply-add of float32 (VNNI), or as much
with two instructions (AVX2, AVX-512); sums of integers are exact, so they depend on nothing beside them.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from flashmesh_core.runtime.cpu.cpu_features import FEATURES, HAS_PAIRS, LANES, VECTORS

_LARGEST_SUM = 2**31 - 1
ROUND = 12582912.0  # 1.5 * 2^23: with it added, the low bits of a float32 are its nearest integer
_I16, _I32, _I64, _F32 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_I32, LANES), ir.VectorType(_F32, LANES)
_WIDE = VECTORS == 4  # registers of 512 bits
_PART = LANES if _WIDE else LANES // 2  # lanes of a register
_ADDS = "avx512vnni" if _WIDE else "avxvnni"  # what adds the sum so far as well


@register_jitable
def max_integer(depth: int) -> int:
    """The largest integer that may stand on both sides of products over `depth` numbers."""
    return min(int(math.sqrt(_LARGEST_SUM // depth)), 32767)


def splat(builder: Any, value: Any) -> Any:
    """LLVM code: 16 lanes of one float32."""
    undefined = ir.Constant(_FLOATS, ir.Undefined)
    lone = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(lone, undefined, ir.Constant(_INTS, [0] * LANES))


def fma_of_lanes(builder: Any) -> Any:
    """LLVM's multiply-add of 16 lanes of float32, to be called."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")


def add_products(builder: Any, x: Any, weights: Any, total: Any) -> Any:
    """LLVM code: `total` plus the products of both halves of the words, 16 lanes of 32 bits each."""
    if not HAS_PAIRS:
        sixteen = ir.Constant(_INTS, [16] * LANES)
        for _ in range(2):
            total = builder.add(total, builder.mul(builder.ashr(x, sixteen), builder.ashr(weights, sixteen)))
            x, weights = builder.shl(x, sixteen), builder.shl(weights, sixteen)
        return total
    undefined = ir.Constant(_INTS, ir.Undefined)
    parts = []
    for first in range(0, LANES, _PART):
        lanes = ir.Constant(ir.VectorType(_I32, _PART), list(range(first, first + _PART)))
        parts.append(_add_part(builder, *(builder.shuffle_vector(v, undefined, lanes) for v in (x, weights, total))))
    return parts[0] if _WIDE else builder.shuffle_vector(*parts, ir.Constant(_INTS, list(range(LANES))))


def _add_part(builder: Any, x: Any, weights: Any, total: Any) -> Any:
    """The same for one register."""
    words, halves = ir.VectorType(_I32, _PART), ir.VectorType(_I16, 2 * _PART)
    if FEATURES.get(_ADDS):  # LLVM finds the instruction by itself in a few cases only
        code, kinds = ("vpdpwssd $2, $1, $0", "=v,v,v,0") if _WIDE else ("{vex} vpdpwssd $2, $1, $0", "=x,x,x,0")
        return builder.call(ir.InlineAsm(ir.FunctionType(words, [words] * 3), code, kinds), [x, weights, total])
    name = "llvm.x86.avx512.pmaddw.d.512" if _WIDE else "llvm.x86.avx2.pmadd.wd"
    multiply = cgutils.get_or_insert_function(builder.module, ir.FunctionType(words, [halves, halves]), name)
    return builder.add(total, builder.call(multiply, [builder.bitcast(x, halves), builder.bitcast(weights, halves)]))


def _largest_size_code(typingctx: Any, source: Any, at: Any, count: Any):
    """The largest size among `count` float32, a multiple of 16."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        entry = builder.block
        loop, done = builder.append_basic_block("size"), builder.append_basic_block("size.end")
        zeros = ir.Constant(_INTS, [0] * LANES)
        builder.cbranch(builder.icmp_signed(">", args[2], _I64(0)), loop, done)
        builder.position_at_end(loop)
        k, largest = builder.phi(_I64), builder.phi(_INTS)
        place = builder.gep(data, [builder.add(args[1], k)])
        bits = builder.load(builder.bitcast(place, _INTS.as_pointer()), align=4)
        sizes = builder.and_(bits, ir.Constant(_INTS, [0x7FFFFFFF] * LANES))  # ordered like the numbers themselves
        larger = builder.select(builder.icmp_signed(">", sizes, largest), sizes, largest)
        following = builder.add(k, _I64(LANES))
        for phi, first, then in ((k, _I64(0), following), (largest, zeros, larger)):
            phi.add_incoming(first, entry)
            phi.add_incoming(then, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[2]), loop, done)
        builder.position_at_end(done)
        found = builder.phi(_INTS)
        found.add_incoming(zeros, entry)
        found.add_incoming(larger, loop)
        kind = ir.FunctionType(_I32, [_INTS])
        reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.smax.v{LANES}i32")
        return builder.bitcast(builder.call(reduce, [found]), _F32)

    return types.float32(source, at, count), codegen


def _round_code(typingctx: Any, source: Any, at: Any, target: Any, to: Any, factor: Any):
    """Round `factor` times 32 float32 to integers and store them as 16 words of two."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        halves = ir.VectorType(_I16, LANES)
        array = [context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 2)]
        step, factors = fma_of_lanes(builder), splat(builder, args[4])
        for part in range(2):
            place = builder.gep(array[0], [builder.add(args[1], _I64(part * LANES))])
            numbers = builder.load(builder.bitcast(place, _FLOATS.as_pointer()), align=4)
            shifted = builder.call(step, [numbers, factors, ir.Constant(_FLOATS, [ROUND] * LANES)])
            place = builder.gep(array[1], [builder.add(args[3], _I64(part * LANES // 2))])
            place = builder.bitcast(place, halves.as_pointer())
            builder.store(builder.trunc(builder.bitcast(shifted, _INTS), halves), place, align=4)
        return context.get_dummy_value()

    return types.void(source, at, target, to, types.float32), codegen


largest_size: Any = intrinsic(_largest_size_code)
round_pairs: Any = intrinsic(_round_code)
