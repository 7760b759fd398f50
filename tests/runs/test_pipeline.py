from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

import penstroke
from helpers import small_config, trained_run
from penstroke.config.settings import RunConfig
from penstroke.data.dataset import sealed
from penstroke.data.loading import load_dataset
from penstroke.errors import RunError, SealedTestError
from penstroke.evaluation.predictions import Predictions
from penstroke.inference.recognizer import Recognizer
from penstroke.runs.pipeline import make_ensemble, start_or_resume
from penstroke.runs.run import Run, find_run, history_csv
from penstroke.runs.trained import evaluate


def test_a_finished_run_holds_what_the_design_promises(runs: Path) -> None:
    run = trained_run(report=True)
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    best = run.best_epoch()
    assert files == {
        "run.toml", "history.jsonl", "model.safetensors", "model.onnx", "summary.json",
        "test_openings.jsonl", "report/index.html", "report/model-card.html", ".lock",
        *(f"predictions/{split}.safetensors" for split in ("train", "validation", "test")),
        *(f"checkpoints/epoch-{e:04d}.safetensors" for e in {2, 3, best}),
    }  # fmt: skip
    figures = run.summary()
    for name in ("accuracy", "loss", "auroc", "f1"):
        assert {f"train_{name}", f"val_{name}", f"test_{name}"} <= set(figures.to_dict())
    assert figures.val_accuracy == max(
        line["val_accuracy"] for line in run.history() if line["epoch"] == best
    )
    assert len((run.path / "test_openings.jsonl").read_text().splitlines()) == 1


def test_recogniser_and_evaluation_say_the_same() -> None:
    run = trained_run(report=True)
    stored = Predictions.load(run.path / "predictions" / "test.safetensors")
    test = load_dataset(run.record.config.data).test.unseal()
    probabilities = Recognizer.load(run.path).probabilities(test.images)
    calibrated = stored.at(run.summary().temperature).probabilities
    np.testing.assert_allclose(probabilities, calibrated, atol=1e-5)


def test_evaluating_again_gives_the_same_figures_and_is_on_record() -> None:
    run = trained_run(report=True)
    judged = evaluate(run.name)
    for name, value in judged.figures().items():
        assert getattr(run.summary(), name) == value
    assert len((run.path / "test_openings.jsonl").read_text().splitlines()) == 2


def test_a_sealed_test_split_stays_shut() -> None:
    run = trained_run(report=True)
    with pytest.raises(SealedTestError), sealed():
        evaluate(run)


def test_same_settings_are_the_same_run() -> None:
    run = trained_run(report=True)
    again = start_or_resume(small_config(), stem="small")
    assert again.run.path == run.path
    assert again.run.status == "finished"
    assert again.epochs_done == 3
    assert list(again.epochs()) == []
    other = start_or_resume(small_config(seed=1), stem="small")
    assert other.run.path != run.path


def test_stopping_early_and_going_on_gives_the_same_model() -> None:
    through = (trained_run(report=True).path / "model.safetensors").read_bytes()
    halted = start_or_resume(small_config(), stem="halted")
    stream = halted.epochs()
    next(stream)
    stream.close()
    again = start_or_resume(small_config(), stem="halted")
    assert again.epochs_done == 1
    assert list(again.epochs())
    again.finish(report=False)
    assert (again.run.path / "model.safetensors").read_bytes() == through


def test_who_comes_second_leaves_the_history_alone(runs: Path) -> None:
    first = start_or_resume(small_config(), stem="shared")
    stream = first.epochs()
    next(stream)
    newest = first.run.path / "checkpoints" / "epoch-0001.safetensors"
    newest.unlink()  # as between a line and its checkpoint
    with pytest.raises(RunError, match="another process"):
        start_or_resume(small_config(), stem="shared")
    assert len(first.run.history()) == 1
    stream.close()


def test_an_ensemble_is_judged_once_and_outlives_its_members(runs: Path) -> None:
    members = [
        trained_run(one, stem=f"m-{k}") for k, one in enumerate(small_config(epochs=1).seeds(2))
    ]
    data = load_dataset(small_config().data)
    ensemble = make_ensemble(members, data, report=False)
    figures = ensemble.summary()
    opened = (ensemble.path / "test_openings.jsonl").read_text()
    assert make_ensemble(members, data, report=False).path == ensemble.path
    assert (ensemble.path / "test_openings.jsonl").read_text() == opened
    for member in members:
        member.remove()
    assert ensemble.elapsed_seconds() == figures.elapsed_seconds > 0
    assert evaluate(ensemble.path).figures()["test_loss"] == figures.test_loss


def test_what_is_removed_leaves_nothing_behind(runs: Path) -> None:
    run = start_or_resume(small_config(), stem="gone").run
    (runs / ".other.penstroke-removed").mkdir()  # by who was killed
    with run.locked(), pytest.raises(RunError):
        Run.open(run.path).remove()
    run.remove()
    assert list(runs.iterdir()) == []


def test_a_name_of_other_settings_is_refused(runs: Path) -> None:
    start_or_resume(small_config(), stem="x", path=runs / "mine")
    with pytest.raises(RunError, match="other settings"):
        start_or_resume(small_config(seed=1), stem="x", path=runs / "mine")
    again = start_or_resume(small_config(seed=1), stem="x", path=runs / "mine", overwrite=True)
    assert again.run.record.config.train.seed == 1


def test_changed_data_is_refused() -> None:
    run = trained_run(report=True)
    path = run.path / "run.toml"
    path.write_text(re.sub(r'fingerprint = "\w{4}', 'fingerprint = "0000', path.read_text()))
    with pytest.raises(RunError, match="another version of digits"):
        evaluate(run.path)
    with pytest.raises(RunError, match="another version of digits"):
        start_or_resume(small_config(), stem="x", path=run.path)


def test_history_as_csv() -> None:
    run = trained_run(report=True)
    rows = list(csv.DictReader(io.StringIO(history_csv(run).decode())))
    assert [json.loads(row["val_loss"]) for row in rows] == [
        line["val_loss"] for line in run.history()
    ]


def test_a_run_without_validation(tmp_path: Path) -> None:
    config = RunConfig.parse({
        "data": {"validation_fraction": 0.0, "max_train_images": 300},
        "train": {"epochs": 1, "checkpoint_metric": "last"},
    })  # fmt: skip
    figures = trained_run(config).summary()
    assert figures.val_accuracy is None
    assert figures.test_accuracy is not None


def test_find_run_by_name() -> None:
    run = trained_run(report=True)
    assert find_run(run.name).path == run.path


def test_train_from_python_is_the_same_run_again(runs: Path) -> None:
    run = penstroke.train(small_config(epochs=2))
    assert run.status == "finished"
    assert run.path.parent == runs
    assert (run.path / "model.onnx").exists()
    before = run.summary()
    assert penstroke.train(small_config(epochs=2)).path == run.path
    assert run.summary() == before
    with pytest.raises(RunError, match="other settings"):
        penstroke.train(small_config(epochs=3), name=run.name)
    again = penstroke.train(small_config(epochs=3), name=run.name, overwrite=True)
    assert len(again.history()) == 3
