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

from penstroke.data import archives
from penstroke.data.archives import ZipReader
from penstroke.data.sources.contents import SourceOptions
from penstroke.data.sources.listing import list_source
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


def contents(path: Path, **limits: int) -> dict[str, bytes]:
    with ZipReader(path, **limits) as archive:
        return {name: archive.read(name) for name in archive.files}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_come_sorted_and_whole(tmp_path: Path, method: int) -> None:
    path = zipped(
        tmp_path / "a.zip", ("b/2.PNG", CONTENT), ("b/", b""), ("a/1.png", b"one"), ("a.txt", b""),
        method=method,
    )  # fmt: skip
    assert contents(path) == {"a.txt": b"", "a/1.png": b"one", "b/2.PNG": CONTENT}
    with ZipReader(path) as archive:
        assert list(archive.files) == ["a.txt", "a/1.png", "b/2.PNG"]
        assert [info.file_size for info in archive.files.values()] == [0, 3, 100_000]


def test_files_by_name_in_any_order(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("b.png", CONTENT), ("a.png", b"one"))
    with ZipReader(path) as archive:
        assert list(archive.files) == ["a.png", "b.png"]
        assert [archive.read(name) for name in ("b.png", "a.png", "b.png")] == [
            CONTENT, b"one", CONTENT,
        ]  # fmt: skip
    with pytest.raises(ArchiveError, match=r"a\.zip: a\.png is damaged"):
        archive.read("a.png")
    with pytest.raises(ValueError, match="^an error of the caller$"), ZipReader(path):
        raise ValueError("an error of the caller")


def test_what_other_systems_put_in(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip", ("__MACOSX/a/._1.png", b"?"), ("a/.DS_Store", b"?"),
        (entry("a\\1.png", system=0), b"1"), ("a/at 10.00\u202fAM.png", b"2"), ("日/本.png", b"3"),
    )  # fmt: skip
    assert list(contents(path)) == ["a/1.png", "a/at 10.00\u202fAM.png", "日/本.png"]


REFUSED = {
    "/etc/passwd": "absolute",
    "C:/x.png": "absolute",
    "\\\\host\\x.png": "absolute",
    "a/../../x.png": "leads out",
    "..\\x.png": "leads out",
    "a/\u202egnp.png": "printable",
    "a/\x1b[2J.png": "printable",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", b"1"), (entry(name), b"x"))
    with pytest.raises(ArchiveError, match=REFUSED[name]):
        contents(path)


def test_a_name_with_an_end_inside(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png@.txt", b"1"))
    path.write_bytes(path.read_bytes().replace(b"@", b"\0"))
    with pytest.raises(ArchiveError, match="printable"):
        contents(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices(tmp_path: Path, kind: int) -> None:
    path = zipped(tmp_path / "a.zip", (entry("a/1.png", kind | 0o777), b"/etc/passwd"))
    with pytest.raises(ArchiveError, match="'a/1.png' is a link or a device"):
        contents(path)


def test_the_same_name_twice(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", b"1"), ("a/1.png", b"2"))
    with pytest.raises(ArchiveError, match="twice"):
        contents(path)


def test_a_password(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", b"1"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="is encrypted"):
        contents(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_packing_without_a_bound(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", bytes(1_000_000)), method=method)
    with pytest.raises(ArchiveError, match="deflate"):
        contents(path)


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
def test_no_zip(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a/1.png"), io.BytesIO())
    with pytest.raises(ArchiveError, match="a.tar is not a zip"):
        contents(path)
    with pytest.raises(ArchiveError, match="cannot read .*nowhere"):
        contents(tmp_path / "nowhere")


def read_through(path: Path, limits: dict[str, int]) -> None:
    with ZipReader(path, **limits) as archive:
        for name in archive.files:
            for _ in archive.blocks(name):
                pass


def peak_bytes(path: Path, message: str, **limits: int) -> int:
    """Return the most memory that refusing `path` took."""
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match=message):
            read_through(path, limits)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_file(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", bytes(60_000_000)), ("b", CONTENT * 4))
    assert peak_bytes(path, "a/1.png has 60 MB, more than 50 MB") < 1_000_000
    path = zipped(tmp_path / "a.zip", ("a/1.png", bytes(60_000_000)))
    assert peak_bytes(path, "unpack to 60 MB", max_file_bytes=10**9) < 1_000_000
    path = zipped(tmp_path / "a.zip", *((f"{n}.png", bytes(200_000)) for n in range(600)))
    assert peak_bytes(path, "unpack to 120 MB, more than 200 times") < 2_000_000


def test_the_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 250_000)
    path = zipped(tmp_path / "a.zip", ("1.png", CONTENT), ("2.png", CONTENT))
    assert len(contents(path)) == 2
    path = zipped(tmp_path / "a.zip", *((f"{n}.png", CONTENT) for n in range(3)))
    assert peak_bytes(path, "refused: its 0.3 MB would unpack") < 1_000_000


def test_many_files_of_one_content(tmp_path: Path) -> None:
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


def test_a_directory_of_millions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(2000):
            archive.writestr(f"a/{n}.png", b"")
    monkeypatch.setattr(archives, "MAX_FILES", 1_900)
    assert peak_bytes(path, "holds 2,000 files, more than 1,900") < 3_000_000
    monkeypatch.setattr(archives, "MAX_FILES", 500)
    assert peak_bytes(path, "holds more than 500 files") < 200_000


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
    expected = list(contents(whole).values())
    path = tmp_path / "a.zip"
    for place in range(0, len(content), 17):
        path.write_bytes(content[:place])
        with pytest.raises(ArchiveError, match="a.zip"):
            contents(path)
    noticed = 0
    for number in range(1000):
        damaged = bytearray(content)
        damaged[random.Random(number).randrange(len(content))] ^= 1 << number % 8
        path.write_bytes(damaged)
        try:
            found = list(contents(path).values())
        except ArchiveError:
            noticed += 1
            continue
        # Dates, versions and names are under no checksum; what was packed is.
        assert not found or found == expected[-len(found) :]
    assert noticed > 900


HOSTILE = {
    "a file twice": lambda path: zipped(path, ("a/1.png", b"1"), ("a/1.png", b"2")),
    "a path out of it": lambda path: zipped(path, ("../a/1.png", b"1")),
    "an absolute path": lambda path: zipped(path, (entry("/a/1.png"), b"1")),
    "a link": lambda path: zipped(path, (entry("a/1.png", stat.S_IFLNK | 0o777), b"/etc/passwd")),
    "a bomb": lambda path: zipped(path, ("a/1.png", bytes(30_000_000))),
    "many bombs": lambda path: zipped(path, *((f"a/{n}.png", bytes(50_000)) for n in range(999))),
}


@pytest.mark.parametrize("suffix", [".zip", ".npz"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_imports_read_zips_by_the_same_rules(tmp_path: Path, kind: str, suffix: str) -> None:
    path = HOSTILE[kind](tmp_path / f"a{suffix}")
    with pytest.raises(ArchiveError, match=r"a\.(zip|npz) is refused"):
        list_source(path, SourceOptions())
    assert list(tmp_path.iterdir()) == [path]


def test_a_truncated_or_encrypted_import(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a/1.png", CONTENT), ("b/1.png", CONTENT))
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-100])
    with pytest.raises(ArchiveError, match="not a zip file, or is damaged"):
        list_source(path, SourceOptions())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="is encrypted: pack it again without a password"):
        list_source(path, SourceOptions())
