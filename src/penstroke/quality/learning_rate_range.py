"""The learning-rate range test (Smith 2017): raise the rate at each step and watch the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from penstroke.quality.training_setup import Trainer, TrainingSetup

_LOWEST, _HIGHEST, _STEPS = 1e-6, 10.0, 140
"""Twenty steps per decade."""
_SMOOTHING = 0.9
_DIVERGED = 4.0
"""Times the lowest loss so far: the test stops there."""


@dataclass(frozen=True)
class RangeTest:
    """The tested learning rates and a suggestion.

    Attributes:
        rates, losses: one per step, the loss smoothed, until it diverged.
        suggestion: where the loss falls fastest, but at most a third of where it is lowest.
        reason: the figures that led to it, as a sentence.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    reason: str


def range_test(setup: TrainingSetup, on_step: Callable[[], None] = lambda: None) -> RangeTest:
    """Measure the loss at learning rates from 1e-6 to 10; `on_step` is called after each."""
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trainer = Trainer(setup)
        for step, (images, labels) in enumerate(setup.batches(_STEPS)):
            rate = _LOWEST * (_HIGHEST / _LOWEST) ** (step / (_STEPS - 1))
            loss = trainer.step(rate, images, labels)
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            smoothed = average / (1 - _SMOOTHING ** (step + 1))
            if not math.isfinite(loss) or (losses and smoothed > _DIVERGED * min(losses)):
                break
            rates.append(rate)
            losses.append(smoothed)
            on_step()
    lowest = int(np.argmin(losses))
    steepest = int(np.gradient(losses, np.log10(rates))[: lowest + 1].argmin())
    bound = rates[lowest] / 3
    suggestion = float(f"{min(rates[steepest], bound):.1g}")
    return RangeTest(
        tuple(rates), tuple(losses), suggestion,
        f"the loss falls fastest at {rates[steepest]:.1g} and is lowest at {rates[lowest]:.1g}, "
        f"where it is about to rise; a third of that, {bound:.1g}, is the highest safe rate",
    )  # fmt: skip
