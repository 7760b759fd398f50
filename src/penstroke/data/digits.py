"""`digits`, the embedded default: 1,797 real digits that come with scikit-learn."""

from importlib.metadata import PackageNotFoundError, version

import numpy as np

from penstroke.data.catalogue import Manifest
from penstroke.data.dataset import Dataset
from penstroke.data.splitting import stratified_split
from penstroke.errors import MissingExtraError
from penstroke.files import sha256
from penstroke.preprocessing import ink

_TEST_IMAGES = 360
"""A fifth, drawn class by class with seed 0: scikit-learn ships no split of its own."""

_PREPROCESSING_VERSION = 1
"""Of how preprocessing maps these images: raised whenever one pixel of them changes."""


def cache_key() -> str:
    """Return a key that changes with scikit-learn's data and with preprocessing."""
    try:
        package = version("scikit-learn")
    except PackageNotFoundError:
        raise MissingExtraError.for_extra("train", "scikit-learn") from None
    return sha256(f"{package} {_PREPROCESSING_VERSION}".encode())


def build(manifest: Manifest) -> tuple[Dataset, Dataset]:
    """Return (train, test): the 8×8 images of 17 grey levels, brought to 28×28 by `ink`."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 16 of 16 is full ink; the border shows preprocessing that the ground is dark.
    levels = np.pad((bunch.images * 255 / 16).astype(np.uint8), ((0, 0), (2, 2), (2, 2)))
    images = np.stack([ink.preprocess(level).pixels for level in levels])
    everything = Dataset(images, bunch.target.astype(np.int64), manifest.classes)
    train, test = stratified_split(everything.labels, _TEST_IMAGES, seed=0)
    return everything.subset(train), everything.subset(test)
