"""An open-loop client of HTTP/1.1: requests leave on time, whatever the answers do.

A client that waits for an answer before it asks again measures a slow service by asking it less
("coordinated omission"); here the time of an answer counts from the moment its request was due.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MOST_CONNECTIONS = 800
LOST = 0
"""Stands for a status where a request was sent and the connection ended without an answer."""
REFUSED = -1
"""Stands for a status where no connection could be made."""
UNSENT = -2
"""Stands for a status where every connection that may be open was waiting for an answer."""


@dataclass(frozen=True)
class Reply:
    """A status and a body; the status is LOST or REFUSED where there was no answer."""

    status: int
    body: bytes = b""


@dataclass
class Outcome:
    """What came of a load.

    Attributes:
        seconds: how long requests were sent.
        sent: how many.
        statuses: how often each status came.
        latencies: of each 200, seconds from when it was due.
        in_time: how many answers 200 came while requests were still being sent.
        bodies: of each 200, with the number of its request, where they are kept.
    """

    seconds: float
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    in_time: int = 0
    bodies: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Answers 200 a second, of those that came while requests were being sent."""
        return self.in_time / self.seconds

    def milliseconds(self, percent: float) -> float:
        """Return the latency that so many percent of the answers 200 stayed below."""
        return 1000 * float(np.percentile(self.latencies, percent)) if self.latencies else np.inf


def request_bytes(
    path: str, body: bytes, content_type: str, host: str = "127.0.0.1", headers: str = ""
) -> bytes:
    """Return a POST as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.is_open = False
        self._buffer = bytearray()
        self._reply: asyncio.Future[Reply] | None = None
        self._early: Reply | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep hold of the transport."""
        self.transport: Any = transport
        self.is_open = True

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        """Send `request`; return where its answer will be."""
        self._reply = asyncio.get_running_loop().create_future()
        if self._early is not None:  # refused before it asked
            self._reply.set_result(self._early)
        else:
            self.transport.write(request)
        return self._reply

    def data_received(self, data: bytes) -> None:
        """Settle the answer when it is whole."""
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._buffer[:head_end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        end = head_end + 4 + length
        if len(self._buffer) < end:
            return
        reply = Reply(int(head[9:12]), bytes(self._buffer[head_end + 4 : end]))
        del self._buffer[:end]
        if b"connection: close" in head:
            self.is_open = False
            self.transport.close()
        self._settle(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle as lost what was not answered."""
        self.is_open = False
        self._settle(Reply(LOST))

    def _settle(self, reply: Reply) -> None:
        if self._reply is None:
            self._early = self._early or reply
        elif not self._reply.done():
            self._reply.set_result(reply)


class Pool:
    """Connections that are kept open between requests, as a browser or a proxy does."""

    def __init__(self, port: int, most: int) -> None:
        self._port = port
        self._most = most
        self._busy = 0
        self._idle: list[Connection] = []

    async def ask(self, request: bytes) -> Reply:
        """Return the answer to `request` over an idle connection, or a new one."""
        if self._busy >= self._most:
            return Reply(UNSENT)
        self._busy += 1
        try:
            connection = await self._take()
            if connection is None:
                return Reply(REFUSED)
            reply = await connection.ask(request)
            if connection.is_open:
                self._idle.append(connection)
            return reply
        finally:
            self._busy -= 1

    def close(self) -> None:
        """Close what is idle."""
        for connection in self._idle:
            connection.transport.close()
        self._idle.clear()

    async def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        try:
            _, opened = await asyncio.get_running_loop().create_connection(
                Connection, "127.0.0.1", self._port
            )
        except OSError:
            return None
        return opened


async def load(
    port: int, requests: Sequence[bytes], rate: float, seconds: float, *, keep: bool = False
) -> Outcome:
    """Send `requests` in turn, `rate` a second for so many `seconds`, and wait for every answer."""
    pool, found = Pool(port, MOST_CONNECTIONS), Outcome(seconds)
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def one(number: int, due: float) -> None:
        reply = await pool.ask(requests[number % len(requests)])
        found.statuses[reply.status] += 1
        if reply.status == 200:
            found.latencies.append(loop.time() - due)
            found.in_time += loop.time() - started < seconds
            if keep:
                found.bodies.append((number, reply.body))

    started = loop.time()
    while (elapsed := loop.time() - started) < seconds:
        while found.sent < elapsed * rate:
            task = loop.create_task(one(found.sent, started + found.sent / rate))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            found.sent += 1
        await asyncio.sleep(0.001)
    if tasks:
        await asyncio.wait(tasks, timeout=30)
    pool.close()
    return found


def run_load(
    port: int, requests: Sequence[bytes], rate: float, seconds: float, *, keep: bool = False
) -> Outcome:
    """Run `load` in an event loop of its own, uvloop's where it is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(load(port, requests, rate, seconds, keep=keep))


def is_quiet(port: int, request: bytes, until: float) -> bool:
    """Return whether requests are answered 200 within 50 ms again, before `until`."""
    while time.perf_counter() < until:
        found = run_load(port, [request], rate=20, seconds=0.25)
        if set(found.statuses) == {200} and found.milliseconds(99) < 50:
            return True
    return False


def _loop_factory() -> Any:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
