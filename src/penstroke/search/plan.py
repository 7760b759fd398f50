"""Which trials train for how long: brackets, rungs and promotions, in integers only.

A plan knows no training. It hands out work, (trial, epochs to have been trained in all), and is
told scores; a trial is a number, its settings stand elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Rung:
    """So many trials, trained for so many epochs in all."""

    trials: int
    epochs: int


@dataclass(frozen=True)
class Bracket:
    """Rungs one after another; the best of each go on to the next, from their checkpoint."""

    rungs: tuple[Rung, ...]

    @property
    def epochs(self) -> int:
        """Epochs trained in all: a promoted trial goes on, it does not begin again."""
        before = 0
        total = 0
        for rung in self.rungs:
            total += rung.trials * (rung.epochs - before)
            before = rung.epochs
        return total


def hyperband(max_epochs: int, eta: int) -> list[Bracket]:
    """Return the brackets of Hyperband, the most aggressive first (Li et al. 2018, algorithm 1).

    Bracket s = s_max … 0 begins with n = ⌈(s_max + 1) ηˢ / (s + 1)⌉ trials of R η⁻ˢ epochs. For
    R = 81, η = 3 that is n = 81, 34, 15, 8, 5; the paper's own table prints 81, 27, 9, 6, 5, since
    its code floors (s_max + 1) / (s + 1) before multiplying. Epochs are whole: R η⁻ˢ is rounded
    down. No logarithm of floats decides s_max.
    """
    rungs = budgets(max_epochs, eta)
    return [_bracket(rungs[-1 - s :], eta, len(rungs)) for s in range(len(rungs) - 1, -1, -1)]


def budgets(max_epochs: int, eta: int) -> list[int]:
    """Return the epochs of each rung, least first: R, R η⁻¹, …, each rounded down, while ≥ 1."""
    found = [max_epochs]
    while found[0] // eta >= 1:
        found.insert(0, found[0] // eta)
    return found


def _bracket(rungs: list[int], eta: int, brackets: int) -> Bracket:
    s = len(rungs) - 1
    trials = -(-brackets * eta**s // (s + 1))
    return Bracket(tuple(Rung(trials // eta**i, epochs) for i, epochs in enumerate(rungs)))


def cut_to(bracket: Bracket, trials: int) -> Bracket:
    """Return `bracket` begun with no more than `trials`: of a small space there are no more."""
    rungs = [Rung(min(rung.trials, trials), rung.epochs) for rung in bracket.rungs]
    return Bracket(tuple(rung for rung in rungs if rung.trials))


@dataclass(frozen=True, order=True)
class Work:
    """Train `trial` until it has had `epochs` in all."""

    trial: int
    epochs: int


class Plan(Protocol):
    """What the conductor of a search asks: what next, and what has become of whom."""

    def next(self) -> Work | None:
        """Return work that can begin now, each once; None while all waits for scores."""

    def told(self, work: Work, score: float | None) -> None:
        """Take the score of finished work, higher is better; None where it failed."""

    @property
    def is_done(self) -> bool:
        """Whether no work is left, handed out or not."""

    def stopped(self) -> Iterator[int]:
        """Yield the trials that will not be trained on, each once."""


class Brackets:
    """Successive halving in each of several brackets; work of a later one fills waiting workers.

    Promotions depend on scores alone, never on who finished first: equal scores go by number.
    """

    def __init__(self, brackets: Sequence[Bracket]) -> None:
        first = 0
        self._halvings = []
        for bracket in brackets:
            self._halvings.append(_Halving(bracket, first))
            first += bracket.rungs[0].trials
        self.trials = first
        self._stopped: list[int] = []

    def next(self) -> Work | None:
        """Return work that can begin now, of the earliest bracket that has any."""
        for halving in self._halvings:
            if halving.ready:
                return halving.ready.pop(0)
        return None

    def told(self, work: Work, score: float | None) -> None:
        """Take a score; the last of a rung decides who goes on."""
        halving = next(h for h in self._halvings if h.has(work.trial))
        self._stopped += halving.told(work, score)

    @property
    def is_done(self) -> bool:
        """Whether every bracket has come to its end."""
        return all(halving.is_done for halving in self._halvings)

    def stopped(self) -> Iterator[int]:
        """Yield the trials that will not be trained on, each once."""
        while self._stopped:
            yield self._stopped.pop(0)


class _Halving:
    """One bracket as it is gone through."""

    def __init__(self, bracket: Bracket, first: int) -> None:
        self._rungs = bracket.rungs
        self._members = range(first, first + bracket.rungs[0].trials)
        self._rung = 0
        self._scores: dict[int, float | None] = {}
        self.is_done = False
        self.ready = [Work(trial, self._rungs[0].epochs) for trial in self._members]

    def has(self, trial: int) -> bool:
        return trial in self._members

    def told(self, work: Work, score: float | None) -> list[int]:
        """Take a score; return the trials that are given up with it."""
        self._scores[work.trial] = score
        is_last = self._rung == len(self._rungs) - 1
        ended = [work.trial] if is_last else []
        if len(self._scores) == self._rungs[self._rung].trials:
            given_up = self._promote()
            return ended if is_last else given_up
        return ended

    def _promote(self) -> list[int]:
        scored = [(-score, trial) for trial, score in self._scores.items() if score is not None]
        ranked = [trial for _, trial in sorted(scored)]
        self._rung += 1
        places = self._rungs[self._rung].trials if self._rung < len(self._rungs) else 0
        promoted = ranked[:places]
        given_up = [trial for trial in self._scores if trial not in promoted]
        self._scores = {}
        if not promoted:
            self.is_done = True
            return given_up
        # Failed trials may leave fewer than the rung has places for.
        self._rungs = (
            *self._rungs[: self._rung],
            Rung(len(promoted), self._rungs[self._rung].epochs),
            *(Rung(min(r.trials, len(promoted)), r.epochs) for r in self._rungs[self._rung + 1 :]),
        )
        self.ready = [Work(trial, self._rungs[self._rung].epochs) for trial in sorted(promoted)]
        return given_up


def asha_bracket(trials: int, max_epochs: int, eta: int) -> Bracket:
    """Return the rungs that asynchronous halving climbs; how many reach each is an expectation."""
    rungs = enumerate(budgets(max_epochs, eta))
    return Bracket(tuple(Rung(trials // eta**i, epochs) for i, epochs in rungs if trials // eta**i))


class AsynchronousHalving:
    """ASHA (Li et al. 2020, algorithm 2): promote whoever is among the best so far of a rung.

    Nobody waits for a rung to fill, so that who is promoted depends on who finished first.
    """

    def __init__(self, trials: int, max_epochs: int, eta: int) -> None:
        self.trials = trials
        self._budgets = budgets(max_epochs, eta)
        self._eta = eta
        self._scores: list[dict[int, float | None]] = [{} for _ in self._budgets]
        self._promoted: list[set[int]] = [set() for _ in self._budgets]
        self._begun = 0
        self._running = 0
        self._stopped: list[int] = []
        self._ended: set[int] = set()

    @property
    def budgets(self) -> tuple[int, ...]:
        """Epochs of each rung."""
        return tuple(self._budgets)

    def next(self) -> Work | None:
        """Return a promotion from the highest rung that has one, else a new trial."""
        for rung in reversed(range(len(self._budgets) - 1)):
            for trial in self._promotable(rung):
                self._promoted[rung].add(trial)
                self._running += 1
                return Work(trial, self._budgets[rung + 1])
        if self._begun < self.trials:
            self._begun += 1
            self._running += 1
            return Work(self._begun - 1, self._budgets[0])
        return None

    def told(self, work: Work, score: float | None) -> None:
        """Take a score."""
        self._running -= 1
        rung = self._budgets.index(work.epochs)
        self._scores[rung][work.trial] = score
        if score is None or rung == len(self._budgets) - 1:
            self._end(work.trial)
        if self.is_done:
            for trial in range(self._begun):
                self._end(trial)

    @property
    def is_done(self) -> bool:
        """Whether nothing runs, nothing new is left, and nobody is to be promoted."""
        can_promote = any(self._promotable(rung) for rung in range(len(self._budgets) - 1))
        return self._running == 0 and self._begun == self.trials and not can_promote

    def stopped(self) -> Iterator[int]:
        """Yield the trials that will not be trained on, each once."""
        while self._stopped:
            yield self._stopped.pop(0)

    def _promotable(self, rung: int) -> list[int]:
        scored = [(-s, trial) for trial, s in self._scores[rung].items() if s is not None]
        best = [trial for _, trial in sorted(scored)][: len(self._scores[rung]) // self._eta]
        return [trial for trial in best if trial not in self._promoted[rung]]

    def _end(self, trial: int) -> None:
        if trial not in self._ended:
            self._ended.add(trial)
            self._stopped.append(trial)
