"""Matrix tiles (AMX) of bfloat16 for the CPU runtime: up to 16 rows then cost little more than one.

Neither LLVM's Python binding nor numba has them, so the instructions are given as assembly. A row's sums do not
depend on the rows beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from flashmesh_core.runtime.cpu.cpu_features import PANEL
from flashmesh_core.runtime.cpu.llvm_intrinsics import AHEAD

TILE_ROWS = 16  # rows of a tile, and words along K


def _tile_layouts() -> np.ndarray:
    """What `ldtilecfg` reads for 1 to 16 rows: tiles 0 to 4 (sums and activations) are so high, the others full."""
    layouts = np.zeros((TILE_ROWS, 64), np.uint8)
    layouts[:, 0] = 1
    for rows in range(1, TILE_ROWS + 1):
        layouts[rows - 1, 16:32:2] = 64  # bytes a row
        layouts[rows - 1, 48:53] = rows
        layouts[rows - 1, 53:56] = TILE_ROWS
    return layouts


LAYOUTS = _tile_layouts()


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


add_tiles, set_tiles = _tiles(False), _tiles(True)
