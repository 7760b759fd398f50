from __future__ import annotations

import tomllib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import random_images
from penstroke.config.settings import DataConfig, RunConfig
from penstroke.data.dataset import Dataset, DataSplits, sealed
from penstroke.data.loading import load_dataset
from penstroke.data.splitting import stratified_split
from penstroke.errors import ConfigError, DataError, SealedTestError


def dataset(count: int = 10) -> Dataset:
    return Dataset(random_images(count), np.arange(count) % 2, ("a", "b"))


def test_fingerprint_covers_images_labels_and_classes() -> None:
    images, labels = random_images(4), np.array([0, 1, 0, 1])
    changed = images.copy()
    changed[3, 27, 27] ^= 1
    prints = {
        Dataset(images, labels, ("a", "b")).fingerprint,
        Dataset(changed, labels, ("a", "b")).fingerprint,
        Dataset(images, 1 - labels, ("a", "b")).fingerprint,
        Dataset(images, labels, ("a", "c")).fingerprint,
    }
    assert len(prints) == 4
    assert Dataset(images.copy(), labels, ("a", "b")).fingerprint in prints


def test_mean_and_std_equal_numpys() -> None:
    images = random_images(30)
    mean, std = Dataset(images, np.zeros(30, np.int64), ("a",)).mean_and_std
    assert mean == pytest.approx(images.mean() / 255, abs=1e-12)
    assert std == pytest.approx(images.std() / 255, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        (np.array([0, 1]), ("a", "b"), "3 images but 2 labels"),
        (np.array([0, 1, 2]), ("a", "b"), "labels run from 0 to 2, but there are 2 classes"),
        (np.array([0, -1, 0]), ("a", "b"), "labels run from -1"),
    ],
)
def test_parts_that_do_not_fit(labels: np.ndarray, classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Dataset(random_images(3), labels, classes)
    with pytest.raises(DataError, match="not \\(N, 28, 28\\)"):
        Dataset(np.zeros((3, 8, 8), np.uint8), np.zeros(3, np.int64), ("a",))


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any),
    share=st.floats(0, 1),
    seed=st.integers(0, 5),
)
def test_split_is_stratified_exact_and_whole(counts: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    count = round(share * len(labels))
    rest, chosen = stratified_split(labels, count, seed)
    assert len(chosen) == count
    assert sorted([*rest, *chosen]) == list(range(len(labels)))
    for label, size in enumerate(counts):
        drawn = int((labels[chosen] == label).sum())
        assert abs(drawn - size * count / len(labels)) < 1
    again = stratified_split(labels, count, seed)[1]
    assert np.array_equal(again, chosen)


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any),
    share=st.floats(0, 1),
)
@example(counts=[1, 1, 1, 11], share=0.25)
def test_each_class_gives_one_where_there_are_enough(counts: list[int], share: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    count = round(share * len(labels))
    rest, chosen = stratified_split(labels, count, 0, from_each=True)
    assert sorted([*rest, *chosen]) == list(range(len(labels)))
    assert len(chosen) == count
    drawn = np.bincount(labels[chosen], minlength=len(counts))
    present = np.array(counts) > 0
    assert (drawn[present] > 0).all() or drawn.max() <= 1
    shares = np.array(counts) * count / len(labels)
    given = int(((shares > 0) & (shares < 1)).sum())  # at most so many came from the larger classes
    assert np.abs(drawn - shares).max() < 1 + given


def test_the_rarest_class_is_not_rounded_away() -> None:
    labels = np.repeat(np.arange(10), [19] * 9 + [6])
    assert 9 not in labels[stratified_split(labels, 18, 0)[1]]
    assert 9 in labels[stratified_split(labels, 18, 0, from_each=True)[1]]


def test_split_depends_on_its_seed() -> None:
    labels = np.repeat(np.arange(10), 100)
    draws = {tuple(stratified_split(labels, 100, seed)[1]) for seed in range(5)}
    assert len(draws) == 5


def test_test_split_is_sealed(digits: DataSplits) -> None:
    assert len(digits.test) == 360
    assert digits.test.class_counts().sum() == 360
    with pytest.raises(SealedTestError, match="sealed"), sealed():
        digits.test.unseal()
    assert len(digits.test.unseal()) == 360


def test_digits_splits(digits: DataSplits) -> None:
    assert (len(digits.train), len(digits.validation)) == (1293, 144)
    assert digits.classes == tuple("0123456789")
    # What is trained on it, and documented, holds for these pixels.
    assert digits.fingerprint.startswith("b6800749693d")
    everything = np.concatenate([digits.train.images, digits.validation.images])
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) > 1400
    again = load_dataset("digits")
    assert again.fingerprint == digits.fingerprint
    assert np.array_equal(again.train.images, digits.train.images)


def test_train_limit_is_stratified() -> None:
    limited = load_dataset(DataConfig(dataset="digits", max_train_images=100)).train
    assert len(limited) == 100
    assert set(limited.class_counts()) <= {9, 10, 11}
    with pytest.raises(ConfigError, match=r"data\.max_train_images: 99999 is more than"):
        load_dataset(DataConfig(dataset="digits", max_train_images=99999))


def _of_digits(data: DataSplits, positions: list[int]) -> set[bytes]:
    return {data.train.images[position].tobytes() for position in positions}


@given(
    exclude=st.lists(st.integers(0, 1436), unique=True, max_size=300),
    seed=st.integers(0, 3),
    fold=st.none() | st.integers(0, 2),
    limit=st.none() | st.integers(10, 500),
)
def test_no_excluded_image_is_trained_or_validated_on(
    exclude: list[int], seed: int, fold: int | None, limit: int | None
) -> None:
    whole = load_dataset(DataConfig(dataset="digits", validation_fraction=0))
    settings = {"split_seed": seed, "max_train_images": limit, "fold": fold,
                "folds": None if fold is None else 3}  # fmt: skip
    left = load_dataset(DataConfig.parse({"dataset": "digits", "exclude": exclude, **settings}))
    used = [image.tobytes() for part in (left.train, left.validation) for image in part.images]
    assert not set(used) & _of_digits(whole, exclude)
    assert len(set(used)) == len(used)
    rest = 1437 - len(exclude)
    assert len(used) == (rest if limit is None else limit + len(left.validation))
    if fold is not None:
        assert len(left.validation) in (rest // 3, rest // 3 + 1)
    assert left.fingerprint == whole.fingerprint
    assert len(left.test) == len(whole.test)


def test_the_same_images_left_out_are_the_same_run() -> None:
    def run(exclude: list[int] | None) -> RunConfig:
        return RunConfig.parse({"data": {} if exclude is None else {"exclude": exclude}})

    assert run([7, 3]).fingerprint() == run([3, 7]).fingerprint() != run([3]).fingerprint()
    assert run([]).fingerprint() == run(None).fingerprint() == RunConfig().fingerprint()
    assert "exclude" not in RunConfig().to_toml()  # runs made before it was a setting keep theirs
    assert RunConfig.parse(tomllib.loads(run([7, 3]).to_toml())) == run([3, 7])


@pytest.mark.parametrize(
    ("exclude", "said"),
    [
        ([3, 9, 3], "data.exclude: 3 is in the list twice"),
        ([3, -1], "data.exclude.1: input should be greater than or equal to 0, got -1"),
        ([3, 1.5], "data.exclude.1"),
        (["3"], "data.exclude.0"),
        (3, "data.exclude"),
    ],
)
def test_a_bad_list_is_refused_with_its_field(exclude: object, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        RunConfig.parse({"data": {"exclude": exclude}})
    assert said in str(refused.value)


def test_what_cannot_be_excluded_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.exclude: there is no training image 1437 in"):
        load_dataset(DataConfig(dataset="digits", exclude=(3, 1437)))
    with pytest.raises(ConfigError, match=r"data\.exclude: it leaves no training image"):
        load_dataset(DataConfig(dataset="digits", exclude=tuple(range(1437))))


def test_unknown_name_offers_a_near_one() -> None:
    with pytest.raises(ConfigError, match='unknown data set "mnits" \\(did you mean "mnist"'):
        load_dataset("mnits")


def test_contact_sheet_shows_every_class(digits: DataSplits) -> None:
    import io

    from PIL import Image

    from penstroke.reports.contact_sheet import contact_sheet

    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(digits.train, columns=5))))
    assert sheet.shape == (10 * 32 + 4, 40 + 5 * 32)
    for row in range(10):
        assert (sheet[4 + row * 32 : 32 + row * 32, 40:] < 128).mean() > 0.02
