from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from penstroke.inference.segments import find_lines
from penstroke.inference.viterbi import (
    WEIGHTS,
    Step,
    all_features,
    possible_steps,
    posteriors,
    step_scores,
    viterbi_path,
)
from writing import drawn, stems


def all_steps(segments: int) -> list[Step]:
    """Return all steps of up to three of `segments`, and the dirt."""
    nothing = np.zeros(len(WEIGHTS))
    whole = [
        Step(first, after, (), nothing, is_dirt=False)
        for first, after in combinations(range(segments + 1), 2)
        if after - first <= 3
    ]
    return [*whole, *(Step(k, k + 1, (), nothing, is_dirt=True) for k in range(segments))]


def all_paths(steps: list[Step], at: int, end: int) -> list[list[int]]:
    if at == end:
        return [[]]
    return [
        [number, *path]
        for number, step in enumerate(steps)
        if step.first == at
        for path in all_paths(steps, step.after, end)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_the_best_of_all_paths_and_how_probable_each_step_is(seed: int) -> None:
    steps = all_steps(5)
    values = np.random.default_rng(seed).normal(0, 2, len(steps))
    paths = all_paths(steps, 0, 5)
    sums = np.array([values[path].sum() for path in paths])
    assert viterbi_path(steps, values) == paths[int(sums.argmax())]
    shares = np.exp(sums - np.logaddexp.reduce(sums))
    probable, log_sum = posteriors(steps, values)
    for number in range(len(steps)):
        expected = sum(s for s, path in zip(shares, paths, strict=True) if number in path)
        assert probable[number] == pytest.approx(expected, abs=1e-9)
    assert log_sum == pytest.approx(np.logaddexp.reduce(sums))


def test_steps_of_a_line() -> None:
    (line,) = find_lines(drawn(stems(60, 80, 200)))
    steps = possible_steps(line)
    assert [(s.first, s.after) for s in steps if not s.is_dirt] == [(0, 1), (0, 2), (1, 2), (2, 3)]
    assert [s.first for s in steps if s.is_dirt] == [0, 1, 2]


def test_a_sure_network_and_a_sure_scorer_speak_for_a_character() -> None:
    (line,) = find_lines(drawn(stems(60)))
    steps = possible_steps(line)
    sure = step_scores(
        all_features(steps, np.array([[0.98, 0.02]], np.float32), None, np.array([5.0]))
    )
    doubtful = step_scores(
        all_features(steps, np.array([[0.55, 0.45]], np.float32), None, np.array([5.0]))
    )
    scrap = step_scores(
        all_features(steps, np.array([[0.98, 0.02]], np.float32), None, np.array([-5.0]))
    )
    assert sure[0] > doubtful[0]
    assert sure[0] > scrap[0]
    assert sure[1] == doubtful[1] == scrap[1]


def test_familiarity_speaks_for_a_character() -> None:
    (line,) = find_lines(drawn(stems(60)))
    steps, sure = possible_steps(line), np.array([[0.98, 0.02]], np.float32)
    values = [
        step_scores(
            all_features(steps, sure, np.array([familiarity], np.float32), np.array([5.0]))
        )[0]
        for familiarity in (0.5, 1.5, 2.0, 9.0)
    ]
    assert values[0] < values[1] < values[2] == values[3]
