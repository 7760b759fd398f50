"""Bodies that are too large or too slow, connections that say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from helpers import drawn_digit
from penstroke.serve.limits import Limits
from penstroke.serve.security import STRICT_HEADERS, Security
from penstroke.serve.service_settings import ServiceSettings
from serving import Running, ask, exchange, png, service

SEVEN = png(drawn_digit())
HEAD = b"POST /v1/recognize HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n"


@pytest.fixture(scope="module")
def hasty(model: Path) -> Iterator[Running]:
    """A service of little patience."""
    limits = {"header_seconds": 1.0, "body_seconds": 1.0, "max_header_bytes": 4096}
    with service(model, **limits) as found:
        yield found


def test_a_body_that_says_it_is_too_large(running: Running) -> None:
    assert ask(running, b"x" * 8_000_001).status_code == 413
    announced = HEAD + b"content-length: 99999999999\r\nexpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as connection:
        connection.sendall(announced)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_turns_out_too_large(running: Running) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 250_000

    found = httpx2.post(
        f"{running.url}/v1/recognize", content=chunks(), headers={"content-type": "image/png"}
    )
    assert (found.status_code, found.json()["error"]["code"]) == (413, "too_large")
    assert ask(running, b"x" * 8_000_000).status_code == 422, "as large as allowed"
    correction = b"1" * 1_000_001
    found = running.post("/v1/corrections", content=correction)
    assert found.status_code == 413


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


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
LONG = b"x" * 8_000_000
LONG_HEADS = {
    "header": b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"y" * 120_000,
    "address": b"GET /" + b"y" * 120_000,
    "headers": b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 20_000,
}
LONG_ENDS = {
    "trailer": CHUNKED + b"0\r\nx-long: " + LONG,
    "name of a trailer": CHUNKED + b"1\r\na\r\n0\r\n" + LONG,
    "trailers": CHUNKED + b"0\r\n" + b"x-more: and more\r\n" * 400_000,
    "chunk extension": CHUNKED + b"1;" + LONG,
}


@pytest.mark.parametrize("sent", LONG_HEADS.values(), ids=LONG_HEADS)
def test_long_headers_in_one_segment(running: Running, sent: bytes) -> None:
    assert exchange(running, sent + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("sent", LONG_ENDS.values(), ids=LONG_ENDS)
def test_trailers_and_extensions_without_end(running: Running, sent: bytes) -> None:
    assert exchange(running, sent).startswith(b"HTTP/1.1 431 ")


def test_headers_are_counted_for_each_request(running: Running) -> None:
    """A body or a request before them in the same segment does not add to their length."""
    padding = b"x-padding: " + b"y" * 30_000 + b"\r\n"
    one = HEAD + padding + f"content-length: {len(SEVEN)}\r\n\r\n".encode() + SEVEN
    last = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert exchange(running, 3 * one + last, timeout=60).count(b"HTTP/1.1 200 ") == 4


def test_a_body_that_cannot_be_parsed_is_answered_once(running: Running) -> None:
    found = exchange(running, CHUNKED + b"5\r\nabcde\r\nno number\r\n")
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1


def test_a_trailer_is_no_header(model: Path) -> None:
    trailers = b"0\r\nauthorization: Bearer a-good-token\r\nhost: evil.example\r\n\r\n"
    body = f"{len(SEVEN):x}\r\n".encode() + SEVEN + b"\r\n"
    end = b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + body + trailers
    token = b"authorization: Bearer a-good-token\r\n"
    with service(model, token="a-good-token") as guarded:
        assert exchange(guarded, HEAD + end).startswith(b"HTTP/1.1 401 ")
        assert exchange(guarded, HEAD + token + end, timeout=60).startswith(b"HTTP/1.1 200 ")


ATTACKS = {
    **LONG_ENDS,
    "headers": b"GET / HTTP/1.1\r\nx: " + LONG,
    "pipeline": b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n" * 100_000,
    "slow body": HEAD + b"content-length: 8000000\r\n\r\n" + LONG[:-1],
}


@pytest.mark.parametrize("token", [None, "a-good-token"])
def test_memory_stays_flat(model: Path, token: str | None) -> None:
    """Fifty connections at once, of each kind of attack, which all stay open."""
    with service(model, token=token) as attacked:
        ask(attacked, SEVEN)
        process = psutil.Process(attacked.process.pid)
        before = process.memory_info().rss
        peaks = {}
        for name, sent in ATTACKS.items():
            with contextlib.ExitStack() as stack:
                for _ in range(50):
                    opened = socket.create_connection(("127.0.0.1", attacked.port), timeout=0.2)
                    stack.enter_context(contextlib.closing(opened))
                    with contextlib.suppress(OSError):
                        opened.sendall(sent)
                assert attacked.get("/healthz").status_code == 200
                peaks[name] = round(process.memory_info().rss / before, 2)
        assert max(peaks.values()) <= 1.2, peaks


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
