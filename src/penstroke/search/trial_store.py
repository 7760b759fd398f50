"""The trials of a study in an Optuna storage, so that its dashboard and its tools open it.

This process alone writes. A trial enters whole, in one transaction: a kill between two writes can
leave none that is half there.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from penstroke.config.space import Parameter, Values
from penstroke.errors import MissingExtraError, StudyError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

_TRIAL, _REASON = "trial", "reason"
_LOCK_SECONDS = 60


class Ledger:
    """One study in the storage at `url`; trials go by the plan's number, not by Optuna's.

    Raises:
        StudyError: the storage cannot be opened, or is not Optuna's.
    """

    def __init__(self, url: str, name: str, *, maximize: bool, parameters: Mapping[str, Parameter]):
        self.url = url
        self.distributions = {n: distribution(p) for n, p in parameters.items()}
        with _explained(url):
            optuna = _optuna()
            self._storage = optuna.storages.RDBStorage(url, engine_kwargs=_engine_options(url))
            self.study = optuna.create_study(
                study_name=name, storage=self._storage, load_if_exists=True,
                direction="maximize" if maximize else "minimize",
            )  # fmt: skip
            self._ids = {t.user_attrs[_TRIAL]: t._trial_id for t in self._all()}

    def __contains__(self, trial: int) -> bool:
        return trial in self._ids

    def trials(self) -> dict[int, FrozenTrial]:
        """Return every trial, by number."""
        with _explained(self.url):
            return {t.user_attrs[_TRIAL]: t for t in self._all()}

    def begin(self, trial: int, values: Values) -> None:
        """Enter a trial."""
        from optuna.trial import TrialState, create_trial

        entry = create_trial(
            state=TrialState.RUNNING,
            params={name: as_parameter(value) for name, value in values.items()},
            distributions={name: self.distributions[name] for name in values},
            user_attrs={_TRIAL: trial, "settings": values},
        )
        with _explained(self.url):
            self._ids[trial] = self._storage.create_new_trial(self.study._study_id, entry)

    def go_on(self, trial: int) -> None:
        """Mark a waiting trial as running."""
        from optuna.trial import TrialState

        self._set_state(trial, TrialState.RUNNING)

    def pause(self, trial: int) -> None:
        """Mark a running trial as waiting for the others of its rung."""
        from optuna.trial import TrialState

        self._set_state(trial, TrialState.WAITING)

    def report(self, trial: int, scores: Mapping[int, float]) -> None:
        """Enter the score after each epoch."""
        with _explained(self.url):
            for epoch, score in scores.items():
                self._storage.set_trial_intermediate_value(self._ids[trial], epoch, score)

    def end(self, trial: int, score: float, *, is_complete: bool) -> None:
        """Enter the last score of a trial: complete, or given up before the last rung."""
        from optuna.trial import TrialState

        state = TrialState.COMPLETE if is_complete else TrialState.PRUNED
        self._set_state(trial, state, [score])

    def fail(self, trial: int, reason: str) -> None:
        """Enter that a trial failed, and why."""
        from optuna.trial import TrialState

        with _explained(self.url):
            self._storage.set_trial_user_attr(self._ids[trial], _REASON, reason)
        self._set_state(trial, TrialState.FAIL)

    def _set_state(self, trial: int, state: TrialState, values: list[float] | None = None) -> None:
        with _explained(self.url):
            self._storage.set_trial_state_values(self._ids[trial], state, values)

    def _all(self) -> list[FrozenTrial]:
        trials = self._storage.get_all_trials(self.study._study_id, deepcopy=False)
        return [t for t in trials if _TRIAL in t.user_attrs]

    def wait_all(self) -> None:
        """Put what a killed search left running back to waiting; for who holds the study alone."""
        for number, trial in self.trials().items():
            if trial.state.name == "RUNNING":
                self.pause(number)

    def delete(self) -> None:
        """Delete the study in the storage."""
        with _explained(self.url):
            self._storage.delete_study(self.study._study_id)


def reason_of(trial: FrozenTrial) -> str:
    """Return why a trial failed; empty where it did not."""
    return str(trial.user_attrs.get(_REASON, ""))


def last_metric(trial: FrozenTrial) -> float | None:
    """Return the value a trial ended with, or that after its last epoch so far."""
    if trial.state.name == "FAIL":
        return None
    if trial.value is not None:
        return float(trial.value)
    epochs = trial.intermediate_values
    return float(epochs[max(epochs)]) if epochs else None


def settings_of(trial: FrozenTrial) -> Values:
    """Return the values of a trial, as they went into its run config."""
    return dict(trial.user_attrs["settings"])


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return what Optuna calls `parameter`."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.choices is not None:
        return CategoricalDistribution([as_parameter(value) for value in parameter.choices])
    low, high = parameter.ends
    if (listed := parameter.listed()) is not None:
        high = listed[-1]  # Optuna wants a range that ends on a step
    if parameter.is_integer:
        step = 1 if parameter.step is None else int(parameter.step)
        return IntDistribution(int(low), int(high), log=parameter.log, step=step)
    return FloatDistribution(float(low), float(high), log=parameter.log, step=parameter.step)


def as_parameter(value: Any) -> Any:
    """Return `value` as Optuna stores it: lists and tables as JSON."""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value)


def _engine_options(url: str) -> dict[str, Any]:
    # A dashboard that reads meanwhile holds SQLite for a moment: wait, do not fail.
    return {"connect_args": {"timeout": _LOCK_SECONDS}} if url.startswith("sqlite") else {}


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OptunaError, SQLAlchemyError, ImportError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise StudyError(
            f"the study's storage {without_password(url)} cannot be used: {first}"
        ) from error


def without_password(url: str) -> str:
    """Return a storage URL as it may be shown."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url
