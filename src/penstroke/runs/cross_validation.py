"""K-fold cross-validation: each training image is judged by a network that was not trained on it.

For few images, where a test split would be too small. The test split, if there is one, stays
sealed. Each fold is a run inside one directory:

folds.toml           the settings that all folds share
fold-0 …             a run directory each: trained on the other folds, evaluated on this one
predictions.safetensors   the logits of every image, fold after fold; predictions.csv of lines
writers.csv          accuracy by writer, where writers are known
summary.json         the aggregate figures; its presence marks all folds as finished
report/              the page
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from penstroke.config.settings import RunConfig
from penstroke.data.dataset import Dataset
from penstroke.data.lines import LineSplits
from penstroke.data.loading import load_dataset
from penstroke.data.run_data import load_data
from penstroke.errors import ConfigError, RunError
from penstroke.evaluation.intervals import intervals, seed_variation
from penstroke.evaluation.line_evaluator import line_outputs
from penstroke.evaluation.line_metrics import LinePredictions, evaluate_lines
from penstroke.evaluation.metrics import compute_metrics
from penstroke.evaluation.predictions import Predictions, predict
from penstroke.evaluation.run_groups import Claim, claims_against_first
from penstroke.evaluation.writer_metrics import compute_writer_metrics
from penstroke.files import write_atomically
from penstroke.reports.line_report import write_line_folds_report
from penstroke.reports.run_report import write_folds_report
from penstroke.runs.finetuning import PretrainedRun
from penstroke.runs.pipeline import Training, start_or_resume
from penstroke.runs.record import folder_path
from penstroke.runs.run import FoldRuns, FoldsSummary, Run, RunSummary, run_name

_PREDICTIONS = "predictions.safetensors"
_LINE_PREDICTIONS = "predictions.csv"
_VALIDATION = "predictions/validation.safetensors"
_LINES_VALIDATION = "predictions/validation.csv"


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """One cross-validation: its directory, and the settings of each fold."""

    path: Path
    folds: tuple[RunConfig, ...]
    pretrained: PretrainedRun | None

    def summary(self) -> FoldsSummary | None:
        """Return the aggregate figures; None while a fold is unfinished."""
        if summary := FoldsSummary.read(self.path):
            self.start_or_resume(0)  # refuses a directory of other settings
        return summary

    def start_or_resume(self, fold: int, *, overwrite: bool = False) -> Training:
        """Return the run of one fold; with `overwrite`, the aggregate figures are removed."""
        FoldRuns.check_free(self.path)
        if overwrite:
            (self.path / "summary.json").unlink(missing_ok=True)
        training = start_or_resume(
            self.folds[fold], stem="", path=self.path / f"fold-{fold}", overwrite=overwrite,
            pretrained=self.pretrained, needs_test=False,
        )  # fmt: skip
        record = self.folds[0].replace({"data.folds": None, "data.fold": None})
        FoldRuns.create(self.path, record, replace=True)
        return training

    def aggregate(self, *, report: bool = True) -> FoldsSummary:
        """Compute the figures over the images of all folds, write and return them."""
        runs = [Run.open(self.path / f"fold-{k}") for k in range(len(self.folds))]
        if unfinished := [run.name for run in runs if run.status == "unfinished"]:
            raise RunError(f"{self.path}: {', '.join(unfinished)} not finished yet")
        if self.folds[0].reads_lines:
            return self._aggregate_lines(runs, report=report)
        parts = [Predictions.load(run.path / _VALIDATION) for run in runs]
        predictions = Predictions.concatenate(parts)
        predictions.save(self.path / _PREDICTIONS)
        if by_writer := compute_writer_metrics(predictions):
            write_atomically(self.path / "writers.csv", by_writer.to_csv())
        accuracies = tuple(float(part.is_right.mean()) for part in parts)
        by_fold = seed_variation(accuracies)
        pairs = asdict(intervals(predictions)).items()
        summary = FoldsSummary.parse({
            "dataset": self.folds[0].data.dataset,
            "source": self.pretrained.run.name if self.pretrained else None,
            "folds": len(parts), "images": len(predictions),
            **compute_metrics(predictions).figures(),
            "intervals": {name: pair for name, pair in pairs if math.isfinite(sum(pair))},
            **({} if by_writer is None else {
                "writers": len(by_writer.writers),
                "new_writer_interval": by_writer.new_writer_interval,
                "worst_tenth": by_writer.worst_tenth,
                "split_by": "image" if runs[0].record.data.split_writers is None else "writer",
            }),
            "fold_accuracies": accuracies, "fold_mean": by_fold.mean, "fold_sd": by_fold.sd,
            "test_images": runs[0].record.data.test_images,
            "elapsed_seconds": sum(run.elapsed_seconds() for run in runs),
        })  # fmt: skip
        if report:
            images = np.concatenate([load_dataset(f.data).validation.images for f in self.folds])
            dataset = Dataset(images, predictions.labels, predictions.classes)
            write_folds_report(self.path, summary, predictions, dataset)
        summary.write(self.path)
        return summary

    def _aggregate_lines(self, runs: Sequence[Run], *, report: bool) -> FoldsSummary:
        parts = [LinePredictions.load(run.path / _LINES_VALIDATION) for run in runs]
        predictions = LinePredictions.concatenate(parts)
        predictions.save(self.path / _LINE_PREDICTIONS)
        metrics = predictions.metrics
        exact, by_writer = (metrics.exact.low, metrics.exact.high), metrics.writers > 1
        accuracies = tuple(float(part.is_right.mean()) for part in parts)
        by_fold = seed_variation(accuracies)
        summary = FoldsSummary.parse({
            "dataset": self.folds[0].data.dataset,
            "source": self.pretrained.run.name if self.pretrained else None,
            "folds": len(parts), "images": len(predictions),
            "accuracy": metrics.exact.value, "digits": metrics.digits.value,
            "character_error_rate": metrics.cer.value,
            "intervals": {
                "accuracy": exact, "character_error_rate": (metrics.cer.low, metrics.cer.high),
            },
            "writers": metrics.writers or None,
            "new_writer_interval": exact if by_writer else None,
            "split_by": "line" if runs[0].record.data.split_writers is None else "writer",
            "fold_accuracies": accuracies, "fold_mean": by_fold.mean, "fold_sd": by_fold.sd,
            "test_images": runs[0].record.data.test_images,
            "elapsed_seconds": sum(run.elapsed_seconds() for run in runs),
        })  # fmt: skip
        if report:
            write_line_folds_report(self.path, summary, predictions)
        summary.write(self.path)
        return summary


def cross_validation(
    config: RunConfig,
    folds: int,
    *,
    stem: str,
    name: str | None = None,
    pretrained: PretrainedRun | None = None,
) -> CrossValidation:
    """Return the cross-validation of `config`: the same settings on the same data are the same."""
    if config.data.folds is not None:
        raise ConfigError("data.folds: --folds sets it: leave out one of them")
    if config.train.checkpoint_metric != "last":
        raise ConfigError(
            f"train.checkpoint_metric: by {config.train.checkpoint_metric}, the images of a fold "
            "would choose the epoch that they judge: set train.checkpoint_metric=last (and how "
            "many epochs)"
        )
    # At least one, so that an impossible number of folds is refused here.
    configs = tuple(
        config.replace({"data.folds": folds, "data.fold": fold}) for fold in range(max(folds, 1))
    )
    data = load_data(configs[0])
    config.train.epochs_for(config.epoch_size(len(data.train)))
    weights = (pretrained.sha256,) if pretrained else ()
    derived = run_name(f"{stem}-{folds}-folds", configs[0], data.fingerprint, *weights)
    return CrossValidation(folder_path(derived if name is None else name), configs, pretrained)


def finish_fold(training: Training) -> None:
    """Evaluate the last epoch on the images held out; do nothing if the fold is finished."""
    run = training.run
    if run.status == "finished":
        return
    with run.locked():
        facts = {"epochs": len(run.history()), "elapsed_seconds": run.elapsed_seconds()}
        if isinstance(training.data, LineSplits):
            lines = training.data.validation
            evaluation = evaluate_lines(line_outputs(training.best_network(), lines), lines)
            evaluation.predictions.save(run.path / _LINES_VALIDATION)
            RunSummary.parse(evaluation.figures("val_") | facts).write(run.path)
            return
        predictions = predict(training.best_network(), training.characters.validation)
        predictions.save(run.path / _VALIDATION)
        figures = compute_metrics(predictions).figures("val_")
        RunSummary.parse(figures | facts).write(run.path)


def compare_folds(several: Sequence[FoldRuns]) -> tuple[Claim, ...]:
    """Compare each cross-validation with the first, image by image."""
    groups, judged, writers = [], set(), None
    for one in several:
        if one.summary() is None:
            raise RunError(f"{one.path} is not finished: the same `penstroke train` continues it")
        record = Run.open(one.path / "fold-0").record
        predictions: Predictions | LinePredictions
        if record.config.reads_lines:
            predictions = LinePredictions.load(one.path / _LINE_PREDICTIONS)
            judged_as = "\n".join(predictions.texts).encode()
        else:
            predictions = Predictions.load(one.path / _PREDICTIONS)
            judged_as = predictions.labels.tobytes()
        writers = predictions.writers if writers is None else writers
        split = record.config.data.model_dump_json(exclude={"dataset"})
        judged.add((record.data.fingerprint, split, judged_as))
        groups.append((one.path.name, {record.config.train.seed: predictions.is_right}))
    if len(judged) > 1:
        names = ", ".join(one.path.name for one in several)
        raise RunError(
            f"{names} did not judge the same images in the same folds, so their accuracies cannot "
            "be compared"
        )
    return claims_against_first(groups, writers)
