"""Groups of runs side by side: figures, differences from the first, and the claims they allow."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Writers
from penstroke.evaluation.calibration import calibration
from penstroke.evaluation.comparison import Difference, compare, holm
from penstroke.evaluation.intervals import Interval, seed_variation, wilson
from penstroke.evaluation.metrics import Metrics, compute_metrics
from penstroke.evaluation.predictions import Predictions

_LUCK = "Only `train --seeds` shows how much is due to the luck of training."
RightBySeed = Mapping[int, npt.NDArray[np.bool_]]
"""(images,) of each seed: which images its run read correctly."""
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class RunResult:
    """One run of a group, with its predictions on the test images."""

    path: str
    seed: int
    predictions: Predictions
    temperature: float
    elapsed_seconds: float

    @cached_property
    def metrics(self) -> Metrics:
        """Metrics on the test images."""
        return compute_metrics(self.predictions)


@dataclass(frozen=True, eq=False)
class RunGroup:
    """Runs that differ in their seed alone, by seed, and the size and speed of their network."""

    name: str
    runs: tuple[RunResult, ...]
    parameters: int
    multiply_adds: int  # per image
    latency_ms: float  # per image, of the first run's model.onnx

    @property
    def accuracies(self) -> list[float]:
        """Test accuracy of each run."""
        return [run.metrics.accuracy for run in self.runs]

    @property
    def accuracy_interval(self) -> Interval:
        """95 % interval: over other seeds if there are several, else over other images."""
        if len(self.runs) > 1:
            variation = seed_variation(self.accuracies)
            return variation.low, variation.high
        predictions = self.runs[0].predictions
        return wilson(int(predictions.is_right.sum()), len(predictions))

    def mean(self, name: str) -> float:
        """Return the mean over runs of a figure of `Metrics`."""
        return statistics.fmean(getattr(run.metrics, name) for run in self.runs)

    @cached_property
    def ece(self) -> float:
        """Mean calibration error at the fitted temperature."""
        calibrated = (run.predictions.at(run.temperature) for run in self.runs)
        return statistics.fmean(calibration(predictions).ece for predictions in calibrated)

    @property
    def elapsed_seconds(self) -> float:
        """Mean training time of a run."""
        return statistics.fmean(run.elapsed_seconds for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        low, high = self.accuracy_interval
        return {
            "name": self.name, "runs": [run.path for run in self.runs],
            "accuracy": self.mean("accuracy"), "accuracy_low": low, "accuracy_high": high,
            "accuracies": self.accuracies, "loss": self.mean("loss"), "auroc": self.mean("auroc"),
            "f1": self.mean("f1"), "ece": self.ece, "parameters": self.parameters,
            "multiply_adds": self.multiply_adds, "elapsed_seconds": self.elapsed_seconds,
            "latency_ms": self.latency_ms,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Claim:
    """What can be claimed of one group against the baseline, from `seeds` runs of each."""

    group: str
    baseline: str
    seeds: int
    difference: Difference
    p: float  # adjusted for the number of groups compared with the baseline (Holm 1979)
    figure: str = "accuracy"  # what is compared, in words
    unit: str = "images"  # that it is a share of

    @property
    def is_significant(self) -> bool:
        """Whether the difference is claimed."""
        return self.p < self.difference.level

    @property
    def text(self) -> str:
        """The claim in words: "better" or "worse" only if chance is ruled out."""
        difference, needed = self.difference, []
        if self.is_significant:
            word = "better" if difference.accuracy > 0 else "worse"
            text = f"{self.group} is {word} than {self.baseline}"
        else:
            text = f"No evidence of a difference between {self.group} and {self.baseline}"
            if difference.more_images is not None:  # to two digits: it is a rough figure
                needed.append(
                    f"about {int(float(f'{difference.more_images:.2g}')):,} test {self.unit}"
                )
            if difference.more_seeds is not None:
                needed.append(f"{difference.more_seeds:,} seeds of each")
        text += f", over {self.seeds} seeds each: " if self.seeds > 1 else ", with one run each: "
        text += (
            f"{100 * difference.accuracy:+.2f} % {self.figure}, 95 % interval "
            f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f} %, "
            f"p {'< 0.0001' if self.p < 1e-4 else f'= {self.p:.2g}'}."
        )
        if needed:
            needs = " and ".join(needed)
            text += f" If it is as large as it seems, {needs} would show it (with 80 % power)."
        return f"{text} {_LUCK}" if self.seeds == 1 else text

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "text": self.text, "is_significant": self.is_significant}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Groups, the first of which is the baseline, and a claim for each of the others."""

    dataset: str
    images: int
    groups: tuple[RunGroup, ...]
    claims: tuple[Claim, ...]

    @property
    def evaluated_on(self) -> str:
        """The test images in words."""
        return f"{self.dataset}, {self.images:,} test images"

    @property
    def claim_texts(self) -> list[str]:
        """The claims in words."""
        return texts_of(self.claims)


def texts_of(claims: Sequence[Claim]) -> list[str]:
    """Return the claims in words; what several of them would say is said once, by the last."""
    last = max((k for k, claim in enumerate(claims) if claim.seeds == 1), default=None)
    return [
        claim.text if k == last else claim.text.removesuffix(f" {_LUCK}")
        for k, claim in enumerate(claims)
    ]


def compare_groups(dataset: str, groups: Sequence[RunGroup]) -> Comparison:
    """Compare `groups`, which were evaluated on the same test images, with the first of them."""
    predictions = [run.predictions for group in groups for run in group.runs]
    writers = next((one.writers for one in predictions if one.writers is not None), None)
    claims = claims_against_first(
        [(g.name, {run.seed: run.predictions.is_right for run in g.runs}) for g in groups], writers
    )
    return Comparison(dataset, len(predictions[0]), tuple(groups), claims)


def claims_against_first(
    groups: Sequence[tuple[str, RightBySeed]],
    writers: Writers | None = None,
    *,
    figure: str = "accuracy",
    unit: str = "images",
) -> tuple[Claim, ...]:
    """Return a claim for each group, by name and images read correctly, against the first.

    With `writers` (images,), chance is in the choice of writers. `figure` and `unit` are the words
    for what is compared.
    """
    (baseline, baseline_right), *others = groups
    differences = [compare(*side_by_side(right, baseline_right), writers) for _, right in others]
    p_values = holm([difference.p for difference in differences])
    return tuple(
        Claim(name, baseline, min(len(right), len(baseline_right)), difference, p, figure, unit)
        for (name, right), difference, p in zip(others, differences, p_values, strict=True)
    )


def side_by_side(
    this: Mapping[int, npt.NDArray[Scalar]], that: Mapping[int, npt.NDArray[Scalar]]
) -> tuple[npt.NDArray[Scalar], npt.NDArray[Scalar]]:
    """Return as many rows of both as there are of either, those of one seed beside each other."""
    shared = this.keys() & that.keys()
    orders = (sorted(group, key=lambda seed: (seed not in shared, seed)) for group in (this, that))
    pairs = [(this[a], that[b]) for a, b in zip(*orders, strict=False)]
    return np.stack([row for row, _ in pairs]), np.stack([row for _, row in pairs])
