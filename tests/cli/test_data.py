from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import penstroke.data.loading
from emnist import emnist_files, manifest, zipped
from helpers import Outcome, write_idx_set
from mirrors import Mirrors, serving

Cli = Callable[..., Outcome]


def test_list(penstroke: Cli) -> None:
    assert "digits" in penstroke("data", "list").out
    names = [d["name"] for d in json.loads(penstroke("data", "list", "--json").out)["datasets"]]
    assert {"digits", "mnist"} <= set(names)


def test_show_counts_and_draws(penstroke: Cli, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = penstroke("data", "show", "digits", "--sheet", sheet)
    assert "1,437" in done.out
    assert "mean 0." in done.out
    with Image.open(sheet) as image:
        assert image.width > 500
    facts = json.loads(penstroke("data", "show", "digits", "--json").out)
    assert facts["images"] == {"train": 1437, "test": 360}
    assert sum(facts["class_counts"]["train"]) == 1437


@pytest.mark.mnist
def test_show_mnist(penstroke: Cli) -> None:
    facts = json.loads(penstroke("data", "show", "mnist", "--json").out)
    assert (round(facts["mean"], 4), round(facts["std"], 4)) == (0.1307, 0.3081)
    assert facts["images"] == {"train": 60000, "test": 10000}


def test_import_and_train_on_it(penstroke: Cli, tmp_path: Path, cache: Path) -> None:
    write_idx_set(tmp_path / "idx", offset=1)
    arguments = ("data", "import", "mine", tmp_path / "idx", "--transposed", "--label-offset", 1,
                 "--classes", "x,y,z")  # fmt: skip
    done = penstroke(*arguments)
    assert done.exit_code == 0, done.err
    assert "30 training and 12 test images of 3 classes" in done.out
    assert "mine" in penstroke("data", "list").out
    assert 'the data set "mine" already exists; use --replace' in penstroke(*arguments).err
    assert penstroke(*arguments, "--replace").exit_code == 0
    options = ("--epochs", 1, "--batch-size", 9, "--json")
    trained = penstroke("train", "--dataset", "mine", *options)
    assert trained.exit_code == 0, trained.err


def test_bad_import(penstroke: Cli, tmp_path: Path, cache: Path) -> None:
    done = penstroke("data", "import", "mine", tmp_path / "nowhere" / "x")
    assert (done.exit_code, "no folder" in done.err) == (1, True)
    done = penstroke("data", "import", "mnist", tmp_path)
    assert (done.exit_code, "taken by the catalogue" in done.err) == (2, True)
    assert not cache.exists()


def test_fetch_says_what_is_wrong(penstroke: Cli) -> None:
    assert 'did you mean "mnist"' in penstroke("data", "download", "mnits").err
    assert "nothing to download" in penstroke("data", "download", "digits").out


@pytest.mark.mnist
def test_fetch_of_what_is_there_only_checks(penstroke: Cli, shared: Path) -> None:
    files = json.loads(penstroke("data", "download", "mnist", "--json").out)["files"]
    assert [Path(file).resolve().parent for file in files] == [(shared / "mnist").resolve()] * 4


@pytest.fixture
def small_emnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Mirrors]:
    """A small emnist-letters in the catalogue, served on loopback; data in `tmp_path/data`."""
    files = emnist_files("emnist-letters")
    packed = zipped(files)
    with serving({"gzip.zip": packed}) as mirrors:
        address = mirrors.mirror("nist") + "gzip.zip"
        known = {"emnist-letters": manifest("emnist-letters", files, packed, addresses=(address,))}
        module = sys.modules["penstroke.data.catalogue"]
        monkeypatch.setattr(module, "catalogue", lambda: known)
        monkeypatch.setattr(penstroke.data.loading, "catalogue", lambda: known)
        monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
        yield mirrors


def test_fetch_emnist_and_look_at_it(penstroke: Cli, tmp_path: Path, small_emnist: Mirrors) -> None:
    missing = penstroke("data", "show", "emnist-letters")
    assert (missing.exit_code, "penstroke data download emnist-letters" in missing.err) == (1, True)
    done = penstroke("data", "download", "emnist-letters")
    assert done.exit_code == 0, done.err
    assert f"checked: {tmp_path}/data/emnist-letters" in done.out
    assert f"kept for its other data sets: {tmp_path}/data/archives/small.zip" in done.out
    facts = json.loads(penstroke("data", "download", "emnist-letters", "--json").out)
    assert facts["archive"] == f"{tmp_path}/data/archives/small.zip"
    assert len(facts["files"]) == 4
    assert len(small_emnist.requests) == 1
    assert "here" in penstroke("data", "list").out
    shown = json.loads(penstroke("data", "show", "emnist-letters", "--json").out)
    assert shown["images"] == {"train": 60, "test": 21}


def test_fetch_emnist_without_keeping_the_archive(
    penstroke: Cli, tmp_path: Path, small_emnist: Mirrors
) -> None:
    facts = json.loads(penstroke("data", "download", "emnist-letters", "--no-keep", "--json").out)
    assert facts["archive"] is None
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["emnist-letters"]


def test_fetch_from_a_copy(penstroke: Cli, tmp_path: Path, small_emnist: Mirrors) -> None:
    copy = tmp_path / "copy.zip"
    command = ("data", "download", "emnist-letters", "--from", copy)
    assert "there is no" in penstroke(*command).err
    copy.write_bytes(zipped(emnist_files("emnist-letters", train=40, test=14)))
    refused = penstroke(*command)
    assert (refused.exit_code, "this is the older release" in refused.err) == (1, True)
    copy.write_bytes(zipped(emnist_files("emnist-letters") | {"../../evil": b""}))
    refused = penstroke(*command)
    assert (refused.exit_code, "leads out of the archive" in refused.err) == (1, True)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    copy.write_bytes(small_emnist.files["gzip.zip"])
    assert penstroke(*command).exit_code == 0
    assert small_emnist.requests == []


def test_fetch_that_fails_says_what_each_address_answered(
    penstroke: Cli, tmp_path: Path, small_emnist: Mirrors
) -> None:
    small_emnist.behaviour["nist"] = "html"
    done = penstroke("data", "download", "emnist-letters", "--json")
    assert (done.exit_code, done.out) == (1, "")
    assert f"{small_emnist.address}/nist/gzip.zip: a web page instead of the file" in done.err
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_audit_and_train_without_what_it_found(
    penstroke: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstroke.quality.label_errors._MIN_STEPS", 20)
    options = ("data", "audit", "digits", "--folds", 2, "--limit", 200, "--output", tmp_path)
    done = penstroke(*options, "--against", "digits", "--json")
    assert done.exit_code == 0, done.err
    facts = json.loads(done.out)
    assert facts["images"] == {"train": 200, "test": 50}
    assert facts["expected_precision"] is None or facts["expected_precision"] >= 0.5
    assert facts["findings"]["in the test split of digits"]["train"] >= 0
    assert Path(facts["report"]).read_text().startswith("<!doctype html>")
    exclude = Path(facts["exclude"])
    exclude.write_text("# mine\n3\n1400  # a 7\n")
    quick = ("--epochs", 1, "--set", "data.max_train_images=200", "--no-report", "--json")
    without = json.loads(penstroke("train", *quick, "--exclude", exclude).out)["run"]
    everything = json.loads(penstroke("train", *quick).out)["run"]
    assert Path(without).name != Path(everything).name
    record = tomllib.loads((Path(without) / "run.toml").read_text())
    assert record["config"]["data"]["exclude"] == [3, 1400]
    again = json.loads(penstroke("train", without, *quick, "--name", "again").out)["run"]
    assert tomllib.loads((Path(again) / "run.toml").read_text())["config"] == record["config"]
    exclude.write_text("# nothing was found\n")
    assert json.loads(penstroke("train", *quick, "--exclude", exclude).out)["run"] == everything


def test_audit_for_people(penstroke: Cli, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstroke.quality.label_errors._MIN_STEPS", 20)
    done = penstroke("data", "audit", "digits", "--folds", 2, "--limit", 100)
    assert done.exit_code == 0, done.err
    assert re.search(r"label errors +\d+ +\d+ +\d+", done.out)
    assert f"report   {cache}/audits/digits/index.html" in done.out
    assert re.search(r"doubtful labels +\d+ +\d+ +0  kept", done.out)
    assert "next: penstroke train --dataset digits" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digts",), 'did you mean "digits"'),
        (("digits", "--against", "mnits"), 'did you mean "mnist"'),
        (("digits", "--folds", 1), "folds: 1 is too few"),
        (("digits", "--limit", 30, "--folds", 20), "lower --folds, or raise --limit"),
    ],
)
def test_an_audit_that_cannot_be(penstroke: Cli, arguments: tuple[object, ...], said: str) -> None:
    done = penstroke("data", "audit", *arguments)
    assert (done.exit_code, said in done.err) == (2, True), done.err


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_bad_list_to_exclude(penstroke: Cli, command: str, tmp_path: Path, runs: Path) -> None:
    path = tmp_path / "exclude.txt"
    for content, said in (
        ("5\nfive\n", f"{path}, line 2: 'five' is not the position"),
        ("5\n5\n", f"{path}, line 2: 5 is already on line 1"),
        ("5\n1437\n", "data.exclude: there is no training image 1437 in digits"),
    ):
        path.write_text(content)
        done = penstroke(command, "--exclude", path)
        assert (done.exit_code, said in done.err) == (2, True), done.err
    done = penstroke(command, "--exclude", tmp_path / "nowhere")
    assert (done.exit_code, "cannot read" in done.err) == (2, True)
    assert not runs.exists()
