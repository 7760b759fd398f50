"""Labels that are probably wrong, by networks that never saw the image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from torch import nn

from penstroke.config.recipes import load_recipe
from penstroke.data.dataset import Dataset, DataSplits, Labels, Rows, SealedTest
from penstroke.data.splitting import group_sides, stratified_folds, writer_groups
from penstroke.errors import ConfigError
from penstroke.evaluation.predictions import predict
from penstroke.quality.audit_images import AuditImages, OnProgress
from penstroke.training.loop import fit_network

Probabilities = npt.NDArray[np.float64]

LIKELY = 0.5
"""Least probability of a label error; other labels in doubt are only shown."""
_MIN_STEPS = 300
_TEMPERATURES = np.geomspace(0.35, 4, 12)
_TAILS, _SOFTER = (0.0, 0.05, 0.2, 0.4), 3.0
"""Shares of images that the networks judge too surely, and by how much hotter those are."""
_RIGHT = 20
"""Right labels that are assumed beside those of each split: a few images accuse nobody."""
_SURE_MISTAKES, _CHANCE = 6.0, 5
"""Networks that misread a share e of the images do so surely in at most 6 e of the cases (lab log,
31; mostly 3 e); a few mistakes more are assumed than are seen."""
_FIRST_RATE, _ROUNDS = 0.01, 25


@dataclass(frozen=True)
class LabelError:
    """A label in doubt: classes by index, with the probabilities that the networks give them."""

    row: int
    label: int
    prediction: int
    label_probability: float
    prediction_probability: float
    error_probability: float  # that the label is wrong, given how good the networks are

    def text(self, classes: Sequence[str]) -> str:
        """Return label and prediction in words."""
        return (
            f"labelled {classes[self.label]}, predicted {classes[self.prediction]} "
            f"({100 * self.prediction_probability:.0f} %)"
        )


def find_label_errors(images: AuditImages, probabilities: Probabilities) -> list[LabelError]:
    """Return the labels in doubt, most likely wrong first."""
    labels, predictions = images.images.labels, probabilities.argmax(axis=1)
    is_sure, is_misread = surely_misread(labels, probabilities), predictions != labels
    wrong = error_probabilities(labels, probabilities, (images.train, images.test))
    is_open = is_sure & (wrong < LIKELY)
    mistakes = int((is_misread & ~is_sure).sum())
    share = sure_error_share(int(is_open.sum()), mistakes, len(labels))
    wrong[is_open] = wrong[is_open].clip(min=share)
    errors = [
        LabelError(
            row, label := int(labels[row]), prediction := int(predictions[row]),
            float(probabilities[row, label]), float(probabilities[row, prediction]),
            float(wrong[row]),
        )
        for row in np.flatnonzero(is_sure | (is_misread & (wrong >= LIKELY))).tolist()
    ]  # fmt: skip
    return sorted(errors, key=lambda error: (-error.error_probability, error.label_probability))


def surely_misread(labels: Labels, probabilities: Probabilities) -> npt.NDArray[np.bool_]:
    """Return where another class is predicted as surely as where it is right on average: (N,).

    The rule of confident learning (Northcutt et al. 2021).
    """
    predictions = probabilities.argmax(axis=1)
    usual = np.ones(probabilities.shape[1])
    for label in np.unique(labels[predictions == labels]):
        usual[label] = probabilities[(predictions == labels) & (labels == label), label].mean()
    return np.asarray((predictions != labels) & (probabilities.max(axis=1) >= usual[predictions]))


def sure_error_share(sure: int, mistakes: int, images: int) -> float:
    """Return how many of `sure`, the surely misread images, have a wrong label at least: a share.

    `mistakes` are misread too, but not surely: they show how often the networks are wrong, and so
    how many of the others may be their own mistakes.
    """
    return 1 - min(1.0, _SURE_MISTAKES * (mistakes + _CHANCE) ** 2 / max(images * sure, 1))


def error_probabilities(
    labels: Labels, probabilities: Probabilities, splits: Sequence[Rows]
) -> Probabilities:
    """Return how likely each of `labels` (N,) is wrong, by out-of-fold `probabilities` (N, K).

    A label is drawn from the networks' probabilities at some temperature or, at some rate, which is
    each split's own, evenly from the other classes. Temperature and rates (by EM) are fitted to all
    labels, and the fits averaged by their likelihood. Weak networks have a high temperature, at
    which an image they misread says little of its label. Lab log, 31.
    """
    present, known = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return np.zeros(len(labels))
    logs = np.log(np.maximum(probabilities[:, present], 1e-30))
    likelihoods, fits = [], []
    for temperature in _TEMPERATURES:
        # At the label alone: (N,)
        sharp, soft = (
            softmax(logs / t, axis=1)[np.arange(len(known)), known]
            for t in (temperature, _SOFTER * temperature)
        )
        for tail in _TAILS:
            right = np.maximum((1 - tail) * sharp + tail * soft, 1e-12)
            wrong = (1 - right) / (len(present) - 1)
            likelihood, is_wrong = 0.0, np.zeros(len(labels))
            for split in splits:
                rate = _FIRST_RATE
                for _ in range(_ROUNDS):
                    drawn, noisy = (1 - rate) * right[split], rate * wrong[split]
                    is_wrong[split] = noisy / (drawn + noisy)
                    rate = is_wrong[split].sum() / (len(split) + _RIGHT)
                likelihood += float(np.log(drawn + noisy).sum() + _RIGHT * np.log1p(-rate))
            likelihoods.append(likelihood)
            fits.append(is_wrong)
    weights = np.exp(np.array(likelihoods) - max(likelihoods))
    return np.asarray(np.average(fits, axis=0, weights=weights))


def out_of_fold_probabilities(
    images: AuditImages, folds: int, seed: int, on_progress: OnProgress
) -> Probabilities:
    """Return the probabilities of each image by networks that never saw it: (N, K), rows sum to 1.

    The training split is cut into folds; each is predicted by a network trained on the others. Test
    images get the mean of all networks.
    """
    train, test = (images.images.subset(rows) for rows in (images.train, images.test))
    if folds < 2:
        raise ConfigError(
            f"folds: {folds} is too few: at least 2 are needed, so that each image can be "
            "predicted by a network that was not trained on it"
        )
    counts = train.class_counts()
    for label in np.flatnonzero((counts > 0) & (counts < folds)):
        raise ConfigError(
            f"folds: {folds} folds need as many images of each class, but there are "
            f'{counts[label]} of "{train.classes[label]}": lower --folds, or raise --limit'
        )
    of_train = np.zeros((len(train), len(train.classes)))
    of_test = np.zeros((len(test), len(train.classes)))
    for number, fold in enumerate(_folds(train, folds, seed)):
        on_progress("cross-validating", number / folds)
        network = _train(train.subset(np.setdiff1d(np.arange(len(train)), fold)), seed)
        of_train[fold] = predict(network, train.subset(fold)).probabilities
        of_test += predict(network, test).probabilities / folds
    return np.concatenate([of_train, of_test])


def _folds(train: Dataset, folds: int, seed: int) -> list[Rows]:
    """Return the rows of each fold: whole writers, where of each class others wrote some too."""
    if train.writers is not None and train.writer_count >= folds:
        groups = writer_groups(train.writers)
        sides = group_sides(train.labels, groups, [1 / folds] * folds, seed)
        present = np.unique(train.labels)
        if all(len(np.unique(sides[train.labels == label])) > 1 for label in present):
            return [np.flatnonzero(sides == fold) for fold in range(folds)]
    return stratified_folds(train.labels, folds, seed)


def _train(train: Dataset, seed: int) -> nn.Module:
    """Train the fast recipe for two epochs, without label smoothing.

    Smoothed networks are never certain, so that cleanlab counts 8 errors in MNIST's training images
    instead of 51, though a person disputes more than that.
    """
    recipe = load_recipe("fast")
    config = recipe.run_config().replace({
        "data.validation_fraction": 0.0, "train.epochs": 2, "train.min_steps": _MIN_STEPS,
        "train.seed": seed, "train.label_smoothing": 0.0, "train.checkpoint_metric": "last",
        "train.batch_size": min(recipe.train.batch_size, len(train)),
    })  # fmt: skip
    empty = train.subset(np.arange(0))
    data = DataSplits("out of fold", train, empty, SealedTest(empty), train.fingerprint)
    network, _ = fit_network(config, data)
    return network
