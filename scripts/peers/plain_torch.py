"""The plain PyTorch way: Dataset, per-image transform, DataLoader, float32, Adam, batch 64."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from common import Split, mnist, tell
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    """As torchvision's MNIST with ToTensor and Normalize: one image at a time, through Pillow."""

    def __init__(self, split: Split) -> None:
        self.images, self.labels = split

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self.images[index])
        tensor = torch.from_numpy(np.array(image)).unsqueeze(0).float().div(255)
        return (tensor - 0.1307) / 0.3081, int(self.labels[index])


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(),
        nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in loader)
    model.train()
    return right / len(loader.dataset)


def main(epochs: int, limit: int, goal: float) -> None:
    torch.manual_seed(0)
    train, test = mnist()
    train = (train[0][:limit], train[1][:limit])
    loader = DataLoader(Images(train), batch_size=64, shuffle=True)
    test_loader = DataLoader(Images(test), batch_size=1000)
    model, seconds, found = network(), 0.0, 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for epoch in range(1, epochs + 1):  # noqa: B007 - told at the end
        start = time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        seconds += time.perf_counter() - start
        found = accuracy(model, test_loader)
        if found >= goal:
            break
    tell(test_accuracy=found, epochs=epoch, images_a_second=epoch * len(train[1]) / seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
