"""The final figures of a run and of a cross-validation: summary.json."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import ValidationError

from penstroke.config.settings import Settings
from penstroke.errors import RunError
from penstroke.files import write_text_atomically


class Summary(Settings):
    """Figures that are written when a directory is finished; its presence marks it as finished."""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the summary in `folder`; None where there is none yet.

        Raises:
            RunError: it is damaged.
        """
        path = folder / "summary.json"
        try:
            return cls.model_validate_json(path.read_text()) if path.exists() else None
        except ValidationError as error:
            raise RunError(f"{path} is damaged: {error}") from error

    def write(self, folder: Path) -> None:
        """Write it into `folder`."""
        text = self.model_dump_json(indent=2, exclude_none=True)
        write_text_atomically(folder / "summary.json", text + "\n")


class RunSummary(Summary):
    """The final figures of a run; what was not measured, or has no value, is None.

    Accuracies and F1 are shares, losses mean cross entropies in nats.
    """

    epochs: int = 0
    best_epoch: int | None = None
    diagnosis: str | None = None
    train_accuracy: float | None = None
    train_loss: float | None = None
    train_auroc: float | None = None
    train_f1: float | None = None
    train_balanced_accuracy: float | None = None
    val_accuracy: float | None = None
    val_loss: float | None = None
    val_auroc: float | None = None
    val_f1: float | None = None
    val_balanced_accuracy: float | None = None
    test_accuracy: float | None = None
    test_loss: float | None = None
    test_auroc: float | None = None
    test_f1: float | None = None
    test_balanced_accuracy: float | None = None
    test_ece: float | None = None
    test_accuracy_confusable_merged: float | None = None
    temperature: float = 1.0
    ood_threshold: float | None = None
    source: str | None = None
    old_dataset: str | None = None
    old_images: int | None = None
    old_accuracy_before: float | None = None
    old_accuracy_after: float | None = None
    old_reason: str | None = None
    elapsed_seconds: float = 0.0


class FoldsSummary(Summary):
    """The figures of a cross-validation over all images, each judged by its fold's network."""

    dataset: str
    source: str | None = None
    folds: int
    images: int
    accuracy: float
    loss: float
    auroc: float | None = None
    f1: float
    balanced_accuracy: float
    intervals: dict[str, tuple[float, float]]
    fold_accuracies: tuple[float, ...]
    fold_mean: float
    fold_sd: float
    test_images: int
    elapsed_seconds: float
