from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from helpers import write_scrawls
from line_images import amounts, amounts_zip, folder_of, line_png, table, zip_of
from penstroke.config.settings import DataConfig
from penstroke.data import store
from penstroke.data.dataset import sealed
from penstroke.data.image_import import ImportSettings, import_images
from penstroke.data.line_import import LineImportResult, import_lines
from penstroke.data.lines import LineDataset
from penstroke.data.loading import imported_folder, load_dataset, load_lines
from penstroke.data.sources.contents import SourceOptions
from penstroke.errors import ConfigError, DataError, SealedTestError
from penstroke.files import cache_root
from penstroke.preprocessing.strips import PAPER, STRIP_HEIGHT, is_blank, line_strip

LINES = ImportSettings(options=SourceOptions(lines=True))


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))


def bring(source: Path, settings: ImportSettings = LINES, name: str = "mine") -> LineImportResult:
    return import_lines(name, source, imported_folder(name), settings)


def texts_of(made: LineImportResult) -> dict[str, str]:
    """The text of each image that was imported, by its name."""
    sides = zip(made.rows, (made.train, made.test), strict=True)
    return {
        made.refs[row].name: text
        for rows, lines in sides
        for row, text in zip(rows, lines.texts, strict=True)
    }


def with_options(**options: object) -> ImportSettings:
    return ImportSettings(options=SourceOptions(lines=True, **options))  # type: ignore[arg-type]


def test_a_zip_with_a_table_of_texts(tmp_path: Path) -> None:
    made = bring(amounts_zip(tmp_path / "in.zip"))
    assert (len(made.train), len(made.test)) == (32, 8)
    assert made.train.alphabet == ".0123456789"
    assert made.decisions["alphabet"] == "11 characters: .0123456789"
    assert texts_of(made) == {f"{n}.png": text for n, text in enumerate(amounts(40))}
    for rows, lines in zip(made.rows, (made.train, made.test), strict=True):
        for k, row in enumerate(rows):
            strip = line_strip(line_png(made.refs[row].label))
            assert np.array_equal(lines.strip(k), strip)
            assert strip.shape[0] == STRIP_HEIGHT
            assert np.median(strip) == PAPER
    splits = load_lines("mine")
    assert splits.name == "mine"
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (29, 3, 8)
    assert sorted([*splits.train.texts, *splits.validation.texts]) == sorted(made.train.texts)
    assert splits.test.unseal().fingerprint == made.test.fingerprint
    with sealed(), pytest.raises(SealedTestError):
        splits.test.unseal()
    record = json.loads((imported_folder("mine") / "import.json").read_text())
    assert record["kind"] == "lines"
    assert record["images"]["train"] == [made.refs[row].name for row in made.rows[0]]
    assert record["character_counts"]["train"]["."] == 32


def test_the_same_command_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Also if it is stopped between two shards, and then when the data set is stored."""
    source = amounts_zip(tmp_path / "in.zip", 120)
    bring(source)
    expected = {path.name: path.read_bytes() for path in imported_folder("mine").iterdir()}

    def stop(done: int, total: int) -> None:
        if 0 < done < total:
            raise KeyboardInterrupt

    def stop_finish(result: LineImportResult) -> None:
        raise KeyboardInterrupt

    folder = imported_folder("again")
    with pytest.raises(KeyboardInterrupt):
        import_lines("again", source, folder, LINES, progress=stop)
    shards = list(cache_root().glob("importing/again-*/shard-*.npz"))
    assert shards
    times = [path.stat().st_mtime_ns for path in shards]
    with pytest.raises(KeyboardInterrupt):
        import_lines("again", source, folder, LINES, finish=stop_finish)
    assert [path.stat().st_mtime_ns for path in shards] == times
    import_lines("again", source, folder, LINES, replace_existing=False)
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("dataset.toml", "import.json"):
        found[name] = found[name].replace(b'"again"', b'"mine"')
    assert found == expected
    assert not list(cache_root().glob("importing/*"))


def test_texts_are_kept_to_the_letter(tmp_path: Path) -> None:
    texts = {"a": "007", "b": "1.50", "c": "NA", "d": "  two  words ", "e": "é", "f": "1,5"}
    files: dict[str, bytes | str] = {f"{k}.png": line_png(text) for k, text in texts.items()}
    rows = [(f"{k}.png", text, "1,2,3") for k, text in texts.items()]
    made = bring(
        zip_of(tmp_path / "in.zip", {**files, "labels.csv": table("file,text,boxes", rows)})
    )
    assert texts_of(made) == {
        "a.png": "007", "b.png": "1.50", "c.png": "NA", "d.png": "two words", "e.png": "é",
        "f.png": "1,5",
    }  # fmt: skip
    unquoted = "file,text\na.png,1,5\n"
    with pytest.raises(DataError, match=r"line 2: it has 3 cells, .* double quotes"):
        bring(zip_of(tmp_path / "bad.zip", {**files, "labels.csv": unquoted}))


def test_what_cannot_be_learned_is_left_out_and_listed(tmp_path: Path) -> None:
    rows = [(f"{n}.png", text) for n, text in enumerate(amounts(30))]
    files: dict[str, bytes | str] = {name: line_png(text) for name, text in rows}
    files |= {
        "empty-text.png": line_png("1"), "two-lines.png": line_png("2"),
        "control.png": line_png("3"), "blank.png": line_png(""), "damaged.png": b"\x89PNG nothing",
        "narrow.png": line_png("11"), "unlabelled.png": line_png("4"), "notes.doc": b"x",
    }  # fmt: skip
    rows += [
        ("empty-text.png", " "), ("two-lines.png", "2\n3"), ("control.png", "3\x07"),
        ("blank.png", "5"), ("damaged.png", "6"), ("narrow.png", "1" * 12), ("gone.png", "7"),
    ]  # fmt: skip
    files["labels.csv"] = table("file,text", rows)
    settings = ImportSettings(options=SourceOptions(lines=True), max_unreadable=2)
    made = bring(zip_of(tmp_path / "in.zip", files), settings)
    assert len(texts_of(made)) == 30
    assert made.empty == ["blank.png"]
    unreadable = dict(made.unreadable)
    assert sorted(unreadable) == ["damaged.png", "gone.png"]
    assert unreadable["gone.png"] == "is in labels.csv, but not in the source"
    left_out = dict(made.left_out)
    assert left_out["empty-text.png"].startswith("has no text (an empty cell; ")
    assert left_out["two-lines.png"].startswith("has a text of several lines")
    assert left_out["control.png"] == "has a text with a character that cannot be printed (U+0007)"
    assert left_out["narrow.png"].startswith("is too narrow for its text: 10 columns, but 23")
    assert left_out["unlabelled.png"] == "is not in labels.csv"
    assert left_out["notes.doc"].startswith("is not read")
    assert len(left_out) == 6
    with pytest.raises(DataError, match="2 of 33 images cannot be read"):
        bring(tmp_path / "in.zip")


def test_text_files_beside_the_images(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {}
    for n, text in enumerate(amounts(20)):
        image, file = [("png", "gt.txt"), ("jpg", "txt"), ("nrm.png", "gt.txt"), ("png", "txt")][
            n % 4
        ]
        files[f"page-{n % 3}/{n}.{image}"] = line_png(text)
        files[f"page-{n % 3}/{n}.{file}"] = f"\ufeff{text}\n"
    files |= {
        "alone.png": line_png("1"), "empty.png": line_png("2"), "empty.gt.txt": "\n",
        "binary.png": line_png("3"), "binary.gt.txt": b"3\xff", "orphan.gt.txt": "4",
    }  # fmt: skip
    for source in (folder_of(tmp_path / "in", files), zip_of(tmp_path / "in.zip", files)):
        made = bring(source, with_options(writer_folders=True))
        assert sorted(texts_of(made).values()) == sorted(amounts(20))
        assert made.train.writer_count + made.test.writer_count == 3
        assert made.decisions["texts"].startswith("texts in the text files beside the images")
        left_out = dict(made.left_out)
        assert left_out["alone.png"] == "has no .gt.txt or .txt beside it"
        assert left_out["empty.png"] == "has no text: empty.gt.txt is empty"
        assert "byte 0xff is not utf-8" in left_out["binary.png"]
        assert sorted(left_out) == ["alone.png", "binary.png", "empty.png", "orphan.gt.txt"]


def test_texts_in_the_names_of_files(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        f"{split}/{text}_{n:03d}.png": line_png(text, paper=230 - n)
        for n, text in enumerate(amounts(12))
        for split in ("train", "test")
    }
    files["train/scan.png"] = line_png("9")
    made = bring(folder_of(tmp_path / "in", files))
    assert sorted(made.train.texts) == sorted(made.test.texts) == sorted(amounts(12))
    assert made.decisions["split"].startswith("given by the source")
    assert any("12 test images are training images too" in note for note in made.notes)
    assert dict(made.left_out)["train/scan.png"].startswith("has a name that is not TEXT_NUMBER")
    other = {name.replace("_", "="): content for name, content in files.items()}
    by_pattern = with_options(pattern=r"(?P<text>[^/]+)=\d+")
    made = bring(folder_of(tmp_path / "other", other), by_pattern)
    assert sorted(made.train.texts) == sorted(amounts(12))
    with pytest.raises(ConfigError, match=r"needs a group called text: \(\?P<text>…\)"):
        bring(tmp_path / "other", with_options(pattern="(?P<label>.)"))
    camera = {f"IMG_{n:04d}.png": line_png("1", paper=230 - n) for n in range(5)}
    with pytest.raises(DataError, match="all lines have the text 'IMG'"):
        bring(folder_of(tmp_path / "camera", camera))


@pytest.mark.parametrize("as_struct", [False, True])
def test_parquet(tmp_path: Path, as_struct: bool) -> None:
    images: list[object] = [line_png(text) for text in amounts(20)]
    if as_struct:
        images = [{"bytes": content, "path": "x.png"} for content in images]
    texts = [*amounts(19), None]
    columns = {"image": images, "text": texts, "writer": [f"w{n % 5}" for n in range(20)]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "in.parquet")
    made = bring(tmp_path / "in.parquet")
    assert sorted(texts_of(made).values()) == sorted(amounts(19))
    assert made.train.writer_count + made.test.writer_count == 5
    assert [name for name, _ in made.left_out] == ["row 19 of in.parquet"]


@pytest.mark.parametrize("column", ["writer", "group"])
def test_whole_writers_are_held_out(tmp_path: Path, column: str) -> None:
    groups = [f"form-{n % 10}" for n in range(60)]
    bring(amounts_zip(tmp_path / "in.zip", 60, f"file,text,{column}", groups))
    splits = load_lines(DataConfig(dataset="mine", validation_fraction=0.2))
    parts = (splits.train, splits.validation, splits.test.unseal())
    named = [set(lines.writers.tolist()) for lines in parts if lines.writers is not None]
    assert sum(map(len, named)) == len(set.union(*named)) == 10
    assert splits.split_writers is not None
    alone = load_lines(DataConfig(dataset="mine", split_by="image"))
    assert alone.split_writers is None


def test_a_given_split_is_kept(tmp_path: Path) -> None:
    split = ["test" if n % 4 == 0 else "train" for n in range(40)]
    made = bring(amounts_zip(tmp_path / "in.zip", 40, "file,text,split", split))
    assert sorted(made.test.texts) == sorted(amounts(40)[::4])


def test_splits_follow_from_the_settings(tmp_path: Path) -> None:
    bring(amounts_zip(tmp_path / "in.zip", 60))
    one, same, other = (
        load_lines(DataConfig(dataset="mine", split_seed=seed)) for seed in (0, 0, 1)
    )
    assert one.train.fingerprint == same.train.fingerprint != other.train.fingerprint
    assert one.fingerprint == other.fingerprint
    few = load_lines(DataConfig(dataset="mine", max_train_images=10))
    assert (len(few.train), few.validation.texts) == (10, one.validation.texts)
    less = load_lines(DataConfig(dataset="mine", exclude=(0, 5)))
    assert len(less.train) + len(less.validation) == 46
    folds = [load_lines(DataConfig(dataset="mine", folds=4, fold=fold)) for fold in range(4)]
    assert sum(len(fold.validation) for fold in folds) == 48
    for change, why in (
        ({"classes": ("1", "2")}, "data.classes: lines"),
        ({"max_train_images": 1000}, "data.max_train_images: 1000 is more than the 43"),
        ({"exclude": (48,)}, "data.exclude: there is no training image 48 in mine"),
        ({"split_by": "writer"}, "data.split_by: the writers of mine are not known"),
    ):
        with pytest.raises(ConfigError, match=why):
            load_lines(DataConfig(dataset="mine", **change))


def test_a_union_has_the_characters_of_all_its_parts(tmp_path: Path) -> None:
    bring(amounts_zip(tmp_path / "in.zip"), name="one")
    words = {
        f"{word}_1.png": line_png(word) for word in ("ab", "ba", "bab", "abba", "aab", "bb", "aa")
    }
    bring(zip_of(tmp_path / "words.zip", words), name="two")
    one, two, both = (load_lines(name) for name in ("one", "two", "one+two"))
    assert both.alphabet == ".0123456789ab"
    assert both.train.texts == (*one.train.texts, *two.train.texts)
    assert both.validation.texts == (*one.validation.texts, *two.validation.texts)
    assert both.validation_sources is not None
    assert both.validation_sources.tolist() == ["one"] * 3 + ["two"]
    assert both.test.unseal().alphabet == both.alphabet
    assert np.array_equal(both.train.strip(len(one.train)), two.train.strip(0))


def test_lines_and_characters_are_not_taken_for_each_other(tmp_path: Path) -> None:
    bring(amounts_zip(tmp_path / "in.zip"), name="cells")
    for name in ("cells", "digits+cells"):
        with pytest.raises(ConfigError, match='"cells" holds lines of text, not characters'):
            load_dataset(name)
    with pytest.raises(ConfigError, match='"digits" holds characters, not lines; .* cells'):
        load_lines("cells+digits")
    with pytest.raises(ConfigError, match=r'unknown .* "cell" \(did you mean "cells"\?\)'):
        load_lines("cell")
    with pytest.raises(ConfigError, match="names a data set twice"):
        load_lines("cells+cells")
    with pytest.raises(DataError, match="holds lines, not characters"):
        store.load(imported_folder("cells"))
    write_scrawls(tmp_path / "scrawls", {"a": 5, "b": 5})
    import_images("pens", tmp_path / "scrawls", imported_folder("pens"), ImportSettings())
    with pytest.raises(ConfigError, match='"pens" holds characters, not lines'):
        load_lines("pens")
    with pytest.raises(DataError, match="holds characters, not lines"):
        store.load_lines(imported_folder("pens"))


def change_pixels(folder: Path) -> None:
    content = bytearray((folder / "train-pixels.npy").read_bytes())
    content[-1] ^= 1
    (folder / "train-pixels.npy").write_bytes(content)


def change_texts(folder: Path) -> None:
    texts = np.load(folder / "train-texts.npy")
    np.save(folder / "train-texts.npy", texts[::-1])


def cut_widths(folder: Path) -> None:
    widths = np.load(folder / "train-widths.npy")
    np.save(folder / "train-widths.npy", widths[1:])


def remove_texts(folder: Path) -> None:
    (folder / "test-texts.npy").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_pixels, "was changed: its SHA-256 is not the recorded one"),
        (change_texts, "was changed: its SHA-256 is not the recorded one"),
        (cut_widths, "31 lines but 32 texts"),
        (remove_texts, "test-texts.npy is missing or damaged"),
    ],
)
def test_damage_is_noticed(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    bring(amounts_zip(tmp_path / "in.zip"))
    damage(imported_folder("mine"))
    with pytest.raises(DataError, match=message):
        load_lines("mine")


def test_sources_that_hold_no_lines(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(DataError, match="not a folder, a .zip, a .csv of texts or a .parquet"):
        bring(tmp_path / "in.npy")
    with pytest.raises(DataError, match="there is no folder or file"):
        bring(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds no images .* TEXT_NUMBER"):
        bring(folder_of(tmp_path / "in", {"a.png": line_png("1"), "b.png": line_png("2")}))
    with pytest.raises(ConfigError, match='"synthetic" stands for composed lines'):
        bring(amounts_zip(tmp_path / "in.zip"), name="synthetic")
    blank = {f"{text}_1.png": line_png("", paper=230) for text in ("1", "2")}
    with pytest.raises(DataError, match="no line is left: 0 are too narrow .* 2 without ink"):
        bring(zip_of(tmp_path / "blank.zip", blank))


def test_an_endless_line_is_unreadable_and_not_a_gigabyte(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (1, 500_000))).save(stream, "PNG")
    files = {f"{n}_1.png": line_png(str(n)) for n in range(25)}
    made = bring(zip_of(tmp_path / "in.zip", {**files, "9_2.png": stream.getvalue()}))
    assert dict(made.unreadable) == {"9_2.png": "is 1000000×1: too long and low for a line"}


def test_counts_of_characters() -> None:
    lines = LineDataset.of([np.full((STRIP_HEIGHT, 16), PAPER, np.uint8)] * 2, ["10", "1"], "012")
    assert lines.character_counts() == {"0": 1, "1": 2, "2": 0}
    assert lines.writer_count == 0


def test_what_counts_as_blank() -> None:
    light = np.linspace(0.6, 0.9, 300, dtype=np.float32) * np.ones((60, 1), np.float32)
    noise = np.random.default_rng(0).normal(0, 0.01, light.shape).astype(np.float32)
    assert is_blank(light + noise)
    written = light + noise
    written[20:40, 100:104] -= 0.1  # a single stroke in pencil
    assert not is_blank(written)
