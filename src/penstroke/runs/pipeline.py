"""The way of one run, from settings to a finished run directory: train, choose, export, judge."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from penstroke.config.settings import RunConfig
from penstroke.data.dataset import DataSplits
from penstroke.data.loading import load_dataset
from penstroke.errors import DataError, RunError
from penstroke.evaluation import evaluator as evaluation
from penstroke.evaluation import forgetting
from penstroke.files import runs_root, sha256, write_atomically
from penstroke.inference.recognizer import model_metadata
from penstroke.machine import machine_facts, package_version, package_versions
from penstroke.models.onnx_export import export_onnx
from penstroke.models.trained import ensemble_weights, load_network
from penstroke.preprocessing.ink import estimate_geometry
from penstroke.runs.epochs import last_checkpoint, save_each
from penstroke.runs.finetuning import Source, seen_by
from penstroke.runs.record import DataFacts, now, read_summary
from penstroke.runs.run import Run, RunRecord, StartFacts, run_name
from penstroke.training.batches import settle
from penstroke.training.checkpoint import Array, Checkpoint
from penstroke.training.device import apply, resolve
from penstroke.training.loop import Epoch, fit


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run that is ready to train: new, or to go on from `state`."""

    run: Run
    data: DataSplits
    state: Checkpoint | None
    notes: tuple[str, ...]
    source: Source | None = None

    @property
    def epochs_done(self) -> int:
        """Epochs that need not be trained again."""
        return int(self.state.facts["epoch"]) if self.state else 0

    @property
    def total_epochs(self) -> int:
        """Epochs that the settings ask for with so much data."""
        return settle(self.run.record.config.train, self.data).epochs

    def train(self) -> Generator[Epoch, None, None]:
        """Train, keeping every epoch on disk before it is passed on."""
        config = apply(self.run.record.config, self.run.record.resolved)
        start = self.source.start if self.source else None
        with self.run.locked():
            yield from save_each(self.run, fit(config, self.data, self.state, start=start))


def prepare(
    config: RunConfig,
    *,
    stem: str,
    name: str | None = None,
    overwrite: bool = False,
    source: Source | None = None,
    needs_test: bool = True,
) -> Prepared:
    """Return the run of `config`: the same settings on the same data are the same run.

    Args:
        config: the settings.
        stem: beginning of the run's name; the rest is drawn from settings and data.
        name: the whole name instead.
        overwrite: begin again, whatever is there.
        source: the trained network to begin from, whose architecture is that of `config`.
        needs_test: whether it is to be judged on test images in the end; a fold is not.

    Raises:
        RunError: `name` is taken by a run of other settings, or another process trains it.
        DataError: there are no test images.
    """
    data = load_dataset(config.data)
    if needs_test and not len(data.test):  # told now, not when everything is trained
        raise DataError(
            f"{data.name} has no test images to judge a run on: give it some, or use "
            "`penstroke train --folds 5`, which needs none"
        )
    settle(config.train, data)  # refuses what cannot be trained, before anything is written
    start = source.facts(data) if source else None
    drawn = run_name(stem, config, data.fingerprint, start.sha256 if start else None)
    path = runs_root() / (name or drawn)
    if overwrite and (path / "run.toml").exists():
        Run.open(path).remove()
    if not (path / "run.toml").exists():
        run = Run.create(path, _new_record(config, data, start))
        return Prepared(run, data, None, _known_before(source, data), source)
    run = Run.open(path)
    _refuse_another(run, config, data, start)
    if run.status == "finished":
        # Its figures are told: the source's images need not be read again.
        state, damage = last_checkpoint(run)
        return Prepared(run, data, state, tuple(damage), source)
    with run.locked():  # who resumes may cut the history
        state, damage = last_checkpoint(run)
    return Prepared(run, data, state, (*_known_before(source, data), *damage), source)


def _known_before(source: Source | None, data: DataSplits) -> tuple[str, ...]:
    seen = seen_by(source, data.validation) if source else 0
    if not (source and seen):
        return ()
    return (
        f"{source.run.name} was trained on {seen:,} of the {len(data.validation):,} validation "
        "images: their figures are too kind",
    )


def train(config: RunConfig, *, name: str | None = None, overwrite: bool = False) -> Run:
    """Train, keep every epoch on disk, judge what came of it, and return the finished run.

    What `penstroke train` does, without a word: the same settings on the same data are the same
    run, which goes on where it was stopped, and is returned at once where it is finished.

    Args:
        config: the settings.
        name: of the run's directory; drawn from settings and data unless given.
        overwrite: begin again, whatever is there.

    Raises:
        RunError: `name` is taken by a run of other settings.

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("fast", {"train.epochs": 4, "train.min_steps": 0})
        >>> run = penstroke.train(recipe.run_config(), name="example")
        >>> run.status, len(run.history())
        ('finished', 4)
    """
    prepared = prepare(config, stem="run", name=name, overwrite=overwrite)
    if prepared.run.status == "unfinished":
        for _ in prepared.train():
            pass
        finish(prepared)
    return prepared.run


def finish(prepared: Prepared, *, report: bool = True) -> dict[str, Any]:
    """Keep the chosen epoch, export it, judge it, write the report; return the figures.

    Of a fine-tuned run, what it has forgotten of its source's data is measured too.

    Raises:
        RunError: another process is at it.
    """
    with prepared.run.locked():
        prepared.run.write_model()
        if prepared.source is not None:
            forgetting.measure(prepared.run, prepared.source.run, prepared.data.train)
        return _export_and_judge(prepared.run, prepared.data, report)


def make_ensemble(
    members: Sequence[Run], data: DataSplits, *, report: bool = True
) -> dict[str, Any]:
    """Make a run of its own of `members`, their probabilities averaged; return its figures.

    One that was made of these members already is not judged again.

    Raises:
        RunError: another process is at it.
    """
    names = tuple(member.name for member in members)
    stem = names[0].rpartition("-")[0] or names[0]
    path = members[0].path.parent / f"{stem}-ensemble-{sha256(' '.join(names).encode())[:8]}"
    weights = ensemble_weights([member.model().weights for member in members])
    if figures := _made_before(path, weights):
        return figures
    record = members[0].record.model_copy(update={"members": names, "created": now()})
    run = Run.create(path, record)
    with run.locked():
        run.write_weights(weights)
        return _export_and_judge(run, data, report)


def _made_before(path: Path, weights: Mapping[str, Array]) -> dict[str, Any]:
    """Return the figures of the run at `path` if it is finished and has these weights."""
    figures = read_summary(path)
    if not figures:
        return {}
    there = Run.open(path).model().weights
    same = there.keys() == weights.keys()
    return figures if same and all(np.array_equal(there[k], weights[k]) for k in weights) else {}


def _export_and_judge(run: Run, data: DataSplits, report: bool) -> dict[str, Any]:
    # The training images are read once more for the report alone: it takes seconds.
    splits = evaluation.SPLITS if report else evaluation.SPLITS[1:]
    judged = evaluation.evaluate(run, data, splits)
    figures = {"run": str(run.path), **summary_of(judged)}
    write_atomically(run.model_path, export(run, figures))
    if report:
        figures["report"] = str(judged.write_report())
    run.write_summary(figures)
    return figures


def summary_of(judged: evaluation.Evaluation) -> dict[str, Any]:
    """Return what `penstroke train` and `penstroke evaluate` tell about a run."""
    run = judged.run
    curves = {}
    if judged.verdict is not None:
        curves = {"best_epoch": run.best_epoch(), "verdict": judged.verdict.name}
    return {
        **curves,
        "epochs": len(run.history()),
        **judged.figures(),
        **forgetting.figures(run),
        "elapsed_seconds": run.elapsed_seconds(),
        "model": str(run.model_path),
    }


def export(run: Run, figures: Mapping[str, Any] | None = None) -> bytes:
    """Return the run's chosen epoch as an ONNX file that a `Recognizer` opens.

    The temperature that makes its probabilities mean what they say, and what is familiar to it,
    are those of `figures`, or of the run's summary.
    """
    data = run.record.data
    figures = run.summary() if figures is None else figures
    metadata = model_metadata(
        data.classes,
        data.ink,
        float(figures.get("temperature", 1.0)),
        figures.get("ood_threshold"),
        run=run.name,
        dataset=run.record.config.data.dataset,
        data_fingerprint=data.fingerprint,
        penstroke_version=package_version("penstroke"),
    )
    return export_onnx(load_network(run), metadata)


def history_csv(run: Run) -> bytes:
    """Return the run's history as CSV, a line an epoch."""
    history = run.history()
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(history[0]) if history else ["epoch"])
    writer.writeheader()
    writer.writerows(history)
    return stream.getvalue().encode()


def _refuse_another(
    run: Run, config: RunConfig, data: DataSplits, start: StartFacts | None
) -> None:
    if run.record.config != config:
        raise RunError(
            f"{run.path} was made with other settings: choose another --name, or --overwrite "
            "to replace it"
        )
    if run.record.data.fingerprint != data.fingerprint:
        raise RunError(
            f"{run.path} was made with another version of {data.name}: choose another --name, or "
            "--overwrite to replace it"
        )
    there, here = (one.sha256 if one else None for one in (run.record.start, start))
    if there != here:
        raise RunError(
            f"{run.path} began from {run.record.start.run if run.record.start else 'nothing'}, "
            "not from this: choose another --name, or --overwrite to replace it"
        )


def _new_record(config: RunConfig, data: DataSplits, start: StartFacts | None) -> RunRecord:
    return RunRecord(
        created=now(), config=config, resolved=resolve(config), data=data_facts(data),
        versions=package_versions(), machine=machine_facts(), start=start,
    )  # fmt: skip


def data_facts(data: DataSplits) -> DataFacts:
    """Return what a record says of the images."""
    mean, std = data.train.mean_and_std
    return DataFacts(
        fingerprint=data.fingerprint,
        classes=data.classes,
        train_images=len(data.train),
        validation_images=len(data.validation),
        test_images=len(data.test),
        mean=mean,
        std=max(std, 1e-6),
        ink=estimate_geometry(data.train.images),
    )
