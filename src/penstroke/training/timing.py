"""How long a training step takes, on random images."""

from __future__ import annotations

import time

import torch

from penstroke.config.settings import IMAGE_SIZE, RunConfig
from penstroke.models.build import build_network
from penstroke.training.optimizer import Optimizer
from penstroke.training.step import train_step


def seconds_a_step(
    config: RunConfig, *, num_classes: int = 10, steps: int = 2, seconds: float = 0.0
) -> float:
    """Return the mean seconds of a step of `config`, whose device and precision are resolved.

    At least `steps` steps and `seconds` seconds are timed, after one step to warm up.
    """
    train = config.train
    network = build_network(config.model, num_classes=num_classes, mean=0.5, std=0.5)
    network = network.to(train.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = Optimizer(network, train)
    images = torch.rand(train.batch_size, 1, IMAGE_SIZE, IMAGE_SIZE, device=train.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(train.batch_size, dtype=torch.int64, device=train.device)

    def step() -> None:
        loss, _ = train_step(network, optimizer, 1e-4, images, labels, train)
        loss.item()  # waits for the device

    step()
    taken = 0
    start = now = time.perf_counter()
    while taken < steps or now - start < seconds:
        step()
        taken, now = taken + 1, time.perf_counter()
    return (now - start) / taken
