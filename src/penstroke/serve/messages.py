"""Messages between the service and its workers: JSON and bytes, nothing pickled."""

import json
import struct
from asyncio import StreamReader
from collections.abc import Sequence
from io import BufferedIOBase
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

_LENGTHS = struct.Struct(">II")


class Message(NamedTuple):
    """A JSON value `head`, and the bytes that it refers to, in order."""

    head: Any
    parts: list[bytes]


def pack(head: Any, parts: Sequence[bytes] = ()) -> bytes:
    """Return a message as bytes: two lengths, the head with the lengths of the parts, the parts."""
    text = json.dumps([head, [len(part) for part in parts]], separators=(",", ":")).encode()
    return b"".join((_LENGTHS.pack(len(text), sum(map(len, parts))), text, *parts))


def read_message(stream: BufferedIOBase) -> Message | None:
    """Return the next message; None at the end of the stream."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    text, content = _LENGTHS.unpack(lengths)
    return _unpack(stream.read(text), stream.read(content))


async def receive_message(stream: StreamReader) -> Message:
    """Return the next message; raise IncompleteReadError at the end of the stream."""
    text, content = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    return _unpack(await stream.readexactly(text), await stream.readexactly(content))


def _unpack(text: bytes, content: bytes) -> Message:
    head, lengths = json.loads(text)
    bounds = pairwise(accumulate(lengths, initial=0))
    return Message(head, [content[start:end] for start, end in bounds])
