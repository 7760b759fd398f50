"""The search as it happens: work from the plan to the workers, what comes back to the study.

This process alone decides and writes. Whatever is in the study already is told to the plan instead
of being trained again, so that going on after a kill is nothing but beginning.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from penstroke.config.space import Values
from penstroke.errors import StudyError
from penstroke.runs.epochs import last_checkpoint, remove_checkpoints, write_epochs
from penstroke.runs.run import Run
from penstroke.search.engine import AnyEngine
from penstroke.search.plan import Plan, Work
from penstroke.search.study import Study, has_ended
from penstroke.search.trial_worker import Event, Failed, Job, Progress

_ATTEMPTS = 3
"""So often may the worker of one job die before the trial is taken to be the cause."""
_TICK_SECONDS = 0.5


@dataclass(eq=False)
class _Open:
    """Work that has been handed out, and the runs it waits for."""

    work: Work
    runs: list[Run]
    missing: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Standing:
    """How far a search has come: what a person wants to see while it runs."""

    running: tuple[Work, ...]
    epochs_trained: int
    best: tuple[int, Values, float] | None
    failed: int


class Conductor:
    """One search under way.

    Args:
        study: where all of it is kept.
        plan: what to train next.
        engine: who trains.
        values_of: the settings of a trial by its number; None where there are no more.
        watch: called with the standing whenever it changes.
        deadline: a `time.monotonic()` after which nothing more is begun or waited for.
    """

    def __init__(
        self, study: Study, plan: Plan, engine: AnyEngine, *,
        values_of: Callable[[int], Values | None],
        watch: Callable[[Standing], None] = lambda _: None,
        deadline: float | None = None,
    ) -> None:  # fmt: skip
        self._study, self._plan, self._engine = study, plan, engine
        self._values_of, self._watch, self._deadline = values_of, watch, deadline
        self._queue: deque[str] = deque()
        self._open: dict[int, _Open] = {}
        self._runs: dict[str, Run] = {}
        self._attempts = _Attempts()
        self._best: tuple[int, Values, float] | None = study.best()
        self._failed = 0
        self._epochs_trained = 0
        self._ended = {n for n, t in study.trials().items() if t.state.is_finished()}

    def run(self) -> bool:
        """Go through the plan; return whether it came to its end before the deadline."""
        try:
            return self._go_through()
        finally:
            self._let_go()

    def _go_through(self) -> bool:
        while not self._plan.is_done:
            if self._deadline is not None and time.monotonic() > self._deadline:
                return False
            self._hand_out()
            self._watch(self._standing())
            for event in self._engine.wait(_TICK_SECONDS):
                self._take(event)
        self._end_stopped()
        self._watch(self._standing())
        return True

    def _let_go(self) -> None:
        """Leave nothing running: what was not finished waits for the search to go on."""
        with contextlib.suppress(StudyError):  # what failed has been said
            self._study.ledger.wait_all()
        self._engine.cancel()

    def _hand_out(self) -> None:
        """Give every free worker something, where there is something."""
        while self._engine.free:
            if self._queue:
                self._submit(self._queue.popleft())
            elif (work := self._plan.next()) is None:
                return
            else:
                self._begin(work)

    def _begin(self, work: Work) -> None:
        """Queue what is missing of `work`; where nothing is, tell the plan at once."""
        values = self._values_of(work.trial)
        if values is None:
            self._tell(work, None)
            return
        if work.trial not in self._study.ledger:
            self._study.ledger.begin(work.trial, values)
        runs = self._study.runs_of(work.trial, values)
        score = self._study.score(runs, work.epochs)
        if score is not None or work.trial in self._ended:
            if work.trial not in self._ended:  # the driver was killed before it could report it
                found = self._study.metrics_by_epoch(runs, work.epochs)
                self._study.ledger.report(work.trial, found)
            self._tell(work, score)
            return
        self._study.ledger.go_on(work.trial)
        named = {f"{work.trial}/{member}": run for member, run in enumerate(runs)}
        self._runs |= named
        unfinished = [key for key, run in named.items() if not has_ended(run, work.epochs)]
        opened = self._open[work.trial] = _Open(work, runs, set(unfinished))
        self._queue.extend(unfinished)
        if not unfinished:
            self._close(opened)

    def _submit(self, key: str) -> None:
        opened = self._open.get(_trial_of(key))
        if opened is not None:  # else its trial has failed meanwhile
            self._engine.submit(_job(key, self._runs[key], opened.work.epochs))

    def _take(self, event: Event) -> None:
        """Take what a worker tells; late words about a failed trial are passed over."""
        opened = self._open.get(_trial_of(event.key))
        if opened is None:
            return
        if isinstance(event, Progress):
            write_epochs(self._runs[event.key], event.metrics, event.state, keep_best=False)
            self._epochs_trained += len(event.metrics)
        elif isinstance(event, Failed):
            self._mend(opened, event)
        else:
            opened.missing.discard(event.key)
            self._attempts.forget(event.key)
            if not opened.missing:
                self._close(opened)

    def _mend(self, opened: _Open, event: Failed) -> None:
        """Try again where only the worker failed; else the trial has."""
        if self._attempts.another_after(event):
            self._queue.appendleft(event.key)
        else:
            self._fail(opened, event.reason + self._attempts.counted(event.key))

    def _close(self, opened: _Open) -> None:
        """Enter the scores of finished work, and tell the plan."""
        work = opened.work
        histories = [run.history()[: work.epochs] for run in opened.runs]
        score = self._study.score_of(histories)
        if score is None:
            self._fail(opened, "its score is not a finite number")
            return
        del self._open[work.trial]
        ledger = self._study.ledger
        ledger.report(work.trial, self._study.metrics_by_epoch(opened.runs, work.epochs))
        ledger.pause(work.trial)
        self._tell(work, score)

    def _fail(self, opened: _Open, reason: str) -> None:
        self._study.ledger.fail(opened.work.trial, reason)
        self._ended.add(opened.work.trial)
        self._failed += 1
        del self._open[opened.work.trial]
        self._tell(opened.work, None)

    def _tell(self, work: Work, score: float | None) -> None:
        self._plan.told(work, score)
        self._end_stopped()

    def _end_stopped(self) -> None:
        """Enter who will not be trained on; only who went the whole way keeps a checkpoint."""
        for trial in self._plan.stopped():
            if trial in self._ended or trial not in self._study.ledger:
                continue
            self._ended.add(trial)
            self._end(trial)

    def _end(self, trial: int) -> None:
        values = self._values_of(trial)
        assert values is not None, "a trial in the ledger has settings"
        runs = self._study.runs_of(trial, values)
        score = self._study.score_of([run.history() for run in runs])
        assert score is not None, "a trial without a score fails"
        metric = self._study.sign * score
        is_complete = all(has_ended(run, self._study.record.max_epochs) for run in runs)
        if not is_complete:  # before it is entered as ended: after that nobody looks at it again
            for run in runs:
                remove_checkpoints(run)
        self._study.ledger.end(trial, metric, is_complete=is_complete)
        best = self._best
        if is_complete and (best is None or score > self._study.sign * best[2]):
            self._best = (trial, values, metric)

    def _standing(self) -> Standing:
        running = tuple(opened.work for opened in self._open.values())
        return Standing(running, self._epochs_trained, self._best, self._failed)


def train_all(engine: AnyEngine, runs: Sequence[Run], watch: Callable[[], None]) -> list[Run]:
    """Train `runs` to their end on all workers; return those that came to it.

    `watch` is called whenever one has.
    """
    done = [run for run in runs if has_ended(run, run.record.config.train.epochs)]
    waiting = {f"run/{index}": run for index, run in enumerate(runs) if run not in done}
    queue = deque(waiting)
    attempts = _Attempts()
    while waiting:
        while queue and engine.free:
            key = queue.popleft()
            engine.submit(_job(key, waiting[key], waiting[key].record.config.train.epochs))
        for event in engine.wait(_TICK_SECONDS):
            if event.key not in waiting:
                continue
            if isinstance(event, Progress):
                write_epochs(waiting[event.key], event.metrics, event.state, keep_best=False)
            elif isinstance(event, Failed) and attempts.another_after(event):
                queue.append(event.key)
            else:
                run = waiting.pop(event.key)
                remove_checkpoints(run)
                done += [] if isinstance(event, Failed) else [run]
                watch()
    return done


class _Attempts:
    """How often the worker of each job has died."""

    def __init__(self) -> None:
        self._deaths: Counter[str] = Counter()

    def another_after(self, event: Failed) -> bool:
        """Count a failure; return whether to try again: only the worker failed, and not often."""
        self._deaths[event.key] += 1
        return event.can_retry and self._deaths[event.key] < _ATTEMPTS

    def counted(self, key: str) -> str:
        """Return how often it was tried, where that was more than once."""
        return f" ({self._deaths[key]} times)" if self._deaths[key] > 1 else ""

    def forget(self, key: str) -> None:
        """Begin counting again: the job has come to its end."""
        del self._deaths[key]


def _job(key: str, run: Run, epochs: int) -> Job:
    checkpoint, _ = last_checkpoint(run, needs_best=False)
    state = checkpoint.to_bytes() if checkpoint else None
    return Job(key, run.record.config, run.record.resolved, epochs, state)


def _trial_of(key: str) -> int:
    return int(key.partition("/")[0])
