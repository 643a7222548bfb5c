"""The client of the engine service: requests and numpy, no torch; runs inside Blender's Python.

    with EngineProcess.start() as process, process.client.generate(vertices, triangles=faces, faces=300) as stream:
        for event in stream:
            if event["kind"] == "faces":
                show(event["faces"])  # (k, 3, 3) float32, source scale

Everything that goes wrong is an EngineError whose message can be shown to the user as it stands.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import requests
from urllib3.exceptions import HTTPError as TransportError

from flashmesh_core.service import protocol
from flashmesh_core.service.protocol import EngineError, RequestError

__all__ = ["EngineClient", "EngineError", "GenerationStream", "normalize_address"]


def normalize_address(address: str | int) -> str:
    """A base URL from any usual form: "127.0.0.1:8000", "http://localhost:8000/", "[::1]:8000", 8000."""
    text = str(address).strip()
    text = f"127.0.0.1:{text.strip(':/')}" if re.fullmatch(r":?\d{1,5}/?", text) else text
    text = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    named = re.fullmatch(r"[\w.:%-]+", host) and parts.scheme in ("http", "https")
    if not named or parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise EngineError(f"address must look like http://127.0.0.1:8000, got {address!r}", field="address")
    host = "127.0.0.1" if host == "0.0.0.0" else host
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


class EngineClient:
    """One service, spoken to with its bearer token. Methods may be called from any thread."""

    def __init__(self, address: str | int, token: str, *, timeout: float = 30.0) -> None:
        """`timeout`: seconds to connect, and of silence (the service says something every second)."""
        self.address, self.timeout = normalize_address(address), timeout
        self._token = token

    def health(self) -> dict[str, Any]:
        """State (idle, loading, compiling, busy), version, device, loaded checkpoint, memory, and who waits."""
        health = self._call("GET", "/health")
        if health.get("protocol") != protocol.PROTOCOL_VERSION:
            ours = protocol.PROTOCOL_VERSION
            raise EngineError(f"the engine speaks protocol {health.get('protocol')}, this client {ours}: update one")
        return health

    def checkpoints(self) -> dict[str, Any]:
        """{"checkpoints": [{"name", "bytes", "model"}], "default": name, "loaded": name or None}."""
        return self._call("GET", "/v1/checkpoints")

    def cancel(self, generation_id: str) -> bool:
        """Whether that generation was still waiting or running and is now told to stop."""
        path = f"/v1/generations/{quote(generation_id, safe='')}/cancel"
        return bool(self._call("POST", path)["cancelled"])

    def unload(self) -> bool:
        """Frees the engine's memory; whether there was an engine. Refused (409) while a generation runs."""
        return bool(self._call("POST", "/v1/unload")["unloaded"])

    def generate(
        self,
        points: np.ndarray,
        normals: np.ndarray | None = None,
        *,
        triangles: np.ndarray | None = None,
        **options: Any,
    ) -> GenerationStream:
        """Starts a generation and gives its events; see protocol.py for both.

        `points` (N, 3) are samples of a surface, with `normals` alike where known; or, with `triangles` (T, 3), the
        vertices of a mesh. Options: `flashmesh_core.options.OPTIONS`. What is left out is the engine's to choose.
        """
        try:
            body = protocol.encode_request(points, normals, options, triangles)
        except RequestError as error:
            raise EngineError(error.message, error.field, error.status) from None
        headers = {"Content-Type": protocol.CONTENT_TYPE}
        return GenerationStream(self, self._send("POST", "/v1/generate", data=body, headers=headers, stream=True))

    def _call(self, method: str, path: str) -> dict[str, Any]:
        with self._send(method, path) as response:
            try:
                answer = response.json()
            except ValueError:
                answer = None
            if not isinstance(answer, dict):
                raise EngineError(f"{self.address} did not answer as a FlashMesh engine does")
            return answer

    def _send(self, method: str, path: str, **keywords: Any) -> requests.Response:
        """The response to one request, or an EngineError. Its own session, so that threads share nothing."""
        session = requests.Session()
        session.trust_env = not _is_loopback(self.address)  # no proxy between this machine and itself
        session.headers.update({"Accept-Encoding": "identity", "Connection": "close"})
        session.auth = _Bearer(self._token)
        try:
            response = session.request(
                method, self.address + path, timeout=self.timeout, allow_redirects=False, **keywords
            )
        except requests.Timeout:
            raise EngineError(f"the engine at {self.address} did not answer in {self.timeout:g} s") from None
        except requests.ConnectionError:
            raise EngineError(f"no engine answers at {self.address}: is it running?") from None
        except requests.RequestException as error:
            raise EngineError(f"the request to {self.address} failed: {error}") from None
        if response.status_code == 200:
            return response
        with response:
            raise _refused(response)


class GenerationStream:
    """The events of one generation, as dicts with `kind` and with numpy arrays; see protocol.py.

    A context manager: leaving it closes the connection, and that ends a generation which still runs. `cancel`
    may be called from any thread; the stream then ends with an `end` event whose `end_reason` is "cancelled".
    """

    def __init__(self, client: EngineClient, response: requests.Response) -> None:
        self.id = response.headers.get(protocol.GENERATION_HEADER, "")
        self.result: dict[str, Any] | None = None  # the `end` event, once it has come
        self._client, self._response = client, response
        self._closed = False

    def __enter__(self) -> GenerationStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if self.result is not None or self._closed:
            raise StopIteration
        try:
            frame = protocol.read_frame(self._response.raw.read)
        except (TransportError, RequestError, OSError, ValueError, AttributeError) as error:
            self._stop_if_closed()
            self.close()
            raise EngineError(f"the connection to the engine broke: {error}") from None
        if frame is None:
            self._stop_if_closed()
            self.close()
            raise EngineError("the engine ended in the middle of a generation")
        event = {**frame.header, **frame.arrays}
        if event.get("kind") == "error":
            self.close()
            raise _told(event.get("error"), event.get("status"))
        if event.get("kind") == "end":
            self.result = event
            self.close()
        return event

    def cancel(self) -> bool:
        """Tells the service to stop this generation; whether it was still waiting or running."""
        return self._client.cancel(self.id)

    def close(self) -> None:
        """Closes the connection; a generation that still runs is cancelled by that."""
        self._closed = True
        self._response.close()

    def _stop_if_closed(self) -> None:
        if self._closed:  # by another thread, while this one was reading
            raise StopIteration


class _Bearer(requests.auth.AuthBase):
    """The token, as an auth object: a header alone would give way to a .netrc file."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _refused(response: requests.Response) -> EngineError:
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError, requests.RequestException):
        error = None
    return _told(error, response.status_code)


def _told(error: Any, status: Any) -> EngineError:
    """An `error` object of the service as an exception."""
    status = status if isinstance(status, int) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return EngineError(f"the engine refused the request (status {status})", status=status)
    return EngineError(error["message"], error.get("field"), status)
