"""A small deterministic engine with the interface of flashmesh_core's: real passes and events, no network.

It writes one triangle a pass out of the samples, at a bounded pace so that a test can reach a running one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

PASS_SECONDS = 0.002
DEFAULT_FACES = 12


@dataclass(frozen=True)
class Event:
    kind: str
    faces: np.ndarray
    n_faces: int
    n_tokens: int
    seconds: float
    candidate: int
    end_reason: str | None = None


@dataclass(frozen=True)
class Result:
    mesh: Mesh
    end_reason: str
    n_tokens: int
    seconds: float
    tokens_per_second: float
    tokens_per_pass: float
    seed: int
    candidate: int
    chamfer: float
    hausdorff: float


class DeterministicEngine:
    """`faces` triangles of consecutive samples, starting at sample `seed + candidate`."""

    device = "cpu"

    def __init__(self, name: str) -> None:
        self.name = name

    def stream(
        self,
        source: np.ndarray,
        normals: np.ndarray | None = None,
        *,
        faces: int | None = None,
        seed: int = 0,
        temperature: float = 0.5,
        surface: bool = True,
        manifold: bool | None = None,
        watertight: bool = False,
        max_faces: int | None = None,
        surface_tolerance: float | None = None,
        cancel: threading.Event | None = None,
        candidate: int = 0,
    ) -> Iterator[Event]:
        if temperature > 2.0:
            raise ValueError(f"temperature must be in [0, 2], got {temperature}")
        if watertight and not surface:
            raise RuntimeError("this combination breaks the double")
        wanted, limit = faces or DEFAULT_FACES, max_faces or 10**9
        start, none, written, reason = time.monotonic(), np.zeros((0, 3, 3), np.float32), 0, "eos"
        while written < wanted:
            if cancel is not None and cancel.is_set():
                reason = "cancelled"
                break
            if written >= limit:
                reason = "face_limit"
                break
            rows = (seed + candidate + written + np.arange(3)) % len(source)
            written += 1
            time.sleep(PASS_SECONDS)
            elapsed = time.monotonic() - start
            yield Event(
                "faces", source[rows][None].astype(np.float32), written, 9 * written, elapsed, candidate
            )
        yield Event("end", none, written, 9 * written, time.monotonic() - start, candidate, reason)

    def generate(
        self,
        source: np.ndarray,
        normals: np.ndarray | None = None,
        *,
        candidates: int = 1,
        on_event: Callable[[Event], None] | None = None,
        **options: object,
    ) -> Result:
        best: Result | None = None
        for candidate in range(candidates):
            parts = []
            for event in self.stream(source, normals, candidate=candidate, **options):
                parts.append(event.faces)
                if on_event is not None:
                    on_event(event)
            corners = np.concatenate(parts).reshape(-1, 3)
            vertices, index = np.unique(corners, axis=0, return_inverse=True)
            mesh = Mesh(vertices, index.reshape(-1, 3))
            distance = 1.0 / (1 + candidate)  # the last candidate is the best
            result = Result(
                mesh, event.end_reason, event.n_tokens, event.seconds, 100.0, 1.0, options.get("seed", 0),
                candidate, distance, float("nan"),
            )  # fmt: skip
            best = result if best is None or result.chamfer < best.chamfer else best
            if event.end_reason == "cancelled":
                break
        return best


def make_engine(checkpoint: str, device: str) -> DeterministicEngine:
    """The factory; some checkpoint names stand for what can go wrong while loading."""
    if checkpoint == "needs-torch":
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    if checkpoint == "missing-file":
        raise FileNotFoundError("no such checkpoint: missing-file")
    if checkpoint == "slow" and (release := os.environ.get("FLASHMESH_TEST_RELEASE")):
        deadline = time.monotonic() + 30.0
        while not os.path.exists(release) and time.monotonic() < deadline:
            time.sleep(0.01)
    return DeterministicEngine(checkpoint)
