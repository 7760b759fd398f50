from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import Outcome, interrupt, start_import, write_idx_set, write_scrawls

Cli = Callable[..., Outcome]


pytestmark = pytest.mark.usefixtures("cache")


def test_from_a_folder_to_a_model(penstroke: Cli, tmp_path: Path, cache: Path) -> None:
    write_scrawls(tmp_path / "in", {"upper_A": 12, "upper_B": 12, "junk": 2})
    arguments = (
        "data",
        "import",
        "mine",
        tmp_path / "in",
        "--map",
        "junk=",
        "--test-fraction",
        0.25,
    )
    done = penstroke(*arguments)
    assert done.exit_code == 0, done.err
    assert "mine: 18 training and 6 test images of 2 classes" in done.out
    assert "labels         one folder per class; images in a folder" in done.out
    assert "2 images of other classes were left out" in done.out
    page = cache / "imports/mine/index.html"
    assert f"report  {page}" in done.out
    assert page.read_text().startswith("<!doctype html>")
    again = penstroke(*arguments)
    assert (again.exit_code, "already exists; use --replace" in again.err) == (2, True)
    facts = json.loads(penstroke(*arguments, "--replace", "--json").out)
    assert facts["classes"] == ["A", "B"]
    assert facts["class_counts"] == {"train": [9, 9], "test": [3, 3]}
    assert facts["report"] == str(page)
    assert "mine" in penstroke("data", "list").out
    shown = json.loads(penstroke("data", "show", "mine", "--json").out)
    assert shown["images"] == {"train": 18, "test": 6}
    trained = penstroke("train", "--dataset", "mine", "--epochs", 1, "--batch-size", 9, "--json")
    assert trained.exit_code == 0, trained.err
    assert 0 <= json.loads(trained.out)["test_accuracy"] <= 1


@pytest.mark.mnist
def test_36_classes_of_real_images_and_what_was_left_out(penstroke: Cli, shared: Path) -> None:
    done = penstroke("data", "import", "mine", shared / "pen-photos.zip", "--merge-case", "--json")
    assert done.exit_code == 0, done.err
    facts = json.loads(done.out)
    assert len(facts["classes"]) == 36
    assert facts["train"] + facts["test"] == 6199
    assert facts["empty"] == ["lower_i/083.png"]
    assert facts["decisions"]["labels"] == "the table labels.csv; images in a zip"
    assert done.err == ""


def test_rows_without_a_label_are_listed(penstroke: Cli, tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 8, "b": 8})
    rows = [f"{n}/{k:03}.png,{float(n == 'b') if k else ''}" for n in "ab" for k in range(8)]
    (tmp_path / "in/labels.csv").write_text("\n".join(["file,label", *rows]))
    done = penstroke("data", "import", "mine", tmp_path / "in")
    assert "training and 2 test images of 2 classes" in done.out, done.err
    assert "left out: 2\n  a/000.png: has no label (an empty cell; " in done.out
    facts = json.loads(penstroke("data", "import", "two", tmp_path / "in", "--json").out)
    assert facts["classes"] == ["0", "1"]
    assert [file["name"] for file in facts["left_out"]] == ["a/000.png", "b/000.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere",), 1, "there is no folder or file"),
        (("empty",), 1, "holds no images"),
        (("one",), 1, 'images of only one class, "a"'),
        (("in", "--classes", "digits"), 1, "none of these classes"),
        (("in", "--classes", "a,x"), 2, 'no image shows "x"'),
        (("in", "--map", "a"), 2, "not of the form LABEL=CLASS"),
        (("in", "--labels", "magic"), 2, "'magic' is not one of"),
        (("in", "--labels", "table"), 1, "holds no labels.csv"),
        (("in", "--max-unreadable", "many"), 2, "'many' is neither a fraction"),
        (("in", "--max-unreadable", "1.5"), 2, "'1.5' is neither a fraction"),
        (("in", "--test-fraction", "2"), 2, "2 is out of range"),
        (("in", "--transposed"), 2, "--transposed is for IDX files, arrays and pixel tables only"),
        (("in", "--label-offset", "1"), 2, "--label-offset is for IDX files only"),
        (("idx", "--merge-case"), 2, "--merge-case is for images"),
        (("idx", "--preprocess"), 2, "--preprocessed is for images"),
        (("idx", "--test-fraction", "0.3"), 2, "--test-fraction is for images"),
        (("idx", "--report", "seen.html"), 2, "--report is for images"),
        (("in", "--workers", "0"), 2, "--workers"),
    ],
)
def test_imports_that_cannot_be(
    penstroke: Cli, tmp_path: Path, cache: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    write_scrawls(tmp_path / "in", {"a": 2, "b": 2})
    write_scrawls(tmp_path / "one", {"a": 2})
    write_idx_set(tmp_path / "idx")
    (tmp_path / "empty").mkdir()
    name, *options = arguments
    done = penstroke("data", "import", "mine", tmp_path / name, *options)
    assert (done.exit_code, said in done.err) == (code, True), done.err
    assert not cache.exists()


@pytest.mark.parametrize("name", ["mnist", "emnist-letters"])
def test_the_command_for_unpacked_files_is_one_that_works(
    penstroke: Cli, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
    prefix = "" if name == "mnist" else f"{name}-"
    write_idx_set(tmp_path / "raw", prefix=prefix, offset=int(bool(prefix)))
    for file in (tmp_path / "raw").glob("*test-*"):  # as the catalogue names them
        if not prefix:
            file.rename(file.with_name(file.name.replace("test-", "t10k-")))
    said = penstroke("data", "download", name, "--from", tmp_path / "raw").err
    command = re.search("`penstroke (data import NAME [^`]*)`", said)
    assert command, said
    done = penstroke(*command[1].replace("NAME", "mine").split())
    assert "mine: 30 training and 12 test images" in done.out, done.err


def test_a_table_of_pixels_names_few_of_its_columns(penstroke: Cli, tmp_path: Path) -> None:
    head = [f"pixel{k}" for k in range(784)]
    (tmp_path / "train.csv").write_text(",".join(["what", *head]) + "\n" + ",".join(["7"] * 785))
    done = penstroke("data", "import", "mine", tmp_path / "train.csv", "--label-column", "wat")
    assert done.exit_code == 2
    assert "and 773 more" in done.err
    assert len(done.err) < 600


def test_parquet_without_its_package_says_what_to_install(
    penstroke: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    done = penstroke("data", "import", "mine", tmp_path / "in.parquet")
    assert done.exit_code == 1
    assert 'pip install "penstroke[parquet]"' in done.err


@pytest.mark.mnist
def test_ctrl_c_says_that_it_goes_on(shared: Path, cache: Path) -> None:
    process = start_import("mine", shared / "pen-photos.zip", stops_after=1)
    assert list(cache.glob("importing/*/shard-*.npz"))
    interrupt(process)
