"""Checks of the images and their labels: what is measured, and from when on it is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from penstroke.data.dataset import Dataset, Images
from penstroke.data.loading import load_dataset
from penstroke.quality.finding import Finding
from penstroke.quality.subject import Subject

_MANY, _FEW = 2000, 400
_INPUT_MEAN, _INPUT_STD = 0.25, (0.7, 1.4)


def check_labels(subject: Subject) -> Finding:
    """Labels go with images: the nearest image of others mostly has the same label."""
    data = subject.train
    chance = float(data.class_counts().max() / len(data))
    order = np.random.default_rng(0).permutation(len(data))
    queries, known = data.take(order[:_FEW]), data.take(order[_FEW : _FEW + _MANY])
    if len(known) < 10 * len(data.classes):
        return Finding("labels", "ok", f"{len(data)} images are too few to tell")
    share = _nearest_agree(queries, known)
    text = f"{share:.0%} of images have their nearest neighbour's label, {chance:.0%} by chance"
    if share > chance + 0.25 * (1 - chance):
        return Finding("labels", "ok", text)
    return Finding("labels", "wrong", text, "images and labels are not in the same order, or the "
                   "labels are of something else")  # fmt: skip


def check_orientation(subject: Subject) -> Finding:
    """Images lie as those they are read beside: held out ones, and upright digits."""
    others = [("the training images", subject.validation, subject.train)]
    if set(subject.classes) <= set("0123456789"):
        others.append(("upright digits", subject.train, load_dataset("digits").train))
    texts = []
    for name, images, known in others:
        if min(len(images), len(known)) < 10 * len(subject.classes):
            continue
        upright, best, best_name = _best_orientation(images, known)
        texts.append(f"read beside {name}: {upright:.0%} right")
        if best > upright + 0.1:
            return Finding(
                "orientation", "wrong", f"{texts[-1]} as they are, {best:.0%} {best_name}",
                "turn the images where they are loaded (EMNIST's own files lie on their side)",
            )  # fmt: skip
    return Finding("orientation", "ok", "; ".join(texts) or "too few images to tell")


def check_input(subject: Subject) -> Finding:
    """What the first layer sees has mean 0 and standard deviation 1."""
    images, _ = subject.images(_MANY)
    network = subject.copy().eval()
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    seen: list[Tensor] = []
    handle = first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        network(images)
    handle.remove()
    mean, std = float(seen[0].mean()), float(seen[0].std())
    text = f"the first layer sees mean {mean:+.2f}, standard deviation {std:.2f}"
    if abs(mean) <= _INPUT_MEAN and _INPUT_STD[0] <= std <= _INPUT_STD[1]:
        return Finding("input", "ok", text)
    return Finding("input", "wrong", text, "normalise with the mean and standard deviation of the "
                   "training pixels, on the scale the network reads (0..1)")  # fmt: skip


def _nearest_agree(queries: Dataset, known: Dataset) -> float:
    """Return the share of `queries` whose nearest of `known`, by pixels, has their label's name."""
    distances = torch.cdist(_flat(queries.images), _flat(known.images))
    nearest = known.labels[distances.argmin(1).numpy()]
    # By name: the two may number their classes differently.
    theirs, ours = (np.array(part.classes) for part in (known, queries))
    return float((theirs[nearest] == ours[queries.labels]).mean())


def _best_orientation(samples: Dataset, known: Dataset) -> tuple[float, float, str]:
    """Return the share read right as they are, and the best of all eight ways to lie, by name."""
    random = np.random.default_rng(0)
    samples = samples.take(random.permutation(len(samples))[:_FEW])
    known = known.take(random.permutation(len(known))[:_MANY])
    shares = {}
    for name, images in _orientations(samples.images):
        lying = Dataset(np.ascontiguousarray(images), samples.labels, samples.classes)
        shares[name] = _nearest_agree(lying, known)
    best = max(shares, key=lambda name: shares[name])
    return shares["upright"], shares[best], best


def _orientations(images: Images) -> Iterator[tuple[str, Images]]:
    """Yield the eight ways in which square images can lie."""
    for mirrored, start in (("", images), ("transposed ", images.transpose(0, 2, 1))):
        for turns in range(4):
            name = f"{mirrored}turned by {90 * turns}°" if turns else mirrored.strip() or "upright"
            yield name, np.rot90(start, turns, axes=(1, 2))


def _flat(images: Images) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), -1).astype(np.float32) / 255)
