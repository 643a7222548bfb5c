"""Samples inside of other parts, which nobody sees.

Artists stick parts into each other and set them against each other, and samples of them lie on the hidden sides, too.
They would become sheets inside of the surface, and slits where parts touch.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.surface.samples import Progress, Samples
from flashmesh_core.surface.winding import Grid, at_points, winding_number

HIDDEN = 0.45  # winding number on both sides of a sample above which it is inside
AWAY = 2.0  # blurs from a sample to where its sides are looked at
FEWEST = 0.015  # share of the samples up to which those that seem hidden lie in creases, and stay


def without_hidden(samples: Samples, grid: Grid, blur: float, report: Progress) -> tuple[Samples, np.ndarray]:
    """The samples without those inside of other parts, and the winding number of the rest at the nodes of `grid`.

    `blur` is the standard deviation of the Gaussian that every sample is spread with.
    """
    field = winding_number(grid, samples.points, samples.normals, samples.areas, blur)
    offset = AWAY * blur * samples.normals
    sides = (at_points(field, grid, samples.points + side * offset) for side in (1.0, -1.0))
    seen = np.minimum(*sides) <= HIDDEN
    if not seen.any() or np.mean(~seen) <= FEWEST:
        return samples, field
    samples = samples.only(seen, report)
    return samples, winding_number(grid, samples.points, samples.normals, samples.areas, blur)
