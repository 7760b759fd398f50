"""What a plan will cost, from a measured second of training."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstroke.config.settings import Resolved, RunConfig
from penstroke.config.space import SearchConfig, Space
from penstroke.data.dataset import DataSplits
from penstroke.errors import ConfigError
from penstroke.models.build import build_network
from penstroke.models.summary import summarize
from penstroke.search.plan import Bracket
from penstroke.search.proposals import brackets_of, listed_settings
from penstroke.training.device import apply, resolve
from penstroke.training.timing import seconds_a_step

_MEASURED = 3
_SECONDS_EACH = 0.4
_SAMPLE = 64
"""So many settings stand for all in the mean cost."""
_VALIDATION_SHARE = 1 / 3
"""Of the work of a step: forward only."""


@dataclass(frozen=True)
class Estimate:
    """What a plan comes to.

    Attributes:
        brackets: of the plan.
        trials: in all.
        epochs: in all.
        multiply_adds: in all.
        seconds: of one worker, in all.
        longest_seconds: of a trial that goes the whole way: no number of workers makes it shorter.
    """

    brackets: tuple[Bracket, ...]
    trials: int
    epochs: int
    multiply_adds: int
    seconds: float
    longest_seconds: float


class Estimator:
    """What plans over one space come to; training is measured once, when this is made."""

    def __init__(self, config: RunConfig, search: SearchConfig, data: DataSplits) -> None:
        self._space = Space(config, search.space)
        self._images = len(data.train)
        settings = listed_settings(self._space, search, config.train.epochs)[:_SAMPLE]
        sample = [self._sized(self._space.config(one), len(data.classes)) for one in settings]
        cost = measured_cost(sample, len(data.classes), resolve(one_thread(config)))
        images = self._images + len(data.validation) * _VALIDATION_SHARE
        self._multiply_adds = statistics.mean(one.multiply_adds for one in sample)
        self._epoch_seconds = statistics.mean(cost.epoch_seconds(one, images) for one in sample)

    def __call__(self, max_epochs: int, search: SearchConfig) -> Estimate:
        """Return what the plan of `search` comes to with so many epochs at most."""
        brackets = planned_brackets(self._space, search, max_epochs)
        epochs = search.runs_a_trial * sum(bracket.epochs for bracket in brackets)
        return Estimate(
            tuple(brackets), sum(b.rungs[0].trials for b in brackets), epochs,
            round(3 * epochs * self._images * self._multiply_adds), epochs * self._epoch_seconds,
            max_epochs * self._epoch_seconds,
        )  # fmt: skip

    @staticmethod
    def _sized(config: RunConfig, num_classes: int) -> Sized:
        network = build_network(config.model, num_classes=num_classes, mean=0.0, std=1.0)
        return Sized(config, summarize(network).multiply_adds)


def planned_brackets(space: Space, search: SearchConfig, max_epochs: int) -> list[Bracket]:
    """Return the brackets of `search`, cut to what the space has."""
    return brackets_of(search, max_epochs, len(listed_settings(space, search, max_epochs)))


def fit_to_time(
    of: Estimator, config: RunConfig, search: SearchConfig, seconds: float, workers: int
) -> tuple[RunConfig, SearchConfig]:
    """Return the settings whose plan takes about `seconds` of `workers`.

    Trials grow or shrink where they are free to; Hyperband repeats its brackets, or where one round
    is too long already lowers the epochs; a grid can only lower the epochs.

    Raises:
        ConfigError: not one trial would come to its end.
    """
    epochs, has_free_trials = config.train.epochs, search.method in ("random", "tpe", "asha")
    least_epochs = epochs if has_free_trials else 1
    least = of(least_epochs, search)
    if least.longest_seconds > seconds:
        raise ConfigError(
            f"the time is too short: one trial (epochs: {least_epochs}) takes about "
            f"{least.longest_seconds:.0f} s, and {seconds:.0f} s can be used; give more, or train "
            "on fewer images: --set data.max_train_images=COUNT"
        )
    if has_free_trials:
        trials = max(1, int(search.trials * workers * seconds / least.seconds))
        return config, search.model_copy(update={"trials": trials})
    while epochs > 1 and not _fits(of(epochs, search), seconds, workers):
        epochs -= 1
    if search.method == "hyperband":
        rounds = max(1, int(search.rounds * workers * seconds / of(epochs, search).seconds))
        search = search.model_copy(update={"rounds": rounds})
    return with_epochs(config, epochs), search


def _fits(plan: Estimate, seconds: float, workers: int) -> bool:
    return plan.seconds <= workers * seconds and plan.longest_seconds <= seconds


def with_epochs(config: RunConfig, epochs: int) -> RunConfig:
    """Return `config` with so many epochs, neither more nor less."""
    return config.replace(train={"epochs": epochs, "min_steps": 0})


def one_thread(config: RunConfig) -> RunConfig:
    """Return `config` as a worker trains it: one thread each is faster than two that wait."""
    return config.replace(train={"threads": 1})


@dataclass(frozen=True)
class Sized:
    """Settings, and the multiply-adds of one image forward through their network."""

    config: RunConfig
    multiply_adds: int


@dataclass(frozen=True)
class Cost:
    """Seconds of one worker: so many a step, and so many a multiply-add an image."""

    seconds_a_step: float
    seconds_a_multiply_add: float

    def epoch_seconds(self, one: Sized, images: float) -> float:
        """Return the seconds of one epoch."""
        an_image = self.seconds_a_step / one.config.train.batch_size
        return images * (an_image + self.seconds_a_multiply_add * one.multiply_adds)


def measured_cost(sample: Sequence[Sized], num_classes: int, resolved: Resolved) -> Cost:
    """Train the smallest, the middle and the largest of `sample` for a moment each, alone.

    Two unknowns are fitted to the three, by least squares; neither may be negative.
    """
    by_size = sorted(sample, key=lambda one: one.multiply_adds)
    places = np.linspace(0, len(by_size) - 1, min(_MEASURED, len(by_size))).astype(int)
    chosen = [by_size[place] for place in places]
    seconds = np.array([
        seconds_a_step(apply(one.config, resolved), num_classes=num_classes, seconds=_SECONDS_EACH)
        for one in chosen
    ])  # fmt: skip
    work = np.array([one.multiply_adds * one.config.train.batch_size for one in chosen], float)
    terms = np.stack([np.ones(len(chosen)), work], axis=1)
    (a_step, a_multiply_add), *_ = np.linalg.lstsq(terms, seconds, rcond=None)
    if a_step < 0 or a_multiply_add < 0 or len(chosen) == 1:
        a_step, a_multiply_add = 0.0, float((seconds / work).mean())
    return Cost(float(a_step), float(a_multiply_add))
