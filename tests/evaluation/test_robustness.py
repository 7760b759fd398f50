"""Robustness, on a run of a second; its page, opened in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import nn

from browsing import opened
from helpers import small_config, trained_run, write_idx_set
from penstroke.data.dataset import Dataset, DataSplits, Images
from penstroke.data.idx import import_idx
from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError
from penstroke.evaluation.corruptions import CORRUPTIONS, corrupt
from penstroke.evaluation.metrics import auroc
from penstroke.evaluation.ood import gather_ood_images, synthetic_ood_images, unknown_characters
from penstroke.evaluation.predictions import predict
from penstroke.evaluation.robustness import evaluate_robustness
from penstroke.reports.robustness_report import write_robustness_report
from penstroke.runs.run import Run
from penstroke.runs.trained import load_network


@pytest.fixture
def run() -> Run:
    return trained_run(small_config(epochs=4), name="run <i>&")


@pytest.fixture
def network(run: Run) -> nn.Module:
    return load_network(run)


@pytest.fixture(scope="module")
def ood_images() -> dict[str, Images]:
    return synthetic_ood_images(count=40)


@pytest.fixture
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An imported data set of the classes 7, x and y."""
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))
    write_idx_set(tmp_path / "idx")
    folder = tmp_path / "cache" / "imported" / "letters"
    import_idx("letters", tmp_path / "idx", folder, classes=("7", "x", "y"))
    return "letters"


def test_figures_equal_scikit_learns(
    network: nn.Module, digits: DataSplits, ood_images: dict[str, Images]
) -> None:
    shown = digits.validation
    told: list[str] = []
    found = evaluate_robustness(network, shown, ood_images, seed=5, progress=told.append)
    assert told == ["clean", *CORRUPTIONS, *ood_images]
    clean = predict(network, shown)
    assert found.clean.accuracy == accuracy_score(shown.labels, clean.predicted)
    assert [reading.name for reading in found.corruptions] == list(CORRUPTIONS)
    for reading in found.corruptions:
        corrupted = Dataset(corrupt(shown.images, reading.name, 5), shown.labels, shown.classes)
        assert reading.accuracy == accuracy_score(
            shown.labels, predict(network, corrupted).predicted
        )
        assert 0 <= reading.low <= reading.accuracy <= reading.high <= 1
        assert reading.low < reading.high
    assert found.mean_accuracy == pytest.approx(np.mean([r.accuracy for r in found.corruptions]))
    assert found.mean_accuracy < found.clean.accuracy
    for result in found.ood:
        images = ood_images[result.kind]
        others = predict(network, Dataset(images, np.zeros(len(images), int), shown.classes))
        scores = [of.probabilities.max(axis=1) for of in (clean, others)]
        truth = [1] * len(clean) + [0] * len(others)
        assert result.auroc == pytest.approx(roc_auc_score(truth, np.concatenate(scores)))
        assert result.confidence == pytest.approx(scores[1].mean())


def test_the_seed_decides_everything(
    network: nn.Module, digits: DataSplits, ood_images: dict[str, Images]
) -> None:
    first, again, other = (
        evaluate_robustness(network, digits.validation, ood_images, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.corruptions != other.corruptions
    assert first.clean == other.clean


def test_to_dict_is_plain(
    network: nn.Module, digits: DataSplits, ood_images: dict[str, Images]
) -> None:
    found = evaluate_robustness(network, digits.validation, ood_images)
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["mean_accuracy"] == found.mean_accuracy
    assert [r["kind"] for r in values["ood"]] == ["noise", "scribbles", "blank paper"]
    assert values["corruptions"][0]["name"] == "shot_noise"


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_auroc_with_ties_equals_scikit_learns(decimals: int) -> None:
    random = np.random.default_rng(decimals)
    scores, positive = random.random(300).round(decimals), random.random(300) < 0.3
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_ood_images_are_of_unknown_classes_only(
    letters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstroke.evaluation.ood.synthetic_ood_images", lambda seed: {})
    everything = load_dataset(letters)
    images = [*everything.train.images, *everything.validation.images]
    labels = [*everything.train.labels, *everything.validation.labels]
    digits_known = tuple("0123456789")
    found = unknown_characters(letters, digits_known)
    expected = {p.tobytes() for p, k in zip(images, labels, strict=True) if k != 0}
    assert {image.tobytes() for image in found} == expected
    assert len(found) == 20
    (kind,) = gather_ood_images(digits_known, letters).items()
    assert kind[0] == "characters of letters"
    assert np.array_equal(kind[1], found)


def test_no_stranger_is_an_error(letters: str) -> None:
    with pytest.raises(ConfigError, match="the model knows all classes of letters .7, x, y"):
        unknown_characters(letters, ("x", "y", "z", "7"))
    with pytest.raises(ConfigError, match="the model knows all classes of letters"):  # x is an Xx
        unknown_characters(letters, ("Xx", "Yy", "7"))
    with pytest.raises(ConfigError, match='^--ood: .* "lettres" .did you mean "letters"'):
        unknown_characters("lettres", ("x",))


@pytest.fixture
def page(run: Run, network: nn.Module, digits: DataSplits, ood_images: dict[str, Images]) -> Path:
    shown = digits.validation
    return write_robustness_report(
        run, evaluate_robustness(network, shown, ood_images), shown, ood_images
    )


def test_page_is_self_contained(page: Path, run: Run) -> None:
    assert page == run.path / "report" / "robustness.html"
    text = page.read_text()
    assert len(text) < 500_000
    assert "http" not in text
    assert "<script" not in text
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', text) == ['href="index.html"']
    assert text.count('src="data:image/png') == 1 + len(CORRUPTIONS) + 3
    assert "run &lt;i&gt;&amp;" in text
    for name in CORRUPTIONS:
        assert name.replace("_", " ") in text


def test_a_page_of_three_classes(
    ood_images: dict[str, Images], run: Run, network: nn.Module
) -> None:
    """Not all of a network's classes need be among the images."""
    labels = np.array([9, 2, 2, 5])
    shown = Dataset(np.full((4, 28, 28), 99, np.uint8), labels, tuple("0123456789"))
    found = evaluate_robustness(network, shown, ood_images)
    assert write_robustness_report(run, found, shown, ood_images).exists()


@pytest.mark.browser
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_in_a_browser(browser: Browser, page: Path, width: int, scheme: str) -> None:
    with opened(browser, page, width, scheme) as tab:
        widest = "Math.max(...[...document.images].map(i => i.getBoundingClientRect().right))"
        assert tab.evaluate(widest) <= width
