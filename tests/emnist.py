"""A small EMNIST: the layout of the official zip, a few images of each class."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from helpers import encode_idx, random_images
from penstroke.data.catalogue import DataFile, Manifest, Release, RemoteFile, Role

LETTERS = tuple("ABC")
TRAIN, TEST = 60, 21
ROLES: dict[Role, str] = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "test-images-idx3-ubyte.gz",
    "test_labels": "test-labels-idx1-ubyte.gz",
}


def emnist_files(
    name: str, *, train: int = TRAIN, test: int = TEST, seed: int = 0
) -> dict[str, bytes]:
    """Return the four files of a set, by name; labels count from 1, as in Letters."""
    files = {}
    for split, count in (("train", train), ("test", test)):
        labels = (np.arange(count) % len(LETTERS) + 1).astype(np.uint8)
        images = encode_idx(random_images(count, seed=seed + count))
        files[f"{name}-{split}-images-idx3-ubyte.gz"] = gzip.compress(images, mtime=0)
        files[f"{name}-{split}-labels-idx1-ubyte.gz"] = gzip.compress(encode_idx(labels), mtime=0)
    return files


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a zip as NIST's: everything in the folder `gzip`, and mappings beside it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gzip/", b"")
        for name, content in files.items():
            archive.writestr(f"gzip/{name}", content)
        archive.writestr("gzip/emnist-letters-mapping.txt", b"1 65 97\n")
    return stream.getvalue()


def manifest(
    name: str,
    files: dict[str, bytes],
    packed: bytes | None = None,
    *,
    addresses: Iterable[str] = (),
    mirrors: Iterable[str] = (),
) -> Manifest:
    """Return the manifest of one set among `files`, which `packed` holds."""
    archive = packed and RemoteFile(
        name="small.zip", size_bytes=len(packed), sha256=hashlib.sha256(packed).hexdigest(),
        addresses=tuple(addresses),
    )  # fmt: skip
    return Manifest(
        name=name, title="", source="", licence="", classes=LETTERS, train=TRAIN, test=TEST,
        transposed=True, label_offset=1, mirrors=tuple(mirrors), archive=archive or None,
        files=tuple(_file(role, f"{name}-{end}", files) for role, end in ROLES.items()),
        other_releases=(Release(train=40, test=14, what="this is the older release"),),
    )  # fmt: skip


def _file(role: Role, name: str, files: dict[str, bytes]) -> DataFile:
    content = files[name]
    digest = hashlib.sha256(content).hexdigest()
    return DataFile(role=role, name=name, size_bytes=len(content), sha256=digest)


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
