"""Checks before training: common mistakes, each measured and judged; the learning-rate range."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from penstroke.config.settings import RunConfig, TrainConfig
from penstroke.data.dataset import Dataset, DataSplits
from penstroke.data.loading import load_dataset
from penstroke.models.blocks import ACTIVATIONS, Dropout
from penstroke.models.build import network_for
from penstroke.training.batches import Batches
from penstroke.training.device import resolve_auto
from penstroke.training.train_state import Optimizer

Outcome = Literal["pass", "warn", "fail"]
Result = tuple[Outcome, str, str]
"""The outcome of a check, the measured figures as text, and advice unless it passed."""

_MANY, _FEW = 2000, 400
_INPUT_MEAN, _INPUT_STD = 0.25, (0.7, 1.4)
_FIRST_LOSS = (0.7, 1.6)
"""Of ln K: shipped networks begin between 0.99 and 1.14."""
_DEAD, _SOME_DEAD = 0.5, 0.3
"""Of a layer's units: up to 20 % in shipped networks."""
_GRADIENT_STEPS = 5
"""More than one: a residual block's last batch norm starts at 0 and blocks the first gradient."""
_EXPLODED = 1e3
_SMALL_BATCH, _LEARNED, _SMALL_STEPS, _ADAM_RATE = 32, 0.99, 300, 1e-3
_RATE_STEPS, _RATE_WARMUP, _RATE_LAST = 60, 15, 10
_RATE_WORSE = 1.3
"""Times the loss at a lower rate: a rate that ends above this is too high, unless it has at least
halved the loss. (R3's 0.1 ends at 1.4 times the loss of 0.01, and learns all the same.)"""
_LOWEST, _HIGHEST, _STEPS = 1e-6, 10.0, 140
"""Twenty steps per decade."""
_SMOOTHING = 0.9
_DIVERGED = 4.0
"""Times the lowest loss so far: the test stops there."""


@dataclass(frozen=True, eq=False)
class TrainingSetup:
    """Resolved settings, data, network and loss before the first training step.

    `network`, in training mode, turns images (B, 1, 28, 28) in 0..1 into logits (B, K); `loss`
    these and labels (B,) into a scalar.
    """

    config: RunConfig
    train: Dataset
    validation: Dataset
    network: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy

    @classmethod
    def from_config(cls, config: RunConfig, data: DataSplits) -> TrainingSetup:
        """Return what `config` would train on `data`."""
        config = resolve_auto(config)
        network = network_for(config.model, data.train, config.train.seed)
        return cls(config, data.train, data.validation, network.to(config.train.device))

    def copy_network(self) -> nn.Module:
        """Return a copy of the network, in training mode, which a check may change."""
        return copy.deepcopy(self.network).train()

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Return (images, labels) of up to `count` random training images, always the same ones."""
        indices = np.random.default_rng(0).permutation(len(self.train))[:count]
        return next(Batches(self.train.subset(indices), self.config.train.device).in_order(count))

    def batches(self, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `steps` shuffled batches of the configured size."""
        batches = Batches(self.train, self.config.train.device)
        size, taken = min(self.config.train.batch_size, len(self.train)), 0
        while taken < steps:
            for batch in islice(batches.shuffled(size, seed=taken), steps - taken):
                taken += 1
                yield batch


@dataclass(frozen=True)
class Finding:
    """The result of one check: the measured figures as text, and advice unless it passed."""

    name: str
    outcome: Outcome
    text: str
    advice: str


def check(
    setup: TrainingSetup, on_check: Callable[[], None] = lambda: None, only: str | None = None
) -> list[Finding]:
    """Run every check, or `only` one; `on_check` is called after each.

    Checks work on copies of the network: neither it nor torch's random state is changed. Only
    `Trainer` computes gradients.
    """
    findings = []
    for name, run_check in ({only: CHECKS[only]} if only else CHECKS).items():
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            findings.append(Finding(name, *run_check(setup)))
        on_check()
    return findings


def _judge(passed: bool, text: str, advice: str) -> Result:
    return ("pass", text, "") if passed else ("fail", text, advice)


# The images and their labels.


def check_labels(setup: TrainingSetup) -> Result:
    """Labels belong to their images: the nearest other image mostly has the same label."""
    data = setup.train
    chance = float(data.class_counts().max() / len(data))
    order = np.random.default_rng(0).permutation(len(data))
    queries, known = data.subset(order[:_FEW]), data.subset(order[_FEW : _FEW + _MANY])
    if len(known) < 10 * len(data.classes):
        return "pass", f"{len(data)} images are too few to tell", ""
    share = _nearest_agree(queries, known)
    return _judge(
        share > chance + 0.25 * (1 - chance),
        f"{share:.0%} of images have their nearest neighbour's label, {chance:.0%} by chance",
        "images and labels are in different orders, or the labels belong to other images",
    )


def check_orientation(setup: TrainingSetup) -> Result:
    """Training images have the orientation of the validation images and of upright digits."""
    references = [("the training images", setup.validation, setup.train)]
    if set(setup.train.classes) <= set("0123456789"):
        references.append(("upright digits", setup.train, load_dataset("digits").train))
    texts = []
    for name, images, known in references:
        if min(len(images), len(known)) < 10 * len(setup.train.classes):
            continue
        shares = _correct_by_orientation(images, known)
        best = max(shares, key=shares.__getitem__)
        texts.append(f"compared with {name}: {shares['upright']:.0%} correct")
        if shares[best] > shares["upright"] + 0.1:
            text = f"{texts[-1]} as they are, {shares[best]:.0%} {best}"
            advice = "turn the images where they are loaded (EMNIST's own files are transposed)"
            return "fail", text, advice
    return "pass", "; ".join(texts) or "too few images to tell", ""


def _correct_by_orientation(images: Dataset, known: Dataset) -> dict[str, float]:
    """Return the share whose nearest of `known` has the same label, in each of 8 orientations."""
    random = np.random.default_rng(0)
    images = images.subset(random.permutation(len(images))[:_FEW])
    known = known.subset(random.permutation(len(known))[:_MANY])
    shares = {}
    for prefix, start in ("", images.images), ("transposed ", images.images.transpose(0, 2, 1)):
        for turns in range(4):
            name = f"{prefix}turned by {90 * turns}°" if turns else prefix.strip() or "upright"
            turned = np.ascontiguousarray(np.rot90(start, turns, axes=(1, 2)))
            shares[name] = _nearest_agree(Dataset(turned, images.labels, images.classes), known)
    return shares


def _nearest_agree(queries: Dataset, known: Dataset) -> float:
    """Return the share of `queries` whose nearest of `known`, by pixels, has the same label."""
    query, gallery = (
        torch.from_numpy(part.images.reshape(len(part), -1).astype(np.float32) / 255)
        for part in (queries, known)
    )
    nearest = known.labels[torch.cdist(query, gallery).argmin(1).numpy()]
    # By name: the two may number their classes differently.
    names = np.array(queries.classes)[queries.labels]
    return float((np.array(known.classes)[nearest] == names).mean())


def check_input(setup: TrainingSetup) -> Result:
    """The input of the first layer has mean 0 and standard deviation 1."""
    images, _ = setup.sample(_MANY)
    network = setup.copy_network().eval()
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    inputs: list[Tensor] = []
    first.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    network(images)
    mean, std = float(inputs[0].mean()), float(inputs[0].std())
    return _judge(
        abs(mean) <= _INPUT_MEAN and _INPUT_STD[0] <= std <= _INPUT_STD[1],
        f"the first layer's input has mean {mean:+.2f} and standard deviation {std:.2f}",
        "normalise with the mean and standard deviation of the training pixels, on the scale of "
        "the network's input (0..1)",
    )


# The network and its loss.


def check_output(setup: TrainingSetup) -> Result:
    """Random images give finite logits of the right shape, without a softmax applied."""
    images = torch.rand(16, 1, 28, 28, device=setup.config.train.device)
    logits = setup.copy_network()(images)
    shape = (16, len(setup.train.classes))
    if logits.shape != shape:
        text = f"{tuple(logits.shape)} for 16 images, not {shape}"
        return "fail", text, "the output layer needs one unit per class"
    if not torch.isfinite(logits).all():
        return "fail", "not all logits are finite", "look for a division by 0"
    if bool((logits >= 0).all()) and float((logits.sum(1) - 1).abs().max()) < 1e-3:
        text = "each row sums to 1: softmax has been applied already"
        return "fail", text, "return logits: the loss applies softmax itself"
    ends = f"from {float(logits.min()):.2f} to {float(logits.max()):.2f}"
    return "pass", f"{shape[1]} finite logits per image, {ends}", ""


def check_first_loss(setup: TrainingSetup) -> Result:
    """Before training the loss is that of guessing, ln K."""
    images, labels = setup.sample(_MANY)
    loss = float(cross_entropy(setup.copy_network()(images), labels))
    classes = len(setup.train.classes)
    guess = math.log(classes)
    return _judge(
        _FIRST_LOSS[0] * guess <= loss <= _FIRST_LOSS[1] * guess,
        f"{loss:.3f}; guessing among {classes} classes gives ln K = {guess:.3f}",
        "the initial weights are too large or too small, or the images are not normalised",
    )


def check_loss(setup: TrainingSetup) -> Result:
    """The loss is a mean over images: repeating the batch does not change it."""
    images, labels = setup.sample(64)
    network = setup.copy_network().eval()
    once = float(setup.loss(network(images), labels))
    twice = float(setup.loss(network(images.repeat(2, 1, 1, 1)), labels.repeat(2)))
    return _judge(
        abs(twice - once) <= 0.01 * abs(once),
        f"{once:.3f} for 64 images, {twice:.3f} for the same images twice",
        "average the loss over the batch; otherwise each batch size needs its own learning rate",
    )


def check_activity(setup: TrainingSetup) -> Result:
    """Few units of each activation are 0 for all images."""
    images, _ = setup.sample(_FEW)
    network = setup.copy_network().eval()
    names = {m: name for name, m in network.named_modules() if type(m) in ACTIVATIONS.values()}
    dead = {}

    def measure(module: nn.Module, _: Any, output: Tensor) -> None:
        units = output.transpose(0, 1).flatten(1)
        dead[names[module]] = float((units.abs() < 1e-6).all(dim=1).float().mean())

    for module in names:
        module.register_forward_hook(measure)
    network(images)
    if not dead:
        return "pass", "the network has no activation", ""
    worst = max(dead, key=dead.__getitem__)
    text = f"at most {dead[worst]:.0%} of a layer's units are 0 for all images ({worst})"
    if dead[worst] <= _SOME_DEAD:
        return "pass", text, ""
    advice = "check the biases and the scale of the initial weights; leaky_relu has no dead units"
    return "fail" if dead[worst] > _DEAD else "warn", text, advice


def check_evaluation(setup: TrainingSetup) -> Result:
    """In evaluation mode an image has the same logits each time, in any batch."""
    images, _ = setup.sample(64)
    network = setup.copy_network().eval()
    first, again, part = network(images), network(images), network(images[:8])
    repeated = float((first - again).abs().max())
    in_part = float((first[:8] - part).abs().max())
    text = f"logits differ by {repeated:.1g} when repeated, by {in_part:.1g} in another batch"
    if repeated > 1e-4:
        return "fail", text, "dropout is on in evaluation: call eval()"
    if in_part > 1e-2:
        return "fail", text, "batch norm uses the batch: call eval()"
    return "pass", text, ""


# The first training steps.


def check_gradients(setup: TrainingSetup) -> Result:
    """In the first steps a gradient reaches each parameter, and none explodes."""
    trainer = Trainer(setup)
    parameters = dict(trainer.network.named_parameters())
    largest = dict.fromkeys(parameters, 0.0)
    missing, norms = set(largest), []
    for images, labels in setup.batches(_GRADIENT_STEPS):
        trainer.backward(images, labels)
        gradients = {n: p.grad for n, p in parameters.items() if p.grad is not None}
        missing -= gradients.keys()
        largest |= {n: max(largest[n], float(g.abs().max())) for n, g in gradients.items()}
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in gradients.values())))
        trainer.apply(setup.config.train.learning_rate / 10)
    if frozen := [name for name, p in parameters.items() if not p.requires_grad]:
        text, advice = f"frozen: {_some(frozen)}", "set requires_grad"
    elif missing:
        text = f"no gradient reaches {_some(sorted(missing))}"
        advice = "look for detach(), no_grad() or a new tensor between them and the loss"
    elif zero := [name for name, value in largest.items() if value == 0]:
        text, advice = f"always 0 in {_some(zero)}", "a dead layer lies behind them"
    elif not all(math.isfinite(norm) and norm < _EXPLODED for norm in norms):
        text = f"the norm of all gradients is {max(norms):.3g}"
        advice = "lower the learning rate, normalise, or check the initial weights"
    else:
        norm = f"norm {min(norms):.2g} to {max(norms):.2g} in {len(norms)} steps"
        return "pass", f"reach all {len(largest)} tensors; {norm}", ""
    return "fail", text, advice


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_small_batch(setup: TrainingSetup) -> Result:
    """A few images can be memorised, without augmentation or dropout."""
    steps, share = _memorise(setup, setup.config.train)
    text = f"{share:.0%} of {min(_SMALL_BATCH, len(setup.train))} images after {steps} steps"
    if share >= _LEARNED:
        return "pass", text, ""
    adam = TrainConfig(optimizer="adam", learning_rate=_ADAM_RATE)
    adam_steps, adam_share = _memorise(setup, adam)
    text += f"; {adam_share:.0%} after {adam_steps} with Adam at {_ADAM_RATE:g}"
    if adam_share >= _LEARNED:
        return "warn", text, "the network can learn; the optimiser settings are slow"
    return "fail", text, (
        "a network that cannot memorise a few images has a fault: look at the other checks first"
    )  # fmt: skip


def _memorise(setup: TrainingSetup, config: TrainConfig) -> tuple[int, float]:
    """Train on a small batch until it is known; return (steps, share correct after the last)."""
    images, labels = setup.sample(_SMALL_BATCH)
    trainer = Trainer(setup, config, dropout=False)
    steps, share = 0, 0.0
    while steps < _SMALL_STEPS and share < _LEARNED:
        trainer.step(config.learning_rate, images, labels)
        share = float((trainer.network(images).argmax(1) == labels).float().mean())
        steps += 1
    return steps, share


def check_learning_rate(setup: TrainingSetup) -> Result:
    """A tenth and a hundredth of the learning rate do not learn more in the first steps."""
    rate = setup.config.train.learning_rate
    losses = {}
    for factor in (1.0, 0.1, 0.01):
        trainer = Trainer(setup, dropout=False)
        steps = [
            trainer.step(factor * rate * min(1.0, (step + 1) / _RATE_WARMUP), *batch)
            for step, batch in enumerate(setup.batches(_RATE_STEPS))
        ]
        first, losses[factor] = steps[0], float(np.mean(steps[-_RATE_LAST:]))
    lower = min((0.1, 0.01), key=lambda factor: losses[factor])
    is_worse = losses[1.0] > _RATE_WORSE * losses[lower] and losses[1.0] > 0.5 * first
    return _judge(
        math.isfinite(losses[1.0]) and not is_worse,
        f"loss {first:.2f} → {losses[1.0]:.2f} in {_RATE_STEPS} steps at {rate:g}, "
        f"→ {losses[lower]:.2f} at {lower * rate:g}",
        f"it is too high: try {lower * rate:.1g}, or `penstroke check RECIPE --lr`",
    )


CHECKS: dict[str, Callable[[TrainingSetup], Result]] = {
    "labels": check_labels, "orientation": check_orientation, "input": check_input,
    "output": check_output, "first loss": check_first_loss, "mean loss": check_loss,
    "gradients": check_gradients, "dead units": check_activity, "evaluation": check_evaluation,
    "small batch": check_small_batch, "learning rate": check_learning_rate,
}  # fmt: skip


@dataclass(frozen=True)
class RangeTest:
    """The tested rates with their smoothed losses, and a suggestion with its reason."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float  # where the loss falls fastest, but at most a third of where it is lowest
    reason: str


def range_test(setup: TrainingSetup, on_step: Callable[[], None] = lambda: None) -> RangeTest:
    """Measure the loss at learning rates from 1e-6 to 10 (Smith 2017), until it diverges."""
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trainer = Trainer(setup)
        for step, batch in enumerate(setup.batches(_STEPS)):
            rate = _LOWEST * (_HIGHEST / _LOWEST) ** (step / (_STEPS - 1))
            loss = trainer.step(rate, *batch)
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            smoothed = average / (1 - _SMOOTHING ** (step + 1))
            if not math.isfinite(loss) or (losses and smoothed > _DIVERGED * min(losses)):
                break
            rates.append(rate)
            losses.append(smoothed)
            on_step()
    lowest = int(np.argmin(losses))
    steepest = int(np.gradient(losses, np.log10(rates))[: lowest + 1].argmin())
    bound = rates[lowest] / 3
    suggestion = float(f"{min(rates[steepest], bound):.1g}")
    return RangeTest(
        tuple(rates), tuple(losses), suggestion,
        f"the loss falls fastest at {rates[steepest]:.1g} and is lowest at {rates[lowest]:.1g}; "
        f"the lower of that and of a third of this, {bound:.1g}, is a rate to start from; with a "
        "warm-up (train.schedule=one_cycle) higher ones are worth trying",
    )  # fmt: skip


class Trainer:
    """Takes steps on a copy of the network; parameters without a gradient stay as they are.

    `config` replaces the optimiser settings of `setup`; `dropout=False` turns dropout alone off.
    """

    def __init__(
        self, setup: TrainingSetup, config: TrainConfig | None = None, *, dropout: bool = True
    ) -> None:
        self.network = setup.copy_network()
        if not dropout:
            for module in self.network.modules():
                if isinstance(module, Dropout | nn.Dropout | nn.Dropout2d):
                    module.eval()
        self._loss = setup.loss
        self._optimizer = Optimizer(self.network, config or setup.config.train)

    @torch.enable_grad()
    def backward(self, images: Tensor, labels: Tensor) -> float:
        """Compute the gradients of one batch; return its loss."""
        loss = self._loss(self.network(images), labels)
        if loss.requires_grad:
            torch.autograd.backward(loss)
        return float(loss.detach())

    def apply(self, learning_rate: float) -> None:
        """Update the parameters with the computed gradients, and clear these."""
        for parameter in self.network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._optimizer.step(learning_rate)

    def step(self, learning_rate: float, images: Tensor, labels: Tensor) -> float:
        """Take one step; return the loss before it."""
        loss = self.backward(images, labels)
        self.apply(learning_rate)
        return loss
