from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from penstroke.config.settings import DataConfig
from penstroke.data.loading import load_dataset
from penstroke.errors import DataError
from penstroke.files import cache_root, sha256_of_file

pytestmark = pytest.mark.mnist


@pytest.fixture
def copy(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MNIST in a folder of its own, to be damaged."""
    shutil.copytree(shared / "mnist", tmp_path / "data" / "mnist")
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data" / "mnist"


def test_the_known_figures_of_mnist() -> None:
    splits = load_dataset(DataConfig(dataset="mnist", validation_fraction=0))
    assert (len(splits.train), len(splits.test)) == (60000, 10000)
    mean, std = splits.train.mean_and_std
    assert (round(mean, 4), round(std, 4)) == (0.1307, 0.3081)
    assert list(splits.train.class_counts()) == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert list(splits.train.labels[:10]) == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_validation_is_stratified_and_seeded() -> None:
    first, second = (load_dataset(DataConfig(dataset="mnist", split_seed=s)) for s in (0, 1))
    assert len(first.validation) == 6000
    assert list(first.validation.class_counts()) == list(second.validation.class_counts())
    assert not np.array_equal(first.validation.images, second.validation.images)
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_a_changed_byte_is_noticed_even_with_a_warm_cache(copy: Path, name: str) -> None:
    load_dataset("mnist")
    path = copy / name
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    import os

    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had happened
    with pytest.raises(DataError, match=f"{name} is damaged or was changed"):
        load_dataset("mnist")


def test_an_empty_folder_says_what_to_do(copy: Path) -> None:
    shutil.rmtree(copy)
    copy.mkdir()
    with pytest.raises(DataError, match="penstroke data download mnist"):
        load_dataset("mnist")


def test_a_damaged_cache_is_decoded_again(copy: Path) -> None:
    expected = load_dataset("mnist").fingerprint
    (path,) = cache_root().glob("decoded/mnist-*/train-images.npy")
    content = bytearray(path.read_bytes())
    content[100_000] ^= 1
    path.write_bytes(content)
    assert load_dataset("mnist").fingerprint == expected
    path.write_bytes(content[:5000])
    assert load_dataset("mnist").fingerprint == expected
    assert load_dataset("mnist").fingerprint == expected


def test_nothing_is_written_into_the_data_folder(copy: Path) -> None:
    before = {path: sha256_of_file(path) for path in copy.parent.rglob("*") if path.is_file()}
    load_dataset("mnist")
    after = {path: sha256_of_file(path) for path in copy.parent.rglob("*") if path.is_file()}
    assert after == before


def test_a_cache_that_cannot_be_written_only_costs_time(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "file"))
    assert len(load_dataset("mnist").train) == 54000
