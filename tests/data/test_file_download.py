"""The real downloader against a real HTTP server on loopback, which behaves badly on demand."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrors import Mirrors, serving
from penstroke.data import download as module
from penstroke.data.catalogue import RemoteFile
from penstroke.data.download import PartialFile, download_file
from penstroke.errors import DownloadError, StorageError

CONTENT = random.Random(0).randbytes(300_000)
NAME = "train.gz"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrors]:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    with serving({NAME: CONTENT}) as mirrors:
        yield mirrors


def remote(server: Mirrors, *mirrors: str, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile(
        name=NAME, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(),
        addresses=tuple(server.mirror(mirror) + NAME for mirror in mirrors),
    )  # fmt: skip


def assert_placed(folder: Path, content: bytes = CONTENT) -> None:
    assert (folder / NAME).read_bytes() == content
    assert [path.name for path in folder.iterdir()] == [NAME]


BAD = ["403", "404", "503", "html", "longer", "shorter", "changed", "wrong range", "cut 0"]


@pytest.mark.parametrize("behaviour", BAD)
def test_next_mirror_is_tried(server: Mirrors, tmp_path: Path, behaviour: str) -> None:
    server.behaviour["bad"] = behaviour
    counted: list[int] = []
    (tmp_path / f".{NAME}.part").write_bytes(CONTENT[:5000])
    download_file(remote(server, "bad", "good"), tmp_path, counted.append)
    assert_placed(tmp_path)
    assert sum(counted) == len(CONTENT)


@pytest.mark.parametrize("behaviour", ["well", "redirect", "cut 100000", "no ranges", "unsized"])
def test_one_address_is_enough(server: Mirrors, tmp_path: Path, behaviour: str) -> None:
    server.behaviour["only"] = behaviour
    counted: list[int] = []
    download_file(remote(server, "only"), tmp_path, counted.append)
    assert_placed(tmp_path)
    assert sum(counted) == len(CONTENT)


def test_cut_connection_goes_on_where_it_was(server: Mirrors, tmp_path: Path) -> None:
    server.behaviour["bad"] = "cut once 100000"
    download_file(remote(server, "bad"), tmp_path)
    assert_placed(tmp_path)
    assert server.requests == [("bad", None), ("bad", "bytes=100000-")]


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_cut_at_any_byte(server: Mirrors, tmp_path: Path, size: int) -> None:
    """Each answer ends after `size` bytes of 64: gone on with until it is whole."""
    content = CONTENT[:64]
    server.files[NAME] = content
    server.behaviour["bad"] = f"cut {size}"
    download_file(remote(server, "bad", content=content), tmp_path)
    assert_placed(tmp_path, content)
    assert len(server.requests) == -(-64 // size)


def test_cut_again_and_again_with_next_to_nothing(server: Mirrors, tmp_path: Path) -> None:
    server.behaviour["bad"] = "cut 10"
    with pytest.raises(DownloadError, match="more expected|cut after"):
        download_file(remote(server, "bad"), tmp_path)
    assert len(server.requests) == 3
    assert (tmp_path / f".{NAME}.part").read_bytes() == CONTENT[:30]  # to be gone on with


def test_a_part_of_an_earlier_process_is_gone_on_with(server: Mirrors, tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(CONTENT[:1234])
    download_file(remote(server, "good"), tmp_path)
    assert_placed(tmp_path)
    assert server.requests == [("good", "bytes=1234-")]


@pytest.mark.parametrize(
    "part", [b"rubbish" * 10, CONTENT + b"too long", CONTENT, b"?" + CONTENT[1:]]
)
def test_a_bad_part_heals(server: Mirrors, tmp_path: Path, part: bytes) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(part)
    download_file(remote(server, "good"), tmp_path)
    assert_placed(tmp_path)


def test_an_address_that_drips_is_given_up(
    server: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.1)
    server.behaviour["slow"] = "drip"
    download_file(remote(server, "slow", "good"), tmp_path)
    assert_placed(tmp_path)
    assert server.requests[-1][0] == "good"
    assert [mirror for mirror, _ in server.requests[:-1]] == ["slow"] * 3


def test_all_mirrors_failing_says_what_each_answered(server: Mirrors, tmp_path: Path) -> None:
    answers = {
        "404": "HTTP status 404",
        "changed": "wrong checksum",
        "html": "a web page instead of the file",
        "longer": "300,001 bytes long instead of 300,000",
    }
    server.behaviour = {f"m{n}": behave for n, behave in enumerate(answers)}
    with pytest.raises(DownloadError) as failed:
        download_file(remote(server, *server.behaviour), tmp_path)
    for mirror, said in zip(server.behaviour, answers.values(), strict=True):
        assert f"  {server.mirror(mirror)}{NAME}: {said}" in str(failed.value)
    assert not list(tmp_path.iterdir())


def test_no_server_at_all(tmp_path: Path) -> None:
    nowhere = Mirrors(address="http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="refused"):
        download_file(remote(nowhere, "gone"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_two_at_once_do_not_mix(server: Mirrors, tmp_path: Path) -> None:
    with PartialFile(tmp_path / NAME) as part:
        part.write(CONTENT[:10])
        with pytest.raises(StorageError, match="another process is writing"):
            download_file(remote(server, "good"), tmp_path)
        part.clear()
    download_file(remote(server, "good"), tmp_path)
    assert_placed(tmp_path)


def test_what_is_there_is_whole_at_every_moment(server: Mirrors, tmp_path: Path) -> None:
    """Somebody who looks all the time sees the whole file or none."""
    server.behaviour["bad"] = "cut 3000"
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if (tmp_path / NAME).exists():
                seen.add((tmp_path / NAME).stat().st_size)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        download_file(remote(server, "bad"), tmp_path)
    finally:
        done.set()
        watcher.join()
    assert seen <= {len(CONTENT)}
    assert os.listdir(tmp_path) == [NAME]  # noqa: PTH208
