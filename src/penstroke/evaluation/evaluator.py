"""Evaluation of a network: the one place where the test split is opened, each time on record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from penstroke.data.dataset import Dataset, DataSplits
from penstroke.data.lines import LineDataset, LineSplits
from penstroke.evaluation.calibration import (
    Calibration,
    calibration,
    calibration_error_by_source,
    fit_temperature,
    ood_threshold,
    operating_points,
    temperature_note,
)
from penstroke.evaluation.intervals import Intervals, intervals
from penstroke.evaluation.learning_curves import Diagnosis, diagnose
from penstroke.evaluation.metrics import (
    ConfusableClasses,
    Metrics,
    compute_metrics,
    confusable_classes,
)
from penstroke.evaluation.predictions import Predictions, predict
from penstroke.evaluation.writer_metrics import WriterMetrics, compute_writer_metrics
from penstroke.inference.recognizer import OperatingPoint

if TYPE_CHECKING:
    from torch import nn

    from penstroke.config.settings import TrainConfig

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures of one network, and what they were computed from.

    Attributes:
        network: in evaluation mode.
        data: the data set it was trained on.
        test_images: the test split, opened.
        predictions: of each split that was evaluated.
        history: metrics of each epoch; empty for an ensemble.
        train: the settings of the training, for the diagnosis.
    """

    network: nn.Module
    data: DataSplits
    test_images: Dataset
    predictions: dict[str, Predictions]
    history: Sequence[dict[str, Any]] = ()
    train: TrainConfig | None = None

    @cached_property
    def metrics(self) -> dict[str, Metrics]:
        """Metrics of each split that was evaluated."""
        return {name: compute_metrics(split) for name, split in self.predictions.items()}

    @cached_property
    def temperature(self) -> float:
        """The divisor of the logits that calibrates them, from validation images; 1 without."""
        validation = self.predictions.get("validation")
        if validation is None:
            return 1.0
        return fit_temperature(validation, self.data.validation_sources)

    @property
    def temperature_note(self) -> str | None:
        """Why the data hardly support the temperature; None where they do."""
        return temperature_note(self.predictions.get("validation"))

    @cached_property
    def ood_threshold(self) -> float | None:
        """The least max-logit score of an image that is accepted; None without validation."""
        validation = self.predictions.get("validation")
        if validation is None:
            return None
        return ood_threshold(validation, self.data.validation_sources)

    @cached_property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        """Confidence thresholds at which precisions are shown; none without validation."""
        validation = self.predictions.get("validation")
        if validation is None:
            return ()
        sources = self.data.validation_sources
        return operating_points(validation, self.temperature, self.ood_threshold, sources)

    @cached_property
    def calibration_error_by_source(self) -> dict[str, float]:
        """Calibration error on the validation images of each source, if they are of several."""
        validation, sources = self.predictions.get("validation"), self.data.validation_sources
        if validation is None or sources is None or len(np.unique(sources)) < 2:
            return {}
        return calibration_error_by_source(validation.at(self.temperature), sources)

    @cached_property
    def calibrations(self) -> tuple[Calibration, Calibration]:
        """Calibration of the test split without and with the temperature."""
        test = self.predictions["test"]
        return calibration(test), calibration(test.at(self.temperature))

    @cached_property
    def intervals(self) -> Intervals:
        """95 % intervals of the test figures."""
        return intervals(self.predictions["test"])

    @cached_property
    def writers(self) -> WriterMetrics | None:
        """Figures of the test split by writer; None where fewer than two writers are known."""
        judged = (self.data.train.writers, self.data.validation.writers)
        seen = [name for names in judged if names is not None for name in np.unique(names).tolist()]
        return compute_writer_metrics(self.predictions["test"], seen)

    @cached_property
    def confusable(self) -> ConfusableClasses | None:
        """Mistakes between confusable classes of the test split; None where there are none."""
        return confusable_classes(self.metrics["test"].confusion, self.test_images.classes)

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """The learning-curve diagnosis; None without a history."""
        if not self.history:
            return None
        return diagnose(list(self.history), self.train, len(self.data.validation))

    def figures(self) -> dict[str, float | None]:
        """Return the figures of a run's summary: `train_…`, `val_…` and `test_…`."""
        figures: dict[str, float | None] = {}
        for split, metrics in self.metrics.items():
            figures |= metrics.figures(f"{'val' if split == 'validation' else split}_")
        figures["test_ece"] = self.calibrations[1].ece
        figures["temperature"] = self.temperature
        if self.confusable is not None:
            figures["test_accuracy_confusable_merged"] = self.confusable.accuracy
        if self.writers is not None:
            figures["test_writers"] = len(self.writers.writers)
            low, high = self.writers.new_writer_interval
            figures |= {"test_new_writer_low": low, "test_new_writer_high": high}
            figures["test_worst_tenth_accuracy"] = self.writers.worst_tenth
        figures["ood_threshold"] = self.ood_threshold
        return figures


def evaluate_network(
    network: nn.Module,
    data: DataSplits,
    splits: Sequence[str] = SPLITS,
    *,
    history: Sequence[dict[str, Any]] = (),
    train: TrainConfig | None = None,
    log_opening: Callable[[], None],
) -> Evaluation:
    """Evaluate `network` on `splits`; `log_opening` puts the opening of the test split on record.

    Raises:
        SealedTestError: called inside `sealed()`, by a search for instance.
    """
    log_opening()
    test = data.test.unseal()
    images = {"train": data.train, "validation": data.validation, "test": test}
    predictions = {name: predict(network, images[name]) for name in splits if len(images[name])}
    return Evaluation(network, data, test, predictions, history, train)


@overload
def open_test(data: DataSplits) -> Dataset: ...
@overload
def open_test(data: LineSplits) -> LineDataset: ...


def open_test(data: DataSplits | LineSplits) -> Dataset | LineDataset:
    """Return the test split, for figures, or an audit of the data, which choose no settings."""
    return data.test.unseal()
