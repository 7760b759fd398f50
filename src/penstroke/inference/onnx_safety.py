"""What an ONNX file asks for, read before anything is built from it.

A model may name files beside it as its weights, and operators that a plug-in brings. Neither is
needed to read characters; both are ways for a foreign file to reach further than it should. The
file is walked as the protocol buffer it is: ONNX Runtime tells neither before it has loaded them.
"""

from __future__ import annotations

from collections.abc import Iterator

_STANDARD_DOMAINS = (b"", b"ai.onnx")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Field numbers of onnx.proto, version 3 of the format.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_FUNCTION = 7, 8, 25
_OPSET_DOMAIN = 1
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE = (22, 23)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14

Fields = Iterator[tuple[int, "bytes | int"]]


def objection(content: bytes) -> str | None:
    """Return why the ONNX file `content` must not be opened; None where nothing speaks against it.

    Raises:
        ValueError: it is no protocol buffer, or cut short.
    """
    for number, value in _fields(content):
        if number == _MODEL_FUNCTION:
            return "it brings functions of its own"
        if number == _MODEL_OPSET:
            domain = next((v for n, v in _fields(_bytes(value)) if n == _OPSET_DOMAIN), b"")
            if domain not in _STANDARD_DOMAINS:
                return f"it needs the operators of {_bytes(domain).decode(errors='replace')!r}"
        if number == _MODEL_GRAPH and _reaches_outside(_bytes(value)):
            return "its weights lie in other files, or may (external data, sparse tensors)"
    return None


def _reaches_outside(graph: bytes) -> bool:
    """Return whether any tensor of a graph, or of a graph within, lies in another file.

    A sparse tensor, which may too, counts as one that does: there are none in our models.
    """
    for number, value in _fields(graph):
        if number == _GRAPH_SPARSE:
            return True
        if number == _GRAPH_INITIALIZER and _is_external(_bytes(value)):
            return True
        if number == _GRAPH_NODE:
            attributes = (v for n, v in _fields(_bytes(value)) if n == _NODE_ATTRIBUTE)
            if any(_attribute_reaches_outside(_bytes(attribute)) for attribute in attributes):
                return True
    return False


def _attribute_reaches_outside(attribute: bytes) -> bool:
    for number, value in _fields(attribute):
        if number in _ATTRIBUTE_SPARSE:
            return True
        if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS) and _is_external(_bytes(value)):
            return True
        if number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS) and _reaches_outside(_bytes(value)):
            return True
    return False


def _is_external(tensor: bytes) -> bool:
    return any(
        number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value)
        for number, value in _fields(tensor)
    )


def _fields(message: bytes) -> Fields:
    """Yield (field number, value) of a protocol buffer: bytes as they are, numbers as int."""
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
            raise ValueError(f"no protocol buffer: a field of kind {kind}")
        if at + length > len(message):
            raise ValueError("cut short")
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("cut short")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no protocol buffer: a number of more than 64 bits")


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("no protocol buffer of an ONNX model")  # noqa: TRY004 - of the file
    return value
