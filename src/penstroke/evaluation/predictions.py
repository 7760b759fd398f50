"""The logits of every image of a split: computed once, all figures follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Dataset, Labels, Writers
from penstroke.errors import CheckpointError, RunError
from penstroke.files import write_atomically
from penstroke.training.checkpoint import Array, Checkpoint

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Predictions:
    """True labels (N,) int64 and logits (N, K) float32 of one split, and the K class names.

    `writers` (N,) is who wrote each image, "" where that is not known; None if it never is.
    """

    labels: Labels
    logits: npt.NDArray[np.float32]
    classes: tuple[str, ...]
    writers: Writers | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def log_probabilities(self) -> npt.NDArray[np.float64]:
        """Log of the softmax: (N, K), in double precision."""
        logits = self.logits.astype(np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Softmax of the logits: (N, K), rows sum to 1."""
        return np.exp(self.log_probabilities)

    @cached_property
    def confidence(self) -> npt.NDArray[np.float64]:
        """The largest softmax probability of each image: (N,) (Hendrycks & Gimpel 2017)."""
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def predicted(self) -> Labels:
        """The likeliest class of each image: (N,)."""
        return np.asarray(self.logits.argmax(axis=1))

    @cached_property
    def losses(self) -> npt.NDArray[np.float64]:
        """Cross entropy of each image, in nats: (N,)."""
        return -self.log_probabilities[np.arange(len(self)), self.labels]

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether each prediction is correct: (N,)."""
        return np.asarray(self.predicted == self.labels)

    def worst_mistakes(self, count: int) -> Labels:
        """Return indices of the misread images, the least likely true label first."""
        wrong = np.flatnonzero(~self.is_right)
        return wrong[np.argsort(-self.losses[wrong], kind="stable")[:count]]

    def at(self, temperature: float) -> Predictions:
        """Return the predictions with logits / temperature: calibrated, with the same answers."""
        return replace(self, logits=self.logits / np.float32(temperature))

    def top_accuracy(self, count: int) -> float:
        """Return the share of images whose true class is among the `count` likeliest."""
        true = self.logits[np.arange(len(self)), self.labels]
        above = (self.logits > true[:, None]).sum(axis=1)
        return float((above < count).mean())

    def save(self, path: Path) -> None:
        """Write to one safetensors file."""
        arrays: dict[str, Array] = {"labels": self.labels, "logits": self.logits}
        facts: dict[str, Any] = {"classes": self.classes}
        if self.writers is not None:
            names, arrays["writers"] = np.unique(self.writers, return_inverse=True)
            facts["writers"] = names.tolist()
        write_atomically(path, Checkpoint(arrays, facts).to_bytes())

    @classmethod
    def concatenate(cls, parts: Sequence[Predictions]) -> Predictions:
        """Return the predictions of all `parts`, which have the same classes, in their order."""
        labels = np.concatenate([part.labels for part in parts])
        writers = [part.writers for part in parts if part.writers is not None]
        return cls(
            labels, np.concatenate([part.logits for part in parts]), parts[0].classes,
            np.concatenate(writers) if len(writers) == len(parts) else None,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote; RunError if it is missing or damaged."""
        try:
            stored = Checkpoint.from_bytes(path.read_bytes(), str(path))
        except (OSError, CheckpointError) as error:
            text = f"{path} cannot be read ({error}): `penstroke evaluate` writes it"
            raise RunError(text) from None
        try:
            labels = stored.arrays["labels"].astype(np.int64)
            logits = stored.arrays["logits"].astype(np.float32)
            classes = tuple(map(str, stored.facts["classes"]))
            names = stored.facts.get("writers")
            writers = np.array(names)[stored.arrays["writers"]] if names else None
            fits = logits.shape == (*labels.shape, len(classes))
            fits = fits and bool(np.isfinite(logits).all())
            fits = fits and bool(np.isin(labels, np.arange(len(classes))).all())
        except (KeyError, TypeError, ValueError, IndexError):
            fits = False
        if not fits:
            raise RunError(
                f"{path} is damaged: it holds no labels, logits and classes that belong together: "
                "`penstroke evaluate` writes it"
            )
        return cls(labels, logits, classes, writers)


def predict(network: nn.Module, dataset: Dataset) -> Predictions:
    """Return the predictions of `network` for every image in `dataset`."""
    import torch

    from penstroke.training.batches import Batches
    from penstroke.training.step import predict_in_order

    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    device = str(next(network.parameters()).device)
    batches = predict_in_order(network, Batches(dataset, device))
    logits = [logits.float().cpu().numpy() for logits, _ in batches]
    empty = np.zeros((0, len(dataset.classes)), np.float32)
    together = np.concatenate([empty, *logits])
    return Predictions(dataset.labels, together, dataset.classes, dataset.writers)
