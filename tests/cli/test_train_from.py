"""`penstroke train --init-from` and `--folds`, as a person types them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import Outcome, trained_run
from penstroke.config.recipes import load_recipe
from penstroke.inference import bundled
from penstroke.runs.finetuning import default_pretrained
from penstroke.runs.run import Run, find_run

Cli = Callable[..., Outcome]
SETTINGS = ("--set", "data.max_train_images=100", "--set", "train.threads=1", "--set",
            "train.precision=float32")  # fmt: skip
TUNED = ("--epochs", 1, "--dataset", "digits", *SETTINGS)
CROSSED = ("train", "fast", "--epochs", 1, "--set", "train.threads=1", "--set",
           "train.precision=float32")  # fmt: skip


@pytest.fixture
def source() -> Path:
    """The fast network after one epoch."""
    changes = {"train.epochs": 1, "train.min_steps": 0, "train.threads": 1,
               "train.precision": "float32"}  # fmt: skip
    return trained_run(load_recipe("fast", changes).run_config(), name="source").path


def test_from_a_run_in_words(penstroke: Cli, source: Path) -> None:
    done = penstroke("train", "--init-from", "source", *TUNED)
    assert done.exit_code == 0, done.err
    assert "starts from the network of source (" in done.out
    assert "every layer, and of the last one 10 of 10 classes\n" in done.out
    assert "on the old data      " in done.out
    assert "144 validation images of digits" in done.out
    (tuned,) = source.parent.glob("finetune-*")
    page = (tuned / "report" / "index.html").read_text()
    assert ">Fine-tuning</h2>" in page
    assert "144 images of digits accuracy is now" in page
    assert "fine-tuned from `source` (SHA-256 " in penstroke("runs", "show", tuned, "--card").out
    assert penstroke("evaluate", tuned, "--json").exit_code == 0


def test_json_has_source_and_what_was_forgotten(penstroke: Cli, source: Path) -> None:
    done = penstroke("train", "--init-from", source, *TUNED, "--json", "--no-report")
    figures = json.loads(done.out)
    assert (figures["source"], figures["source_dataset"]) == ("source", "digits")
    assert 0 < figures["source_accuracy_before"] <= 1
    assert 0 <= figures["source_accuracy_after"] <= 1
    record = json.loads(penstroke("runs", "show", figures["run"], "--json").out)["record"]
    assert record["pretrained"]["run"] == "source"
    assert record["config"]["model"]["convolutions"][0]["filters"] == 16, "fast's own network"
    again = penstroke("train", "--init-from", "source", *TUNED, "--json", "--no-report")
    assert "already finished" in again.err
    assert json.loads(again.out)["run"] == figures["run"]


def test_a_fine_tuned_run_is_repeated_from_its_source(penstroke: Cli, source: Path) -> None:
    first = json.loads(
        penstroke("train", "--init-from", "source", *TUNED, "--json", "--no-report").out
    )
    again = json.loads(
        penstroke("train", first["run"], "--name", "again", "--json", "--no-report").out
    )
    assert again["test_loss"] == first["test_loss"]
    plan = json.loads(
        penstroke("train", "best", "--init-from", "source", "--dry-run", "--json",
                  "--dataset", "digits")
        .out
    )  # fmt: skip
    assert plan["config"]["model"]["architecture"] == "cnn", "the source's, not best's"
    assert plan["config"]["train"]["ema_decay"] == 0.998


def test_from_a_bundled_model(penstroke: Cli, runs: Path) -> None:
    """Named, or that which the recipe finetune takes where none is: the same run."""
    named = penstroke("train", "--init-from", "digits", *TUNED, "--no-report")
    assert named.exit_code == 0, named.err
    assert "starts from the network of digits (" in named.out
    assert "every layer, and of the last one 10 of 10 classes\n" in named.out
    (tuned,) = runs.iterdir()
    assert Run.open(tuned).record.config.model == find_run("digits").record.config.model
    again = penstroke("train", "finetune", *TUNED, "--no-report")
    assert "already finished" in again.err
    assert str(tuned) in again.out


@pytest.mark.parametrize(
    ("names", "chosen"), [("0123456789", "digits"), ("Aab", "letters"), ("01Aa", "characters")]
)
def test_the_bundled_model_with_the_most_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, chosen: str
) -> None:
    for name, classes in {
        "digits": "0123456789", "letters": ["Aa", "Bb"], "characters": [*"0123456789", "Aa", "Bb"],
    }.items():  # fmt: skip
        shutil.copytree(bundled.BUNDLED / "digits", tmp_path / name)
        record = Run.open(tmp_path / name).record.replace({"data.classes": list(classes)})
        (tmp_path / name / "run.toml").write_text(record.to_toml())
    monkeypatch.setattr(bundled, "BUNDLED", tmp_path)
    assert default_pretrained(tuple(names)).run.name == chosen


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--init-from", "sauce"), 1, 'did you mean "source"'),
        (("--init-from", "source/model.onnx"), 1, "is an ONNX file"),
        (("--init-from", "source", "--model", "mlp"), 2, "fine-tuning brings its network"),
        (("finetune", "--model", "mlp"), 2, "fine-tuning brings its network"),
        (("--init-from", "source", "--set", "model.activation=gelu"), 2, "--set model"),
        (("--folds", "1"), 2, "data.folds: input should be greater than or equal to 2"),
        (("--folds", "3", "--seeds", "2"), 2, "not both"),
        (
            ("--folds", "3", "--set", "train.checkpoint_metric=val_loss"),
            2,
            "train.checkpoint_metric",
        ),
        (("--folds", "3", "--set", "data.folds=2", "--set", "data.fold=0"), 2, "--folds sets it"),
        (("--set", "train.balance=2"), 2, "train.balance"),
    ],
)
def test_bad_input(
    penstroke: Cli, source: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = penstroke("train", *arguments)
    assert (done.exit_code, said in done.err) == (code, True), done.err
    assert "Traceback" not in done.err
    assert [path.name for path in source.parent.iterdir()] == ["source"]


def test_folds_in_words_and_json(penstroke: Cli, runs: Path) -> None:
    few = (*CROSSED, "--folds", 2, "--name", "crossed")
    done = penstroke(*few)
    assert done.exit_code == 0, done.err
    assert "1,437 images, each judged by a network that never saw it: " in done.out
    assert "fold 1" in done.out
    assert (runs / "crossed/report/index.html").exists()
    again = penstroke(*few, "--json")
    assert "already finished" in again.err
    figures = json.loads(again.out)
    assert (figures["folds"], figures["images"]) == (2, 1437)
    assert len(figures["fold_accuracies"]) == 2
    other = penstroke(*few, "--lr", "0.01", "--json")
    assert (other.exit_code, "other settings" in other.err) == (1, True)


def test_cross_validations_are_listed_compared_and_removed(penstroke: Cli, runs: Path) -> None:
    for name, rate in (("slow", "0.0001"), ("quick", "0.005")):
        done = penstroke(
            *CROSSED, "--folds", 2, "--lr", rate, "--name", name, "--no-report", "--json"
        )
        assert done.exit_code == 0, done.err
    listed = penstroke("runs", "list").out
    assert "cross-validation" in listed
    assert "quick" in listed
    both = json.loads(penstroke("runs", "list", "--json").out)["cross_validations"]
    assert {Path(one["folds"]).name for one in both} == {"slow", "quick"}
    assert "quick is better than slow" in penstroke("compare", "slow", "quick").out
    (claim,) = json.loads(penstroke("compare", "slow", "quick", "--json").out)["claims"]
    assert claim["is_significant"]
    done = penstroke(*CROSSED, "--folds", 3, "--name", "three", "--no-report", "--json")
    assert done.exit_code == 0, done.err
    refused = penstroke("compare", "slow", "three")
    assert (refused.exit_code, "same folds" in refused.err) == (1, True)
    assert penstroke("runs", "rm", "slow", "quick", "three", "--yes").exit_code == 0
    assert list(runs.iterdir()) == []
