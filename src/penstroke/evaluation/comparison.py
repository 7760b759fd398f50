"""Whether one way is really better than another, or only luckier.

A way is all runs that differ in their seed alone. Both ways were judged on the same images, so
differences are taken image by image and seed by seed: what is hard for both cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

LEVEL = 0.05
"""A difference is claimed where chance alone would show one as large less often than this."""
LEVEL_OF_SINGLE_RUNS = 0.005
"""The same for one run each. McNemar's test knows the luck of the images, not that of training:
of 157 pairs of MNIST runs that differ in their seed alone it finds p < 0.05 in 11 %, p < 0.005 in
2 % (docs/lab.md)."""
_POWER = 0.8
_SIGN_FLIPS = 20_000
_MOST_SEEDS = 10_000

Right = npt.NDArray[np.bool_]
"""(seeds, images): whether each run read each image right."""


@dataclass(frozen=True)
class Difference:
    """How much more accurate one way is than the baseline, and whether that is more than luck.

    Attributes:
        accuracy: mean accuracy minus the baseline's.
        low, high: 95 % interval of that difference.
        p_images: how often chance alone gives as large a difference on other images; McNemar's
            exact test (1947) for one run each, signs flipped at random for several.
        p_seeds: the same with other seeds: Student's paired t test; nan for one run each.
        only_this, only_baseline: images that the one reads and the other does not, mean of runs.
        more_images: test images (as hard as these) that would show the difference seen with
            80 % power; None where none would, or where it is shown.
        more_seeds: seeds of each that would; None as above.
    """

    accuracy: float
    low: float
    high: float
    p_images: float
    p_seeds: float
    only_this: float
    only_baseline: float
    more_images: int | None
    more_seeds: int | None

    @property
    def p(self) -> float:
        """The larger of both: luck with images and luck with seeds must each be ruled out."""
        return max(self.p_images, 0.0 if math.isnan(self.p_seeds) else self.p_seeds)

    @property
    def level(self) -> float:
        """What p must be below for a claim."""
        return LEVEL_OF_SINGLE_RUNS if math.isnan(self.p_seeds) else LEVEL

    @property
    def is_shown(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p < self.level


def compare(this: Right, baseline: Right) -> Difference:
    """Return the difference of two ways on the same images; row k of each of the same seed.

    Raises:
        ValueError: the shapes differ, or there are no images.
    """
    if this.shape != baseline.shape or this.size == 0:
        raise ValueError(f"cannot compare {this.shape} with {baseline.shape}")
    by_run = this.astype(float) - baseline
    by_image, by_seed = by_run.mean(axis=0), by_run.mean(axis=1)
    difference = float(by_run.mean())
    low, high = _interval(by_image, by_seed, difference)
    several = len(by_seed) > 1
    p_images = sign_flip_p(by_image) if several else mcnemar_p(by_run[0])
    p_seeds = paired_t_p(by_seed) if several else math.nan
    found = Difference(
        difference, low, high, p_images, p_seeds,
        float((by_run > 0).sum(axis=1).mean()), float((by_run < 0).sum(axis=1).mean()), None, None,
    )  # fmt: skip
    if found.is_shown or difference == 0:
        return found
    return Difference(
        difference, low, high, p_images, p_seeds, found.only_this, found.only_baseline,
        None if p_images < found.level else _images_needed(by_image, found.level),
        None if not several or p_seeds < LEVEL else _seeds_needed(by_seed),
    )  # fmt: skip


def mcnemar_p(differences: npt.NDArray[np.float64]) -> float:
    """Return the two-sided p value of McNemar's exact test, from +1, 0 and -1 an image.

    Of the images that one of two networks alone reads, each is as likely to be either's under the
    null: twice the binomial tail, at most 1.
    """
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    from scipy.stats import binom

    return min(1.0, 2 * float(binom.cdf(min(wins, losses), wins + losses, 0.5)))


def sign_flip_p(differences: npt.NDArray[np.float64], seed: int = 0) -> float:
    """Return the two-sided p value of the mean being 0, by flipping signs at random.

    Under the null each image's difference is as likely with the other sign. The one that was seen
    counts as a draw too (Phipson & Smyth 2010), so that p is never 0.
    """
    there = differences[differences != 0]
    if not len(there):
        return 1.0
    random = np.random.default_rng(seed)
    seen = abs(there.sum()) - 1e-9
    as_large = 0
    for _ in range(0, _SIGN_FLIPS, 1000):
        signs = random.integers(0, 2, (1000, len(there)), np.int8) * 2 - 1
        as_large += int((abs(signs @ there) >= seen).sum())
    return (as_large + 1) / (_SIGN_FLIPS + 1)


def paired_t_p(differences: npt.NDArray[np.float64]) -> float:
    """Return the two-sided p value of Student's paired t test; one value a seed."""
    spread = float(differences.std(ddof=1))
    if spread == 0:
        return 1.0 if differences[0] == 0 else 0.0
    from scipy.stats import t

    size = len(differences)
    return float(2 * t.sf(abs(differences.mean()) / (spread / math.sqrt(size)), size - 1))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Return p values for several comparisons with one baseline (Holm 1979).

    The chance of any false claim among them all stays at the level of one.
    """
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    found = [0.0] * len(p_values)
    least = 0.0
    for rank, k in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[k]))
        found[k] = least
    return found


def _interval(
    by_image: npt.NDArray[np.float64], by_seed: npt.NDArray[np.float64], difference: float
) -> tuple[float, float]:
    """Return the wider of two 95 % intervals: over other images, and over other seeds."""
    half = NormalDist().inv_cdf(0.975) * float(by_image.std()) / math.sqrt(len(by_image))
    if len(by_seed) > 1:
        from scipy.stats import t

        error = float(by_seed.std(ddof=1)) / math.sqrt(len(by_seed))
        half = max(half, float(t.ppf(0.975, len(by_seed) - 1)) * error)
    return difference - half, difference + half


def _images_needed(by_image: npt.NDArray[np.float64], level: float) -> int:
    """Return how many images show such a mean difference with 80 % power, by the normal law."""
    z = NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(_POWER)
    needed = (z * float(by_image.std() / by_image.mean())) ** 2
    return max(len(by_image) + 1, math.ceil(needed))


def _seeds_needed(by_seed: npt.NDArray[np.float64]) -> int | None:
    """Return how many seeds show such a mean difference with 80 % power; None beyond thousands."""
    from scipy.stats import nct, t

    effect = abs(by_seed.mean()) / by_seed.std(ddof=1)
    low, high = len(by_seed) + 1, _MOST_SEEDS

    def power(seeds: int) -> float:
        bound = t.ppf(1 - LEVEL / 2, seeds - 1)
        return float(nct.sf(bound, seeds - 1, effect * math.sqrt(seeds)))

    if power(high) < _POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= _POWER else (middle + 1, high)
    return low
