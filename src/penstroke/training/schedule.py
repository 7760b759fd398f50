"""The learning rate at each step: a function of the step, so that nothing needs to be stored."""

from __future__ import annotations

import math

from penstroke.config.settings import TrainConfig

_START_DIVISOR = 25.0
_END_DIVISOR = 1e4
_WARMUP_FRACTION = 0.25
"""One cycle after Smith & Topin 2018, with the divisors of torch.optim.lr_scheduler.OneCycleLR."""


def learning_rate_at(step: int, steps_an_epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of the 0-based `step`."""
    peak, total = config.learning_rate, steps_an_epoch * config.epochs
    match config.schedule:
        case "constant":
            return peak
        case "step":
            assert config.step_size is not None
            assert config.gamma is not None
            return float(peak * config.gamma ** (step // steps_an_epoch // config.step_size))
        case "cosine":
            return _cosine(peak, 0.0, step / total)
        case "one_cycle":
            start, end = peak / _START_DIVISOR, peak / _START_DIVISOR / _END_DIVISOR
            # Where torch puts its turning point: the last step of the rise is the peak itself.
            turn = max((config.warmup_fraction or _WARMUP_FRACTION) * total - 1, 1)
            if step <= turn:
                return _cosine(start, peak, step / turn)
            return _cosine(peak, end, (step - turn) / max(total - 1 - turn, 1))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
