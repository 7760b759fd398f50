"""HTTP connections with little patience: uvicorn's, with a deadline for each phase of a request."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstroke.serve.limits import ENDLESS
from penstroke.serve.service_settings import ServiceSettings

_BUSIEST = b"/v1/recognize"
_LINGER_SECONDS = 1.0
_SPARE_SECONDS = 5.0
"""The application answers 408 and 503 itself; only what is stuck beyond that is cut off here."""


class Connection(HttpToolsProtocol):
    """A connection that ends when a phase of its request takes too long.

    uvicorn waits for headers without end, and for as many of them as are sent.
    """

    limits: ServiceSettings
    is_full: Callable[[], bool]
    refusal: ASGIApp
    """These are set by `limited`."""
    deadline: float | None = None
    """When this phase must be over, by the monotonic clock; None where it may go on."""
    _in_head = True
    _head_bytes = 0
    _is_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse a connection beyond the bound, else wait for its first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._give(self.limits.header_seconds)
        if len(self.connections) > self.limits.max_connections:
            self.end(503, "busy", "too many connections are open: ask again soon")

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the headers have become too long."""
        if self._is_ended:
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.max_header_bytes:
                self.end(431, "too_large", "the headers are too long")

    def on_message_begin(self) -> None:
        """Begin the time for headers."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._give(self.limits.header_seconds)

    def on_headers_complete(self) -> None:
        """Begin the time for the body."""
        self._in_head = False
        self._give(self.limits.body_seconds + _SPARE_SECONDS)
        path, _, query = self.url.partition(b"?")
        is_refused = path == _BUSIEST and b"explain=1" not in query and self.is_full()
        self.app: Any = self.refusal if is_refused else self.config.loaded_app
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Begin the time for the answer."""
        endless = self.scope.get("path") == ENDLESS
        self._give(None if endless else self.limits.answer_seconds + _SPARE_SECONDS)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin the time until the next request; uvicorn closes an idle connection before."""
        super().on_response_complete()
        self._give(self.limits.idle_seconds + _SPARE_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self.end(400, "bad_request", msg)

    def expire(self, now: float) -> None:
        """End the connection if its time is over."""
        if self.deadline is None or now < self.deadline:
            return
        waits = self.cycle is None or self.cycle.response_complete
        if self._in_head and waits and not self._is_ended:
            self.end(408, "too_slow", "the headers did not come in time")
        else:
            self.transport.abort()

    def end(self, status: int, code: str, message: str) -> None:
        """Answer with an error and close: for what never becomes a request.

        Closing with bytes unread would make the kernel take the answer back (RFC 1122, 4.2.2.13):
        only our direction is closed, and the rest by the next sweep, or by the other side.
        """
        if self._is_ended or self.transport.is_closing():
            return
        self._is_ended = True
        self._give(_LINGER_SECONDS)
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n"
            "x-content-type-options: nosniff\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.write_eof()

    def _give(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds


def limited(
    settings: ServiceSettings, is_full: Callable[[], bool], refusal: ASGIApp
) -> type[Connection]:
    """Return the protocol that holds to `settings`, and refuses images while `is_full`."""
    bounds = {
        "limits": settings,
        "is_full": staticmethod(is_full),
        "refusal": staticmethod(refusal),
    }
    return type("LimitedConnection", (Connection,), bounds)


async def sweep(connections: set[Any]) -> None:
    """End every connection whose time is over, once a second, until cancelled."""
    while True:
        await asyncio.sleep(1.0)
        now = time.monotonic()
        for connection in list(connections):
            connection.expire(now)
