from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import Outcome, write_idx_set
from penstroke.evaluation import ood
from penstroke.evaluation.corruptions import CORRUPTIONS

Cli = Callable[..., Outcome]


@pytest.fixture
def run(penstroke_once: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> str:
    # 2,000 of each kind take seconds.
    few = functools.partial(ood.synthetic_ood_images, count=20)
    monkeypatch.setattr(ood, "synthetic_ood_images", few)
    options = ("--epochs", 2, "--set", "data.max_train_images=200", "--no-report")
    penstroke_once("train", *options, "--name", "one")
    return "one"


def openings(runs: Path) -> int:
    return len((runs / "one" / "test_openings.jsonl").read_text().splitlines())


def test_without_the_option_nothing_is_corrupted(penstroke: Cli, run: str, runs: Path) -> None:
    done = penstroke("evaluate", run)
    assert done.exit_code == 0, done.err
    assert "zigzag" not in done.out
    assert "robustness" not in json.loads(penstroke("evaluate", run, "--json").out)
    assert not (runs / "one" / "report" / "robustness.html").exists()


def test_corruptions_for_people(penstroke: Cli, run: str, runs: Path) -> None:
    before = openings(runs)
    done = penstroke("evaluate", run, "--corruptions")
    assert done.exit_code == 0, done.err
    lines = done.out.splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("corruption"))
    named = [line[:13].strip() for line in lines[first + 1 : first + 19]]
    assert named == ["clean", *(name.replace("_", " ") for name in CORRUPTIONS), "mean"]
    assert all("%" in line for line in lines[first + 1 : first + 19])
    for kind in ("noise", "scribbles", "blank paper"):
        assert any(line.startswith(kind) for line in lines)
    page = lines[-1].split()[-1]
    assert Path(page) == runs / "one" / "report" / "robustness.html"
    assert Path(page).exists()
    assert openings(runs) == before + 1


def test_corruptions_for_machines(
    penstroke: Cli, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))
    write_idx_set(tmp_path / "idx")
    names = ("--classes", "x,7,y")
    assert penstroke("data", "import", "mine", tmp_path / "idx", *names).exit_code == 0
    done = penstroke("evaluate", run, "--corruptions", "--ood", "mine", "--json")
    assert done.exit_code == 0, done.err
    found = json.loads(done.out)
    judged = found["robustness"]
    assert judged["clean"]["accuracy"] == found["test_accuracy"]
    assert [r["name"] for r in judged["corruptions"]] == list(CORRUPTIONS)
    assert judged["ood"][-1]["kind"] == "characters of mine"
    assert judged["ood"][-1]["images"] == 20
    assert all(0 <= r["auroc"] <= 1 for r in judged["ood"])
    assert Path(found["robustness_report"]).exists()


def test_a_run_of_other_classes(
    penstroke: Cli, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))
    write_idx_set(tmp_path / "idx")
    names = ("--classes", "x,y,z")
    assert penstroke("data", "import", "mine", tmp_path / "idx", *names).exit_code == 0
    options = ("--epochs", 1, "--batch-size", 9, "--name", "three", "--no-report")
    assert penstroke("train", "--dataset", "mine", *options).exit_code == 0
    done = penstroke("evaluate", "three", "--ood", "digits")
    assert done.exit_code == 0, done.err
    assert "characters of digits" in done.out


def test_wrong_ood_data_sets_are_refused_before_the_test_split_is_opened(
    penstroke: Cli, run: str, runs: Path
) -> None:
    before = openings(runs)
    unknown = penstroke("evaluate", run, "--corruptions", "--ood", "digitz")
    assert (unknown.exit_code, 'did you mean "digits"' in unknown.err) == (2, True)
    known = penstroke("evaluate", run, "--corruptions", "--ood", "digits")
    assert (known.exit_code, "the model knows all classes of digits" in known.err) == (2, True)
    assert openings(runs) == before
