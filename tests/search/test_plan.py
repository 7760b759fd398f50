"""Hyperband's brackets against its paper, and plans as pure arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstroke.search.plan import (
    AsynchronousHalving,
    Bracket,
    Plan,
    Rung,
    SuccessiveHalving,
    Work,
    asha_bracket,
    hyperband,
)

BUDGETS = st.integers(1, 300)
ETAS = st.integers(2, 5)


def test_the_papers_own_example() -> None:
    """Li et al. 2018, table 1, with algorithm 1's own ⌈·⌉."""
    brackets = hyperband(81, 3)
    assert [b.rungs[0].trials for b in brackets] == [81, 34, 15, 8, 5]
    assert brackets[0].rungs == (Rung(81, 1), Rung(27, 3), Rung(9, 9), Rung(3, 27), Rung(1, 81))
    assert brackets[4].rungs == (Rung(5, 81),)


@given(BUDGETS, ETAS)
def test_brackets_follow_algorithm_1(max_epochs: int, eta: int) -> None:
    """Recomputed with exact fractions, line by line of the paper."""
    s_max = max(s for s in range(10) if eta**s <= max_epochs)
    brackets = hyperband(max_epochs, eta)
    assert len(brackets) == s_max + 1
    budget = (s_max + 1) * max_epochs
    for s, bracket in zip(range(s_max, -1, -1), brackets, strict=True):
        n = ceil(Fraction(budget, max_epochs) * Fraction(eta**s, s + 1))
        r = Fraction(max_epochs, eta**s)
        assert len(bracket.rungs) == s + 1
        for i, rung in enumerate(bracket.rungs):
            assert rung == Rung(n // eta**i, int(r * eta**i))
            assert rung.epochs >= 1
            assert rung.trials >= 1
        assert bracket.rungs[-1].epochs == max_epochs


@given(BUDGETS, ETAS, st.integers(0, 2**32))
def test_a_plan_trains_what_its_brackets_say(max_epochs: int, eta: int, seed: int) -> None:
    """Whatever the scores: budgets, counts and survivors; a promoted trial goes on, once."""
    brackets = hyperband(max_epochs, eta)
    plan = SuccessiveHalving(brackets)
    trained, order, stopped = run(plan, seed)
    assert sum(trained.values()) == sum(bracket.epochs for bracket in brackets)
    assert len(trained) == sum(bracket.rungs[0].trials for bracket in brackets)
    assert len(set(order)) == len(order)
    whole_way = sum(bracket.rungs[-1].trials for bracket in brackets)
    assert sum(epochs == max_epochs for epochs in trained.values()) == whole_way
    assert sorted(stopped) == list(range(len(trained)))


@given(st.integers(1, 60), BUDGETS, ETAS, st.integers(0, 2**32))
def test_asha_ends_and_goes_rung_by_rung(trials: int, max_epochs: int, eta: int, seed: int) -> None:
    plan = AsynchronousHalving(trials, max_epochs, eta)
    trained, order, stopped = run(plan, seed)
    assert len(trained) == trials
    assert len(set(order)) == len(order)
    for trial, epochs in trained.items():
        rungs = [work.epochs for work in order if work.trial == trial]
        assert rungs == plan.rung_epochs[: len(rungs)]
        assert rungs[-1] == epochs
    assert sorted(stopped) == list(range(trials))


def test_what_asha_is_expected_to_train() -> None:
    bracket = asha_bracket(trials=9, max_epochs=10, eta=3)
    assert bracket.rungs == (Rung(9, 1), Rung(3, 3), Rung(1, 10))
    assert asha_bracket(trials=2, max_epochs=9, eta=3).rungs == (Rung(2, 1),)


def run(plan: Plan, seed: int, workers: int = 3) -> tuple[dict[int, int], list[Work], list[int]]:
    """Go through a plan with several workers that finish in any order; one trial in ten fails."""
    import random

    draw = random.Random(seed)
    trained: dict[int, int] = {}
    order: list[Work] = []
    running: list[Work] = []
    stopped: list[int] = []
    while not plan.is_done:
        while len(running) < workers and (work := plan.ask()) is not None:
            running.append(work)
            order.append(work)
        work = running.pop(draw.randrange(len(running)))
        assert work.epochs > trained.get(work.trial, 0)
        trained[work.trial] = work.epochs
        stopped += plan.tell(work, draw.random())
    assert plan.ask() is None
    return trained, order, stopped


def test_promotions_go_by_score_and_equal_ones_by_number() -> None:
    plan = SuccessiveHalving([Bracket((Rung(4, 1), Rung(2, 3)))])
    first = [plan.ask() for _ in range(4)]
    assert plan.ask() is None
    for work, score in zip(reversed(first), (0.5, 0.9, 0.9, 0.9), strict=True):
        assert work is not None
        stopped = plan.tell(work, score)
    assert sorted(stopped) == [2, 3]
    assert [plan.ask(), plan.ask()] == [Work(0, 3), Work(1, 3)]


def test_failed_trials_are_never_promoted() -> None:
    plan = SuccessiveHalving([Bracket((Rung(3, 1), Rung(2, 3), Rung(1, 9)))])
    for score in (None, 0.1, None):
        work = plan.ask()
        assert work is not None
        plan.tell(work, score)
    assert plan.ask() == Work(1, 3)
    assert plan.ask() is None
    plan.tell(Work(1, 3), None)
    assert plan.is_done


def test_all_failed_is_done() -> None:
    plan = AsynchronousHalving(3, 9, 3)
    for _ in range(3):
        work = plan.ask()
        assert work is not None
        plan.tell(work, None)
    assert plan.is_done


@pytest.mark.parametrize(("trials", "rungs"), [(0, 0), (1, 5), (4, 5), (100, 5)])
def test_a_small_space_cuts_the_bracket(trials: int, rungs: int) -> None:
    bracket = hyperband(81, 3)[0].cut_to(trials)
    assert len(bracket.rungs) == rungs
    assert all(rung.trials <= trials for rung in bracket.rungs)
