"""What a generation tells: events while it runs, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flashmesh_core.decode.candidate import Candidate, Tally
from flashmesh_core.decode.inspection import Quality, inspect
from flashmesh_core.decode.source import Source
from flashmesh_core.mesh.canonical import Mesh, canonicalize_bins

COUNT_TOLERANCE = 0.1  # share of the wanted faces by which a result may be off
COMPLETE = "complete"  # the verdict on a result without faults
UNSTARTED = "cancelled before its first face"


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
    wanted: int | None = None  # faces that were asked for
    available: int | None = None  # faces of the surface that was read: a simpler one has no more
    filled: int = 0  # faces that are not the model's: repaired from the proxy, or closing holes
    gashes: int = 0  # holes of the source that were closed, where a scanner saw nothing
    strays: int = 0  # points of a cloud, or pieces and spikes of a mesh, that were left out
    tally: Tally = field(default_factory=Tally)  # what was drafted and accepted

    @property
    def faults(self) -> tuple[str, ...]:
        """What is worse than it should be, in plain sentences; empty where nothing is."""
        count = len(self.mesh.faces)
        if not count:
            return (UNSTARTED if self.end_reason == "cancelled" else "it has no faces",)
        found = ["it was cut off before its end: cancelled"] if self.end_reason == "cancelled" else []
        found += self.quality.faults
        aim = count if self.wanted is None else min(self.wanted, self.available or self.wanted)
        if abs(count - aim) > COUNT_TOLERANCE * aim:
            found.append(f"it has {count:,} faces, not within {COUNT_TOLERANCE:.0%} of the {self.wanted:,} wanted")
        return tuple(found)

    @property
    def verdict(self) -> str:
        """The gate at the end in words: "complete", or what is worse than it should be."""
        return "; ".join(self.faults) or COMPLETE

    def told(self) -> dict[str, Any]:
        """The figures that every report gives, by the same names: service, command lines, batches.

        `repaired` counts the faces that the model did not write, `strays` what was left out of the source, `gashes` its
        small ragged holes that were closed;
        `gap` (from the source to the result) and `excess` (the other way) are largest distances over the source's
        longest side.
        """
        return {
            "verdict": self.verdict, "repaired": self.filled, "wanted": self.wanted,
            "open_edges": self.quality.open_edges, "gap": self.quality.gap, "excess": self.quality.excess,
            "strays": self.strays, "gashes": self.gashes,
        }  # fmt: skip

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


def corners_of(source: Source, candidate: Candidate, begin: int) -> np.ndarray:
    """The corners (k, 3, 3) float32 of a candidate's faces from number `begin` on, in source scale and place."""
    corners = source.places.positions_of(candidate.faces(begin), candidate.num_bins)
    return source.normalization.invert(corners).astype(np.float32)


def mesh_of(source: Source, candidate: Candidate) -> Mesh:
    """The finished, welded mesh of a candidate in source scale and place."""
    bins = candidate.final_faces()[0].reshape(-1, 3).astype(np.int64)
    canonical = canonicalize_bins(bins, np.arange(len(bins)).reshape(-1, 3), candidate.num_bins)
    unit = source.places.positions_of(canonical.vertices, candidate.num_bins)
    return Mesh(source.normalization.invert(unit), canonical.faces)


def make_result(source: Source, index: int, candidate: Candidate, wanted: int | None = None) -> GenerationResult:
    """The mesh of candidate number `index`, and how good it is; `wanted`: the faces that were asked for."""
    mesh = mesh_of(source, candidate)
    decoded = candidate.final_faces()[1]
    quality = inspect(source, mesh)
    return GenerationResult(
        mesh=mesh, end_reason=candidate.end_reason or "cancelled",
        n_tokens=candidate.tally.tokens, n_passes=candidate.tally.passes, seconds=candidate.seconds,
        seed=candidate.seed, candidate=index, chamfer=quality.chamfer, hausdorff=quality.hausdorff,
        wanted=wanted, available=len(source.surface.mesh.faces),
        filled=int((~decoded).sum()), gashes=source.gashes, strays=source.strays,
        quality=quality, tally=candidate.tally,
    )  # fmt: skip
