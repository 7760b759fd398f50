"""The study directory: a search as plain files, whole at every moment.

study.toml    what is searched, on which images, by which plan
study.db      the trials, as Optuna stores them (unless another storage was named)
trials/       a run directory each; only those that may still go on keep a checkpoint
confirm/      the best settings again, with new seeds
best.toml     the best settings as a recipe
summary.json  the figures; its presence says that the search is finished
report/       one page
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from penstroke.config.settings import RunConfig
from penstroke.config.space import SearchConfig, Space, Values
from penstroke.errors import StudyError
from penstroke.files import runs_root, write_text_atomically
from penstroke.runs.record import Record, RecordedFolder, now
from penstroke.runs.run import Run, RunRecord
from penstroke.search.trial_store import Ledger, last_metric, settings_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class StudyRecord(Record):
    """The study.toml: `config` is the base that the space changes, `resolved` every trial's."""

    title: str = Field("", description="of the recipe")
    search: SearchConfig = Field(description="how it is searched")
    asked: str = Field(description="SHA-256 of what was asked for, before any fitting to a time")
    time_budget_seconds: float | None = Field(None, gt=0, description="for the trials, in all")
    storage: str = Field("", description="Optuna storage; empty: study.db in the directory")

    @property
    def max_epochs(self) -> int:
        """The most epochs of a trial."""
        return self.config.train.epochs


class Study(RecordedFolder[StudyRecord]):
    """One search on disk."""

    record_file = "study.toml"
    record_type = StudyRecord
    error_type = StudyError
    is_what = "study"
    is_held = "is searched by another process"

    def __init__(self, path: Path, record: StudyRecord) -> None:
        super().__init__(path, record)
        self.space = Space(record.config, record.search.space)
        url = record.storage or f"sqlite:///{path.absolute() / 'study.db'}"
        self.ledger = Ledger(
            url, path.name, maximize=self.sign > 0, parameters=self.space.parameters
        )

    @property
    def sign(self) -> int:
        """1 where a higher metric is better, else -1."""
        return 1 if self.record.search.metric == "val_accuracy" else -1

    # The runs of a trial: one, or one for each seed or fold.

    def _members(self, values: Values) -> list[RunConfig]:
        """Return the run configs whose mean metric is the score of `values`."""
        config, search = self.space.config(values), self.record.search
        return self.folds_of(config) if search.folds else config.seeds(search.repeats)

    def folds_of(self, config: RunConfig) -> list[RunConfig]:
        """Return `config` once for each fold; as it is where there are none."""
        folds = self.record.search.folds
        if folds is None:
            return [config]
        return [config.replace(data={"folds": folds, "fold": k}) for k in range(folds)]

    def runs_of(self, trial: int, values: Values) -> list[Run]:
        """Return the run directories of a trial with these settings, made if they are not there."""
        configs = self._members(values)
        stem = self.path / "trials" / f"{trial:04d}"
        if len(configs) == 1:
            return [self.run_at(stem, configs[0])]
        return [self.run_at(stem.with_name(f"{stem.name}-{k}"), c) for k, c in enumerate(configs)]

    def run_at(self, path: Path, config: RunConfig) -> Run:
        """Return the run directory at `path`, made for `config` if it is not there."""
        if (path / "run.toml").exists():
            return Run.open(path)
        record = self.record
        return Run.create(path, RunRecord(
            created=now(), config=config, resolved=record.resolved, data=record.data,
            versions=record.versions, machine=record.machine,
        ))  # fmt: skip

    def score(self, runs: Sequence[Run], epochs: int) -> float | None:
        """Return the mean metric of `runs` after `epochs`, higher is better; None if unfinished."""
        if not all(has_ended(run, epochs) for run in runs):
            return None
        return self.score_of([run.history()[:epochs] for run in runs])

    def score_of(self, histories: Sequence[Sequence[Mapping[str, Any]]]) -> float | None:
        """Return the mean, over histories, of the metric at the epoch each would keep."""
        if not all(histories):
            return None
        metric = self.record.search.metric
        if any(metric not in line for history in histories for line in history):
            return None  # nothing was held out to measure it by
        kept = [history[history[-1]["best_epoch"] - 1][metric] for history in histories]
        mean = sum(kept) / len(kept)
        return self.sign * mean if math.isfinite(mean) else None

    def metrics_by_epoch(self, runs: Sequence[Run], epochs: int) -> dict[int, float]:
        """Return the mean metric after each epoch, as it is."""
        metric = self.record.search.metric
        columns = zip(*(run.history()[:epochs] for run in runs), strict=False)
        return {
            lines[0]["epoch"]: sum(line[metric] for line in lines) / len(lines) for lines in columns
        }

    # What is known so far.

    def trials(self) -> dict[int, FrozenTrial]:
        """Return every trial, by number."""
        return self.ledger.trials()

    def best(self) -> tuple[int, Values, float] | None:
        """Return (trial, values, metric) of the best that went to its last epoch.

        While none has, the best by its last epoch so far; None while there is nothing at all.
        """
        from optuna.trial import TrialState

        scored = [
            (trial.state != TrialState.COMPLETE, -self.sign * metric, number, metric, trial)
            for number, trial in self.trials().items()
            if (metric := last_metric(trial)) is not None
        ]
        if not scored:
            return None
        *_, number, metric, trial = min(scored, key=lambda one: one[:3])
        return number, settings_of(trial), metric

    def all_runs(self) -> list[Run]:
        """Return the run directories of all trials, in order."""
        paths = sorted((self.path / "trials").glob("*/run.toml"))
        return [Run.open(path.parent) for path in paths]

    def epochs_trained(self) -> int:
        """Return the epochs of all trials together."""
        return sum(len(run.history()) for run in self.all_runs())

    def elapsed_seconds(self) -> float:
        """Return the seconds of training of all trials together, of one worker each."""
        return sum(run.elapsed_seconds() for run in self.all_runs())

    def write_best(self, config: RunConfig, title: str) -> Path:
        """Write the best settings as a recipe; return its path."""
        path = self.path / "best.toml"
        write_text_atomically(path, f"title = {json.dumps(title)}\n\n{config.to_toml()}")
        return path

    @property
    def time_is_up(self) -> bool:
        """Whether the time budget has been spent: no more trials, whatever the plan had left."""
        return (self.path / "time-is-up").exists()

    def note_time_is_up(self) -> None:
        """Write down that the time budget is spent."""
        write_text_atomically(self.path / "time-is-up", now() + "\n")

    def forget(self) -> None:
        """Delete the trials in the storage."""
        self.ledger.delete()


def has_ended(run: Run, epochs: int) -> bool:
    """Whether `run` needs no training to have had `epochs`: it has, or its own rules ended it."""
    history = run.history()
    if not history:
        return False
    last = history[-1]["epoch"]
    return last >= epochs or run.record.config.train.is_over(last, history[-1]["best_epoch"])


def find_study(name: str | Path) -> Study | None:
    """Open the study at the path `name`, or of that name in the folder of runs; None if none is."""
    for path in (Path(name), runs_root() / name):
        if (path / "study.toml").exists():
            return Study.open(path)
    return None
