"""The real downloader against a real HTTP server on loopback, which behaves badly on demand."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from penstroke.datasets.catalogue import DataFile, Manifest
from penstroke.datasets.download import fetch
from penstroke.errors import DownloadError, StorageError

CONTENT = np.random.default_rng(0).bytes(300_000)


@dataclass
class Server:
    """What the server is told to do, and what it was asked."""

    address: str = ""
    behaviour: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror = self.path.split("/")[1]
            asked = self.headers.get("Range")
            told.requests.append((mirror, asked))
            behave = told.behaviour.get(mirror, "well")
            if behave.isdecimal():
                self.send_error(int(behave))
            elif behave == "redirect":
                self.send_response(302)
                self.send_header("Location", self.path.replace(mirror, "good"))
                self.end_headers()
            else:
                self._send(behave, asked)

        def _send(self, behave: str, asked: str | None) -> None:
            body = {"html": b"<html>down</html>", "longer": CONTENT + b"!"}.get(behave, CONTENT)
            if behave == "changed":
                body = b"?" + CONTENT[1:]
            start = 0
            if asked and behave != "no ranges":
                match = re.fullmatch(r"bytes=(\d+)-", asked)
                assert match
                start = int(match[1])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            if behave in ("cut", "cut once") and (behave == "cut" or len(told.requests) == 1):
                body = body[: start + 100_000]
            self.wfile.write(body[start:])

        def log_message(self, *_: object) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.address = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield told
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def manifest(server: Server, *mirrors: str) -> Manifest:
    return Manifest(
        name="probe", title="", source="", licence="", classes=("a", "b"),
        mirrors=tuple(f"{server.address}/{mirror}/" for mirror in mirrors),
        files=(
            DataFile(
                role="train_images", name="train.gz", size_bytes=len(CONTENT),
                sha256=hashlib.sha256(CONTENT).hexdigest(),
            ),
        ),
    )  # fmt: skip


def assert_placed(root: Path) -> None:
    assert (root / "probe" / "train.gz").read_bytes() == CONTENT
    assert [path.name for path in (root / "probe").iterdir()] == ["train.gz"]


def test_fetch_checks_places_and_does_not_ask_twice(server: Server, tmp_path: Path) -> None:
    counted: list[int] = []
    for _ in range(2):
        fetch(manifest(server, "good"), tmp_path, counted.append)
        assert_placed(tmp_path)
    assert len(server.requests) == 1
    assert sum(counted) == 2 * len(CONTENT)


@pytest.mark.parametrize("behaviour", ["403", "404", "503", "html", "longer", "changed", "cut"])
def test_next_mirror_is_tried(server: Server, tmp_path: Path, behaviour: str) -> None:
    server.behaviour["bad"] = behaviour
    counted: list[int] = []
    fetch(manifest(server, "bad", "good"), tmp_path, counted.append)
    assert_placed(tmp_path)
    assert sum(counted) == len(CONTENT)
    assert {mirror for mirror, _ in server.requests} == {"bad", "good"} or behaviour == "cut"


def test_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.behaviour["moved"] = "redirect"
    fetch(manifest(server, "moved"), tmp_path)
    assert_placed(tmp_path)


def test_cut_connection_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.behaviour["bad"] = "cut once"
    fetch(manifest(server, "bad"), tmp_path)
    assert_placed(tmp_path)
    first, second = server.requests
    assert first == ("bad", None)
    assert second[1] is not None
    assert 80_000 < int(second[1].removeprefix("bytes=").removesuffix("-")) <= 100_000


def test_a_part_of_an_earlier_process_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / ".train.gz.part").write_bytes(CONTENT[:1234])
    fetch(manifest(server, "good"), tmp_path)
    assert_placed(tmp_path)
    assert server.requests == [("good", "bytes=1234-")]


@pytest.mark.parametrize("part", [b"rubbish" * 10, CONTENT + b"too long"])
def test_a_bad_part_heals(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / ".train.gz.part").write_bytes(part)
    fetch(manifest(server, "good", "good"), tmp_path)
    assert_placed(tmp_path)


def test_server_without_ranges(server: Server, tmp_path: Path) -> None:
    server.behaviour["old"] = "no ranges"
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / ".train.gz.part").write_bytes(CONTENT[:1234])
    fetch(manifest(server, "old"), tmp_path)
    assert_placed(tmp_path)


def test_a_damaged_file_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "train.gz").write_bytes(b"damaged")
    fetch(manifest(server, "good"), tmp_path)
    assert_placed(tmp_path)


def test_all_mirrors_failing_says_what_each_answered(server: Server, tmp_path: Path) -> None:
    server.behaviour |= {"one": "404", "two": "changed"}
    with pytest.raises(DownloadError) as failed:
        fetch(manifest(server, "one", "two"), tmp_path)
    assert "HTTP status 404" in str(failed.value)
    assert "wrong checksum" in str(failed.value)
    assert not list((tmp_path / "probe").iterdir())


def test_no_server_at_all(tmp_path: Path) -> None:
    nowhere = Server(address="http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="refused"):
        fetch(manifest(nowhere, "gone"), tmp_path)


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="PENSTROKE_DATA"):
        fetch(manifest(server, "good"), tmp_path / "file")
