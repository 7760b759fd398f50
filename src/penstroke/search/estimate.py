"""What a plan will cost, from a measured second of training."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from penstroke.config import IMAGE_SIZE, Resolved, RunConfig
from penstroke.datasets import DataSplits
from penstroke.models import build_network, summarize
from penstroke.search.plan import Bracket
from penstroke.search.settings import brackets_of, listed_settings
from penstroke.space import SearchConfig, Space
from penstroke.training import apply, resolve
from penstroke.training.optimizer import Optimizer
from penstroke.training.step import train_step

_MEASURED = 3
_SECONDS_EACH = 0.4


@dataclass(frozen=True)
class Estimate:
    """What a plan comes to."""

    brackets: tuple[Bracket, ...]
    trials: int
    epochs: int
    multiply_adds: int
    seconds: float


def estimator(
    config: RunConfig, search: SearchConfig, data: DataSplits
) -> Callable[[int, SearchConfig], Estimate]:
    """Return what any plan of `search` comes to, by (epochs, search); training is measured once."""
    space = Space(config, search.space)
    settings = listed_settings(space, search, config.train.epochs)
    sample = [space.config(values) for values in settings[:64]]
    sizes = [multiply_adds_of(one, len(data.classes)) for one in sample]
    resolved = resolve(one_thread(config))
    cost = measured_cost(sample, len(data.classes), resolved)
    images = len(data.train)
    validation = len(data.validation) / 3  # forward only, a third of the work of a step
    an_epoch = statistics.mean(
        cost.epoch_seconds(one, size, round(images + validation))
        for one, size in zip(sample, sizes, strict=True)
    )
    members = search.folds or search.repeats

    def of(max_epochs: int, search: SearchConfig) -> Estimate:
        wanted = len(listed_settings(space, search, max_epochs))
        brackets = brackets_of(search, max_epochs, wanted)
        epochs = members * sum(bracket.epochs for bracket in brackets)
        return Estimate(
            tuple(brackets), sum(b.rungs[0].trials for b in brackets), epochs,
            round(3 * epochs * images * statistics.mean(sizes)), epochs * an_epoch,
        )  # fmt: skip

    return of


def fit_to_time(
    config: RunConfig, search: SearchConfig, data: DataSplits, seconds: float
) -> tuple[RunConfig, SearchConfig]:
    """Return the settings whose plan takes about `seconds` of one worker.

    Trials grow or shrink where they are free to; Hyperband repeats its brackets, or where one round
    is too long already lowers the epochs; a grid can only lower the epochs.
    """
    of = estimator(config, search, data)
    epochs = config.train.epochs
    whole = of(epochs, search)
    if search.method in ("random", "tpe", "asha"):
        trials = max(1, int(search.trials * seconds / whole.seconds))
        return config, search.model_copy(update={"trials": trials})
    while epochs > 1 and of(epochs, search).seconds > seconds:
        epochs -= 1
    if search.method == "hyperband":
        rounds = max(1, int(search.rounds * seconds / of(epochs, search).seconds))
        search = search.model_copy(update={"rounds": rounds})
    return with_epochs(config, epochs), search


def with_epochs(config: RunConfig, epochs: int) -> RunConfig:
    """Return `config` with so many epochs, neither more nor less."""
    train = config.train.model_copy(update={"epochs": epochs, "min_steps": 0})
    return config.model_copy(update={"train": train})


def one_thread(config: RunConfig) -> RunConfig:
    """Return `config` as a worker trains it: one thread each is faster than two that wait."""
    return config.model_copy(update={"train": config.train.model_copy(update={"threads": 1})})


@dataclass(frozen=True)
class Cost:
    """Seconds of one worker: so many a step, and so many a multiply-add an image."""

    seconds_a_step: float
    seconds_a_multiply_add: float

    def epoch_seconds(self, config: RunConfig, multiply_adds: int, images: int) -> float:
        """Return the seconds of one epoch."""
        an_image = self.seconds_a_step / config.train.batch_size
        return images * (an_image + self.seconds_a_multiply_add * multiply_adds)


def multiply_adds_of(config: RunConfig, num_classes: int) -> int:
    """Return the multiply-adds of one image, forward."""
    network = build_network(config.model, num_classes=num_classes, mean=0.0, std=1.0)
    return summarize(network).multiply_adds


def measured_cost(configs: Sequence[RunConfig], num_classes: int, resolved: Resolved) -> Cost:
    """Train the smallest, the middle and the largest of `configs` for a moment each, alone.

    Two unknowns are fitted to the three, by least squares; neither may be negative.
    """
    by_size = sorted(configs, key=lambda config: multiply_adds_of(config, num_classes))
    places = np.linspace(0, len(by_size) - 1, min(_MEASURED, len(by_size))).astype(int)
    chosen = [apply(by_size[place], resolved) for place in places]
    seconds = np.array([_seconds_a_step(config, num_classes) for config in chosen])
    work = np.array([multiply_adds_of(c, num_classes) * c.train.batch_size for c in chosen], float)
    terms = np.stack([np.ones(len(chosen)), work], axis=1)
    (a_step, a_multiply_add), *_ = np.linalg.lstsq(terms, seconds, rcond=None)
    if a_step < 0 or a_multiply_add < 0 or len(chosen) == 1:
        a_step, a_multiply_add = 0.0, float((seconds / work).mean())
    return Cost(float(a_step), float(a_multiply_add))


def _seconds_a_step(config: RunConfig, num_classes: int) -> float:
    network = build_network(config.model, num_classes=num_classes, mean=0.0, std=1.0)
    network = network.to(config.train.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = Optimizer(network, config.train)
    images = torch.rand(config.train.batch_size, 1, IMAGE_SIZE, IMAGE_SIZE)
    images = images.to(config.train.device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(config.train.batch_size, dtype=torch.int64, device=images.device)
    steps = 0
    start = end = 0.0
    while steps < 3 or end - start < _SECONDS_EACH:
        if steps == 1:  # the first one warms up
            start = time.perf_counter()
        loss, _ = train_step(network, optimizer, 1e-4, images, labels, config.train)
        loss.item()
        end = time.perf_counter()
        steps += 1
    return (end - start) / (steps - 1)
