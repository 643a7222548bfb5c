"""Generations that are cancelled while their source is still read: nothing is known of them but that."""

from __future__ import annotations

import threading

import numpy as np

from flashmesh_core.decode.inspection import Quality
from flashmesh_core.decode.results import GenerationEvent, GenerationResult
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.options import Options
from flashmesh_core.surface.denoising import Progress

CANCELLED = "cancelled"
INFINITE = float("inf")


class UnreadError(Exception):
    """The event was set before the source had been read."""


def until(cancel: threading.Event | None, progress: Progress | None) -> Progress | None:
    """`progress` that raises UnreadError once `cancel` is set; as it is without an event.

    Raises UnreadError itself where `cancel` is set already.
    """
    if cancel is None:
        return progress
    if cancel.is_set():
        raise UnreadError

    def told(stage: str, share: float) -> None:
        if cancel.is_set():
            raise UnreadError
        if progress is not None:
            progress(stage, share)

    return told


def unread_event(candidate: int = 0) -> GenerationEvent:
    """The only event of a candidate whose source was not read."""
    corners = np.zeros((0, 3, 3), dtype=np.float32)
    return GenerationEvent("end", corners, 0, 0, 0.0, candidate, CANCELLED, _no_mesh())


def unread_results(options: Options, candidates: int) -> list[GenerationResult]:
    """The results of so many candidates of a source that was not read: no faces, infinitely far from it."""
    quality = Quality(
        gap=INFINITE, excess=INFINITE, mean_gap=INFINITE, mean_excess=INFINITE, proxy_gap=0.0, open_edges=0,
        flipped=0, doubled=0, proxy_flipped=0, proxy_doubled=0, source_is_closed=False,
    )  # fmt: skip

    def result(number: int, seed: int) -> GenerationResult:
        return GenerationResult(
            mesh=_no_mesh(), end_reason=CANCELLED, n_tokens=0, n_passes=0, seconds=0.0, seed=seed, candidate=number,
            chamfer=INFINITE, hausdorff=INFINITE, quality=quality, wanted=options.faces,
        )  # fmt: skip

    return [result(number, seed) for number, seed in enumerate(options.seeds(candidates))]


def _no_mesh() -> Mesh:
    return Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
