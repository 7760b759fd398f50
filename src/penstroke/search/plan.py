"""Which trials train for how long: brackets, rungs and promotions, in integers only.

A plan knows nothing about training. `ask` hands out work, (trial, total epochs), and `tell` takes
scores; a trial is a number, its settings are kept elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise

from penstroke.config.space import SearchConfig, Space, Values


@dataclass(frozen=True)
class Rung:
    """A number of trials, each trained to a total of `epochs`."""

    trials: int
    epochs: int


@dataclass(frozen=True)
class Bracket:
    """Rungs in order; the best trials of each are promoted to the next, from their checkpoint."""

    rungs: tuple[Rung, ...]

    @property
    def epochs(self) -> int:
        """Epochs trained in all: a promoted trial resumes, it does not start again."""
        pairs = pairwise((Rung(0, 0), *self.rungs))
        return sum(rung.trials * (rung.epochs - before.epochs) for before, rung in pairs)

    def cut_to(self, trials: int) -> Bracket:
        """Return the bracket with at most `trials` trials: a small space has no more."""
        rungs = [Rung(min(rung.trials, trials), rung.epochs) for rung in self.rungs]
        return Bracket(tuple(rung for rung in rungs if rung.trials))


def hyperband(max_epochs: int, eta: int) -> list[Bracket]:
    """Return the brackets of Hyperband, the most aggressive first (Li et al. 2018, algorithm 1).

    Bracket s = s_max … 0 starts with n = ⌈(s_max + 1) ηˢ / (s + 1)⌉ trials of R η⁻ˢ epochs. For
    R = 81, η = 3 that is n = 81, 34, 15, 8, 5; the paper's own table prints 81, 27, 9, 6, 5, since
    its code floors (s_max + 1) / (s + 1) before multiplying. Epochs are whole: R η⁻ˢ is rounded
    down. No logarithm of floats decides s_max.
    """
    epochs = rung_epochs(max_epochs, eta)
    return [
        _bracket(-(-len(epochs) * eta**s // (s + 1)), epochs[-1 - s :], eta)
        for s in reversed(range(len(epochs)))
    ]


def asha_bracket(trials: int, max_epochs: int, eta: int) -> Bracket:
    """Return the rungs of asynchronous halving; the trials that reach each are an expectation."""
    return _bracket(trials, rung_epochs(max_epochs, eta), eta)


def _bracket(trials: int, epochs: Sequence[int], eta: int) -> Bracket:
    """Return the bracket that starts with `trials`, of which 1 in `eta` is promoted each time."""
    rungs = (Rung(trials // eta**i, total) for i, total in enumerate(epochs))
    return Bracket(tuple(rung for rung in rungs if rung.trials))


def rung_epochs(max_epochs: int, eta: int) -> list[int]:
    """Return the epochs of each rung, lowest first: R, R η⁻¹, …, each rounded down, while ≥ 1."""
    epochs = [max_epochs]
    while lower := epochs[0] // eta:
        epochs.insert(0, lower)
    return epochs


def draw_settings(space: Space, search: SearchConfig, max_epochs: int) -> list[Values]:
    """Return the settings of all trials, for methods that do not choose them by scores."""
    if search.method in ("sweep", "grid"):
        return space.grid()
    trials = sum(one.rungs[0].trials for one in brackets_of(search, max_epochs, sys.maxsize))
    return list(islice(space.distinct_draws(search.seed), trials))


def brackets_of(search: SearchConfig, max_epochs: int, settings: int) -> list[Bracket]:
    """Return the brackets of `search` in a space with this number of different `settings`."""
    if search.method == "hyperband":
        wanted = hyperband(max_epochs, search.eta) * search.rounds
    elif search.method == "asha":
        wanted = [asha_bracket(min(search.trials, settings), max_epochs, search.eta)]
    else:
        trials = search.trials if search.method in ("random", "tpe") else settings
        wanted = [Bracket((Rung(trials, max_epochs),))]
    brackets = []
    for bracket in wanted:  # shortened, or left out, where it would find no new settings
        if (cut := bracket.cut_to(settings)).rungs:
            settings -= cut.rungs[0].trials
            brackets.append(cut)
    return brackets


@dataclass(frozen=True, order=True)
class Work:
    """Train `trial` until it has had `epochs` in all."""

    trial: int
    epochs: int


class SuccessiveHalving:
    """Successive halving in several brackets; work of a later bracket fills idle workers.

    Promotions depend on scores alone, never on which trial finished first: ties go by number.
    """

    def __init__(self, brackets: Sequence[Bracket]) -> None:
        firsts = accumulate((bracket.rungs[0].trials for bracket in brackets), initial=0)
        self._brackets = list(map(_OpenBracket, brackets, firsts))

    def ask(self) -> Work | None:
        """Return work that can start now, each once; None while everything waits for scores."""
        ready = next((bracket.ready for bracket in self._brackets if bracket.ready), None)
        return ready.pop(0) if ready else None

    def tell(self, work: Work, score: float | None) -> list[int]:
        """Take a score, higher is better, None if failed; return the trials not trained further."""
        bracket = next(b for b in self._brackets if work.trial in b.trials)
        return bracket.tell(work.trial, score)

    @property
    def is_done(self) -> bool:
        """Whether no work is left, handed out or not."""
        return all(bracket.waits_for == 0 for bracket in self._brackets)


class _OpenBracket:
    def __init__(self, bracket: Bracket, first: int) -> None:
        start, *self._later = bracket.rungs
        self.trials = range(first, first + start.trials)
        self.ready = [Work(trial, start.epochs) for trial in self.trials]
        self.waits_for = start.trials
        self._scores: dict[int, float | None] = {}

    def tell(self, trial: int, score: float | None) -> list[int]:
        self._scores[trial] = score
        self.waits_for -= 1
        if not self._later:
            return [trial]
        if self.waits_for:
            return []
        rung = self._later.pop(0)
        promoted = sorted(_best_first(self._scores)[: rung.trials])
        stopped = [trial for trial in self._scores if trial not in promoted]
        self._scores = {}
        self.ready = [Work(trial, rung.epochs) for trial in promoted]
        self.waits_for = len(promoted)  # fewer than the rung has places for, if trials failed
        return stopped


class AsynchronousHalving:
    """ASHA (Li et al. 2020, algorithm 2): promote a trial that is among the best so far of a rung.

    Nothing waits for a rung to fill, so that promotions depend on which trial finished first.
    """

    def __init__(self, trials: int, max_epochs: int, eta: int) -> None:
        self.rung_epochs = rung_epochs(max_epochs, eta)
        self._trials, self._eta = trials, eta
        self._scores: list[dict[int, float | None]] = [{} for _ in self.rung_epochs]
        self._promoted: list[set[int]] = [set() for _ in self.rung_epochs]
        self._begun = 0
        self._running = 0
        self._stopped: set[int] = set()

    def ask(self) -> Work | None:
        """Return a promotion from the highest rung that has one, else a new trial."""
        for rung in reversed(range(len(self.rung_epochs) - 1)):
            for trial in self._promotable(rung):
                self._promoted[rung].add(trial)
                self._running += 1
                return Work(trial, self.rung_epochs[rung + 1])
        if self._begun == self._trials:
            return None
        self._begun += 1
        self._running += 1
        return Work(self._begun - 1, self.rung_epochs[0])

    def tell(self, work: Work, score: float | None) -> list[int]:
        """Take a score; most trials are stopped by the very last one."""
        self._running -= 1
        rung = self.rung_epochs.index(work.epochs)
        self._scores[rung][work.trial] = score
        ended = {work.trial} if score is None or rung == len(self.rung_epochs) - 1 else set()
        stopped = (set(range(self._begun)) if self.is_done else ended) - self._stopped
        self._stopped |= stopped
        return sorted(stopped)

    @property
    def is_done(self) -> bool:
        """Whether nothing runs, all trials have begun, and none can be promoted."""
        can_promote = any(self._promotable(rung) for rung in range(len(self.rung_epochs) - 1))
        return self._running == 0 and self._begun == self._trials and not can_promote

    def _promotable(self, rung: int) -> list[int]:
        best = _best_first(self._scores[rung])[: len(self._scores[rung]) // self._eta]
        return [trial for trial in best if trial not in self._promoted[rung]]


Plan = SuccessiveHalving | AsynchronousHalving


def plan_of(search: SearchConfig, max_epochs: int, settings: int) -> Plan:
    """Return the plan of `search` in a space with this number of different `settings`."""
    if search.method == "asha":
        return AsynchronousHalving(settings, max_epochs, search.eta)
    return SuccessiveHalving(brackets_of(search, max_epochs, settings))


def _best_first(scores: Mapping[int, float | None]) -> list[int]:
    """Return the trials that have a score, the highest first, equal ones by number."""
    return [t for _, t in sorted((-score, t) for t, score in scores.items() if score is not None)]
