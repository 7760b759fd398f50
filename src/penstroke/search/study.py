"""The study directory: a search as plain files, whole at every moment.

study.toml    what is searched, on which images, by which plan
study.db      the trials, as Optuna stores them (unless another storage was named)
trials/       a run directory each; only those that may still be promoted keep a checkpoint
confirm/      the best settings again, with new seeds
best.toml     the best settings as a recipe
summary.json  the result; its presence says that the search is finished
report/       one page
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstroke.config.settings import ListOf, RunConfig
from penstroke.config.space import SearchConfig, Space, Values
from penstroke.errors import StudyError
from penstroke.files import write_text_atomically
from penstroke.runs.record import Folder, Record, Summary, now
from penstroke.runs.run import STUDY_FILE, Run, RunRecord

if TYPE_CHECKING:
    from penstroke.search.trial_store import Trial, TrialStore


class StudyRecord(Record):
    """The study.toml: `config` is the base that the space changes, `resolved` is for all trials."""

    title: str = Field("", description="of the recipe")
    search: SearchConfig = Field(description="how it is searched")
    request: str = Field(description="SHA-256 of the request, before it was fitted to a time")
    time_budget_seconds: float | None = Field(None, gt=0, description="for all trials together")
    storage: str = Field("", description="Optuna storage; empty: study.db in the directory")

    @property
    def max_epochs(self) -> int:
        """The most epochs of a trial."""
        return self.config.train.epochs


class SearchResult(Summary):
    """The result of a search (summary.json), or what is known of it so far.

    `metric` (val_accuracy or val_loss) is what `best_metric` and `confirmed`, one for each new
    seed, are values of. `run`, `model`, `report`, paths, and `test`, the figures of the test split,
    are empty while the best settings have not been trained.
    """

    study: str
    method: str
    metric: str
    trials: int
    complete: int
    pruned: int
    failed: int
    best_trial: int
    best_metric: float
    best_settings: dict[str, Any]
    best_recipe: str
    epochs_trained: int
    worker_seconds: float
    confirmed: ListOf[float] = ()
    run: str = ""
    model: str = ""
    report: str = ""
    test: dict[str, float] = Field(default_factory=dict)

    @property
    def confirmed_mean(self) -> float:
        """Mean over the new seeds; nan without any."""
        return statistics.fmean(self.confirmed) if self.confirmed else float("nan")

    @property
    def confirmed_sd(self) -> float:
        """Standard deviation over the new seeds; nan with fewer than two."""
        return statistics.stdev(self.confirmed) if len(self.confirmed) > 1 else float("nan")


@dataclass(frozen=True)
class TrialRun:
    """One training of a trial, with one seed and fold; figures are those of the epoch it keeps.

    In the phase "confirmation" it is one of the best trial's settings, with a new seed.
    """

    phase: Literal["search", "confirmation"]
    trial: int
    state: str
    seed: int
    fold: int | None
    val_accuracy: float | None
    val_loss: float | None
    epochs: int
    best_epoch: int | None
    elapsed_seconds: float
    settings: Values
    run: str


class Study(Folder[StudyRecord]):
    """One search on disk."""

    record_file = STUDY_FILE
    record_type = StudyRecord
    error_type = StudyError
    kind = "study"
    other_files = ("study.db",)
    locked_message = "is searched by another process"

    def __init__(self, path: Path, record: StudyRecord) -> None:
        super().__init__(path, record)
        self.space = Space(record.config, record.search.space)

    @cached_property
    def store(self) -> TrialStore:
        """Its trials; the storage is created where there is none, so hold the lock."""
        from penstroke.search.trial_store import TrialStore  # Optuna, only where it is needed

        return TrialStore(
            self.record.storage or self.path.absolute() / "study.db", self.name, self.space,
            maximize=self.sign > 0,
        )  # fmt: skip

    @property
    def sign(self) -> int:
        """1 where a higher metric is better, else -1."""
        return 1 if self.record.search.metric == "val_accuracy" else -1

    def folds_of(self, config: RunConfig) -> list[RunConfig]:
        """Return `config` once for each fold; unchanged if the search has none."""
        folds = self.record.search.folds
        if folds is None:
            return [config]
        return [config.replace({"data.folds": folds, "data.fold": k}) for k in range(folds)]

    def runs_of(self, trial: int, settings: Values) -> list[Run]:
        """Return the runs of a trial, one for each seed or fold; created if they do not exist."""
        config, search = self.space.config(settings), self.record.search
        configs = self.folds_of(config) if search.folds else config.seeds(search.seeds)
        path = self.path / "trials" / f"{trial:04d}"
        return [self.run_at(path, config)] if len(configs) == 1 else self.runs_at(path, configs)

    def runs_at(self, path: Path, configs: Sequence[RunConfig]) -> list[Run]:
        """Return the run directories `path`-0, `path`-1, …, created if they do not exist."""
        return [self.run_at(path.with_name(f"{path.name}-{k}"), c) for k, c in enumerate(configs)]

    def run_at(self, path: Path, config: RunConfig) -> Run:
        """Return the run directory at `path`, created for `config` if it does not exist."""
        record = self.record
        return Run.at(path) or Run.create(path, RunRecord(
            created=now(), config=config, resolved=record.resolved, data=record.data,
            versions=record.versions, machine=record.machine,
        ))  # fmt: skip

    def score(self, runs: Sequence[Run], epochs: int) -> float | None:
        """Return the mean metric of `runs` after `epochs`, each at its best; higher is better.

        None if a run needs more training, or the mean is not a finite number.
        """
        if not all(has_ended(run, epochs) for run in runs):
            return None
        metric = self.record.search.metric
        histories = [run.history()[:epochs] for run in runs]
        if any(metric not in line for history in histories for line in history):
            return None  # there are no validation images
        best = [history[history[-1]["best_epoch"] - 1][metric] for history in histories]
        mean = sum(best) / len(best)
        return self.sign * mean if math.isfinite(mean) else None

    def metric_by_epoch(self, runs: Sequence[Run], epochs: int) -> dict[int, float]:
        """Return the mean metric of `runs` after each epoch."""
        metric = self.record.search.metric
        columns = zip(*(run.history()[:epochs] for run in runs), strict=False)
        return {c[0]["epoch"]: sum(line[metric] for line in c) / len(c) for c in columns}

    def best(self) -> Trial | None:
        """Return the best trial that completed, or else the best by its last epoch so far."""
        scored = {
            (trial.state != "complete", -self.sign * trial.metric, trial.number): trial
            for trial in self.store.trials().values()
            if trial.metric is not None
        }
        return scored[min(scored)] if scored else None

    def all_runs(self, folder: Literal["trials", "confirm"] = "trials") -> list[Run]:
        """Return the run directories of all trials, in order, or those with new seeds."""
        return [Run.open(p.parent) for p in sorted((self.path / folder).glob("*/run.toml"))]

    def trial_runs(self) -> list[TrialRun]:
        """Return each training of each trial, and those that confirmed the best, with new seeds."""
        trials = self.store.trials()
        return [
            _trial_run("search" if folder == "trials" else "confirmation", trial, run)
            for folder in ("trials", "confirm")
            for run in self.all_runs(folder)
            if (trial := trials.get(int(run.name.partition("-")[0])))
        ]

    def epochs_trained(self) -> int:
        """Return the epochs of all trials together."""
        return sum(len(run.history()) for run in self.all_runs())

    def elapsed_seconds(self) -> float:
        """Return the seconds of training of all trials together, of one worker each."""
        return sum(run.elapsed_seconds() for run in self.all_runs())

    def write_best(self, config: RunConfig) -> None:
        """Write the best settings as a recipe."""
        text = f"title = {json.dumps(f'The best of {self.name}')}\n\n{config.to_toml()}"
        write_text_atomically(self.path / "best.toml", text)

    @property
    def time_is_up(self) -> bool:
        """Whether the time budget is spent: no more trials, whatever the plan has left."""
        return (self.path / "time-is-up").exists()

    def result(self) -> SearchResult | None:
        """Return the result; None while the search is not finished."""
        return SearchResult.read(self.path)

    def remove_elsewhere(self) -> None:
        """Delete the trials in the storage, unless it is in the directory itself."""
        if self.record.storage:
            self.store.delete()


def _trial_run(phase: Literal["search", "confirmation"], trial: Trial, run: Run) -> TrialRun:
    history, config = run.history(), run.record.config
    best = int(history[-1]["best_epoch"]) if history else None
    kept = history[best - 1] if best else {}
    return TrialRun(
        phase, trial.number, trial.state, config.train.seed, config.data.fold,
        kept.get("val_accuracy"), kept.get("val_loss"), len(history), best, run.elapsed_seconds(),
        trial.settings, str(run.path),
    )  # fmt: skip


def has_ended(run: Run, epochs: int) -> bool:
    """Whether `run` needs no more training: it has had `epochs`, or its own rules ended it."""
    if not (history := run.history()):
        return False
    last, best = history[-1]["epoch"], history[-1]["best_epoch"]
    return last >= epochs or run.record.config.train.is_over(last, best)
