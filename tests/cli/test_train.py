from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import Outcome

Cli = Callable[..., Outcome]
QUICK = ("--epochs", 2, "--set", "data.max_train_images=300")


def test_json_is_one_object_with_the_promised_figures(penstroke: Cli, runs: Path) -> None:
    done = penstroke("train", *QUICK, "--seed", 3, "--json")
    assert done.exit_code == 0, done.err
    figures = json.loads(done.out)
    promised = {"run", "val_accuracy", "test_accuracy", "test_loss", "test_auroc", "test_f1",
                "elapsed_seconds", "model", "report"}  # fmt: skip
    assert promised <= set(figures)
    assert Path(figures["run"]).parent == runs
    assert Path(figures["report"]).exists()
    assert "epoch 2/2" in done.err


def test_words_for_people_and_the_next_step(penstroke: Cli) -> None:
    done = penstroke("train", *QUICK)
    assert "test accuracy" in done.out
    assert "report/index.html" in done.out
    assert "next: " in done.out
    again = penstroke("train", *QUICK)
    assert "already finished" in again.err
    assert "test accuracy" in again.out
    assert "epoch 1/2" in penstroke("train", *QUICK, "--overwrite").out


def test_options_are_settings(penstroke: Cli) -> None:
    from penstroke.runs.run import Run

    done = penstroke(
        "train", "--model", "mlp", "--epochs", 1, "--batch-size", 32, "--lr", "0.01",
        "--set", "train.optimizer=sgd", "--set", "train.momentum=0.9", "--set",
        "train.schedule=constant", "--name", "mine", "--no-report",
    )  # fmt: skip
    assert done.exit_code == 0, done.err
    (run,) = Run.all()
    config = run.record.config
    assert (run.name, config.model.architecture, config.train.batch_size) == ("mine", "mlp", 32)
    assert (config.train.optimizer, config.train.momentum) == ("sgd", 0.9)
    assert config.train.learning_rate == 0.01
    assert not (run.path / "report").exists()


def test_a_recipe_file_and_a_run_directory_can_be_repeated(penstroke: Cli, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        '[data]\nmax_train_images = 200\n[train]\nepochs = 1\n[model]\narchitecture = "mlp"\n'
    )
    first = json.loads(penstroke("train", recipe, "--json").out)
    assert Path(first["run"]).name.startswith("mine-")
    again = json.loads(penstroke("train", first["run"], "--name", "again", "--json").out)
    assert again["test_loss"] == first["test_loss"]


def test_list_and_dry_run(penstroke: Cli, runs: Path) -> None:
    listed = penstroke("train", "--list")
    assert "baseline-cnn" in listed.out
    assert "one-conv-trial-6" in json.loads(penstroke("train", "--list", "--json").out)["recipes"]
    plan = penstroke("train", "--dry-run")
    assert "convolutions.0.convolution" in plan.out
    assert json.loads(penstroke("train", "--dry-run", "--json").out)["parameters"] > 1000
    assert not runs.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--lr", "nan"), 2, "train.learning_rate"),
        (("--epochs", "0"), 2, "train.epochs"),
        (("--set", "train.optimizer=adma"), 2, 'did you mean "adam"'),
        (("--dataset", "mnits"), 2, 'did you mean "mnist"'),
        (("--model", "cmn"), 2, 'did you mean "cnn"'),
        (("nosuch",), 2, "unknown recipe"),
        (("--epochs", "many"), 2, "--epochs"),
        (("--nonsense",), 2, "--nonsense"),
        (("--lr", "1e30", "--set", "train.optimizer=sgd"), 1, "the loss became"),
    ],
)
def test_bad_input(penstroke: Cli, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = penstroke("train", *arguments)
    assert done.exit_code == code
    assert said in done.err
    assert "Traceback" not in done.err


def test_debug_shows_the_traceback(
    penstroke: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from penstroke.cli.main import main
    from penstroke.errors import ConfigError

    monkeypatch.setattr(sys, "argv", ["penstroke", "train", "--epochs", "0", "--debug"])
    with pytest.raises(ConfigError):
        main()


def test_nan_keeps_the_last_good_checkpoint(
    penstroke: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rate beyond all bounds from the third epoch on: what the second left is there, whole."""
    from penstroke.runs.epochs import last_checkpoint
    from penstroke.runs.run import Run
    from penstroke.training import loop

    monkeypatch.setattr(
        loop, "learning_rate_at", lambda step, steps, _: 0.01 if step < 2 * steps else 1e30
    )
    done = penstroke("train", "--epochs", 4, "--model", "mlp", "--set", "train.optimizer=sgd")
    assert done.exit_code == 1
    assert re.search(r"the loss became nan at step \d+ of 11 in epoch 3", done.err)
    assert "the checkpoint of the epoch before is kept" in done.err
    (run,) = Run.all()
    state, notes = last_checkpoint(run)
    assert state is not None
    assert (state.facts["epoch"], notes, run.status) == (2, [], "unfinished")


def test_seeds_give_mean_and_variation(penstroke: Cli) -> None:
    done = penstroke("train", *QUICK, "--seeds", 3, "--json", "--no-report")
    found = json.loads(done.out)
    accuracies = [
        json.loads((Path(run) / "summary.json").read_text())["test_accuracy"]
        for run in found["runs"]
    ]
    assert len(set(found["runs"])) == 3
    assert found["test_accuracy"]["mean"] == pytest.approx(sum(accuracies) / 3)
    low, high = found["test_accuracy"]["low"], found["test_accuracy"]["high"]
    assert low < found["test_accuracy"]["mean"] < high
    assert "over 3 seeds" in penstroke("train", *QUICK, "--seeds", 3).out


def test_an_ensemble_is_one_model(penstroke: Cli) -> None:
    done = penstroke("train", *QUICK, "--ensemble", 2, "--json")
    assert done.exit_code == 0, done.err
    figures = json.loads(done.out)
    run = Path(figures["run"])
    assert "-ensemble-" in run.name
    members = [p for p in run.parent.iterdir() if p != run]
    sizes = [(p / "model.onnx").stat().st_size for p in [*members, run]]
    assert sizes[2] > 1.8 * sizes[0]
    assert "2 networks, probabilities averaged" in (run / "report/index.html").read_text()
    assert json.loads(penstroke("evaluate", run, "--json").out)["test_loss"] == figures["test_loss"]
    assert penstroke("predict", "examples/seven.png", "--model", run).exit_code == 0
    assert penstroke("runs", "show", run).exit_code == 0


@pytest.mark.parametrize("recipe", ["fast", "balanced", "best"])
def test_recipes_adapt_to_any_data(penstroke: Cli, tmp_path: Path, recipe: str) -> None:
    from helpers import write_idx_set

    write_idx_set(tmp_path / "idx")
    name = f"few-{recipe}"
    assert penstroke("data", "import", name, tmp_path / "idx").exit_code == 0
    done = penstroke(
        "train", recipe, "--dataset", name, "--batch-size", 9, "--epochs", 1,
        "--json", "--no-report",
    )  # fmt: skip
    assert done.exit_code == 0, done.err


def test_data_too_small_says_what_is(penstroke: Cli, tmp_path: Path) -> None:
    from helpers import write_idx_set

    write_idx_set(tmp_path / "idx", classes=15)
    assert penstroke("data", "import", "pairs", tmp_path / "idx").exit_code == 0
    done = penstroke("train", "--dataset", "pairs", "--batch-size", 8)
    assert done.exit_code == 2
    assert 'pairs has only 2 training images of "0"' in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--batch-size", "5000"),
            "train.batch_size: 5000 is more than the 1293 training images; choose a smaller one: "
            "--set train.batch_size=646",
        ),
        (("fasst",), 'did you mean "fast"'),
        (("fast", "--folds", "3", "--seeds", "2"), "not both"),
        (("--set", "model.convolutions.0.kernel=40"), "no pixels are left"),
    ],
)
def test_settings_that_do_not_go_together(
    penstroke: Cli, runs: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = penstroke("train", *arguments)
    assert (done.exit_code, said in done.err) == (2, True)
    assert not runs.exists()


def test_out_of_memory_offers_a_smaller_batch(tmp_path: Path) -> None:
    """A real limit on the address space, in a process of its own."""
    import subprocess
    import sys

    script = """
import resource, sys
from penstroke.config.recipes import load_recipe
from penstroke.data.loading import load_dataset
import penstroke.training.loop as loop
config = load_recipe("baseline-cnn", {"data.dataset": "digits", "train.batch_size": 1400,
                     "train.precision": "float32", "train.threads": 1}).run_config()
data = load_dataset(config.data)
train_epoch = loop._train_epoch
def limited(*arguments):
    used = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000, -1))
    return train_epoch(*arguments)
loop._train_epoch = limited
try:
    next(loop.fit(config, data))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(
        "TrainingError out of memory on cpu at train.batch_size=1400: try 700"
    )
