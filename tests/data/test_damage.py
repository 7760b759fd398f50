"""Damaged and lying files by the thousand: noticed, and cheaply."""

from __future__ import annotations

import base64
import gzip
import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import penstroke.data.loading
from emnist import emnist_files, manifest, write_files
from helpers import encode_idx, random_images
from penstroke.data import collected, store
from penstroke.data.collected import Collected
from penstroke.data.dataset import Dataset
from penstroke.data.idx import decode_idx
from penstroke.data.loading import load_dataset
from penstroke.errors import DataError
from penstroke.serve.responses import png

FLIPS = 250  # of each kind; by hand 1,000
HEADERS = 3000  # by hand 100,000


def fuzzed(number: int) -> bytes:
    """Return a file that is nearly an IDX file: a header that is off, or lies about the rest."""
    draw = random.Random(number)
    magic = bytes(draw.choices((0, 8, 3, draw.randrange(256)), (6, 3, 3, 1), k=4))
    if draw.random() < 0.7:
        magic = bytes((0, 0, 8, 3))
    shape = [draw.choice((28, draw.randrange(9), 1 << draw.randrange(32))) for _ in range(3)]
    content = magic + struct.pack(">3I", *shape) + draw.randbytes(draw.randrange(3000))
    content = content[: draw.choice((len(content), draw.randrange(20)))]
    if draw.random() < 0.5:
        content = gzip.compress(content, 1, mtime=0)
        if draw.random() < 0.5:  # the length at its end lies too
            content = content[:-4] + draw.randbytes(3) + b"\0"
    return content


def most_bytes_for(headers: range) -> int:
    """Return the most memory that refusing one of them took; fail where one is believed."""
    most = 0
    tracemalloc.start()
    try:
        for number in headers:
            content = fuzzed(number)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                array = decode_idx(content, rank=3, name="f")
            except DataError as error:
                assert str(error).startswith("f")  # noqa: PT017
            else:
                plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
                assert encode_idx(array) == plain
            most = max(most, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    return most


def test_fuzzed_headers_are_refused_without_setting_memory_aside() -> None:
    assert most_bytes_for(range(HEADERS)) < 1_000_000


@pytest.mark.parametrize("promised", [30, 10**6])
def test_a_gzip_bomb_is_refused_with_little_memory(promised: int) -> None:
    header = b"\0\0\x08\x03" + struct.pack(">3I", promised, 28, 28)
    bomb = gzip.compress(header + bytes(200_000_000), 9)
    assert len(bomb) < 300_000
    tracemalloc.start()
    with pytest.raises(DataError, match="trailing bytes|cut short"):
        decode_idx(bomb, rank=3, name="f")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def flipped(content: bytes, number: int) -> bytes:
    """Return `content` with one bit turned over, another for every number."""
    draw = random.Random(number)
    damaged = bytearray(content)
    damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def test_a_flipped_bit_in_a_file_of_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = emnist_files("probe")
    probe = manifest("probe", files, mirrors=("http://127.0.0.1:9/",))
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(penstroke.data.loading, "catalogue", lambda: {"probe": probe})
    write_files(tmp_path / "data" / "probe", files)
    fingerprint = load_dataset("probe").fingerprint
    for number in range(FLIPS):
        name = list(files)[number % 4]
        path = tmp_path / "data" / "probe" / name
        path.write_bytes(flipped(files[name], number))
        with pytest.raises(DataError, match=f"{name} is damaged or was changed|{name} holds"):
            load_dataset("probe")
        path.write_bytes(files[name])
    assert load_dataset("probe").fingerprint == fingerprint


def test_a_flipped_bit_in_a_stored_data_set(tmp_path: Path) -> None:
    labels = np.array([0, 1, 0])
    splits = [Dataset(random_images(3, seed=seed), labels, ("x", "é")) for seed in (1, 2)]
    store.save(tmp_path / "one", "one", splits[0], splits[1], title="what it is")
    files = {path: path.read_bytes() for path in sorted((tmp_path / "one").glob("*.npy"))}
    unnoticed = []
    for number in range(FLIPS):
        path = list(files)[number % len(files)]
        path.write_bytes(flipped(files[path], number))
        try:
            loaded = store.load(tmp_path / "one")
        except DataError:
            pass
        else:  # a bit of the padding in a header, say: then what is read is the same all the same
            assert [s.fingerprint for s in loaded] == [s.fingerprint for s in splits]
            unnoticed.append(path)
        path.write_bytes(files[path])
    assert len(unnoticed) < FLIPS / 50


def test_a_flipped_bit_in_what_a_stored_data_set_says_of_itself(tmp_path: Path) -> None:
    labels = np.array([0, 1, 0])
    splits = [Dataset(random_images(3, seed=seed), labels, ("x", "é")) for seed in (1, 2)]
    store.save(tmp_path / "one", "one", splits[0], splits[1], title="what it is")
    path = tmp_path / "one" / "dataset.toml"
    content = path.read_bytes()
    for number in range(FLIPS):
        path.write_bytes(flipped(content, number))
        try:
            loaded = store.load(tmp_path / "one")
        except DataError:
            continue
        assert [s.fingerprint for s in loaded] == [s.fingerprint for s in splits]


def test_a_flipped_bit_in_a_collected_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PNG inside has checksums of its own; labels and notes are under none."""
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path))
    (image,) = random_images(1)
    name = collected.add(
        Collected(label="7", created="2026", input_image=base64.b64encode(png(image)).decode())
    )
    path = collected.folder() / f"{name}.json"
    content = path.read_bytes()
    start = content.index(b'"input_image": "') + 16
    stop = content.index(b'"', start)
    for number in range(FLIPS):
        path.write_bytes(content[:start] + flipped(content[start:stop], number) + content[stop:])
        try:
            found = collected.read([name])[name]
        except DataError:
            continue
        assert np.array_equal(found.pixels, image)
