"""What networks say of images that they never saw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import nn

from penstroke.config.recipes import load_recipe
from penstroke.config.settings import RunConfig
from penstroke.data.dataset import Dataset, DataSplits, SealedTest, stratified_folds
from penstroke.errors import ConfigError
from penstroke.evaluation.predictions import predict_with
from penstroke.models.build import network_for
from penstroke.models.trained import load_weights
from penstroke.quality.collection import Collection, Watch
from penstroke.training.loop import fit

Probabilities = npt.NDArray[np.float64]

_RECIPE = "fast"
_EPOCHS = 2
_MIN_STEPS = 300


def out_of_fold_probabilities(
    collection: Collection, *, folds: int, seed: int, watch: Watch
) -> Probabilities:
    """Return what networks say of each image: (N, K), rows sum to 1.

    The training split is cut into folds, class by class; each fold is read by a network trained on
    the others. Test images are read by all of them, and the mean is taken: none ever saw one.

    Raises:
        ConfigError: fewer than two folds, or a class with fewer images than folds.
    """
    train, test = (collection.images.take(rows) for rows in (collection.train, collection.test))
    _refuse_too_many(folds, train)
    of_train = np.zeros((len(train), len(train.classes)))
    of_test = np.zeros((len(test), len(train.classes)))
    for number, fold in enumerate(stratified_folds(train.labels, folds, seed)):
        watch("reading what was never seen", number / folds)
        network = _trained(train.take(np.setdiff1d(np.arange(len(train)), fold)), seed)
        of_train[fold] = predict_with(network, train.take(fold)).probabilities
        of_test += predict_with(network, test).probabilities / folds
    return np.concatenate([of_train, of_test])


def _refuse_too_many(folds: int, train: Dataset) -> None:
    if folds < 2:
        raise ConfigError(f"folds: {folds} is too few, 2 is the least: a network reads what it "
                          "was not trained on")  # fmt: skip
    counts = train.class_counts()
    for label in np.flatnonzero((counts > 0) & (counts < folds)):
        raise ConfigError(
            f"folds: {folds} of them need as many images of each class, but there are "
            f'{counts[label]} of "{train.classes[label]}": lower --folds, or raise --limit'
        )


def _trained(train: Dataset, seed: int) -> nn.Module:
    nothing = train.take(np.arange(0))
    data = DataSplits("the other folds", train, nothing, SealedTest(nothing), train.fingerprint)
    config = _config(train, seed)
    *_, last = fit(config, data)
    network = network_for(config.model, train)
    load_weights(network, last.state.weights)
    return network.eval()


def _config(train: Dataset, seed: int) -> RunConfig:
    """Return the fast recipe, for two epochs, without label smoothing.

    Smoothed networks are never sure, so that cleanlab counts 8 errors in MNIST's training images
    instead of 51, though a person disputes more than that.
    """
    changes = {"data.validation_fraction": 0.0, "train.epochs": _EPOCHS,
               "train.min_steps": _MIN_STEPS, "train.seed": seed,
               "train.label_smoothing": 0.0, "train.checkpoint_metric": "last"}  # fmt: skip
    config = load_recipe(_RECIPE, [f"{k}={v}" for k, v in changes.items()]).run_config()
    return config.replace(train={"batch_size": min(config.train.batch_size, len(train))})
