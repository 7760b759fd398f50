from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstroke.evaluation.comparison import compare, holm, mcnemar_p, paired_t_p, sign_flip_p

Right = npt.NDArray[np.bool_]


def read(
    random: np.random.Generator, hard: npt.NDArray[np.float64], seeds: int, gain: float = 0.0
) -> Right:
    """Runs that read each image as often as it is easy, each seed a little better or worse."""
    luck = random.normal(0, 0.002, (seeds, 1))
    return random.random((seeds, len(hard))) < (1 - hard + gain + luck).clip(0, 1)


def hardness(random: np.random.Generator, images: int) -> npt.NDArray[np.float64]:
    """As in MNIST: most images are easy, a few are read as often wrong as right."""
    return random.beta(0.03, 1.0, images)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_what_scipy_says(wins: int, losses: int) -> None:
    from scipy.stats import binomtest

    differences = np.array([1.0] * wins + [-1.0] * losses + [0.0] * 5)
    theirs = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert mcnemar_p(differences) == pytest.approx(theirs, abs=1e-9)


def test_flipping_signs_agrees_with_mcnemar() -> None:
    differences = np.array([1.0] * 30 + [-1.0] * 14 + [0.0] * 500)
    assert sign_flip_p(differences) == pytest.approx(mcnemar_p(differences), abs=0.005)


@pytest.mark.parametrize("seed", range(5))
def test_the_t_test_is_what_scipy_says(seed: int) -> None:
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(seed).normal(0.3, 1.0, 6)
    assert paired_t_p(values) == pytest.approx(ttest_1samp(values, 0).pvalue, abs=1e-12)


def test_equal_seeds_have_nothing_to_say() -> None:
    assert paired_t_p(np.zeros(5)) == 1.0
    assert paired_t_p(np.full(5, 0.25)) == 0.0
    assert sign_flip_p(np.zeros(9)) == 1.0


@pytest.mark.parametrize("seeds", [1, 5])
def test_false_claims_are_rare(seeds: int) -> None:
    """A thousand comparisons of a way with itself: at most 5 % may claim a difference."""
    random = np.random.default_rng(seeds)
    hard = hardness(random, 1500)
    claims = sum(
        compare(read(random, hard, seeds), read(random, hard, seeds)).is_significant
        for _ in range(1000 if seeds == 1 else 300)
    )
    assert claims <= 0.05 * (1000 if seeds == 1 else 300)


@pytest.mark.parametrize("seeds", [1, 5])
def test_a_real_difference_is_significant(seeds: int) -> None:
    random = np.random.default_rng(0)
    hard = hardness(random, 5000)
    found = compare(read(random, hard, seeds, gain=0.03), read(random, hard, seeds))
    assert found.is_significant
    assert 0 < found.low < found.accuracy < found.high
    assert found.more_images is None
    assert found.more_seeds is None
    assert compare(read(random, hard, seeds), read(random, hard, seeds, gain=0.03)).accuracy < 0


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hard = random.beta(0.5, 2.0, 1000)
    covered = 0
    for _ in range(300):
        found = compare(read(random, hard, 1), read(random, hard, 1))
        covered += found.low <= 0 <= found.high
    assert covered >= 0.92 * 300


def test_as_many_images_as_it_says_do_show_it() -> None:
    """80 % power: of samples of that size most show the difference, of a quarter of it few do."""
    random = np.random.default_rng(0)
    first = np.array([[1] * 62 + [0] * 45 + [1] * 893], bool)
    second = np.array([[0] * 62 + [1] * 45 + [1] * 893], bool)
    found = compare(first, second)
    assert not found.is_significant
    assert found.more_images is not None
    assert found.more_images > 1000

    def power(count: int) -> float:
        shown = 0
        for _ in range(200):
            drawn = random.integers(0, 1000, count)
            shown += mcnemar_p((first.astype(float) - second)[0, drawn]) < found.level
        return shown / 200

    assert 0.68 <= power(found.more_images) <= 0.92
    assert power(found.more_images // 4) < 0.5


def test_as_many_seeds_as_it_says() -> None:
    random = np.random.default_rng(3)
    by_seed = np.array([0.004, -0.002, 0.003, 0.001, -0.001])
    this = np.zeros((5, 1000), bool)
    for row, gain in zip(this, by_seed, strict=True):
        row[: 900 + int(1000 * gain)] = True
    baseline = np.zeros((5, 1000), bool)
    baseline[:, :900] = True
    needed = compare(this, baseline).more_seeds
    assert needed is not None
    shown = sum(
        paired_t_p(random.normal(by_seed.mean(), by_seed.std(ddof=1), needed)) < 0.05
        for _ in range(300)
    )
    assert 0.7 <= shown / 300 <= 0.9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holms_adjustment(p_values: list[float]) -> None:
    found = holm(p_values)
    assert all(ours >= given_ for ours, given_ in zip(found, p_values, strict=True))
    assert min(found) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    assert [found[k] for k in order] == sorted(found)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        compare(np.ones((1, 5), bool), np.ones((1, 6), bool))
    assert math.isnan(compare(np.ones((1, 5), bool), np.ones((1, 5), bool)).p_seeds)
