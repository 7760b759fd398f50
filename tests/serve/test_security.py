"""Who may ask, by Host, Origin and token."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from helpers import drawn_digit
from penstroke.errors import ConfigError
from penstroke.serve.responses import ApiError
from penstroke.serve.security import Security
from penstroke.serve.service_settings import ServiceSettings
from serving import Running, client, exchange, png

LOCAL = ServiceSettings()
OPEN = ServiceSettings(host="0.0.0.0", token="a-good-token", allow_hosts=("ink.example",))
NAMED = ServiceSettings(host="my-laptop.local", token="a-good-token")
GOOD = "Bearer a-good-token"


async def _nothing(*_: object) -> None:
    raise AssertionError


def verdict(
    settings: ServiceSettings,
    host: str | None,
    origin: str | None = None,
    *,
    method: str = "POST",
    path: str = "/v1/recognize",
    **headers: str,
) -> int:
    """Return the status of the refusal; 200 where there is none."""
    pairs = [("host", host), ("origin", origin), *headers.items()]
    given = [(k.replace("_", "-").encode(), v.encode()) for k, v in pairs if v is not None]
    scope = {"type": "http", "method": method, "path": path, "headers": given}
    security = Security(_nothing, settings)
    try:
        security.check(scope, security._allowed_origin(scope))
    except ApiError as error:
        return error.status_code
    return 200


HOSTS = [
    ("127.0.0.1:8000", 200), ("127.0.0.1", 200), ("localhost:8000", 200), ("LocalHost", 200),
    ("[::1]:8000", 200), ("127.5.4.3:8000", 200), ("localhost:9", 200), ("127.0.0.1:65535", 200),
    ("evil.example", 421), ("evil.example:8000", 421), ("localhost.evil.example", 421),
    ("127.0.0.1.evil.example", 421), ("evil-localhost", 421), ("192.168.1.7:8000", 421),
    ("8.8.8.8", 421), ("0.0.0.0:8000", 421), ("", 421), (None, 421), ("localhost:", 421),
    ("localhost:port", 421), ("localhost:99999", 421), ("localhost@evil.example", 421),
    ("evil.example@localhost", 421), ("localhost/evil", 421), ("localhost,evil.example", 421),
    ("localhost evil.example", 421), ("[::1", 421), ("::1", 421), ("2130706433", 421),
    ("0x7f.1", 421), ("localhost%00.evil.example", 421), ("lоcalhost", 421), ("localhost#", 421),
    ("localhost?x", 421), ("localhost\\evil", 421),
]  # fmt: skip


@pytest.mark.parametrize(("host", "expected"), HOSTS)
def test_hosts(host: str | None, expected: int) -> None:
    assert verdict(LOCAL, host) == expected
    assert verdict(LOCAL, host, method="GET", path="/") == expected


ORIGINS = [
    (None, 200), ("http://localhost:8000", 200), ("http://LOCALHOST:8000", 200),
    ("null", 403), ("", 403), ("http://evil.example", 403), ("http://localhost", 403),
    ("http://localhost:3000", 403), ("http://127.0.0.1:8000", 403), ("https://localhost:8000", 403),
    ("http://localhost:8000.evil.example", 403), ("http://localhost:8000@evil.example", 403),
    ("http://evil.example/localhost:8000", 403), ("file://", 403), ("http://[::1]:8000", 403),
    ("chrome-extension://localhost:8000", 403), ("localhost:8000", 403),
    ("http://localhost:8000/", 403),
    ("http://localhost:8000 http://evil.example", 403), ("http://", 403), ("HTTP", 403),
]  # fmt: skip


@pytest.mark.parametrize(("origin", "expected"), ORIGINS)
def test_origins(origin: str | None, expected: int) -> None:
    assert verdict(LOCAL, "localhost:8000", origin) == expected
    assert verdict(LOCAL, "localhost:8000", origin, method="DELETE") == expected


BEYOND = [
    (OPEN, "192.168.1.7:8000", None, GOOD, 200), (OPEN, "[fe80::1]:8000", None, GOOD, 200),
    (OPEN, "localhost:8000", None, GOOD, 200), (OPEN, "ink.example", None, GOOD, 200),
    (OPEN, "ink.example", "https://ink.example", GOOD, 200),
    (OPEN, "ink.example", "http://ink.example", GOOD, 200),
    (OPEN, "ink.example", "https://ink.example:444", GOOD, 403),
    (OPEN, "192.168.1.7:8000", "https://192.168.1.7:8000", GOOD, 403),
    (OPEN, "192.168.1.7:8000", "http://192.168.1.7:8000", GOOD, 200),
    (OPEN, "evil.example", None, GOOD, 421), (OPEN, "sub.ink.example", None, GOOD, 421),
    (OPEN, "192.168.1.7:8000", None, None, 401), (OPEN, "192.168.1.7", None, "Bearer wrong", 401),
    (OPEN, "192.168.1.7", None, "Basic a-good-token", 401),
    (OPEN, "192.168.1.7", None, "Bearer", 401), (OPEN, "192.168.1.7", None, "bearer é", 401),
    (OPEN, "192.168.1.7", None, "Bearer a-good-token2", 401),
    (OPEN, "192.168.1.7", "null", GOOD, 403),
    (NAMED, "my-laptop.local:8000", None, GOOD, 200), (NAMED, "other.local:8000", None, GOOD, 421),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "host", "origin", "authorization", "expected"), BEYOND)
def test_beyond_this_machine(
    settings: ServiceSettings,
    host: str,
    origin: str | None,
    authorization: str | None,
    expected: int,
) -> None:
    given = {} if authorization is None else {"authorization": authorization}
    assert verdict(settings, host, origin, **given) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", 200), ("/healthz", 200), ("/readyz", 200), ("/static/page.js", 200), ("/metrics", 401),
     ("/v1/models", 401), ("/v1/runs/events", 401)],
)  # fmt: skip
def test_what_the_token_is_for(path: str, expected: int) -> None:
    assert verdict(OPEN, "192.168.1.7", method="GET", path=path) == expected


@pytest.mark.parametrize(
    ("path", "method", "site", "expected"),
    [("/v1/recognize", "POST", "cross-site", 403), ("/v1/recognize", "POST", "same-origin", 200),
     ("/v1/recognize", "POST", "same-site", 403), ("/v1/runs/events", "GET", "cross-site", 403),
     ("/v1/runs/events", "GET", "same-site", 403), ("/v1/runs/events", "GET", "", 403),
     ("/v1/runs/events", "GET", "same-origin", 200), ("/v1/corrections", "GET", "cross-site", 403),
     ("/metrics", "GET", "cross-site", 403), ("/metrics", "HEAD", "cross-site", 403),
     ("/v1/models", "GET", "none", 200), ("/", "GET", "cross-site", 200),
     ("/runs", "HEAD", "cross-site", 200), ("/", "DELETE", "cross-site", 403)],
)  # fmt: skip
def test_what_browsers_say_of_the_site(path: str, method: str, site: str, expected: int) -> None:
    """An <img> of another page sends no Origin; a link from one may open the pages."""
    assert verdict(LOCAL, "localhost", method=method, path=path, sec_fetch_site=site) == expected


def test_pages_that_are_allowed(model: Path) -> None:
    """They may use the API with the token, and ask for what they may send without it."""
    page = "https://app.example"
    with client(model, token="a-good-token", allow_origins=(page,)) as served:
        headers = {"origin": page, "sec-fetch-site": "cross-site"}
        asked = served.options("/v1/recognize", headers=headers)
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == page
        assert "authorization" in asked.headers["access-control-allow-headers"]
        refused = served.get("/v1/models", headers=headers)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == page, "the page can read why"
        answered = served.get("/v1/models", headers={**headers, "authorization": GOOD})
        assert answered.status_code == 200
        assert answered.headers["access-control-allow-origin"] == page
        for path, origin in (("/v1/models", "https://app.example:1"), ("/docs", page)):
            found = served.get(path, headers={**headers, "origin": origin, "authorization": GOOD})
            assert found.status_code == 403
            assert "access-control-allow-origin" not in found.headers


@pytest.mark.parametrize("origin", ["*", "null", "app.example", "https://a.example/", "https://"])
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(ConfigError, match="is not an origin"):
        ServiceSettings.parse({"allow_origins": [origin]})


def test_refusals_over_the_wire(running: Running) -> None:
    rebound = httpx2.get(f"{running.url}/v1/models", timeout=120, headers={"host": "evil.example"})
    assert (rebound.status_code, rebound.json()["error"]["code"]) == (421, "wrong_host")
    assert "content-security-policy" in rebound.headers
    foreign = httpx2.post(
        f"{running.url}/v1/recognize", content=png(drawn_digit()),
        headers={"origin": "null", "content-type": "image/png"},
    )  # fmt: skip
    assert foreign.status_code == 403
    twice = (
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    assert exchange(running, twice).startswith(b"HTTP/1.1 400 ")
    preflight = httpx2.options(
        f"{running.url}/v1/corrections", headers={"access-control-request-method": "POST"}
    )
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]
