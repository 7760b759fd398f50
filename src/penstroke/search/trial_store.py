"""The trials of a study in an Optuna storage, so that its dashboard and its tools can open it.

The driver alone writes. A trial is added whole, in one transaction: a kill between two writes
cannot leave half of one.
"""

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna import distributions
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from penstroke.config.space import Parameter, Space, Values
from penstroke.errors import StudyError

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

State = Literal["waiting", "running", "complete", "pruned", "failed"]

_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting", TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
}  # fmt: skip


_DAMAGE = (
    ValueError, TypeError, LookupError, AssertionError, RecursionError, OverflowError,
)  # fmt: skip
"""What reading rows of a storage raises that no Optuna wrote."""
_MOST_TABLES = 32
"""More than an Optuna storage has."""


@dataclass(frozen=True)
class Trial:
    """One trial, pruned if stopped before the last rung; `metric` after its last epoch, if any."""

    number: int
    state: State
    settings: Values
    metric: float | None = None
    metric_by_epoch: Mapping[int, float] = field(default_factory=dict)
    failure: str = ""


class TrialStore:
    """One study in `storage`, a URL or an SQLite file, by the plan's numbers; raises StudyError."""

    def __init__(self, storage: str | Path, name: str, space: Space, *, maximize: bool) -> None:
        self._shown = without_password(storage) if isinstance(storage, str) else str(storage)
        self._space = space
        # Rendered, since a plain path would end at the first question mark.
        is_file = isinstance(storage, Path)
        url = str(URL.create("sqlite", database=str(storage)) if is_file else storage)
        self._distributions = {n: distribution(p) for n, p in space.parameters.items()}
        # A dashboard that reads meanwhile holds SQLite for a moment: wait for it.
        wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
        with self._explained():
            self._storage = _open_storage(url, wait)
            try:  # a study on a read-only disk can be read
                self._study = optuna.load_study(study_name=name, storage=self._storage)
            except KeyError:
                self._study = optuna.create_study(
                    study_name=name, storage=self._storage, load_if_exists=True,
                    direction="maximize" if maximize else "minimize",
                )  # fmt: skip
            self._ids = {trial.user_attrs["trial"]: trial._trial_id for trial in self._all()}

    def __contains__(self, trial: int) -> bool:
        return trial in self._ids

    def trials(self) -> dict[int, Trial]:
        """Return all trials, by number."""
        with self._explained():
            return {trial.number: trial for trial in map(_trial, self._all())}

    def add(self, trial: int, settings: Values) -> None:
        """Add a trial."""
        entry = create_trial(
            state=TrialState.RUNNING,
            params={name: as_parameter(value) for name, value in settings.items()},
            distributions={name: self._distributions[name] for name in settings},
            user_attrs={"trial": trial, "settings": settings},
        )
        with self._explained():
            self._ids[trial] = self._storage.create_new_trial(self._study._study_id, entry)

    def mark(self, trial: int, state: Literal["running", "waiting"]) -> None:
        """Mark a trial as being trained, or as waiting for the others of its rung."""
        self._set_state(trial, TrialState[state.upper()])

    def mark_all_waiting(self) -> None:
        """Mark all running trials as waiting; only for the process that holds the study's lock."""
        for number, trial in self.trials().items():
            if trial.state == "running":
                self.mark(number, "waiting")

    def report(self, trial: int, metric_by_epoch: Mapping[int, float]) -> None:
        """Record the metric after each epoch."""
        with self._explained():
            for epoch, metric in metric_by_epoch.items():
                self._storage.set_trial_intermediate_value(self._ids[trial], epoch, metric)

    def finish(self, trial: int, metric: float, *, is_complete: bool) -> None:
        """Record the last metric of a trial: complete, or pruned before the last rung."""
        self._set_state(trial, TrialState.COMPLETE if is_complete else TrialState.PRUNED, [metric])

    def fail(self, trial: int, reason: str) -> None:
        """Record that a trial failed, and why."""
        with self._explained():
            self._storage.set_trial_user_attr(self._ids[trial], "reason", reason)
        self._set_state(trial, TrialState.FAIL)

    def delete(self) -> None:
        """Delete the study in the storage."""
        with self._explained():
            self._storage.delete_study(self._study._study_id)

    def suggestions(self, seed: int) -> Iterator[Values]:
        """Yield settings suggested by TPE, from the trials so far."""
        # In memory: Optuna stores a trial as soon as it suggests one, also if it is not a new one.
        sampler = optuna.samplers.TPESampler(seed=seed)
        study = optuna.create_study(sampler=sampler, direction=self._study.direction)
        study.add_trials([t for t in self._all() if t.state != TrialState.WAITING])
        meant = {
            name: {as_parameter(value): value for value in parameter.choices or ()}
            for name, parameter in self._space.parameters.items()
        }
        while True:
            suggested = study.ask(self._distributions).params
            yield self._space.active({n: meant[n].get(v, v) for n, v in suggested.items()})

    def importances(self) -> dict[str, float]:
        """Return the share of the metric's variance that each parameter explains (fANOVA)."""
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        shares = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: float(share) for name, share in shares.items()}

    def _all(self) -> list[FrozenTrial]:
        with self._explained():
            trials = self._storage.get_all_trials(self._study._study_id, deepcopy=False)
        return [trial for trial in trials if "trial" in trial.user_attrs]

    def _set_state(self, trial: int, state: TrialState, values: list[float] | None = None) -> None:
        with self._explained():
            self._storage.set_trial_state_values(self._ids[trial], state, values)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (optuna.exceptions.OptunaError, SQLAlchemyError, ImportError, OSError) as error:
            first = str(error.__cause__ or error).strip().splitlines()[0]
            raise StudyError(
                f"the study's storage {self._shown} cannot be used: {first}"
            ) from error
        except _DAMAGE as error:
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            raise StudyError(f"the study's storage {self._shown} is damaged: {first}") from error


def _trial(stored: FrozenTrial) -> Trial:
    """Return a trial as it is stored; ValueError, TypeError or LookupError if it is damaged."""
    facts, state = stored.user_attrs, _STATES[stored.state]
    metric, by_epoch = stored.value, stored.intermediate_values
    if metric is None and by_epoch and state != "failed":
        metric = by_epoch[max(by_epoch)]
    settings, failure = dict(facts["settings"]), str(facts.get("reason", ""))
    json.dumps([settings, metric, by_epoch], allow_nan=False)  # refuses what is not finite
    return Trial(int(facts["trial"]), state, settings, metric, by_epoch, failure)


def _open_storage(url: str, engine_options: dict[str, Any]) -> optuna.storages.RDBStorage:
    """Open an Optuna storage; another process that creates its tables meanwhile does no harm."""
    for _ in range(_MOST_TABLES):  # each failure says that the other has created one more
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=engine_options)
        except DBAPIError as error:
            if "exist" not in str(error) and not isinstance(error, IntegrityError):
                raise
    return optuna.storages.RDBStorage(url, engine_kwargs=engine_options)


def distribution(parameter: Parameter) -> distributions.BaseDistribution:
    """Return `parameter` as Optuna's distribution."""
    if parameter.choices is not None:
        values = [as_parameter(value) for value in parameter.choices]
        return distributions.CategoricalDistribution(values)
    (low, high), log, step = parameter.ends, parameter.log, parameter.step
    if (listed := parameter.listed()) is not None:
        high = listed[-1]  # Optuna wants a range that ends on a step
    if parameter.is_integer:
        return distributions.IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return distributions.FloatDistribution(float(low), float(high), log=log, step=step)


def as_parameter(value: Any) -> Any:
    """Return `value` as Optuna stores it: lists and tables as JSON."""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value)


def without_password(url: str) -> str:
    """Return a storage URL as it may be shown."""
    with contextlib.suppress(ArgumentError):
        return make_url(url).render_as_string(hide_password=True)
    return url
