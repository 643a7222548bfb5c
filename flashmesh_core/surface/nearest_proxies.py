"""Proxies of one surface that was read in several ways, and which of them lie nearest to it.

Filtering makes flat places flat and takes bevels of a cell away. Where there is little noise, neither the filtered
planes nor those of the surface as it came are the better ones everywhere; the surface itself tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Event
from typing import Any

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.sampling import sample_cloud
from flashmesh_core.surface.denoising import Denoised, Progress
from flashmesh_core.surface.simplification import varied_proxies

SAMPLES = 8_000  # of each surface, which distances are measured from
AWAIT = 0.1  # seconds between two reports while another thread is at work


class _StoppedError(Exception):
    """Ends the work of the other threads once one has failed or was cancelled."""


def nearest_proxies(
    surface: Mesh,
    ways: Sequence[Denoised],
    counts: Sequence[int],
    seeds: Sequence[int],
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> list[list[Mesh]]:
    """For each of `seeds` the proxies of that one of the `ways` whose proxy of `counts[0]` faces lies nearest.

    `ways` are readings of `surface`, the first of which wins a draw; each has a thread of its own. Nearest by the mean
    distance from the surface to the proxy and back. `progress(stage, share)`, of the first way, may raise to cancel;
    settings and errors are those of `varied_proxies`.
    """
    first, *others = ways
    if not others or not len(surface.faces):
        return varied_proxies(first, counts, seeds, progress=progress, **settings)
    stopped = Event()
    with ThreadPoolExecutor(len(others)) as pool:
        try:
            stop = partial(_raise_if, stopped)
            started = [pool.submit(varied_proxies, way, counts, seeds, progress=stop, **settings) for way in others]
            made = [varied_proxies(first, counts, seeds, progress=progress, **settings)]
            made += [_awaited(one, progress) for one in started]
        except BaseException:
            stopped.set()
            raise
    distance = _distance_from(surface)
    return [min(choices, key=lambda proxies: distance(proxies[0])) for choices in zip(*made, strict=True)]


def _raise_if(stopped: Event, stage: str, share: float) -> None:
    if stopped.is_set():
        raise _StoppedError


def _awaited(one: Future[list[list[Mesh]]], progress: Progress | None) -> list[list[Mesh]]:
    """What another thread makes; `progress` is told now and then, and may raise."""
    while progress and not one.done():
        wait([one], timeout=AWAIT)
        progress("simplify", 1.0)
    return one.result()


def _distance_from(surface: Mesh) -> Callable[[Mesh], float]:
    """A function of a proxy: the mean distance from the surface to it, and from it to the surface, together."""
    there, tree = sample_cloud(surface, SAMPLES).points, TriangleTree.of_mesh(surface.vertices, surface.faces)

    def distance(proxy: Mesh) -> float:
        here = sample_cloud(proxy, SAMPLES).points
        gap = TriangleTree.of_mesh(proxy.vertices, proxy.faces).distance(there)
        return float(np.mean(gap) + np.mean(tree.distance(here)))

    return distance
