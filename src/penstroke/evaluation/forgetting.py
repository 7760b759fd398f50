"""How well a fine-tuned network still reads the data of the network it started from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from penstroke.config.class_names import is_same_character
from penstroke.config.settings import read_json
from penstroke.data.dataset import Dataset
from penstroke.evaluation.intervals import Interval, wilson
from penstroke.evaluation.predictions import predict
from penstroke.files import write_text_atomically

if TYPE_CHECKING:
    from torch import nn

_FILE = "forgetting.json"


@dataclass(frozen=True)
class Forgetting:
    """Accuracy on the validation images of the pretrained run, before and after fine-tuning.

    The same images both times: of classes that both networks have, and that neither was trained
    on. They never chose a setting of the fine-tuned run.
    """

    source: str  # the pretrained run
    dataset: str  # its data
    images: int = 0
    before: float | None = None
    after: float | None = None
    before_interval: Interval | None = None  # 95 % (Wilson)
    after_interval: Interval | None = None
    trained_on: int = 0  # images left out because the fine-tuned network was trained on them
    dropped: tuple[str, ...] = ()  # classes left out because it no longer has them
    reason: str = ""  # why nothing was measured

    def save(self, folder: Path) -> None:
        """Write it into the run directory `folder`."""
        text = TypeAdapter(Forgetting).dump_json(self, indent=2).decode()
        write_text_atomically(folder / _FILE, text + "\n")

    @classmethod
    def load(cls, folder: Path) -> Forgetting | None:
        """Read what `save` wrote; None where there is nothing."""
        path = folder / _FILE
        return read_json(cls, path) if path.exists() else None

    def figures(self) -> dict[str, Any]:
        """Return the figures of a run's summary: `source` and `source_…`."""
        return {
            "source": self.source,
            "source_dataset": self.dataset,
            "source_images": self.images,
            "source_accuracy_before": self.before,
            "source_accuracy_after": self.after,
            **({"source_reason": self.reason} if self.reason else {}),
        }


def measure_forgetting(
    source: str, dataset: str, old: Dataset, pretrained: nn.Module, tuned: nn.Module, new: Dataset
) -> Forgetting:
    """Compare `pretrained` and `tuned`, fine-tuned from it, on images that neither was trained on.

    Those of `old`, the validation images of the pretrained run, that are not in `new`, the images
    that `tuned` was trained on. `source` and `dataset` name that run and its data.
    """
    if not len(old):
        return Forgetting(source, dataset, reason=f"{source} held out no validation images")
    dropped = tuple(
        name for name in old.classes if not any(is_same_character(name, k) for k in new.classes)
    )
    is_fresh = ~old.is_in(new)
    is_kept = np.array([old.classes[label] not in dropped for label in old.labels], bool)
    judged = old.subset(np.flatnonzero(is_fresh & is_kept))
    count = len(judged)
    if not count:
        reason = "no image is left that neither network was trained on"
        return Forgetting(source, dataset, reason=reason)
    before = _count_correct(pretrained, judged, old.classes)
    after = _count_correct(tuned, judged, new.classes)
    return Forgetting(
        source, dataset, count, before / count, after / count, wilson(before, count),
        wilson(after, count), int((~is_fresh).sum()), dropped,
    )  # fmt: skip


def _count_correct(network: nn.Module, images: Dataset, classes: tuple[str, ...]) -> int:
    """Return how many characters `network`, with outputs for `classes`, reads in `images`."""
    unlabelled = Dataset(images.images, np.zeros(len(images), np.int64), classes)
    predicted = predict(network, unlabelled).predicted
    agrees = np.array([[is_same_character(a, b) for b in classes] for a in images.classes])
    return int(agrees[images.labels, predicted].sum())
