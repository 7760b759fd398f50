"""`CharacterClassifier`: scikit-learn's own checks, its tools, and what goes in and comes out."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from penstroke import CharacterClassifier, Recognizer, fit
from penstroke.data.dataset import DataSplits
from penstroke.data.splitting import split
from penstroke.errors import ArrayError, ConfigError, DataError
from penstroke.sklearn import PIXELS

# Small and quick; one thread, so that every test comes to the same bits.
SMALL: dict[str, Any] = {
    "model": "mlp",
    "epochs": 3,
    "settings": {"train.threads": 1, "train.precision": "float32"},
}


class Spread(CharacterClassifier):
    """The classifier behind scikit-learn's checks, which make tables of 1 to 20 features.

    Each feature becomes the ink of a block of pixels. Nothing else is changed.
    """

    def _images(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        shares = 1 / (1 + np.exp(-np.asarray(rows, np.float64)))
        block = PIXELS // rows.shape[1]
        pixels = np.zeros((len(rows), PIXELS))
        pixels[:, : block * rows.shape[1]] = np.repeat(shares, block, axis=1)
        return super()._images(np.rint(pixels * self.pixel_max_))


# What scikit-learn checks with tables of 1 to 20 features, which are no images: `Spread` above
# goes through every one of these. By name, so that a new failure, or a new check, is noticed.
NO_IMAGES = "its tables have 1 to 20 features, and an image has 784"
EXPECTED_FAILURES = dict.fromkeys(
    (
        "check_classifier_data_not_an_array",
        "check_classifiers_classes",
        "check_classifiers_train",
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_fit_returns_self",
        "check_estimators_nan_inf",
        "check_estimators_overwrite_params",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_fit2d_predict1d",
        "check_fit_check_is_fitted",
        "check_fit_idempotent",
        "check_fit_score_takes_y",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_n_features_in",
        "check_n_features_in_after_fitting",
        "check_pipeline_consistency",
        "check_readonly_memmap_input",
        "check_supervised_y_2d",
    ),
    NO_IMAGES,
)


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [CharacterClassifier(**SMALL)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
    xfail_strict=True,
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [Spread(**SMALL, learning_rate=3e-2, validation_fraction=0)]
)
def test_scikit_learns_checks_laid_out_as_images(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def fitted(digits: DataSplits) -> CharacterClassifier:
    return CharacterClassifier(**SMALL).fit(digits.train.images, digits.train.labels)


def test_it_learns_to_read(digits: DataSplits, fitted: CharacterClassifier) -> None:
    images, labels = digits.validation.images, digits.validation.labels
    assert fitted.score(images, labels) > 0.85
    likely = fitted.predict_proba(images)
    assert likely.shape == (len(images), 10)
    np.testing.assert_allclose(likely.sum(axis=1), 1)
    assert [line["epoch"] for line in fitted.history_] == [1, 2, 3]
    assert fitted.history_[fitted.best_epoch_ - 1]["val_loss"] == min(
        line["val_loss"] for line in fitted.history_
    )


def test_it_is_the_run_that_fit_would_be(digits: DataSplits) -> None:
    """The same settings on the same images: the same figures, to the bit."""
    whole = CharacterClassifier(**SMALL).fit(digits.train.images, digits.train.labels)
    data = split(digits.train, digits.train.subset(np.arange(0)), whole.config_.data)
    again = [epoch.metrics for epoch in fit(whole.config_, data)]
    for one, other in zip(whole.history_, again, strict=True):
        assert {**one, "elapsed_seconds": 0} == {**other, "elapsed_seconds": 0}


def test_a_writer_is_trained_on_or_held_out(digits: DataSplits) -> None:
    images, labels = digits.train.images, digits.train.labels
    writers = np.arange(len(labels)) % 30
    by_writer = CharacterClassifier(**SMALL).fit(images, labels, groups=writers)
    empty = digits.train.subset(np.arange(0))
    whole = replace(digits.train, writers=writers.astype(str))
    data = split(whole, empty, by_writer.config_.data, writers=whole.writers)
    assert data.validation.writers is not None
    assert data.train.writers is not None
    assert not set(data.validation.writers) & set(data.train.writers)
    again = [epoch.metrics["val_loss"] for epoch in fit(by_writer.config_, data)]
    assert [one["val_loss"] for one in by_writer.history_] == again
    with pytest.raises(DataError, match="writers"):
        CharacterClassifier(**SMALL).fit(images, labels, groups=writers[1:])


@pytest.mark.parametrize("full", [1, 255])
def test_integers_and_floats_and_rows_read_the_same(
    digits: DataSplits, fitted: CharacterClassifier, full: int
) -> None:
    images, labels = digits.train.images, digits.train.labels
    samples = (images / np.float32(255) * full).reshape(len(images), -1)
    other = CharacterClassifier(**SMALL).fit(samples, labels)
    assert other.pixel_max_ == full
    np.testing.assert_array_equal(other.predict_proba(samples), fitted.predict_proba(images))


@pytest.mark.parametrize("kind", [bool, int, np.uint8])
def test_black_and_white_is_full_ink_whatever_its_type(
    digits: DataSplits, kind: type[np.generic]
) -> None:
    black = digits.train.images > 127
    reader = CharacterClassifier(**SMALL).fit(black.astype(kind), digits.train.labels)
    assert reader.pixel_max_ == 1
    images = np.uint8(255) * black
    likely = reader.recognizer().probabilities(images)
    np.testing.assert_allclose(reader.predict_proba(black.astype(kind)), likely, atol=1e-6)


def test_labels_may_be_words(digits: DataSplits) -> None:
    words = np.array(["zero", "one", "two", "three", "four"])
    few = digits.train.labels < 5
    labels = words[digits.train.labels[few]]
    reader = CharacterClassifier(**SMALL).fit(digits.train.images[few], labels)
    assert list(reader.classes_) == sorted(words)
    assert set(reader.predict(digits.train.images[few])) <= set(words)
    assert reader.score(digits.train.images[few], labels) > 0.9


def test_within_scikit_learns_tools(digits: DataSplits) -> None:
    images, labels = digits.train.images[:400], digits.train.labels[:400]
    reader = CharacterClassifier(**SMALL)
    assert cross_val_score(reader, images, labels, cv=3).min() > 0.6
    search = GridSearchCV(reader, {"learning_rate": [1e-5, 3e-3]}, cv=2).fit(images, labels)
    assert search.best_params_ == {"learning_rate": 3e-3}
    inverted = make_pipeline(FunctionTransformer(np.invert), clone(reader)).fit(~images, labels)
    assert inverted.score(~images, labels) > 0.8
    assert clone(reader).set_params(epochs=1).get_params()["epochs"] == 1


def test_what_is_kept_is_bytes_and_figures(digits: DataSplits, fitted: CharacterClassifier) -> None:
    copied = io.BytesIO()
    pickle.Pickler(copied).dump(fitted)
    assert b"torch" not in copied.getvalue().replace(fitted.onnx_, b"")
    again = pickle.loads(copied.getvalue())
    images = digits.validation.images
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))


def test_its_file_is_a_model_file(
    digits: DataSplits, fitted: CharacterClassifier, tmp_path: Any
) -> None:
    path = fitted.save(tmp_path / "model.onnx")
    images = digits.validation.images
    for recognizer in (Recognizer.load(path), fitted.recognizer()):
        assert recognizer.temperature == fitted.temperature_
        np.testing.assert_allclose(
            recognizer.probabilities(images), fitted.predict_proba(images), atol=1e-6
        )
        assert recognizer.recognize("examples/seven.png").probabilities.keys() == set("0123456789")


def test_the_seed_decides(digits: DataSplits) -> None:
    images, labels = digits.train.images[:300], digits.train.labels[:300]
    one, same, other = (
        CharacterClassifier(**SMALL, seed=seed).fit(images, labels).onnx_ for seed in (1, 1, 2)
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": "fasst"}, 'did you mean "fast"'),
        ({"model": "cnnn"}, 'did you mean "cnn"'),
        ({"learning_rate": -1.0}, "train.learning_rate"),
        ({"epochs": 0}, "train.epochs"),
        ({"settings": {"train.epoks": 3}}, "train.epoks: unknown setting"),
        ({"batch_size": 100_000}, "train.batch_size"),
        ({"settings": ["train.epochs"]}, "settings: a dict of dotted names"),
        ({"pixel_max": 0}, "pixel_max"),
        ({"pixel_max": "all"}, "pixel_max"),
    ],
)
def test_bad_parameters_are_refused_by_name(
    digits: DataSplits, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        CharacterClassifier(**{**SMALL, **change}).fit(digits.train.images, digits.train.labels)


def test_bad_images_are_refused(digits: DataSplits, fitted: CharacterClassifier) -> None:
    images, labels = digits.train.images[:50], digits.train.labels[:50]
    reader = CharacterClassifier(**SMALL)
    for samples, said in (
        (images[:, :8, :8].reshape(50, 64), r"784 pixels here \(28×28\), but n_features = 64"),
        (-images.astype(float), "Negative values"),
        (images.astype(float) * 300, "from 0 to 255 here, but there are some up to"),
    ):
        with pytest.raises(ArrayError, match=said):
            reader.fit(samples, labels)
    with pytest.raises(ArrayError, match=r"not \(50, 8, 8\)"):
        reader.fit(images[:, :8, :8], labels)
    with pytest.raises(ArrayError, match=r"not \(50, 28, 28, 1\)"):
        reader.fit(images[..., None], labels)
    with pytest.raises(ArrayError, match="multiply them by 255"):
        fitted.predict(images / 255)
    with pytest.raises(ArrayError, match="one class only"):
        reader.fit(images, np.zeros(50))
    with pytest.raises(ConfigError, match="too few to hold"):
        reader.fit(images[:12], np.arange(12) % 11)


def test_few_images_without_validation(digits: DataSplits) -> None:
    images, labels = digits.train.images[:12], digits.train.labels[:12]
    reader = CharacterClassifier(**SMALL, validation_fraction=0).fit(images, labels)
    assert reader.temperature_ == 1
    assert reader.best_epoch_ == 3
