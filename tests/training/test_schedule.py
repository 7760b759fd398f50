from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, StepLR

from penstroke.config.settings import TrainConfig
from penstroke.training.loop import learning_rate_at

STEPS, EPOCHS = 20, 6


def torchs_rates(make: Any, every: int = 1) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler: LRScheduler = make(optimizer)
    rates = []
    for step in range(STEPS * EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0:
            scheduler.step()
    return rates


def ours(**settings: object) -> list[float]:
    config = TrainConfig.parse({"epochs": EPOCHS, "learning_rate": 0.1, **settings})
    return [learning_rate_at(step, STEPS, config) for step in range(STEPS * EPOCHS)]


def test_constant() -> None:
    assert ours() == [0.1] * (STEPS * EPOCHS)


def test_step_equals_torchs() -> None:
    expected = torchs_rates(lambda o: StepLR(o, step_size=2, gamma=0.3), every=STEPS)
    assert ours(schedule="step", step_size=2, gamma=0.3) == pytest.approx(expected)


def test_cosine_equals_torchs() -> None:
    expected = torchs_rates(lambda o: CosineAnnealingLR(o, T_max=STEPS * EPOCHS))
    assert ours(schedule="cosine") == pytest.approx(expected)


@pytest.mark.parametrize("share", [None, 0.1, 0.5])
def test_one_cycle_equals_torchs(share: float | None) -> None:
    total = STEPS * EPOCHS
    expected = torchs_rates(
        lambda o: OneCycleLR(o, 0.1, total_steps=total + 1, pct_start=share or 0.25)
    )
    # torch wants one step more than it lets one take; the cycle itself is over `total` of ours.
    found = ours(schedule="one_cycle", **({"warmup_fraction": share} if share else {}))
    assert max(found) == pytest.approx(0.1, rel=1e-3)
    assert found[0] == pytest.approx(0.1 / 25)
    assert found[-1] == pytest.approx(0.1 / 25 / 1e4)
    assert found == pytest.approx(expected, abs=2.5e-3)
