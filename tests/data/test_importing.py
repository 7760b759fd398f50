from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers import encode_idx, random_images, write_idx_set
from penstroke.data.idx import import_idx
from penstroke.data.loading import imported_folder, load_dataset
from penstroke.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))


def test_import_turns_and_renumbers(tmp_path: Path) -> None:
    write_idx_set(tmp_path / "idx", offset=1)
    import_idx(
        "mine", tmp_path / "idx", imported_folder("mine"),
        transposed=True, label_offset=1, classes=("x", "y", "z"),
    )  # fmt: skip
    splits = load_dataset("mine")
    assert splits.classes == ("x", "y", "z")
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (30, 12)
    test = splits.test.unseal()
    assert np.array_equal(test.images, random_images(12, seed=12).transpose(0, 2, 1))
    assert list(test.labels) == [0, 1, 2] * 4


@pytest.mark.mnist
def test_real_emnist_stands_upright(shared: Path) -> None:
    train, test = import_idx(
        "letters", shared / "emnist-part" / "emnist-letters-part", imported_folder("letters"),
        transposed=True, label_offset=1,
    )  # fmt: skip
    assert (len(train), len(test), len(train.classes)) == (101_648, 20_800, 26)
    assert train.classes[0] == "Aa"
    assert (test.class_counts() == 800).all()
    # An upright L is heavier below than above, an upright T the other way round.
    upper, lower = train.images[:, :14].sum((1, 2)), train.images[:, 14:].sum((1, 2))
    share = lower / (upper + lower)
    assert share[train.labels == train.classes.index("Jj")].mean() > 0.5
    assert share[train.labels == train.classes.index("Tt")].mean() < 0.5
    assert share[train.labels == train.classes.index("Pp")].mean() < 0.5


@pytest.mark.mnist
def test_two_sets_in_a_folder_must_be_told_apart(shared: Path) -> None:
    with pytest.raises(DataError, match="emnist-digits-part or .*emnist-letters-part"):
        import_idx("some", shared / "emnist-part", imported_folder("some"))


@pytest.mark.mnist
def test_letters_off_by_one_are_noticed(shared: Path) -> None:
    source = shared / "emnist-part" / "emnist-letters-part"
    with pytest.raises(DataError, match="did you mean --label-offset 1"):
        import_idx("letters", source, imported_folder("letters"), transposed=True)


@pytest.mark.mnist
@pytest.mark.parametrize(
    ("part", "options"), [("letters", "--transposed --label-offset 1"), ("digits", "--transposed")]
)
def test_emnist_with_nothing_said_of_how_it_lies(shared: Path, part: str, options: str) -> None:
    source = shared / "emnist-part" / f"emnist-{part}-part"
    with pytest.raises(ConfigError, match=f"images transposed.*: add {options}; or --upright"):
        import_idx("part", source, imported_folder("part"))


def test_emnist_that_was_turned_already(tmp_path: Path) -> None:
    write_idx_set(tmp_path / "idx", prefix="emnist-mine-")
    _, test = import_idx("mine", tmp_path / "idx", imported_folder("mine"), transposed=False)
    assert np.array_equal(test.images, random_images(12, seed=12))


def break_nothing(_: Path) -> None: ...


def remove_labels(folder: Path) -> None:
    (folder / "test-labels-idx1-ubyte").unlink()


def drop_a_label(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes(encode_idx(np.zeros(29, np.uint8)))


def label_out_of_range(folder: Path) -> None:
    labels = np.zeros(30, np.uint8)
    labels[7] = 9
    (folder / "train-labels-idx1-ubyte").write_bytes(encode_idx(labels))


def small_images(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte").write_bytes(encode_idx(np.zeros((30, 8, 8), np.uint8)))


def cut_gzip(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(path.read_bytes())[:-5])


def bad_mapping(folder: Path) -> None:
    (folder / "mapping.txt").write_text("0 65\n1 sixty-six\n")


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def no_images(folder: Path) -> None:
    (folder / "test-images-idx3-ubyte").write_bytes(encode_idx(np.zeros((0, 28, 28), np.uint8)))
    (folder / "test-labels-idx1-ubyte").write_bytes(encode_idx(np.zeros(0, np.uint8)))


@pytest.mark.parametrize(
    ("breakage", "said"),
    [
        (remove_labels, "test labels missing"),
        (drop_a_label, "train-images-idx3-ubyte holds 30 images, but train-labels.* 29 labels"),
        (label_out_of_range, "train-labels.*labels run from 0 to 9, but with 3 classes"),
        (small_images, "train-images.*: images are 8×8, not 28×28"),
        (cut_gzip, "train-images.*cut short"),
        (bad_mapping, r"mapping\.txt, line 2"),
        (empty, "holds no IDX files"),
        (no_images, "holds no images"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    tmp_path: Path, breakage: Callable[[Path], None], said: str
) -> None:
    write_idx_set(tmp_path / "idx")
    breakage(tmp_path / "idx")
    classes = None if breakage is bad_mapping else ("a", "b", "c")
    with pytest.raises(DataError, match=said):
        import_idx("mine", tmp_path / "idx", imported_folder("mine"), classes=classes)
    assert not imported_folder("").exists()


def test_labels_from_one_are_noticed_without_a_mapping(tmp_path: Path) -> None:
    write_idx_set(tmp_path / "idx", offset=1)
    with pytest.raises(DataError, match="add --label-offset 1"):
        import_idx("mine", tmp_path / "idx", imported_folder("mine"))


@pytest.mark.parametrize("name", ["mnist", "Mine", "../mine", "", "a b"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    write_idx_set(tmp_path / "idx")
    with pytest.raises(ConfigError, match="name"):
        import_idx(name, tmp_path / "idx", imported_folder("mine"))


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder|no IDX files"):
        import_idx("mine", tmp_path / "not" / "there", imported_folder("mine"))
