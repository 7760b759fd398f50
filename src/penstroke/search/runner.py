"""The search while it runs: work from the plan to the workers, results into the study.

The driver alone decides and writes. What the study already contains is given to the plan instead of
being trained again, so that resuming after a kill is the same as starting.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from penstroke.config.space import Values
from penstroke.errors import StudyError
from penstroke.runs.epochs import last_checkpoint, remove_checkpoints, write_epochs
from penstroke.runs.run import Run
from penstroke.search.engine import Engine, Failed, Job, Progress
from penstroke.search.plan import Work, draw_settings, plan_of
from penstroke.search.study import Study, has_ended
from penstroke.search.trial_store import Trial

_ATTEMPTS = 3
"""If the worker of a job dies this often, the job is taken to be the cause."""
_TICK_SECONDS = 0.5
_STARTUP_TRIALS = 10
"""Drawn at random before TPE has enough scores for a model (Optuna's own default)."""
_VAIN_SUGGESTIONS = 50


@dataclass(frozen=True)
class SearchStatus:
    """The state of a running search."""

    running: tuple[Work, ...]
    epochs_trained: int
    best: Trial | None
    failed: int


class Runner:
    """One running search, until its time budget is spent; `on_status` hears of each change."""

    def __init__(
        self, study: Study, engine: Engine, on_status: Callable[[SearchStatus], None]
    ) -> None:
        self._study, self._engine, self._on_status = study, engine, on_status
        record, search = study.record, study.record.search
        drawn = draw_settings(study.space, search, record.max_epochs)
        self._plan = plan_of(search, record.max_epochs, len(drawn))
        is_tpe = search.method == "tpe"
        # The settings of a trial by its number; None if there are no more.
        self._settings_of = _tpe_settings(study, drawn) if is_tpe else dict(enumerate(drawn)).get
        self._deadline = math.inf
        if budget := record.time_budget_seconds:
            self._deadline = time.monotonic() + budget - study.elapsed_seconds() / engine.workers
        self._queue = TrainingQueue(engine)
        self._open: dict[int, _OpenTrial] = {}
        self._scores: dict[int, float] = {}
        self._best = study.best()
        self._failed = 0
        trials = study.store.trials().values()
        self._ended = {one.number for one in trials if one.state not in ("waiting", "running")}

    def run(self) -> bool:
        """Go through the plan; return whether it was completed before the deadline."""
        try:
            while not self._plan.is_done:
                if time.monotonic() > self._deadline:
                    return False
                while self._queue.has_free_worker and (work := self._plan.ask()) is not None:
                    self._start(work)
                self._on_status(self._status())
                for run, failure in self._queue.step():
                    # The end of a run whose trial has failed meanwhile is ignored.
                    for trial in [one for one in self._open.values() if run.path in one.missing]:
                        trial.missing.discard(run.path)
                        if failure is not None:
                            self._fail(trial, failure)
                        elif not trial.missing:
                            self._close(trial)
            self._on_status(self._status())
            return True
        finally:  # leave nothing running: what was not finished waits until the search resumes
            with contextlib.suppress(StudyError):  # the storage's first error has been raised
                self._study.store.mark_all_waiting()
            self._engine.cancel()

    def _start(self, work: Work) -> None:
        """Queue the runs of `work` that need training; if none does, tell the plan at once."""
        settings = self._settings_of(work.trial)
        if settings is None:
            self._tell(work, None)
            return
        store = self._study.store
        if work.trial not in store:
            store.add(work.trial, settings)
        runs = self._study.runs_of(work.trial, settings)
        if work.trial in self._ended:
            self._tell(work, self._study.score(runs, work.epochs))
            return
        store.mark(work.trial, "running")
        unfinished = [run for run in runs if not has_ended(run, work.epochs)]
        trial = _OpenTrial(work, runs, {run.path for run in unfinished})
        self._open[work.trial] = trial
        for run in unfinished:
            self._queue.add(run, work.epochs)
        if not unfinished:
            self._close(trial)

    def _close(self, trial: _OpenTrial) -> None:
        """Record the scores of finished work, and tell the plan."""
        work, store = trial.work, self._study.store
        score = self._study.score(trial.runs, work.epochs)
        if score is None:
            self._fail(trial, "its score is not a finite number")
            return
        del self._open[work.trial]
        store.report(work.trial, self._study.metric_by_epoch(trial.runs, work.epochs))
        store.mark(work.trial, "waiting")
        self._tell(work, score)

    def _fail(self, trial: _OpenTrial, reason: str) -> None:
        for run in trial.runs:
            self._queue.discard(run)
        self._study.store.fail(trial.work.trial, reason)
        self._ended.add(trial.work.trial)
        self._failed += 1
        del self._open[trial.work.trial]
        self._tell(trial.work, None)

    def _tell(self, work: Work, score: float | None) -> None:
        if score is not None:
            self._scores[work.trial] = score
        for trial in self._plan.tell(work, score):
            if trial not in self._ended and trial in self._study.store:
                self._ended.add(trial)
                self._end(trial)

    def _end(self, trial: int) -> None:
        """Record a trial that is not trained further; only a complete one keeps a checkpoint."""
        settings = self._settings_of(trial)
        assert settings is not None, "a trial in the store has settings"
        metric = self._study.sign * self._scores[trial]
        runs = self._study.runs_of(trial, settings)
        is_complete = all(has_ended(run, self._study.record.max_epochs) for run in runs)
        if not is_complete:  # before it is recorded as ended: after that nothing looks at it again
            for run in runs:
                remove_checkpoints(run)
        self._study.store.finish(trial, metric, is_complete=is_complete)
        best = None if self._best is None else self._best.metric
        if is_complete and (best is None or self._study.sign * (metric - best) > 0):
            self._best = Trial(trial, "complete", settings, metric)

    def _status(self) -> SearchStatus:
        running = tuple(trial.work for trial in self._open.values())
        return SearchStatus(running, self._queue.epochs_trained, self._best, self._failed)


def _tpe_settings(study: Study, drawn: list[Values]) -> Callable[[int], Values | None]:
    """Return a function that suggests the settings of a trial; None where none are new.

    By a tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's. Trials in the study keep
    their settings; the first ones are those in `drawn`.
    """
    settings = dict(enumerate(drawn[:_STARTUP_TRIALS]))
    settings |= {number: trial.settings for number, trial in study.store.trials().items()}
    seen = {study.space.config(values).fingerprint() for values in settings.values()}

    def settings_of(trial: int) -> Values | None:
        if trial not in settings:
            seed = study.record.search.seed + trial
            for values in islice(study.store.suggestions(seed), _VAIN_SUGGESTIONS):
                fingerprint = study.space.config(values).fingerprint()
                if fingerprint not in seen:
                    seen.add(fingerprint)
                    settings[trial] = values
                    break
        return settings.get(trial)

    return settings_of


@dataclass(eq=False)
class _OpenTrial:
    """Work that has been handed out, and its runs; `missing` are the paths of unfinished ones."""

    work: Work
    runs: list[Run]
    missing: set[Path]


class TrainingQueue:
    """Runs to be trained by the workers of an engine, written epoch by epoch as they come in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: dict[str, tuple[Run, int]] = {}
        self._waiting: deque[str] = deque()
        self._deaths: dict[str, int] = {}
        self.epochs_trained = 0

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def has_free_worker(self) -> bool:
        """Whether a worker is free that nothing in the queue is waiting for."""
        return self._engine.free > len(self._waiting)

    def add(self, run: Run, epochs: int) -> None:
        """Queue `run`, to be trained to a total of `epochs`."""
        key = str(run.path)
        self._tasks[key], self._deaths[key] = (run, epochs), 0
        self._waiting.append(key)

    def discard(self, run: Run) -> None:
        """Forget `run`; later events about it are ignored."""
        key = str(run.path)
        self._tasks.pop(key, None)
        if key in self._waiting:
            self._waiting.remove(key)

    def step(self) -> list[tuple[Run, str | None]]:
        """Hand out jobs and take events; return the runs that ended, and why if they failed."""
        while self._waiting and self._engine.free:
            key = self._waiting.popleft()
            run, epochs = self._tasks[key]
            checkpoint, _ = last_checkpoint(run, needs_best=False)
            state = checkpoint.to_bytes() if checkpoint else None
            self._engine.submit(Job(key, run.record.config, run.record.resolved, epochs, state))
        ended: list[tuple[Run, str | None]] = []
        for event in self._engine.wait(_TICK_SECONDS):
            if event.key not in self._tasks:
                continue
            run, _ = self._tasks[event.key]
            if isinstance(event, Progress):
                write_epochs(run, event.metrics, event.state, keep_best=False)
                self.epochs_trained += len(event.metrics)
                continue
            failure = event.reason if isinstance(event, Failed) else None
            if isinstance(event, Failed) and event.can_retry:
                self._deaths[event.key] += 1
                if self._deaths[event.key] < _ATTEMPTS:
                    self._waiting.appendleft(event.key)
                    continue
                failure = f"{event.reason} ({self._deaths[event.key]} times)"
            del self._tasks[event.key]
            ended.append((run, failure))
        return ended
