"""One training step, and one pass of scoring."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from penstroke.config.settings import TrainConfig
from penstroke.training.augmentation import warp
from penstroke.training.batches import Batches
from penstroke.training.outlier_exposure import make_outliers, uniform_cross_entropy
from penstroke.training.train_state import Optimizer

_SCORING_BATCH = 250  # its activations stay in the cache: 3 times as fast as 1,000


class StepLoss(NamedTuple):
    """Of one batch: `objective` is lowered, the mean `loss` and the number `correct` are shown."""

    objective: Tensor
    loss: Tensor
    correct: Tensor
    size: int


def train_step(loss: StepLoss, optimizer: Optimizer, learning_rate: float) -> None:
    """Take one step against the gradients of `loss`."""
    torch.autograd.backward(loss.objective)
    optimizer.step(learning_rate)


def character_loss(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    others: Tensor | None = None,
) -> StepLoss:
    """Return the loss of a batch of images (B, 1, 28, 28) in 0..1.

    `others` (N, 1, 28, 28) uint8 are characters to be rejected, of which some are drawn.
    """
    # Images without a character go through the network beside them.
    count = round(config.outlier_exposure * len(images))
    outliers = [make_outliers(images, count)] if count else []
    if count and others is not None:
        rows = torch.randint(len(others), (count,), device=images.device)
        outliers.append(others[rows].to(images.dtype) / 255)
    shown = torch.cat([images, *outliers]) if count else images
    with torch.autocast(images.device.type, torch.bfloat16, config.precision == "bfloat16"):
        outputs = network(warp(shown, config.augment))
    logits, *outlier_logits = outputs.float().split([len(images), *map(len, outliers)])
    loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    objective = loss
    class_weight = 1.0 if config.outlier_class_weight is None else config.outlier_class_weight
    weights = (config.outlier_exposure_weight, class_weight)
    for weight, some in zip(weights, outlier_logits, strict=False):
        objective = objective + weight * uniform_cross_entropy(some)
    return StepLoss(objective, loss.detach(), (logits.argmax(1) == labels).sum(), len(labels))


def predict_in_order(network: nn.Module, batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (logits (B, K) float32, labels (B,)) of all images, in evaluation mode."""
    network.eval()
    for images, labels in batches.in_order(_SCORING_BATCH):
        with torch.no_grad():
            logits = network(images)
        yield logits, labels


def score(network: nn.Module, batches: Batches) -> tuple[float, float]:
    """Return (mean loss over images, accuracy) in full precision; back to training mode after."""
    loss_sum, correct = 0.0, 0
    for logits, labels in predict_in_order(network, batches):
        # Sums, not means: the last batch is smaller, and a mean of means would overrate it.
        loss_sum += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(1) == labels).sum())
    network.train()
    return loss_sum / len(batches), correct / len(batches)
