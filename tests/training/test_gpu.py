from __future__ import annotations

import pytest

from helpers import small_config
from penstroke.data.loading import load_dataset
from penstroke.training.device import available_devices
from penstroke.training.loop import fit

ACCELERATORS = [device for device in available_devices() if device != "cpu"]


@pytest.mark.gpu
@pytest.mark.skipif(not ACCELERATORS, reason="this machine has no CUDA or MPS device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_accelerator_learns_and_resumes(precision: str) -> None:
    for device in ACCELERATORS:
        config = small_config(epochs=6, device=device, precision=precision, ema_decay=0.9)
        data = load_dataset(config.data)
        epochs = list(fit(config, data))
        assert epochs[-1].metrics["val_accuracy"] > 0.8
        resumed = list(fit(config, data, epochs[2].state))
        assert [e.metrics["epoch"] for e in resumed] == [4, 5, 6]
