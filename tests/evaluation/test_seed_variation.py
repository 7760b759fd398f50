from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from penstroke.evaluation.intervals import seed_variation


def test_spread_equals_scipys() -> None:
    values = [0.991, 0.9925, 0.9914, 0.9931, 0.992]
    variation = seed_variation(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (variation.low, variation.high) == pytest.approx((low, high))
    assert variation.sd == pytest.approx(np.std(values, ddof=1))
    assert variation.mean == pytest.approx(np.mean(values))


def test_one_seed_has_no_seed_variation() -> None:
    assert math.isnan(seed_variation([0.9]).sd)
