"""Fine-tuning: what travels, what is recorded, what is refused, what is forgotten."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import penstroke
from helpers import small_config, trained_run
from penstroke.config.settings import RunConfig
from penstroke.data import store
from penstroke.data.dataset import Dataset
from penstroke.data.loading import imported_folder, load_dataset
from penstroke.errors import RunError
from penstroke.evaluation.forgetting import Forgetting
from penstroke.runs.finetuning import PretrainedRun, find_pretrained, pretrained_of
from penstroke.runs.pipeline import Training, make_ensemble, start_or_resume
from penstroke.runs.run import Run
from penstroke.runs.trained import evaluate
from penstroke.training.checkpoint import Checkpoint

FEW = "few"


@pytest.fixture
def source() -> PretrainedRun:
    """A run on the digits 0 to 9."""
    return find_pretrained(trained_run(small_config(epochs=12), name="source").name)


@pytest.fixture(scope="module", autouse=True)
def few() -> None:
    """Six images a class of what `digits` keeps for its test, under other names and in another
    order: 7 is `seven`, and so unknown."""
    test = load_dataset("digits").test.unseal()
    classes = ("9", "8", "seven", "6", "5", "4", "3", "2", "1", "0")
    renamed = Dataset(test.images, 9 - test.labels, classes)
    rows = [np.flatnonzero(renamed.labels == k) for k in range(10)]
    train_rows = np.concatenate([r[:6] for r in rows])
    test_rows = np.concatenate([r[6:] for r in rows])
    store.save(imported_folder(FEW), FEW, renamed.subset(train_rows), renamed.subset(test_rows))


def few_config(**train: object) -> RunConfig:
    settings = {
        "epochs": 8,
        "batch_size": 18,
        "checkpoint_metric": "last",
        "learning_rate": 1e-3,
        **train,
    }
    config = small_config(**settings)
    return config.replace(
        {"data.dataset": FEW, "data.max_train_images": None, "data.validation_fraction": 0.1}
    )


def train(config: RunConfig, pretrained: PretrainedRun | None = None, name: str = "tuned") -> Run:
    return penstroke.train(config, name=name, pretrained=pretrained, report=False)


def ready(config: RunConfig, pretrained: PretrainedRun | None = None) -> Training:
    return start_or_resume(config, stem="tuned", pretrained=pretrained)


def test_a_few_images_help_more_from_a_source(source: PretrainedRun) -> None:
    alone = train(few_config(), name="alone").summary().test_accuracy
    tuned = train(few_config(), source).summary().test_accuracy
    assert alone is not None
    assert tuned is not None
    assert tuned > alone + 0.15


def test_the_source_is_on_record_and_part_of_the_name(source: PretrainedRun, runs: Path) -> None:
    tuned = ready(few_config(), source).run
    facts = tuned.record.pretrained
    assert facts is not None
    assert (facts.run, facts.sha256) == ("source", source.sha256)
    assert facts.new_classes == ("seven",)
    assert set(facts.known_classes) == set(tuned.record.data.classes) - {"seven"}
    assert ready(few_config(), source).run.path == tuned.path
    assert ready(few_config()).run.path != tuned.path
    other = replace(source, sha256="0" * 64)
    assert ready(few_config(), other).run.path != tuned.path
    # The same weights under another name are the same start.
    shutil.copytree(runs / "source", runs / "copy")
    assert ready(few_config(), find_pretrained("copy")).run.path == tuned.path


def test_a_name_of_another_start_is_refused(source: PretrainedRun, runs: Path) -> None:
    start_or_resume(few_config(), stem="x", path=runs / "mine")
    with pytest.raises(RunError, match="mine started from random weights: choose another --name"):
        start_or_resume(few_config(), stem="x", path=runs / "mine", pretrained=source)


def test_normalisation_is_inherited_and_geometry_is_that_of_the_new_images(
    source: PretrainedRun,
) -> None:
    tuned = train(few_config(epochs=1), source)
    theirs, ours = source.run.model().weights, tuned.model().weights
    for name in ("normalize.mean", "normalize.std"):
        assert ours[name] == theirs[name]
    assert tuned.record.data.mean != pytest.approx(source.run.record.data.mean, abs=1e-6)


def test_stopped_and_gone_on_to_the_same_bits(source: PretrainedRun, runs: Path) -> None:
    through = train(few_config(), source, "through")
    halted = start_or_resume(few_config(), stem="x", path=runs / "halted", pretrained=source)
    stream = halted.epochs()
    next(stream)
    stream.close()
    again = train(few_config(), source, "halted")
    weights = [(run.path / "model.safetensors").read_bytes() for run in (through, again)]
    assert weights[0] == weights[1]


def test_forgetting_is_measured_on_images_that_neither_trained_on(
    source: PretrainedRun,
) -> None:
    tuned = train(few_config(epochs=30, learning_rate=0.01), source)
    found = Forgetting.load(tuned.path)
    assert found is not None
    old = load_dataset(source.run.record.config.data).validation
    sevens = int((old.labels == 7).sum())
    assert (found.source, found.dataset, found.dropped) == ("source", "digits", ("7",))
    assert found.images == len(old) - sevens
    assert found.before is not None
    assert found.after is not None
    judged = evaluate(source.run).predictions["validation"]
    is_kept = judged.labels != 7
    assert found.before == pytest.approx(float(judged.is_right[is_kept].mean()))
    assert found.before_interval is not None
    assert found.before_interval[0] < found.before < found.before_interval[1]
    figures = tuned.summary()
    assert figures.source_accuracy_before == found.before
    assert figures.source_accuracy_after == found.after
    assert figures.source_images == found.images
    assert (source.run.path / "test_openings.jsonl").read_text().count("\n") == 2  # its own alone


def test_images_that_both_trained_on_judge_nothing(source: PretrainedRun) -> None:
    """With the old data mixed in, those that only the source held out are left."""
    config = few_config(epochs=1).replace({"data.dataset": f"digits+{FEW}"})
    found = Forgetting.load(train(config, source).path)
    assert found is not None
    assert found.trained_on == 0, "each part is split as it was alone"
    other = config.replace({"data.split_seed": 1})
    training = ready(other, source)
    assert "was trained on" in training.notes[0]
    assert "their figures are too optimistic" in training.notes[0]
    assert ready(config, source).notes == ()
    list(training.epochs())
    found = source.measure_forgetting(training.best_network(), training.characters.train)
    held_out = load_dataset(source.run.record.config.data).validation
    assert found.trained_on > 0.7 * len(held_out)
    assert found.images == len(held_out) - found.trained_on


def test_how_many_of_some_images_a_source_has_seen(source: PretrainedRun) -> None:
    data = load_dataset(source.run.record.config.data)
    assert source.count_trained_on(data.train) == len(data.train) == 400
    assert source.count_trained_on(data.validation) == 0


def test_without_the_sources_images_forgetting_says_why(source: PretrainedRun) -> None:
    path, weights = source.run.path / "run.toml", source.run.model().weights
    path.write_text(path.read_text().replace('dataset = "digits"', 'dataset = "gone"'))
    Run.open(source.run.path).write_weights(weights)
    tuned = train(few_config(epochs=1), find_pretrained("source"))
    assert tuned.summary().source_images == 0
    assert 'unknown data set "gone"' in str(tuned.summary().source_reason)


def test_what_is_no_source(source: PretrainedRun, runs: Path) -> None:
    with pytest.raises(RunError, match="there is no run"):
        find_pretrained("nothing")
    onnx = source.run.path / "model.onnx"
    with pytest.raises(RunError, match=r"is an ONNX file, .* name the run that .*: .*/source$"):
        find_pretrained(str(onnx))
    start_or_resume(few_config(), stem="x", path=runs / "begun")
    with pytest.raises(RunError, match="has no model yet"):
        find_pretrained("begun")
    data = load_dataset(source.run.record.config.data)
    ensemble = make_ensemble([source.run, source.run], data, report=False)
    with pytest.raises(RunError, match="averages 2 networks, .*: name one of them, source for"):
        find_pretrained(str(ensemble.path))


def test_a_fine_tuned_run_is_repeated_from_its_own_source(source: PretrainedRun) -> None:
    tuned = train(few_config(epochs=1), source)
    again = pretrained_of(tuned)
    assert again is not None
    assert again.sha256 == source.sha256
    assert pretrained_of(source.run) is None
    path = source.run.path / "model.safetensors"
    changed = source.run.model()
    arrays = {name: array * 2 for name, array in changed.arrays.items()}
    path.write_bytes(Checkpoint(arrays, changed.facts).to_bytes())
    with pytest.raises(RunError, match="which has other weights now"):
        pretrained_of(tuned)
