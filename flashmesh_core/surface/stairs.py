"""Stairs of voxels: what is made of nodes that are inside or outside, as segmentations and block models are.

The surface stands for one that passes anywhere between two nodes. That is noise, though where a side runs along the
lattice nothing shows of it, and elsewhere its steps look like edges.
"""

from __future__ import annotations

import numpy as np

SOME = 4_096  # vertices that are looked at
EXACT = 2e-3  # typical edges that a coordinate may be off the lattice
COARSEST = 0.25  # typical edges that nodes, or places half way between them, are apart at least
STAIRS = 0.19  # typical edges: the standard deviation of what the surface stands for from it, about a fifth of a voxel


def stair_noise(vertices: np.ndarray, edge: float) -> float:
    """The least noise of a surface of `vertices` (V, 3) with a typical `edge`: 0 where these are on no lattice.

    A lattice is one of all three axes, as fine as the edges are.
    """
    some = vertices[:: max(len(vertices) // SOME, 1)]
    for axis in range(3):
        gaps = np.diff(np.sort(some[:, axis]))
        gaps = gaps[gaps > EXACT * edge]
        step = gaps.min(initial=np.inf)
        if not COARSEST * edge <= step < np.inf or (np.abs(gaps - np.round(gaps / step) * step) > EXACT * edge).any():
            return 0.0
    return STAIRS * edge
