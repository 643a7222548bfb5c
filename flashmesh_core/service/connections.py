"""Bounds on connections: nobody without the token can take the places of those who have it, by number or by idling.

A connection is a stranger until a request on it has shown the token. Strangers have few places, an address fewer, and a
new one takes the place of the oldest; a request's head must come in time. Refusals have the protocol's own form.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(eq=False)
class Limits:
    """How many connections there may be, and how long a request's head may take; and those that there are."""

    connections: int = 128  # in all
    strangers: int = 48  # that have not shown the token
    strangers_of_peer: int = 32  # of one address
    head_seconds: float = 10.0  # from the connection, or the last answer, to the end of the next request's head
    open: dict[Any, bool] = field(default_factory=dict)  # in order of arrival; whether each is a stranger

    def admit(self, connection: Any) -> str | None:
        """Notes a new connection, and ends the oldest stranger where there are too many; or says why it is refused."""
        strangers = [one for one, is_stranger in self.open.items() if is_stranger]
        of_peer = [one for one in strangers if one.peer == connection.peer]
        if len(of_peer) >= self.strangers_of_peer:
            of_peer[0].end()
        elif len(strangers) >= self.strangers:
            strangers[0].end()
        if len(self.open) >= self.connections:
            return f"at most {self.connections} connections may be open, got one more; try again later"
        self.open[connection] = True
        return None


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which keeps to `limits`; see `bounded_protocol`."""

    limits: Limits
    shown: tuple[bytes, bytes]  # the header that makes a stranger known
    _timer: asyncio.TimerHandle | None = None
    _refused = False

    @property
    def peer(self) -> str:
        return self.client[0] if self.client else ""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        refusal = self.limits.admit(self)
        if refusal is not None:
            self.refuse(503, refusal)
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.limits.open.pop(self, None)
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
            if self.shown in self.headers and self in self.limits.open:
                self.limits.open[self] = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, msg)

    def refuse(self, status: int, message: str) -> None:
        """Answers in the protocol's own form, and closes the connection."""
        self._refused = True
        self._stop_timer()
        body = json.dumps({"error": {"field": None, "message": message}}).encode()
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        if not self.transport.is_closing():
            self.transport.write(head.encode() + body)
            self.transport.close()

    def end(self) -> None:
        """Makes room for another connection."""
        self.limits.open.pop(self, None)
        self._stop_timer()
        self.transport.abort()

    def _expect_head(self) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self._timer = self.loop.call_later(self.limits.head_seconds, self._give_up)

    def _give_up(self) -> None:
        self.refuse(408, f"a request's head must come within {self.limits.head_seconds:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded_protocol(limits: Limits, token: str) -> type[BoundedProtocol]:
    """The protocol's class for one service: its bounds, and the bearer token that makes a stranger known."""
    shown = (b"authorization", f"Bearer {token}".encode("latin-1"))
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits, "shown": shown})
