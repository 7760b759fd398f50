from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import encode_idx, random_images
from penstroke.data.idx import decode_idx, read_idx
from penstroke.errors import DataError

IMAGES = encode_idx(random_images(5))
LABELS = encode_idx(np.arange(5, dtype=np.uint8))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_round_trip(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "images"
    path.write_bytes(pack(IMAGES))
    assert np.array_equal(read_idx(path, rank=3), random_images(5))


def header(
    *, zeros: bytes = b"\0\0", kind: int = 8, rank: int = 3, shape: tuple[int, ...]
) -> bytes:
    return zeros + bytes([kind, rank]) + struct.pack(f">{len(shape)}I", *shape)


BODY = bytes(5 * 784)
BAD = {
    "empty": (b"", "starts with nothing"),
    "wrong magic": (header(zeros=b"\1\0", shape=(5, 28, 28)) + BODY, "not an IDX file"),
    "text": (b"<html>503</html>", "not an IDX file: it starts with 3c 68 74 6d"),
    "float": (header(kind=0x0D, shape=(5, 28, 28)) + BODY, "holds float32, but uint8"),
    "unknown type": (header(kind=0x42, shape=(5, 28, 28)) + BODY, "unknown type 0x42"),
    "labels for images": (LABELS, "rank 1, but images have rank 3"),
    "cut in the header": (IMAGES[:9], "cut short inside its header"),
    "cut in the body": (
        IMAGES[:-1],
        "promises 5×28×28 = 3920 values, but it has 3919",
    ),
    "trailing bytes": (IMAGES + b"\0", "trailing bytes"),
    "terabytes promised": (header(shape=(2**32 - 1, 2**16, 2**16)) + BODY, "cut short"),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", BAD)
def test_bad_file_is_refused_by_name(
    tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]
) -> None:
    content, said = BAD[kind]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(pack(content))
    with pytest.raises(DataError, match="train-images-idx3-ubyte") as refused:
        read_idx(path, rank=3)
    assert said in str(refused.value)


@pytest.mark.parametrize("cut", [1, 4, 8, 40, 1000, -1])
def test_gzip_cut_short(cut: int) -> None:
    packed = gzip.compress(IMAGES)
    with pytest.raises(DataError, match="f: .*cut short|f .*cut short"):
        decode_idx(packed[:-cut] if cut > 0 else packed[:10], rank=3, name="f")


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_gzip_never_passes_silently(place: int, bit: int) -> None:
    packed = bytearray(gzip.compress(IMAGES, mtime=0))
    place %= len(packed)
    packed[place] ^= 1 << bit
    try:
        decoded = decode_idx(bytes(packed), rank=3, name="f")
    except DataError:
        return
    assert np.array_equal(decoded, random_images(5))  # a bit of the gzip header's own notes


def test_a_lying_header_sets_nothing_aside() -> None:
    import tracemalloc

    lie = gzip.compress(header(shape=(60000, 28, 28)))
    tracemalloc.start()
    with pytest.raises(DataError):
        decode_idx(lie, rank=3, name="f")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read .*nowhere: No such file"):
        read_idx(tmp_path / "nowhere", rank=1)
