"""Labels in doubt, by networks that never saw the image (confident learning, by cleanlab)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from penstroke.config.recipes import load_recipe
from penstroke.data.dataset import Dataset, DataSplits, Labels, Rows, SealedTest
from penstroke.data.splitting import stratified_folds
from penstroke.errors import ConfigError
from penstroke.evaluation.predictions import predict
from penstroke.quality.audit_images import AuditImages, OnProgress
from penstroke.training.loop import fit_network

Probabilities = npt.NDArray[np.float64]

_MIN_STEPS = 300


@dataclass(frozen=True)
class LabelError:
    """A label in doubt: classes by index, with the probabilities that the networks give them."""

    row: int
    label: int
    prediction: int
    label_probability: float
    prediction_probability: float


def find_label_errors(images: AuditImages, probabilities: Probabilities) -> list[LabelError]:
    """Return the labels in doubt, the least likely first; each split is judged by itself."""
    errors = []
    for rows in (images.train, images.test):
        for row in rows[doubtful(images.images.labels[rows], probabilities[rows])].tolist():
            label, of_row = int(images.images.labels[row]), probabilities[row].tolist()
            prediction = int(probabilities[row].argmax())
            errors.append(LabelError(row, label, prediction, of_row[label], of_row[prediction]))
    return sorted(errors, key=lambda error: error.label_probability)


def doubtful(labels: Labels, probabilities: Probabilities) -> Rows:
    """Return which of the labels (N,) are in doubt by out-of-fold `probabilities` (N, K).

    The number of wrong labels is estimated by confident learning (Northcutt et al. 2021), from the
    off-diagonal of its calibrated joint; that many of the least likely labels are taken, except
    where the networks predict the label itself. cleanlab's own filters choose as many, but worse:
    of 1 % of MNIST's training labels changed, `prune_by_noise_rate` finds 0.94 with a precision of
    0.92, this 0.98 with 0.95 (means of three seeds).
    """
    present, known = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return np.arange(0)
    from cleanlab.count import num_label_issues
    from cleanlab.rank import get_label_quality_scores

    # cleanlab knows only classes that have an image.
    kept = probabilities[:, present] / probabilities[:, present].sum(axis=1, keepdims=True)
    count = num_label_issues(known, kept, estimation_method="off_diagonal_calibrated")
    worst = get_label_quality_scores(known, kept).argsort(kind="stable")[:count]
    return np.asarray(worst[kept[worst].argmax(axis=1) != known[worst]])


def out_of_fold_probabilities(
    images: AuditImages, folds: int, seed: int, on_progress: OnProgress
) -> Probabilities:
    """Return the probabilities of each image by networks that never saw it: (N, K), rows sum to 1.

    The training split is cut into stratified folds; each is predicted by a network trained on the
    others. Test images get the mean of all networks.
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
    for number, fold in enumerate(stratified_folds(train.labels, folds, seed)):
        on_progress("cross-validating", number / folds)
        network = _train(train.subset(np.setdiff1d(np.arange(len(train)), fold)), seed)
        of_train[fold] = predict(network, train.subset(fold)).probabilities
        of_test += predict(network, test).probabilities / folds
    return np.concatenate([of_train, of_test])


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
