"""Opens an ONNX file as a session, after checking that it reaches nothing outside itself.

A model may name other files as its weights, and operators that a plug-in provides. Neither is
needed to recognise characters; both let an untrusted file reach further than it should. ONNX
Runtime reports neither before it has loaded them, so the protocol buffer is read first.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from penstroke.errors import ModelFileError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Messages and field numbers of onnx.proto, version 3 of the format.
_FUNCTIONS, _OPERATOR_SET_DOMAIN = ("model", 25), ("operator set", 1)
_NESTED = {
    ("model", 7): "graph",
    ("model", 8): "operator set",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 6): "graph",
    ("attribute", 10): "tensor",
    ("attribute", 11): "graph",
}
"""Fields that hold a message to look into."""
_EXTERNAL = {("tensor", 13), ("graph", 15), ("attribute", 22), ("attribute", 23)}
"""External data, and sparse tensors, which may be external too; none of our models has any."""
_DATA_LOCATION = ("tensor", 14)
_OPERATOR = ("node", 4)
_CONTROL_FLOW = {b"If", b"Loop", b"Scan", b"SequenceMap"}
"""Operators that run graphs of their own, a loop as often as it likes; no recogniser needs any."""
_METADATA, _KEY, _VALUE = 14, 1, 2
CHECKSUM = "content_sha256"
"""Key of the metadata that holds, as JSON, the SHA-256 of all else in the file."""


def open_session(content: bytes, name: str, threads: int | None = None) -> Any:
    """Return an ONNX Runtime session (on the CPU) of the ONNX file `content`.

    Messages call it `name`; without `threads`, it uses every core.

    Raises:
        ModelFileError: it is damaged, is not an ONNX model, or reaches outside itself.
    """
    try:
        objection = _objection("model", content)
        checksum, recorded = content_checksum(content)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} cannot be read as an ONNX model: {error}") from None
    if objection:
        raise ModelFileError(
            f"{name} is not opened because {objection}; Penstroke writes no such models"
        )
    if recorded not in (None, json.dumps(checksum)):
        raise ModelFileError(
            f"{name} is damaged or was changed: it does not match its checksum; export it again or "
            "restore it from a copy"
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as exceptions; print nothing beside them
    if threads:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"],
            enable_fallback=0,  # it would print to stdout, and try the same again
        )  # fmt: skip
    except Exception as error:  # ONNX Runtime's exceptions have no other base in common
        raise ModelFileError(f"{name} is damaged, or not an ONNX model that can be read") from error


def content_checksum(content: bytes) -> tuple[str, str | None]:
    """Return the SHA-256 of an ONNX file without its own checksum, and that one; None if absent.

    Raises ValueError if it is malformed.
    """
    digest, recorded = sha256(), None
    for number, value in _fields(content):
        if number == _METADATA:
            entry = dict(_fields(_bytes(value)))
            if entry.get(_KEY) == CHECKSUM.encode():
                recorded = _bytes(entry.get(_VALUE, b"")).decode(errors="replace")
                continue
        whole = value if isinstance(value, bytes) else b"%d" % value
        digest.update(b"%d %d " % (number, len(whole)) + whole)
    return digest.hexdigest(), recorded


def _objection(kind: str, message: bytes) -> str | None:
    """Return why a file with this message must not be opened, or None; ValueError if malformed."""
    for number, value in _fields(message):
        field = (kind, number)
        if field == _FUNCTIONS:
            return "it defines functions of its own"
        if field == _OPERATOR_SET_DOMAIN and value not in (b"", b"ai.onnx"):
            return f"it needs the operators of {_bytes(value).decode(errors='replace')!r}"
        if field == _OPERATOR and value in _CONTROL_FLOW:
            return f"it has control flow ({_bytes(value).decode()}), which may never end"
        if field in _EXTERNAL or (field == _DATA_LOCATION and value):
            return "its weights may lie in other files (external data or sparse tensors)"
        if field in _NESTED and (found := _objection(_NESTED[field], _bytes(value))):
            return found
    return None


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield (field number, value) of a protocol buffer: varints as int, all else as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"it is not a protocol buffer (a field of kind {kind})")
        if at + length > len(message):
            raise ValueError("it is cut short")
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it is cut short")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it is not a protocol buffer (a number of more than 64 bits)")


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("it is not the protocol buffer of an ONNX model")  # noqa: TRY004
    return value
