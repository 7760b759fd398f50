"""IDX, the format MNIST and EMNIST come in: a header of magic and dimensions, then the values.

Bytes 0-1 are zero, byte 2 the type, byte 3 the rank; one big-endian uint32 per dimension follows
(yann.lecun.com/exdb/mnist, "the IDX file format"). A header is believed only if it agrees with the
bytes that are there.
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from penstroke.errors import DataError
from penstroke.files import reason

_UNSIGNED_BYTE = 0x08
_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32",
          0x0E: "float64"}  # fmt: skip
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path, *, rank: int) -> npt.NDArray[np.uint8]:
    """Return the array in the IDX file at `path`, gzipped or plain.

    Raises:
        DataError: names the file and what is wrong with it.
    """
    try:
        return decode_idx(path.read_bytes(), rank=rank, name=str(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error


def read_shape(path: Path, *, rank: int) -> tuple[int, ...]:
    """Return the shape in the header of the IDX file at `path`, gzipped or plain.

    Raises:
        DataError: it has another rank, or cannot be read.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if packed else raw as stream:
                return _read_header(stream, rank, str(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip stream is cut short or damaged: {error}") from error


def decode_idx(content: bytes, *, rank: int, name: str) -> npt.NDArray[np.uint8]:
    """Return the array in the bytes of an IDX file; `name` is for messages.

    Raises:
        DataError: wrong magic, type or rank; too few or too many bytes; a damaged gzip stream.
    """
    if not content.startswith(_GZIP_MAGIC):
        return _decode(io.BytesIO(content), len(content), rank, name)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            return _decode(stream, _unpacked_size(content, name), rank, name)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name}: the gzip stream is cut short or damaged: {error}") from error


def encode_idx(array: npt.NDArray[np.uint8]) -> bytes:
    """Return `array` as the bytes of a plain IDX file."""
    header = struct.pack(">BBBB", 0, 0, _UNSIGNED_BYTE, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _decode(
    stream: io.BytesIO | gzip.GzipFile, size: int, rank: int, name: str
) -> npt.NDArray[np.uint8]:
    shape = _read_header(stream, rank, name)
    expected = math.prod(shape)
    present = size - 4 - 4 * rank
    # Compared before a byte is set aside: a header may promise terabytes.
    if present != expected:
        while stream.read(1 << 16):  # raises for a damaged stream, by its checksum
            pass
        problem = "is cut short" if present < expected else "has trailing bytes"
        raise DataError(
            f"{name} {problem}: its header promises {'×'.join(map(str, shape))} = {expected} "
            f"values, but it has {present}"
        )
    payload = stream.read(expected + 1)
    if len(payload) != expected:
        raise DataError(f"{name} has {len(payload)} values, but its header promises {expected}")
    return np.frombuffer(payload, np.uint8).reshape(shape).copy()  # writable


def _read_header(stream: BinaryIO | gzip.GzipFile, rank: int, name: str) -> tuple[int, ...]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(f"{name} is not an IDX file: it starts with {magic.hex(' ') or 'nothing'}")
    if magic[2] != _UNSIGNED_BYTE:
        kind = _TYPES.get(magic[2], f"the unknown type 0x{magic[2]:02x}")
        raise DataError(f"{name} holds {kind}, but uint8 is expected")
    if magic[3] != rank:
        what = {1: "labels", 3: "images"}.get(rank, f"rank {rank}")
        raise DataError(f"{name} has rank {magic[3]}, but {what} have rank {rank}")
    dimensions = stream.read(4 * rank)
    if len(dimensions) < 4 * rank:
        raise DataError(f"{name} is cut short inside its header")
    return struct.unpack(f">{rank}I", dimensions)


def _unpacked_size(content: bytes, name: str) -> int:
    """Return the size in the gzip trailer, which `gzip` compares with the stream."""
    if len(content) < 18:
        raise DataError(f"{name}: the gzip stream is cut short")
    size: int = struct.unpack("<I", content[-4:])[0]
    # deflate cannot pack more than 1032 to 1 (zlib's technical notes).
    if size > 1032 * len(content):
        raise DataError(f"{name}: the gzip stream is cut short or damaged: wrong length at its end")
    return size
