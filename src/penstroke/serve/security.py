"""Who may use the service: Host, Origin and token are checked, and answers make browsers strict.

A web page from elsewhere must neither use this service nor read from it, even when its own name was
made to resolve to this machine (DNS rebinding): so the Host header must be a name of this service,
and the Origin header, which browsers send with every request that could change something, must be
its own address. What an <img> of another page loads has no Origin: Sec-Fetch-Site tells it.
"""

import contextlib
import hmac
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstroke.serve.responses import ApiError
from penstroke.serve.service_settings import ServiceSettings, is_address, is_loopback

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Of reports, which are single files: no scripts, nothing from elsewhere."""
STRICT_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_CORS_HEADERS = [
    (b"vary", b"Origin"),
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-expose-headers", b"retry-after"),
    (b"access-control-max-age", b"600"),
]
_NEED_TOKEN = ("/v1/", "/metrics")
_CHECKED = {b"host", b"origin", b"sec-fetch-site", b"authorization"}
_DEFAULT_PORTS = {"http": 80, "https": 443}

Address = tuple[str, int]


class Security:
    """Middleware: refuses other hosts (421), other pages (403) and callers without token (401).

    It answers with the ApiError that `app` raises, too.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        origin = self._allowed_origin(scope)
        cors = [(b"access-control-allow-origin", origin), *_CORS_HEADERS] if origin else []

        async def send_strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", [])
                names = {name for name, _ in given}
                strict = [one for one in STRICT_HEADERS if one[0] not in names]
                message["headers"] = [*given, *strict, *cors]
            await send(message)

        try:
            self.check(scope, origin)
            is_preflight = origin is not None and scope["method"] == "OPTIONS"
            app = Response(status_code=204) if is_preflight else self._app
            await app(scope, receive, send_strict)
        except ApiError as error:
            await error.response()(scope, receive, send_strict)

    def check(self, scope: Scope, allowed_origin: bytes | None = None) -> None:
        """Raise ApiError unless the request is for this service, from somebody who may use it.

        `allowed_origin`: that of another page that it comes from and that may use the service.
        """
        values: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name in _CHECKED:
                if name in values:
                    raise ApiError(400, "bad_request", f"several {name.decode()} headers: send one")
                values[name] = value.decode("latin-1")
        host = parse_address(values.get(b"host", ""), default_port=80)
        if host is None or not self._is_ours(host[0]):
            raise ApiError(
                421, "wrong_host",
                "the Host header is not a name of this service; to add a name, start it with "
                "penstroke serve --allow-host NAME",
            )  # fmt: skip
        origin = values.get(b"origin")
        if allowed_origin:
            if scope["method"] != "OPTIONS":  # asks what the page may send, without the token
                self._check_token(scope, values)
            return
        is_foreign = origin is not None and not self._is_same_site(origin, host)
        # Another port of this machine is "same-site"; "none" is an address that a person typed.
        is_own_page = values.get(b"sec-fetch-site", "none") in ("same-origin", "none")
        is_link = scope["method"] in ("GET", "HEAD") and not scope["path"].startswith(_NEED_TOKEN)
        if is_foreign or not (is_own_page or is_link):
            raise ApiError(403, "wrong_origin", "other web pages may not use this service")
        self._check_token(scope, values)

    def _allowed_origin(self, scope: Scope) -> bytes | None:
        """Return the origin of another page that may use the API, if the request is from one."""
        allowed = self._settings.allow_origins if scope["path"].startswith("/v1/") else ()
        for name, value in scope["headers"] if allowed else ():
            if name == b"origin" and value.decode("latin-1") in allowed:
                return bytes(value)
        return None

    def _check_token(self, scope: Scope, values: dict[bytes, str]) -> None:
        token = self._settings.token
        if token is not None and scope["path"].startswith(_NEED_TOKEN):
            scheme, _, given = values.get(b"authorization", "").partition(" ")
            shown = given.strip().encode("utf-8", "surrogateescape")
            if scheme.lower() != "bearer" or not hmac.compare_digest(shown, token.encode()):
                raise ApiError(
                    401, "no_token",
                    "send the token that penstroke serve printed: Authorization: Bearer TOKEN",
                    {"www-authenticate": "Bearer"},
                )  # fmt: skip

    def _is_ours(self, name: str) -> bool:
        settings = self._settings
        return (
            name in (*settings.allow_hosts, settings.host.lower())
            or is_loopback(name)
            # An address cannot be rebound: whoever sends it has reached this service by it.
            or (is_address(name) and not settings.is_local)
        )

    def _is_same_site(self, origin: str, host: Address) -> bool:
        scheme, _, rest = origin.partition("://")
        # TLS belongs to a proxy in front, whose name is among the allowed ones.
        schemes = ("http", "https") if host[0] in self._settings.allow_hosts else ("http",)
        if scheme not in schemes:
            return False
        if scheme == "https" and host[1] == _DEFAULT_PORTS["http"]:
            host = host[0], _DEFAULT_PORTS["https"]
        return parse_address(rest, default_port=_DEFAULT_PORTS[scheme]) == host


@lru_cache(maxsize=256)
def parse_address(text: str, *, default_port: int) -> Address | None:
    """Return (name in lower case, port) of `name[:port]`; None if it is not an address."""
    if not text.isascii() or text.endswith(":") or not set(text).isdisjoint("/@?#\\ ,%"):
        return None
    with contextlib.suppress(ValueError):
        parts = urlsplit(f"//{text}")
        if parts.hostname:
            return parts.hostname, default_port if parts.port is None else parts.port
    return None
