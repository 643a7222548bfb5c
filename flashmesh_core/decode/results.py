"""What a generation tells: events while it runs, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from flashmesh_core.decode.candidate import Tally
from flashmesh_core.decode.inspection import Quality
from flashmesh_core.mesh.canonical import Mesh


@dataclass(frozen=True, eq=False)
class GenerationEvent:
    """News of a generation: new faces, or its end."""

    kind: str  # "faces" or "end"
    faces: np.ndarray  # (k, 3, 3) float32: corners of the new faces in source scale and place
    n_faces: int  # of this candidate so far
    n_tokens: int
    seconds: float
    candidate: int = 0
    end_reason: str | None = None  # "eos", "face_limit" or "cancelled" at the end
    mesh: Mesh | None = None  # at the end: the finished mesh, in which a repair may have replaced faces told before


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """A finished mesh in source scale and place, and how it came about.

    `chamfer` and `hausdorff` are distances of points to the surfaces themselves, without the noise of samples, over the
    source's longest side.
    """

    mesh: Mesh
    end_reason: str
    n_tokens: int
    n_passes: int
    seconds: float
    seed: int
    candidate: int
    chamfer: float
    hausdorff: float
    quality: Quality
    filled: int = 0  # faces that are not the model's: repaired from the proxy, or closing holes
    tally: Tally = field(default_factory=Tally)  # what was drafted and accepted

    @property
    def distance(self) -> float:
        """What the best candidate has least of: Chamfer plus a tenth of Hausdorff, so that one stray or missing face
        counts among meshes that are alike in the mean."""
        return self.chamfer + 0.1 * self.hausdorff

    @property
    def tokens_per_second(self) -> float:
        """Tokens of this candidate over the seconds its decoding took."""
        return self.n_tokens / self.seconds if self.seconds > 0 else 0.0

    @property
    def tokens_per_pass(self) -> float:
        """Tokens over forward passes; 1 for plain decoding."""
        return self.n_tokens / self.n_passes if self.n_passes else 0.0
