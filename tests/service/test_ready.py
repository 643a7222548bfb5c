"""An engine that is got ready before anything is asked of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from flashmesh_core.decode.engine import Engine
from flashmesh_core.service.client import EngineError
from flashmesh_core.service.server import load_engine

from .conftest import DEADLINE, wait_until


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
