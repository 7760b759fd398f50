"""Runs side by side: figures, differences from the first, and what may be claimed of them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstroke.config.toml import flatten
from penstroke.errors import RunError
from penstroke.evaluation.calibration import calibration
from penstroke.evaluation.comparison import Difference, Right, adjusted, compare
from penstroke.evaluation.intervals import Interval, wilson
from penstroke.evaluation.metrics import Metrics, compute_metrics
from penstroke.evaluation.predictions import Predictions
from penstroke.evaluation.seed_variation import spread
from penstroke.models.build import build_network
from penstroke.models.ensemble import Ensemble
from penstroke.models.summary import NetworkSummary, summarize

if TYPE_CHECKING:
    from penstroke.runs.run import Run

BySeed = Mapping[int, npt.NDArray[np.bool_]]
"""(images,) of each seed: which it read right."""

_LATENCY_ROUNDS, _LATENCY_CALLS = 5, 40
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class Way:
    """Runs that differ in their seed alone, by seed, and what each said of the test images."""

    name: str
    runs: tuple[Run, ...]
    predictions: tuple[Predictions, ...]
    latency_ms: float

    @cached_property
    def metrics(self) -> tuple[Metrics, ...]:
        """Figures of each run."""
        return tuple(compute_metrics(one) for one in self.predictions)

    @property
    def right_by_seed(self) -> BySeed:
        """Which images each run read right."""
        pairs = zip(self.runs, self.predictions, strict=True)
        return {_seed(run): said.is_right for run, said in pairs}

    def mean(self, name: str) -> float:
        """Return the mean over runs of a figure of `Metrics`."""
        return statistics.fmean(getattr(one, name) for one in self.metrics)

    @property
    def accuracy_interval(self) -> Interval:
        """95 %: over other seeds where there are several, else over other images."""
        if len(self.runs) > 1:
            found = spread([one.accuracy for one in self.metrics])
            return found.low, found.high
        (only,) = self.predictions
        return wilson(int(only.is_right.sum()), len(only))

    @cached_property
    def figures(self) -> dict[str, Any]:
        """What `compare --json` tells of it."""
        network = _network_summary(self.runs[0])
        low, high = self.accuracy_interval
        temperatures = [run.summary().temperature for run in self.runs]
        scaled = [p.at(t) for p, t in zip(self.predictions, temperatures, strict=True)]
        return {
            "name": self.name, "runs": [str(run.path) for run in self.runs],
            "accuracy": self.mean("accuracy"), "accuracy_low": low, "accuracy_high": high,
            "accuracies": [one.accuracy for one in self.metrics],
            "loss": self.mean("loss"), "auroc": self.mean("auroc"), "f1": self.mean("f1"),
            "ece": statistics.fmean(calibration(one).ece for one in scaled),
            "parameters": network.parameters, "multiply_adds": network.multiply_adds,
            "elapsed_seconds": statistics.fmean(run.elapsed_seconds() for run in self.runs),
            "latency_ms": self.latency_ms,
        }  # fmt: skip

    def column(self) -> dict[str, str]:
        """Return its column in a table for people."""
        found = self.figures
        low, high = 100 * found["accuracy_low"], 100 * found["accuracy_high"]
        return {
            "runs": str(len(self.runs)),
            "test accuracy": f"{100 * found['accuracy']:.2f} %",
            "95 % interval": f"{low:.2f}–{high:.2f} %",
            "loss": f"{found['loss']:.4f}",
            "AUROC": f"{found['auroc']:.5f}",
            "F1": f"{found['f1']:.4f}",
            "calibration error": f"{100 * found['ece']:.2f} %",
            "parameters": f"{found['parameters']:,}",
            "multiply-adds": f"{found['multiply_adds']:,}",
            "trained in": f"{found['elapsed_seconds']:.1f} s",
            "an image takes": f"{found['latency_ms']:.2f} ms",
        }


@dataclass(frozen=True, eq=False)
class Claim:
    """One way against the baseline.

    Attributes:
        way, baseline: their names.
        seeds: runs of each that were compared.
        difference: in accuracy.
        p: its p value, raised for the number of ways compared with the baseline (Holm 1979).
        text: what may be said of it, in a sentence.
    """

    way: str
    baseline: str
    seeds: int
    difference: Difference
    p: float
    text: str

    @property
    def is_shown(self) -> bool:
        """Whether the difference is claimed."""
        return self.p < self.difference.level


@dataclass(frozen=True, eq=False)
class Comparison:
    """Ways, the first of which is the baseline, and a claim for each of the others."""

    dataset: str
    images: int
    ways: tuple[Way, ...]
    claims: tuple[Claim, ...]


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Return the ways that `runs` are, in the order given, the first as the baseline.

    What the runs said of the test images is taken from their directories: nothing is unsealed.

    Raises:
        RunError: they are one way only, one of them is there twice, or they were judged on
            different images, or not yet.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_key(run), []).append(run)
    if len(groups) < 2:
        raise RunError(
            f"{', '.join(run.name for run in runs)}: nothing to compare, they are runs of one way, "
            "which differ in their seed alone; name runs of another way too"
        )
    _refuse_different_images(runs)
    ordered = [sorted(group, key=_seed) for group in groups.values()]
    for group in ordered:
        _refuse_twins(group)
    said = [tuple(map(_said, group)) for group in ordered]
    latencies = _latencies([group[0] for group in ordered])
    ways = tuple(
        Way(name, tuple(group), predictions, latency)
        for name, group, predictions, latency
        in zip(_names(ordered), ordered, said, latencies, strict=True)
    )  # fmt: skip
    labels = ways[0].predictions[0].labels
    if any(not np.array_equal(p.labels, labels) for way in ways for p in way.predictions):
        raise RunError("the runs were not judged on the same test images: evaluate them again")
    claimed = claims([(way.name, way.right_by_seed) for way in ways])
    return Comparison(runs[0].record.config.data.dataset, len(labels), ways, claimed)


def _network_summary(run: Run) -> NetworkSummary:
    model, count = run.record.config.model, len(run.record.data.classes)
    members = [
        build_network(model, num_classes=count, mean=0.0, std=1.0)
        for _ in run.record.members or ("itself",)
    ]
    return summarize(Ensemble(members))


def _seed(run: Run) -> int:
    return run.record.config.train.seed


def _key(run: Run) -> str:
    config = run.record.config.replace({"train.seed": 0})
    pretrained = run.record.pretrained.sha256 if run.record.pretrained else "nothing"
    return f"{config.fingerprint()} {len(run.record.members)} {pretrained}"


def _refuse_twins(group: Sequence[Run]) -> None:
    """Two runs of one way with one seed are one run: as two they would feign certainty."""
    for one, other in pairwise(group):
        if _seed(one) == _seed(other):
            raise RunError(
                f"{one.path} and {other.path} are the same settings and the same seed: name one "
                "of them"
            )


def _refuse_different_images(runs: Sequence[Run]) -> None:
    first = runs[0].record
    for run in runs:
        if run.record.data.fingerprint != first.data.fingerprint:
            raise RunError(
                f"{run.path} was judged on {run.record.config.data.dataset} "
                f"{run.record.data.fingerprint[:12]}…, {runs[0].path} on "
                f"{first.config.data.dataset} {first.data.fingerprint[:12]}…: accuracies compare "
                "on the same test images only"
            )


def _said(run: Run) -> Predictions:
    return Predictions.load(run.path / "predictions" / "test.safetensors")


def _names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Return a name a way: its runs' own, and what differs where that would not tell them apart."""
    stems = [group[0].name.rpartition("-")[0] or group[0].name for group in groups]
    settings = [flatten(group[0].record.config.to_dict()) for group in groups]
    names = []
    for stem, own in zip(stems, settings, strict=True):
        twins = [s for other, s in zip(stems, settings, strict=True) if other == stem]
        differing = sorted({k for s in twins for k in s if s.get(k) != own.get(k)} - {"train.seed"})
        shown = ", ".join(f"{key}={own.get(key)}" for key in differing[:_MOST_NAMED])
        names.append(f"{stem} ({shown})" if shown else stem)
    if len(set(names)) < len(names):
        names = [group[0].name for group in groups]
    return names


def _latencies(runs: Sequence[Run]) -> list[float]:
    """Return the milliseconds that one image takes each model, least of several turns."""
    import onnxruntime

    models = [onnxruntime.InferenceSession(run.model_file()) for run in runs]
    image = np.zeros((1, 28, 28), np.uint8)
    least = [math.inf] * len(models)
    for _ in range(_LATENCY_ROUNDS):
        for index, model in enumerate(models):
            start = time.perf_counter()
            for _ in range(_LATENCY_CALLS):
                model.run(["logits"], {"images": image})
            taken = (time.perf_counter() - start) / _LATENCY_CALLS
            least[index] = min(least[index], 1000 * taken)
    return least


def claims(ways: Sequence[tuple[str, BySeed]]) -> tuple[Claim, ...]:
    """Return what may be said of each way, by name and what it read right, against the first."""
    (baseline, that), *others = ways
    found = []
    for name, this in others:
        one, other = _side_by_side(this, that)
        found.append((name, len(one), compare(one, other)))
    p_values = adjusted([difference.p for *_, difference in found])
    return tuple(
        Claim(name, baseline, seeds, difference, p,
              _sentence(name, baseline, seeds, difference, p))
        for (name, seeds, difference), p in zip(found, p_values, strict=True)
    )  # fmt: skip


def _side_by_side(this: BySeed, that: BySeed) -> tuple[Right, Right]:
    """Return as many rows of both as there are of either, those of one seed beside each other."""
    shared = this.keys() & that.keys()
    count = min(len(this), len(that))
    one, other = (
        np.stack([way[seed] for seed in [*sorted(shared), *sorted(way.keys() - shared)][:count]])
        for way in (this, that)
    )
    return one, other


def _sentence(name: str, baseline: str, seeds: int, found: Difference, p: float) -> str:
    """Say "better" or "worse" only where chance is ruled out."""
    figures = (
        f"{100 * found.accuracy:+.2f} % accuracy, 95 % interval {100 * found.low:+.2f} to "
        f"{100 * found.high:+.2f} %, p {'< 0.0001' if p < 1e-4 else f'= {p:.2g}'}"
    )
    of = f"over {seeds} seeds each" if seeds > 1 else "as trained once each"
    if p < found.level:
        word = "better" if found.accuracy > 0 else "worse"
        return f"{name} is {word} than {baseline}, {of}: {figures}.{_luck(seeds)}"
    pair = f"{name} and {baseline}, {of}"
    return f"No evidence of a difference between {pair}: {figures}.{_more(found)}{_luck(seeds)}"


def _more(found: Difference) -> str:
    """Return what it would take to show a difference as large as the one seen."""
    ways = []
    if found.more_images is not None:
        ways.append(f"about {_rounded(found.more_images):,} test images")
    if found.more_seeds is not None:
        ways.append(f"{found.more_seeds:,} seeds of each")
    if not ways:
        return ""
    return (
        f" If it is as large as it seems, {' and '.join(ways)} would show it (four times in five)."
    )


def _luck(seeds: int) -> str:
    """Return what one run each cannot tell."""
    if seeds > 1:
        return ""
    return " One run each: how much of it is luck of training, only `train --seeds` tells."


def _rounded(count: int) -> int:
    """Return `count` to two digits: it is a rough figure."""
    return int(float(f"{count:.2g}"))
