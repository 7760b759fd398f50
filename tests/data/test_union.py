"""Unions: classes by name, both cases of a letter, and the same split as of each part alone."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import random_images
from penstroke.config.class_names import accepts, is_merged, merged
from penstroke.config.settings import DataConfig
from penstroke.data import store
from penstroke.data.dataset import Dataset, concatenate, united_classes
from penstroke.data.loading import imported_folder, load_dataset

CASES = st.sampled_from([*"019aAbBcC?", "Aa", "Bb", "Cc", "word"])
PARTS = st.lists(st.lists(CASES, min_size=1, max_size=6, unique=True), min_size=1, max_size=4)


def part(classes: list[str] | tuple[str, ...], each: int = 2, seed: int = 0) -> Dataset:
    labels = np.repeat(np.arange(len(classes)), each)
    return Dataset(random_images(len(labels), seed), labels, tuple(classes))


@given(PARTS)
def test_every_image_keeps_its_name_or_joins_the_coarser_class(names: list[list[str]]) -> None:
    parts = [part(classes, seed=k) for k, classes in enumerate(names)]
    classes = united_classes(parts)
    both = concatenate(parts, classes)
    assert np.array_equal(both.images, np.concatenate([one.images for one in parts]))
    was = [one.classes[label] for one in parts for label in one.labels]
    for before, label in zip(was, both.labels, strict=True):
        assert accepts(classes[label], before)


@given(PARTS)
def test_no_two_classes_hold_the_same_character(names: list[list[str]]) -> None:
    classes = united_classes([part(one) for one in names])
    assert len(set(classes)) == len(classes)
    everything = {name for one in names for name in one}
    for name in classes:
        assert not any(accepts(other, name) for other in classes if other != name)
        # Nothing is coarser than a part made it.
        assert not is_merged(name) or name in everything


@given(PARTS)
def test_classes_stand_as_they_first_came(names: list[list[str]]) -> None:
    classes = united_classes([part(one) for one in names])
    coarse = {name for one in names for name in one if is_merged(name)}
    came = [merged(n) if merged(n) in coarse else n for one in names for n in one]
    assert [came.index(name) for name in classes] == sorted(came.index(name) for name in classes)


@pytest.mark.parametrize(
    ("one", "other", "classes"),
    [
        (("A", "a"), ("Aa",), ("Aa",)),
        (("Aa", "Bb"), ("a", "b", "c"), ("Aa", "Bb", "c")),
        (("a", "1"), ("1", "A"), ("a", "1", "A")),
        (tuple("0123456789"), tuple(map(merged, string.ascii_uppercase)),
         (*"0123456789", *map(merged, string.ascii_uppercase))),
    ],
)  # fmt: skip
def test_classes(one: tuple[str, ...], other: tuple[str, ...], classes: tuple[str, ...]) -> None:
    assert united_classes([part(one), part(other)]) == classes


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match='"x" is not among the classes'):
        concatenate([part(("x",))], ("a",))


@pytest.fixture
def upper(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small imported data set beside `digits`: 3 and X, uneven."""
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path_factory.mktemp("cache")))
    labels = np.array([0] * 40 + [1] * 15)
    train = Dataset(random_images(55, seed=5), labels, ("3", "X"))
    store.save(imported_folder("upper"), "upper", train, train.subset(np.arange(3)))
    return "upper"


@pytest.mark.parametrize("settings", [{}, {"split_seed": 3}, {"folds": 3, "fold": 1}])
def test_what_one_part_validates_on_the_union_never_trains_on(
    upper: str, settings: dict[str, int]
) -> None:
    def load(name: str) -> tuple[set[bytes], set[bytes]]:
        data = load_dataset(DataConfig.parse({"dataset": name, **settings}))
        return tuple({i.tobytes() for i in s.images} for s in (data.train, data.validation))  # type: ignore[return-value]

    of_digits, of_upper, of_both = load("digits"), load(upper), load(f"digits+{upper}")
    assert of_both[0] == of_digits[0] | of_upper[0]
    assert of_both[1] == of_digits[1] | of_upper[1]
    assert load(f"{upper}+digits") == of_both


def test_each_validation_image_has_its_source(upper: str) -> None:
    data = load_dataset(f"{upper}+digits")
    assert data.validation_sources is not None
    for name in (upper, "digits"):
        images = data.validation.images[data.validation_sources == name]
        alone = load_dataset(name)
        assert np.array_equal(images, alone.validation.images)
        assert set(np.asarray(alone.validation_sources)) == {name}


def test_positions_to_leave_out_count_through_the_parts(upper: str) -> None:
    whole = load_dataset(DataConfig(dataset=f"digits+{upper}", validation_fraction=0)).train
    last_of_digits, first_of_upper = 1436, 1437
    left = load_dataset(
        DataConfig(dataset=f"digits+{upper}", exclude=(last_of_digits, first_of_upper))
    )
    used = {i.tobytes() for s in (left.train, left.validation) for i in s.images}
    out = {whole.images[k].tobytes() for k in (last_of_digits, first_of_upper)}
    assert not used & out
    assert len(left.train) + len(left.validation) == len(whole) - 2
