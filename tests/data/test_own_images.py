from __future__ import annotations

import io
import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from helpers import scrawl, start_import, write_scrawls
from penstroke.data import store
from penstroke.data.image_import import ClassMap, ImportResult, ImportSettings, import_images
from penstroke.data.loading import imported_folder, load_dataset
from penstroke.data.shards import ShardJob, ShardWriter, load_shard
from penstroke.data.sources.contents import Source
from penstroke.data.splitting import draw_test
from penstroke.errors import ConfigError, DataError, PenstrokeError, StorageError
from penstroke.files import cache_root
from penstroke.preprocessing.ink import preprocess

PLAIN = ImportSettings()


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))


def bring(source: Path, settings: ImportSettings = PLAIN, workers: int = 1) -> ImportResult:
    return import_images("mine", source, imported_folder("mine"), settings, workers=workers)


def written() -> list[Path]:
    """Everything in the cache."""
    return sorted(path for path in cache_root().rglob("*") if path.is_file())


@pytest.mark.mnist
def test_all_62_classes_of_real_images(shared: Path) -> None:
    made = bring(shared / "pen-photos.zip", workers=2)
    assert len(made.train.classes) == 62
    assert made.empty == ["lower_i/083.png"]
    assert (len(made.train), len(made.test)) == (4981, 1218)
    assert made.unreadable == ()
    assert (made.test.class_counts() >= 15).all()
    names = json.loads((imported_folder("mine") / "import.json").read_text())["images"]
    splits = load_dataset("mine")
    assert splits.classes == made.train.classes
    test = splits.test.unseal()
    with zipfile.ZipFile(shared / "pen-photos.zip") as archive:
        for data, split in ((made.train, "train"), (test, "test")):
            assert len(names[split]) == len(data)
            for row in range(0, len(data), 97):
                name = names[split][row]
                assert np.array_equal(data.images[row], preprocess(archive.read(name)).pixels)
                assert data.classes[data.labels[row]] == name.split("/")[0][-1]
    assert not list(cache_root().glob("importing/*"))


@pytest.mark.mnist
def test_ten_digits_of_them(shared: Path) -> None:
    made = bring(shared / "pen-photos.zip", ImportSettings(classes=ClassMap(wanted=("digits",))))
    assert made.train.classes == tuple("0123456789")
    assert len(made.train) + len(made.test) == 1000
    assert "5,200 images of other classes were left out" in made.notes


def shards_on_disk() -> list[Path]:
    return list(cache_root().glob("importing/*/shard-*.npz"))


@pytest.mark.slow
@pytest.mark.mnist
def test_killed_again_and_again_it_ends_with_the_same_data_set(shared: Path) -> None:
    """Kill -9 of the process with its workers reading; what is done stays, nothing is left over."""
    source = shared / "pen-photos.zip"
    made = bring(source, ImportSettings(classes=ClassMap(wanted=("digits",))))
    expected = {path.name: path.read_bytes() for path in imported_folder("mine").iterdir()}
    assert len(made.train.classes) == 10
    shutil.rmtree(imported_folder("mine"))
    arguments = ["mine", str(source), "--classes", "digits", "--workers", "2"]
    kept: dict[Path, int] = {}
    for _ in range(2):
        enough = len(kept) + 2
        process = start_import(*arguments, stops_after=enough)
        assert len(shards_on_disk()) >= enough
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        _, alive = psutil.wait_procs(workers, timeout=120)
        assert not alive
        assert not imported_folder("mine").exists()
        assert {path: path.stat().st_mtime_ns for path in kept} == kept
        kept = {path: path.stat().st_mtime_ns for path in shards_on_disk()}
    command = [sys.executable, "-m", "penstroke", "data", "import", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["train"] == len(made.train)
    found = {path.name: path.read_bytes() for path in imported_folder("mine").iterdir()}
    assert found == expected
    assert not list(cache_root().glob("importing/*"))


def test_a_damaged_shard_is_read_again(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 3})
    job = ShardJob(
        tmp_path / "shard.npz", Source("folder", tmp_path / "in"), ("a/000.png", "a/001.png")
    )
    assert load_shard(job) is None
    ShardWriter()(job)
    whole = job.path.read_bytes()
    shard = load_shard(job)
    assert shard is not None
    assert np.array_equal(shard.images[1], preprocess(tmp_path / "in/a/001.png").pixels)
    for damaged in (whole[:-30], b"", whole.replace(b"images", b"imagos"), b"x" * 500):
        job.path.write_bytes(damaged)
        assert load_shard(job) is None
    job.path.write_bytes(whole)
    assert load_shard(job._replace(places=("a/000.png",))) is None


def test_a_changed_source_is_another_import(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 5, "b": 5})
    first = bring(tmp_path / "in")
    (tmp_path / "in/a/000.png").write_bytes(scrawl(99))
    second = bring(tmp_path / "in")
    assert first.train.fingerprint != second.train.fingerprint


def test_a_split_that_is_given_is_kept(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in/train", {"a": 5, "b": 5})
    write_scrawls(tmp_path / "in/test", {"a": 1, "b": 2}, first=50)
    made = bring(tmp_path / "in", ImportSettings(test_fraction=0.5))
    assert (made.train.class_counts().tolist(), made.test.class_counts().tolist()) == (
        [5, 5], [1, 2],
    )  # fmt: skip
    assert made.decisions["split"].startswith("given by the source")
    assert np.array_equal(made.test.images[0], preprocess(scrawl(50)).pixels)
    assert made.notes == ()
    shutil.copy(tmp_path / "in/train/a/000.png", tmp_path / "in/test/a/000.png")
    assert any("1 test images are training" in note for note in bring(tmp_path / "in").notes)
    write_scrawls(tmp_path / "in/test", {"a": 1}, first=50)
    apart = bring(tmp_path / "in/train", ImportSettings(test=tmp_path / "in/test"))
    assert (apart.train.fingerprint, apart.test.fingerprint) == (
        made.train.fingerprint, made.test.fingerprint,
    )  # fmt: skip


def test_pages_that_were_not_read_and_merged_splits_are_told_of(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in/train", {"a": 5, "b": 5})
    write_scrawls(tmp_path / "in/val", {"a": 1, "b": 2}, first=50)
    pages = [Image.open(io.BytesIO(scrawl(k))) for k in (70, 71, 72)]
    pages[0].save(tmp_path / "in/val/a/pages.tif", save_all=True, append_images=pages[1:])
    made = bring(tmp_path / "in")
    said = "; ".join(made.notes)
    assert "4 images of a validation split are training images here" in said
    assert "the first was read: val/a/pages.tif (3 pages)" in said
    (tmp_path / "labels.csv").write_text("file,label\nx.png,a\ny.png,b\n")
    with pytest.raises(DataError, match="--images names the folder"):
        bring(tmp_path / "labels.csv")


def test_a_test_split_alone_is_no_data_set(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in/test", {"a": 2, "b": 2})
    with pytest.raises(DataError, match="test images only"):
        bring(tmp_path / "in")


def test_an_import_killed_when_its_data_set_is_stored_continues(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 5, "b": 5})
    folder, finished = imported_folder("mine"), list[str]()

    def killed(_: ImportResult) -> None:
        raise KeyboardInterrupt

    def call(settings: ImportSettings, finish: Callable[[ImportResult], None]) -> None:
        import_images(
            "mine", tmp_path / "in", folder, settings, replace_existing=False, finish=finish
        )

    with pytest.raises(KeyboardInterrupt):
        call(PLAIN, killed)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConfigError, match="already exists"):  # another import
        call(ImportSettings(seed=3), killed)
    call(PLAIN, lambda result: finished.append(result.name))
    assert finished == ["mine"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ConfigError, match="already exists; use --replace"):
        call(PLAIN, killed)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=80),
    st.floats(0.01, 0.6), st.integers(0, 5),
)  # fmt: skip
def test_a_drawn_test_split(images: list[tuple[int, int]], share: float, seed: int) -> None:
    """Every class with two different images has one on each side; copies stay together."""
    content = np.array([number for _, number in images], np.uint8)
    labels = np.array([label for label, _ in images], np.int64)
    digests = np.repeat(content[:, None], 16, axis=1)
    is_test = draw_test(labels, digests, share, seed)
    assert np.array_equal(is_test, draw_test(labels, digests, share, seed))
    for number in np.unique(content):
        assert len(np.unique(is_test[content == number])) == 1
    _, leaders = np.unique(content, return_index=True)
    for label in np.unique(labels[leaders]):
        drawn = is_test[leaders[labels[leaders] == label]]
        assert abs(drawn.sum() - share * len(drawn)) <= 1
        assert (0 < drawn.sum() < len(drawn)) if len(drawn) > 1 else not drawn.any()


def test_what_is_worth_knowing_is_said(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 5, "b": 5, "rare": 1})
    shutil.copy(tmp_path / "in/a/000.png", tmp_path / "in/a/copy.png")
    shutil.copy(tmp_path / "in/a/001.png", tmp_path / "in/b/other.png")
    Image.new("L", (30, 30), 200).save(tmp_path / "in/a/blank.png")
    made = bring(tmp_path / "in")
    assert made.empty == ["a/blank.png"]
    assert made.conflicts == (("a/001.png = a", "b/other.png = b"),)
    said = "; ".join(made.notes)
    assert "2 images are copies of others" in said
    assert "1 images have copies with another label" in said
    assert 'no test image of "rare"' in said
    assert len(made.train) + len(made.test) == 13


def spoil(folder: Path) -> None:
    """Put an image of every unreadable kind into a folder of 40 that are not."""
    write_scrawls(folder, {"a": 20, "b": 20})
    (folder / "a/empty.png").write_bytes(b"")
    (folder / "a/cut.png").write_bytes(scrawl(1)[:150])
    (folder / "b/text.jpg").write_text("no image")
    huge = io.BytesIO()
    Image.new("L", (4001, 4001)).save(huge, "PNG")
    (folder / "b/huge.png").write_bytes(huge.getvalue())


def test_unreadable_files_are_listed(tmp_path: Path) -> None:
    spoil(tmp_path / "in")
    made = bring(tmp_path / "in", ImportSettings(max_unreadable=4))
    assert [name for name, _ in made.unreadable] == [
        "a/cut.png", "a/empty.png", "b/huge.png", "b/text.jpg",
    ]  # fmt: skip
    assert [why.split(":")[0] for _, why in made.unreadable] == [
        "is damaged", "is empty", "is too large",
        "is not an image that can be read (PNG, JPEG, …)",
    ]  # fmt: skip
    assert len(made.train) + len(made.test) == 40


@pytest.mark.parametrize("limit", [3, 0, 0.05])
def test_too_many_unreadable_files_stop_it(tmp_path: Path, limit: float | int) -> None:
    spoil(tmp_path / "in")
    with pytest.raises(DataError, match=r"4 of 44 images cannot be read.*nothing was written\n"):
        bring(tmp_path / "in", ImportSettings(max_unreadable=limit))
    assert written() == []


def test_images_that_a_table_promises_count_as_unreadable(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"x": 6, "y": 6})
    rows = [f"{k}/{n:03d}.png,{k}" for k in "xy" for n in range(7)]
    (tmp_path / "in/labels.csv").write_text("\n".join(["file,label", *rows]))
    with pytest.raises(DataError, match=r"x/006\.png: is in labels\.csv, but not in the source"):
        bring(tmp_path / "in")
    made = bring(tmp_path / "in", ImportSettings(max_unreadable=2))
    assert [name for name, _ in made.unreadable] == ["x/006.png", "y/006.png"]
    shutil.rmtree(tmp_path / "in/x")
    shutil.rmtree(tmp_path / "in/y")
    with pytest.raises(DataError, match="all 14 images are missing"):
        bring(tmp_path / "in")


def test_images_stand_upright_by_their_exif_tag(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 4, "b": 4})
    lying = Image.open(tmp_path / "in/a/000.png").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 270° counter-clockwise
    lying.save(tmp_path / "in/b/001.png", exif=exif)
    (tmp_path / "in/b/002.png").write_bytes(scrawl(0))
    made = bring(tmp_path / "in", ImportSettings(test_fraction=0))
    by_name = dict(zip(
        json.loads((imported_folder("mine") / "import.json").read_text())["images"]["train"],
        made.train.images, strict=True,
    ))  # fmt: skip
    assert np.array_equal(by_name["b/001.png"], by_name["a/000.png"])


@pytest.mark.mnist
def test_preprocessed_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    mnist = load_dataset("mnist").validation
    path = tmp_path / "my.npz"
    np.savez(path, images=mnist.images[:600], labels=mnist.labels[:600])
    made = bring(path, ImportSettings(test_fraction=0.1))
    assert "taken as they are" in made.decisions["preprocessing"]
    assert np.array_equal(made.train.images, mnist.images[made.rows[0]])
    assert np.array_equal(made.test.labels, mnist.labels[made.rows[1]])
    anew = bring(path, ImportSettings(test_fraction=0.1, preprocessed=False))
    assert np.array_equal(anew.train.images[0], preprocess(mnist.images[made.rows[0][0]]).pixels)
    np.savez(path, images=255 - mnist.images[:50], labels=mnist.labels[:50])
    assert "ink found" in bring(path).decisions["preprocessing"]
    np.savez(path, images=mnist.images[:50, 1:], labels=mnist.labels[:50])
    with pytest.raises(DataError, match="27×28 uint8, not 28×28"):
        bring(path, ImportSettings(preprocessed=True))


def test_parquet_and_folder_hold_the_same(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 400, "b": 200})
    files = sorted((tmp_path / "in").rglob("*.png"))
    table = {"image": [f.read_bytes() for f in files], "label": [f.parent.name for f in files]}
    parquet.write_table(pyarrow.table(table), tmp_path / "in.parquet", row_group_size=90)
    made = [bring(tmp_path / name, workers=2) for name in ("in", "in.parquet")]
    assert made[0].train.fingerprint == made[1].train.fingerprint
    assert made[0].test.fingerprint == made[1].test.fingerprint


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 300, "b": 300})
    found = {bring(tmp_path / "in", workers=count).train.fingerprint for count in (1, 2, 3)}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        (ImportSettings(classes=ClassMap(wanted=("a",))), DataError, 'only one class, "a"'),
        (ImportSettings(classes=ClassMap(wanted=("a", "z"))), ConfigError, 'shows "z"'),
        (ImportSettings(classes=ClassMap(renamed={"z": "y"})), ConfigError, "labelled 'z'"),
        (ImportSettings(preprocessed=True), ConfigError, "--preprocessed goes with arrays"),
        (ImportSettings(test_fraction=1.0), ConfigError, "--test-fraction: 1 is out of range"),
    ],
)
def test_imports_that_cannot_be(
    tmp_path: Path, settings: ImportSettings, error: type[PenstrokeError], said: str
) -> None:
    write_scrawls(tmp_path / "in", {"a": 2, "b": 2})
    with pytest.raises(error, match=said):
        bring(tmp_path / "in", settings)
    assert written() == []


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 2, "b": 2})

    def again(done: int, total: int) -> None:
        with pytest.raises(DataError, match="in use by another import"):
            bring(tmp_path / "in")

    import_images("mine", tmp_path / "in", imported_folder("mine"), PLAIN, progress=again)


def test_a_worker_that_dies_is_told_of(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 600, "b": 600})

    def kill_workers(done: int, total: int) -> None:
        for worker in multiprocessing.active_children():
            if worker.name.startswith("penstroke-worker"):
                worker.kill()

    with pytest.raises(DataError, match="its worker was ended by SIGKILL"):
        import_images("mine", tmp_path / "in", imported_folder("mine"), PLAIN, workers=2,
                        progress=kill_workers)  # fmt: skip
    assert len(bring(tmp_path / "in").train) == 960


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 5, "b": 5})
    first = bring(tmp_path / "in")
    script = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
from penstroke.cli.main import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "data", "import", "mine", str(tmp_path / "in"), "--replace",
         "--workers", "1"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "error: cannot write" in done.stderr) == (1, True), done.stderr
    _, test = store.load(imported_folder("mine"))
    assert test.fingerprint == first.test.fingerprint


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scrawls(tmp_path / "in", {"a": 5, "b": 5})
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="cannot write"):
        bring(tmp_path / "in")
