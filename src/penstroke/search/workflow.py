"""The steps of a search: plan, trials, the best again with new seeds, one opening of the test."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from textwrap import shorten

from penstroke.config.settings import SYNTHETIC, RunConfig
from penstroke.config.space import SearchConfig, Space
from penstroke.config.toml import flatten
from penstroke.data.dataset import DataSplits
from penstroke.data.lines import LineSplits
from penstroke.errors import ConfigError, StudyError
from penstroke.files import sha256, write_text_atomically
from penstroke.machine import machine_facts, package_versions
from penstroke.runs.epochs import remove_checkpoints
from penstroke.runs.pipeline import data_facts, start_or_resume
from penstroke.runs.record import folder_path, now
from penstroke.runs.run import Run
from penstroke.search.cost_estimate import CostModel, Estimate, fit_to_time, with_epochs
from penstroke.search.engine import Engine, resolved_for_worker, shared_data
from penstroke.search.plan import brackets_of, draw_settings
from penstroke.search.runner import Runner, SearchStatus, TrainingQueue
from penstroke.search.study import SearchResult, Study, StudyRecord, has_ended
from penstroke.search.trial_store import Trial
from penstroke.training.loop import Epoch

_USABLE_SHARE = 0.9
"""Of a time budget: the rest is for workers that wait for the last of a rung."""


@dataclass(frozen=True)
class SearchRequest:
    """What is to be searched."""

    config: RunConfig
    search: SearchConfig
    title: str = ""
    time_budget_seconds: float | None = None
    storage: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the trials."""
        facts = [self.config.to_dict(), self.search.to_dict(), self.time_budget_seconds]
        return sha256(json.dumps(facts, sort_keys=True).encode())

    def config_with_epochs(self) -> RunConfig:
        """Return the base config with its epochs settled; ConfigError without validation images."""
        composed = [name for name in self.search.space if "synthesis." in name]
        if composed and self.config.data.dataset == SYNTHETIC:
            raise ConfigError(
                f"search.space.{composed[0]}: would change the lines that trials are judged by: "
                "search it on a data set of labelled lines (--dataset NAME)"
            )
        if self.search.folds is not None:  # refused where there are none
            self.config.replace({"data.folds": self.search.folds, "data.fold": 0})
        if not self.config.data.validates and self.search.folds is None:
            raise ConfigError(
                "data.validation_fraction: a search needs validation images to choose by: set it "
                "above 0 (for example 0.1), or use --folds"
            )
        if self.search.max_epochs is not None:
            return with_epochs(self.config, self.search.max_epochs)
        images = self.config.epoch_size(len(shared_data(self.config).train))
        return with_epochs(self.config, self.config.train.epochs_for(images))


def plan_search(request: SearchRequest, workers: int) -> tuple[RunConfig, SearchConfig, Estimate]:
    """Return the settings that a study of `request` would have, and its cost."""
    config, search = request.config_with_epochs(), request.search
    cost = CostModel(config, search, shared_data(config))
    if request.time_budget_seconds is not None:
        seconds = request.time_budget_seconds * _USABLE_SHARE
        config, search = fit_to_time(cost, config, search, seconds, workers)
    return config, search, cost.estimate(search, config.train.epochs)


def open_study(
    request: SearchRequest, *, stem: str, name: str | None = None, workers: int = 1,
    overwrite: bool = False,
) -> Study:  # fmt: skip
    """Return the study of `request`: the same search of the same data is the same study.

    ConfigError: the space does not fit the settings, or there are no validation images. StudyError:
    `name` is taken, by another search or by the best run of a removed study.
    """
    config = request.config_with_epochs()
    data = shared_data(config)
    Space(config, request.search.space)
    fingerprint = sha256(f"{request.fingerprint} {data.fingerprint}".encode())[:8]
    path = folder_path(f"{stem}-{fingerprint}" if name is None else name)
    best_run = _best_run_path(path)
    if overwrite:
        for old in (Study.at_or_damaged(path), Run.at_or_damaged(best_run)):
            if old:
                old.remove()
    if study := Study.at(path):
        _check_same(study, request, config, data)
        return study
    if (best_run / "run.toml").exists():  # refused now rather than at the end of the search
        raise StudyError(
            f"{best_run} already exists, from a study that was removed: remove it with "
            f"`penstroke runs rm {best_run.name}`, or choose another --name"
        )
    resolved = resolved_for_worker(config)
    search = request.search
    if request.time_budget_seconds is not None:
        config, search, _ = plan_search(request, workers)
    return Study.create(path, StudyRecord(
        created=now(), title=request.title, config=config, search=search, resolved=resolved,
        data=data_facts(data), request=request.fingerprint, storage=request.storage,
        time_budget_seconds=request.time_budget_seconds,
        versions=package_versions(), machine=machine_facts(),
    ))  # fmt: skip


def _check_same(
    study: Study, request: SearchRequest, config: RunConfig, data: DataSplits | LineSplits
) -> None:
    record = study.record
    if record.data.fingerprint != data.fingerprint:
        raise StudyError(
            f"{study.path} was made with another version of {data.name}: choose another --name, "
            "or --overwrite to replace it"
        )
    if record.request == request.fingerprint:
        return
    theirs = flatten(record.config.to_dict() | {"search": record.search.to_dict()})
    ours = flatten(config.to_dict() | {"search": request.search.to_dict()})
    names = sorted(k for k in theirs.keys() | ours.keys() if theirs.get(k) != ours.get(k))
    what = ", ".join(
        f"{k} ({_brief(theirs.get(k))} there, {_brief(ours.get(k))} here)" for k in names[:4]
    )
    raise StudyError(
        f"{study.path} is another search: {what or 'its time budget'} differs; choose another "
        "--name, or --overwrite to replace it"
    )


def _brief(value: object) -> str:
    return shorten(str(value), 60)  # a list of texts may have thousands


def planned_epochs(study: Study) -> int:
    """Return the epochs that the whole plan trains; for asha an expectation."""
    plan, max_epochs = study.record.search, study.record.max_epochs
    brackets = brackets_of(plan, max_epochs, len(draw_settings(study.space, plan, max_epochs)))
    return plan.runs_per_trial * sum(bracket.epochs for bracket in brackets)


def search(
    study: Study, engine: Engine, on_status: Callable[[SearchStatus], None] = lambda _: None
) -> bool:
    """Train what the plan asks for and the study lacks; return whether the plan was completed.

    A time budget may end it before; what earlier calls have spent is counted.
    """
    if study.time_is_up:
        return False
    study.store.mark_all_waiting()
    is_complete = Runner(study, engine, on_status).run()
    if not is_complete:
        write_text_atomically(study.path / "time-is-up", now() + "\n")
    return is_complete


def confirm(
    study: Study, engine: Engine, seeds: int, on_run: Callable[[], None] = lambda: None
) -> list[float]:
    """Train the best settings with new seeds, and call `on_run` after each run; return the metrics.

    The best of many scores is too good, since it was also chosen for its luck; new seeds have none.
    """
    best = study.best()
    if best is None or seeds == 0:
        return []
    config = study.space.config(best.settings)
    epochs, used = config.train.epochs, study.record.search.seeds
    stem = study.path / "confirm" / f"{best.number:04d}-seed"
    groups = [
        study.runs_at(stem.with_name(f"{stem.name}-{one.train.seed}"), study.folds_of(one))
        for one in config.seeds(used + seeds)[used:]
    ]
    queue = TrainingQueue(engine)
    for run in chain.from_iterable(groups):
        if not has_ended(run, epochs):
            queue.add(run, epochs)
    while queue:
        for run, _ in queue.step():
            remove_checkpoints(run)
            on_run()
    scores = [study.score(group, epochs) for group in groups]
    return [study.sign * score for score in scores if score is not None]


def conclude(
    study: Study, confirmed: Sequence[float], *, refit_all: bool = False, report: bool = True,
    on_epoch: Callable[[Epoch, int], None] = lambda epoch, total: None,
) -> SearchResult:  # fmt: skip
    """Train the best settings as a run, open the test split once, and write the result.

    `refit_all`: on the validation images too. `on_epoch`: called with each epoch and their number.
    """
    best = study.best()
    if best is None:
        reasons = Counter(t.failure for t in study.store.trials().values() if t.failure)
        why = "none finished" + (" before the time was up" if study.time_is_up else "")
        if reasons:
            why = f"all failed, most of them because: {reasons.most_common(1)[0][0]}"
        raise StudyError(f"{study.path}: no trial has a score: {why}")
    config = study.space.config(best.settings)
    if study.record.search.final_epochs is not None:
        config = with_epochs(config, study.record.search.final_epochs)
    study.write_best(config)
    result = _result(study, best, confirmed)
    if refit_all:
        config = config.replace({
            "data.validation_fraction": 0.0, "data.folds": None, "data.fold": None,
            "train.checkpoint_metric": "last", "train.patience": None,
        })  # fmt: skip
    path = _best_run_path(study.path)
    if (old := Run.at(path)) and old.record.config != config and old.status == "unfinished":
        old.remove()  # begun with other settings: the search itself costs more than that
    training = start_or_resume(config, stem=study.name, path=path)
    for epoch in training.epochs():
        on_epoch(epoch, training.run.total_epochs)
    training.finish(report=report)  # opens the test split, unless the run was finished before
    run = training.run
    test = {k: figure for k, figure in run.summary().to_dict().items() if k.startswith("test_")}
    result = result.replace({"run": str(run.path), "model": str(run.model_path), "test": test})
    result.write(study.path)
    return result


def _best_run_path(study: Path) -> Path:
    return study.with_name(f"{study.name}-best")


def result_so_far(study: Study) -> SearchResult:
    """Return the result, or while the search is not finished that of the best trial so far."""
    if result := study.result():
        return result
    if best := study.best():
        return _result(study, best, ())
    raise StudyError(f"{study.path}: no trial has a score yet; `penstroke tune` resumes the search")


def _result(study: Study, best: Trial, confirmed: Sequence[float]) -> SearchResult:
    states = Counter(trial.state for trial in study.store.trials().values())
    assert best.metric is not None, "the best trial has a metric"
    return SearchResult(
        study=str(study.path), method=study.record.search.method,
        metric=study.record.search.metric, trials=states.total(), complete=states["complete"],
        pruned=states["pruned"], failed=states["failed"], best_trial=best.number,
        best_metric=best.metric, best_settings=best.settings,
        best_recipe=str(study.path / "best.toml"), epochs_trained=study.epochs_trained(),
        worker_seconds=study.elapsed_seconds(), confirmed=tuple(confirmed),
    )  # fmt: skip
