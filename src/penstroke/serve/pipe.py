"""A reader process and the conversation with it: replies come in the order of what was asked."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

from penstroke.serve.messages import Message, packed, receive_message
from penstroke.serve.served_models import Served

MESSAGE_BYTES = 4_000_000
"""Bodies that are handed over at once, at most."""

OnReply = Callable[[Message], bool]
"""Takes a reply; returns whether it was the last to its message."""


class Link:
    """One reader process, started with `start`, ended with `close`.

    Attributes:
        known: the models that it has been told, by their SHA-256.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        incoming: asyncio.StreamReader,
        outgoing: asyncio.StreamWriter,
    ) -> None:
        self.known: set[str] = set()
        self._process = process
        self._incoming = incoming
        self._outgoing = outgoing
        self._expected: deque[OnReply] = deque()

    @classmethod
    async def start(cls) -> Link:
        """Start a process; it ends when this side of its socket closes, however that comes."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = _spawn(theirs)
            except OSError:  # no memory, no more processes
                ours.close()
                raise
        return cls(process, *await asyncio.open_connection(sock=ours, limit=MESSAGE_BYTES))

    def close(self) -> None:
        """End the process."""
        self._outgoing.close()
        self._process.kill()
        self._process.wait()

    async def listen(self) -> None:
        """Pass every reply on; raises IncompleteReadError when the process dies."""
        while True:
            reply = await receive_message(self._incoming)
            if self._expected[0](reply):
                self._expected.popleft()

    async def send(self, message: bytes, on_reply: OnReply) -> None:
        """Send `message`; its replies go to `on_reply`."""
        self._expected.append(on_reply)
        self._outgoing.write(message)
        await self._outgoing.drain()

    async def learn(self, model: Served) -> None:
        """Return when the reader has loaded `model`."""
        await self._done(packed({"do": "learn", "model": model.sha256}, [model.content]))
        self.known.add(model.sha256)

    async def forget(self, sha256: str) -> None:
        """Return when the reader has let that model go."""
        await self._done(packed({"do": "forget", "model": sha256}))
        self.known.discard(sha256)

    async def _done(self, message: bytes) -> None:
        done = asyncio.Event()

        def on_reply(_: Message) -> bool:
            done.set()
            return True

        await self.send(message, on_reply)
        await done.wait()


def _spawn(connection: socket.socket) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "penstroke.serve.inference_worker", str(connection.fileno())],
        pass_fds=[connection.fileno()], stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
