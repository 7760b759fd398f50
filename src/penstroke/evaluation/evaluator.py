"""Judging a run: the one place where the test split is opened, each time on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from penstroke.data.dataset import Dataset, DataSplits
from penstroke.data.loading import load_dataset
from penstroke.errors import RunError
from penstroke.evaluation.calibration import (
    Calibration,
    calibration,
    fit_temperature,
    ood_threshold,
)
from penstroke.evaluation.confusable import LookAlikes, look_alikes
from penstroke.evaluation.intervals import Intervals, intervals
from penstroke.evaluation.learning_curves import Verdict, judge_fit
from penstroke.evaluation.metrics import ClassMetrics, Metrics, compute_metrics
from penstroke.evaluation.predictions import Predictions, predict, predict_with
from penstroke.reports.run_report import write_report
from penstroke.runs.run import Run, find_run

__all__ = [
    "ClassMetrics",
    "Evaluation",
    "Metrics",
    "Predictions",
    "compute_metrics",
    "evaluate",
    "open_test",
    "predict",
    "predict_with",
]


SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found of one run: by split, and the images of the test split for a page on it."""

    run: Run
    data: DataSplits
    predictions: dict[str, Predictions]
    metrics: dict[str, Metrics]
    test_images: Dataset

    @cached_property
    def temperature(self) -> float:
        """What the logits are divided by, so that probabilities mean what they say.

        Fitted on validation images; 1 where none were held out.
        """
        validation = self.predictions.get("validation")
        return 1.0 if validation is None else fit_temperature(validation)

    @cached_property
    def calibrations(self) -> tuple[Calibration, Calibration]:
        """Calibration of the test split as the network is, and at the temperature."""
        found = self.predictions["test"]
        return calibration(found), calibration(found.at(self.temperature))

    @cached_property
    def intervals(self) -> Intervals:
        """95 % intervals of the test figures."""
        return intervals(self.predictions["test"])

    @cached_property
    def look_alikes(self) -> LookAlikes | None:
        """What the test split loses to characters that look alike; None where none do."""
        found = self.predictions["test"]
        return look_alikes(self.metrics["test"].confusion, found.classes)

    @cached_property
    def verdict(self) -> Verdict | None:
        """How the learning curves are to be read; None of an ensemble, which has none."""
        history = self.run.history()
        return judge_fit(history) if history else None

    def figures(self) -> dict[str, float | None]:
        """Return the figures of a run's summary: `train_…`, `val_…` and `test_…`."""
        found: dict[str, float | None] = {}
        for split, metrics in self.metrics.items():
            prefix = "val" if split == "validation" else split
            found |= metrics.figures(f"{prefix}_")
        found["test_ece"] = self.calibrations[1].ece
        found["temperature"] = self.temperature
        if self.look_alikes is not None:
            found["test_accuracy_look_alikes_as_one"] = self.look_alikes.accuracy
        validation = self.predictions.get("validation")
        found["ood_threshold"] = None if validation is None else ood_threshold(validation)
        return found

    def write_report(self) -> Path:
        """Write the run's page and return its path."""
        return write_report(self)


def evaluate(
    run: Run | str | Path, data: DataSplits | None = None, splits: Sequence[str] = SPLITS
) -> Evaluation:
    """Judge the chosen epoch of `run` on `splits` (all three), and keep the predictions.

    Opens the test split, which is written into the run first.

    Raises:
        RunError: there is no such run, it has no model yet, or its data set is no longer the same
            or has no test images.

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("fast", {"train.epochs": 4, "train.min_steps": 0})
        >>> run = penstroke.train(recipe.run_config(), name="example")
        >>> judged = penstroke.evaluate(run)
        >>> judged.metrics["test"].accuracy > 0.8
        True
        >>> low, high = judged.intervals.accuracy
        >>> low < judged.metrics["test"].accuracy < high
        True
    """
    run = run if isinstance(run, Run) else find_run(run)
    data = data or load_dataset(run.record.config.data)
    if data.fingerprint != run.record.data.fingerprint:
        raise RunError(
            f"{run.path} was trained on another version of {data.name}: fingerprint "
            f"{run.record.data.fingerprint[:12]}…, but here it is {data.fingerprint[:12]}…"
        )
    if not len(data.test):
        raise RunError(f"{data.name} has no test images to judge {run.path} on")
    run.log_test_opening("evaluate")
    test = data.test.unseal()
    images = {"train": data.train, "validation": data.validation, "test": test}
    predictions = {name: predict(run, images[name]) for name in splits if len(images[name])}
    for name, of_split in predictions.items():
        of_split.save(run.path / "predictions" / f"{name}.safetensors")
    metrics = {name: compute_metrics(of_split) for name, of_split in predictions.items()}
    return Evaluation(run, data, predictions, metrics, test)


def open_test(data: DataSplits) -> Dataset:
    """Return the test images, for an audit of the data: no settings are chosen by it."""
    return data.test.unseal()
