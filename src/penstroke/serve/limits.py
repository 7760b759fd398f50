"""Bounds on what is accepted: the size and time of a body, requests in progress, time for each."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstroke.serve.responses import ApiError, busy
from penstroke.serve.service_settings import ServiceSettings

_ALWAYS_ANSWERED = ("/healthz", "/readyz", "/metrics")  # monitors ask when it is busiest
ENDLESS = "/v1/runs/events"
MAX_JSON_BYTES = 1_000_000  # values take fifty times the memory of their text
_BODY_HEADERS = (b"content-length", b"transfer-encoding")  # show a body (RFC 9112, 6.3)


class Limits:
    """Middleware: ApiError 503 beyond the requests or the time allowed, 413 and 408 for bodies.

    While the service is draining, every answer closes its connection. `in_progress` counts the
    requests begun and not answered, `held_bytes` the bodies that they have sent.
    """

    def __init__(
        self, app: ASGIApp, settings: ServiceSettings, is_draining: Callable[[], bool]
    ) -> None:
        self._app = app
        self._settings = settings
        self._is_draining = is_draining
        self.in_progress = self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        settings = self._settings
        if self.in_progress >= settings.max_requests and scope["path"] not in _ALWAYS_ANSWERED:
            raise busy(503, f"{self.in_progress} requests are in progress: try again soon")
        for name, value in scope["headers"]:
            if name == b"content-length":
                self._check_sizes(scope, int(value))
        self.in_progress += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self.in_progress -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings, now = self._settings, asyncio.get_running_loop().time()
        answer_deadline = None if scope["path"] == ENDLESS else now + settings.answer_seconds
        size, is_started = 0, False
        is_whole = not any(name in _BODY_HEADERS for name, _ in scope["headers"])

        async def receive_bounded() -> Message:
            nonlocal size, is_whole
            message = await receive()
            added = len(message.get("body", b""))
            size += added
            self.held_bytes += added
            self._check_sizes(scope, size)
            if not is_whole and not message.get("more_body", False):
                is_whole = True
                timeout.reschedule(answer_deadline)
            return message

        async def send_watched(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                if self._is_draining():
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            first_deadline = answer_deadline if is_whole else now + settings.body_seconds
            async with asyncio.timeout_at(first_deadline) as timeout:
                await self._app(scope, receive_bounded, send_watched)
        except TimeoutError:
            if is_started:  # the caller reads too slowly: the server cuts it off
                return
            if is_whole:
                text = f"no answer within {settings.answer_seconds:g} s: try again"
                raise busy(503, text) from None
            text = f"the body did not arrive within {settings.body_seconds:g} s"
            raise ApiError(408, "too_slow", text, {"connection": "close"}) from None
        finally:
            self.held_bytes -= size

    def _check_sizes(self, scope: Scope, size: int) -> None:
        settings = self._settings
        is_image = scope["path"].startswith(("/v1/recognize", "/v1/read"))
        most = settings.max_body_bytes if is_image else min(MAX_JSON_BYTES, settings.max_body_bytes)
        if size > most:
            raise ApiError(413, "too_large", f"the body is larger than {most:,} bytes")
        if self.held_bytes > max(settings.max_held_bytes, settings.max_body_bytes):
            raise busy(503, "too many large bodies are in progress: try again soon")
