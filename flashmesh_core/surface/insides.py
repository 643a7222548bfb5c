"""Samples inside of other parts, which nobody sees.

Artists stick parts into each other and set them against each other, and samples of them lie on the hidden sides, too.
They would become sheets inside of the surface, and slits where parts touch.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.surface.samples import Progress, Samples
from flashmesh_core.surface.winding import Grid, at_sides, winding_number

HIDDEN = 0.45  # winding number on both sides of a sample above which it is inside
FEWEST = 0.015  # share of the samples up to which those that seem hidden lie in creases, and stay


def without_hidden(samples: Samples, grid: Grid, blur: float, report: Progress) -> tuple[Samples, np.ndarray]:
    """The samples without those inside of other parts, and the winding number of the rest at the nodes of `grid`.

    `blur` is the standard deviation of the Gaussian that every sample is spread with.
    """
    field = winding_number(grid, samples.points, samples.normals, samples.areas, blur)
    seen = np.minimum(*at_sides(field, grid, samples.points, samples.normals, blur)) <= HIDDEN
    if not seen.any() or np.mean(~seen) <= FEWEST:
        return samples, field
    samples = samples.only(seen, report)
    return samples, winding_number(grid, samples.points, samples.normals, samples.areas, blur)
