"""A small zip in the layout of EMNIST's, served on loopback, and copies of it of every kind."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import penstroke.data.loading
from emnist import LETTERS, TEST, TRAIN, emnist_files, manifest, write_files, zipped
from helpers import random_images, start, wait_until
from mirrors import Mirrors, serving
from penstroke.data import download
from penstroke.data.catalogue import Manifest
from penstroke.data.download import download_dataset
from penstroke.data.idx import import_idx
from penstroke.data.loading import load_dataset
from penstroke.errors import ArchiveError, DataError, DownloadError, StorageError

NAME = "emnist-letters"
FILES = emnist_files(NAME) | emnist_files("emnist-digits", seed=9)
ZIP = zipped(FILES)
KILLS = int(os.environ.get("PENSTROKE_KILLS", "6"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrors]:
    monkeypatch.setattr(download, "_PAUSE_SECONDS", 0.0)
    with serving({"gzip.zip": ZIP, **FILES}) as mirrors:
        yield mirrors


def letters(server: Mirrors, *, mirrors: tuple[str, ...] = (), name: str = NAME) -> Manifest:
    address = server.mirror("nist") + "gzip.zip"
    return manifest(
        name, FILES, ZIP, addresses=(address,), mirrors=[server.mirror(m) for m in mirrors]
    )


def offline(name: str = NAME) -> Manifest:
    return manifest(name, FILES, ZIP, addresses=("http://127.0.0.1:9/gzip.zip",))


def assert_placed(root: Path, name: str = NAME) -> None:
    found = {path.name: path.read_bytes() for path in (root / name).iterdir()}
    assert found == {n: content for n, content in FILES.items() if n.startswith(name)}


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_one_archive_serves_two_sets(server: Mirrors, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    download_dataset(letters(server), tmp_path, lambda more, total: told.append((more, total)))
    assert_placed(tmp_path)
    assert sum(more for more, _ in told) == len(ZIP) == told[-1][1]
    download_dataset(letters(server, name="emnist-digits"), tmp_path)
    assert_placed(tmp_path, "emnist-digits")
    assert server.requests == [("nist", None)]
    assert (tmp_path / "archives" / "small.zip").read_bytes() == ZIP


def test_the_archive_goes_if_it_is_not_to_be_kept(server: Mirrors, tmp_path: Path) -> None:
    download_dataset(letters(server), tmp_path, keep_archive=False)
    assert_placed(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_what_is_there_is_checked_and_not_asked_for_again(server: Mirrors, tmp_path: Path) -> None:
    download_dataset(letters(server), tmp_path, keep_archive=False)
    download_dataset(letters(server), tmp_path)
    assert len(server.requests) == 1
    path = tmp_path / NAME / f"{NAME}-train-labels-idx1-ubyte.gz"
    path.write_bytes(b"damaged")
    download_dataset(letters(server), tmp_path)
    assert_placed(tmp_path)


def test_mirrors_of_single_files_come_first(server: Mirrors, tmp_path: Path) -> None:
    told: list[int] = []
    download_dataset(
        letters(server, mirrors=("small",)), tmp_path, lambda more, _: told.append(more)
    )
    assert_placed(tmp_path)
    assert server.requests == [("small", None)] * 4
    assert sum(told) == sum(len(FILES[name]) for name in FILES if name.startswith(NAME))


def test_the_archive_serves_where_a_mirror_lacks_a_file(server: Mirrors, tmp_path: Path) -> None:
    del server.files[f"{NAME}-test-images-idx3-ubyte.gz"]
    download_dataset(letters(server, mirrors=("small",)), tmp_path)
    assert_placed(tmp_path)
    assert ("nist", None) in server.requests


def test_an_archive_that_was_damaged_since_is_fetched_again(
    server: Mirrors, tmp_path: Path
) -> None:
    download_dataset(letters(server), tmp_path)
    archive = tmp_path / "archives" / "small.zip"
    archive.write_bytes(ZIP[: len(ZIP) // 2])
    download_dataset(letters(server, name="emnist-digits"), tmp_path)
    assert_placed(tmp_path, "emnist-digits")
    assert archive.read_bytes() == ZIP


@pytest.mark.parametrize("behaviour", ["403", "503", "html", "shorter", "changed", "cut 10"])
def test_what_is_not_the_archive_is_refused(
    server: Mirrors, tmp_path: Path, behaviour: str
) -> None:
    server.behaviour |= {"nist": behaviour, "small": "404"}
    with pytest.raises(DownloadError) as failed:
        download_dataset(letters(server, mirrors=("small",)), tmp_path)
    assert "no address delivered small.zip with the right checksum" in str(failed.value)
    assert f"no address delivered {NAME}-train-images-idx3-ubyte.gz with" in str(failed.value)
    assert everything(tmp_path) in ([], ["archives/.small.zip.part"])
    server.behaviour = {}
    download_dataset(letters(server), tmp_path)
    assert_placed(tmp_path)


def test_the_connection_is_cut_after_every_so_many_bytes(server: Mirrors, tmp_path: Path) -> None:
    for step in range(len(ZIP) // 90, len(ZIP), len(ZIP) // 23):
        server.behaviour["nist"] = f"cut {step}"
        download_dataset(letters(server), tmp_path / str(step))
        assert_placed(tmp_path / str(step))


def test_it_is_upright_and_counts_from_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(penstroke.data.loading, "catalogue", lambda: {NAME: offline()})
    with pytest.raises(DataError, match=f"penstroke data download {NAME}"):
        load_dataset(NAME)
    write_files(tmp_path / "data" / NAME, FILES)
    for _ in range(2):  # decoded, and from the cache
        splits = load_dataset(NAME)
        assert splits.classes == LETTERS
        test = splits.test.unseal()
        assert np.array_equal(test.images, random_images(TEST, seed=TEST).transpose(0, 2, 1))
        assert list(test.labels) == [0, 1, 2] * (TEST // 3)


COPIES = {
    "the zip": lambda at: (at.parent.mkdir(parents=True), at.write_bytes(ZIP)),
    "packed anew": lambda at: (at.parent.mkdir(parents=True), at.write_bytes(zipped(FILES) + b"")),
    "a folder": lambda at: write_files(at, FILES),
    "the zip, unpacked": lambda at: write_files(at / "gzip", FILES),
    "a folder with the zip": lambda at: write_files(at, {"gzip.zip": ZIP}),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_will_do(tmp_path: Path, kind: str) -> None:
    COPIES[kind](tmp_path / "copies" / "it")  # type: ignore[no-untyped-call]
    download_dataset(offline(), tmp_path / "data", copy=tmp_path / "copies" / "it")
    assert_placed(tmp_path / "data")
    assert everything(tmp_path / "data") == sorted(
        f"{NAME}/{name}" for name in FILES if name.startswith(NAME)
    )


def test_a_copy_that_lacks_something(tmp_path: Path) -> None:
    missing = f"{NAME}-test-labels-idx1-ubyte.gz"
    write_files(tmp_path / "copy", {n: c for n, c in FILES.items() if n != missing})
    with pytest.raises(DataError, match=f"copy holds no {missing}$"):
        download_dataset(offline(), tmp_path, copy=tmp_path / "copy")
    with pytest.raises(DataError, match="there is no .*nowhere: give a zip, or a folder"):
        download_dataset(offline(), tmp_path, copy=tmp_path / "nowhere")
    (tmp_path / "text").write_text("no zip")
    with pytest.raises(ArchiveError, match="text is not a zip"):
        download_dataset(offline(), tmp_path, copy=tmp_path / "text")


def test_a_copy_that_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = {n.removesuffix(".gz"): gzip.decompress(content) for n, content in FILES.items()}
    write_files(tmp_path / "raw", unpacked)
    with pytest.raises(DataError) as refused:
        download_dataset(offline(), tmp_path, copy=tmp_path / "raw")
    command = f"penstroke data import NAME {tmp_path}/raw/{NAME} --transposed --label-offset 1"
    assert command in str(refused.value)
    train, _ = import_idx(
        "own", tmp_path / "raw" / NAME, tmp_path / "own", transposed=True, label_offset=1
    )
    assert np.array_equal(train.images, random_images(TRAIN, seed=TRAIN).transpose(0, 2, 1))


@pytest.mark.parametrize("packed", [True, False])
def test_the_older_release_is_told_apart(tmp_path: Path, packed: bool) -> None:
    older = emnist_files(NAME, train=40, test=14)
    source = tmp_path / "older"
    if packed:
        source.write_bytes(zipped(older))
    else:
        write_files(source, older)
    with pytest.raises(DataError) as refused:
        download_dataset(offline(), tmp_path, copy=source)
    said = str(refused.value)
    assert f"holds 14 images, but {NAME} in the catalogue has {TEST}" in said or (
        f"holds 40 images, but {NAME} in the catalogue has {TRAIN}" in said
    )
    assert "this is the older release" in said
    assert f"penstroke data import NAME FOLDER/{NAME} --transposed --label-offset 1" in said
    assert not (tmp_path / NAME).exists()


def test_another_file_of_that_name(tmp_path: Path) -> None:
    name = f"{NAME}-test-images-idx3-ubyte.gz"
    for content, said in (
        (emnist_files(NAME, seed=5)[name], "is damaged or was changed"),
        (emnist_files(NAME, test=15)[name], f"holds 15 images, but .* has {TEST}$"),
        (b"<html>", "is damaged or was changed"),
        (FILES[name][:500], "is damaged or was changed"),
    ):
        write_files(tmp_path / "copy", FILES | {name: content})
        with pytest.raises(DataError, match=f"{name} {said}"):
            download_dataset(offline(), tmp_path, copy=tmp_path / "copy")
        assert not (tmp_path / NAME / name).exists()


def test_every_cut_of_a_zip_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "cut.zip"
    for place in range(0, len(ZIP), len(ZIP) // 40):
        source.write_bytes(ZIP[:place])
        with pytest.raises(DataError, match=r"cut\.zip"):
            download_dataset(offline(), tmp_path, copy=source)
        assert not (tmp_path / NAME).exists()


def test_a_folder_that_cannot_be_written(server: Mirrors, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="PENSTROKE_DATA"):
        download_dataset(letters(server), tmp_path / "file")


SCRIPT = """
import sys
from pathlib import Path
from penstroke.data.catalogue import Manifest
from penstroke.data.download import download_dataset
from penstroke.config.toml import read_toml
download_dataset(Manifest.parse(read_toml(Path(sys.argv[1])), source="probe"), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_killed_while_it_downloads_the_next_goes_on(server: Mirrors, tmp_path: Path) -> None:
    recipe = tmp_path / "manifest.toml"
    recipe.write_text(letters(server).to_toml())
    root = tmp_path / "data"
    part = root / "archives" / ".small.zip.part"
    server.behaviour["nist"] = "drip"
    for _ in range(3):
        process = start_download(recipe, root)
        wait_for_growth(part)
        kill(process)
        assert part.read_bytes() == ZIP[: part.stat().st_size]
        assert_whole(root)
    server.behaviour = {}
    assert start_download(recipe, root).wait() == 0
    assert_placed(root)
    assert everything(root / "archives") == ["small.zip"]
    first, *others = (asked for _, asked in server.requests)
    starts = [int((asked or "=0-").partition("=")[2][:-1]) for asked in others]
    assert first is None
    assert starts == sorted(set(starts))
    assert starts[0] > 0


@pytest.mark.slow
def test_killed_at_random_moments_nothing_half_written_is_taken_for_whole(
    server: Mirrors, tmp_path: Path
) -> None:
    recipe = tmp_path / "manifest.toml"
    recipe.write_text(letters(server).to_toml())
    moments, finished, killed = random.Random(3), 0, 0
    server.pause_seconds = 0.01
    root = tmp_path / "data"
    for _ in range(KILLS):
        server.requests.clear()
        process = start_download(recipe, root)
        wait_for_request(server, process)
        time.sleep(moments.uniform(0, 0.25))
        killed += kill(process)
        assert_whole(root)
        assert process.returncode in (0, -signal.SIGKILL)
        if process.returncode == 0:
            finished += 1
            assert_placed(root)
            root = tmp_path / f"data{finished}"
    assert start_download(recipe, root).wait() == 0
    assert_placed(root)
    assert everything(root / "archives") == ["small.zip"]
    print(f"{killed} killed, {finished} finished before")


def wait_for_request(server: Mirrors, process: subprocess.Popen[bytes]) -> None:
    """Or for the end of a process that had everything already."""
    wait_until(lambda: server.requests or process.poll() is not None)


def wait_for_growth(path: Path) -> None:
    before = path.stat().st_size if path.exists() else 0
    wait_until(lambda: path.exists() and path.stat().st_size > before)


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill it, and return whether it was still at work."""
    process.kill()
    return process.wait() < 0


def assert_whole(root: Path) -> None:
    """What stands under its name is whole; what is not is hidden."""
    for path in root.rglob("[!.]*"):
        if path.is_file():
            assert path.read_bytes() == (FILES | {"small.zip": ZIP})[path.name]


def start_download(recipe: Path, root: Path) -> subprocess.Popen[bytes]:
    return start([sys.executable, "-c", SCRIPT, recipe, root])
