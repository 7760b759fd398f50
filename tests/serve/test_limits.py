"""Bodies that are too large or too slow, connections that say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from helpers import drawn_digit
from penstroke.serve.limits import Limits
from penstroke.serve.security import STRICT_HEADERS, Security
from penstroke.serve.service_settings import ServiceSettings
from serving import Running, ask, exchange, png, service

HEAD = b"POST /v1/recognize HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n"


@pytest.fixture(scope="module")
def hasty(model: Path) -> Iterator[Running]:
    """A service of little patience."""
    limits = {"header_seconds": 1.0, "body_seconds": 1.0, "max_header_bytes": 4096}
    with service(model, **limits) as found:
        yield found


def test_a_body_that_says_it_is_too_large(running: Running) -> None:
    assert ask(running, b"x" * 1_000_001).status_code == 413
    announced = HEAD + b"content-length: 99999999999\r\nexpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as connection:
        connection.sendall(announced)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_turns_out_too_large(running: Running) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 50_000

    found = httpx2.post(
        f"{running.url}/v1/recognize", content=chunks(), headers={"content-type": "image/png"}
    )
    assert (found.status_code, found.json()["error"]["code"]) == (413, "too_large")
    assert ask(running, b"x" * 1_000_000).status_code == 422, "as large as allowed"


def test_a_body_that_does_not_come(hasty: Running) -> None:
    found = exchange(hasty, HEAD + b"content-length: 10\r\n\r\nabc", timeout=60)
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in found


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nhost: local"])
def test_headers_that_do_not_come(hasty: Running, sent: bytes) -> None:
    assert exchange(hasty, sent, timeout=60).startswith(b"HTTP/1.1 408 ")


def test_headers_without_end(hasty: Running) -> None:
    found = exchange(hasty, b"GET / HTTP/1.1\r\n" + b"x-more: and more\r\n" * 10_000)
    assert found.startswith(b"HTTP/1.1 431 ")


def test_packed_bodies_are_not_unpacked(running: Running) -> None:
    found = httpx2.post(
        f"{running.url}/v1/recognize", content=b"x",
        headers={"content-type": "image/png", "content-encoding": "gzip"},
    )  # fmt: skip
    assert found.status_code == 415


def test_too_many_connections(model: Path) -> None:
    with service(model, max_connections=5) as small, contextlib.ExitStack() as stack:
        for _ in range(5):
            opened = socket.create_connection(("127.0.0.1", small.port))
            stack.enter_context(contextlib.closing(opened))
        assert exchange(small, b"GET /healthz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503 ")


@pytest.fixture
def patient(model: Path) -> Iterator[Running]:
    """A service that waits for slow clients longer than any test."""
    with service(model, header_seconds=600.0, body_seconds=600.0) as running:
        yield running


@pytest.mark.slow
def test_200_slow_clients_keep_nobody_waiting(patient: Running) -> None:
    request = HEAD + b"content-length: 500\r\n\r\n"
    with contextlib.ExitStack() as stack:
        slow = []
        for number in range(200):
            connection = socket.create_connection(("127.0.0.1", patient.port))
            slow.append(stack.enter_context(contextlib.closing(connection)))
            connection.sendall(request if number % 2 else request[:40])
        with httpx2.Client(base_url=patient.url, timeout=120) as client:
            for connection in slow[:100]:
                connection.sendall(b"x")  # a byte now and then
                assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 200
        assert ask(patient, png(drawn_digit())).status_code == 200


async def told(limits: Limits, path: str) -> list[Any]:
    """Return what is sent in answer to a GET of `path`, through both middlewares."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    await Security(limits, ServiceSettings())(scope, _nothing, send)
    return sent


async def _nothing() -> Any:
    raise AssertionError


def test_too_much_under_way_and_too_slow_an_answer() -> None:
    settings = ServiceSettings(max_requests=1, answer_seconds=0.2)

    async def never(*_: object) -> None:
        await asyncio.sleep(60)

    async def scene() -> None:
        limits = Limits(never, settings, lambda: False)
        waiting = asyncio.create_task(told(limits, "/v1/models"))
        await asyncio.sleep(0)
        (start, _) = await told(limits, "/v1/models")
        assert start["status"] == 503
        assert (b"retry-after", b"1") in start["headers"]
        assert limits.in_progress == 1
        (late, body) = await told(limits, "/healthz")  # let in, whatever else is under way
        assert late["status"] == 503
        assert b"no answer within 0.2 s" in body["body"]
        assert (await waiting)[0]["status"] == 503
        assert limits.in_progress == 0

    asyncio.run(scene())


def test_connections_are_closed_while_draining() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    limits = Limits(app, ServiceSettings(), lambda: True)
    (start,) = asyncio.run(told(limits, "/v1/models"))
    assert start["headers"] == [(b"connection", b"close"), *STRICT_HEADERS]
