"""K-fold cross-validation: each image once, by who never saw it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from helpers import small_config
from penstroke.config.settings import RunConfig
from penstroke.data import store
from penstroke.data.dataset import Dataset, sealed
from penstroke.data.loading import imported_folder, load_dataset
from penstroke.errors import ConfigError, DataError, RunError
from penstroke.evaluation.intervals import wilson
from penstroke.evaluation.metrics import compute_metrics
from penstroke.evaluation.predictions import Predictions
from penstroke.runs.cross_validation import CrossValidation, cross_validation, finish_fold
from penstroke.runs.pipeline import start_or_resume
from penstroke.runs.run import FoldRuns, FoldsSummary, Run
from penstroke.runs.trained import evaluate


def config(**train: object) -> RunConfig:
    return small_config(**{"epochs": 4, "checkpoint_metric": "last", **train})


def whole_config(**train: object) -> RunConfig:
    return config(**train).replace({"data.max_train_images": None})


def trained(cross: CrossValidation) -> FoldsSummary:
    for fold in range(len(cross.folds)):
        training = cross.start_or_resume(fold)
        list(training.epochs())
        finish_fold(training)
    return cross.aggregate()


def test_folds_are_where_the_name_says_and_removed_all_or_none(runs: Path) -> None:
    cross = cross_validation(whole_config(), 2, stem="x", name="mine")
    trained(cross)
    assert (runs / "mine" / "fold-1" / "summary.json").exists()
    folds = FoldRuns.open(runs / "mine")
    with Run.open(cross.path / "fold-1").locked(), pytest.raises(RunError):
        folds.remove()
    assert (cross.path / "fold-0" / "summary.json").exists()
    folds.remove()
    assert list(runs.iterdir()) == []


def test_every_image_is_judged_once_and_the_test_split_stays_sealed(runs: Path) -> None:
    with sealed():
        cross = cross_validation(whole_config(), 3, stem="small")
        figures = trained(cross)
    path = cross.path
    assert path.parent == runs
    assert path.name.startswith("small-3-folds-")
    said = Predictions.load(path / "predictions.safetensors")
    everything = load_dataset("digits")
    images = {i.tobytes() for s in (everything.train, everything.validation) for i in s.images}
    folds = [load_dataset(c.data) for c in cross_validation(whole_config(), 3, stem="x").folds]
    judged = [i.tobytes() for fold in folds for i in fold.validation.images]
    assert len(judged) == len(said) == figures.images == 1437
    assert set(judged) == images
    for fold in folds:
        assert not {i.tobytes() for i in fold.train.images} & {
            i.tobytes() for i in fold.validation.images
        }
    assert list(said.labels) == [label for fold in folds for label in fold.validation.labels]
    assert not list(path.rglob("test_openings.jsonl"))
    check_aggregate(path, figures, said)


def check_aggregate(path: Path, figures: FoldsSummary, said: Predictions) -> None:
    """The figures and the page are those of all images."""
    metrics = compute_metrics(said)
    assert figures.accuracy == metrics.accuracy
    assert figures.balanced_accuracy == metrics.balanced_accuracy
    assert figures.intervals["accuracy"] == wilson(int(said.is_right.sum()), len(said))
    accuracies = [
        json.loads((path / f"fold-{k}" / "summary.json").read_text())["val_accuracy"]
        for k in range(3)
    ]
    assert list(figures.fold_accuracies) == accuracies
    assert figures.fold_mean == pytest.approx(np.mean(accuracies))
    assert figures.fold_sd == pytest.approx(np.std(accuracies, ddof=1))
    assert 0.5 < metrics.accuracy < 1
    page = (path / "report" / "index.html").read_text()
    assert "3 folds of the 1,437 training images of digits" in page
    assert f"{100 * metrics.accuracy:.2f} %" in page
    assert "Every image was read right" not in page
    again = RunConfig.parse(tomllib.loads((path / "folds.toml").read_text()))
    assert again == whole_config()


def test_stopped_between_and_inside_folds_it_goes_on_to_the_same_bits() -> None:
    through = cross_validation(config(), 2, stem="through")
    trained(through)
    halted = cross_validation(config(), 2, stem="halted")
    first = halted.start_or_resume(0)
    list(first.epochs())
    finish_fold(first)
    stream = halted.start_or_resume(1).epochs()
    next(stream)
    stream.close()
    with pytest.raises(RunError, match="fold-1 not finished yet"):
        halted.aggregate()
    assert halted.summary() is None
    assert halted.start_or_resume(1).epochs_done == 1
    trained(halted)
    summary = halted.summary()
    assert summary is not None
    assert summary.images == 1437
    said = [(cross.path / "predictions.safetensors").read_bytes() for cross in (through, halted)]
    assert said[0] == said[1]
    assert halted.start_or_resume(1, overwrite=True).epochs_done == 0
    assert halted.summary() is None, "no figures stay of what is trained again"


def test_without_any_test_images() -> None:
    whole = load_dataset("digits").train
    rows = np.concatenate([np.flatnonzero(whole.labels == k)[:9] for k in range(10)])
    few = Dataset(whole.images[rows], whole.labels[rows], whole.classes)
    store.save(imported_folder("untested"), "untested", few, few.subset(np.arange(0)))
    chosen = config(batch_size=16).replace(
        {"data.dataset": "untested", "data.max_train_images": None}
    )
    cross = cross_validation(chosen, 3, stem="few")
    assert trained(cross).images == 90
    fold = cross.path / "fold-0"
    with pytest.raises(RunError, match="untested has no test images to evaluate"):
        evaluate(fold)
    single = chosen.replace({"data.folds": 3, "data.fold": 0})
    with pytest.raises(DataError, match=r"untested has no test images .* --folds 5"):
        start_or_resume(single, stem="x")


@pytest.mark.parametrize(
    ("changes", "folds", "said"),
    [
        (
            {"checkpoint_metric": "val_loss"},
            3,
            "train.checkpoint_metric: by val_loss, the images of a fold would",
        ),
        ({}, 1, "data.folds: input should be greater than or equal to 2, got 1"),
        ({}, -3, "data.folds: input should be greater than or equal to 2, got -3"),
        ({}, 1000, "data.folds: digits has .* too few to make 1000 folds"),
    ],
)
def test_what_is_no_cross_validation(
    runs: Path, changes: dict[str, object], folds: int, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        cross_validation(config(**changes), folds, stem="x")
    assert not runs.exists()


def test_folds_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.folds: --folds sets it"):
        cross_validation(config().replace({"data.folds": 3, "data.fold": 0}), 3, stem="x")
