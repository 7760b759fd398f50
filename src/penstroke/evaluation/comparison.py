"""Whether one group of runs is more accurate than another, or only luckier.

A group is all runs that differ in their seed alone. Both groups are evaluated on the same images,
so differences are taken image by image and seed by seed: what is hard for both cancels out.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Writers
from penstroke.data.splitting import writer_groups
from penstroke.evaluation.intervals import seed_variation

LEVEL = 0.05
"""Significance level of a difference."""
LEVEL_OF_SINGLE_RUNS = 0.005
"""The same for one run each. McNemar's test accounts for the choice of images, not for the luck of
training: of 157 pairs of MNIST runs that differ in their seed alone it finds p < 0.05 in 11 %,
p < 0.005 in 2 % (docs/lab.md)."""
_POWER = 0.8
_SIGN_FLIPS = 20_000
_MOST_SEEDS = 10_000

Right = npt.NDArray[np.bool_]
"""(seeds, images): whether each run read each image correctly."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How much more accurate one group is than the baseline, and whether that is significant.

    `more_images` (as hard as these) or `more_seeds` of each would show the difference with 80 %
    power; None if no number would, or if it is significant already.
    """

    accuracy: float  # mean accuracy minus the baseline's
    low: float  # 95 % interval of that difference
    high: float
    p_images: float  # McNemar's exact test (1947) for one run each, else a sign-flip test
    p_seeds: float  # Student's paired t test; nan for one run each
    only_this: float  # images that only this group reads, mean over runs
    only_baseline: float
    more_images: int | None = None
    more_seeds: int | None = None

    @property
    def p(self) -> float:
        """The larger p value: chance in the images and in the seeds must both be ruled out."""
        return float(np.fmax(self.p_images, self.p_seeds))

    @property
    def level(self) -> float:
        """The significance level."""
        return LEVEL_OF_SINGLE_RUNS if math.isnan(self.p_seeds) else LEVEL

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p < self.level


def compare(this: Right, baseline: Right, writers: Writers | None = None) -> Difference:
    """Return the difference of groups (seeds, images) of one shape; row k of each is one seed's.

    With `writers` (images,), chance is in the choice of writers: the interval is over writers, and
    all images of one change sign together in the test.
    """
    if this.shape != baseline.shape or this.size == 0:
        raise ValueError(f"cannot compare {this.shape} with {baseline.shape}")
    by_run = this.astype(float) - baseline
    by_image, by_seed = by_run.mean(axis=0), by_run.mean(axis=1)
    mean = float(by_run.mean())
    has_seeds = len(by_seed) > 1
    by_unit = _by_writer(by_image, writers)
    # The wider of two 95 % intervals: over other images or writers, and over other seeds.
    spread = float(np.linalg.norm(_by_writer(by_image - mean, writers))) / len(by_image)
    half = NormalDist().inv_cdf(0.975) * spread
    if has_seeds:
        half = max(half, seed_variation(by_seed.tolist()).high - mean)
    difference = Difference(
        accuracy=mean,
        low=mean - half,
        high=mean + half,
        p_images=sign_flip_p(by_unit) if has_seeds or writers is not None else mcnemar_p(by_image),
        p_seeds=paired_t_p(by_seed) if has_seeds else math.nan,
        only_this=float((by_run > 0).sum(axis=1).mean()),
        only_baseline=float((by_run < 0).sum(axis=1).mean()),
    )
    if difference.is_significant or mean == 0:
        return difference
    level, per_unit = difference.level, len(by_image) / len(by_unit)
    needs_images = difference.p_images >= level
    return replace(
        difference,
        more_images=round(_images_needed(by_unit, level) * per_unit) if needs_images else None,
        more_seeds=_seeds_needed(by_seed) if difference.p_seeds >= level else None,
    )


def _by_writer(by_image: Floats, writers: Writers | None) -> Floats:
    """Return the sum over the images of each writer: (W,); (images,) as they are without."""
    if writers is None:
        return by_image
    _, groups = np.unique(writer_groups(writers), return_inverse=True)
    return np.asarray(np.bincount(groups, by_image))


def mcnemar_p(differences: Floats) -> float:
    """Return the two-sided p value of McNemar's exact test, from +1, 0 and -1 per image."""
    from scipy.stats import binomtest

    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def noninferiority_p(only_this: int, only_baseline: int, images: int, margin: float) -> float:
    """Return the one-sided p value of this being less accurate than the baseline by `margin`.

    If it is small, this is not worse, up to the margin: the score test for paired proportions
    (Tango 1998), of images that only one of the two reads. Even with none, few images show little.
    """
    delta, shown = -margin, only_this - only_baseline
    linear = (2 * images - shown) * delta - only_this - only_baseline
    constant = only_baseline * delta * (1 - delta)
    lost = (math.sqrt(linear**2 + 8 * images * constant) - linear) / (4 * images)  # expected share
    variance = images * (2 * lost + delta * (1 - delta))
    return NormalDist().cdf((images * delta - shown) / math.sqrt(variance))


def sign_flip_p(differences: Floats, seed: int = 0) -> float:
    """Return the two-sided p value of the mean being 0, by flipping signs at random.

    Under the null each image's difference is as likely with the other sign. The observed one counts
    as a draw too (Phipson & Smyth 2010), so that p is never 0.
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    random = np.random.default_rng(seed)
    observed = abs(nonzero.sum()) - 1e-9
    as_large = 0
    for _ in range(0, _SIGN_FLIPS, 1000):
        signs = random.integers(0, 2, (1000, len(nonzero)), np.int8) * 2 - 1
        as_large += int((abs(signs @ nonzero) >= observed).sum())
    return (as_large + 1) / (_SIGN_FLIPS + 1)


def paired_t_p(differences: Floats) -> float:
    """Return the two-sided p value of Student's paired t test, from one difference per seed."""
    if differences.std() == 0:
        return 1.0 if differences[0] == 0 else 0.0
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for several comparisons with one baseline (Holm 1979).

    The chance of any false claim among them all stays at the level of one.
    """
    p, count = np.asarray(p_values, float), len(p_values)
    order = p.argsort(kind="stable")
    adjusted = np.empty(count)
    adjusted[order] = np.maximum.accumulate((count - np.arange(count)) * p[order]).clip(max=1)
    return [float(value) for value in adjusted]


def _images_needed(by_image: Floats, level: float) -> int:
    """Return how many images show such a mean difference with 80 % power (normal approximation)."""
    z = NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(_POWER)
    return max(len(by_image) + 1, math.ceil((z * float(by_image.std() / by_image.mean())) ** 2))


def _seeds_needed(by_seed: Floats) -> int | None:
    """Return how many seeds show such a mean difference with 80 % power; None beyond 10,000."""
    from scipy.stats import nct, t

    effect = abs(by_seed.mean()) / by_seed.std(ddof=1)

    def power(seeds: int) -> float:
        bound = t.ppf(1 - LEVEL / 2, seeds - 1)
        return float(nct.sf(bound, seeds - 1, effect * math.sqrt(seeds)))

    if power(_MOST_SEEDS) < _POWER:
        return None
    candidates = range(len(by_seed) + 1, _MOST_SEEDS)
    return candidates.start + bisect.bisect_left(candidates, _POWER, key=power)
