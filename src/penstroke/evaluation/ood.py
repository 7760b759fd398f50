"""Out-of-distribution (OOD) images: none shows a character that the model knows."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from penstroke.config.class_names import is_same_character
from penstroke.config.settings import IMAGE_SIZE, DataConfig
from penstroke.data.dataset import Images
from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError
from penstroke.preprocessing import ink

_COUNT = 2000
"""Of each kind: the standard error of an AUROC of 0.95 is then below 0.005, √(A (1 - A) / N)."""
_MOST_UNKNOWN = 10_000
_SCRIBBLE_SIDE, _SCRIBBLE_PEN = 112, 12
"""Drawn four times as large; scaled down, the pen is 3 pixels wide, like MNIST's."""


def gather_ood_images(
    known: Sequence[str], dataset: str | None = None, seed: int = 0
) -> dict[str, Images]:
    """Return images by kind: synthetic ones, and the `unknown_characters` of `dataset`, if any."""
    unknown = {}
    if dataset is not None:  # first: an unknown name fails at once
        unknown[f"characters of {dataset}"] = unknown_characters(dataset, known, seed)
    return synthetic_ood_images(seed=seed) | unknown


def synthetic_ood_images(count: int = _COUNT, seed: int = 0) -> dict[str, Images]:
    """Return `count` random images (N, 28, 28) uint8 of each kind."""
    kinds = {"noise": noise, "scribbles": scribbles, "blank paper": blank_paper}
    return {
        kind: draw(count, np.random.default_rng([seed, index]))
        for index, (kind, draw) in enumerate(kinds.items())
    }


def unknown_characters(name: str, known: Sequence[str], seed: int = 0) -> Images:
    """Return training images of the data set `name` that show none of the classes `known`.

    At most 10,000, drawn by `seed`. Its test split stays sealed.

    Raises:
        ConfigError: the data set is unknown, or all of its classes are known to the model.
        DataError: its files are missing, damaged or changed.
    """
    try:
        train = load_dataset(DataConfig(dataset=name, validation_fraction=0)).train
    except ConfigError as error:
        raise ConfigError(f"--ood: {str(error).removeprefix('data.dataset: ')}") from None
    is_known = [any(is_same_character(label, one) for one in known) for label in train.classes]
    members = np.flatnonzero(~np.array(is_known)[train.labels])
    if not len(members):
        raise ConfigError(
            f"--ood: the model knows all classes of {name} ({', '.join(train.classes)}); name a "
            "data set with other classes"
        )
    drawn = np.random.default_rng(seed).permutation(members)[:_MOST_UNKNOWN]
    return np.asarray(train.images[np.sort(drawn)])


def noise(count: int, random: np.random.Generator) -> Images:
    """Return uniform noise over all levels, in grains of 1, 2 and 4 pixels in turn."""
    images = np.empty((count, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for turn, grain in enumerate((1, 2, 4)):
        part, side = images[turn::3], IMAGE_SIZE // grain
        coarse = random.integers(0, 256, (len(part), side, side), np.uint8)
        part[:] = coarse.repeat(grain, axis=1).repeat(grain, axis=2)
    return images


def scribbles(count: int, random: np.random.Generator) -> Images:
    """Return scribbles, normalised as a character would be."""
    scribbles = np.empty((count, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for index in range(count):
        # A smooth curve past 10 to 18 random points; fewer may form a letter.
        turns = random.uniform(0.1, 0.9, (random.integers(10, 19), 2)) * _SCRIBBLE_SIDE
        curve = ndimage.zoom(turns, (12, 1), order=3)
        field = Image.new("L", (_SCRIBBLE_SIDE, _SCRIBBLE_SIDE))
        ImageDraw.Draw(field).line(list(map(tuple, curve)), 255, _SCRIBBLE_PEN, joint="curve")
        scribbles[index] = ink.normalize(np.asarray(field, np.float32) / np.float32(255)).pixels
    return scribbles


def blank_paper(count: int, random: np.random.Generator) -> Images:
    """Return what preprocessing makes of scanned paper with nothing on it but a few specks.

    Each holds a speck that is taken for ink: other paper never reaches a network.
    """
    images: list[Images] = []
    side = 48
    rows, columns = np.mgrid[:side, :side]
    while len(images) < count:
        # Light grey, a texture of 2 %, and 1 to 5 specks.
        texture = ndimage.gaussian_filter(random.normal(0, 0.02, (side, side)), 0.7)
        paper = random.uniform(0.8, 0.95) + texture
        for _ in range(random.integers(1, 6)):
            row, column = random.uniform(4, side - 4, 2)
            radius, darkness = random.uniform(0.8, 2), random.uniform(0.3, 0.7)
            distance = np.hypot(rows - row, columns - column)
            paper -= darkness * (radius + 0.5 - distance).clip(0, 1)
        image = ink.preprocess(paper.clip(0, 1))
        if not image.is_blank:
            images.append(image.pixels)
    return np.stack(images)
