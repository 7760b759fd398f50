from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from penstroke.evaluation.seed_variation import spread


def test_spread_equals_scipys() -> None:
    values = [0.991, 0.9925, 0.9914, 0.9931, 0.992]
    found = spread(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.mean == pytest.approx(np.mean(values))


def test_one_seed_has_no_spread() -> None:
    assert math.isnan(spread([0.9]).sd)
