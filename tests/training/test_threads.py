"""The number of threads: measured before an epoch, recorded, and repeated from the record."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from helpers import small_config
from penstroke import evaluate, load_dataset, load_recipe, train
from penstroke.errors import ConfigError
from penstroke.runs import trained
from penstroke.training import device, threads
from penstroke.training.device import resolve_auto
from penstroke.training.loop import Epoch, fit
from penstroke.training.threads import ThreadChoice, faster_threads


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "allowed_threads", lambda: 2)
    monkeypatch.setattr(device, "allowed_threads", lambda: 2)
    yield
    torch.set_num_threads(before)


def steps_take(monkeypatch: pytest.MonkeyPatch, one: float, two: float) -> list[int]:
    """Let a step take so many seconds; return the threads that are measured, one after another."""
    measured: list[int] = []

    def seconds(*_: object, **__: object) -> float:
        measured.append(torch.get_num_threads())
        return one if measured[-1] == 1 else two

    monkeypatch.setattr(threads, "seconds_a_step", seconds)
    return measured


@pytest.mark.parametrize(
    ("one", "two", "current", "chosen"),
    [(2.0, 1.0, 0, 2), (1.0, 26.0, 0, 1), (1.0, 1.05, 0, 2), (1.0, 0.95, 1, 1), (1.0, 0.5, 1, 2)],
)
def test_the_faster_is_taken_and_a_close_second_kept(
    monkeypatch: pytest.MonkeyPatch, one: float, two: float, current: int, chosen: int
) -> None:
    measured = steps_take(monkeypatch, one, two)
    assert faster_threads(small_config(threads=0), 10, current) == chosen
    assert measured == [1, 2]


def test_real_steps_are_measured() -> None:
    state = torch.random.get_rng_state()
    assert faster_threads(resolve_auto(small_config(threads=0)), 10) in (1, 2)
    assert torch.equal(torch.random.get_rng_state(), state), "training draws what it would draw"


def test_it_is_measured_again_when_that_costs_next_to_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count(0.0, 1.0)  # each look at the clock is a second later
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    measured = steps_take(monkeypatch, 1.0, 0.5)
    choice = ThreadChoice(small_config(threads=0), 10)
    for epoch in range(1, 41):
        assert choice.threads_of(epoch) == 2
    assert len(measured) == 2, "measuring took a second, so not within the next fifty"
    for epoch in range(41, 61):
        choice.threads_of(epoch)
    assert len(measured) == 4


def test_a_run_is_repeated_to_the_bit_from_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = iter([2, 1, 2])
    monkeypatch.setattr(ThreadChoice, "_measured", lambda _: next(chosen))
    data = load_dataset("digits")
    config = small_config(threads=0, epochs=3)
    epochs = list(fit(config, data))
    recorded = [epoch.metrics["threads"] for epoch in epochs]
    assert recorded == [2, 1, 2]
    repeated = list(fit(config.replace({"train.threads": recorded}), data))
    assert weights(repeated[-1]) == weights(epochs[-1])
    # Resumed after the first epoch: its successor was chosen before, the third is measured again.
    chosen = iter([2])
    resumed = list(fit(config, data, epochs[0].state))
    assert [epoch.metrics["threads"] for epoch in resumed] == [1, 2]
    assert weights(resumed[-1]) == weights(epochs[-1])


@pytest.mark.parametrize("wrong", [-1, [], [2, 0]])
def test_wrong_numbers_are_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"train\.threads: .*a list of numbers from 1"):
        load_recipe("fast", {"train.threads": wrong})


def test_a_run_is_scored_on_the_faster_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTROKE_RUNS", str(tmp_path))
    run = train(small_config(threads=0, epochs=1), report=False)
    assert run.record.resolved.threads == 0
    assert run.history()[0]["threads"] in (1, 2)
    for count in (2, 1):
        monkeypatch.setattr(trained, "faster_threads", lambda *_, n=count: n)
        evaluate(run)
        assert torch.get_num_threads() == count


def weights(epoch: Epoch) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in epoch.state.weights.items()}
