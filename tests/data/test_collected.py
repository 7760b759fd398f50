from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import Outcome, random_images
from penstroke.config.settings import DataConfig
from penstroke.data import collected
from penstroke.data.collected import Answer, Collected
from penstroke.data.dataset import Dataset, concatenate, united_classes
from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError, DataError
from penstroke.serve.responses import png


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def collect(labels: str, seed: int = 1) -> list[str]:
    """Collect an image for each letter of `labels`; return their names."""
    return [
        collected.add(
            Collected(
                label=label, created="2026", input_image=base64.b64encode(png(image)).decode()
            )
        )
        for label, image in zip(labels, random_images(len(labels), seed), strict=True)
    ]


def test_it_is_a_data_set_like_any() -> None:
    collect("9a" * 40)
    splits = load_dataset("collected")
    assert splits.classes == ("9", "a")
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 80
    assert 1 <= len(splits.test) <= 40
    added = {image.tobytes() for image in random_images(80, 1)}
    assert {image.tobytes() for image in splits.train.images} < added


def test_growing_moves_no_image_between_the_splits() -> None:
    collect("012" * 40)
    train, test, held_out_before = collected.load()
    before = load_dataset("collected").fingerprint
    names = collect("x" * 30, seed=2)
    grown_train, grown_test, held_out = collected.load()
    assert np.array_equal(grown_train.images[: len(train)], train.images)
    assert np.array_equal(grown_test.images[: len(test)], test.images)
    assert np.array_equal(held_out[: len(train)], held_out_before)
    assert load_dataset("collected").fingerprint != before
    assert all(map(collected.remove, names))
    assert load_dataset("collected").fingerprint == before


def test_what_is_kept_is_read_back(data: Path) -> None:
    given = Collected(
        label="ß", created="2026", input_image=base64.b64encode(png(random_images(1)[0])).decode(),
        image="aGk=", strokes={"strokes": [[[1, 2.5]]], "width": 9},
        answer=Answer(label="8", probability=0.25, model="m"),
    )  # fmt: skip
    name = collected.add(given)
    assert collected.read([name])[name] == given
    assert collected.labels() == {name: "ß"}
    assert [p.name for p in (data / "collected").iterdir()] == [f"{name}.json"]


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/passwd", "*", "nothing", "\0"])
def test_only_what_is_there_is_removed(name: str) -> None:
    collect("7")
    assert not collected.remove(name)
    assert len(collected.names()) == 1


@pytest.mark.parametrize("label", ["", " ", " 7", "7\n", "\x00", "\u202e7", "x" * 33, "\ud800"])
def test_labels_that_nobody_could_read(label: str) -> None:
    with pytest.raises(ConfigError, match="label"):
        Collected.parse({"label": label, "created": "", "input_image": ""})


def test_nothing_collected_and_damage_are_told() -> None:
    with pytest.raises(DataError, match=r"no training images yet, 0 in all: draw"):
        load_dataset("collected")
    (name,) = collect("7")
    (collected.folder() / f"{name}.json").write_text('{"format_version": 1, "label": "7"')
    with pytest.raises(DataError, match=rf"{name}\.json is damaged"):
        collected.load()
    (collected.folder() / f"{name}.json").write_text('{"format_version": 2}')
    with pytest.raises(DataError, match="newer Penstroke"):
        collected.load()


def test_nothing_to_test_with_yet() -> None:
    kept = 0
    while kept < 20:
        (name,) = collect("ab"[kept % 2], seed=kept)
        kept += not (collected.split_of(name) == "test" and collected.remove(name))
    with pytest.raises(DataError, match="none to test with yet"):
        load_dataset("collected")
    assert len(load_dataset(DataConfig(dataset="collected", validation_fraction=0)).train) == 20
    assert load_dataset("digits+collected").classes[-2:] == ("a", "b")


def test_a_union_goes_by_names() -> None:
    a = Dataset(random_images(3), np.array([0, 1, 1]), ("1", "2"))
    b = Dataset(random_images(2, 1), np.array([1, 0]), ("x", "2"))
    classes = united_classes([a, b])
    assert classes == ("1", "2", "x")
    both = concatenate([a, b], classes)
    assert list(both.labels) == [0, 1, 1, 1, 2]
    assert np.array_equal(both.images[3:], b.images)


def test_digits_and_collected() -> None:
    alone = load_dataset("digits")
    collect("9" * 30 + "☺" * 100)
    both = load_dataset("digits+collected")
    train, test, _ = collected.load()
    assert both.classes == (*alone.classes, "☺")
    assert len(both.test) == len(alone.test) + len(test)
    assert len(both.train) + len(both.validation) == 1437 + len(train)
    assert both.validation.class_counts()[10] >= 2, (
        "some are held out; which, depends on their names"
    )
    assert both.fingerprint != alone.fingerprint
    assert both.name == "digits+collected"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digits+digits", "twice"),
        ("digits+", 'unknown data set ""'),
        ("digits+colected", "collected"),
        ("digits+../x", "unknown data set"),
    ],
)
def test_what_is_no_union(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_dataset(DataConfig(dataset=name))


def test_commands(penstroke: Callable[..., Outcome]) -> None:
    assert "collected" not in penstroke("data", "list").out
    collect("9a" * 20)
    assert "40 images" in penstroke("data", "list").out
    shown = penstroke("data", "show", "digits+collected")
    assert shown.exit_code == 0, shown.err
    assert "collected" in penstroke("data", "show", "collected").out
    refused = penstroke("data", "import", "collected", ".")
    assert "already" in refused.err


def test_the_images_to_validate_on_are_fixed() -> None:
    collect("01" * 40)
    held_out = load_dataset("collected").validation.images
    collect("01" * 40 + "☺", seed=2)
    assert np.array_equal(load_dataset("collected").validation.images[: len(held_out)], held_out)
    folds = load_dataset(DataConfig(dataset="collected", folds=2, fold=0, classes=("0", "1")))
    assert abs(len(folds.train) - len(folds.validation)) <= 2


def test_images_of_other_classes_are_left_out() -> None:
    collect("9" * 20)
    config = DataConfig(dataset="digits+collected", classes=tuple("9876543210"))
    before = load_dataset(config)
    collect("☺" * 20 + "Aa", seed=2)
    after = load_dataset(config)
    assert after.fingerprint == before.fingerprint
    assert after.classes == tuple("9876543210")
    assert np.array_equal(after.train.images, before.train.images)
    assert np.array_equal(after.train.labels, before.train.labels)
    plain = load_dataset("digits").train
    assert np.array_equal(after.train.images[: len(plain)], plain.images)
    assert np.array_equal(9 - after.train.labels[: len(plain)], plain.labels)
    with pytest.raises(ConfigError, match=r'data.classes: .* has no training images of "x"'):
        load_dataset(DataConfig(dataset="digits", classes=("1", "x")))


def test_the_size_of_a_file_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[Path] = []
    stat = Path.stat

    def counted(path: Path, **how: Any) -> os.stat_result:
        looked_up.append(path)
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", counted)
    collect("0" * 30)
    sizes = [path for path in looked_up if path.suffix == ".json"]
    assert len(sizes) == len(set(sizes)) == 29
