"""The unfinished mesh as decoding sees it: one object around the compiled table (see `arrays`)."""

from __future__ import annotations

import numpy as np

from flashmesh_core.config import SLICE_ROWS
from flashmesh_core.jit import refer
from flashmesh_core.state.arrays import Surface, make_table
from flashmesh_core.state.coverage_guidance import write_bias
from flashmesh_core.state.half_edges import pop, push, start
from flashmesh_core.state.masks import MASK_CLOSURE, MASK_MANIFOLD, MASK_SURFACE, write_allowed
from flashmesh_core.state.slice_rows import prepare, write_rows


class MeshState:
    """The faces so far and the face begun over one surface; every question is answered from these alone."""

    def __init__(
        self,
        surface: Surface,
        max_faces: int,
        *,
        on_surface: bool,
        manifold: bool,
        closure: bool,
        coverage_guidance: float,
    ) -> None:
        """Room for `max_faces` faces; the grammar's masks and coverage guidance's strength in nats (0 is off)."""
        self.surface, self.max_faces, self.coverage_guidance = surface, max_faces, float(coverage_guidance)
        self.masks = MASK_SURFACE * on_surface | MASK_MANIFOLD * manifold | MASK_CLOSURE * closure
        self.table = make_table(surface, max_faces)
        self.references = refer(surface), refer(self.table)  # the same arrays, for compiled functions
        start(*self.references)

    @property
    def n_faces(self) -> int:
        """Complete faces."""
        return int(self.table.n[0].faces)

    @property
    def n_tokens(self) -> int:
        """Coordinates written."""
        return 9 * self.n_faces + int(self.table.n[0].begun)

    @property
    def covered(self) -> float:
        """The fraction of the surface's samples that lie on the faces so far."""
        return int(self.table.n[0].covered) / max(1, len(self.surface.places))

    def push(self, token: int) -> bool:
        """Append a coordinate; True where it completes a face."""
        return bool(push(*self.references, int(token)))

    def pop(self) -> None:
        """Take the last coordinate back, leaving exactly the state before its push."""
        if not self.n_tokens:
            raise ValueError("pop needs at least 1 coordinate, got an empty mesh")
        pop(*self.references)

    def rows(self) -> np.ndarray:
        """The slice rows of the next coordinate, (R, Q) uint8."""
        rows = np.zeros((len(SLICE_ROWS), self.surface.size), dtype=np.uint8)
        prepare(*self.references, self.coverage_guidance > 0)
        write_rows(*self.references, rows)
        return rows

    def allowed(self) -> np.ndarray:
        """The tokens that may follow, (Q + 1,) bool, the last one EOS."""
        allowed = np.zeros(self.surface.size + 1, dtype=np.bool_)
        write_allowed(*self.references, self.masks, allowed)
        return allowed

    def bias(self) -> np.ndarray:
        """What coverage guidance adds to the logits, (Q + 1,) float32."""
        bias = np.zeros(self.surface.size + 1, dtype=np.float32)
        if self.coverage_guidance > 0:
            prepare(*self.references, True)
            write_bias(*self.references, self.coverage_guidance, bias)
        return bias

    def faces(self, begin: int = 0, end: int | None = None) -> np.ndarray:
        """The corners of faces begin..end - 1 as bins (k, 3, 3), columns x, y, z."""
        end = self.n_faces if end is None else end
        return self.table.bins[self.table.faces[begin:end]]
