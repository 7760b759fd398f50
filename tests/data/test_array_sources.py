"""Arrays and tables of pixels as data sets come in them."""

from __future__ import annotations

import gzip
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from helpers import encode_idx, write_idx_set
from penstroke.data.image_import import ClassMap, ImportSettings, import_images, parse_map
from penstroke.data.sources.contents import SourceContents
from penstroke.data.sources.contents import SourceOptions as Options
from penstroke.data.sources.listing import list_source, open_source
from penstroke.errors import ConfigError, DataError, ImageError

COUNT = 40
LABELS = (np.arange(COUNT) * 7 % 10).tolist()
FLAT = [f"pixel{k}" for k in range(784)]


@pytest.fixture
def images() -> np.ndarray:
    """Images like MNIST's, no two rows or columns alike."""
    random = np.random.default_rng(0)
    pixels = np.zeros((COUNT, 28, 28), np.uint8)
    pixels[:, 4:24, 5:22] = random.integers(0, 256, (COUNT, 20, 17))
    return pixels


def write_table(
    path: Path, images: np.ndarray, labels: Sequence[object], head: list[str] | None = None,
    delimiter: str = ",",
) -> Path:  # fmt: skip
    rows = [[label, *image.ravel().tolist()] for label, image in zip(labels, images, strict=True)]
    lines = [delimiter.join(map(str, row)) for row in ([head] if head else []) + rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(found: SourceContents) -> list[tuple[str, bytes]]:
    """Return the label and the pixels of each image."""
    return [
        (image.label, np.asarray(open_source(part.source)(image.place)).tobytes())
        for part in found.parts
        for image in part.images
    ]


def kaggle(path: Path, images: np.ndarray) -> Path:
    return write_table(path / "train.csv", images, LABELS, ["label", *FLAT])


def headerless(path: Path, images: np.ndarray) -> Path:
    return write_table(path / "mnist_train.csv", images, LABELS)


def packed(path: Path, images: np.ndarray) -> Path:
    plain = headerless(path, images)
    (path / "mnist.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return path / "mnist.csv.gz"


def numbered_header(path: Path, images: np.ndarray) -> Path:  # pandas, of a table without names
    return write_table(path / "AZ.csv", images, LABELS, ["0", *(f"0.{k}" for k in range(1, 785))])


def with_index(path: Path, images: np.ndarray) -> Path:
    rows = [f"{row},{label}" for row, label in enumerate(LABELS)]
    return write_table(path / "indexed.csv", images, rows, ["", "label", *FLAT])


def index_and_no_names(path: Path, images: np.ndarray) -> Path:
    rows = [f"{row},{label}" for row, label in enumerate(LABELS)]
    return write_table(path / "indexed.csv", images, rows, ["", *map(str, range(785))])


def label_last(path: Path, images: np.ndarray) -> Path:
    rows = [[*image.ravel().tolist(), label] for label, image in zip(LABELS, images, strict=True)]
    (path / "openml.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    return path / "openml.csv"


def class_last(path: Path, images: np.ndarray) -> Path:
    plain = label_last(path, images)
    plain.write_text(",".join([*FLAT, "class"]) + "\n" + plain.read_text())
    return plain


def fractions(path: Path, images: np.ndarray) -> Path:
    return write_table(path / "usps.txt", images / 127.5 - 1, LABELS, delimiter=" ")


def semicolons(path: Path, images: np.ndarray) -> Path:
    labels = [f'"{label}"' for label in LABELS]
    return write_table(path / "excel.csv", images, labels, ['"Label"', *FLAT], ";")


def npy_pair(path: Path, images: np.ndarray) -> Path:
    np.save(path / "mine_images.npy", images)
    np.save(path / "mine_labels.npy", LABELS)
    np.save(path / "other_labels.npy", np.zeros(3))
    return path / "mine_images.npy"


def npy_folder(path: Path, images: np.ndarray) -> Path:
    np.save(path / "X.npy", np.asfortranarray(images))
    np.save(path / "y.npy", np.array(LABELS, float))
    return path


def npz_pair(path: Path, images: np.ndarray) -> Path:  # as KMNIST comes
    np.savez_compressed(path / "kmnist-train-imgs.npz", images)
    np.savez_compressed(path / "kmnist-train-labels.npz", LABELS)
    return path / "kmnist-train-imgs.npz"


def idx_pair(path: Path, images: np.ndarray) -> Path:
    (path / "train-images.idx3-ubyte").write_bytes(encode_idx(images))
    (path / "train-labels.idx1-ubyte").write_bytes(encode_idx(np.array(LABELS, np.uint8)))
    return path / "train-labels.idx1-ubyte"


def emnist_mat(path: Path, images: np.ndarray) -> Path:
    flat = images.transpose(0, 2, 1).reshape(COUNT, 784)
    split = {"images": flat, "labels": np.array(LABELS)[:, None], "writers": np.ones((COUNT, 1))}
    mapping = np.array([[k, 48 + k] for k in range(10)], np.uint8)
    savemat(path / "emnist-digits.mat", {"dataset": {"train": split, "mapping": mapping}})
    return path / "emnist-digits.mat"


def mat_of_columns(path: Path, images: np.ndarray) -> Path:  # as mldata.org's MNIST
    savemat(path / "mnist.mat", {"data": images.reshape(COUNT, 784).T, "label": [LABELS]})
    return path / "mnist.mat"


def mat_as_svhn(path: Path, images: np.ndarray) -> Path:
    values = {"X": images.transpose(1, 2, 0), "y": np.array(LABELS)[:, None]}
    savemat(path / "train_32.mat", values)
    return path / "train_32.mat"


@pytest.mark.parametrize(
    "write",
    [kaggle, headerless, packed, numbered_header, with_index, index_and_no_names, label_last,
     class_last, fractions, semicolons, npy_pair, npy_folder, npz_pair, idx_pair, emnist_mat,
     mat_of_columns, mat_as_svhn],
)  # fmt: skip
def test_the_same_images_however_they_are_stored(
    tmp_path: Path, images: np.ndarray, write: Callable[[Path, np.ndarray], Path]
) -> None:
    found = list_source(write(tmp_path, images), Options())
    expected = [(str(label), image.tobytes()) for label, image in zip(LABELS, images, strict=True)]
    assert read(found) == expected
    assert found.are_preprocessed


def test_kerass_mnist_with_its_validation(tmp_path: Path, images: np.ndarray) -> None:
    arrays = {f"x_{s}": images[:9] for s in ("train", "test", "val")}
    arrays |= {f"y_{s}": np.arange(9) for s in ("train", "test", "val")}
    np.savez(tmp_path / "mnist.npz", allow_pickle=False, **arrays)
    found = list_source(tmp_path / "mnist.npz", Options())
    assert Counter(e.split for part in found.parts for e in part.images) == {
        "train": 9, "validation": 9, "test": 9,
    }  # fmt: skip


def test_letters_as_numbers_become_letters(tmp_path: Path, images: np.ndarray) -> None:
    few = np.concatenate([images] * 4)[: 26 * 6]
    few[:, 2, 2] = np.arange(len(few))
    source = write_table(tmp_path / "A_Z.csv", few, [k // 6 for k in range(len(few))])
    made = import_images("one", source, tmp_path / "one", ImportSettings())
    assert made.train.classes == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert any("0 to 25 were read as A to Z" in note for note in made.notes)
    numbers = ImportSettings(classes=ClassMap(renamed=parse_map(["0-25=0-25"])))
    kept = import_images("two", source, tmp_path / "two", numbers)
    assert kept.train.classes == tuple(map(str, range(26)))
    small = ImportSettings(classes=ClassMap(renamed=parse_map(["0-9=a-j", "10-99="])))
    with pytest.raises(ConfigError, match="no image is labelled '10-99'"):
        import_images("three", source, tmp_path / "three", small)


def test_rows_that_are_no_image_are_listed(tmp_path: Path, images: np.ndarray) -> None:
    path = kaggle(tmp_path, images)
    lines = path.read_text().splitlines()
    lines[2] += ",7"
    lines[3] = lines[3].replace(",0,", ",x,", 1)
    lines[4] = "," + lines[4].partition(",")[2]
    lines[5] = lines[5].replace(",0,", ",300,", 1)
    path.write_text("\n".join(lines))
    found = list_source(path, Options())
    assert found.left_out == (("row 3 of train.csv", "has no label ()"),)
    reader = open_source(found.parts[0].source)
    for row in (1, 2):
        with pytest.raises(ImageError, match="not one number per pixel"):
            reader(row)
    assert np.array_equal(reader(5), images[5])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "test.csv",
            ",".join(FLAT) + "\n" + ",".join(["0"] * 784),
            "784 columns of pixels, but no",
        ),
        (
            "odd.csv",
            ",".join(["label", *FLAT[:50]]) + "\n" + ",".join(["0"] * 51),
            "50 columns bes",
        ),
        ("images.npy", "no array", "is not a valid file of arrays"),
        ("images.mat", "no array", "is not a valid MAT file"),
        ("train-images-idx3-ubyte", "no array", "is not an IDX file"),
    ],
)
def test_files_that_cannot_be(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        list_source(tmp_path / name, Options())


def test_what_has_no_labels_beside_it(tmp_path: Path, images: np.ndarray) -> None:
    np.save(tmp_path / "images.npy", images)
    with pytest.raises(DataError, match="images.npy and labels.npy"):
        list_source(tmp_path / "images.npy", Options())
    values = images * 1.0e6
    np.savez(tmp_path / "far.npz", images=values, labels=LABELS)
    with pytest.raises(DataError, match="run from 0 to 2.55e"):
        list_source(tmp_path / "far.npz", Options())


def test_emnist_says_how_it_lies(tmp_path: Path, images: np.ndarray) -> None:
    path = write_table(tmp_path / "emnist-letters-train.csv", images.transpose(0, 2, 1), LABELS)
    with pytest.raises(ConfigError, match="add --transposed; or --upright"):
        list_source(path, Options())
    assert read(list_source(path, Options(transposed=True)))[0][1] == images[0].tobytes()


def test_one_split_of_idx_files(tmp_path: Path) -> None:
    write_idx_set(tmp_path, prefix="my-")
    found = list_source(tmp_path / "my-train-images-idx3-ubyte", Options())
    assert len(found) == 30
    made = import_images(
        "mine", tmp_path / "my-train-images-idx3-ubyte", tmp_path / "mine",
        ImportSettings(test=tmp_path / "my-test-images-idx3-ubyte", preprocessed=True),
    )  # fmt: skip
    assert (len(made.train), len(made.test)) == (30, 12)


def test_a_folder_or_zip_of_pixel_tables_is_one_source(tmp_path: Path, images: np.ndarray) -> None:
    """As Kaggle packs them: tables with and without labels, and one of other things."""
    folder = tmp_path / "digit-recognizer"
    folder.mkdir()
    write_table(folder / "mnist_train.csv", images, LABELS, ["label", *FLAT])
    write_table(folder / "mnist_test.csv", images[:20], LABELS[:20])
    rows = [",".join(map(str, image.ravel())) for image in images]
    (folder / "unlabelled.csv").write_text("\n".join([",".join(FLAT), *rows]))
    (folder / "sample_submission.csv").write_text("ImageId,Label\n1,0\n2,0\n")
    packed = gzip.compress((folder / "mnist_test.csv").read_bytes())
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            if file.name == "mnist_test.csv":
                archive.writestr("archive/mnist_test.csv.gz", packed)
            else:
                archive.write(file, f"archive/{file.name}")
    expected = [(str(k), image.tobytes()) for k, image in zip(LABELS, images, strict=True)]
    for source in (folder, tmp_path / "all.zip"):
        found = list_source(source, Options())
        assert sorted(read(found)) == sorted([*expected, *expected[:20]])
        assert Counter(image.split for part in found.parts for image in part.images) == {
            "train": COUNT, "test": 20,
        }  # fmt: skip
        assert found.are_preprocessed
        table, other = found.left_out
        assert table.name.endswith("unlabelled.csv")
        assert table.reason.startswith("has 784 columns of pixels, but none of labels")
        assert other.name.endswith("sample_submission.csv")
    result = import_images("kaggle", tmp_path / "all.zip", tmp_path / "kaggle", ImportSettings())
    assert (len(result.train), len(result.test)) == (COUNT, 20)
    (folder / "mnist_train.csv").unlink()
    (folder / "mnist_test.csv").unlink()
    with pytest.raises(DataError, match="none of labels: import the table"):
        list_source(folder, Options())


@pytest.mark.parametrize("more", [1, 9])
def test_columns_that_are_no_pixels_are_asked_about(
    tmp_path: Path, images: np.ndarray, more: int
) -> None:
    """Row numbers without a heading, and one-hot labels."""
    rows = [[*range(more), k, *image.ravel()] for k, image in zip(LABELS, images, strict=True)]
    path = tmp_path / "wide.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in rows))
    with pytest.raises(DataError, match=r"\(row numbers\), and write one-hot labels as one column"):
        list_source(path, Options())
