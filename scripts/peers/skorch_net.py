"""skorch with the same network and settings as the plain PyTorch way, its images one array."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from common import mnist, tell
from plain_torch import network
from skorch import NeuralNetClassifier
from torch import nn


def main(epochs: int, limit: int, goal: float) -> None:
    torch.manual_seed(0)
    (images, labels), (test_images, test_labels) = mnist()

    def prepared(samples: np.ndarray) -> np.ndarray:
        return ((samples.astype(np.float32) / 255 - 0.1307) / 0.3081)[:, None]

    x, y = prepared(images[:limit]), labels[:limit]
    test = prepared(test_images)
    net = NeuralNetClassifier(
        network, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=0.001,
        batch_size=64, iterator_train__shuffle=True, train_split=None, verbose=0,
    )  # fmt: skip
    net.initialize()
    seconds, found = 0.0, 0.0
    for epoch in range(1, epochs + 1):  # noqa: B007 - told at the end
        start = time.perf_counter()
        net.partial_fit(x, y, epochs=1)
        seconds += time.perf_counter() - start
        found = float((net.predict(test) == test_labels).mean())
        if found >= goal:
            break
    tell(test_accuracy=found, epochs=epoch, images_a_second=epoch * len(x) / seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
