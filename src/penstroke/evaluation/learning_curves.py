"""Diagnosis of learning curves, in words, by rules that can be checked.

The first rule that holds decides. "Learned" is how far the training loss fell in all, at least a
twentieth of where it began.

too short        fewer than three epochs
unstable         the training loss rose by over a tenth of what was learned between two epochs, in
                 at least a quarter of them, or a loss was over 5 (guessing among a hundred classes
                 costs 4.6), or is not a number
overfitting      the validation loss is over a tenth above its lowest, which came in the first two
                 thirds, while the training loss kept falling, and mistakes have not become fewer by
                 a tenth since; or, at the lowest, accuracy on the training images is over 5 % more
                 than on the others, and the validation loss no longer falls; both only if it is
                 more than chance explains with so few mistakes. With label smoothing or outlier
                 exposure, which teach a network to be less sure, the loss may rise: then by the
                 share of mistakes instead
still improving  the lowest validation loss is that of the last epoch, and it fell by over 3 % per
                 epoch over the last third
underfitting     at the lowest over 5 % of the validation images are misread, and training images
                 are not read much better
good fit         none of these
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstroke.config.settings import TrainConfig

_FEWEST_EPOCHS = 3
_JUMP, _JUMPS = 0.1, 0.25
_LEAST_LEARNED = 0.05
_BLOWN_UP = 5.0
_RISE, _EARLY, _GAP = 0.1, 2 / 3, 0.05
_DEVIATIONS = 2.0
"""Standard deviations of a difference of two counts of mistakes that chance is left."""
_STILL = 0.03
_WRONG = 0.05

_ADVICE = {
    "too short": "train for more epochs before reading the curves",
    "unstable": "lower train.learning_rate (`penstroke check RECIPE --lr` suggests one), or warm "
    "up with train.schedule=one_cycle",
    "overfitting": "stop at the lowest epoch (train.checkpoint_metric=val_loss does, "
    "train.patience saves time), add train.augment, dropout or weight_decay, or more images",
    "still improving": "raise train.epochs; if time is short, use a higher learning rate with "
    "train.schedule=one_cycle",
    "underfitting": "use a wider or deeper network, a higher learning rate, less dropout, "
    "augmentation and weight_decay; if none helps, look at the labels: `penstroke data audit`",
    "good fit": "compare with other seeds before changing anything: `penstroke train --seeds 5`",
}


@dataclass(frozen=True)
class Diagnosis:
    """What the curves say: a name from above, the figures that decided, and what to try next."""

    name: str
    reason: str
    advice: str
    lowest_epoch: int | None  # of the validation loss; None without validation images


def diagnose(
    history: Sequence[Mapping[str, Any]],
    train: TrainConfig | None = None,
    validation_images: int | None = None,
) -> Diagnosis:
    """Return the diagnosis of a run's history, one line per epoch.

    `train`: its settings, which say what its loss is; without them, plain cross entropy.
    """
    is_softened = bool(train and (train.label_smoothing or train.outlier_exposure))
    curves = _Curves(history, is_softened, validation_images)
    for name, rule in _RULES.items():
        if reason := rule(curves):
            return Diagnosis(name, reason, _ADVICE[name], curves.lowest_epoch)
    figure = "share of mistakes on validation images" if is_softened else "validation loss"
    reason = (
        f"the {figure} has settled near its lowest, and training is not far ahead of it"
        if curves.validates
        else "the training loss fell and settled; no images were held out to check more"
    )
    return Diagnosis("good fit", reason, _ADVICE["good fit"], curves.lowest_epoch)


class _Curves:
    """The columns of a history."""

    def __init__(
        self, history: Sequence[Mapping[str, Any]], is_softened: bool, images: int | None
    ) -> None:
        self.is_softened, self.images = is_softened, images or 1000
        self.train_loss, self.train_accuracy, self.val_loss, self.val_accuracy = (
            np.array([line.get(name, math.nan) for line in history], float)
            for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        )
        self.validates = bool(len(history)) and bool(np.isfinite(self.val_loss).all())
        self.lowest = int(self.val_loss.argmin()) if self.validates else len(history) - 1
        self.lowest_epoch = self.lowest + 1 if self.validates else None

    def __len__(self) -> int:
        return len(self.train_loss)


def _is_short(curves: _Curves) -> str | None:
    if len(curves) >= _FEWEST_EPOCHS:
        return None
    return f"{len(curves)} epochs; at least {_FEWEST_EPOCHS} are needed to read the curves"


def _is_unstable(curves: _Curves) -> str | None:
    loss = curves.train_loss
    if not np.isfinite(loss).all():
        return "the training loss is no longer a number"
    highest = float(np.nanmax([loss, curves.val_loss]))
    if highest > _BLOWN_UP:
        return f"a loss of {highest:.3g} is more than guessing costs: the weights diverged"
    learned = max((np.maximum.accumulate(loss) - loss).max(), _LEAST_LEARNED * loss[0])
    jumps = int((np.diff(loss) > _JUMP * learned).sum())
    if jumps < _JUMPS * (len(curves) - 1):
        return None
    return (
        f"the training loss rose by over {_JUMP:.0%} of what was learned in {jumps} of "
        f"{len(curves) - 1} epochs"
    )


def _overfits(curves: _Curves) -> str | None:
    if not curves.validates:
        return None
    if reason := (_loses_accuracy if curves.is_softened else _loses_loss)(curves):
        return reason
    train, validation = (a[curves.lowest] for a in (curves.train_accuracy, curves.val_accuracy))
    chance = _DEVIATIONS * math.sqrt((1 - validation) / curves.images)
    if not _improves(curves) and train - validation > max(_GAP, chance):
        return (
            f"accuracy is {train:.1%} on the training images, but {validation:.1%} on the "
            "validation images"
        )
    return None


def _loses_accuracy(curves: _Curves) -> str | None:
    wrong = 1 - curves.val_accuracy
    best, last = int(wrong.argmin()), wrong[-1]
    chance = _DEVIATIONS * math.sqrt((wrong[best] + last) / curves.images)
    is_early = best + 1 <= _EARLY * len(curves)
    fell = curves.train_loss[-1] < curves.train_loss[best]
    if is_early and fell and last - wrong[best] > max(_RISE * wrong[best], chance):
        return (
            f"{wrong[best]:.1%} of the validation images were misread after epoch {best + 1}, "
            f"{last:.1%} at the end, while the training loss kept falling"
        )
    return None


def _loses_loss(curves: _Curves) -> str | None:
    lowest, last = curves.val_loss[curves.lowest], curves.val_loss[-1]
    is_early = curves.lowest + 1 <= _EARLY * len(curves)
    fell = curves.train_loss[-1] < curves.train_loss[curves.lowest]
    wrong = 1 - curves.val_accuracy
    is_worth_it = wrong[-1] < (1 - _RISE) * wrong[curves.lowest]
    # The loss is mostly that of the misread images: of m of them it varies by one in √m.
    chance = 1 / math.sqrt(max(1.0, wrong[curves.lowest] * curves.images))
    if is_early and fell and not is_worth_it and last > (1 + max(_RISE, chance)) * lowest:
        return (
            f"the validation loss was lowest, {lowest:.4f}, after epoch {curves.lowest_epoch}, and "
            f"has risen to {last:.4f} while the training loss kept falling"
        )
    return None


def _improves(curves: _Curves) -> str | None:
    if not curves.validates or curves.lowest != len(curves) - 1:
        return None
    span = max(1, len(curves) // 3)
    before, now = curves.val_loss[-1 - span], curves.val_loss[-1]
    if now <= 0 or 1 - (now / before) ** (1 / span) <= _STILL:
        return None
    return (
        f"the lowest validation loss, {now:.4f}, is that of the last epoch; "
        f"{span} epoch{'s' if span > 1 else ''} before it was {before:.4f}"
    )


def _underfits(curves: _Curves) -> str | None:
    known = curves.val_accuracy if curves.validates else curves.train_accuracy
    wrong, in_training = 1 - known[curves.lowest], 1 - curves.train_accuracy[curves.lowest]
    if wrong <= _WRONG or in_training < wrong / 2:
        return None
    images = "validation" if curves.validates else "training"
    return (
        f"{wrong:.1%} of the {images} images are misread, and so are {in_training:.1%} of those "
        "trained on: not even they were learned"
    )


_RULES = {
    "too short": _is_short, "unstable": _is_unstable, "overfitting": _overfits,
    "still improving": _improves, "underfitting": _underfits,
}  # fmt: skip
