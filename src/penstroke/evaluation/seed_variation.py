"""How a figure varies from seed to seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds, and a 95 % interval for the mean.

    The interval is Student's, over `count` - 1 degrees of freedom; nan where there is one seed.
    """

    count: int
    mean: float
    sd: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of one figure over seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Spread(len(values), mean, math.nan, math.nan, math.nan)
    from scipy.stats import t

    sd = statistics.stdev(values)
    half = float(t.ppf(0.975, len(values) - 1)) * sd / math.sqrt(len(values))
    return Spread(len(values), mean, sd, mean - half, mean + half)
