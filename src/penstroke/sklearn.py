"""Penstroke as a scikit-learn classifier: arrays in, labels out, trained by the same `fit`.

A fitted classifier keeps the model file that would be deployed, as bytes, so that it can be copied
and sent to other processes, and predicting needs no torch.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from penstroke.config.recipes import load_recipe
from penstroke.config.settings import IMAGE_SIZE, RunConfig
from penstroke.data.dataset import Dataset, Images
from penstroke.data.splitting import split
from penstroke.errors import ArrayError, ConfigError
from penstroke.evaluation.calibration import fit_temperature, ood_threshold, operating_points
from penstroke.evaluation.predictions import predict
from penstroke.files import write_atomically
from penstroke.inference.recognizer import Recognizer
from penstroke.runs.pipeline import data_facts
from penstroke.runs.trained import model_file
from penstroke.training.loop import fit_network

PIXELS = IMAGE_SIZE**2
"""Features of an image: its pixels, row by row."""

# Kept here, since an ONNX session cannot be copied or pickled with a classifier.
_open_model = functools.lru_cache(maxsize=8)(Recognizer.from_bytes)


class CharacterClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A network that reads images of characters, with scikit-learn's interface.

    Images are (N, 784) or (N, 28, 28) arrays, upright, ink bright on dark, of integers or floats.
    Labels are whatever scikit-learn takes: numbers or words.

    Args:
        recipe: `fast`, `balanced`, `best`, the name of another recipe, or the path of one.
        seed: random seed of training and of which images are held out.
        model: `mlp`, `cnn` or `resnet`: the default network of that kind instead of the recipe's.
        epochs: passes over the images instead of the recipe's.
        batch_size: images a step instead of the recipe's, which is lowered where there are fewer.
        learning_rate: peak of the schedule instead of the recipe's.
        validation_fraction: share of the images held out to choose the epoch and to calibrate the
            probabilities; 0 trains on all images and does not calibrate.
        settings: other settings of a run by their dotted names, such as
            `{"train.augment.rotation_degrees": 10}`.
        pixel_max: the value of full ink. `auto`: 255 if any value is above 1, else 1; `fit`
            decides.

    Attributes:
        classes_: (K,) the labels, sorted.
        config_: the settings it was trained with, a `RunConfig`.
        history_: the metrics of each epoch, as `fit` yields them.
        best_epoch_: the epoch that was kept.
        temperature_: the divisor of the logits that calibrates the probabilities.
        pixel_max_: the value of full ink.
        onnx_: the model file, as bytes.
        n_features_in_: 784.

    Examples:
        >>> from penstroke import CharacterClassifier, load_dataset
        >>> data = load_dataset("digits")
        >>> reader = CharacterClassifier("fast", epochs=3, settings={"train.threads": 1})
        >>> reader = reader.fit(data.train.images, data.train.labels)
        >>> reader.score(data.validation.images, data.validation.labels) > 0.9
        True
        >>> reader.predict_proba(data.validation.images[:2]).shape
        (2, 10)
    """

    def __init__(
        self,
        recipe: str = "fast",
        *,
        seed: int = 0,
        model: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float | None = None,
        settings: Mapping[str, Any] | None = None,
        pixel_max: float | Literal["auto"] = "auto",
    ) -> None:
        self.recipe = recipe
        self.seed = seed
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.settings = settings
        self.pixel_max = pixel_max

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:  # noqa: N803
        """Train on images `X`, (N, 784) or (N, 28, 28), and their labels `y`, (N,).

        `groups` (N,), where given, are the writers: the images of one are all trained on, or all
        held out.

        Raises:
            ArrayError: `X` has another shape, or values outside 0..`pixel_max`.
            ConfigError: a parameter is unknown, out of range or at odds with another, or the
                rarest class has too few images, or writers, to hold any of them out.
            DataError: there are more or fewer `groups` than images.
            TrainingError: the loss is no longer finite.
        """
        rows, y = validate_data(self, _as_rows(X), y, dtype="numeric", ensure_min_samples=2)
        check_classification_targets(y)
        _refuse_negative(rows)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArrayError("the labels have one class only: a classifier needs two or more")
        if isinstance(self.pixel_max, int | float) and self.pixel_max > 0:
            self.pixel_max_ = float(self.pixel_max)
        elif self.pixel_max == "auto":
            self.pixel_max_ = 255.0 if rows.max() > 1 else 1.0
        else:
            raise ConfigError(f'pixel_max: "auto" or a number above 0, not {self.pixel_max!r}')
        names = tuple(str(label) for label in self.classes_)
        writers = None if groups is None else np.asarray(groups).astype(np.str_)
        dataset = Dataset(self._images(rows), labels.astype(np.int64), names, writers)
        self.config_ = self._config(len(dataset))
        empty = dataset.subset(np.arange(0))
        data = split(dataset, empty, self.config_.data, writers=writers)
        network, self.history_ = fit_network(self.config_, data)
        self.best_epoch_ = self.history_[-1]["best_epoch"]
        held_out = predict(network, data.validation)
        self.temperature_ = fit_temperature(held_out)
        threshold = ood_threshold(held_out)
        self.onnx_ = model_file(
            network, data_facts(data), temperature=self.temperature_, ood_threshold=threshold,
            operating_points=operating_points(held_out, self.temperature_, threshold),
            dataset=data.name,
        )  # fmt: skip
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the most probable label of each image of `X`, (N,); ArrayError as in `fit`."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return the probability of each class in `classes_` for each image of `X`: (N, K)."""
        check_is_fitted(self)
        rows = validate_data(self, _as_rows(X), dtype="numeric", reset=False)
        _refuse_negative(rows)
        probabilities = _open_model(self.onnx_).probabilities(self._images(rows)).astype(np.float64)
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))

    def recognizer(self) -> Recognizer:
        """Return the network as a `Recognizer`, which reads images of any size and background."""
        check_is_fitted(self)
        return Recognizer.from_bytes(self.onnx_)

    def save(self, path: str | Path) -> Path:
        """Write the model file, which `penstroke predict` and `penstroke serve` open."""
        check_is_fitted(self)
        write_atomically(Path(path), self.onnx_)
        return Path(path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        return tags

    def _config(self, images: int) -> RunConfig:
        """Return the settings of a run on `images` images."""
        if not isinstance(self.settings, Mapping | None):
            raise ConfigError(f"settings: a dict of dotted names, not {self.settings!r}")
        changes = {
            "model": {"architecture": self.model} if self.model is not None else None,
            "data.dataset": "X", "data.split_seed": self.seed, "train.seed": self.seed,
            "train.epochs": self.epochs,
            "train.batch_size": self.batch_size, "train.learning_rate": self.learning_rate,
            "data.validation_fraction": self.validation_fraction,
            "train.checkpoint_metric": "last" if self.validation_fraction == 0 else None,
        }  # fmt: skip
        changes = {name: value for name, value in changes.items() if value is not None}
        config = load_recipe(self.recipe, {**changes, **(self.settings or {})}).run_config()
        if self.batch_size is not None:
            return config
        left = max(2, int(images * (1 - max(config.data.validation_fraction, 0.1))))
        return config.replace({"train.batch_size": min(config.train.batch_size, left)})

    def _images(self, rows: npt.NDArray[Any]) -> Images:
        """Return rows (N, 784) of ink in 0..`pixel_max_` as images (N, 28, 28) uint8."""
        if rows.shape[1] != PIXELS:
            raise ArrayError(
                f"an image has {PIXELS} pixels here (28×28), but n_features = {rows.shape[1]}: "
                "penstroke.preprocessing.ink.preprocess brings an image of any size to that"
            )
        full, high = self.pixel_max_, float(rows.max())
        if high > full:
            raise ArrayError(
                f"levels of ink run from 0 to {full:g} here, but there are some up to {high:g}: "
                "scale them, or set pixel_max before fit"
            )
        if full > 1 and 0 < high <= 1 and rows.dtype.kind == "f":
            raise ArrayError(
                f"levels of ink run from 0 to {full:g} here, as in fit, but these are all below 1: "
                "multiply them by 255"
            )
        levels = np.rint(rows * (255 / full)).astype(np.uint8)
        return levels.reshape(-1, IMAGE_SIZE, IMAGE_SIZE)


def _as_rows(images: Any) -> Any:
    """Return images (N, 28, 28) as rows (N, 784); rows as they are, for scikit-learn to judge."""
    shape = np.shape(images) if isinstance(images, list) else getattr(images, "shape", ())
    if len(shape) < 3:
        return images
    if shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ArrayError(f"images are (N, {PIXELS}) or (N, 28, 28), not {shape}")
    return np.asarray(images).reshape(len(images), PIXELS)


def _refuse_negative(rows: npt.NDArray[Any]) -> None:
    if rows.dtype != np.bool_ and rows.min() < 0:
        raise ArrayError("Negative values in data: ink runs from 0, which is paper, up to full ink")
