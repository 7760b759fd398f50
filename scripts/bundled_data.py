"""Makes the data sets that the bundled models are trained on, from MNIST, EMNIST and nothing else.

`make_models.py data` does so. Four are imported: `nist-digits` and `nist-letters`, EMNIST's
characters, normalised as MNIST's are, without the images of which MNIST's test split has a copy;
`drawn-digits` and `drawn-letters`, drawn as strokes (`stroke_forms.py`).
"""

from __future__ import annotations

import shutil
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from penstroke import load_dataset
from penstroke.config.class_names import merged
from penstroke.config.settings import DataConfig
from penstroke.data.dataset import Dataset
from penstroke.data.loading import imported_folder
from penstroke.preprocessing.ink import normalize
from penstroke.quality.duplicates import pairs_across
from stroke_forms import draw

Pixels = npt.NDArray[np.uint8]
Characters = tuple[Pixels, npt.NDArray[np.str_]]
"""Images (N, 28, 28), and the class name of each."""

WORK = Path(".cache/models")
_FAINTEST = 51
"""Of 255: what is fainter in EMNIST's blurred images is paper."""


def make_digits(source: str) -> None:
    train = load_dataset(DataConfig(dataset=source, validation_fraction=0)).train
    mnist_test = load_dataset("mnist").test.unseal()
    copies = {pair.second for pair in pairs_across(mnist_test.images, train.images, print)}
    print(f"{source}: {len(copies)} images left out, of which MNIST's test split has a copy")
    kept = np.setdiff1d(np.arange(len(train)), list(copies))
    import_dataset("nist-digits", normalized(train.subset(kept)))
    import_dataset("drawn-digits", drawn(string.digits, 60_000))


def make_letters(source: str) -> None:
    data = load_dataset(DataConfig(dataset=source, validation_fraction=0))
    import_dataset("nist-letters", normalized(data.train), normalized(data.test.unseal()))
    import_dataset("drawn-letters", drawn(string.ascii_letters, 30_000))


def normalized(dataset: Dataset) -> Characters:
    """Return the characters of `dataset` as MNIST would have stored them."""
    inks = np.where(dataset.images < _FAINTEST, 0, dataset.images) / np.float32(255)
    names = np.array(dataset.classes)[dataset.labels]
    return np.stack([normalize(ink).pixels for ink in inks]), names


def drawn(names: str, count: int) -> Characters:
    """Return `count` characters drawn as strokes, each of `names` equally often."""
    random = np.random.default_rng(0)
    shown = [names[number % len(names)] for number in range(count)]
    images = np.stack([draw(name, random) for name in shown])
    return images, np.array([merged(name) for name in shown])


def import_dataset(name: str, train: Characters, test: Characters | None = None) -> None:
    """Import `train`, and `test` if given, as the data set `name`; what was there is replaced."""
    arrays: dict[str, Any] = {"x_train": train[0], "y_train": train[1]}
    if test is not None:
        arrays |= {"x_test": test[0], "y_test": test[1]}
    np.savez(WORK / f"{name}.npz", **arrays)
    shutil.rmtree(imported_folder(name), ignore_errors=True)
    command = ["data", "import", name, str(WORK / f"{name}.npz"), "--preprocessed"]
    split = [] if test is not None else ["--test-fraction", "0"]
    subprocess.run([sys.executable, "-m", "penstroke", *command, *split], check=True)
