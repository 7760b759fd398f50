"""The learning-rate range test (Smith 2017): raise the rate step by step, and watch the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from penstroke.quality.subject import Subject, Trainer

_LEAST, _MOST, _STEPS = 1e-6, 10.0, 140
"""Twenty steps a decade."""
_SMOOTHING = 0.9
_GIVEN_UP = 4.0
"""Times the lowest loss so far: from there on it only grows."""


Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RangeTest:
    """Rates tried, the smoothed loss at each, and the rate to take.

    Attributes:
        rates, losses: by step, up to where the loss ran away.
        suggestion: where the loss falls fastest, but at most a third of where it is lowest.
        reason: the figures that led to it, in words.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    reason: str


def range_test(subject: Subject, watch: Callable[[], None] = lambda: None) -> RangeTest:
    """Return the loss over learning rates from 1e-6 to 10, on a copy; `watch` is told each step."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trainer = Trainer(subject)
        rates: list[float] = []
        losses: list[float] = []
        average = 0.0
        for step, (images, labels) in enumerate(subject.batches(_STEPS)):
            rate = _LEAST * (_MOST / _LEAST) ** (step / (_STEPS - 1))
            loss = trainer.step(rate, images, labels)
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            smoothed = average / (1 - _SMOOTHING ** (step + 1))
            if not math.isfinite(loss) or (losses and smoothed > _GIVEN_UP * min(losses)):
                break
            rates.append(rate)
            losses.append(smoothed)
            watch()
    suggestion, reason = _suggested(np.array(rates), np.array(losses))
    return RangeTest(tuple(rates), tuple(losses), suggestion, reason)


def _suggested(rates: Floats, losses: Floats) -> tuple[float, str]:
    lowest = int(losses.argmin())
    slopes = np.gradient(losses, np.log10(rates))[: lowest + 1]
    steepest = int(slopes.argmin())
    bound = rates[lowest] / 3
    rate = float(f"{min(rates[steepest], bound):.1g}")
    return rate, (
        f"the loss falls fastest at {rates[steepest]:.1g} and is lowest at {rates[lowest]:.1g}, "
        f"where it is about to rise; a third of that, {bound:.1g}, is the most that is safe"
    )
