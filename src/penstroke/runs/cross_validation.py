"""K-fold cross-validation: each training image judged once, by a network that never saw it.

For few images, where a test split would be too small to tell anything. The test split, if there
is one, stays sealed. Each fold is a run of its own inside one directory:

folds.toml           the settings that all folds share
fold-0 …             a run directory each: trained on the others, judged on this
predictions.safetensors   what was said of every image, fold after fold
summary.json         the figures; its presence says that all is finished
report/              the page
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from penstroke.config.settings import RunConfig
from penstroke.data.dataset import Dataset
from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError, RunError
from penstroke.evaluation.intervals import intervals
from penstroke.evaluation.metrics import compute_metrics
from penstroke.evaluation.predictions import Predictions, predict
from penstroke.evaluation.run_groups import Claim, claims
from penstroke.evaluation.seed_variation import spread
from penstroke.files import runs_root, write_text_atomically
from penstroke.reports.folds_report import write_folds_report
from penstroke.runs.finetuning import Source
from penstroke.runs.pipeline import Prepared, prepare
from penstroke.runs.record import read_summary, write_summary
from penstroke.runs.run import FOLDS_FILE, FoldRuns, Run, name_of, run_name
from penstroke.training.batches import settle

_SAID = "predictions.safetensors"


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """One cross-validation: where it lies, and the settings of each of its folds."""

    path: Path
    folds: tuple[RunConfig, ...]
    source: Source | None

    def summary(self) -> dict[str, Any]:
        """Return the pooled figures; empty while a fold is unfinished.

        Raises:
            RunError: what lies there has other settings.
        """
        found = read_summary(self.path)
        if found:
            self.prepare(0)
        return found

    def prepare(self, fold: int, *, overwrite: bool = False) -> Prepared:
        """Return the run of one fold; see `workflow.prepare`. `overwrite`: no figures are left."""
        if overwrite:
            (self.path / "summary.json").unlink(missing_ok=True)
        name = name_of(self.path / f"fold-{fold}")
        prepared = prepare(
            self.folds[fold],
            stem="",
            name=name,
            overwrite=overwrite,
            source=self.source,
            needs_test=False,
        )
        write_text_atomically(self.path / FOLDS_FILE, _shared(self.folds[0]).to_toml())
        return prepared


def cross_validation(
    config: RunConfig,
    folds: int,
    *,
    stem: str,
    name: str | None = None,
    source: Source | None = None,
) -> CrossValidation:
    """Return the cross-validation of `config`: the same settings on the same data are the same.

    Raises:
        ConfigError: fewer than two folds, more than the rarest class has images, or settings by
            which the images that judge would choose the epoch too.
    """
    if config.data.folds is not None:
        raise ConfigError("data.folds: --folds sets it: leave out one of them")
    if config.train.checkpoint_metric != "last":
        raise ConfigError(
            f"train.checkpoint_metric: by {config.train.checkpoint_metric}, the images of a fold "
            "would choose the epoch that they judge: set train.checkpoint_metric=last (and how "
            "many epochs)"
        )
    cut = tuple(_fold(config, folds, k) for k in range(max(folds, 1)))
    data = load_dataset(cut[0].data)
    settle(config.train, data)
    drawn = run_name(
        f"{stem}-{folds}-folds", cut[0], data.fingerprint, source.sha256 if source else None
    )
    return CrossValidation(runs_root() / (name or drawn), cut, source)


def finish_fold(prepared: Prepared) -> dict[str, Any]:
    """Keep the last epoch and judge the images held out; return the figures."""
    run, held_out = prepared.run, prepared.data.validation
    run.write_model()
    said = predict(run, held_out)
    said.save(run.path / "predictions" / "validation.safetensors")
    figures = {
        "run": str(run.path),
        **compute_metrics(said).figures("val_"),
        "elapsed_seconds": run.elapsed_seconds(),
    }
    run.write_summary(figures)
    return figures


def pool(cross: CrossValidation, *, report: bool = True) -> dict[str, Any]:
    """Put together what was said of every image, and keep and return the figures.

    Raises:
        RunError: a fold is not finished.
    """
    folders = [cross.path / f"fold-{k}" for k in range(len(cross.folds))]
    if unfinished := [one.name for one in folders if not read_summary(one)]:
        raise RunError(f"{cross.path}: {', '.join(unfinished)} not finished yet")
    runs = [Run.open(folder) for folder in folders]
    parts = [Predictions.load(r.path / "predictions" / "validation.safetensors") for r in runs]
    said = pooled(parts)
    said.save(cross.path / _SAID)
    figures = _figures(cross, parts, said)
    figures["test_images"] = runs[0].record.data.test_images
    figures["elapsed_seconds"] = sum(run.elapsed_seconds() for run in runs)
    if report:
        images = _images(cross, said.classes)
        page = cross.path / "report" / "index.html"
        write_folds_report(page, cross.path.name, figures, said, images)
        figures["report"] = str(page)
    write_summary(cross.path, figures)
    return figures


def compare_folds(several: Sequence[FoldRuns]) -> tuple[Claim, ...]:
    """Return what may be said of each cross-validation against the first, image by image.

    Raises:
        RunError: one is not finished, or they judged different images or folds.
    """
    ways, judged = [], set()
    for one in several:
        if not one.summary():
            raise RunError(f"{one.path} is not finished: the command that began it goes on with it")
        said = Predictions.load(one.path / _SAID)
        record = Run.open(one.path / "fold-0").record
        data = record.config.data.model_dump_json(exclude={"dataset"})
        judged.add((record.data.fingerprint, data, said.labels.tobytes()))
        ways.append((one.path.name, {record.config.train.seed: said.is_right}))
    if len(judged) > 1:
        names = ", ".join(one.path.name for one in several)
        raise RunError(
            f"{names} were not judged on the same images in the same folds: accuracies compare "
            "there only"
        )
    return claims(ways)


def pooled(parts: list[Predictions]) -> Predictions:
    """Return what was said of the images of all `parts`, one after the other."""
    return Predictions(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.logits for part in parts]),
        parts[0].classes,
    )


def _figures(cross: CrossValidation, parts: list[Predictions], said: Predictions) -> dict[str, Any]:
    accuracies = [float(part.is_right.mean()) for part in parts]
    by_fold = spread(accuracies)
    return {
        "run": str(cross.path),
        "dataset": cross.folds[0].data.dataset,
        **({"source": cross.source.run.name} if cross.source else {}),
        "folds": len(parts),
        "images": len(said),
        **compute_metrics(said).figures(),
        "intervals": asdict(intervals(said)),
        "fold_accuracies": accuracies,
        "fold_mean": by_fold.mean,
        "fold_sd": by_fold.sd,
    }


def _fold(config: RunConfig, folds: int, fold: int) -> RunConfig:
    return config.replace({"data.folds": folds, "data.fold": fold})


def _shared(config: RunConfig) -> RunConfig:
    return config.replace({"data.folds": None, "data.fold": None})


def _images(cross: CrossValidation, classes: tuple[str, ...]) -> Dataset:
    held_out = [load_dataset(one.data).validation for one in cross.folds]
    images = np.concatenate([part.images for part in held_out])
    return Dataset(images, np.concatenate([part.labels for part in held_out]), classes)
