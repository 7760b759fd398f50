"""Bounds on a connection that uvicorn does not have: headers, trailers, pipelining, silence.

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
_PIECE_BYTES = 4096  # parsed between two checks
_MAX_PIPELINED = 16  # requests sent before the answer to the first
_SPARE_SECONDS = 5.0  # the application answers 408 and 503 itself; this cuts off what is stuck


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection with a deadline for each phase, kept by `close_expired`."""

    settings: ServiceSettings
    """Set by a subclass: uvicorn makes the connections."""
    deadline: float | None = None
    """By the monotonic clock; None if this phase may last."""
    _in_head = True
    _overhead_bytes = 0
    """Received since the message began or since the last piece of its body."""
    _is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request, or refuse a connection beyond the bound."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._allow(self.settings.header_seconds)
        if len(self.connections) > self.settings.max_connections:
            self.refuse(503, "busy", "too many connections are open: try again soon")

    def data_received(self, data: bytes) -> None:
        """Parse `data`, unless headers, trailers or chunk extensions have become too long.

        The parser keeps an unfinished header whole and reports it at its end, so that it has to be
        stopped before.
        """
        for start in range(0, len(data), _PIECE_BYTES):
            if self._is_refused or self.transport.is_closing():
                return
            piece = data[start : start + _PIECE_BYTES]
            super().data_received(piece)
            self._overhead_bytes += len(piece)
            if self._overhead_bytes > self.settings.max_header_bytes + _PIECE_BYTES:
                self._refuse_headers()

    def on_message_begin(self) -> None:
        """Begin the time for headers."""
        super().on_message_begin()
        self._in_head, self._overhead_bytes = True, 0
        self._allow(self.settings.header_seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; ignore a trailer, which must not count as one (RFC 9110, 6.5.1)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the time for body and answer, or end what is too long (an error to the parser)."""
        length = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if length > self.settings.max_header_bytes:
            self._refuse_headers()
        elif len(self.pipeline) >= _MAX_PIPELINED:
            self.transport.abort()
        if self._is_refused or self.transport.is_closing():
            raise ConnectionAbortedError
        self._in_head = False
        super().on_headers_complete()
        is_endless = self.scope.get("path") == ENDLESS
        self._allow(None if is_endless else self.settings.answer_seconds + _SPARE_SECONDS)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body, whose size the application bounds."""
        super().on_body(body)
        self._overhead_bytes = 0

    def on_response_complete(self) -> None:
        """Begin the time until the next request."""
        super().on_response_complete()
        self._allow(self.settings.idle_seconds + _SPARE_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self.refuse(400, "bad_request", msg)

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error and close; only close where an answer is in progress or was given.

        Closing with bytes unread would make the kernel take the answer back (RFC 1122, 4.2.2.13):
        only this direction is closed, the other one by the deadline or by the caller.
        """
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        if not (self._is_waiting if self._in_head else self._has_no_answer):
            self.transport.abort()
            return
        if not self._in_head:  # for the application, the caller is gone
            self.cycle.disconnected = True
            self.cycle.message_event.set()
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
        if self._in_head and self._is_waiting and not self._is_refused:
            self.refuse(408, "too_slow", "the headers did not arrive in time")
        else:
            self.transport.abort()

    @property
    def _is_waiting(self) -> bool:
        """Whether all requests on this connection have been answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _has_no_answer(self) -> bool:
        """Whether the only request on this connection has not begun to be answered."""
        return not (self.pipeline or self.cycle.response_started)

    def _refuse_headers(self) -> None:
        self.refuse(431, "too_large", "the headers or trailers are too long")

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
