"""An engine that is got ready before anything is asked of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flashmesh_core.decode.engine import Engine
from flashmesh_core.service.client import EngineError
from flashmesh_core.service.reading import SMALL, Readers
from flashmesh_core.service.server import load_engine

from .conftest import DEADLINE, grid, wait_until


def kinds(events: list[dict]) -> list[str]:
    return [event["kind"] for event in events if event["kind"] != "progress"]


def test_it_is_loaded_and_compiled_before_the_first_generation(make_service: Callable, points: np.ndarray) -> None:
    running = make_service(get_ready=True)
    wait_until(lambda: running.worker.status()["checkpoint"] == "debug", "loading")
    running.wait_for_state("idle")
    with running.client.generate(points) as stream:
        assert kinds(list(stream))[:2] == ["queued", "encoding"]


def test_a_generation_that_comes_meanwhile_is_told_what_goes_on(make_service: Callable, points: np.ndarray) -> None:
    """It is loaded once, for both."""
    begun, release, loads = threading.Event(), threading.Event(), []

    def held(checkpoint: str, device: str) -> Engine:
        loads.append(checkpoint)
        begun.set()
        assert release.wait(DEADLINE)
        return load_engine(checkpoint, device)

    running = make_service(factory=held, get_ready=True)
    assert begun.wait(DEADLINE)
    with running.client.generate(points) as stream:
        first = [next(iter(stream))["kind"] for _ in range(2)]
        assert first == ["queued", "loading"]
        release.set()
        assert kinds(list(stream))[:2] == ["compiling", "encoding"]
    assert loads == ["debug"]


def test_what_fails_ahead_is_told_to_the_first_generation(make_service: Callable, points: np.ndarray) -> None:
    def broken(checkpoint: str, device: str) -> Engine:
        raise ValueError("checkpoint must be whole, got half of one")

    running = make_service(factory=broken, get_ready=True)
    wait_until(lambda: not running.worker._getting_ready, "the end of getting ready")
    with running.client.generate(points) as stream, pytest.raises(EngineError, match="got half of one"):
        list(stream)


def test_the_process_that_reads_large_sources_is_ready_too(make_service: Callable) -> None:
    """It has read something already, and the first large source goes to it."""
    running = make_service(get_ready=True)
    wait_until(lambda: not running.worker._getting_ready, "the end of getting ready")
    (reader,) = running.worker._readers._idle
    large = grid(40)
    with running.client.generate(large.vertices, triangles=large.faces, max_faces=4) as stream:
        assert kinds(list(stream))[:2] == ["queued", "encoding"]
    assert running.worker._readers._idle == [reader] and reader.alive


@pytest.mark.parametrize("cells", [20, 40])
def test_what_reads_is_compiled_where_a_source_is_read(make_service: Callable, cells: int) -> None:
    """A large source: by the process that reads it, and this one loads nothing for it. A small one: here."""
    reads, drafters = [], []

    def watched(checkpoint: str, device: str) -> Engine:
        engine = load_engine(checkpoint, device)
        really = engine.warm_up

        def warm_up(using: Callable, wanted: tuple[str, ...]) -> None:
            reads.append(using)
            drafters.append(wanted)
            really(using, wanted)

        engine.warm_up = warm_up
        return engine

    running = make_service(factory=watched)
    source = grid(cells)
    with running.client.generate(source.vertices, triangles=source.faces, max_faces=4, drafter="none") as stream:
        assert "compiling" in kinds(list(stream))
    readers = running.worker._readers
    assert bool(readers._idle) == (len(source.faces) > SMALL), "a process more"
    assert reads == [readers.prepare_apart if len(source.faces) > SMALL else readers.prepare] and drafters == [
        ("none",)
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_reader_has_imported_what_it_needs_before_it_is_asked() -> None:
    readers = Readers()
    readers.start()
    (reader,) = readers._idle
    try:
        wait_until(reader._pipe.poll, "a reader that is ready")
        assert "llvmlite" in Path(f"/proc/{reader._process.pid}/maps").read_text()
    finally:
        readers.close()
