"""Zips as strangers make them, and as those make them who mean harm."""

from __future__ import annotations

import io
import random
import stat
import tarfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest

from penstroke.data.archives import members, opened
from penstroke.errors import ArchiveError

CONTENT = random.Random(0).randbytes(100_000)


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = 8) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name twice
        for name, content in entries:
            archive.writestr(name, content, method)
    return path


def entry(name: str, mode: int = 0, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.filename = info.orig_filename = name
    info.external_attr, info.create_system = mode << 16, system
    return info


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_sorted_and_whole(tmp_path: Path, method: int) -> None:
    path = zipped(
        tmp_path / "a.zip", ("b/2.PNG", CONTENT), ("b/", b""), ("a/1.png", b"one"), ("a.txt", b""),
        method=method,
    )  # fmt: skip
    found = [(m.name, m.size_bytes, m.read()) for m in members(path, suffixes=(".png",))]
    assert found == [("a/1.png", 3, b"one"), ("b/2.PNG", 100_000, CONTENT)]
    assert [m.name for m in members(path)] == ["a.txt", "a/1.png", "b/2.PNG"]


def test_members_by_name_in_any_order(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("b.png", CONTENT), ("a.png", b"one"))
    with opened(path) as found:
        assert list(found) == ["a.png", "b.png"]
        assert [found[name].read() for name in ("b.png", "a.png", "b.png")] == [
            CONTENT, b"one", CONTENT,
        ]  # fmt: skip
    with pytest.raises(ArchiveError, match=r"a\.zip: a\.png is damaged"):
        found["a.png"].read()
    with pytest.raises(ValueError, match="^of the reader's own$"), opened(path):
        raise ValueError("of the reader's own")


def test_what_other_systems_put_in(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip", ("__MACOSX/a/._1.png", b"?"), ("a/.DS_Store", b"?"),
        (entry("a\\1.png", system=0), b"1"), ("a/at 10.00\u202fAM.png", b"2"), ("日/本.png", b"3"),
    )  # fmt: skip
    assert [m.name for m in members(path)] == ["a/1.png", "a/at 10.00\u202fAM.png", "日/本.png"]


REFUSED = {
    "/etc/passwd": "absolute",
    "C:/x.png": "absolute",
    "\\\\host\\x.png": "absolute",
    "a/../../x.png": "leads out",
    "..\\x.png": "leads out",
    "a/\u202egnp.png": "printed",
    "a/\x1b[2J.png": "printed",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", b"1"), (entry(name), b"x"))
    with pytest.raises(ArchiveError, match=REFUSED[name]):
        next(members(path))


def test_a_name_with_an_end_inside(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png@.txt", b"1"))
    path.write_bytes(path.read_bytes().replace(b"@", b"\0"))
    with pytest.raises(ArchiveError, match="printed"):
        next(members(path))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices(tmp_path: Path, kind: int) -> None:
    path = zipped(tmp_path / "a.zip", (entry("a/1.png", kind | 0o777), b"/etc/passwd"))
    with pytest.raises(ArchiveError, match="'a/1.png' is a link or a device"):
        next(members(path))


def test_the_same_name_twice(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", b"1"), ("a/1.png", b"2"))
    with pytest.raises(ArchiveError, match="twice"):
        next(members(path))


def test_a_password(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", b"1"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="password"):
        next(members(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_packing_without_a_bound(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", bytes(1_000_000)), method=method)
    with pytest.raises(ArchiveError, match="deflate"):
        next(members(path))


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
def test_no_zip(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a/1.png"), io.BytesIO())
    with pytest.raises(ArchiveError, match="a.tar is no zip"):
        next(members(path))
    with pytest.raises(ArchiveError, match="cannot read .*nowhere"):
        next(members(tmp_path / "nowhere"))


def read_through(path: Path, limits: dict[str, int]) -> None:
    for member in members(path, **limits):  # type: ignore[arg-type]
        for _ in member.blocks():
            pass


def peak_bytes(path: Path, said: str, **limits: int) -> int:
    """Return the most memory that refusing `path` took."""
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match=said):
            read_through(path, limits)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_member(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", bytes(60_000_000)))
    assert peak_bytes(path, "a/1.png is larger than 50 MB: 60 MB") < 1_000_000
    assert peak_bytes(path, "unpack to 60 MB", largest_bytes=10**9) < 1_000_000


def test_many_members_of_one_content(tmp_path: Path) -> None:
    """The directory points to one member again and again (bamsoftware.com/hacks/zipbomb)."""
    path = zipped(tmp_path / "a.zip", ("a/0000.png", bytes(40_000_000)))
    content = path.read_bytes()
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    record = content[start:end]
    directory = b"".join(record.replace(b"0000.png", b"%04d.png" % n) for n in range(1000))
    tail = bytearray(content[end:])
    tail[8:12] = (1000).to_bytes(2, "little") * 2
    tail[12:16] = len(directory).to_bytes(4, "little")
    path.write_bytes(content[:start] + directory + tail)
    assert peak_bytes(path, "would unpack to 40,000 MB") < 2_000_000


def test_a_directory_of_millions(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(2000):
            archive.writestr(f"a/{n}.png", b"")
    assert peak_bytes(path, "lists 2,000 files, more than 1,900", most_members=1_900) < 3_000_000
    assert peak_bytes(path, "lists more than 500 files", most_members=500) < 200_000


def test_a_size_that_is_a_lie(tmp_path: Path) -> None:
    """The directory says 10 bytes; 40 MB would come."""
    path = zipped(tmp_path / "a.zip", ("a/1.png", bytes(40_000_000)))
    content = bytearray(path.read_bytes())
    for header, offset in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        place = content.index(header) + offset
        content[place : place + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    assert peak_bytes(path, "damaged") < 1_000_000


def test_every_cut_and_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", ("a/1.png", CONTENT[:3000]), ("b/2.png", b"two"))
    content = whole.read_bytes()
    expected = [(m.name, m.read()) for m in members(whole)]
    path = tmp_path / "a.zip"
    for place in range(0, len(content), 17):
        path.write_bytes(content[:place])
        with pytest.raises(ArchiveError, match="a.zip"):
            list(members(path))
    noticed = 0
    for number in range(1000):
        damaged = bytearray(content)
        damaged[random.Random(number).randrange(len(content))] ^= 1 << number % 8
        path.write_bytes(damaged)
        try:
            found = [(m.name, m.read()) for m in members(path)]
        except ArchiveError:
            noticed += 1
            continue
        # Dates, versions and names are under no checksum; what was packed is.
        assert [content for _, content in found] == [content for _, content in expected][
            -len(found) :
        ] or not found
    assert noticed > 900
