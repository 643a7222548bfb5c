"""The splitmix64 finaliser: chance that depends on whole numbers alone, and not on what was asked before."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_0, _MIX_1 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


@njit(cache=True)
def splitmix(x: np.uint64) -> np.uint64:
    """64 bits that look as if they had nothing to do with `x`, always the same for the same `x`."""
    x = x + GOLDEN
    x = (x ^ (x >> _S30)) * _MIX_0
    x = (x ^ (x >> _S27)) * _MIX_1
    return x ^ (x >> _S31)
