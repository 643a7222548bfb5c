"""Rows that several threads share come out as one loop leaves them."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest

from flashmesh_core.surface import threads
from flashmesh_core.surface.denoising import denoise
from flashmesh_core.surface.patches import patches_of
from flashmesh_core.surface.placement import planes_of
from flashmesh_core.surface.simplification import _quadrics
from flashmesh_core.surface.threads import begun, in_threads
from tests.surface.shapes import box_distance, voxels


@pytest.fixture
def _three_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "ROWS", 10)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 3)


@pytest.mark.usefixtures("_three_threads")
@pytest.mark.parametrize("rows", [0, 9, 29, 30, 1_001])
def test_every_row_is_done_once(rows: int):
    done = np.zeros(rows, dtype=int)
    parts = []

    def loop(first: int, last: int, array: np.ndarray) -> None:
        parts.append((first, last))
        array[first:last] += 1

    in_threads(loop, rows, done)
    assert (done == 1).all() and len(parts) == (3 if rows >= 30 else 2 if rows >= 20 else 1)


@pytest.mark.usefixtures("_three_threads")
def test_an_error_in_any_thread_is_raised():
    def loop(first: int, last: int) -> None:
        if last == 90:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_threads(loop, 90)


def test_a_surface_is_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch):
    mesh = voxels(box_distance([0.4, 0.3, 0.2]))

    def read() -> list[np.ndarray]:
        denoised = denoise(mesh, noise=0.002)
        return [
            denoised.mesh.vertices,
            denoised.normals,
            planes_of(denoised).weights,
            *patches_of(mesh.vertices, mesh.faces),
            _quadrics(*planes_of(denoised)[:5]),
        ]

    alone = read()
    monkeypatch.setattr(threads, "ROWS", 10)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 3)
    for one, other in zip(alone, read(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_was_begun_is_made_beside_the_caller_and_its_errors_reach_who_asks():
    told, made = Event(), Event()

    def make(number: int) -> int:
        made.set()
        told.wait()
        return 10 // number

    results = [begun(make, number) for number in (5, 0)]
    made.wait()
    told.set()
    assert results[0]() == results[0]() == 2
    with pytest.raises(ZeroDivisionError):
        results[1]()
