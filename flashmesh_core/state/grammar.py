"""Which grammar masks are on; `masks` holds what they allow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flashmesh_core.mesh.surface import SurfaceGrid


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """Which masks are on; order always is. `surface` is the grid of the input surface, or None."""

    num_bins: int
    surface: SurfaceGrid | None = None
    manifold: bool = False
    closure: bool = False

    @cached_property
    def top_keys(self) -> tuple[int, int, int]:
        """The three highest keys that a vertex may have, the highest first."""
        size = self.num_bins
        if self.surface is None:
            return size**3 - 1, size**3 - 2, size**3 - 3
        found: list[int] = []
        for z in np.flatnonzero(self.surface.row_z())[::-1]:
            for y in np.flatnonzero(self.surface.row_y(z))[::-1]:
                found += [int((z * size + y) * size + x) for x in np.flatnonzero(self.surface.row_x(z, y))[::-1][:3]]
                if len(found) >= 3:
                    return found[0], found[1], found[2]
        raise ValueError(f"the surface must hold at least 3 places for vertices, got {len(found)}")
