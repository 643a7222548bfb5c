"""What this CPU can do, and the sizes that the kernels of the CPU runtime follow from it."""

from __future__ import annotations

import ctypes
import sys

from llvmlite import binding

PANEL = 64  # columns of a panel, and keys of a tile
LANES = 16
FEATURES = binding.get_host_cpu_features()
# With 512-bit registers a row takes all four vectors of a panel at once; else one, for want of registers.
VECTORS = 4 if FEATURES.get("avx512f") else 1
binding.initialize_native_asmparser()  # for instructions that are given as assembly
# Whether one instruction multiplies pairs of 16-bit numbers and adds each pair's products.
HAS_PAIRS = bool(FEATURES.get("avx512bw" if VECTORS == 4 else "avx2"))


def _may_use_tiles() -> bool:
    """Whether the CPU has matrix tiles (AMX) for bfloat16 and the system lets this process use them."""
    wanted = ("avx512f", "avx512bf16", "amx-bf16")
    if not (all(FEATURES.get(name) for name in wanted) and sys.platform == "linux"):
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0


# Without tiles bfloat16 activations gain nothing: where the CPU has dot products of bfloat16 but no tiles they were
# measured to be half as fast as the same products in float32 (docs/profile.md).
HAS_TILES = _may_use_tiles()
