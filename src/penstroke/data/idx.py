"""IDX, the format MNIST and EMNIST come in: a header of magic and dimensions, then the values.

Bytes 0-1 are zero, byte 2 the type, byte 3 the rank; one big-endian uint32 per dimension follows
(yann.lecun.com/exdb/mnist, "the IDX file format"). A header is believed only if it agrees with the
bytes that are there.
"""

import contextlib
import gzip
import io
import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data import store
from penstroke.data.catalogue import ROLES, Role, check_new_name
from penstroke.data.dataset import Dataset
from penstroke.errors import ConfigError, DataError
from penstroke.files import explained

_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32",
          0x0E: "float64"}  # fmt: skip
_GZIP_MAGIC = b"\x1f\x8b"
_FILE_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<split>train|test|t10k)-(?P<kind>images|labels)[.-]idx[13]-ubyte(\.gz)?"
)
_UINT8 = np.dtype(np.uint8)
_Bytes = npt.NDArray[np.uint8]


def read_idx(path: Path, *, rank: int) -> _Bytes:
    """Return the array in the IDX file at `path`, gzipped or plain, or raise DataError."""
    with explained(f"read {path}", DataError):
        return decode_idx(path.read_bytes(), rank=rank, name=str(path))


def read_shape(path: Path, *, rank: int) -> tuple[int, ...]:
    """Return the shape in the header of the IDX file at `path`, or raise DataError."""
    name = str(path)
    with explained(f"read {path}", DataError), path.open("rb") as raw, _unpacked(raw, name) as file:
        return _read_header(file, rank, name)


def decode_idx(content: bytes, *, rank: int, name: str, dtype: str = "u1") -> npt.NDArray[Any]:
    """Return the array in the bytes of an IDX file, of `dtype`; `name` is for messages.

    Raises DataError for a wrong magic, type or rank, too few or too many bytes, or a damaged gzip
    stream.
    """
    size = _unpacked_size(content, name)
    with _unpacked(io.BytesIO(content), name) as stream:
        shape = _read_header(stream, rank, name, np.dtype(dtype))
        expected = math.prod(shape) * np.dtype(dtype).itemsize
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
    return np.frombuffer(payload, dtype).reshape(shape).copy()  # writable


def to_dataset(
    images: _Bytes, labels: _Bytes, classes: tuple[str, ...],
    transposed: bool, label_offset: int,
) -> Dataset:  # fmt: skip
    """Return the arrays of two files as a data set: images turned upright, labels from 0."""
    upright = images.transpose(0, 2, 1) if transposed else images
    return Dataset(np.ascontiguousarray(upright), labels.astype(np.int64) - label_offset, classes)


def import_idx(
    name: str, source: Path, destination: Path, *, transposed: bool | None = None,
    label_offset: int = 0, classes: tuple[str, ...] | None = None,
) -> tuple[Dataset, Dataset]:  # fmt: skip
    """Bring the IDX files at `source` into the stored data set `destination`; return its splits.

    `source` is a folder with one set of train and test files, or the beginning of their names.
    `transposed` images are stored as in EMNIST; None if that is not known. `label_offset` is the
    label of the first class in the files: 1 for EMNIST letters. The `classes` are else those of a
    mapping.txt, else the numbers.

    Raises ConfigError if the name is taken or not valid, or the files are EMNIST's and `transposed`
    is None; DataError if files are missing, damaged, or do not fit together. Nothing is written.
    """
    check_new_name(name)
    files, prefix = _find_files(source)
    if transposed is None and prefix.lower().startswith("emnist"):
        first = int(read_idx(files["train_labels"], rank=1).min(initial=255))
        offset = f" --label-offset {first}" if 0 < first < 255 else ""
        raise ConfigError(
            f"{files['train_images'].with_name(prefix.rstrip('-'))}…: EMNIST stores images "
            f"transposed{f', and labels start at {first}' if offset else ''}: add "
            f"--transposed{offset}; or --upright, if they were turned since"
        )
    mapping = files["train_images"].with_name(f"{prefix}mapping.txt")
    names = classes or _read_mapping(mapping, label_offset)
    arrays = [
        _read_split(files[images], files[labels]) for images, labels in (ROLES[:2], ROLES[2:])
    ]
    highest = max(int(labels.max()) for _, labels in arrays)
    names = names or tuple(map(str, range(highest - label_offset + 1)))
    for (_, labels), role in zip(arrays, ROLES[1::2], strict=True):
        _check_labels(labels, names, label_offset, files[role])
    train, test = (to_dataset(*split, names, bool(transposed), label_offset) for split in arrays)
    store.save(destination, name, train, test, title=f"imported from {source.resolve()}")
    return train, test


def is_idx_name(name: str) -> bool:
    """Return whether a file of this name is an IDX file."""
    return re.search(r"[.-]idx[13]-ubyte(\.gz)?$", name) is not None


def holds_idx(source: Path) -> bool:
    """Return whether `source` is a folder of IDX files, or the beginning of their names."""
    folder, start = (source, "") if source.is_dir() else (source.parent, source.name)
    names = [path.name for path in folder.glob("*")] if not source.is_file() else []
    return any(name.startswith(start) and _FILE_NAME.fullmatch(name) for name in names)


@contextlib.contextmanager
def _unpacked(raw: BinaryIO, name: str) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Give the stream `raw`, unpacked if it is gzipped; damage to it becomes a DataError."""
    is_packed = raw.read(2) == _GZIP_MAGIC
    raw.seek(0)
    try:
        with gzip.GzipFile(fileobj=raw) if is_packed else raw as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name}: the gzip stream is cut short or damaged: {error}") from error


def _read_header(
    stream: BinaryIO | gzip.GzipFile, rank: int, name: str, dtype: np.dtype[Any] = _UINT8
) -> tuple[int, ...]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(f"{name} is not an IDX file: it starts with {magic.hex(' ') or 'nothing'}")
    if (kind := _TYPES.get(magic[2], f"the unknown type 0x{magic[2]:02x}")) != dtype.name:
        raise DataError(f"{name} holds {kind}, but {dtype.name} is expected")
    if magic[3] != rank:
        what = {1: "labels", 3: "images"}.get(rank, f"rank {rank}")
        raise DataError(f"{name} has rank {magic[3]}, but {what} have rank {rank}")
    dimensions = stream.read(4 * rank)
    if len(dimensions) < 4 * rank:
        raise DataError(f"{name} is cut short inside its header")
    return struct.unpack(f">{rank}I", dimensions)


def _unpacked_size(content: bytes, name: str) -> int:
    """Return the size in the gzip trailer, if there is one: `gzip` compares it with the stream."""
    if not content.startswith(_GZIP_MAGIC):
        return len(content)
    if len(content) < 18:
        raise DataError(f"{name}: the gzip stream is cut short")
    size: int = struct.unpack("<I", content[-4:])[0]
    # deflate cannot pack more than 1032 to 1 (zlib's technical notes).
    if size > 1032 * len(content):
        raise DataError(f"{name}: the gzip stream is cut short or damaged: wrong length at its end")
    return size


def _find_files(source: Path) -> tuple[dict[Role, Path], str]:
    """Return the four files, and the prefix of their names."""
    folder, wanted = (source, None) if source.is_dir() else (source.parent, source.name)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    by_prefix: dict[str, dict[Role, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _FILE_NAME.fullmatch(path.name)
        if match and (wanted is None or match["prefix"].rstrip("-") == wanted.rstrip("-")):
            split = "train" if match["split"] == "train" else "test"
            role = next(r for r in ROLES if r == f"{split}_{match['kind']}")
            by_prefix.setdefault(match["prefix"], {})[role] = path
    if not by_prefix:
        raise DataError(f"{source} holds no IDX files (…train-images-idx3-ubyte.gz and so on)")
    if len(by_prefix) > 1:
        choices = " or ".join(str(folder / prefix.rstrip("-")) for prefix in by_prefix)
        raise DataError(f"{source} holds several data sets: choose one, {choices}")
    prefix, files = by_prefix.popitem()
    if missing := [role.replace("_", " ") for role in ROLES if role not in files]:
        first = next(iter(files.values()))
        raise DataError(
            f"{folder / prefix}…: {', '.join(missing)} missing; to import one split, name a "
            f"file of it: `penstroke data import NAME {first}`"
        )
    return files, prefix


def _read_split(image_file: Path, label_file: Path) -> tuple[_Bytes, _Bytes]:
    images, labels = read_idx(image_file, rank=3), read_idx(label_file, rank=1)
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise DataError(f"{image_file}: images are {images.shape[1]}×{images.shape[2]}, not 28×28")
    if len(images) != len(labels):
        raise DataError(
            f"{image_file} holds {len(images)} images, but {label_file.name} {len(labels)} labels"
        )
    if not len(images):
        raise DataError(f"{image_file} holds no images")
    return images, labels


def _check_labels(labels: _Bytes, classes: tuple[str, ...], offset: int, path: Path) -> None:
    low, high = int(labels.min()), int(labels.max())
    last = len(classes) + offset - 1
    if low < offset or high > last:
        raise DataError(
            f"{path}: labels run from {low} to {high}, but with {len(classes)} classes they should "
            f"run from {offset} to {last}; did you mean --label-offset {low}?"
        )
    if low == offset + 1 and high == last:
        raise DataError(
            f"{path}: no image has label {offset}, the first class; labels seem to start at "
            f"{low}: add --label-offset {low}"
        )


def _read_mapping(path: Path, label_offset: int) -> tuple[str, ...] | None:
    """Return the class names in EMNIST's mapping.txt (label, then a character code or two)."""
    if not path.exists():
        return None
    names: dict[int, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            label, *codes = (int(word) for word in line.split())
            names[label] = "".join(map(chr, codes))
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}, line {number}: expected a label and codes: {line}") from error
    first = min(names, default=0)
    if sorted(names) != list(range(first, first + len(names))) or first != label_offset:
        raise DataError(f"{path}: labels start at {first}; did you mean --label-offset {first}?")
    return tuple(names[label] for label in sorted(names))
