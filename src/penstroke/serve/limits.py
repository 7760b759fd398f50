"""How much is taken on: bodies counted as they come, requests under way, and time for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstroke.serve.guard import STRICT_HEADERS
from penstroke.serve.responses import RETRY_SECONDS, ApiError, busy
from penstroke.serve.service_settings import ServiceSettings
from penstroke.serve.uploads import Body, media_type_of

ALWAYS_ANSWERED = ("/healthz", "/readyz", "/metrics")
"""Who watches over the service must be answered when it is busiest."""
ENDLESS = "/v1/runs/events"


class Limits:
    """Bounds the requests under way (503) and the time for each; closes connections when told.

    Attributes:
        under_way: requests begun and not answered.
    """

    def __init__(
        self, app: ASGIApp, settings: ServiceSettings, is_draining: Callable[[], bool]
    ) -> None:
        self._app = app
        self._settings = settings
        self._is_draining = is_draining
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self.under_way >= self._settings.max_requests and scope["path"] not in ALWAYS_ANSWERED:
            message = f"{self.under_way} requests are under way: ask again soon"
            await busy(503, message).response()(scope, receive, send)
            return
        self.under_way += 1
        try:
            await self._within_time(scope, receive, send)
        finally:
            self.under_way -= 1

    async def _within_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if self._is_draining():
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        seconds = None if scope["path"] == ENDLESS else self._settings.answer_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._app(scope, receive, watched)
        except TimeoutError:
            # Where the answer has begun, its reader is too slow: the server cuts it off.
            if not started:
                message = f"no answer within {seconds:g} s: ask again later"
                await busy(503, message).response()(scope, receive, send)


def refusal(count: Callable[[], None]) -> ASGIApp:
    """Return an application that answers 429, with next to no work: there is least time for it.

    Args:
        count: called for each.
    """
    message = "too many images are waiting to be read: ask again soon"
    content = busy(429, message).response().body
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"retry-after", str(RETRY_SECONDS).encode()),
        *STRICT_HEADERS,
    ]

    async def app(_: Scope, __: Receive, send: Send) -> None:
        count()
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


async def read_body(request: Request, settings: ServiceSettings, accepted: tuple[str, ...]) -> Body:
    """Return the body of `request`, never holding more of it than is allowed.

    Raises:
        ApiError: 415, it is none of the `accepted` media types; 413, larger than allowed; 408, it
            does not come in time.
    """
    content_type = request.headers.get("content-type", "")
    if media_type_of(content_type) not in accepted:
        raise ApiError(
            415, "wrong_type",
            f"Content-Type: {content_type[:80] or 'none'} is not read, but {', '.join(accepted)}",
        )  # fmt: skip
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "wrong_type", "Content-Encoding: bodies are read as they are, unpacked")
    limit = settings.max_body_bytes
    if int(request.headers.get("content-length", 0)) > limit:
        raise _too_large(limit)
    content = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                content += chunk
                if len(content) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise ApiError(
            408, "too_slow", f"the body did not come within {settings.body_seconds:g} s",
            {"connection": "close"},
        ) from None  # fmt: skip
    return Body(content_type, bytes(content))


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "too_large", f"the body is larger than {limit:,} bytes: send less")
