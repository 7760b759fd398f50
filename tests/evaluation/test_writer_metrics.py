"""Accuracy by writer, the interval for new writers, and comparisons over writers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers import Outcome, small_config
from penstroke.data import store
from penstroke.data.dataset import Dataset
from penstroke.data.loading import imported_folder, load_dataset
from penstroke.evaluation.comparison import compare
from penstroke.evaluation.intervals import new_writer_interval, wilson
from penstroke.evaluation.predictions import Predictions
from penstroke.evaluation.writer_metrics import compute_writer_metrics
from penstroke.runs.pipeline import train
from penstroke.runs.run import Run


def judged(right: np.ndarray, writers: np.ndarray) -> Predictions:
    """Predictions of two classes, of which those `right` are right."""
    logits = np.eye(2, dtype=np.float32)[1 - right.astype(int)]
    return Predictions(np.zeros(len(right), np.int64), logits, ("a", "b"), writers)


@pytest.mark.parametrize(("writers", "mean", "images"), [(40, 0.9, 30), (300, 0.98, 30)])
def test_the_interval_for_new_writers_covers_where_that_over_images_does_not(
    writers: int, mean: float, images: int
) -> None:
    random = np.random.default_rng(0)
    draws, over_writers, over_images = 200, 0, 0
    for _ in range(draws):
        counts = random.integers(images // 3, 2 * images, writers)
        right = random.binomial(counts, random.beta(10 * mean, 10 * (1 - mean), writers))
        (low, high), effective = new_writer_interval(right, counts)
        over_writers += low <= mean <= high
        low, high = wilson(int(right.sum()), int(counts.sum()))
        over_images += low <= mean <= high
        assert effective <= counts.sum()
    assert over_writers / draws >= 0.9
    assert over_images / draws < 0.8


def test_where_writers_do_not_differ_it_is_about_that_over_images() -> None:
    random = np.random.default_rng(0)
    counts = np.full(300, 30)
    right = random.binomial(counts, 0.95)
    (low, high), effective = new_writer_interval(right, counts)
    assert (low, high) == pytest.approx(wilson(int(right.sum()), 9000), abs=1e-3)
    assert effective > 7000
    (low, high), effective = new_writer_interval(counts, counts)  # not a mistake
    assert low < 0.9996
    assert high == pytest.approx(1)
    assert effective == 9000
    assert np.isnan(new_writer_interval(counts[:1], counts[:1])[0]).all()


def test_figures_by_writer() -> None:
    writers = np.repeat([f"w{k:02d}" for k in range(20)], 10)
    right = np.ones(200, bool)
    right[:9] = right[10:13] = False  # w00 is read 1 in 10, w01 7 in 10
    writers[199] = ""
    found = compute_writer_metrics(judged(right, writers), ["w03", "w04", "x"])
    assert found is not None
    assert found.images == 199
    assert [(w.writer, w.images, w.right) for w in found.writers[:2]] == [
        ("w00", 10, 1), ("w01", 10, 7),
    ]  # fmt: skip
    assert found.worst_tenth == 0.4
    assert found.worst_tenth < found.worst_tenth_by_chance < found.accuracy
    assert found.also_trained_on == 2
    low, high = found.new_writer_interval
    assert low < found.accuracy < high
    assert low < wilson(187, 199)[0]
    rows = list(csv.reader(found.to_csv().decode().splitlines()))
    assert rows[:2] == [["writer", "images", "right", "accuracy"], ["w00", "10", "1", "0.100000"]]
    assert compute_writer_metrics(judged(right, np.full(200, "w"))) is None


def test_predictions_keep_their_writers(tmp_path: Path) -> None:
    found = judged(np.ones(3, bool), np.array(["b", "", "ü"]))
    found.save(tmp_path / "p")
    again = Predictions.load(tmp_path / "p")
    assert again.writers is not None
    assert again.writers.tolist() == ["b", "", "ü"]
    assert Predictions.concatenate([again, again]).writers is not None


def test_a_difference_due_to_few_writers_is_not_claimed() -> None:
    """One writer of fifty is read by one network alone: 20 images, but one person."""
    baseline = np.ones((1, 1000), bool)
    baseline[:, :20] = False
    this, writers = np.ones((1, 1000), bool), np.repeat([f"{k}" for k in range(50)], 20)
    by_image, by_writer = compare(this, baseline), compare(this, baseline, writers)
    assert by_image.is_significant
    assert not by_writer.is_significant
    assert by_writer.low < 0 < by_image.low
    assert by_writer.more_images is not None
    alone = np.array([f"{k}" for k in range(1000)])
    one, other = np.random.default_rng(0).random((2, 3, 1000)) < 0.9
    assert compare(one, other, alone).low == pytest.approx(compare(one, other).low)


def test_a_run_shows_its_writers(penstroke: Callable[..., Outcome]) -> None:
    data = load_dataset("digits")
    random = np.random.default_rng(0)
    parts = []
    for images in (data.train, data.test.unseal()):
        names = random.integers(0, 15, len(images)).astype(str)
        if images is not data.train:
            names = np.char.add("t", names)
            names[0] = "3"
        parts.append(Dataset(images.images, images.labels, images.classes, names))
    store.save(imported_folder("written"), "written", parts[0], parts[1])
    config = small_config(epochs=1).replace({"data.dataset": "written"})
    run = train(config, name="by-writer", report=False)
    assert Run.open(run.path).record.data.split_writers
    out = penstroke("evaluate", "by-writer").out
    assert "16 writers; accuracy on new writers, 95 % interval:" in out
    assert "1 of them wrote training or validation images too" in out
    facts = json.loads(penstroke("evaluate", "by-writer", "--json").out)
    by = facts["writers"]
    assert len(by["writers"]) == 16
    low, high = by["new_writer_interval"]
    assert low < by["accuracy"] == facts["test_accuracy"] < high
    table = (run.path / "predictions/writers.csv").read_text().splitlines()
    assert len(table) == 17
    assert facts["test_worst_tenth_accuracy"] == by["worst_tenth"]
    assert (
        "| accuracy, worst tenth of writers |" in penstroke("runs", "show", run.name, "--card").out
    )
    page = Path(facts["report"]).read_text()
    assert ">Writers</h2>" in page
    other = train(config.replace({"train.epochs": 2}), name="longer", report=False)
    claim = json.loads(penstroke("compare", run.name, other.name, "--json").out)["claims"][0]
    assert claim["difference"]["low"] < claim["difference"]["accuracy"]
