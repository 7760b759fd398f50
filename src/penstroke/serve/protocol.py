"""Bounds on a connection that uvicorn does not have: the length of headers, and time to be silent.

Without them a caller could hold connections and memory for ever. uvicorn's parser in Python (h11)
bounds the length of headers, at a fifth of the throughput (docs/lab.md).
"""

import asyncio
import json
import time
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstroke.serve.limits import ENDLESS
from penstroke.serve.service_settings import ServiceSettings

_LINGER_SECONDS = 1.0
_SPARE_SECONDS = 5.0  # the application answers 408 and 503 itself; this cuts off what is stuck


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection with a deadline for each phase, kept by `close_expired`."""

    settings: ServiceSettings
    """Set by a subclass: uvicorn makes the connections."""
    deadline: float | None = None
    """By the monotonic clock; None if this phase may last."""
    _in_head = True
    _head_bytes = 0
    _is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request, or refuse a connection beyond the bound."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._allow(self.settings.header_seconds)
        if len(self.connections) > self.settings.max_connections:
            self.refuse(503, "busy", "too many connections are open: try again soon")

    def data_received(self, data: bytes) -> None:
        """Parse `data`, unless the headers have become too long."""
        if self._is_refused:
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.settings.max_header_bytes:
                self.refuse(431, "too_large", "the headers are too long")

    def on_message_begin(self) -> None:
        """Begin the time for headers."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._allow(self.settings.header_seconds)

    def on_headers_complete(self) -> None:
        """Begin the time for body and answer."""
        self._in_head = False
        super().on_headers_complete()
        is_endless = self.scope.get("path") == ENDLESS
        self._allow(None if is_endless else self.settings.answer_seconds + _SPARE_SECONDS)

    def on_response_complete(self) -> None:
        """Begin the time until the next request."""
        super().on_response_complete()
        self._allow(self.settings.idle_seconds + _SPARE_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self.refuse(400, "bad_request", msg)

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error and close, before there is a request.

        Closing with bytes unread would make the kernel take the answer back (RFC 1122, 4.2.2.13):
        only this direction is closed, the other one by the deadline or by the caller.
        """
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._allow(_LINGER_SECONDS)
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n"
            "x-content-type-options: nosniff\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.write_eof()

    def expire(self) -> None:
        """End the connection, with an answer if none is in progress."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        if self._in_head and is_waiting and not self._is_refused:
            self.refuse(408, "too_slow", "the headers did not arrive in time")
        else:
            self.transport.abort()

    def _allow(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds


async def close_expired(connections: set[Any]) -> None:
    """End the connections whose deadline is over, once a second, until cancelled."""
    while True:
        await asyncio.sleep(1.0)
        now = time.monotonic()
        for connection in list(connections):
            if connection.deadline is not None and connection.deadline <= now:
                connection.expire()
