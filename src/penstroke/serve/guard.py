"""Who may ask: Host, Origin and token are checked, and every answer tells the browser to be strict.

A web page from elsewhere must neither use this service nor read from it, even when its own name has
been made to resolve to this machine (DNS rebinding): so the Host header has to be a name of ours,
and the Origin header, which browsers send with all that could change something, this very address.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstroke.serve.responses import ApiError
from penstroke.serve.service_settings import ServiceSettings, is_address, is_loopback

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STRICT_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_FOR_TOKEN = ("/v1/", "/metrics")
_DEFAULT_PORTS = {"http": 80, "https": 443}

Headers = Iterable[tuple[bytes, bytes]]
Address = tuple[str, int]


class StrictHeaders:
    """Adds to every answer what makes a browser careful with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def send_strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *STRICT_HEADERS]
            await send(message)

        await self._app(scope, receive, send_strict if scope["type"] == "http" else send)


class Guard:
    """Refuses requests for another name (421), from another page (403), without the token (401)."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._settings = settings
        self._token = settings.token.encode() if settings.token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            try:
                self.check(scope)
            except ApiError as error:
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def check(self, scope: Scope) -> None:
        """Raise ApiError where the request is not for us, or not from who may ask."""
        host = parse_address(_only(scope["headers"], b"host") or "", default_port=80)
        if host is None or not self._is_ours(host[0]):
            raise ApiError(
                421, "wrong_host",
                "the Host header names no address of this service; by another name it answers "
                "with penstroke serve --allow-host NAME",
            )  # fmt: skip
        origin = _only(scope["headers"], b"origin")
        if origin is not None and not self._is_same_site(origin, host):
            raise ApiError(403, "wrong_origin", "this service answers no pages but its own")
        if _only(scope["headers"], b"sec-fetch-site") == "cross-site" and scope["method"] != "GET":
            raise ApiError(403, "wrong_origin", "this service answers no pages but its own")
        if self._token is not None and scope["path"].startswith(_FOR_TOKEN):
            self._check_token(_only(scope["headers"], b"authorization") or "")

    def _is_ours(self, name: str) -> bool:
        if name in self._settings.allow_hosts or name == self._settings.host.lower():
            return True
        if self._settings.is_local:
            return is_loopback(name)
        # An address cannot be rebound: who sends it has reached us by it.
        return is_loopback(name) or is_address(name)

    def _is_same_site(self, origin: str, host: Address) -> bool:
        scheme, _, rest = origin.partition("://")
        # TLS is somebody else's, in front of us and under a name that we were told.
        schemes = ("http", "https") if host[0] in self._settings.allow_hosts else ("http",)
        if scheme not in schemes:
            return False
        if scheme == "https" and host[1] == _DEFAULT_PORTS["http"]:
            host = host[0], _DEFAULT_PORTS["https"]
        return parse_address(rest, default_port=_DEFAULT_PORTS[scheme]) == host

    def _check_token(self, authorization: str) -> None:
        scheme, _, given = authorization.partition(" ")
        shown = given.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown, self._token or b""):
            raise ApiError(
                401, "no_token",
                "this needs the token that penstroke serve printed: Authorization: Bearer TOKEN",
                {"www-authenticate": "Bearer"},
            )  # fmt: skip


@lru_cache(maxsize=256)
def parse_address(text: str, *, default_port: int) -> Address | None:
    """Return (name in lower case without brackets, port) of `name[:port]`; None if it is none."""
    if not text or any(character in text for character in "/@?#\\ ,%") or not text.isascii():
        return None
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or text.endswith(":"):
        return None
    return parts.hostname, default_port if port is None else port


def _only(headers: Headers, name: bytes) -> str | None:
    """Return the header `name`, None if there is none; ApiError 400 if there are several."""
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        raise ApiError(400, "bad_request", f"there are {len(values)} {name.decode()} headers")
    return values[0].decode("latin-1") if values else None
