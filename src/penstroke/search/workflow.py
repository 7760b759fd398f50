"""The way of one search: plan, trials, the best again with new seeds, one opening of the test."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstroke.config.settings import RunConfig
from penstroke.config.space import SearchConfig, Space, Values
from penstroke.config.toml import flat
from penstroke.data.dataset import DataSplits
from penstroke.errors import ConfigError, StudyError
from penstroke.files import runs_root, sha256
from penstroke.machine import machine_facts, package_versions
from penstroke.runs.pipeline import data_facts, finish, prepare
from penstroke.runs.record import now
from penstroke.runs.run import Run, name_of
from penstroke.search.cost_estimate import (
    Estimate,
    Estimator,
    fit_to_time,
    one_thread,
    planned_brackets,
    with_epochs,
)
from penstroke.search.engine import AnyEngine
from penstroke.search.proposals import Listed, Suggested, listed_settings, plan_of
from penstroke.search.runner import Conductor, Standing, train_all
from penstroke.search.study import Study, StudyRecord
from penstroke.search.trial_store import reason_of
from penstroke.search.trial_worker import shared_data
from penstroke.training.batches import settle
from penstroke.training.device import resolve
from penstroke.training.loop import Epoch

_USABLE_SHARE = 0.9
"""Of a time budget: the rest is for workers that wait for the last of a rung."""


@dataclass(frozen=True)
class Asked:
    """What somebody wants searched."""

    config: RunConfig
    search: SearchConfig
    title: str = ""
    time_budget_seconds: float | None = None
    storage: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides the trials."""
        facts = [self.config.to_dict(), self.search.to_dict(), self.time_budget_seconds]
        return sha256(json.dumps(facts, sort_keys=True).encode())


def plan_asked(asked: Asked, workers: int) -> tuple[RunConfig, SearchConfig, Estimate]:
    """Return the settings a study of `asked` would have, and what its plan comes to."""
    config, search = _whole_epochs(asked), asked.search
    of = Estimator(config, search, shared_data(config.data))
    if asked.time_budget_seconds is not None:
        seconds = asked.time_budget_seconds * _USABLE_SHARE
        config, search = fit_to_time(of, config, search, seconds, workers)
    return config, search, of(config.train.epochs, search)


def open_study(
    asked: Asked, *, stem: str, name: str | None = None, workers: int = 1, overwrite: bool = False
) -> Study:
    """Return the study of `asked`: the same search of the same data is the same study.

    Raises:
        ConfigError: the space does not fit the settings, or nothing is held out to choose by.
        StudyError: `name` is taken by another search, and says what differs; or by the best run of
            one that was removed.
    """
    config = _whole_epochs(asked)
    data = shared_data(config.data)
    Space(config, asked.search.space)
    path = runs_root() / (name or f"{stem}-{_short(asked, data)}")
    final = _final_path(path)
    if overwrite:
        if (path / "study.toml").exists():
            Study.open(path).remove()
        if (final / "run.toml").exists():
            Run.open(final).remove()
    if (path / "study.toml").exists():
        study = Study.open(path)
        _refuse_another(study, asked, config, data)
        return study
    if (final / "run.toml").exists():  # told now, not when everything is searched
        raise StudyError(
            f"{final} is there, the best of a study that is no more: `penstroke runs rm "
            f"{final.name}`, or choose another --name"
        )
    resolved = resolve(one_thread(config))
    search = asked.search
    if asked.time_budget_seconds is not None:
        config, search, _ = plan_asked(asked, workers)
    return Study.create(path, StudyRecord(
        created=now(), title=asked.title, config=config, search=search, resolved=resolved,
        data=data_facts(data), asked=asked.fingerprint, storage=asked.storage,
        time_budget_seconds=asked.time_budget_seconds,
        versions=package_versions(), machine=machine_facts(),
    ))  # fmt: skip


def planned_epochs(study: Study) -> int:
    """Return the epochs that the whole plan trains; of asha about so many."""
    record = study.record
    brackets = planned_brackets(study.space, record.search, record.max_epochs)
    return record.search.runs_a_trial * sum(bracket.epochs for bracket in brackets)


def search(
    study: Study, engine: AnyEngine, watch: Callable[[Standing], None] = lambda _: None
) -> bool:
    """Train what the plan asks for and the study does not have; return whether it is through.

    With a time budget it may end before: what other invocations have spent of it is counted.
    """
    if study.time_is_up:
        return False
    study.ledger.wait_all()
    record = study.record
    epochs = record.max_epochs
    drawn = listed_settings(study.space, record.search, epochs)
    plan = plan_of(record.search, epochs, len(drawn))
    values_of = Suggested(study, drawn) if record.search.method == "tpe" else Listed(drawn)
    deadline = None
    if record.time_budget_seconds is not None:
        left = record.time_budget_seconds - study.elapsed_seconds() / engine.workers
        deadline = time.monotonic() + left
    conductor = Conductor(study, plan, engine, values_of=values_of, watch=watch, deadline=deadline)
    is_through = conductor.run()
    if not is_through:
        study.note_time_is_up()
    return is_through


def confirm(
    study: Study, engine: AnyEngine, seeds: int, watch: Callable[[], None] = lambda: None
) -> list[float]:
    """Train the best settings with new seeds; return their metrics.

    The best of many scores is too good: it was chosen for its luck too. New seeds have none of it.
    `watch` is called after each.
    """
    best = study.best()
    if best is None or seeds == 0:
        return []
    config = study.space.config(best[1])
    used = study.record.search.repeats
    groups = []
    for one in config.seeds(used + seeds)[used:]:
        stem = study.path / "confirm" / f"{best[0]:04d}-seed-{one.train.seed}"
        members = study.folds_of(one)
        groups.append([study.run_at(stem.with_name(f"{stem.name}-{k}"), member)
                       for k, member in enumerate(members)])  # fmt: skip
    done = train_all(engine, [run for group in groups for run in group], watch)
    whole = [group for group in groups if all(run in done for run in group)]
    scores = [study.score(group, config.train.epochs) for group in whole]
    return [study.sign * score for score in scores if score is not None]


def conclude(
    study: Study,
    confirmed: list[float],
    *,
    everything: bool = False,
    report: bool = True,
    watch: Callable[[Epoch, int], None] = lambda epoch, total: None,
) -> dict[str, Any]:
    """Train the best settings as a run of its own, open the test split once, keep the figures.

    With `everything`, on the validation images too. `watch` is called with each epoch, and with
    how many there will be.
    """
    best = study.best()
    if best is None:
        raise StudyError(f"{study.path}: no trial has a score: every one failed, {_why(study)}")
    trial, values, metric = best
    title = f"The best of {study.name}"
    config = study.space.config(values)
    if study.record.search.final_epochs is not None:
        config = with_epochs(config, study.record.search.final_epochs)
    study.write_best(config, title)
    figures = _figures(study, trial, values, metric, confirmed)
    if everything:
        config = _on_everything(config)
    final = _final_path(study.path)
    _clear_the_way(final, config)
    prepared = prepare(config, stem=study.name, name=name_of(final))
    if prepared.run.status == "finished":  # the test split is opened once
        judged = prepared.run.summary()
    else:
        for epoch in prepared.train():
            watch(epoch, prepared.total_epochs)
        judged = finish(prepared, report=report)
    figures |= {name: judged[name] for name in judged if name.startswith("test_")}
    figures |= {"run": judged["run"], "model": judged["model"]}
    study.write_summary(figures)
    return figures


def _clear_the_way(final: Path, config: RunConfig) -> None:
    """Remove an unfinished last run of other settings: the search itself costs more than that."""
    if (final / "run.toml").exists():
        there = Run.open(final)
        if there.record.config != config and there.status == "unfinished":
            there.remove()


def _final_path(study: Path) -> Path:
    """Return the run directory of the best settings of a study."""
    return study.with_name(f"{study.name}-best")


def _why(study: Study) -> str:
    """Return the reason that most trials failed for, or why there is none."""
    reasons = Counter(reason_of(trial) for trial in study.trials().values())
    reasons.pop("", None)
    if reasons:
        return f"mostly: {reasons.most_common(1)[0][0]}"
    return "or none has finished" + (" before the time was up" if study.time_is_up else "")


def figures_so_far(study: Study) -> dict[str, Any]:
    """Return the final figures, or while the search goes on those of the best so far.

    Raises:
        StudyError: no trial has a score yet.
    """
    if study.summary():
        return study.summary()
    best = study.best()
    if best is None:
        raise StudyError(
            f"{study.path}: no trial has a score yet; `penstroke tune` goes on with it"
        )
    return _figures(study, *best, [])


def _figures(
    study: Study, trial: int, values: Values, metric: float, confirmed: list[float]
) -> dict[str, Any]:
    states = [t.state.name for t in study.trials().values()]
    name = study.record.search.metric
    spread = {}
    if confirmed:
        sd = statistics.stdev(confirmed) if len(confirmed) > 1 else float("nan")
        spread = {f"confirmed_{name}": statistics.mean(confirmed), "confirmed_sd": sd,
                  "confirmed_seeds": len(confirmed)}  # fmt: skip
    return {
        "study": str(study.path), "method": study.record.search.method,
        "trials": len(states), "complete": states.count("COMPLETE"),
        "pruned": states.count("PRUNED"), "failed": states.count("FAIL"),
        "best_trial": trial, f"best_{name}": metric, "best_settings": values, **spread,
        "epochs_trained": study.epochs_trained(),
        "worker_seconds": study.elapsed_seconds(), "best_recipe": str(study.path / "best.toml"),
    }  # fmt: skip


def _whole_epochs(asked: Asked) -> RunConfig:
    """Return the base with its epochs settled: the plan counts in them."""
    config = asked.config
    if not config.data.validates and asked.search.folds is None:
        raise ConfigError(
            "data.validation_fraction: a search needs images to choose by, set it above 0 "
            "(0.1 say), or use --folds"
        )
    epochs = asked.search.max_epochs or settle(config.train, shared_data(config.data)).epochs
    return with_epochs(config, epochs)


def _on_everything(config: RunConfig) -> RunConfig:
    return config.replace(
        data={"validation_fraction": 0.0, "folds": None, "fold": None},
        train={"checkpoint_metric": "last", "patience": None},
    )


def _short(asked: Asked, data: DataSplits) -> str:
    return sha256(f"{asked.fingerprint} {data.fingerprint}".encode())[:8]


def _refuse_another(study: Study, asked: Asked, config: RunConfig, data: DataSplits) -> None:
    record = study.record
    if record.data.fingerprint != data.fingerprint:
        raise StudyError(
            f"{study.path} was made with another version of {data.name}: choose another --name, "
            "or --overwrite to replace it"
        )
    if record.asked == asked.fingerprint:
        return
    theirs = {**flat(record.config.to_dict()), **flat({"search": record.search.to_dict()})}
    ours = {**flat(config.to_dict()), **flat({"search": asked.search.to_dict()})}
    names = sorted(k for k in theirs.keys() | ours.keys() if theirs.get(k) != ours.get(k))
    what = ", ".join(f"{k} ({theirs.get(k)} there, {ours.get(k)} here)" for k in names[:4])
    raise StudyError(
        f"{study.path} is another search: {what or 'its time budget'} differs; choose another "
        "--name, or --overwrite to replace it"
    )
