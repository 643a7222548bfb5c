"""The HTTP side of the service: routes, refusals, and the event stream. Starlette only; knows no engine.

Every request must carry the launch's bearer token and exactly one of the service's own Host values, and no
Origin: a page in a browser can neither read nor guess its way in.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import platform
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flashmesh_core.service import protocol
from flashmesh_core.service.generation import Generation
from flashmesh_core.service.memory import memory_in_use
from flashmesh_core.service.metrics import prometheus_text
from flashmesh_core.service.protocol import RequestError
from flashmesh_core.service.worker import EngineWorker

HEARTBEAT_SECONDS = 1.0  # a progress event after this long without another one
BODY_IDLE_SECONDS = 15.0  # a body that stands still for this long is given up
BODY_SECONDS, BODY_RATE = 60.0, 50_000  # time for a whole body, and bytes that each further second asks for
MAX_BODIES = 3 * protocol.MAX_REQUEST_BYTES  # bytes of all bodies that are on their way in
STALL_SECONDS = 120.0  # a client that takes no event for this long has gone away
_DRAIN_SECONDS = 0.25  # a refused sender that is silent for this long is answered at once
CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"  # one folder with a config.json for each bundled checkpoint


def create_app(
    worker: EngineWorker,
    *,
    token: str,
    hosts: Collection[str] | Callable[[str], bool],
    version: str = "",
    body_idle_seconds: float = BODY_IDLE_SECONDS,
    connections: Callable[[], int] = lambda: 0,
) -> ASGIApp:
    """The ASGI application around `worker`.

    `hosts` are the allowed values of the Host header in lower case, port included, or a test for them; `connections`
    tells how many are open.
    """
    endpoints = _Endpoints(worker, version, body_idle_seconds, connections)
    routes = [
        Route("/health", endpoints.health),
        Route("/metrics", endpoints.metrics),
        Route("/v1/checkpoints", endpoints.checkpoints),
        Route("/v1/generate", endpoints.generate, methods=["POST"]),
        Route("/v1/generations/{id}/cancel", endpoints.cancel, methods=["POST"]),
        Route("/v1/unload", endpoints.unload, methods=["POST"]),
    ]
    handlers: dict[Any, Any] = {RequestError: _on_refusal, HTTPException: _on_http, Exception: _on_failure}
    allows = hosts if callable(hosts) else frozenset(hosts).__contains__
    return _Guard(Starlette(routes=routes, exception_handlers=handlers), token, allows)


class _Endpoints:
    """What each route answers."""

    def __init__(
        self, worker: EngineWorker, version: str, body_idle_seconds: float, connections: Callable[[], int]
    ) -> None:
        self._worker, self._version = worker, version
        self._body_idle_seconds, self._connections = body_idle_seconds, connections
        self._bodies = Bodies()

    async def health(self, request: Request) -> Response:
        status = self._worker.status()
        facts = {"version": self._version, "protocol": protocol.PROTOCOL_VERSION, "pid": os.getpid()}
        python, memory = platform.python_version(), memory_in_use(status["checkpoint"] is not None)
        return JSONResponse({**status, **facts, "python": python, "memory": memory})

    async def metrics(self, request: Request) -> Response:
        status = self._worker.status()
        memory = memory_in_use(status["checkpoint"] is not None)
        text = prometheus_text(status, self._worker.counts, memory, self._connections())
        return Response(text, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    async def checkpoints(self, request: Request) -> Response:
        status = self._worker.status()
        described = [describe_checkpoint(name) for name in checkpoint_names(self._worker.checkpoint)]
        loaded, default = status["checkpoint"], status["default_checkpoint"]
        return JSONResponse({"checkpoints": described, "default": default, "loaded": loaded})

    async def generate(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != protocol.CONTENT_TYPE:
            raise RequestError(f"content-type must be {protocol.CONTENT_TYPE}, got {kind!r:.80}", status=415)
        async with self._bodies.room_for(request.headers.get("content-length")) as room:
            body = await _read_body(request.receive, self._body_idle_seconds, room)
            wanted = await asyncio.to_thread(protocol.decode_request, body)
        del body
        self._check_checkpoint(wanted.options.get("checkpoint"))
        frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def sink(frame: bytes | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever would read this
                loop.call_soon_threadsafe(frames.put_nowait, frame)

        return _EventStream(self._worker, self._worker.submit(wanted, sink), frames)

    async def cancel(self, request: Request) -> Response:
        generation_id = request.path_params["id"]
        return JSONResponse({"id": generation_id, "cancelled": self._worker.cancel(generation_id)})

    async def unload(self, request: Request) -> Response:
        return JSONResponse({"unloaded": await asyncio.wrap_future(self._worker.unload())})

    def _check_checkpoint(self, name: str | None) -> None:
        """A RequestError where a request names a checkpoint that is not here."""
        names = checkpoint_names(self._worker.checkpoint)
        if name is not None and name not in names:
            allowed = ", ".join(names)
            raise RequestError(f"checkpoint must be one of {allowed}, got {name!r:.80}", field="checkpoint")


def checkpoint_names(default: str) -> list[str]:
    """The checkpoints a request may name: the service's own first, then the bundled ones."""
    bundled = sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json"))
    return [default, *(name for name in bundled if name != default)]


def describe_checkpoint(name: str) -> dict[str, Any]:
    """What a checkpoint's files say: its name, bytes of weights, and model config; null where unknown."""
    facts: dict[str, Any] = {"name": name, "bytes": None, "model": None}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        folder = CHECKPOINTS / name  # an absolute path stays itself
        folder = folder.parent if folder.suffix == ".safetensors" else folder
        facts["model"] = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model"]
        facts["bytes"] = (folder / "model.safetensors").stat().st_size
    return facts


class _Guard:
    """Refuses a request before anything of it is used: Host, Origin, token, announced size."""

    def __init__(self, app: ASGIApp, token: str, allows_host: Callable[[str], bool]) -> None:
        self._app, self._allows_host = app, allows_host
        self._authorization = f"Bearer {token}".encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await _drain(receive)
        response = JSONResponse(refusal.to_json(), refusal.status, headers={"connection": "close"})
        if refusal.status == 401:
            response.headers["www-authenticate"] = "Bearer"
        await response(scope, receive, send)

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        host = headers.get(b"host", [])
        if len(host) != 1 or not self._allows_host(host[0].decode("latin-1").lower()):
            return RequestError("Host must be the service's own address and port", field="host", status=403)
        if b"origin" in headers:
            return RequestError("requests from web pages (with an Origin) are refused", "origin", 403)
        given = headers.get(b"authorization", [])
        if len(given) != 1 or not hmac.compare_digest(given[0], self._authorization):
            return RequestError("the bearer token is missing or wrong", field="authorization", status=401)
        length = headers.get(b"content-length", [b"0"])[0]
        if length.isdigit() and int(length[:20]) > protocol.MAX_REQUEST_BYTES:
            return _too_large(int(length[:20]))
        return None


class Bodies:
    """Bytes of all bodies that are on their way in: announced ones count before they are read."""

    def __init__(self, limit: int = MAX_BODIES) -> None:
        self.limit, self.taken = limit, 0

    @contextlib.asynccontextmanager
    async def room_for(self, length: str | None) -> AsyncIterator[Room]:
        """Room for a body of the announced length, for as long as it is read; a RequestError (503) without any."""
        room = Room(self)
        try:
            room.take(int(length) if length is not None and length.isdigit() else 0)
            yield room
        finally:
            self.taken -= room.taken


class Room:
    """The part of `Bodies` that one body takes."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies, self.taken = bodies, 0

    def take(self, size: int) -> None:
        """Grows to `size` bytes, if it was smaller."""
        more = max(0, size - self.taken)
        if self._bodies.taken + more > self._bodies.limit:
            message = f"bodies that are being sent may have {self._bodies.limit:,} bytes in all; try again later"
            raise RequestError(message, "body", 503)
        self.taken += more
        self._bodies.taken += more


class _EventStream(Response):
    """The answer of /v1/generate: frames until the generation ends or the client goes away."""

    def __init__(self, worker: EngineWorker, generation: Generation, frames: asyncio.Queue[bytes | None]) -> None:
        headers = {protocol.GENERATION_HEADER: generation.id, "cache-control": "no-store"}
        super().__init__(None, 200, headers, protocol.CONTENT_TYPE)
        del self.headers["content-length"]
        self._worker, self._generation, self._frames = worker, generation, frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        tasks: list[asyncio.Task[None]] = []
        try:
            await send(start)
            tasks = [asyncio.create_task(self._pump(send)), asyncio.create_task(_disconnected(receive))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            with contextlib.suppress(RequestError):  # ended so long ago that its id is forgotten
                self._worker.cancel(self._generation.id)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, send: Callable[[Message], Awaitable[None]]) -> None:
        while True:
            try:
                frame = await asyncio.wait_for(self._frames.get(), HEARTBEAT_SECONDS)
            except asyncio.TimeoutError:
                frame = self._progress()
            body = {"type": "http.response.body", "body": frame or b"", "more_body": frame is not None}
            try:
                await asyncio.wait_for(send(body), STALL_SECONDS)
            except asyncio.TimeoutError:
                return  # which ends the stream, and with it the generation
            if frame is None:
                return

    def _progress(self) -> bytes:
        generation = self._generation
        header = {
            "kind": "progress",
            "stage": generation.stage,
            "position": self._worker.position(generation),
        }
        return protocol.encode_frame({**header, **generation.latest})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(receive: Receive, idle_seconds: float, room: Room) -> bytearray:
    """The whole body; RequestError if it grows too large (413), stands still or is too slow (408)."""
    body, began = bytearray(), time.monotonic()
    while True:
        left = began + BODY_SECONDS + len(body) / BODY_RATE - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), min(idle_seconds, max(left, 0.01)))
        except asyncio.TimeoutError:
            why = f"stood still for {idle_seconds:g} s" if left > idle_seconds else f"took over {BODY_SECONDS:g} s"
            raise RequestError(f"the body {why}", status=408) from None
        if message["type"] == "http.disconnect":
            raise RequestError("the client went away before the end of the body", status=400)
        body += message.get("body", b"")
        if len(body) > protocol.MAX_REQUEST_BYTES:
            await _drain(receive)
            raise _too_large(len(body))
        room.take(len(body))
        if not message.get("more_body", False):
            return body


async def _drain(receive: Receive) -> None:
    """Reads what a refused sender still sends, up to a limit, so that it gets to read the answer."""
    rest = protocol.MAX_REQUEST_BYTES
    with contextlib.suppress(asyncio.TimeoutError):
        while rest > 0:
            message = await asyncio.wait_for(receive(), _DRAIN_SECONDS)
            if not message.get("more_body", False):
                return
            rest -= len(message.get("body", b""))


def _too_large(size: int) -> RequestError:
    return RequestError(f"body must have at most {protocol.MAX_REQUEST_BYTES:,} bytes, got {size:,}", "body", 413)


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    headers = {"retry-after": "2"} if error.status == 503 else {}
    if error.status in (408, 413, 503):
        headers["connection"] = "close"
    return JSONResponse(error.to_json(), error.status, headers=headers)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refusal = RequestError(f"{request.method} {request.url.path!r:.80}: {error.detail}", status=error.status_code)
    return JSONResponse(refusal.to_json(), error.status_code, headers=error.headers)


async def _on_failure(request: Request, error: Exception) -> Response:
    refusal = RequestError(f"the service failed: {type(error).__name__}: {error}", status=500)
    return JSONResponse(refusal.to_json(), 500)
