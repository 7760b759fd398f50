"""The run directory: plain files that a person can read, complete at every moment.

run.toml             settings, data fingerprint, versions, machine
history.jsonl        one line for each epoch
checkpoints/         the last two epochs and the best
model.safetensors    the weights of the best epoch
model.onnx           the one file to deploy
summary.json         the figures; its presence marks the run as finished
test_openings.jsonl  each time the test split was opened
predictions/         the logits of each image, one file for each split
report/              pages and plots
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from penstroke.config.settings import RunConfig, Settings
from penstroke.errors import CheckpointError, RunError, near_match
from penstroke.files import append_lines, reason, runs_root, sha256, write_atomically
from penstroke.runs.record import Folder, Record, RecordedFolder, now
from penstroke.runs.summaries import FoldsSummary, RunSummary
from penstroke.training.checkpoint import MODEL_PREFIX, Array, Checkpoint

FOLDS_FILE = "folds.toml"
"""Marks the directory of a cross-validation, whose folds are runs."""

Metrics = dict[str, Any]
Status = Literal["finished", "unfinished"]


class PretrainedFacts(Settings):
    """The trained network that a run was fine-tuned from."""

    run: str = Field(description="its name")
    sha256: str = Field(description="of its model.safetensors")
    known_classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        description="classes whose outputs start from trained weights"
    )
    new_classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        description="classes whose outputs start from random weights"
    )


class RunRecord(Record):
    """The run.toml."""

    members: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="of an ensemble: the runs whose networks it averages"
    )
    pretrained: PretrainedFacts | None = Field(None, description="of a fine-tuned run: its start")


class Run(RecordedFolder[RunRecord]):
    """One run directory.

    Attributes:
        path: where it is.
        record: its run.toml: settings, data, versions, machine.

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("fast", {"train.epochs": 4, "train.min_steps": 0})
        >>> run = penstroke.train(recipe.run_config(), name="example")
        >>> penstroke.Run.open(run.path).best_epoch()
        4
    """

    record_file = "run.toml"
    record_type = RunRecord
    error_type = RunError
    kind = "run directory"
    locked_message = "is being trained by another process"

    @property
    def model_path(self) -> Path:
        """The one file to deploy."""
        return self.path / "model.onnx"

    def model_file(self) -> bytes:
        """Return the content of model.onnx.

        Raises:
            RunError: there is none yet, or it cannot be read.
        """
        try:
            return self.model_path.read_bytes()
        except FileNotFoundError:
            raise RunError(f"{self.path} has no model yet: `penstroke train` finishes it") from None
        except OSError as error:
            raise RunError(f"cannot read {self.model_path}: {reason(error)}") from error

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
        """Return the metrics of each epoch so far; a last line that was cut short is left out.

        Raises:
            RunError: another line is damaged.
        """
        if not self.history_path.exists():
            return []
        lines = self.history_path.read_bytes().split(b"\n")[:-1]  # what follows is unfinished
        history = []
        for number, line in enumerate(lines, 1):
            try:
                history.append(json.loads(line))
            except ValueError as error:
                if number < len(lines):
                    raise RunError(
                        f"{self.history_path} is damaged in line {number}: {error}"
                    ) from error
        return history

    def summary(self) -> RunSummary:
        """Return the final figures.

        Raises:
            RunError: the run is not finished, or its summary.json is damaged.
        """
        summary = RunSummary.read(self.path)
        if summary is None:
            raise RunError(f"{self.path} is not finished: `penstroke train` finishes it")
        return summary

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
        return self.record.config.train.epochs_for(self.record.data.train_images)

    def elapsed_seconds(self) -> float:
        """Return the seconds of training in total; of an ensemble, those of its members."""
        if not self.record.members:
            history = self.history()
            return float(history[-1]["elapsed_seconds"]) if history else 0.0
        if self.status == "finished":  # members may have been removed since
            return self.summary().elapsed_seconds
        return sum(Run.open(self.path.parent / m).elapsed_seconds() for m in self.record.members)

    def best_epoch(self) -> int:
        """Return the epoch that is kept: the one its validation figures chose."""
        history = self.history()
        if not history:
            raise RunError(f"{self.path} has no finished epoch yet: `penstroke train` continues it")
        return int(history[-1]["best_epoch"])

    def checkpoint(self, epoch: int) -> Checkpoint:
        """Return the checkpoint of `epoch`.

        Raises:
            CheckpointError: it is missing, cut short or changed.
        """
        path = self.checkpoint_path(epoch)
        try:
            return Checkpoint.from_bytes(path.read_bytes(), str(path))
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error

    def write_weights(self, weights: Mapping[str, Array], **facts: Any) -> None:
        """Write model.safetensors: `weights`, with classes, settings and `facts`."""
        facts |= {
            "classes": self.record.data.classes,
            "model": self.record.config.model.to_dict(),
        }
        prefixed = {MODEL_PREFIX + name: array for name, array in weights.items()}
        write_atomically(self.path / "model.safetensors", Checkpoint(prefixed, facts).to_bytes())

    def model(self) -> Checkpoint:
        """Return the weights and facts in model.safetensors.

        Raises:
            RunError: there is none yet, or it cannot be read.
        """
        path = self.path / "model.safetensors"
        try:
            return Checkpoint.from_bytes(path.read_bytes(), str(path))
        except FileNotFoundError:
            raise RunError(f"{self.path} has no model yet: `penstroke train` finishes it") from None
        except OSError as error:
            raise RunError(f"cannot read {path}: {reason(error)}") from error

    def log_test_opening(self, purpose: str) -> None:
        """Write down that the test split is about to be opened."""
        line = json.dumps({"time": now(), "purpose": purpose})
        append_lines(self.path / "test_openings.jsonl", line + "\n")


def run_name(
    stem: str, config: RunConfig, data_fingerprint: str, pretrained_sha256: str = ""
) -> str:
    """Return the name of the run with these settings, data and pretrained weights."""
    parts = [config.fingerprint(), data_fingerprint, *filter(None, [pretrained_sha256])]
    return f"{stem}-{sha256(' '.join(parts).encode())[:8]}"


def find_run(name: str | Path) -> Run:
    """Open the run at the path `name`, or of that name in the folder of runs.

    Raises:
        RunError: there is none, with a near match.
    """
    for path in (Path(name), runs_root() / name):
        if (path / "run.toml").exists():
            return Run.open(path)
    known = [run.name for run in list_runs()]
    raise RunError(
        f'there is no run "{name}" here or in {runs_root()}{near_match(str(name), known)}: '
        "`penstroke runs list` shows them"
    )


def list_runs(root: Path | None = None) -> list[Run]:
    """Return the runs under `root`, oldest first; directories that cannot be read are left out."""
    found = []
    for path in folders_with("run.toml", root):
        with contextlib.suppress(RunError):
            found.append(Run.open(path))
    return sorted(found, key=lambda run: run.record.created)


def list_studies() -> list[Path]:
    """Return the study directories beside the runs, oldest first."""
    return _oldest_first("study.toml")


class FoldRuns(Folder):
    """A cross-validation: a directory with one run for each fold."""

    def summary(self) -> FoldsSummary | None:
        """Return the aggregate figures; None while a fold is unfinished."""
        return FoldsSummary.read(self.path)

    def remove(self) -> None:
        """Delete it and its folds; not while another process trains one."""
        for fold in sorted(self.path.glob("fold-*/run.toml")):
            Run.open(fold.parent).remove()
        shutil.rmtree(self.path)


def find_folds(name: str) -> FoldRuns | None:
    """Return the cross-validation at the path `name`, or of that name beside the runs, if any."""
    paths = (Path(name), runs_root() / name)
    return next((FoldRuns(path) for path in paths if (path / FOLDS_FILE).exists()), None)


def list_folds() -> list[FoldRuns]:
    """Return the cross-validations beside the runs, oldest first."""
    return [FoldRuns(path) for path in _oldest_first(FOLDS_FILE)]


def folders_with(file: str, root: Path | None = None) -> list[Path]:
    """Return the directories under `root` that hold `file`, by name; none that is being removed."""
    return sorted(path.parent for path in (root or runs_root()).glob(f"[!.]*/{file}"))


def history_csv(run: Run) -> bytes:
    """Return the history of `run` as CSV, one line for each epoch."""
    history = run.history()
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(history[0]) if history else ["epoch"])
    writer.writeheader()
    writer.writerows(history)
    return stream.getvalue().encode()


def _oldest_first(file: str) -> list[Path]:
    return sorted(folders_with(file), key=lambda path: (path / file).stat().st_mtime)
