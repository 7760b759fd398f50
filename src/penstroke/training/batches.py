"""Images stored on the device as uint8 and drawn as float batches, without a DataLoader."""

from collections.abc import Iterator

import torch
from torch import Tensor

from penstroke.data.dataset import Dataset


class Batches:
    """One split, resident on the device."""

    def __init__(self, dataset: Dataset, device: str) -> None:
        self.images = torch.from_numpy(dataset.images).unsqueeze(1).to(device)
        self.labels = torch.from_numpy(dataset.labels).to(device)
        self.classes = dataset.classes

    def __len__(self) -> int:
        return len(self.labels)

    def shuffled(
        self, batch_size: int, seed: int, balance: float | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images, labels) in an order drawn by `seed`: each once, or by `balanced_order`."""
        generator = torch.Generator().manual_seed(seed)
        if balance:
            order = balanced_order(self.labels.cpu(), balance, generator)
        else:
            order = torch.randperm(len(self), generator=generator)
        return map(self._gather, split_order(order.to(self.labels.device), batch_size))

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images, labels) of each image once, in the order they are stored."""
        order = torch.arange(len(self), device=self.labels.device)
        return map(self._gather, torch.split(order, batch_size))

    def _gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (B, 1, 28, 28) float32 in 0..1, channels last, and labels (B,) int64."""
        images = self.images[indices].to(torch.float32).div_(255)
        return images.contiguous(memory_format=torch.channels_last), self.labels[indices]


def balanced_order(labels: Tensor, balance: float, generator: torch.Generator) -> Tensor:
    """Return N indices into `labels` (N,); a class of n images is drawn in proportion to n^(1-b).

    Within a class, images are drawn evenly: how often any two are drawn differs by one at most.
    """
    counts = torch.bincount(labels)
    shares = torch.where(counts > 0, counts.double() ** (1 - balance), 0.0)
    shares *= len(labels) / shares.sum()
    quotas = shares.floor().long()
    largest_remainders = (quotas - shares).argsort(stable=True)
    quotas[largest_remainders[: len(labels) - int(quotas.sum())]] += 1
    drawn = []
    for label, quota in enumerate(quotas.tolist()):
        images = torch.nonzero(labels == label).flatten()
        for first in range(0, quota, max(len(images), 1)):
            once = images[torch.randperm(len(images), generator=generator)]
            drawn.append(once[: quota - first])
    order = torch.cat(drawn)
    return order[torch.randperm(len(order), generator=generator)]


def split_order(order: Tensor, batch_size: int) -> list[Tensor]:
    """Split `order` into batches; a last one of a single image joins the one before."""
    batches = list(torch.split(order, batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:  # batch norm has no variance over one image
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
