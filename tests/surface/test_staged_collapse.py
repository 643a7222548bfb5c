"""Where the topology takes more faces than there are, handles go before limbs do."""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface.denoising import denoise
from flashmesh_core.surface.simplification import proxies
from tests.surface.shapes import box_distance, voxels

LENGTH = 0.33  # of a rod to either side of its middle


def test_a_heap_of_rods_keeps_their_ends() -> None:
    """Twenty rods through each other, of twelve faces each; with eight their handles are cut, or rods shrink whole."""
    random = np.random.default_rng(0)
    rods = []
    for _ in range(20):
        axes, _ = np.linalg.qr(random.normal(size=(3, 3)))
        rods.append((axes, random.uniform(-0.12, 0.12, 3)))
    rod = box_distance((LENGTH, 0.015, 0.015))
    heap = voxels(lambda points: np.min([rod((points - middle) @ axes.T) for axes, middle in rods], axis=0), 128)
    found = proxies(denoise(heap, wanted=160), [160])[0]
    ends = np.concatenate([[middle + LENGTH * axes[0], middle - LENGTH * axes[0]] for axes, middle in rods])
    off = TriangleTree.of_mesh(found.vertices, found.faces).distance(ends)
    assert len(found.faces) <= 160
    assert (off > 0.05).sum() <= 8 and off.max() < 0.2  # 14 of 40 and 0.27 where handles are looked for just four times
