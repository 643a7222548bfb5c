"""Connections that idle, crowd or send too much: over raw sockets, against a real server with narrow limits."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable

import numpy as np
import pytest

from flashmesh_core.service import app, protocol
from flashmesh_core.service.app import Bodies
from flashmesh_core.service.connections import Limits
from flashmesh_core.service.protocol import RequestError

from .conftest import RunningService, wait_until
from .test_refusals import connect, read_answer, request_head


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended it; waits for what comes next."""
    try:
        return connection.recv(65_536) == b""
    except ConnectionError:
        return True


def test_bare_connections_shut_nobody_out(make_service: Callable, points: np.ndarray) -> None:
    running: RunningService = make_service()
    bare = [connect(running) for _ in range(200)]
    assert running.client.health()["state"] == "idle"
    with running.client.generate(points, max_faces=2) as stream:
        assert list(stream)[-1]["n_faces"] == 2
    wait_until(lambda: running.service.open_connections() <= 33, "the bound on strangers of one address")
    assert all(is_closed(connection) for connection in bare[:100])
    for connection in bare:
        connection.close()


def test_the_oldest_stranger_makes_room_and_who_showed_the_token_stays(make_service: Callable) -> None:
    running = make_service(limits=Limits(connections=8, strangers=3, strangers_of_peer=3))
    known = connect(running)
    known.sendall(request_head(running, "GET", "/health", 0))
    assert read_answer(known)[0] == 200
    bare = [connect(running) for _ in range(4)]
    assert is_closed(bare[0])
    bare[-1].sendall(request_head(running, "GET", "/health", 0))
    assert read_answer(bare[-1])[0] == 200
    known.sendall(request_head(running, "GET", "/health", 0))
    assert read_answer(known)[0] == 200


def test_too_many_connections_are_refused_in_the_protocols_form(make_service: Callable) -> None:
    running = make_service(limits=Limits(connections=2))
    first = [connect(running), connect(running)]
    for connection in first:
        connection.sendall(request_head(running, "GET", "/health", 0))
        assert read_answer(connection)[0] == 200
    status, answer = read_answer(connect(running))
    assert status == 503
    assert answer["error"]["message"] == "at most 2 connections may be open, got one more; try again later"
    first[0].close()
    wait_until(lambda: running.service.open_connections() < 2, "a free place")
    assert running.client.health()["state"] == "idle"


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: "])
def test_a_head_that_does_not_come_is_given_up(make_service: Callable, sent: bytes) -> None:
    running = make_service(limits=Limits(head_seconds=0.2))
    with connect(running) as connection:
        connection.sendall(sent)
        status, answer = read_answer(connection)
        assert (status, answer["error"]["message"]) == (408, "a request's head must come within 0.2 s")
        assert is_closed(connection)


def test_a_connection_that_idles_between_requests_is_given_up(make_service: Callable) -> None:
    running = make_service(limits=Limits(head_seconds=0.2))
    with connect(running) as connection:
        connection.sendall(request_head(running, "GET", "/health", 0))
        assert read_answer(connection)[0] == 200
        connection.sendall(b"G")  # and no more
        assert read_answer(connection)[0] == 408


def test_what_is_not_http_is_refused_in_the_protocols_form(running: RunningService) -> None:
    with connect(running) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n")
        status, answer = read_answer(connection)
    assert status == 400 and answer["error"] == {"field": None, "message": "Invalid HTTP request received."}


def test_bodies_count_before_they_are_read(make_service: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bodies.__init__, "__defaults__", (2 * protocol.MAX_REQUEST_BYTES,))
    running = make_service()
    large = protocol.MAX_REQUEST_BYTES
    halves = [connect(running) for _ in range(3)]
    for connection in halves:
        connection.sendall(request_head(running, "POST", "/v1/generate", large) + b"FMSH")
    refused = select.select(halves, [], [], 60.0)[0]  # whichever came last
    assert len(refused) == 1
    status, answer = read_answer(refused[0])
    assert status == 503 and "bodies that are being sent may have" in answer["error"]["message"]
    assert answer["error"]["field"] == "body"
    for connection in halves:
        connection.close()
    for _ in range(1000):  # until the service has noticed that they are closed
        with connect(running) as connection:
            connection.sendall(request_head(running, "POST", "/v1/generate", 4) + b"FMSH")
            status = read_answer(connection)[0]
        if status != 503:
            break
    assert status == 400


def test_room_of_bodies_is_given_back_and_grows_with_what_comes() -> None:
    bodies = Bodies(100)

    async def use() -> None:
        async with bodies.room_for(None) as room:
            room.take(60)
            with pytest.raises(RequestError, match="may have 100 bytes in all") as caught:
                async with bodies.room_for("41"):
                    raise AssertionError("there is no room")
            assert caught.value.status == 503 and bodies.taken == 60
            async with bodies.room_for("40"):
                assert bodies.taken == 100
            room.take(50)
        assert bodies.taken == 0

    asyncio.run(use())


def test_a_body_that_trickles_is_given_up(make_service: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never silent for long, but never done."""
    monkeypatch.setattr(app, "BODY_SECONDS", 0.2)
    running = make_service()
    with connect(running) as connection:
        connection.sendall(request_head(running, "POST", "/v1/generate", 1_000) + b"F")
        status, answer = read_answer(connection)
    assert (status, answer["error"]["message"]) == (408, "the body took over 0.2 s")


def test_a_client_that_takes_nothing_is_given_up(
    make_service: Callable, points: np.ndarray, endless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the server sees one: a send that never returns, once the buffers between the two are full."""
    monkeypatch.setattr(app, "STALL_SECONDS", 0.1)
    running: RunningService = make_service(endless)
    served = app.create_app(running.worker, token="token", hosts=lambda host: True)
    body = protocol.encode_request(points)
    kind = protocol.CONTENT_TYPE.encode()
    headers = [(b"host", b"here"), (b"authorization", b"Bearer token"), (b"content-type", kind)]
    scope = {"type": "http", "method": "POST", "path": "/v1/generate", "headers": headers, "query_string": b""}
    sent = []

    async def serve() -> None:
        messages = [{"type": "http.request", "body": body}]

        async def receive() -> dict:
            return messages.pop() if messages else await asyncio.Event().wait()  # which never comes

        async def send(message: dict) -> None:
            sent.append(message["type"])
            if len(sent) > 3:
                await asyncio.Event().wait()

        await served({**scope, "http_version": "1.1", "raw_path": b"/v1/generate", "client": None}, receive, send)

    asyncio.run(serve())
    assert sent[0] == "http.response.start" and len(sent) == 4
    running.wait_for_state("idle")
    assert running.worker.counts.totals["cancelled"] == 1
