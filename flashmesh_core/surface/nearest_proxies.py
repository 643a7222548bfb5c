"""Proxies of one surface that was read in several ways, and which of them lie nearest to it.

Filtering makes flat places flat and takes bevels of a cell away. Where there is little noise, neither the filtered
planes nor those of the surface as it came are the better ones everywhere; the surface itself tells.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import TypeVar

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import parts_of
from flashmesh_core.surface.denoising import Denoised, Progress
from flashmesh_core.surface.nearness import distance_from
from flashmesh_core.surface.simplification import Simplifier, check_counts, simplifier_of, trimmed
from flashmesh_core.surface.threads import awaited, begun

Made = TypeVar("Made")
Measuring = Callable[[], Callable[[Mesh], float]]


class _StoppedError(Exception):
    """Ends the work of the other threads once one has failed or was cancelled."""


def nearest_proxies(
    surface: Mesh,
    ways: Sequence[Denoised],
    counts: Sequence[int],
    seeds: Sequence[int],
    *,
    handle_edges: float,
    rough: bool,
    shells: bool = True,
    measuring: Measuring | None = None,
    progress: Progress | None = None,
) -> list[list[Mesh]]:
    """For each of `seeds` the proxies of that one of the `ways` whose collapse to `counts[0]` faces lies nearest.

    `ways` are readings of `surface`, the first of which wins a draw; each has a thread of its own. Nearest by the mean
    distance from the surface to the mesh and back, before its vertices are refined. Of a shell with too few faces for
    both of its walls each way is simplified in their middle, if that is not much farther. `measuring()` waits for what
    measures distances, if it has begun. `progress(stage, share)`, of the first way, may raise to cancel; settings and
    errors are those of `varied_proxies`.
    """
    check_counts(counts)
    if not len(surface.faces):
        return [[surface for _ in counts] for _ in seeds]
    distance = (measuring or partial(distance_from, surface))() if len(ways) > 1 else None

    def simplified(way: Denoised, progress: Progress | None) -> tuple[Simplifier, list[list[Mesh]], list[float]]:
        simplifier = simplifier_of(way, handle_edges=handle_edges, rough=rough, shells=shells, progress=progress)
        meshes = simplifier.varied(counts, seeds, progress)
        if distance is None:
            return simplifier, meshes, [0.0] * len(seeds)
        far = [distance(of[0]) for of in meshes]
        found = simplifier.in_the_middle(float(np.mean(far)))
        if found is None:
            return simplifier, meshes, far
        between, allowed = found
        others = between.varied(counts, seeds, partial(_as_done, progress) if progress else None)
        farther = [distance(of[0]) for of in others]
        return (between, others, farther) if np.mean(farther) < allowed else (simplifier, meshes, far)

    made = _each_in_a_thread(simplified, ways, progress)
    nearest = np.argmin([distances for _, _, distances in made], axis=0)
    most = int(np.argmax(counts))
    left = [
        (made[way][0], mesh, count, made[way][1][number][most])
        for number, way in enumerate(nearest)
        for mesh, count in zip(made[way][1][number], counts, strict=True)
    ]
    done = _finished(left, progress)
    return [done[first : first + len(counts)] for first in range(0, len(done), len(counts))]


def trimmed_proxies(
    surface: Mesh,
    ways: Sequence[Denoised],
    counts: Sequence[int],
    seeds: Sequence[int],
    *,
    more: Sequence[int],
    handle_edges: float,
    shells: bool = True,
    progress: Progress | None = None,
) -> list[list[Mesh]]:
    """As `nearest_proxies` of a `surface` that is not rough, but those of `counts[0]` faces may be ones of `more`.

    These are trimmed once they are finished, and taken where they lie nearer. Edges that cost next to nothing may stay
    up to the end of a collapse, since others can't pass them, and a corner goes instead; where all vertices are where
    they belong such edges cost nothing at all. One with parts that do not fit is not trimmed.
    """
    wanted, every = counts[0], [*counts, *(count for count in more if count not in counts)]
    measuring = begun(distance_from, surface)
    made = nearest_proxies(
        surface, ways, every, seeds, handle_edges=handle_edges, rough=False, shells=shells, measuring=measuring,
        progress=progress,
    )  # fmt: skip
    tell = partial(progress, "simplify", 1.0) if progress else None
    distance = measuring(tell)

    def nearest(meshes: list[Mesh]) -> Mesh:
        parts = _parts(meshes[0])
        richer = [mesh for mesh, count in zip(meshes, every, strict=True) if count in more]
        others = (trimmed(mesh, wanted) for mesh in richer if len(mesh.faces) > wanted and _parts(mesh) == parts)
        return min([meshes[0], *(mesh for mesh in others if len(mesh.faces) <= wanted)], key=distance)

    return [[begun(nearest, of)(tell), *of[1 : len(counts)]] for of in made]


def _finished(left: list[tuple[Simplifier, Mesh, int, Mesh]], progress: Progress | None) -> list[Mesh]:
    """What each simplifier finishes of its mesh for this count, beside the one with the most faces, in threads."""
    tell = partial(progress, "simplify", 1.0) if progress else None
    if tell:
        tell()
    with ThreadPoolExecutor(min(len(left), os.cpu_count() or 1)) as pool:
        try:
            started = [pool.submit(one.finished, mesh, count, finest) for one, mesh, count, finest in left]
            return [awaited(one, tell) for one in started]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _each_in_a_thread(
    make: Callable[[Denoised, Progress | None], Made], ways: Sequence[Denoised], progress: Progress | None
) -> list[Made]:
    """What is made of each way; all but the first in threads, which end when anything is raised here."""
    first, *others = ways
    if not others:
        return [make(first, progress)]
    stopped = Event()
    with ThreadPoolExecutor(len(others)) as pool:
        try:
            started = [pool.submit(make, way, partial(_raise_if, stopped)) for way in others]
            tell = partial(progress, "simplify", 1.0) if progress else None
            return [make(first, progress), *(awaited(one, tell) for one in started)]
        except BaseException:
            stopped.set()
            raise


def _raise_if(stopped: Event, stage: str, share: float) -> None:
    if stopped.is_set():
        raise _StoppedError


def _as_done(progress: Progress, stage: str, share: float) -> None:
    """Tells of what comes on top: it may cancel, and the share does not fall."""
    progress(stage, 1.0)


def _parts(mesh: Mesh) -> int:
    return len(parts_of(mesh.vertices, mesh.faces.astype(np.int32))[1])
