"""Groups of line readers side by side: exact match and character error rate on the same lines."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Writers
from penstroke.evaluation.comparison import (
    LEVEL,
    LEVEL_OF_SINGLE_RUNS,
    holm,
    paired_t_p,
    sign_flip_p,
)
from penstroke.evaluation.intervals import RESAMPLES, Interval, seed_variation
from penstroke.evaluation.line_metrics import LinePredictions, Rate, sums_by_unit
from penstroke.evaluation.run_groups import Claim, claims_against_first, side_by_side, texts_of

EditsBySeed = npt.NDArray[np.int64]
"""(seeds, lines): edits from each line's text to what each run read."""


@dataclass(frozen=True, eq=False)
class LineRunResult:
    """One run of a group, with its predictions on the test lines."""

    path: str
    seed: int
    predictions: LinePredictions
    elapsed_seconds: float


@dataclass(frozen=True, eq=False)
class LineRunGroup:
    """Line readers that differ in their seed alone, by seed, and the size of their network."""

    name: str
    runs: tuple[LineRunResult, ...]
    parameters: int

    def rate(self, name: str) -> Rate:
        """Return `exact`, `digits` or `cer` of the test lines: the mean over runs.

        The interval is over other seeds if there are several, else over other lines or writers.
        """
        rates: list[Rate] = [getattr(run.predictions.metrics, name) for run in self.runs]
        if len(rates) == 1:
            return rates[0]
        variation = seed_variation([rate.value for rate in rates])
        return Rate(variation.mean, variation.low, variation.high)

    @property
    def accuracies(self) -> list[float]:
        """Exact match of each run."""
        return [run.predictions.metrics.exact.value for run in self.runs]

    @property
    def accuracy_interval(self) -> Interval:
        """The interval of exact match."""
        exact = self.rate("exact")
        return exact.low, exact.high

    @property
    def elapsed_seconds(self) -> float:
        """Mean training time of a run."""
        return statistics.fmean(run.elapsed_seconds for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rates = {name: asdict(self.rate(name)) for name in ("exact", "digits", "cer")}
        return {
            "name": self.name, "runs": [run.path for run in self.runs], **rates,
            "parameters": self.parameters, "elapsed_seconds": self.elapsed_seconds,
        }  # fmt: skip


@dataclass(frozen=True)
class ErrorRateClaim:
    """How a group's character error rate differs from the baseline's, and whether by chance.

    Attributes:
        difference: the group's rate minus the baseline's, mean over runs.
        low, high: its 95 % interval: the paired bootstrap over lines or writers (Bisani & Ney
            2004), or Student's over seeds where that is wider.
        p: of a sign-flip test of each line's or writer's edits, and with several seeds of
            Student's paired t test, the larger; adjusted for the number of groups (Holm 1979).
    """

    group: str
    baseline: str
    seeds: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference is claimed."""
        return self.p < (LEVEL if self.seeds > 1 else LEVEL_OF_SINGLE_RUNS)

    @property
    def text(self) -> str:
        """The claim in words."""
        if self.is_significant:
            word = "fewer" if self.difference < 0 else "more"
            text = f"{self.group} makes {word} character errors than {self.baseline}"
        else:
            text = (
                f"No evidence that the character error rates of {self.group} and {self.baseline} "
                "differ"
            )
        return (
            f"{text}: {100 * self.difference:+.2f} %, 95 % interval {100 * self.low:+.2f} to "
            f"{100 * self.high:+.2f} %, p {'< 0.0001' if self.p < 1e-4 else f'= {self.p:.2g}'}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "text": self.text, "is_significant": self.is_significant}


@dataclass(frozen=True, eq=False)
class LineComparison:
    """Groups, the first of which is the baseline, and two claims for each of the others."""

    dataset: str
    lines: int
    groups: tuple[LineRunGroup, ...]
    claims: tuple[Claim, ...]  # of exact match
    error_rate_claims: tuple[ErrorRateClaim, ...]

    @property
    def evaluated_on(self) -> str:
        """The test lines in words."""
        return f"{self.dataset}, {self.lines:,} test lines"

    @property
    def claim_texts(self) -> list[str]:
        """The claims in words."""
        return [*(claim.text for claim in self.error_rate_claims), *texts_of(self.claims)]


def compare_line_groups(dataset: str, groups: Sequence[LineRunGroup]) -> LineComparison:
    """Compare `groups`, which were evaluated on the same test lines, with the first of them."""
    first = groups[0].runs[0].predictions
    claims = claims_against_first(
        [(g.name, {run.seed: run.predictions.is_right for run in g.runs}) for g in groups],
        first.writers, figure="exact match", unit="lines",
    )  # fmt: skip
    (_, baseline), *others = [
        (group.name, {run.seed: run.predictions.edits for run in group.runs}) for group in groups
    ]
    differences = [
        compare_error_rates(*side_by_side(edits, baseline), first.lengths, first.writers)
        for _, edits in others
    ]
    p_values = holm([one.p for one in differences])
    return LineComparison(
        dataset, len(first), tuple(groups), claims,
        tuple(
            replace(one, group=name, baseline=groups[0].name, p=p)
            for (name, _), one, p in zip(others, differences, p_values, strict=True)
        ),
    )  # fmt: skip


def compare_error_rates(
    this: EditsBySeed,
    baseline: EditsBySeed,
    lengths: npt.NDArray[np.int64],
    writers: Writers | None = None,
    seed: int = 0,
) -> ErrorRateClaim:
    """Return the difference of edits (seeds, lines) of texts with these `lengths` (lines,).

    With `writers` (lines,), chance is in the choice of writers.
    """
    seeds = len(this)
    edits, sizes = sums_by_unit(writers, (this - baseline).sum(axis=0), lengths)
    units = len(sizes)
    draws = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), RESAMPLES)
    low, high = np.percentile((draws @ edits) / (draws @ sizes) / seeds, [2.5, 97.5])
    by_seed = (this - baseline).sum(axis=1) / lengths.sum()
    p = sign_flip_p(edits.astype(float))
    if seeds > 1:
        variation = seed_variation(by_seed.tolist())
        low, high = min(low, variation.low), max(high, variation.high)
        p = max(p, paired_t_p(by_seed))
    return ErrorRateClaim("", "", seeds, float(by_seed.mean()), float(low), float(high), p)
