"""Checks of the network and its loss before the first step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from penstroke.models.blocks import ACTIVATIONS
from penstroke.quality.finding import Finding, Outcome
from penstroke.quality.subject import Subject

_MANY, _FEW = 2000, 400
_FIRST_LOSS = (0.7, 1.6)
"""Of ln K: shipped networks begin between 0.99 and 1.14."""
_DEAD, _SOME_DEAD = 0.5, 0.3
"""Of a layer's units: up to 20 % in shipped networks."""


def check_output(subject: Subject) -> Finding:
    """Random images give finite logits of the right shape, which are no probabilities yet."""
    images = torch.rand(16, 1, 28, 28, device=subject.config.train.device)
    with torch.no_grad():
        logits = subject.copy()(images)
    wanted = (16, len(subject.classes))
    if tuple(logits.shape) != wanted:
        return Finding("output", "wrong", f"{tuple(logits.shape)} for 16 images, not {wanted}",
                       "the output layer needs a unit a class")  # fmt: skip
    if not torch.isfinite(logits).all():
        return Finding("output", "wrong", "not all logits are finite", "look for a division by 0")
    if bool((logits >= 0).all()) and float((logits.sum(1) - 1).abs().max()) < 1e-3:
        return Finding("output", "wrong", "each row sums to 1: softmax has been applied already",
                       "return logits: the loss applies softmax itself")  # fmt: skip
    ends = f"from {float(logits.min()):.2f} to {float(logits.max()):.2f}"
    return Finding("output", "ok", f"{wanted[1]} finite logits an image, {ends}")


def check_first_loss(subject: Subject) -> Finding:
    """Before training the loss is that of a guess, ln K."""
    images, labels = subject.images(_MANY)
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(subject.copy()(images), labels))
    guess = math.log(len(subject.classes))
    text = f"{loss:.3f}; a guess among {len(subject.classes)} classes has ln K = {guess:.3f}"
    if _FIRST_LOSS[0] * guess <= loss <= _FIRST_LOSS[1] * guess:
        return Finding("first loss", "ok", text)
    return Finding("first loss", "wrong", text, "the first weights are too large or too small, or "
                   "the images are not normalised")  # fmt: skip


def check_loss(subject: Subject) -> Finding:
    """The loss is a mean over images: twice the batch, the same loss."""
    images, labels = subject.images(64)
    network = subject.copy().eval()
    with torch.no_grad():
        once = float(subject.loss(network(images), labels))
        twice = float(subject.loss(network(images.repeat(2, 1, 1, 1)), labels.repeat(2)))
    text = f"{once:.3f} for 64 images, {twice:.3f} for the same ones twice"
    if abs(twice - once) <= 0.01 * abs(once):
        return Finding("mean loss", "ok", text)
    return Finding("mean loss", "wrong", text, "average the loss over the batch: as it is, every "
                   "batch size needs another learning rate")  # fmt: skip


def check_activity(subject: Subject) -> Finding:
    """Of each activation's units few are 0 for every image."""
    images, _ = subject.images(_FEW)
    network, dead = subject.copy().eval(), {}

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, output: Tensor) -> None:
            units = output.transpose(0, 1).flatten(1)
            dead[name] = float((units.abs() < 1e-6).all(dim=1).float().mean())

        return hook

    for name, module in network.named_modules():
        if type(module) in ACTIVATIONS.values():
            module.register_forward_hook(look(name))
    with torch.no_grad():
        network(images)
    if not dead:
        return Finding("dead units", "ok", "there is no activation")
    worst = max(dead, key=lambda name: dead[name])
    text = f"at most {dead[worst]:.0%} of a layer's units give 0 for every image ({worst})"
    if dead[worst] <= _SOME_DEAD:
        return Finding("dead units", "ok", text)
    outcome: Outcome = "wrong" if dead[worst] > _DEAD else "look"
    return Finding("dead units", outcome, text, "look at the biases and the size of the first "
                   "weights; leaky_relu has no dead units")  # fmt: skip


def check_evaluation(subject: Subject) -> Finding:
    """In evaluation mode the same image gets the same logits, whatever it is read beside."""
    images, _ = subject.images(64)
    network = subject.copy().eval()
    with torch.no_grad():
        first, again, alone = network(images), network(images), network(images[:8])
    noise = float((first - again).abs().max())
    company = float((first[:8] - alone).abs().max())
    text = f"read twice, logits differ by {noise:.1g}; read beside others, by {company:.1g}"
    if noise > 1e-4:
        return Finding("evaluation", "wrong", text, "dropout is on in evaluation: call eval()")
    if company > 1e-2:
        return Finding("evaluation", "wrong", text, "batch norm uses the batch: call eval()")
    return Finding("evaluation", "ok", text)
