"""How the service and its readers talk: messages of JSON and bytes. Nothing pickled."""

from __future__ import annotations

import json
import struct
from asyncio import StreamReader
from collections.abc import Sequence
from io import BufferedIOBase
from typing import Any, NamedTuple

_LENGTHS = struct.Struct(">II")


class Message(NamedTuple):
    """`head` is a plain value, `parts` are bytes that it speaks of."""

    head: Any
    parts: list[bytes]


class Question(NamedTuple):
    """What is asked about an image.

    Attributes:
        top: so many classes, likeliest first; None is all.
        explain: whether to say where the network looked.
        page: whether lines are to be read, not one character.
    """

    top: int | None = None
    explain: bool = False
    page: bool = False

    @property
    def is_long(self) -> bool:
        """Whether it takes as long as dozens of characters."""
        return self.explain or self.page


def packed(head: Any, parts: Sequence[bytes] = ()) -> bytes:
    """Return a message as bytes: two lengths, the head with the lengths of the parts, the parts."""
    text = json.dumps([head, [len(part) for part in parts]], separators=(",", ":")).encode()
    return b"".join((_LENGTHS.pack(len(text), sum(map(len, parts))), text, *parts))


def read_message(stream: BufferedIOBase) -> Message | None:
    """Return the next message; None where the stream has ended."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    text, content = _LENGTHS.unpack(lengths)
    return _unpacked(stream.read(text), stream.read(content))


async def receive_message(stream: StreamReader) -> Message:
    """Return the next message; raises IncompleteReadError where the stream has ended."""
    text, content = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    return _unpacked(await stream.readexactly(text), await stream.readexactly(content))


def _unpacked(text: bytes, content: bytes) -> Message:
    head, lengths = json.loads(text)
    parts, start = [], 0
    for length in lengths:
        parts.append(content[start : start + length])
        start += length
    return Message(head, parts)
