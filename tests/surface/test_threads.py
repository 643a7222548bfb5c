"""Rows that several threads share come out as one loop leaves them."""

from __future__ import annotations

from itertools import pairwise
from threading import Event

import numpy as np
import pytest
import trimesh

from flashmesh_core.surface import threads
from flashmesh_core.surface.denoising import denoise
from flashmesh_core.surface.patches import patches_of
from flashmesh_core.surface.placement import planes_of
from flashmesh_core.surface.reconstruction import Reconstruction, reconstruct
from flashmesh_core.surface.simplification import rows_of
from flashmesh_core.surface.threads import begun, in_threads, reported
from flashmesh_core.surface.winding import slabs
from tests.surface.shapes import box_distance, cloud_of, voxels


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
            rows_of(*planes_of(denoised)[:5]),
        ]

    alone = read()
    monkeypatch.setattr(threads, "ROWS", 10)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 3)
    for one, other in zip(alone, read(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("with_normals", [False, True])
def test_a_cloud_becomes_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch, with_normals: bool):
    """Its walls are looked for among noise, its distances and sides are told in slabs of the grid."""
    points, normals = cloud_of(trimesh.creation.box([0.8, 0.6, 0.04]), 6_000, noise=0.004)
    begun_with = []

    def made(processors: int) -> Reconstruction:
        monkeypatch.setattr(threads.os, "cpu_count", lambda: processors)
        monkeypatch.setattr(threads, "pairwise", lambda bounds: begun_with.append(len(bounds)) or pairwise(bounds))
        found = reconstruct(points, normals if with_normals else None)
        assert found is not None
        return found

    one = made(1)
    assert set(begun_with) == {2}
    other = made(3)
    assert 4 in begun_with
    np.testing.assert_array_equal(one.mesh.vertices, other.mesh.vertices)
    np.testing.assert_array_equal(one.mesh.faces, other.mesh.faces)
    assert one.noise == other.noise


def test_slabs_of_a_grid_hold_as_many_places(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 4)
    places = np.random.default_rng(0).random((40_000, 3)) ** 2 * 200.0  # more of them where x is small
    bounds = slabs(places, 220)
    assert bounds[0] == 0 and bounds[-1] == 220 and len(bounds) == 5
    counts = np.histogram(places[:, 0], bounds)[0]
    assert counts.sum() == 40_000 and counts.min() > 8_000
    assert slabs(places[:100], 220) == [0, 220]


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


def _silent_work(heard: list[tuple], until: int):
    """Work that tells one thing and is silent until that was heard `until` times; who hears it; when that was, when it
    has ended, and whether it came beyond what it told last."""
    enough, ended, beyond = Event(), Event(), Event()

    def work(tell) -> str:
        try:
            tell("simplify", 0.5)
            assert enough.wait(60.0)
            tell("simplify", 1.0)
            beyond.set()
            return "made"
        finally:
            ended.set()

    def report(stage: str, share: float) -> None:
        heard.append((stage, share))
        if len(heard) >= until:
            enough.set()

    return work, report, enough, ended, beyond


def test_what_is_silent_is_reported_again():
    heard: list[tuple] = []
    work, report, _, _, beyond = _silent_work(heard, 3)
    assert reported(work, report) == "made" and beyond.is_set()
    assert heard[:3] == [("simplify", 0.5)] * 3 and heard[-1] == ("simplify", 1.0)


def test_who_gives_up_waits_for_nothing_and_the_work_ends_where_it_tells_next():
    heard: list[tuple] = []
    work, report, enough, ended, beyond = _silent_work(heard, 1_000)

    def give_up(stage: str, share: float) -> None:
        report(stage, share)
        if len(heard) == 2:  # in its silence
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reported(work, give_up)
    assert not ended.is_set()
    enough.set()
    assert ended.wait(60.0) and len(heard) == 2 and not beyond.is_set()


def test_what_the_work_raises_is_raised_to_the_caller():
    def work(tell) -> None:
        tell("clean", 0.0)
        raise ZeroDivisionError("of the work")

    heard: list[tuple] = []
    with pytest.raises(ZeroDivisionError, match="of the work"):
        reported(work, lambda *words: heard.append(words))
    assert heard == [("clean", 0.0)]
