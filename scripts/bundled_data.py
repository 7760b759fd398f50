"""Makes the data sets that the bundled models are trained on, from MNIST, EMNIST and nothing else.

    python scripts/bundled_data.py [digits] [letters] [--digits DATA_SET] [--letters DATA_SET]

Six are imported. `nist-digits`
and `nist-letters` are EMNIST's characters, normalised as MNIST's are, without the images of which
MNIST's test split has a copy. `drawn-digits` and `drawn-letters` are drawn as strokes
(`stroke_forms.py`). `photographed-digits` and `photographed-letters` are further ones of these on
synthetic paper, as preprocessing finds them. No character is in two of them.
"""

from __future__ import annotations

import argparse
import shutil
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from penstroke import load_dataset
from penstroke.config.class_names import merged
from penstroke.config.settings import DataConfig
from penstroke.data.dataset import Dataset
from penstroke.data.loading import imported_folder
from penstroke.preprocessing.ink import normalize, preprocess
from penstroke.quality.duplicates import pairs_across
from penstroke.training.synthetic_paper import photograph
from stroke_forms import draw

Pixels = npt.NDArray[np.uint8]
Characters = tuple[Pixels, npt.NDArray[np.str_]]
"""Images (N, 28, 28), and the class name of each."""

WORK = Path(".cache/models")
_DRAWN, _DRAWN_ON_PAPER = 30_000, 3_000
_ON_PAPER = {"digits": 33_000, "letters": 7_000}
"""Of EMNIST's. Of so many digits a twentieth shows a precision of 99.5 % where none is misread."""
_FAINTEST = 51
"""Of 255: what is fainter in EMNIST's blurred images is paper."""
_STRETCHED = 0.15
"""Share of the characters on paper that are stretched, as some sources store them."""
_NARROW, _WIDENED = 0.35, 2.2
"""What is no wider than the first, of its longer side, is stretched by the second at most."""
_SPAN = (30, 250)
"""Levels, of 255, between the darkest and the lightest pixel of a photo."""
_BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--digits", default="emnist-digits", help="EMNIST Digits, or a part of it")
    parser.add_argument("--letters", default="emnist-letters", help="EMNIST Letters, or a part")
    parser.add_argument("kinds", nargs="*", help="digits, letters; both unless named")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same sums everywhere
    if "digits" in options.kinds or not options.kinds:
        make_digits(options.digits)
    if "letters" in options.kinds or not options.kinds:
        make_letters(options.letters)


def make_digits(source: str) -> None:
    train = load_dataset(DataConfig(dataset=source, validation_fraction=0)).train
    mnist_test = load_dataset("mnist").test.unseal()
    copies = {pair.second for pair in pairs_across(mnist_test.images, train.images, print)}
    print(f"{source}: {len(copies)} images left out, of which MNIST's test split has a copy")
    kept = np.setdiff1d(np.arange(len(train)), list(copies))
    images, labels = normalized(train.subset(kept))
    import_parts("digits", (images, labels), string.digits)


def make_letters(source: str) -> None:
    data = load_dataset(DataConfig(dataset=source, validation_fraction=0))
    test = normalized(data.test.unseal())
    import_parts("letters", normalized(data.train), string.ascii_letters, test)


def import_parts(
    kind: str, characters: Characters, names: str, test: Characters | None = None
) -> None:
    """Import `characters`, others of `names` that are drawn, and some of both on paper."""
    random = np.random.default_rng(0)
    plain = len(characters[0]) - _ON_PAPER[kind]
    import_dataset(f"nist-{kind}", (characters[0][:plain], characters[1][:plain]), test)
    import_dataset(f"drawn-{kind}", drawn(_DRAWN, names, random))
    parts = [(characters[0][plain:], characters[1][plain:]), drawn(_DRAWN_ON_PAPER, names, random)]
    images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    import_dataset(f"photographed-{kind}", photographed((images, labels), random))


def normalized(dataset: Dataset) -> Characters:
    """Return the characters of `dataset`, in random order, as MNIST would have stored them."""
    order = np.random.default_rng(0).permutation(len(dataset))
    inks = np.where(dataset.images < _FAINTEST, 0, dataset.images)[order] / np.float32(255)
    names = np.array(dataset.classes)[dataset.labels[order]]
    return np.stack([normalize(ink).pixels for ink in inks]), names


def drawn(count: int, names: str, random: np.random.Generator) -> Characters:
    """Return `count` characters drawn as strokes, each of `names` equally often."""
    shown = [names[number % len(names)] for number in range(count)]
    images = np.stack([draw(name, random) for name in shown])
    return images, np.array([merged(name) for name in shown])


def photographed(characters: Characters, random: np.random.Generator) -> Characters:
    """Return what preprocessing makes of a photo of each of `characters`, without the blank ones.

    Others of them are around each; some are stretched first.
    """
    images, labels = characters
    images = np.stack([
        stretched(image, random) if random.random() < _STRETCHED else image for image in images
    ])  # fmt: skip
    torch.manual_seed(0)
    found, rows = [], []
    for first in range(0, len(images), _BATCH):
        shown = np.arange(first, min(first + _BATCH, len(images)))
        around = random.integers(len(images), size=2 * len(shown))
        glyphs = torch.from_numpy(images[np.concatenate([shown, around])]).float() / 255
        photos = photograph(glyphs, alone=True)
        for row, image, window in zip(shown, photos.images, photos.window, strict=True):
            levels = image[window > 0].reshape(*(int(window.amax(k).sum()) for k in (2, 1))).numpy()
            span = np.exp(random.uniform(*np.log(_SPAN)))
            darkest, range_ = levels.min(), max(float(np.ptp(levels)), 1e-3)
            photo = random.uniform(0, 255 - span) + span * (levels - darkest) / range_
            answer = preprocess(photo.round().astype(np.uint8))
            if not answer.is_blank:
                found.append(answer.pixels)
                rows.append(row)
    return np.stack(found), labels[rows]


def stretched(image: Pixels, random: np.random.Generator) -> Pixels:
    """Return the character of `image` with its box nearer to a square."""
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    character = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    longer, share, size = max(character.shape), random.uniform(0.5, 1), []
    for side in character.shape:
        most = longer if side > _NARROW * longer else min(_WIDENED * side, longer)
        size.append(max(2, round(side + share * (most - side))))
    scaled = Image.fromarray(character).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return normalize(np.asarray(scaled, np.float32) / np.float32(255)).pixels


def import_dataset(name: str, train: Characters, test: Characters | None = None) -> None:
    """Import `train`, and `test` if given, as the data set `name`; what was there is replaced."""
    arrays: dict[str, Any] = {"x_train": train[0], "y_train": train[1]}
    if test is not None:
        arrays |= {"x_test": test[0], "y_test": test[1]}
    WORK.mkdir(parents=True, exist_ok=True)
    np.savez(WORK / f"{name}.npz", **arrays)
    shutil.rmtree(imported_folder(name), ignore_errors=True)
    command = ["data", "import", name, str(WORK / f"{name}.npz"), "--preprocessed"]
    split = [] if test is not None else ["--test-fraction", "0"]
    subprocess.run([sys.executable, "-m", "penstroke", *command, *split], check=True)


if __name__ == "__main__":
    main()
