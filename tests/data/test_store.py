from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from helpers import random_images
from penstroke.data import store
from penstroke.data.dataset import Dataset
from penstroke.errors import DataError, StorageError


def two_splits() -> tuple[Dataset, Dataset]:
    labels = np.array([0, 1, 0])
    return (
        Dataset(random_images(3, seed=1), labels, ("x", "é")),
        Dataset(random_images(3, seed=2), labels, ("x", "é")),
    )


def test_round_trip_and_replace(tmp_path: Path) -> None:
    train, test = two_splits()
    store.save(tmp_path / "one", "one", train, test, title="what it is")
    store.save(tmp_path / "one", "one", test, train)
    loaded = store.load(tmp_path / "one")
    assert [split.fingerprint for split in loaded] == [test.fingerprint, train.fingerprint]
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("name", ["train-images.npy", "test-labels.npy"])
def test_a_change_is_noticed(tmp_path: Path, name: str) -> None:
    store.save(tmp_path / "one", "one", *two_splits())
    path = tmp_path / "one" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="changed|labels run"):
        store.load(tmp_path / "one")
    path.unlink()
    with pytest.raises(DataError, match=f"{name} is missing or damaged"):
        store.load(tmp_path / "one")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    store.save(tmp_path / "one", "one", *two_splits())
    index = tmp_path / "one" / "dataset.toml"
    index.write_text(re.sub(r"format_version = \d+", "format_version = 99", index.read_text()))
    with pytest.raises(DataError, match="newer Penstroke \\(format 99\\)"):
        store.load(tmp_path / "one")


def test_nothing_half_written_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        store.save(tmp_path / "file" / "one", "one", *two_splits())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
