"""Checks before training: the mistakes that are most common, each measured and judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from penstroke.config.settings import TrainConfig
from penstroke.data.dataset import Dataset, Images
from penstroke.data.loading import load_dataset
from penstroke.models.blocks import ACTIVATIONS
from penstroke.quality.training_setup import Trainer, TrainingSetup

Outcome = Literal["pass", "warn", "fail"]

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


@dataclass(frozen=True)
class Finding:
    """The result of one check: the measured figures as text, and advice unless it passed."""

    name: str
    outcome: Outcome
    text: str
    advice: str = ""


def check(setup: TrainingSetup, on_check: Callable[[], None] = lambda: None) -> list[Finding]:
    """Run every check; `on_check` is called after each.

    Checks work on copies of the network: neither it nor torch's random state is changed.
    """
    findings = []
    for run_check in CHECKS:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            findings.append(run_check(setup))
        on_check()
    return findings


def _judge(name: str, passed: bool, text: str, advice: str) -> Finding:
    return Finding(name, "pass", text) if passed else Finding(name, "fail", text, advice)


# The images and their labels.


def check_labels(setup: TrainingSetup) -> Finding:
    """Labels belong to their images: the nearest other image mostly has the same label."""
    data = setup.train
    chance = float(data.class_counts().max() / len(data))
    order = np.random.default_rng(0).permutation(len(data))
    queries, known = data.subset(order[:_FEW]), data.subset(order[_FEW : _FEW + _MANY])
    if len(known) < 10 * len(data.classes):
        return Finding("labels", "pass", f"{len(data)} images are too few to tell")
    share = _nearest_agree(queries, known)
    return _judge(
        "labels",
        share > chance + 0.25 * (1 - chance),
        f"{share:.0%} of images have their nearest neighbour's label, {chance:.0%} by chance",
        "images and labels are in different orders, or the labels belong to other images",
    )


def check_orientation(setup: TrainingSetup) -> Finding:
    """Training images have the orientation of the validation images and of upright digits."""
    references = [("the training images", setup.validation, setup.train)]
    if set(setup.train.classes) <= set("0123456789"):
        references.append(("upright digits", setup.train, load_dataset("digits").train))
    texts = []
    for name, images, known in references:
        if min(len(images), len(known)) < 10 * len(setup.train.classes):
            continue
        upright, best, best_name = _best_orientation(images, known)
        texts.append(f"compared with {name}: {upright:.0%} correct")
        if best > upright + 0.1:
            return Finding(
                "orientation", "fail", f"{texts[-1]} as they are, {best:.0%} {best_name}",
                "turn the images where they are loaded (EMNIST's own files are transposed)",
            )  # fmt: skip
    return Finding("orientation", "pass", "; ".join(texts) or "too few images to tell")


def _best_orientation(images: Dataset, known: Dataset) -> tuple[float, float, str]:
    """Return the share correct as they are, and the best of all eight orientations, with its name.

    Correct: the nearest of `known` has the same label.
    """
    random = np.random.default_rng(0)
    images = images.subset(random.permutation(len(images))[:_FEW])
    known = known.subset(random.permutation(len(known))[:_MANY])
    shares = {}
    for name, turned in _orientations(images.images):
        sample = Dataset(np.ascontiguousarray(turned), images.labels, images.classes)
        shares[name] = _nearest_agree(sample, known)
    best = max(shares, key=lambda name: shares[name])
    return shares["upright"], shares[best], best


def _orientations(images: Images) -> Iterator[tuple[str, Images]]:
    for prefix, start in (("", images), ("transposed ", images.transpose(0, 2, 1))):
        for turns in range(4):
            name = f"{prefix}turned by {90 * turns}°" if turns else prefix.strip() or "upright"
            yield name, np.rot90(start, turns, axes=(1, 2))


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


def check_input(setup: TrainingSetup) -> Finding:
    """The input of the first layer has mean 0 and standard deviation 1."""
    images, _ = setup.sample(_MANY)
    network = setup.copy_network().eval()
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    inputs: list[Tensor] = []
    first.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    with torch.no_grad():
        network(images)
    mean, std = float(inputs[0].mean()), float(inputs[0].std())
    return _judge(
        "input",
        abs(mean) <= _INPUT_MEAN and _INPUT_STD[0] <= std <= _INPUT_STD[1],
        f"the first layer's input has mean {mean:+.2f} and standard deviation {std:.2f}",
        "normalise with the mean and standard deviation of the training pixels, on the scale of "
        "the network's input (0..1)",
    )


# The network and its loss.


def check_output(setup: TrainingSetup) -> Finding:
    """Random images give finite logits of the right shape, without a softmax applied."""
    images = torch.rand(16, 1, 28, 28, device=setup.config.train.device)
    with torch.no_grad():
        logits = setup.copy_network()(images)
    shape = (16, len(setup.train.classes))
    if tuple(logits.shape) != shape:
        return Finding("output", "fail", f"{tuple(logits.shape)} for 16 images, not {shape}",
                       "the output layer needs one unit per class")  # fmt: skip
    if not torch.isfinite(logits).all():
        return Finding("output", "fail", "not all logits are finite", "look for a division by 0")
    if bool((logits >= 0).all()) and float((logits.sum(1) - 1).abs().max()) < 1e-3:
        return Finding("output", "fail", "each row sums to 1: softmax has been applied already",
                       "return logits: the loss applies softmax itself")  # fmt: skip
    ends = f"from {float(logits.min()):.2f} to {float(logits.max()):.2f}"
    return Finding("output", "pass", f"{shape[1]} finite logits per image, {ends}")


def check_first_loss(setup: TrainingSetup) -> Finding:
    """Before training the loss is that of guessing, ln K."""
    images, labels = setup.sample(_MANY)
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(setup.copy_network()(images), labels))
    classes = len(setup.train.classes)
    guess = math.log(classes)
    return _judge(
        "first loss",
        _FIRST_LOSS[0] * guess <= loss <= _FIRST_LOSS[1] * guess,
        f"{loss:.3f}; guessing among {classes} classes gives ln K = {guess:.3f}",
        "the initial weights are too large or too small, or the images are not normalised",
    )


def check_loss(setup: TrainingSetup) -> Finding:
    """The loss is a mean over images: repeating the batch does not change it."""
    images, labels = setup.sample(64)
    network = setup.copy_network().eval()
    with torch.no_grad():
        once = float(setup.loss(network(images), labels))
        twice = float(setup.loss(network(images.repeat(2, 1, 1, 1)), labels.repeat(2)))
    return _judge(
        "mean loss",
        abs(twice - once) <= 0.01 * abs(once),
        f"{once:.3f} for 64 images, {twice:.3f} for the same images twice",
        "average the loss over the batch; otherwise each batch size needs its own learning rate",
    )


def check_activity(setup: TrainingSetup) -> Finding:
    """Few units of each activation are 0 for all images."""
    images, _ = setup.sample(_FEW)
    network, dead = setup.copy_network().eval(), {}

    def measure(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
            units = output.transpose(0, 1).flatten(1)
            dead[name] = float((units.abs() < 1e-6).all(dim=1).float().mean())

        return hook

    for name, module in network.named_modules():
        if type(module) in ACTIVATIONS.values():
            module.register_forward_hook(measure(name))
    with torch.no_grad():
        network(images)
    if not dead:
        return Finding("dead units", "pass", "the network has no activation")
    worst = max(dead, key=lambda name: dead[name])
    text = f"at most {dead[worst]:.0%} of a layer's units are 0 for all images ({worst})"
    if dead[worst] <= _SOME_DEAD:
        return Finding("dead units", "pass", text)
    return Finding(
        "dead units", "fail" if dead[worst] > _DEAD else "warn", text,
        "check the biases and the scale of the initial weights; leaky_relu has no dead units",
    )  # fmt: skip


def check_evaluation(setup: TrainingSetup) -> Finding:
    """In evaluation mode an image has the same logits each time, in any batch."""
    images, _ = setup.sample(64)
    network = setup.copy_network().eval()
    with torch.no_grad():
        first, again, part = network(images), network(images), network(images[:8])
    repeated = float((first - again).abs().max())
    in_part = float((first[:8] - part).abs().max())
    text = f"logits differ by {repeated:.1g} when repeated, by {in_part:.1g} in another batch"
    if repeated > 1e-4:
        return Finding("evaluation", "fail", text, "dropout is on in evaluation: call eval()")
    if in_part > 1e-2:
        return Finding("evaluation", "fail", text, "batch norm uses the batch: call eval()")
    return Finding("evaluation", "pass", text)


# The first training steps.


def check_gradients(setup: TrainingSetup) -> Finding:
    """In the first steps a gradient reaches each parameter, and none explodes."""
    trainer = Trainer(setup)
    largest = {name: 0.0 for name, _ in trainer.network.named_parameters()}
    missing, norms = set(largest), []
    for images, labels in setup.batches(_GRADIENT_STEPS):
        trainer.backward(images, labels)
        gradients = {n: p.grad for n, p in trainer.network.named_parameters() if p.grad is not None}
        missing -= gradients.keys()
        largest |= {n: max(largest[n], float(g.abs().max())) for n, g in gradients.items()}
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in gradients.values())))
        trainer.apply(setup.config.train.learning_rate / 10)
    frozen = [n for n, p in trainer.network.named_parameters() if not p.requires_grad]
    if frozen:
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
        return Finding("gradients", "pass", f"reach all {len(largest)} tensors; {norm}")
    return Finding("gradients", "fail", text, advice)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_small_batch(setup: TrainingSetup) -> Finding:
    """A few images can be memorised, without augmentation or dropout."""
    images, labels = setup.sample(_SMALL_BATCH)
    steps, share = _memorise(setup, images, labels, setup.config.train)
    text = f"{share:.0%} of {len(labels)} images after {steps} steps"
    if share >= _LEARNED:
        return Finding("small batch", "pass", text)
    adam = TrainConfig(optimizer="adam", learning_rate=_ADAM_RATE)
    adam_steps, adam_share = _memorise(setup, images, labels, adam)
    text += f"; {adam_share:.0%} after {adam_steps} with Adam at {_ADAM_RATE:g}"
    if adam_share >= _LEARNED:
        return Finding("small batch", "warn", text,
                       "the network can learn; the optimiser settings are slow")  # fmt: skip
    return Finding("small batch", "fail", text, "a network that cannot memorise a few images has a "
                   "fault: look at the other checks first")  # fmt: skip


def _memorise(
    setup: TrainingSetup, images: Tensor, labels: Tensor, config: TrainConfig
) -> tuple[int, float]:
    """Train on one batch until it is known; return (steps, share correct after the last)."""
    trainer = Trainer(setup, config, dropout=False)
    share = 0.0
    for step in range(1, _SMALL_STEPS + 1):
        trainer.step(config.learning_rate, images, labels)
        with torch.no_grad():
            share = float((trainer.network(images).argmax(1) == labels).float().mean())
        if share >= _LEARNED:
            return step, share
    return _SMALL_STEPS, share


def check_learning_rate(setup: TrainingSetup) -> Finding:
    """A tenth and a hundredth of the learning rate do not learn more in the first steps."""
    rate = setup.config.train.learning_rate
    first, losses = 0.0, {}
    for factor in (1.0, 0.1, 0.01):
        first, losses[factor] = _losses_at(setup, factor * rate)
    lower = min((0.1, 0.01), key=lambda factor: losses[factor])
    is_worse = losses[1.0] > _RATE_WORSE * losses[lower] and losses[1.0] > 0.5 * first
    return _judge(
        "learning rate",
        math.isfinite(losses[1.0]) and not is_worse,
        f"loss {first:.2f} → {losses[1.0]:.2f} in {_RATE_STEPS} steps at {rate:g}, "
        f"→ {losses[lower]:.2f} at {lower * rate:g}",
        f"it is too high: try {lower * rate:.1g}, or `penstroke check RECIPE --lr`",
    )


def _losses_at(setup: TrainingSetup, rate: float) -> tuple[float, float]:
    """Return (the first loss, the mean of the last ones) of a short training."""
    trainer = Trainer(setup, dropout=False)
    losses = [
        trainer.step(rate * min(1.0, (step + 1) / _RATE_WARMUP), images, labels)
        for step, (images, labels) in enumerate(setup.batches(_RATE_STEPS))
    ]
    return losses[0], float(np.mean(losses[-_RATE_LAST:]))


CHECKS: tuple[Callable[[TrainingSetup], Finding], ...] = (
    check_labels,
    check_orientation,
    check_input,
    check_output,
    check_first_loss,
    check_loss,
    check_gradients,
    check_activity,
    check_evaluation,
    check_small_batch,
    check_learning_rate,
)
