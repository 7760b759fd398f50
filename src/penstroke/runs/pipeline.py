"""From settings to a finished run: train, keep the best epoch, evaluate, export, report."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from penstroke.config.settings import Resolved, RunConfig
from penstroke.data.dataset import DataSplits
from penstroke.data.lines import LineSplits
from penstroke.data.run_data import load_data
from penstroke.errors import DataError, RunError
from penstroke.evaluation.evaluator import SPLITS
from penstroke.files import sha256, write_atomically
from penstroke.machine import machine_facts, package_versions
from penstroke.models.build import ensemble_weights
from penstroke.preprocessing.ink import DEFAULT_INK, estimate_geometry
from penstroke.reports.line_report import write_line_report
from penstroke.reports.run_report import write_run_report
from penstroke.runs.epochs import last_checkpoint, save_each
from penstroke.runs.finetuning import PretrainedRun
from penstroke.runs.record import DataFacts, folder_path, now
from penstroke.runs.run import Run, RunRecord, run_name
from penstroke.runs.trained import (
    evaluate,
    evaluate_lines,
    line_model_file,
    model_file,
    network_of,
    summary_of,
    summary_of_lines,
)
from penstroke.training.checkpoint import Checkpoint
from penstroke.training.device import resolve_auto
from penstroke.training.loop import Epoch, fit


def train(
    config: RunConfig,
    *,
    name: str | None = None,
    overwrite: bool = False,
    pretrained: PretrainedRun | None = None,
    report: bool = True,
) -> Run:
    """Train, keep every epoch on disk, evaluate and export, and return the finished run.

    Does what `penstroke train` does, without output: the same settings on the same data are the
    same run, which resumes where it was stopped, and is returned at once when it is finished.
    Its name is derived from settings and data by default; with `pretrained`, the run to start from,
    `config` has the architecture of that run.

    Raises:
        ConfigError: `name` is not a plain file name.
        RunError: a run of other settings has that `name`, and `overwrite` is not set.

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("fast", {"train.epochs": 4})
        >>> run = penstroke.train(recipe.run_config(), name="example")
        >>> run.status, len(run.history())
        ('finished', 4)
    """
    path = folder_path(name) if name is not None else None
    training = start_or_resume(
        config, stem="run", path=path, overwrite=overwrite, pretrained=pretrained
    )
    for _ in training.epochs():
        pass
    training.finish(report=report)
    return training.run


@dataclass(frozen=True, eq=False)
class Training:
    """A run to be trained, anew or from `checkpoint`; `notes` are what people should know of it."""

    run: Run
    data: DataSplits | LineSplits
    checkpoint: Checkpoint | None = None
    notes: tuple[str, ...] = ()
    pretrained: PretrainedRun | None = None

    @property
    def characters(self) -> DataSplits:
        """Its data, where these are images of characters."""
        assert isinstance(self.data, DataSplits)
        return self.data

    @property
    def epochs_done(self) -> int:
        """Epochs that are on disk already."""
        return len(self.run.history())

    def epochs(self) -> Generator[Epoch, None, None]:
        """Train, yielding each epoch once it is on disk; RunError if another process does."""
        if self.run.status == "finished":
            return
        config = self.run.record.resolved.applied_to(self.run.record.config)
        epochs = fit(config, self.data, self.checkpoint, pretrained=self.pretrained)
        with self.run.locked():
            yield from save_each(self.run, epochs)

    def best_network(self) -> nn.Module:
        """Write the weights of the best epoch to model.safetensors; return its network."""
        epoch = self.run.best_epoch()
        weights = self.run.checkpoint(epoch).weights
        self.run.write_weights(weights, epoch=epoch)
        return network_of(self.run.record, weights)

    def finish(self, *, report: bool = True) -> None:
        """Evaluate, export and measure forgetting, unless the run is finished already."""
        if self.run.status == "finished":
            return
        with self.run.locked():
            network = self.best_network()
            if isinstance(self.data, LineSplits):
                _finish_lines(self.run, network, self.data, report=report)
                return
            if self.pretrained is not None:
                forgetting = self.pretrained.measure_forgetting(network, self.data.train)
                forgetting.save(self.run.path)
            _evaluate_and_export(self.run, network, self.data, report=report)


def start_or_resume(
    config: RunConfig,
    *,
    stem: str,
    path: Path | None = None,
    overwrite: bool = False,
    pretrained: PretrainedRun | None = None,
    needs_test: bool = True,
) -> Training:
    """Return the run of `config`: the same settings on the same data are the same run.

    It is at `path`, or else beside the runs under `stem` and a hash of settings and data. RunError:
    that run has other settings, or another process trains it. ConfigError: the batch is too large.
    DataError: there are no test images, which a fold does without (`needs_test`).
    """
    data = load_data(config)
    if needs_test and not len(data.test):  # better now than after the training
        raise DataError(
            f"{data.name} has no test images to evaluate a run on: add some, or use "
            "`penstroke train --folds 5`, which needs none"
        )
    # Refuses an impossible batch size before any write.
    config.train.epochs_for(config.epoch_size(len(data.train)))
    weights = (pretrained.sha256,) if pretrained else ()
    path = path or folder_path(run_name(stem, config, data.fingerprint, *weights))
    if overwrite and (old := Run.at_or_damaged(path)):
        old.remove()
    if run := Run.at(path):
        _check_same(run, config, data, pretrained)
        if run.status == "finished":
            return Training(run, data, pretrained=pretrained)
        with run.locked():  # resuming may shorten the history
            checkpoint, notes = last_checkpoint(run)
    else:
        run = Run.create(path, RunRecord(
            created=now(), config=config, resolved=Resolved.of(resolve_auto(config)),
            data=data_facts(data), versions=package_versions(), machine=machine_facts(),
            pretrained=pretrained.facts(data.classes) if pretrained else None,
        ))  # fmt: skip
        checkpoint, notes = None, []
    kind = "lines" if config.reads_lines else "images"
    if pretrained and (seen := pretrained.count_trained_on(data.validation)):
        seen_note = (
            f"{pretrained.run.name} was trained on {seen:,} of the {len(data.validation):,} "
            f"validation {kind}: their figures are too optimistic"
        )
        notes = [seen_note, *notes]
    if isinstance(data, LineSplits) and data.too_narrow:
        notes = [
            f"{data.too_narrow:,} training lines are left out: each is too narrow for its text",
            *notes,
        ]
    return Training(run, data, checkpoint, tuple(notes), pretrained)


def make_ensemble(members: Sequence[Run], data: DataSplits, *, report: bool = True) -> Run:
    """Return a run that averages the probabilities of `members`, evaluated and exported once."""
    names = tuple(member.name for member in members)
    stem = names[0].rpartition("-")[0] or names[0]
    path = members[0].path.parent / f"{stem}-ensemble-{sha256(' '.join(names).encode())[:8]}"
    weights = ensemble_weights([member.model().weights for member in members])
    if (run := Run.at(path)) and run.status == "finished":
        old = run.model().weights
        if old.keys() == weights.keys() and all(np.array_equal(old[k], weights[k]) for k in old):
            return run
    record = members[0].record.model_copy(update={"members": names, "created": now()})
    run = Run.create(path, record, replace=True)
    with run.locked():
        run.write_weights(weights)
        _evaluate_and_export(run, network_of(record, weights), data, report=report)
    return run


def data_facts(data: DataSplits | LineSplits) -> DataFacts:
    """Return the record of the images or lines."""
    mean, std = data.train.mean_and_std
    return DataFacts(
        fingerprint=data.fingerprint,
        classes=data.classes,
        train_images=len(data.train),
        validation_images=len(data.validation),
        test_images=len(data.test),
        mean=mean,
        std=max(std, 1e-6),
        ink=DEFAULT_INK if isinstance(data, LineSplits) else estimate_geometry(data.train.images),
        split_writers=data.split_writers,
    )


def _evaluate_and_export(run: Run, network: nn.Module, data: DataSplits, *, report: bool) -> None:
    # Only the report needs the training images, which take seconds.
    evaluation = evaluate(run, data, SPLITS if report else SPLITS[1:], network=network)
    content = model_file(
        network, run.record.data,
        temperature=evaluation.temperature, ood_threshold=evaluation.ood_threshold,
        operating_points=evaluation.operating_points, run=run.name,
        dataset=run.record.config.data.dataset,
    )  # fmt: skip
    write_atomically(run.model_path, content)
    summary = summary_of(run, evaluation)
    if report:
        write_run_report(run, evaluation, summary)
    summary.write(run.path)


def _finish_lines(run: Run, network: nn.Module, data: LineSplits, *, report: bool) -> None:
    evaluation = evaluate_lines(run, data, network=network)
    write_atomically(run.model_path, line_model_file(run, evaluation))
    summary = summary_of_lines(run, evaluation)
    if report:
        write_line_report(run, evaluation, summary)
    summary.write(run.path)


def _check_same(
    run: Run, config: RunConfig, data: DataSplits | LineSplits, pretrained: PretrainedRun | None
) -> None:
    """Raise RunError if `run` has other settings, images or pretrained weights."""
    there = run.record.pretrained
    if run.record.config != config:
        reason = "was made with other settings"
    elif run.record.data.fingerprint != data.fingerprint:
        reason = f"was made with another version of {data.name}"
    elif run.record.data.split_writers != data.split_writers:
        reason = f"was made with {data.name} split by other writers"
    elif (there and there.sha256) != (pretrained and pretrained.sha256):
        reason = f"started from {f'the weights of {there.run}' if there else 'random weights'}"
    else:
        return
    raise RunError(f"{run.path} {reason}: choose another --name, or use --overwrite to replace it")
