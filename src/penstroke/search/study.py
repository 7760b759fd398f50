"""The study directory: a search as plain files, whole at every moment.

study.toml    what is searched, on which pictures, by which plan
study.db      the trials, as Optuna stores them (unless another storage was named)
trials/       a run directory each; only those that may still go on keep a checkpoint
confirm/      the best settings again, with new seeds
best.toml     the best settings as a recipe
summary.json  the figures; its presence says that the search is finished
report/       one page
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from penstroke.checkpoint import Checkpoint
from penstroke.config import Resolved, RunConfig, Settings, read_toml
from penstroke.errors import ConfigError, StudyError
from penstroke.files import runs_root, write_text_atomically
from penstroke.runs import DataFacts, Run, RunRecord, locked_folder, now
from penstroke.search.ledger import Ledger, last_metric, settings_of
from penstroke.space import SearchConfig, Space, Values

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FORMAT_VERSION = 1


class StudyRecord(Settings):
    """The study.toml: everything that was decided before the first trial."""

    format_version: int = Field(FORMAT_VERSION, description="of the study directory")
    created: str = Field(description="when, in UTC")
    title: str = Field("", description="of the recipe")
    config: RunConfig = Field(description="the base that the space changes")
    search: SearchConfig = Field(description="how it is searched")
    resolved: Resolved = Field(description="what `auto` came to, for every trial")
    data: DataFacts = Field(description="the pictures")
    asked: str = Field(description="SHA-256 of what was asked for, before any fitting to a time")
    time_budget_seconds: float | None = Field(None, gt=0, description="for the trials, in all")
    storage: str = Field("", description="Optuna storage; empty: study.db in the directory")
    versions: dict[str, str] = Field(description="of Python and the packages that compute")
    machine: dict[str, str | int] = Field(description="processor, cores, system")

    @property
    def max_epochs(self) -> int:
        """The most epochs of a trial."""
        return self.config.train.epochs


class Study:
    """One search on disk."""

    def __init__(self, path: Path, record: StudyRecord) -> None:
        self.path = path
        self.record = record
        self.space = Space(record.config, record.search.space)
        url = record.storage or f"sqlite:///{path.absolute() / 'study.db'}"
        self.ledger = Ledger(
            url, path.name, maximize=self.sign > 0, parameters=self.space.parameters
        )

    @classmethod
    def create(cls, path: Path, record: StudyRecord) -> Study:
        """Write a new study directory with its study.toml."""
        write_text_atomically(path / "study.toml", record.to_toml())
        return cls(path, record)

    @classmethod
    def open(cls, path: Path) -> Study:
        """Open the study directory at `path`.

        Raises:
            StudyError: it is none, is damaged, or was written by a newer version.
        """
        try:
            values = read_toml(path / "study.toml")
            version = values.get("format_version")
            if isinstance(version, int) and version > FORMAT_VERSION:
                raise StudyError(
                    f"{path} was written by a newer Penstroke (format {version}; this one reads up "
                    f"to {FORMAT_VERSION}): upgrade with pip install -U penstroke"
                )
            record = StudyRecord.parse(values, source=str(path / "study.toml"))
        except ConfigError as error:
            raise StudyError(f"{path} is no study: {error}") from error
        return cls(path, record)

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def sign(self) -> int:
        """1 where a higher metric is better, else -1."""
        return 1 if self.record.search.metric == "val_accuracy" else -1

    # The runs of a trial: one, or one for each seed or fold.

    def members(self, values: Values) -> list[RunConfig]:
        """Return the run configs whose mean metric is the score of `values`."""
        config, search = self.space.config(values), self.record.search
        if search.folds is not None:
            return self.folds_of(config)
        seed = config.train.seed
        return [_with(config, "train", seed=seed + k) for k in range(search.repeats)]

    def folds_of(self, config: RunConfig) -> list[RunConfig]:
        """Return `config` once for each fold; as it is where there are none."""
        folds = self.record.search.folds
        if folds is None:
            return [config]
        return [_with(config, "data", folds=folds, fold=k) for k in range(folds)]

    def run(self, trial: int, member: int, config: RunConfig) -> Run:
        """Return the run directory of one member of a trial, made if it is not there."""
        search = self.record.search
        is_alone = search.repeats == 1 and search.folds is None
        name = f"{trial:04d}" if is_alone else f"{trial:04d}-{member}"
        return self.run_at(self.path / "trials" / name, config)

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

        ranked = sorted(
            (trial.state != TrialState.COMPLETE, -self.sign * metric, number)
            for number, trial in self.trials().items()
            if (metric := last_metric(trial)) is not None
        )
        if not ranked:
            return None
        _, cost, number = ranked[0]
        return number, settings_of(self.trials()[number]), -self.sign * cost

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

    def summary(self) -> dict[str, Any]:
        """Return the final figures; empty while the study is unfinished."""
        path = self.path / "summary.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def write_summary(self, figures: Mapping[str, Any]) -> None:
        """Write the final figures, which marks the study as finished."""
        write_text_atomically(
            self.path / "summary.json", json.dumps(dict(figures), indent=2) + "\n"
        )

    @property
    def time_is_up(self) -> bool:
        """Whether the time budget has been spent: no more trials, whatever the plan had left."""
        return (self.path / "time-is-up").exists()

    def note_time_is_up(self) -> None:
        """Write down that the time budget is spent."""
        write_text_atomically(self.path / "time-is-up", now() + "\n")

    def remove(self) -> None:
        """Delete the study, its trials in the storage too; not while another process searches."""
        with self.locked():
            self.ledger.delete()
            going = self.path.with_name(f".{self.name}.going")
            self.path.rename(going)  # whole or gone: a kill in between leaves no half of it
            shutil.rmtree(going)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study; the lock falls with the process.

        Raises:
            StudyError: another process searches it.
        """
        with locked_folder(self.path, StudyError(f"{self.path} is searched by another process")):
            yield


def has_ended(run: Run, epochs: int) -> bool:
    """Whether `run` needs no training to have had `epochs`: it has, or its own rules ended it."""
    train, history = run.record.config.train, run.history()
    if len(history) >= min(epochs, train.epochs):
        return True
    waited = len(history) - history[-1]["best_epoch"] if history else 0
    return train.patience is not None and waited >= train.patience


def keep_progress(run: Run, metrics: Sequence[dict[str, Any]], state: bytes) -> None:
    """Write epochs that a worker trained, so that a kill at any moment leaves a run to go on from.

    The checkpoint goes first: one without its lines of history is passed over, while lines without
    their checkpoint would promise a state that is not there.
    """
    run.keep_state(metrics[-1]["epoch"], state)
    run.extend_history(metrics)
    run.drop_states(keep=[metrics[-1]["epoch"]])


def last_state(run: Run) -> bytes | None:
    """Return the state after the last epoch in the history; None where training must begin."""
    history = run.history()
    state = run.state(history[-1]["epoch"]) if history else None
    if state is not None:
        Checkpoint.from_bytes(state)  # a damaged one is found here, not in a worker
    return state


def find_study(name: str | Path) -> Study | None:
    """Open the study at the path `name`, or of that name in the folder of runs; None if none is."""
    for path in (Path(name), runs_root() / name):
        if (path / "study.toml").exists():
            return Study.open(path)
    return None


def _with(config: RunConfig, part: str, **changes: Any) -> RunConfig:
    return config.model_copy(update={part: getattr(config, part).model_copy(update=changes)})
