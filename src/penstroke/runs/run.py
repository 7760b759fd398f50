"""The run directory: plain files that a person can read, complete at every moment.

run.toml             settings, data fingerprint, versions, machine
history.jsonl        one line for each epoch
checkpoints/         the last two epochs and the best
model.safetensors    the weights of the best epoch
model.onnx           the one file to deploy
summary.json         the figures; its presence marks the run as finished
test_openings.jsonl  each time the test split was opened
predictions/         the logits of each image, one file for each split; accuracy by writer; what was
                     read of each line
report/              pages and plots
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from penstroke.config.settings import ListOf, RunConfig, Settings
from penstroke.errors import CheckpointError, ConfigError, RunError, near_match
from penstroke.files import (
    append_lines,
    csv_of,
    explained,
    reason,
    runs_root,
    sha256,
    write_atomically,
)
from penstroke.inference.bundled import bundled_names, bundled_run
from penstroke.runs.record import Folder, Record, Summary, now
from penstroke.training.checkpoint import MODEL_PREFIX, Array, Checkpoint

STUDY_FILE = "study.toml"
"""The record of a hyperparameter search, whose trials are runs two levels below it."""

Metrics = dict[str, Any]
Status = Literal["finished", "unfinished"]


class EpochLine(Summary):
    """A line of history.jsonl."""

    epoch: int
    best_epoch: int = Field(ge=1)
    train_loss: float | None = None
    train_accuracy: float | None = None
    learning_rate: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_character_error_rate: float | None = None
    threads: int | None = None
    elapsed_seconds: float | None = None


class PretrainedFacts(Settings):
    """The trained network that a run was fine-tuned from."""

    run: str = Field(description="its name")
    sha256: str = Field(description="of its model.safetensors")
    known_classes: ListOf[str] = Field(description="classes that start from trained outputs")
    new_classes: ListOf[str] = Field(description="classes that start from random outputs")


class RunRecord(Record):
    """The run.toml."""

    members: ListOf[str] = Field((), description="of an ensemble: the runs it averages")
    pretrained: PretrainedFacts | None = Field(None, description="of a fine-tuned run: its start")


class RunSummary(Summary):
    """The final figures of a run: accuracies and F1 as shares, losses in nats, None if unknown.

    The accuracy of a line reader is the share of the lines that are read exactly, and its `digits`
    the same without signs; they have 95 % intervals.
    """

    epochs: int = 0
    best_epoch: int | None = None
    diagnosis: str | None = None
    train_accuracy: float | None = None
    train_loss: float | None = None
    train_auroc: float | None = None
    train_f1: float | None = None
    train_balanced_accuracy: float | None = None
    val_accuracy: float | None = None
    val_loss: float | None = None
    val_auroc: float | None = None
    val_f1: float | None = None
    val_balanced_accuracy: float | None = None
    val_accuracy_low: float | None = None
    val_accuracy_high: float | None = None
    val_digits: float | None = None
    val_character_error_rate: float | None = None
    val_character_error_rate_low: float | None = None
    val_character_error_rate_high: float | None = None
    val_coverage_at_99: float | None = None
    val_ece: float | None = None
    test_accuracy: float | None = None
    test_loss: float | None = None
    test_auroc: float | None = None
    test_f1: float | None = None
    test_balanced_accuracy: float | None = None
    test_accuracy_low: float | None = None
    test_accuracy_high: float | None = None
    test_digits: float | None = None
    test_character_error_rate: float | None = None
    test_character_error_rate_low: float | None = None
    test_character_error_rate_high: float | None = None
    test_coverage_at_99: float | None = None
    test_ece: float | None = None
    test_writers: int | None = None
    test_new_writer_low: float | None = None
    test_new_writer_high: float | None = None
    test_worst_tenth_accuracy: float | None = None
    test_accuracy_confusable_merged: float | None = None
    temperature: float = 1.0
    temperature_note: str | None = None
    val_ece_by_source: dict[str, float] | None = None
    ood_threshold: float | None = None
    source: str | None = None
    source_dataset: str | None = None
    source_images: int | None = None
    source_accuracy_before: float | None = None
    source_accuracy_after: float | None = None
    source_reason: str | None = None
    elapsed_seconds: float = 0.0


class Run(Folder[RunRecord]):
    """One run directory at `path`; its `record` is the run.toml: settings, data, versions, machine.

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("fast", {"train.epochs": 4})
        >>> run = penstroke.train(recipe.run_config(), name="example")
        >>> penstroke.Run.open(run.path).best_epoch()
        4
    """

    record_file = "run.toml"
    record_type = RunRecord
    error_type = RunError
    kind = "run directory"
    other_files = ("history.jsonl",)

    @property
    def model_path(self) -> Path:
        """The one file to deploy."""
        return self.path / "model.onnx"

    def read_model(self, file: str = "model.onnx") -> bytes:
        """Return the content of model.onnx or model.safetensors; RunError if it is not there."""
        path = self.path / file
        if not path.exists():
            raise RunError(
                f"{self.path} has no model yet: the same `penstroke train` command finishes it"
            )
        with explained(f"read {path}", RunError):
            return path.read_bytes()

    @property
    def status(self) -> Status:
        """Whether training and evaluation are finished."""
        return "finished" if (self.path / "summary.json").exists() else "unfinished"

    @property
    def history_path(self) -> Path:
        """One line of JSON for each epoch."""
        return self.path / "history.jsonl"

    def checkpoint_path(self, epoch: int) -> Path:
        """Return where the checkpoint of `epoch` is kept."""
        return self.path / "checkpoints" / f"epoch-{epoch:04d}.safetensors"

    def history(self) -> list[Metrics]:
        """Return the metrics of each epoch, but for one that a crash cut; RunError if damaged."""
        path, history = self.history_path, []
        with explained(f"read {path}", RunError):
            content = path.read_bytes() if path.exists() else b""
        lines = content.split(b"\n")[:-1]  # the rest: unfinished
        for number, line in enumerate(lines, 1):
            try:
                history.append(_metrics(line, number))
            except (ValueError, RecursionError, ConfigError) as error:
                is_cut = number == len(lines) and isinstance(error, ValueError)
                if not is_cut or self.status == "finished":
                    raise RunError(f"{path} is damaged in line {number}: {error}") from error
        return history

    def summary(self) -> RunSummary:
        """Return the final figures; RunError if the run is not finished."""
        if summary := RunSummary.read(self.path):
            return summary
        study = self.path.absolute().parent.parent
        if (study / STUDY_FILE).exists():
            raise RunError(
                f"{self.path} is a trial of the study {study.name}: it was not evaluated, since a "
                f"search keeps the test split sealed. `penstroke runs table {study.name}` shows "
                f"trials by validation; `penstroke train {self.path}` trains and evaluates a run "
                "with its settings, to compare"
            )
        if self.path.absolute().with_name(FoldRuns.record_file).exists():
            raise RunError(
                f"{self.path} is a fold of a cross-validation, which opens no test split: name "
                f"{self.path.parent} itself, or train a run without --folds"
            )
        raise RunError(
            f"{self.path} is not finished: the same `penstroke train` command finishes it"
        )

    def figures(self) -> dict[str, float]:
        """Return the figures of the epoch that is kept; of a run not evaluated, its validation's.

        RunError if it has no finished epoch.
        """
        if self.status == "finished":
            values = self.summary().to_dict()
        else:
            kept = self.history()[self.best_epoch() - 1]
            values = {name: value for name, value in kept.items() if name.startswith("val_")}
            values |= {"elapsed_seconds": self.elapsed_seconds(), "epochs": len(self.history())}
        return {name: value for name, value in values.items() if isinstance(value, int | float)}

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of a finished run and the paths of its files, for JSON."""
        paths = {"model": self.model_path, "report": self.path / "report" / "index.html"}
        return {
            "run": str(self.path),
            **self.summary().to_dict(),
            **{name: str(path) for name, path in paths.items() if path.exists()},
        }

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole training, unless patience runs out before."""
        config = self.record.config
        return config.train.epochs_for(config.epoch_size(self.record.data.train_images))

    def elapsed_seconds(self) -> float:
        """Return the seconds of training in total; of an ensemble, those of its members."""
        if not self.record.members:
            history = self.history()
            return float(history[-1].get("elapsed_seconds", 0.0)) if history else 0.0
        if self.status == "finished":  # members may have been removed since
            return self.summary().elapsed_seconds
        return sum(Run.open(self.path.parent / m).elapsed_seconds() for m in self.record.members)

    def best_epoch(self) -> int:
        """Return the epoch that is kept: the one its validation figures chose."""
        if history := self.history():
            return int(history[-1]["best_epoch"])
        raise RunError(
            f"{self.path} has no finished epoch yet: the same `penstroke train` command resumes it"
        )

    def checkpoint(self, epoch: int) -> Checkpoint:
        """Return the checkpoint of `epoch`; CheckpointError if missing, cut short or changed."""
        path = self.checkpoint_path(epoch)
        try:
            return Checkpoint.from_bytes(path.read_bytes(), str(path))
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error

    def write_weights(self, weights: Mapping[str, Array], **facts: Any) -> None:
        """Write model.safetensors: `weights`, with classes, settings and `facts`."""
        record = self.record
        facts |= {"classes": record.data.classes, "model": record.config.model.to_dict()}
        facts["trained_as"] = self._trained_as
        prefixed = {MODEL_PREFIX + name: array for name, array in weights.items()}
        write_atomically(self.path / "model.safetensors", Checkpoint(prefixed, facts).to_bytes())

    def model(self) -> Checkpoint:
        """Return the weights and facts in model.safetensors; raises as `read_model` does.

        CheckpointError if they are those of a run with other settings or images.
        """
        file = "model.safetensors"
        model = Checkpoint.from_bytes(self.read_model(file), str(self.path / file))
        if model.facts.get("trained_as", self._trained_as) != self._trained_as:
            raise CheckpointError(
                f"{self.path / file} holds the weights of another run, with other settings or "
                "images: restore the file, or train again with --overwrite"
            )
        return model

    @property
    def _trained_as(self) -> str:
        """What the weights of this run result from: settings, images, first weights, members."""
        record = self.record
        first = record.pretrained.sha256 if record.pretrained else ""
        parts = (record.config.fingerprint(), record.data.fingerprint, first, *record.members)
        return sha256(" ".join(parts).encode())

    def log_test_opening(self, purpose: str) -> None:
        """Write down that the test split is about to be opened."""
        line = json.dumps({"time": now(), "purpose": purpose})
        append_lines(self.path / "test_openings.jsonl", line + "\n")


def _metrics(line: bytes, number: int) -> Metrics:
    """Return the values of one line of a history; ValueError or ConfigError if damaged."""
    values: Metrics = json.loads(line)
    epoch = EpochLine.parse(values)
    if epoch.epoch != number or epoch.best_epoch > number:
        raise ConfigError(f"it is of epoch {epoch.epoch}, the best {epoch.best_epoch}")
    return values


def run_name(stem: str, config: RunConfig, *checksums: str) -> str:
    """Return the name of the run with these settings; `checksums` are of data and first weights."""
    return f"{stem}-{sha256(' '.join((config.fingerprint(), *checksums)).encode())[:8]}"


_LISTED = 10
"""Runs that a message names, the newest."""


def find_run(name: str | Path) -> Run:
    """Open the bundled model `name`, the run at this path or in the folder of runs.

    Raises RunError if there is none.
    """
    if folder := bundled_run(name):
        return Run.open(folder)
    if run := Run.find(name):
        return run
    for folder in (Path(name), runs_root() / name):
        if (folder / STUDY_FILE).exists():
            raise RunError(
                f"{folder} is a study, not a run: its best run is {folder.name}-best, and "
                f"`penstroke runs table {folder.name}` compares its trials"
            )
        if (folder / FoldRuns.record_file).exists():
            raise RunError(
                f"{folder} is a cross-validation, which has no network: the same `penstroke train` "
                "without --folds trains one"
            )
    bundled, runs = bundled_names(), [run.name for run in Run.all()]
    newest = ", ".join(runs[: -_LISTED - 1 : -1]) or "none"
    more = f" and {len(runs) - _LISTED} more (`penstroke runs list`)" if len(runs) > _LISTED else ""
    near = near_match(str(name), [*bundled, *runs])
    raise RunError(
        f'there is no run "{name}" here or in {runs_root()}{near}; bundled models: '
        f"{', '.join(bundled)}; runs: {newest}{more}"
    )


def find_model(name: str) -> Path:
    """Return the file or run directory of a model: bundled, a path, or the name of a run.

    A missing .onnx is reported when it is opened; RunError where nothing has that name.
    """
    path = bundled_run(name) or Path(name)
    return path if path.exists() or path.suffix == ".onnx" else find_run(name).path


def writable_run(name: str) -> Run:
    """Return `find_run(name)`; of a bundled model a copy among the runs, to write to."""
    folder = bundled_run(name)
    if folder is None:
        return find_run(name)
    copy, bundled = runs_root() / name, Run.open(folder)
    if not (copy / "model.onnx").exists() or Run.open(copy).read_model() != bundled.read_model():
        copy.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.*"):  # its evaluations stay with the bundled model
            write_atomically(copy / file.name, file.read_bytes())
    return Run.open(copy)


class FoldsSummary(Summary):
    """The figures of a cross-validation over all images, each judged by its fold's network.

    Of lines, accuracy is the share read exactly, and `digits` the same without signs.
    """

    dataset: str
    source: str | None = None
    folds: int
    images: int
    accuracy: float
    loss: float | None = None
    auroc: float | None = None
    f1: float | None = None
    balanced_accuracy: float | None = None
    digits: float | None = None
    character_error_rate: float | None = None
    intervals: dict[str, tuple[float, float]]
    fold_accuracies: tuple[float, ...]
    fold_mean: float
    fold_sd: float
    writers: int | None = None
    new_writer_interval: tuple[float, float] | None = None
    worst_tenth: float | None = None
    split_by: str | None = None
    test_images: int
    elapsed_seconds: float


class FoldRuns(Folder[RunConfig]):
    """A cross-validation: a directory with one run for each fold."""

    record_file = "folds.toml"
    record_type = RunConfig
    error_type = RunError
    kind = "cross-validation"

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the directory at `path`, unless it is something else, damaged, or newer."""
        opened = super().open(path)
        if not {"data", "model", "train"} <= opened.record.model_fields_set:
            raise RunError(f"{path} is not a valid {cls.kind}: {cls.record_file} is not complete")
        return opened

    def summary(self) -> FoldsSummary | None:
        """Return the aggregate figures; None while a fold is unfinished."""
        return FoldsSummary.read(self.path)


def history_csv(run: Run) -> bytes:
    """Return the history of `run` as CSV, one line for each epoch."""
    history = run.history()
    return csv_of(list(history[0]) if history else ["epoch"], history)
