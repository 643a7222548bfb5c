"""Streams that end early: cancelled by id, by closing the connection, by leaving the block, from another thread."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from .conftest import DEADLINE, RunningService, fastest


def first_faces(stream: object) -> dict:
    return next(event for event in stream if event["kind"] == "faces")


def test_cancel_by_id_ends_the_stream_with_what_there_is(running: RunningService, points: np.ndarray) -> None:
    def seconds_to_end() -> float:
        with running.client.generate(points) as stream:
            first = first_faces(stream)
            assert running.client.health()["generation"] == stream.id
            start = time.monotonic()
            assert stream.cancel() is True
            end = list(stream)[-1]
            took = time.monotonic() - start
        assert end["end_reason"] == "cancelled" and end["n_tokens"] >= first["n_tokens"]
        assert stream.cancel() is False  # has ended
        return took

    assert fastest(seconds_to_end, 0.5) < 0.5


def test_a_cancelled_generation_still_has_its_mesh(running: RunningService, points: np.ndarray) -> None:
    with running.client.generate(points) as stream:
        seen = []
        for event in stream:
            if event["kind"] == "faces":
                seen.append(event["faces"])
            if len(seen) == 20:
                stream.cancel()
    corners = np.concatenate(seen)
    made = stream.result["vertices"][stream.result["face_indices"]]
    assert stream.result["n_faces"] == len(made) == len(corners) >= 20
    np.testing.assert_allclose(np.sort(made.sum(axis=(1, 2))), np.sort(corners.sum(axis=(1, 2))), atol=1e-5)


@pytest.mark.parametrize("leave", ["close", "break"])
def test_going_away_stops_the_engine(running: RunningService, points: np.ndarray, leave: str) -> None:
    def seconds_to_idle() -> float:
        with running.client.generate(points) as stream:
            first_faces(stream)
            assert running.worker.status()["state"] == "busy"
            if leave == "close":
                stream.close()
                assert list(stream) == []
        return running.wait_for_state("idle")

    assert fastest(seconds_to_idle, 0.5) < 0.5


def test_a_reader_in_another_thread_ends_quietly_when_closed(running: RunningService, points: np.ndarray) -> None:
    stream = running.client.generate(points)
    seen: list[dict] = []
    failures: list[BaseException] = []

    def read() -> None:
        try:
            seen.extend(stream)
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    running.wait_for_state("busy")
    assert stream.cancel()
    reader.join(DEADLINE)
    assert not reader.is_alive() and not failures and seen[-1]["end_reason"] == "cancelled"
