"""Checks of the first steps of training."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from penstroke.config.settings import TrainConfig
from penstroke.quality.finding import Finding
from penstroke.quality.subject import Subject, Trainer

_GRADIENT_STEPS = 5
"""More than one: a residual block's last batch norm begins at 0, and lets none through at first."""
_EXPLODED = 1e3
_SMALL_BATCH, _LEARNED, _SMALL_STEPS, _ADAM_RATE = 32, 0.99, 300, 1e-3
_RATE_STEPS, _RATE_WARMUP, _RATE_LAST = 60, 15, 10
_RATE_WORSE = 1.3
"""Times the loss at a lower rate: a rate that ends above is too high, if it has not even halved the
loss. (R3's 0.1 ends at 1.4 times the loss of 0.01, and learns all the same.)"""


def check_gradients(subject: Subject) -> Finding:
    """In the first steps a gradient reaches every parameter, and none explodes."""
    trainer = Trainer(subject)
    largest = {name: 0.0 for name, _ in trainer.network.named_parameters()}
    missing, norms = set(largest), []
    for images, labels in subject.batches(_GRADIENT_STEPS):
        trainer.gradients(images, labels)
        gradients = {n: p.grad for n, p in trainer.network.named_parameters() if p.grad is not None}
        missing -= gradients.keys()
        largest |= {n: max(largest[n], float(g.abs().max())) for n, g in gradients.items()}
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in gradients.values())))
        trainer.apply(subject.config.train.learning_rate / 10)
    frozen = [n for n, p in trainer.network.named_parameters() if not p.requires_grad]
    return _gradient_finding(largest, frozen, sorted(missing - set(frozen)), norms)


def _gradient_finding(
    largest: dict[str, float], frozen: list[str], cut: list[str], norms: list[float]
) -> Finding:
    zero = [name for name, value in largest.items() if value == 0]
    if frozen:
        text, advice = f"frozen: {_some(frozen)}", "set requires_grad"
    elif cut:
        text = f"no gradient reaches {_some(cut)}"
        advice = "look for detach(), no_grad() or a new tensor between them and the loss"
    elif zero:
        text, advice = f"always 0 in {_some(zero)}", "a dead layer lies behind them"
    elif not all(math.isfinite(norm) and norm < _EXPLODED for norm in norms):
        text = f"the norm of all gradients is {max(norms):.3g}"
        advice = "lower the learning rate, normalise, or look at the first weights"
    else:
        norm = f"norm {min(norms):.2g} to {max(norms):.2g} in {len(norms)} steps"
        return Finding("gradients", "ok", f"all {len(largest)} tensors get one; {norm}")
    return Finding("gradients", "wrong", text, advice)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_small_batch(subject: Subject) -> Finding:
    """A few images are learned by heart, without augmentation or dropout."""
    images, labels = subject.images(_SMALL_BATCH)
    train = subject.config.train
    steps, share = _learn(subject, images, labels, train)
    text = f"{share:.0%} of {len(labels)} images after {steps} steps"
    if share >= _LEARNED:
        return Finding("small batch", "ok", text)
    adam = TrainConfig(optimizer="adam", learning_rate=_ADAM_RATE)
    adam_steps, adam_share = _learn(subject, images, labels, adam)
    text += f"; {adam_share:.0%} after {adam_steps} with Adam at {_ADAM_RATE:g}"
    if adam_share >= _LEARNED:
        return Finding("small batch", "look", text, "the network can learn; the optimiser's "
                       "settings are slow")  # fmt: skip
    return Finding("small batch", "wrong", text, "what cannot learn a few images by heart has a "
                   "fault: look at the other checks first")  # fmt: skip


def _learn(
    subject: Subject, images: Tensor, labels: Tensor, config: TrainConfig
) -> tuple[int, float]:
    """Train on one batch until it is known; return (steps, share read right in the last)."""
    trainer = Trainer(subject, config).without_dropout()
    share = 0.0
    for step in range(1, _SMALL_STEPS + 1):
        trainer.step(config.learning_rate, images, labels)
        with torch.no_grad():
            share = float((trainer.network(images).argmax(1) == labels).float().mean())
        if share >= _LEARNED:
            return step, share
    return _SMALL_STEPS, share


def check_learning_rate(subject: Subject) -> Finding:
    """A tenth and a hundredth of the rate do not learn more in the first steps."""
    rate = subject.config.train.learning_rate
    first, losses = 0.0, {}
    for factor in (1.0, 0.1, 0.01):
        first, losses[factor] = _loss_after(subject, factor * rate)
    lower = min((0.1, 0.01), key=lambda factor: losses[factor])
    text = (
        f"loss {first:.2f} → {losses[1.0]:.2f} in {_RATE_STEPS} steps at {rate:g}, "
        f"→ {losses[lower]:.2f} at {lower * rate:g}"
    )
    is_worse = losses[1.0] > _RATE_WORSE * losses[lower] and losses[1.0] > 0.5 * first
    if math.isfinite(losses[1.0]) and not is_worse:
        return Finding("learning rate", "ok", text)
    return Finding("learning rate", "wrong", text, f"it is too high: try {lower * rate:.1g}, or "
                   "`penstroke check RECIPE --lr`")  # fmt: skip


def _loss_after(subject: Subject, rate: float) -> tuple[float, float]:
    """Return (the first loss, the mean of the last ones) of a short training."""
    trainer = Trainer(subject).without_dropout()
    losses = [
        trainer.step(rate * min(1.0, (step + 1) / _RATE_WARMUP), images, labels)
        for step, (images, labels) in enumerate(subject.batches(_RATE_STEPS))
    ]
    return losses[0], float(np.mean(losses[-_RATE_LAST:]))
