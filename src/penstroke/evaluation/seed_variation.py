"""Variation of a figure over training seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SeedVariation:
    """Mean and sample standard deviation over seeds, and a 95 % interval of the mean.

    The interval is Student's, with `count` - 1 degrees of freedom; nan for one seed.
    """

    count: int
    mean: float
    sd: float
    low: float
    high: float


def seed_variation(values: Sequence[float]) -> SeedVariation:
    """Return the variation of one figure over seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return SeedVariation(len(values), mean, math.nan, math.nan, math.nan)
    from scipy.stats import t

    sd = statistics.stdev(values)
    half = float(t.ppf(0.975, len(values) - 1)) * sd / math.sqrt(len(values))
    return SeedVariation(len(values), mean, sd, mean - half, mean + half)
