"""Writers: where they come from, and that splits keep each of them on one side."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from helpers import Outcome, scrawl, small_config
from mirrors import serving
from penstroke.config.settings import DataConfig
from penstroke.data import store
from penstroke.data.catalogue import manifest_of
from penstroke.data.dataset import Dataset, Writers
from penstroke.data.download import download_writers
from penstroke.data.image_import import ImportResult, ImportSettings, import_images
from penstroke.data.loading import imported_folder, load_dataset
from penstroke.data.sources.contents import SourceOptions
from penstroke.data.splitting import draw_test, group_sides
from penstroke.errors import ConfigError, DataError, RunError
from penstroke.runs.pipeline import start_or_resume

WRITERS = ("Ada", "Bo", "Cleo", "Dov", "Eve", "Fay")
EACH = 4
"""Images of a class by one writer."""


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))


def bring(source: Path, name: str = "mine", **options: object) -> ImportResult:
    settings = ImportSettings(options=SourceOptions(**options))  # type: ignore[arg-type]
    return import_images(name, source, imported_folder(name), settings)


def rows() -> list[tuple[str, str, str]]:
    """Name, label and writer of each image."""
    return [
        (f"{number}-{label}-{writer}.png", label, writer)
        for label in "ab" for writer in WRITERS for number in range(EACH)
    ]  # fmt: skip


def columns(path: Path) -> Path:
    lines = ["file,label,Writer", *map(",".join, rows())]
    (path / "labels.csv").write_text("\n".join(lines))
    for seed, (name, _, _) in enumerate(rows()):
        (path / name).write_bytes(scrawl(seed))
    return path


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path / "all.zip", "w") as archive:
        for file in columns(path).iterdir():
            if file.suffix != ".zip":
                archive.write(file, file.name)
    return path / "all.zip"


def table_of_rows(path: Path) -> Path:
    names, labels, writers = zip(*rows(), strict=True)
    images = [scrawl(seed) for seed in range(len(names))]
    table = pyarrow.table({"image": images, "label": labels, "writer_id": writers})
    parquet.write_table(table, path / "all.parquet")
    return path / "all.parquet"


def pixels() -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (len(rows()), 28, 28), np.uint8)
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0
    return images


def pixel_table(path: Path) -> Path:
    lines = ["label,writer," + ",".join(f"p{k}" for k in range(784))]
    for (_, label, writer), image in zip(rows(), pixels(), strict=True):
        lines.append(",".join([label, writer, *map(str, image.reshape(-1))]))
    (path / "all.csv").write_text("\n".join(lines))
    return path / "all.csv"


def arrays(path: Path) -> Path:
    _, labels, writers = zip(*rows(), strict=True)
    np.savez(path / "all.npz", images=pixels(), labels=labels, writers=writers)
    return path / "all.npz"


def files_of_arrays(path: Path) -> Path:
    _, labels, writers = zip(*rows(), strict=True)
    for name, values in (("images", pixels()), ("labels", labels), ("writers", writers)):
        np.save(path / f"my-{name}.npy", values)
    return path / "my-images.npy"


def one_side(train: Dataset, other: Dataset) -> None:
    assert train.writers is not None
    assert other.writers is not None
    assert train.writer_count
    assert other.writer_count
    assert not set(train.writers) & set(other.writers)


@pytest.mark.parametrize(
    "write", [columns, zipped, table_of_rows, pixel_table, arrays, files_of_arrays]
)
def test_a_source_names_writers_and_all_splits_keep_them_together(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    made = bring(write(folder))
    one_side(made.train, made.test)
    assert {*made.train.writers, *made.test.writers} == {*WRITERS}  # type: ignore[misc]
    assert made.train.class_counts().tolist() == [5 * EACH] * 2
    assert "whole writers" in made.decisions["split"]
    data = load_dataset("mine")
    one_side(data.train, data.validation)
    assert data.split_writers
    for fold in range(3):
        data = load_dataset(DataConfig(dataset="mine", folds=3, fold=fold, max_train_images=20))
        one_side(data.train, data.validation)
    by_image = load_dataset(DataConfig(dataset="mine", split_by="image", validation_fraction=0.3))
    assert by_image.split_writers is None
    assert set(by_image.validation.writers) & set(by_image.train.writers)  # type: ignore[arg-type]
    assert by_image.fingerprint == data.fingerprint


def test_a_table_may_call_the_column_otherwise(tmp_path: Path) -> None:
    table = columns(tmp_path) / "labels.csv"
    table.write_text(table.read_text().replace("Writer", "hand", 1))
    assert bring(tmp_path).train.writers is None
    assert bring(tmp_path, writer_column="hand").train.writer_count == 5
    with pytest.raises(ConfigError, match="--writer-column: .*no column 'hnad' .did you mean"):
        bring(tmp_path, writer_column="hnad")


def test_folders_name_writers_where_one_says_so(tmp_path: Path) -> None:
    for seed, (name, label, writer) in enumerate(rows()):
        file = tmp_path / "in" / ("test" if writer == "Fay" else "") / writer / f"x_{label}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(scrawl(seed))
    assert bring(tmp_path / "in").train.writers is None
    made = bring(tmp_path / "in", writer_folders=True)
    assert set(made.test.writers) == {"Fay"}  # type: ignore[arg-type]
    assert made.train.writer_count == 5
    by_pattern = bring(tmp_path / "in", pattern=r"\d-(?P<label>.)-(?P<writer>\w+)")
    assert np.array_equal(by_pattern.train.writers, made.train.writers)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--writer-folders: no image of .* has a writer by it"):
        bring(tmp_path / "in/Ada", writer_folders=True)


def test_writers_on_both_sides_of_a_given_split_and_unknown_ones_are_noted(tmp_path: Path) -> None:
    table = columns(tmp_path) / "labels.csv"
    head, *lines = table.read_text().splitlines()
    lines = [f"{line},{'test' if line[0] == '0' else 'train'}" for line in lines]
    lines[-1] = lines[-1].replace(",Fay,", ",nan,")
    table.write_text("\n".join([f"{head},split", *lines]))
    notes = bring(tmp_path).notes
    assert "6 writers have images in training and in test: Ada, Bo, Cleo, Dov, Eve, Fay" in notes
    assert "1 images have no writer" in notes


def test_copies_under_two_writers_stay_on_one_side() -> None:
    writers = np.array(["a", "a", "b", "b", "c", "c", "", "d"])
    digests = np.arange(8, dtype=np.uint8)[:, None].repeat(16, 1)
    digests[2] = digests[0]  # of a and b
    digests[6] = digests[5]
    for seed in range(20):
        sides = draw_test(np.zeros(8, np.int64), digests, 0.4, seed, writers)
        assert len({*sides[:4]}) == len({*sides[4:7]}) == 1
        assert {*sides} == {False, True}


@given(st.integers(2, 30), st.integers(0, 2**32), st.sampled_from([(0.9, 0.1), (0.2,) * 5]))
def test_groups_stay_whole_and_shares_are_about_met(
    count: int, seed: int, shares: tuple[float, ...]
) -> None:
    random = np.random.default_rng(seed)
    count = max(count, len(shares))
    groups = random.permutation(np.arange(count).repeat(random.integers(1, 40, count)))
    labels = random.integers(0, 4, len(groups))
    sides = group_sides(labels, groups, shares, seed)
    assert all(len(np.unique(sides[groups == group])) == 1 for group in range(count))
    sizes = np.bincount(sides, minlength=len(shares))
    assert (sizes > 0).all()
    largest = np.bincount(groups).max()
    assert np.abs(sizes - np.array(shares) * len(groups)).max() <= 2 * largest


def stored(name: str, writers: Writers, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (len(writers), 28, 28), np.uint8)
    labels = np.arange(len(writers)) % 2
    whole = Dataset(images, labels, ("a", "b"), writers)
    store.save(imported_folder(name), name, whole, whole.subset(np.arange(4)))


def test_a_union_holds_a_writer_of_two_parts_out_of_both() -> None:
    stored("old", np.repeat([*"abcdefgh"], 10), 0)
    stored("new", np.repeat([*"efghijkl"], 10), 1)
    for options in ({}, {"folds": 4, "fold": 1}, {"max_train_images": 30}):
        for seed in range(5):
            data = load_dataset(DataConfig(dataset="old+new", split_seed=seed, **options))  # type: ignore[arg-type]
            one_side(data.train, data.validation)
    for part in ("old", "new"):  # what a run on one validates on, none on the union trains on
        validation = load_dataset(part).validation
        assert not validation.is_in(load_dataset("old+new").train).any()
    mixed = load_dataset("old+digits")  # digits by image, as alone
    assert mixed.split_writers
    alone = load_dataset("digits").validation
    assert alone.is_in(mixed.validation).all()


def test_too_few_writers() -> None:
    stored("few", np.repeat(["a", "b"], 20), 0)
    with pytest.raises(ConfigError, match="folds: few has fewer than 3 writers .*split_by=image"):
        load_dataset(DataConfig(dataset="few", folds=3, fold=0))
    stored("single", np.repeat(["a"], 40), 0)
    assert load_dataset("single").split_writers is None
    with pytest.raises(ConfigError, match="data.split_by: single has fewer than 2 writers"):
        load_dataset(DataConfig(dataset="single", split_by="writer"))
    with pytest.raises(ConfigError, match="data.split_by: the writers of digits are not known"):
        load_dataset(DataConfig(dataset="digits", split_by="writer"))


def test_a_class_by_one_writer_cannot_be_held_out() -> None:
    labels = np.array([0] * 40 + [1] * 20)
    whole = Dataset(np.zeros((60, 28, 28), np.uint8), labels, ("a", "b"), np.repeat([*"xyz"], 20))
    store.save(imported_folder("mine"), "mine", whole, whole.subset(np.arange(2)))
    with pytest.raises(ConfigError, match='too few writers of mine wrote "b"'):
        load_dataset(DataConfig(dataset="mine", folds=3, fold=0))


def test_a_run_does_not_go_on_with_writers_split_otherwise(runs: Path) -> None:
    config = small_config().replace({"data.dataset": "mine", "data.max_train_images": None})
    config = config.replace({"train.batch_size": 8})
    stored("mine", np.repeat([*"abcd"], 10), 0)
    start_or_resume(config, stem="x", path=runs / "mine")
    start_or_resume(config, stem="x", path=runs / "mine")
    stored("mine", np.tile([*"abcd"], 10), 0)
    with pytest.raises(RunError, match="was made with mine split by other writers"):
        start_or_resume(config, stem="x", path=runs / "mine")


def test_writers_on_the_command_line(penstroke: Callable[..., Outcome], tmp_path: Path) -> None:
    for seed, (name, label, writer) in enumerate(rows()):
        file = tmp_path / "in" / writer / label / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(scrawl(seed))
    done = penstroke("data", "import", "mine", tmp_path / "in", "--writer-folders")
    assert "writers        5 of training images, 1 of test images" in done.out
    assert "training images of 5 known writers" in penstroke("data", "show", "mine").out
    wrong = penstroke("data", "import", "other", tmp_path / "in/Bo", "--writer-folders")
    assert (wrong.exit_code, "--writer-folders: no image" in wrong.err) == (2, True)
    wrong = penstroke("data", "download", "digits", "--writers")
    assert (wrong.exit_code, "--writers: no table" in wrong.err) == (2, True)


def test_writers_that_were_changed_are_noticed() -> None:
    stored("mine", np.repeat([*"abcd"], 10), 0)
    path = imported_folder("mine") / "train-writers.npy"
    np.save(path, np.repeat([*"abce"], 10))
    with pytest.raises(DataError, match="writers.npy was changed"):
        load_dataset("mine")


@pytest.mark.mnist
def test_mnist_is_split_by_image_unless_asked_otherwise(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_table = load_dataset("mnist")
    assert with_table.train.writer_count == 539
    assert with_table.test.unseal().writer_count == 297
    by_writer = load_dataset(DataConfig(dataset="mnist", split_by="writer"))
    one_side(by_writer.train, by_writer.validation)
    one_side(by_writer.train, by_writer.test.unseal())
    assert len(by_writer.validation) == pytest.approx(6000, abs=60)
    assert by_writer.fingerprint == with_table.fingerprint
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mnist").symlink_to(shared / "mnist")
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
    without = load_dataset("mnist")
    assert without.train.writers is None
    assert without.fingerprint == with_table.fingerprint
    assert without.validation.fingerprint == with_table.validation.fingerprint
    assert without.train.fingerprint == with_table.train.fingerprint
    for file in shared.glob("mnist-writers-*"):
        shutil.copy(file, tmp_path / "data")
    damaged = tmp_path / "data/mnist-writers-test-labels-idx2-int.gz"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged or was changed.*data download mnist --writers"):
        load_dataset("mnist")


@pytest.mark.mnist
def test_the_table_of_mnists_writers_is_downloaded_once(shared: Path, tmp_path: Path) -> None:
    tables = {path.name: path.read_bytes() for path in shared.glob("mnist-writers-*")}
    with serving(tables) as server:
        mnist = manifest_of("mnist")
        local = [
            table.replace({"addresses": [server.mirror("qmnist") + table.name]})
            for table in mnist.writers
        ]
        mnist = mnist.model_copy(update={"writers": tuple(local)})
        (tmp_path / mnist.writers[0].name).write_bytes(b"damaged")
        for _ in range(2):
            paths = download_writers(mnist, tmp_path)
        assert {path.name: path.read_bytes() for path in paths} == tables
        assert len(server.requests) == 2
    with pytest.raises(ConfigError, match="no table of the writers of digits is published"):
        download_writers(manifest_of("digits"), tmp_path)
