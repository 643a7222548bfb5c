"""Who is let in, and what is refused: over raw HTTP, against a real server."""

from __future__ import annotations

import json
import socket
import struct
import time

import numpy as np
import pytest
import requests

from flashmesh_core.service import protocol

from .conftest import DEADLINE, TOKEN, RunningService, wait_until

AUTHORIZATION = f"Bearer {TOKEN}"


def connect(running: RunningService) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE)


def request_head(running: RunningService, method: str, path: str, length: int, **changed: str | None) -> bytes:
    """The lines before a body of `length` bytes, all as they should be but for `changed` (None leaves one out)."""
    headers = {
        "Host": f"127.0.0.1:{running.port}",
        "Authorization": AUTHORIZATION,
        "Content-Type": protocol.CONTENT_TYPE,
        "Content-Length": str(length),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items() if v is not None), "", ""]
    return "\r\n".join(lines).encode()


def ask(running: RunningService, method: str, path: str, body: bytes = b"", **changed: str | None) -> tuple[int, dict]:
    """One raw request with `changed` headers; status and JSON of the answer."""
    with connect(running) as connection:
        connection.sendall(request_head(running, method, path, len(body), **changed) + body)
        return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple[int, dict]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1])
    while len(rest) < length:
        rest += receive(connection)
    return int(head.split()[1]), json.loads(rest)


def receive(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    assert data, "the server closed the connection without an answer"
    return data


def half_a_request(running: RunningService, points: np.ndarray) -> bytes:
    body = protocol.encode_request(points)
    return request_head(running, "POST", "/v1/generate", len(body)) + body[: len(body) // 2]


@pytest.mark.parametrize(
    ("changed", "status", "field"),
    [
        ({"Authorization": None}, 401, "authorization"),
        ({"Authorization": "Bearer wrong"}, 401, "authorization"),
        ({"Authorization": f"Basic {TOKEN}"}, 401, "authorization"),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401, "authorization"),
        ({"Host": "evil.example"}, 403, "host"),
        ({"Host": "127.0.0.1"}, 403, "host"),
        ({"Host": "127.0.0.1:1"}, 403, "host"),
        ({"Host": "127.0.0.1.evil.example:{port}"}, 403, "host"),
        ({"Origin": "http://127.0.0.1:{port}"}, 403, "origin"),
        ({"Origin": "null"}, 403, "origin"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("GET", "/v1/checkpoints"), ("POST", "/v1/generate"), ("POST", "/v1/unload"),
     ("POST", "/v1/generations/0/cancel"), ("GET", "/nothing")],
)  # fmt: skip
def test_no_route_is_reached_without_token_host_and_no_origin(
    running: RunningService, method: str, path: str, changed: dict, status: int, field: str
) -> None:
    changed = {k: v.format(port=running.port) if v else v for k, v in changed.items()}
    answer = ask(running, method, path, **changed)
    assert answer[0] == status and answer[1]["error"]["field"] == field


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}"])
def test_the_services_own_names_are_let_in(running: RunningService, host: str) -> None:
    assert ask(running, "GET", "/health", Host=host.format(port=running.port))[0] == 200


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2", 404), ("GET", "/v1/generate", 405)])
def test_unknown_routes_and_methods_are_json_errors(
    running: RunningService, method: str, path: str, status: int
) -> None:
    code, answer = ask(running, method, path)
    assert code == status and path in answer["error"]["message"]


def test_cancelling_an_unknown_id_is_not_found(running: RunningService) -> None:
    assert ask(running, "POST", "/v1/generations/no%2Fsuch/cancel")[0] == 404
    code, answer = ask(running, "POST", "/v1/generations/0123/cancel")
    assert code == 404 and answer["error"]["field"] == "id" and "'0123'" in answer["error"]["message"]


def test_another_content_type_is_refused(running: RunningService, points: np.ndarray) -> None:
    for kind in ("application/json", None):
        code, answer = ask(running, "POST", "/v1/generate", protocol.encode_request(points), Content_Type=kind)
        assert code == 415 and protocol.CONTENT_TYPE in answer["error"]["message"]


def test_a_body_that_is_too_large_is_refused_announced_or_not(running: RunningService) -> None:
    announced = str(protocol.MAX_REQUEST_BYTES + 1)
    code, answer = ask(running, "POST", "/v1/generate", Content_Length=announced)
    assert code == 413 and answer["error"]["field"] == "body"
    piece = bytes(1 << 20)

    def chunks() -> object:
        for _ in range(protocol.MAX_REQUEST_BYTES // len(piece) + 2):
            yield piece

    headers = {"Authorization": AUTHORIZATION, "Content-Type": protocol.CONTENT_TYPE}
    response = requests.post(f"{running.address}/v1/generate", data=chunks(), headers=headers, timeout=DEADLINE)
    assert response.status_code == 413 and response.json()["error"]["field"] == "body"


def test_a_large_upload_without_the_token_still_gets_its_answer(running: RunningService) -> None:
    body = bytes(protocol.MAX_REQUEST_BYTES)
    headers = {"Authorization": "Bearer no", "Content-Type": protocol.CONTENT_TYPE}
    response = requests.post(f"{running.address}/v1/generate", data=body, headers=headers, timeout=DEADLINE)
    assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b'{"options": {"faces": 12}', "header must be JSON"),
        (b'{"options": [1], "arrays": ARRAYS}', "options must be an object"),
        (b'{"options": {"faces": -1}, "arrays": ARRAYS}', "faces must be an integer"),
        (b'{"options": {"speed": 1}, "arrays": ARRAYS}', "options must be among"),
        (b'{"options": {"checkpoint": "../../etc/passwd"}, "arrays": ARRAYS}', "checkpoint must be one of"),
        (b'{"colour": 1, "arrays": ARRAYS}', "a request holds options, points, normals and triangles, got 'colour'"),
        (b'{"arrays": [["points", "float32", [8, 3]]]}', "arrays must fill the body"),
        (b'{"arrays": []}', "arrays must fill the body"),
    ],
)
def test_bad_json_and_bad_options_are_400(running: RunningService, header: bytes, said: str) -> None:
    header = header.replace(b"ARRAYS", b'[["points", "float32", [16, 3]]]')
    body = struct.pack("<4sHHII", b"FMSH", 1, 0, len(header), 192) + header + bytes(192)
    code, answer = ask(running, "POST", "/v1/generate", body)
    assert code == 400 and said in answer["error"]["message"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["points", "normals"])
def test_samples_that_are_not_finite_are_400(
    running: RunningService, points: np.ndarray, name: str, value: float
) -> None:
    arrays = {"points": points, "normals": points.copy()}
    arrays[name] = points.copy()
    arrays[name][5, 1] = value
    code, answer = ask(running, "POST", "/v1/generate", protocol.encode_frame({}, arrays))
    assert code == 400
    assert answer["error"] == {
        "field": name,
        "message": f"{name} must be finite in float32, got 1 rows that are not",
    }


def test_too_few_points_are_400(running: RunningService, points: np.ndarray) -> None:
    code, answer = ask(running, "POST", "/v1/generate", protocol.encode_frame({}, {"points": points[:15]}))
    assert code == 400 and "N in [16, 2,000,000], got (15, 3)" in answer["error"]["message"]


def test_a_mesh_with_normals_is_a_400(running: RunningService, points: np.ndarray) -> None:
    arrays = {"points": points, "normals": points, "triangles": np.int32([[0, 1, 2]])}
    code, answer = ask(running, "POST", "/v1/generate", protocol.encode_frame({}, arrays))
    assert code == 400 and answer["error"]["field"] == "normals" and "where triangles are given" in str(answer)


def test_a_body_that_stands_still_is_given_up(running: RunningService, points: np.ndarray) -> None:
    with connect(running) as connection:
        connection.sendall(half_a_request(running, points))
        code, answer = read_answer(connection)
    assert code == 408 and "stood still" in answer["error"]["message"]


def test_a_half_sent_body_leaves_nothing_behind(running: RunningService, points: np.ndarray) -> None:
    with connect(running) as connection:
        connection.sendall(half_a_request(running, points))
    wait_until(lambda: not running.service.open_connections(), "the end of the connection")
    status = running.worker.status()
    assert status["state"] == "idle" and status["queued"] == 0
    with running.client.generate(points, max_faces=2) as stream:
        assert [event["kind"] for event in stream][-1] == "end"


def test_health_answers_at_once_while_a_body_is_being_sent(running: RunningService) -> None:
    with connect(running) as connection:
        connection.sendall(b"POST /v1/generate HTTP/1.1\r\nHost: ")  # a request line that never goes on
        start = time.monotonic()
        assert running.client.health()["state"] == "idle"
        assert time.monotonic() - start < 2.0
