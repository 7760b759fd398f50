"""What a search will cost, from a measured second of training."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from penstroke.config.settings import IMAGE_SIZE, RunConfig
from penstroke.config.space import SearchConfig, Space
from penstroke.data.dataset import DataSplits
from penstroke.data.line_batches import LineSource
from penstroke.data.lines import LineSplits
from penstroke.errors import ConfigError
from penstroke.models.build import build_network
from penstroke.models.summary import summarize
from penstroke.search.engine import resolved_for_worker
from penstroke.search.plan import Bracket, brackets_of, draw_settings
from penstroke.training.device import seconds_a_step
from penstroke.training.line_step import SAMPLE_SIZE

_SAMPLE = 64
"""Settings that stand for all in the mean cost."""
_VALIDATION_SHARE = 1 / 3
"""Of the work of a step: forward only."""


@dataclass(frozen=True)
class Estimate:
    """The cost of a search, with one worker; `longest_seconds` of it, of one trial, are serial."""

    brackets: tuple[Bracket, ...]
    trials: int
    epochs: int
    multiply_adds: int
    worker_seconds: float
    longest_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; a bracket is the list of its rungs."""
        return asdict(self) | {"brackets": [asdict(b)["rungs"] for b in self.brackets]}


class CostModel:
    """The cost of searches in one space, measured when this is created.

    The smallest, the middle and the largest network of a sample are trained for a moment each;
    seconds per step and per multiply-add are fitted to the three.
    """

    def __init__(
        self, config: RunConfig, search: SearchConfig, data: DataSplits | LineSplits
    ) -> None:
        self._space = Space(config, search.space)
        self._images, classes = config.epoch_size(len(data.train)), len(data.classes)
        size = SAMPLE_SIZE if config.reads_lines else (IMAGE_SIZE, IMAGE_SIZE)
        settings = draw_settings(self._space, search, config.train.epochs)[:_SAMPLE]
        configs = [self._space.config(values) for values in settings]
        networks = (build_network(c.model, num_classes=classes, mean=0.0, std=1.0) for c in configs)
        sizes = np.array([summarize(network, size).multiply_adds for network in networks])
        resolved = resolved_for_worker(config)
        places = np.linspace(0, len(sizes) - 1, min(3, len(sizes))).astype(int)
        measured = np.argsort(sizes, kind="stable")[places]
        batch_sizes = np.array([config.train.batch_size for config in configs])
        work = sizes * batch_sizes / 1e6  # millions of multiply-adds per step
        chosen = [resolved.applied_to(configs[k]) for k in measured]
        seconds = [seconds_a_step(c, num_classes=classes, seconds=0.4) for c in chosen]
        terms = np.stack([np.ones(len(measured)), work[measured]], axis=1)
        (per_step, per_million), _ = nnls(terms, np.array(seconds))
        steps = (self._images + len(data.validation) * _VALIDATION_SHARE) / batch_sizes
        self._multiply_adds = float(sizes.mean())
        self._epoch_seconds = float((steps * (per_step + per_million * work)).mean())
        if isinstance(data, LineSplits):
            self._epoch_seconds += self._images * _seconds_a_line(config, data)

    def estimate(self, search: SearchConfig, max_epochs: int) -> Estimate:
        """Return the cost of `search` with trials of at most `max_epochs`."""
        drawn = draw_settings(self._space, search, max_epochs)
        brackets = brackets_of(search, max_epochs, len(drawn))
        epochs = search.runs_per_trial * sum(bracket.epochs for bracket in brackets)
        return Estimate(
            tuple(brackets), sum(b.rungs[0].trials for b in brackets), epochs,
            round(3 * epochs * self._images * self._multiply_adds), epochs * self._epoch_seconds,
            max_epochs * self._epoch_seconds,
        )  # fmt: skip


def _seconds_a_line(config: RunConfig, data: LineSplits) -> float:
    """Return how long a worker takes to compose or distort a line, which it does itself."""
    if config.synthesis:
        few = min(4 * config.train.batch_size, config.synthesis.lines_per_epoch)
        config = config.replace({"synthesis.lines_per_epoch": few})
    source = LineSource(config, data)
    source.chunk(0)  # warms up
    start = time.perf_counter()
    lines = sum(map(len, source.chunk(len(source))))
    return (time.perf_counter() - start) / lines


def fit_to_time(
    cost: CostModel, config: RunConfig, search: SearchConfig, seconds: float, workers: int
) -> tuple[RunConfig, SearchConfig]:
    """Return the settings whose plan takes about `seconds` with `workers`.

    The number of trials is changed where it is free; Hyperband repeats its brackets, or lowers the
    epochs if one round takes too long; a grid can only lower the epochs. ConfigError if there is
    not enough time for one trial.
    """
    epochs, has_free_trials = config.train.epochs, search.method in ("random", "tpe", "asha")
    least_epochs = epochs if has_free_trials else 1
    least = cost.estimate(search, least_epochs)
    if least.longest_seconds > seconds:
        raise ConfigError(
            f"the time is too short: one trial (epochs: {least_epochs}) takes about "
            f"{least.longest_seconds:.0f} s, and {seconds:.0f} s can be used; give more time, or "
            "train on fewer images: --set data.max_train_images=COUNT"
        )
    if has_free_trials:
        trials = max(1, int(search.trials * workers * seconds / least.worker_seconds))
        return config, search.replace({"trials": trials})
    while epochs > 1:
        plan = cost.estimate(search, epochs)
        if plan.worker_seconds <= workers * seconds and plan.longest_seconds <= seconds:
            break
        epochs -= 1
    if search.method == "hyperband":
        round_seconds = cost.estimate(search, epochs).worker_seconds / search.rounds
        search = search.replace({"rounds": max(1, int(workers * seconds / round_seconds))})
    return with_epochs(config, epochs), search


def with_epochs(config: RunConfig, epochs: int) -> RunConfig:
    """Return `config` with exactly this number of epochs."""
    return config.replace({"train.epochs": epochs})
