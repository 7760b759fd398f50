"""What the learning curves say, in words, by rules that anybody can check.

The first rule that holds gives the verdict. "Learned" is how far the training loss fell in all, at
least a twentieth of where it began.

too short        fewer than three epochs
unstable         the training loss rose by over a tenth of what was learned between two epochs, in
                 at least a quarter of them, or a loss was over 5 (guessing among a hundred classes
                 costs 4.6), or is no number
overfitting      the validation loss is over a tenth above its lowest, which came in the first two
                 thirds, while the training loss went on falling, and mistakes have not become fewer
                 by a tenth since (with label smoothing the loss rises while they do); or at the
                 lowest, images trained on are read right more often than others by over 5 %
still improving  the lowest validation loss is that of the last epoch, and it fell by over 3 % an
                 epoch over the last third
underfitting     at the lowest over 5 % of the validation images are read wrong, and training
                 images are not read much better
good fit         none of these
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_FEWEST_EPOCHS = 3
_JUMP, _JUMPS = 0.1, 0.25
_LEAST_LEARNED = 0.05
_BLOWN_UP = 5.0
_RISE, _EARLY, _GAP = 0.1, 2 / 3, 0.05
_STILL = 0.03
_WRONG = 0.05

_ADVICE = {
    "too short": "train for more epochs before reading the curves",
    "unstable": "lower train.learning_rate (`penstroke check RECIPE --lr` suggests one), or warm "
    "up with train.schedule=one_cycle",
    "overfitting": "stop at the lowest epoch (checkpoint_metric=val_loss does, patience saves the "
    "time), add train.augment, dropout or weight_decay, or more images",
    "still improving": "raise train.epochs; if time is short, a higher learning rate with "
    "train.schedule=one_cycle",
    "underfitting": "a wider or deeper network, a higher learning rate, less dropout, "
    "augmentation and weight_decay; if none helps, look at the labels: `penstroke data audit`",
    "good fit": "compare with other seeds before changing anything: `penstroke train --seeds 5`",
}


@dataclass(frozen=True)
class Verdict:
    """How the curves are to be read.

    Attributes:
        name: one of the words above.
        reason: the figures that decided, in a sentence.
        advice: what to try next.
        lowest_epoch: the epoch of the lowest validation loss; None without validation images.
    """

    name: str
    reason: str
    advice: str
    lowest_epoch: int | None


def judge_fit(history: Sequence[Mapping[str, Any]]) -> Verdict:
    """Return the verdict on a run's history, a line an epoch."""
    curves = _Curves(history)
    for name, rule in _RULES:
        reason = rule(curves)
        if reason is not None:
            return Verdict(name, reason, _ADVICE[name], curves.lowest_epoch)
    reason = (
        "the validation loss has settled near its lowest, and training is not far ahead of it"
        if curves.validates
        else "the training loss fell and settled; no images were held out to see more by"
    )
    return Verdict("good fit", reason, _ADVICE["good fit"], curves.lowest_epoch)


class _Curves:
    """The columns of a history."""

    def __init__(self, history: Sequence[Mapping[str, Any]]) -> None:
        self.train_loss = _column(history, "train_loss")
        self.train_accuracy = _column(history, "train_accuracy")
        self.val_loss = _column(history, "val_loss")
        self.val_accuracy = _column(history, "val_accuracy")
        self.validates = bool(len(history)) and bool(np.isfinite(self.val_loss).all())
        self.lowest = int(self.val_loss.argmin()) if self.validates else len(history) - 1
        self.lowest_epoch = self.lowest + 1 if self.validates else None

    def __len__(self) -> int:
        return len(self.train_loss)

    @property
    def learned(self) -> float:
        """How far the training loss fell, from its highest to a later one."""
        fell = (np.maximum.accumulate(self.train_loss) - self.train_loss).max()
        return max(float(fell), _LEAST_LEARNED * float(self.train_loss[0]))


def _column(history: Sequence[Mapping[str, Any]], name: str) -> npt.NDArray[np.float64]:
    return np.array([line.get(name, math.nan) for line in history], float)


def _is_short(curves: _Curves) -> str | None:
    if len(curves) >= _FEWEST_EPOCHS:
        return None
    return f"{len(curves)} epochs; the curves say something from {_FEWEST_EPOCHS} on"


def _is_unstable(curves: _Curves) -> str | None:
    if not np.isfinite(curves.train_loss).all():
        return "the training loss is no number any more"
    highest = float(np.nanmax([curves.train_loss, curves.val_loss]))
    if highest > _BLOWN_UP:
        return f"a loss of {highest:.3g}, more than guessing costs: the weights were thrown far off"
    jumps = int((np.diff(curves.train_loss) > _JUMP * curves.learned).sum())
    if jumps < _JUMPS * (len(curves) - 1):
        return None
    return (
        f"the training loss rose by over {_JUMP:.0%} of what was learned in {jumps} of "
        f"{len(curves) - 1} epochs"
    )


def _overfits(curves: _Curves) -> str | None:
    if not curves.validates:
        return None
    lowest, last = curves.val_loss[curves.lowest], curves.val_loss[-1]
    is_early = curves.lowest_epoch is not None and curves.lowest_epoch <= _EARLY * len(curves)
    fell = curves.train_loss[-1] < curves.train_loss[curves.lowest]
    wrong = 1 - curves.val_accuracy
    is_worth_it = wrong[-1] < (1 - _RISE) * wrong[curves.lowest]
    if is_early and fell and not is_worth_it and last > (1 + _RISE) * lowest:
        return (
            f"the validation loss was lowest, {lowest:.4f}, after epoch {curves.lowest_epoch}, and "
            f"has risen to {last:.4f} while the training loss went on falling"
        )
    train, validation = (a[curves.lowest] for a in (curves.train_accuracy, curves.val_accuracy))
    if train - validation > _GAP:
        return (
            f"{train:.1%} of the training images are read right, but {validation:.1%} of the "
            "validation images"
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
        f"{wrong:.1%} of the {images} images are read wrong, and {in_training:.1%} of those "
        "trained on: not even they are learned"
    )


_RULES = (
    ("too short", _is_short),
    ("unstable", _is_unstable),
    ("overfitting", _overfits),
    ("still improving", _improves),
    ("underfitting", _underfits),
)
